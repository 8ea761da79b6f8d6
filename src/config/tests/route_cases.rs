//! Mistakes of `[[route]]` and of how routes stand to each other, each with the text that is right.

use super::super::Code;
use super::cases::{Case, case};
use super::*;

pub(super) const ROUTES: &[Case] = &[
    case(
        Code::Duplicate,
        TO,
        "upstream = \"app\"\naccess = \"public\"\ncapture = { token = \"/a\", refresh = \"/a\" }",
        "upstream = \"app\"\naccess = \"public\"\ncapture = { token = \"/a\", refresh = \"/b\" }",
    ),
    case(
        Code::Unreachable,
        TO,
        "upstream = \"app\"\n[[route]]\npath = \"/\"\nupstream = \"app\"",
        "upstream = \"app\"\n[[route]]\npath_exact = \"/\"\nupstream = \"app\"",
    ),
    case(
        Code::Unreachable,
        TO,
        "upstream = \"app\"\nmethods = [\"GET\"]\n[[route]]\npath = \"/\"\nmethods = [\"GET\"]\nupstream = \"app\"",
        "upstream = \"app\"\nmethods = [\"GET\"]\n[[route]]\npath = \"/\"\nmethods = [\"POST\"]\nupstream = \"app\"",
    ),
    case(
        Code::Ambiguous,
        TO,
        "upstream = \"app\"\nmethods = [\"GET\"]\n[[route]]\npath = \"/\"\nmethods = [\"HEAD\"]\nupstream = \"app\"",
        "upstream = \"app\"\nmethods = [\"GET\"]\n[[route]]\npath = \"/\"\nmethods = [\"GET\"]\nheaders = { x-a = true }\nupstream = \"app\"",
    ),
    case(
        Code::Ambiguous,
        TO,
        "upstream = \"app\"\nheaders = { x-a = \"1\" }\n[[route]]\npath = \"/\"\nheaders = { x-b = \"1\" }\nupstream = \"app\"",
        "upstream = \"app\"\nheaders = { x-a = \"1\" }\n[[route]]\npath = \"/\"\nheaders = { x-a = \"2\" }\nupstream = \"app\"",
    ),
    case(
        Code::BadMethod,
        PATH,
        "path = \"/\"\nmethods = [\"get\"]",
        "path = \"/\"\nmethods = [\"GET\"]",
    ),
    case(
        Code::BadMethod,
        PATH,
        "path = \"/\"\nmethods = [\"CONNECT\"]",
        "path = \"/\"\nmethods = [\"PROPFIND\"]",
    ),
    case(Code::Empty, PATH, "path = \"/\"\nmethods = []", PATH),
    case(
        Code::BadHeaderRule,
        PATH,
        "path = \"/\"\nheaders = { Host = \"a\" }",
        "path = \"/\"\nheaders = { X-Host = \"a\" }",
    ),
    case(
        Code::BadHeaderRule,
        PATH,
        "path = \"/\"\nheaders = { X-Forwarded-Proto = \"https\" }",
        "path = \"/\"\nheaders = { X-Proto = \"https\" }",
    ),
    case(
        Code::BadHeaderRule,
        PATH,
        "path = \"/\"\nheaders = { X-A = \"a\\r\\nb\" }",
        "path = \"/\"\nheaders = { X-A = \"a b\" }",
    ),
    case(
        Code::BadRedirect,
        TO,
        "redirect = { to = \"https://$host/\" }\n[[route]]\npath = \"/b\"\nupstream = \"app\"",
        "redirect = { to = \"https://$host/\" }\nhost = \"a.example.com\"\n[[route]]\npath = \"/b\"\nupstream = \"app\"",
    ),
    case(
        Code::BadCors,
        PATH,
        "path = \"/\"\ncors = { origins = [\"null\"] }",
        "path = \"/\"\ncors = { origins = [\"https://a.example\"] }",
    ),
    case(
        Code::BadCors,
        PATH,
        "path = \"/\"\ncors = { origins = [\"*\"], credentials = true }",
        "path = \"/\"\ncors = { origins = [\"*\"] }",
    ),
    case(
        Code::BadCors,
        PATH,
        "path = \"/\"\ncors = { origins = [\"*\", \"https://a.example\"] }",
        "path = \"/\"\ncors = \"pass\"",
    ),
    case(
        Code::BadRewrite,
        PATH,
        "path = \"/api\"\nrewrite = { strip_prefix = \"/ap\" }",
        "path = \"/api\"\nrewrite = { strip_prefix = \"/api/\" }",
    ),
    case(
        Code::Exclusive,
        PATH,
        "path = \"/\"\nrewrite = { replace = \"/x\", add_prefix = \"/y\" }",
        "path = \"/\"\nrewrite = { replace = \"/x\" }",
    ),
    case(
        Code::BadHeaderRule,
        PATH,
        "path = \"/\"\nrequest_headers = { set = { Host = \"a\" } }",
        "path = \"/\"\nrequest_headers = { set = { X-Host = \"a\" } }",
    ),
    case(
        Code::BadHeaderRule,
        PATH,
        "path = \"/\"\nrequest_headers = { set = { X-A = \"a\\r\\nHost: b\" } }",
        "path = \"/\"\nrequest_headers = { set = { X-A = \"a\" } }",
    ),
    case(
        Code::BadHeaderRule,
        PATH,
        "path = \"/\"\nidentity = { X-Auth-Subject = \"sub\" }\nrequest_headers = { add = { x_auth_subject = \"root\" } }",
        "path = \"/\"\nidentity = { X-Auth-Subject = \"sub\" }\nrequest_headers = { add = { x_auth = \"root\" } }",
    ),
    case(
        Code::BadHeaderRule,
        PATH,
        "path = \"/\"\nresponse_headers = { remove = [\"Content_Length\"] }",
        "path = \"/\"\nresponse_headers = { remove = [\"Server\"] }",
    ),
    case(
        Code::BadHeaderRule,
        PATH,
        "path = \"/\"\nrequest_headers = { remove = [\"X-Forwarded-For\"] }",
        "path = \"/\"\nrequest_headers = { remove = [\"X-Debug\"] }",
    ),
    case(
        Code::BadRedirect,
        TO,
        "redirect = { to = \"/x\", status = 305 }\n[[route]]\npath = \"/b\"\nupstream = \"app\"",
        "redirect = { to = \"/x\", status = 303 }\n[[route]]\npath = \"/b\"\nupstream = \"app\"",
    ),
    case(
        Code::Exclusive,
        TO,
        "upstream = \"app\"\nanswer = {}",
        "answer = {}\n[[route]]\npath = \"/b\"\nupstream = \"app\"",
    ),
    case(
        Code::NoEffect,
        PATH,
        "path = \"/\"\naccess = \"public\"\nrequire = { max_age = \"5m\" }",
        "path = \"/\"\naccess = \"optional\"\nrequire = { max_age = \"5m\" }",
    ),
    case(
        Code::NoEffect,
        PATH,
        "path = \"/\"\naccess = \"public\"\nidentity = { X-A = \"sub\" }",
        "path = \"/\"\naccess = \"public\"\ncredentials = [\"bearer\"]\nidentity = { X-A = \"sub\" }",
    ),
    case(
        Code::Impossible,
        PATH,
        "path = \"/\"\ncredentials = []",
        "path = \"/\"\naccess = \"public\"\ncredentials = []",
    ),
    case(
        Code::Impossible,
        PATH,
        "path = \"/\"\nissuers = []",
        "path = \"/\"\nissuers = [\"main\"]",
    ),
    case(
        Code::BadStreamEnd,
        TO,
        "upstream = \"app\"\nstreams = { on_revoked = \"keep\" }",
        "upstream = \"app\"\nstreams = { on_revoked = \"grace:5s\", on_expired = \"keep\" }",
    ),
    case(
        Code::NoEffect,
        TO,
        "upstream = \"app\"\nstreams = { on_expired = \"keep\", reauth_margin = \"1m\" }",
        "upstream = \"app\"\nstreams = { on_expired = \"grace:5s\", reauth_margin = \"1m\" }",
    ),
    case(
        Code::BadUpgrade,
        TO,
        "upstream = \"app\"\nupgrades = [\"tcp\", \"h2c\"]",
        "upstream = \"app\"\nupgrades = [\"tcp\", \"SPDY/3.1\"]",
    ),
    case(
        Code::BadCloseCode,
        TO,
        "upstream = \"app\"\nstreams = { close_code = 1000 }",
        "upstream = \"app\"\nstreams = { close_code = 4401 }",
    ),
    case(
        Code::BadOrigin,
        LISTEN,
        "external_origins = [\"app.example.com\"]",
        "external_origins = [\"https://app.example.com\"]",
    ),
    case(
        Code::BadCookie,
        "[[route]]",
        "[session]\ncookie = \"__Host-a\"\n[[route]]",
        "[session]\ncookie = \"a\"\n[[route]]",
    ),
    case(
        Code::BadCapture,
        PATH,
        "path = \"/\"\ncapture = { token = \"access_token\" }",
        "path = \"/\"\ncapture = { token = \"/access_token\" }",
    ),
    case(
        Code::BadLoginUrl,
        PATH,
        "path = \"/\"\nlogin_url = \"//evil.example\"",
        "path = \"/\"\nlogin_url = \"/login\"",
    ),
];
