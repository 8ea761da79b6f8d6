//! Mistakes of `[assertion]`, its clients and the routes that vouch, each with the text that is right.

use super::super::Code;
use super::cases::{Case, case};
use super::*;

const ROUTE: &str = "[[route]]";

pub(super) const ASSERTIONS: &[Case] = &[
    case(
        Code::Empty,
        ROUTE,
        "[assertion]\nissuer = \"g\"\nclient = [{ name = \"c\", secret_env = \"JWT_SECRET\", audience = \"a\", may_call = [] }]\n[[route]]",
        "[assertion]\nissuer = \"g\"\nclient = [{ name = \"c\", secret_env = \"JWT_SECRET\", audience = \"a\", may_call = [\"b\"] }]\n[[route]]",
    ),
    case(
        Code::BadAssertion,
        TO,
        "upstream = \"app\"\nassertion = { audience = \"a\" }",
        "upstream = \"app\"\nassertion = { audience = \"a\" }\n[assertion]\nissuer = \"https://gateway\"",
    ),
    case(
        Code::BadAssertion,
        ROUTE,
        "[assertion]\nissuer = \"https://id.example.com/\"\n[[route]]",
        "[assertion]\nissuer = \"https://gateway\"\n[[route]]",
    ),
    case(
        Code::BadAssertion,
        ROUTE,
        "[session]\nprefix = \"\"\n[assertion]\nissuer = \"https://gateway\"\n[[route]]",
        "[session]\nprefix = \"/.a\"\n[assertion]\nissuer = \"https://gateway\"\n[[route]]",
    ),
    case(
        Code::BadAssertion,
        ROUTE,
        "[assertion]\nissuer = \"g\"\nclient = [{ name = \"c\", secret_env = \"JWT_SECRET\", audience = \"a\", may_call = [\"a\"] }]\n[[route]]",
        "[assertion]\nissuer = \"g\"\nclient = [{ name = \"c\", secret_env = \"JWT_SECRET\", audience = \"a\", may_call = [\"b\"] }]\n[[route]]",
    ),
    case(
        Code::BadAssertion,
        TO,
        "upstream = \"app\"\nassertion = { audience = \"a\", claims = [\"/act/sub\"] }\n[assertion]\nissuer = \"g\"",
        "upstream = \"app\"\nassertion = { audience = \"a\", claims = [\"/data/sub\"] }\n[assertion]\nissuer = \"g\"",
    ),
    case(
        Code::BadHeader,
        TO,
        "upstream = \"app\"\nassertion = { audience = \"a\", header = \"Authorization\" }\n[assertion]\nissuer = \"g\"",
        "upstream = \"app\"\nassertion = { audience = \"a\", header = \"X-Who\" }\n[assertion]\nissuer = \"g\"",
    ),
    case(
        Code::Duplicate,
        TO,
        "upstream = \"app\"\nidentity = { X_Who = \"sub\" }\nassertion = { audience = \"a\", header = \"X-Who\" }\n[assertion]\nissuer = \"g\"",
        "upstream = \"app\"\nidentity = { X_Whom = \"sub\" }\nassertion = { audience = \"a\", header = \"X-Who\" }\n[assertion]\nissuer = \"g\"",
    ),
    case(
        Code::BadHeaderRule,
        TO,
        "upstream = \"app\"\nassertion = { audience = \"a\" }\nrequest_headers = { set = { X_Portcullis_Assertion = \"a\" } }\n[assertion]\nissuer = \"g\"",
        "upstream = \"app\"\nassertion = { audience = \"a\" }\nrequest_headers = { set = { X_Portcullis = \"a\" } }\n[assertion]\nissuer = \"g\"",
    ),
    case(
        Code::NoEffect,
        TO,
        "upstream = \"app\"\naccess = \"public\"\nassertion = { audience = \"a\" }\n[assertion]\nissuer = \"g\"",
        "upstream = \"app\"\naccess = \"optional\"\nassertion = { audience = \"a\" }\n[assertion]\nissuer = \"g\"",
    ),
    case(
        Code::NoEffect,
        TO,
        "answer = {}\nassertion = { audience = \"a\" }\n[assertion]\nissuer = \"g\"\n[[route]]\npath = \"/b\"\nupstream = \"app\"",
        "answer = {}\n[assertion]\nissuer = \"g\"\n[[route]]\npath = \"/b\"\nupstream = \"app\"",
    ),
    case(
        Code::BadKey,
        ROUTE,
        "[assertion]\nissuer = \"g\"\nkey_files = [\"secret\"]\n[[route]]",
        "[assertion]\nissuer = \"g\"\n[[route]]",
    ),
    case(
        Code::Empty,
        ROUTE,
        "[assertion]\nissuer = \"g\"\nkey_files = []\n[[route]]",
        "[assertion]\nissuer = \"g\"\n[[route]]",
    ),
    case(
        Code::OutOfRange,
        TO,
        "upstream = \"app\"\nassertion = { audience = \"a\", lifetime = \"1h\" }\n[assertion]\nissuer = \"g\"",
        "upstream = \"app\"\nassertion = { audience = \"a\", lifetime = \"10m\" }\n[assertion]\nissuer = \"g\"",
    ),
    case(
        Code::ShortSecret,
        ROUTE,
        "[assertion]\nissuer = \"g\"\nclient = [{ name = \"c\", secret_env = \"SHORT\", audience = \"a\", may_call = [\"b\"] }]\n[[route]]",
        "[assertion]\nissuer = \"g\"\nclient = [{ name = \"c\", secret_env = \"JWT_SECRET\", audience = \"a\", may_call = [\"b\"] }]\n[[route]]",
    ),
    case(
        Code::Exclusive,
        ROUTE,
        "[assertion]\nissuer = \"g\"\nclient = [{ name = \"c\", audience = \"a\", may_call = [\"b\"] }]\n[[route]]",
        "[assertion]\nissuer = \"g\"\nclient = [{ name = \"c\", secret_file = \"secret\", audience = \"a\", may_call = [\"b\"] }]\n[[route]]",
    ),
];
