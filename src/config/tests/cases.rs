//! One case for each diagnostic, with two sides: the text that has it and the text that is better by
//! one detail.

use super::assertion_cases::ASSERTIONS;
use super::route_cases::ROUTES;
use super::upstream_cases::UPSTREAMS;
use super::*;

/// What a diagnostic is about: its code, a text that has it, and the same text without it.
#[derive(Clone, Copy)]
pub(super) struct Case {
    code: Code,
    /// What of [`SMALLEST`] is replaced.
    from: &'static str,
    bad: &'static str,
    good: &'static str,
}

pub(super) const fn case(
    code: Code,
    from: &'static str,
    bad: &'static str,
    good: &'static str,
) -> Case {
    Case { code, from, bad, good }
}

const GENERAL: &[Case] = &[
    case(Code::Syntax, LISTEN, "listen = ", LISTEN),
    case(Code::Syntax, LISTEN, "listen = \"127.0.0.1:8080", LISTEN),
    case(Code::Syntax, LISTEN, "threads = 1\nthreads = 2", "threads = 1"),
    case(Code::UnsetVariable, LISTEN, "listen = \"${NONE}\"", "listen = \"${LISTEN}\""),
    case(
        Code::UnsetVariable,
        KEYS,
        "keys = { secret_env = \"NONE\" }",
        "keys = { secret_env = \"JWT_SECRET\" }",
    ),
    case(Code::BadVariable, LISTEN, "listen = \"${LISTEN\"", "listen = \"${LISTEN}\""),
    case(
        Code::BadVariable,
        KEYS,
        "keys = { secret_env = \"jwt secret\" }",
        "keys = { secret_env = \"JWT_SECRET\" }",
    ),
    case(Code::WrongType, LISTEN, "listen = 8080", LISTEN),
    case(Code::WrongType, LISTEN, "reveal_reason = \"no\"", "reveal_reason = false"),
    case(Code::WrongType, LISTEN, "limits = 7", "limits = {}"),
    case(
        Code::NotOfThisListener,
        "[[upstream]]",
        "[[listener]]\nlisten = \"127.0.0.1:0\"\nmode = \"0660\"\n[[upstream]]",
        "[[listener]]\nlisten = \"unix:p.sock\"\nmode = \"0660\"\n[[upstream]]",
    ),
    case(
        Code::NotOfThisListener,
        "[[upstream]]",
        "[[listener]]\nlisten = \"127.0.0.1:0\"\nipv6_only = false\n[[upstream]]",
        "[[listener]]\nlisten = \"[::1]:0\"\nipv6_only = false\n[[upstream]]",
    ),
    case(
        Code::BadSocketRights,
        "[[upstream]]",
        "[[listener]]\nlisten = \"unix:p.sock\"\nmode = \"u+rw\"\n[[upstream]]",
        "[[listener]]\nlisten = \"unix:p.sock\"\nmode = \"0660\"\n[[upstream]]",
    ),
    case(
        Code::BadSocketRights,
        "[[upstream]]",
        "[[listener]]\nlisten = \"unix:p.sock\"\ngroup = \"no such group\"\n[[upstream]]",
        "[[listener]]\nlisten = \"unix:p.sock\"\ngroup = \"0\"\n[[upstream]]",
    ),
    case(Code::WrongType, LISTEN, "threads = \"two\"", "threads = 2"),
    case(Code::WrongType, AUDIENCES, "audiences = \"a\"", "audiences = [\"a\"]"),
    case(Code::WrongType, AUDIENCES, "audiences = [\"a\", 7]", "audiences = [\"a\", \"7\"]"),
    case(Code::WrongType, "[[upstream]]", "[upstream]", "[[upstream]]"),
    case(Code::WrongType, "[[issuer]]", "[issuer]", "[[issuer]]"),
    case(Code::MissingKey, SERVERS, "", SERVERS),
    case(Code::MissingKey, AUDIENCES, "", AUDIENCES),
    case(Code::MissingKey, KEYS, "", KEYS),
    case(Code::MissingKey, PATH, "", PATH),
    case(Code::MissingKey, "issuer = \"https://id.example.com/\"", "", "issuer = \"x\""),
    case(
        Code::MissingKey,
        "issuer = \"https://id.example.com/\"",
        "missing = [\"iss\"]",
        "missing = [\"iss\"]\nid = \"x\"",
    ),
    case(Code::UnknownKey, LISTEN, "lisetn = \"127.0.0.1:8080\"", LISTEN),
    case(Code::UnknownKey, "[[upstream]]", "[admn]\n[[upstream]]", "[admin]\n[[upstream]]"),
    case(Code::MissingKey, LISTEN, "tls.certificates = []", LISTEN),
    case(
        Code::Duplicate,
        LISTEN,
        "listen = [\"0.0.0.0:8080\", \"127.0.0.1:8080\"]\ntrusted_proxies = [\"10.0.0.1\"]",
        "listen = [\"0.0.0.0:8080\", \"[::1]:8080\"]\ntrusted_proxies = [\"10.0.0.1\"]",
    ),
    case(
        Code::BadCookie,
        "[[route]]",
        "[session]\ndomain = \"10.0.0.1\"\n[[route]]",
        "[session]\ndomain = \"example.com\"\n[[route]]",
    ),
    case(
        Code::Empty,
        "[[route]]",
        "[store]\npath = \"\"\n[[route]]",
        "[store]\npath = \".\"\n[[route]]",
    ),
    case(
        Code::Empty,
        "[[route]]",
        "[[admin.token]]\nname = \"a\"\nrole = \"viewer\"\nenv = \"JWT_SECRET\"\nissuers = []\n[[route]]",
        "[[admin.token]]\nname = \"a\"\nrole = \"viewer\"\nenv = \"JWT_SECRET\"\nissuers = [\"main\"]\n[[route]]",
    ),
    case(
        Code::Empty,
        KEYS,
        "keys = { secrets = { a = { env = \"JWT_SECRET\", client = \"\" } } }",
        "keys = { secrets = { a = { env = \"JWT_SECRET\", client = \"a\" } } }",
    ),
    case(
        Code::BadAuthorities,
        "[[route]]",
        "[tracing]\notlp = \"https://a/\"\nca = \"keys.json\"\n[[route]]",
        "[tracing]\notlp = \"https://a/\"\n[[route]]",
    ),
    case(
        Code::InsecureRenewal,
        AUDIENCES,
        "audiences = [\"https://api.example.com\"]\nrenewal = { token_url = \"http://id.example.com/token\", \
         client_id = \"a\" }",
        "audiences = [\"https://api.example.com\"]\nrenewal = { token_url = \"http://127.0.0.1/token\", \
         client_id = \"a\" }",
    ),
    case(
        Code::Exclusive,
        AUDIENCES,
        "audiences = [\"https://api.example.com\"]\nrenewal = { client_id = \"a\", \
         endpoint = { url = \"https://a/\", token = \"/a\" } }",
        "audiences = [\"https://api.example.com\"]\nrenewal = { \
         endpoint = { url = \"https://a/\", token = \"/a\" } }",
    ),
    case(
        Code::MissingKey,
        AUDIENCES,
        "audiences = [\"https://api.example.com\"]\nrenewal = { token_url = \"https://a/\" }",
        "audiences = [\"https://api.example.com\"]\nrenewal = { token_url = \"https://a/\", client_id = \"a\" }",
    ),
    case(
        Code::InsecureKeys,
        KEYS,
        "keys = { jwks_url = \"http://id.example.com/keys\" }",
        "keys = { jwks_url = \"http://id.example.com/keys\", allow_http = true }",
    ),
    case(
        Code::BadUrl,
        KEYS,
        "keys = { jwks_url = \"id.example.com/keys\" }",
        "keys = { jwks_url = \"https://id.example.com/keys\" }",
    ),
    case(
        Code::BadIssuerUrl,
        "issuer = \"https://id.example.com/\"\naudiences = [\"https://api.example.com\"]\n\
         keys = { jwks_file = \"keys.json\" }",
        "issuer = \"home\"\naudiences = [\"a\"]\nkeys = { discovery = true }",
        "issuer = \"https://home\"\naudiences = [\"a\"]\nkeys = { discovery = true }",
    ),
    case(
        Code::BadAuthorities,
        KEYS,
        "keys = { discovery = true, ca = \"secret\" }",
        "keys = { discovery = true }",
    ),
    case(Code::Exclusive, KEYS, "keys = { secret_env = \"JWT_SECRET\", wait = \"1s\" }", KEYS),
    case(Code::Unsupported, SERVERS, "servers = [\"h2c://a\"]", "servers = [\"http://a\"]"),
    case(
        Code::BadChoice,
        KEYS,
        "mode = \"alowlist\"\nkeys = { jwks_file = \"keys.json\" }",
        "mode = \"allowlist\"\nkeys = { jwks_file = \"keys.json\" }",
    ),
    case(Code::Exclusive, PATH, "path = \"/\"\npath_exact = \"/a\"", "path_exact = \"/a\""),
    case(
        Code::Exclusive,
        KEYS,
        "keys = { jwks_file = \"keys.json\", secret_env = \"JWT_SECRET\" }",
        KEYS,
    ),
    case(Code::Exclusive, KEYS, "keys = { jwks_file = \"keys.json\", kid = \"a\" }", KEYS),
    case(Code::Exclusive, KEYS, "keys = {}", KEYS),
    case(Code::Exclusive, KEYS, "id = \"x\"\nkeys = { jwks_file = \"keys.json\" }", KEYS),
    case(Code::BadDuration, LISTEN, "drain_timeout = \"30\"", "drain_timeout = \"30s\""),
    case(Code::BadDuration, LISTEN, "drain_timeout = 30", "drain_timeout = \"30s\""),
    case(Code::BadSize, LISTEN, "signature_cache = \"64MB\"", "signature_cache = \"64MiB\""),
    case(
        Code::OutOfRange,
        KEYS,
        "leeway = \"301s\"\nkeys = { jwks_file = \"keys.json\" }",
        "leeway = \"300s\"\nkeys = { jwks_file = \"keys.json\" }",
    ),
    case(Code::OutOfRange, LISTEN, "threads = -1", "threads = 0"),
    case(Code::BadPath, LISTEN, "ready_path = \"ready\"", "ready_path = \"/ready\""),
    case(Code::BadPath, LISTEN, "ready_path = \"/\"", "ready_path = \"\""),
    case(Code::BadPath, LISTEN, "ready_path = \"/.auth/me\"", "ready_path = \"/.authentic\""),
    case(
        Code::OutOfRange,
        LISTEN,
        "limits.header_bytes_max = \"16KiB\"\nlimits.token_bytes_max = \"16KiB\"",
        "limits.header_bytes_max = \"17KiB\"\nlimits.token_bytes_max = \"16KiB\"",
    ),
    case(
        Code::BadAddress,
        LISTEN,
        "listen = \"localhost:8080\"",
        "listen = [\"127.0.0.1:8080\", \"unix:a.sock\"]",
    ),
    case(Code::BadAddress, LISTEN, "listen = \"unix:\"", "listen = \"unix:a\""),
    case(Code::BadUrl, SERVERS, "servers = [\"unix:\"]", "servers = [\"unix:a\"]"),
    case(Code::BadUrl, SERVERS, "servers = [\"127.0.0.1:3000\"]", SERVERS),
    case(Code::BadChoice, LISTEN, "forwarded = \"xforwarded\"", "forwarded = \"x-forwarded\""),
    case(
        Code::BadChoice,
        KEYS,
        "missing = [\"exp\"]\nkeys = { jwks_file = \"keys.json\" }",
        "missing = [\"iat\"]\nkeys = { jwks_file = \"keys.json\" }",
    ),
    case(
        Code::BadNetwork,
        LISTEN,
        "trusted_proxies = [\"10.0.0.1/8\"]",
        "trusted_proxies = [\"10.0.0.0/8\"]",
    ),
    case(Code::BadHost, LISTEN, "[admin]\nhosts = [\"a:1\"]", "[admin]\nhosts = [\"a\"]"),
];

const ISSUERS: &[Case] = &[
    case(Code::Empty, LISTEN, "listen = []", LISTEN),
    case(Code::Empty, LISTEN, "[admin]\nlisten = []", "[admin]"),
    case(
        Code::Duplicate,
        LISTEN,
        "[admin]\ntoken = [{ name = \"a\", role = \"admin\", env = \"JWT_SECRET\" }, { name = \"a\", role = \"viewer\", env = \"OTHER\" }]",
        "[admin]\ntoken = [{ name = \"a\", role = \"admin\", env = \"JWT_SECRET\" }, { name = \"b\", role = \"viewer\", env = \"OTHER\" }]",
    ),
    case(
        Code::Duplicate,
        "[[route]]",
        "[[upstream]]\nname = \"app\"\nservers = [\"http://a\"]\n[[route]]",
        "[[upstream]]\nname = \"b\"\nservers = [\"http://a\"]\n[[route]]",
    ),
    case(
        Code::Duplicate,
        PATH,
        "path = \"/\"\nidentity = { X-A = \"sub\", x_a = \"sub\" }",
        "path = \"/\"\nidentity = { X-A = \"sub\", x_b = \"sub\" }",
    ),
    case(
        Code::Duplicate,
        PATH,
        "path = \"/\"\ncredentials = [\"bearer\", \"bearer\"]",
        "path = \"/\"\ncredentials = [\"bearer\", \"cookie:a\"]",
    ),
    case(Code::Duplicate, LISTEN, "listen = \"127.0.0.1:9900\"", LISTEN),
    case(
        Code::Duplicate,
        KEYS,
        "claims = { indexed = [\"a\", \"a\"] }\nkeys = { jwks_file = \"keys.json\" }",
        "claims = { indexed = [\"a\", \"b\"] }\nkeys = { jwks_file = \"keys.json\" }",
    ),
    case(Code::Empty, SERVERS, "servers = []", SERVERS),
    case(Code::Empty, AUDIENCES, "audiences = []", "audiences = []\nmissing = [\"aud\"]"),
    case(Code::Empty, AUDIENCES, "audiences = [\"\"]", "audiences = [\" \"]"),
    case(Code::BadPath, PATH, "path = \"/a/../b\"", "path = \"/a/b\""),
    case(Code::BadPath, PATH, "path_exact = \"a\"", "path_exact = \"/a\""),
    case(
        Code::BadHost,
        PATH,
        "path = \"/\"\nhost = \"https://a.b\"",
        "path = \"/\"\nhost = \"*.a.b\"",
    ),
    case(
        Code::BadClaim,
        KEYS,
        "display = \"/a~2\"\nkeys = { jwks_file = \"keys.json\" }",
        "display = \"/a~1\"\nkeys = { jwks_file = \"keys.json\" }",
    ),
    case(
        Code::BadClaim,
        KEYS,
        "claims.subject = \"\"\nkeys = { jwks_file = \"keys.json\" }",
        "claims.subject = \"/data/id\"\nkeys = { jwks_file = \"keys.json\" }",
    ),
    case(
        Code::BadHeader,
        PATH,
        "path = \"/\"\nidentity = { Host = \"sub\" }",
        "path = \"/\"\nidentity = { X-Host = \"sub\" }",
    ),
    case(
        Code::BadHeader,
        PATH,
        "path = \"/\"\nidentity = { Content_Length = \"sub\" }",
        "path = \"/\"\nidentity = { X-Length = \"sub\" }",
    ),
    case(
        Code::BadHeader,
        PATH,
        "path = \"/\"\nidentity = { \"a b\" = \"sub\" }",
        "path = \"/\"\nidentity = { ab = \"sub\" }",
    ),
    case(
        Code::BadCredential,
        PATH,
        "path = \"/\"\ncredentials = [\"cookie:a b\"]",
        "path = \"/\"\ncredentials = [\"cookie:a.b\"]",
    ),
    case(
        Code::BadCredential,
        PATH,
        "path = \"/\"\ncredentials = [\"Bearer\"]",
        "path = \"/\"\ncredentials = [\"bearer\"]",
    ),
    case(Code::UnknownUpstream, TO, "upstream = \"ap\"", TO),
    case(
        Code::UnknownIssuer,
        PATH,
        "path = \"/\"\nissuers = [\"mian\"]",
        "path = \"/\"\nissuers = [\"main\"]",
    ),
    case(Code::BadName, "name = \"main\"", "name = \"ma in\"", "name = \"ma-in\""),
    case(
        Code::BadName,
        PATH,
        "path = \"/\"\nrequire.scopes = [\"read write\"]",
        "path = \"/\"\nrequire.scopes = [\"read\", \"write\"]",
    ),
    case(
        Code::BadName,
        KEYS,
        "claims.indexed = [\"/data/a\"]\nkeys = { jwks_file = \"keys.json\" }",
        "claims.indexed = { a = \"/data/a\" }\nkeys = { jwks_file = \"keys.json\" }",
    ),
    case(Code::FileUnreadable, KEYS, "keys = { jwks_file = \"none.json\" }", KEYS),
    case(
        Code::FileUnreadable,
        KEYS,
        "keys = { secret_file = \"none\" }",
        "keys = { secret_file = \"secret\" }",
    ),
    case(Code::FileUnreadable, KEYS, "keys = { jwks_file = \".\" }", KEYS),
    case(Code::BadKey, KEYS, "keys = { jwks_file = \"secret\" }", KEYS),
    case(Code::BadKey, KEYS, "keys = { pem_file = \"keys.json\" }", KEYS),
    case(
        Code::ShortSecret,
        KEYS,
        "keys = { secret_env = \"SHORT\" }",
        "keys = { secret_env = \"JWT_SECRET\" }",
    ),
    case(
        Code::ShortSecret,
        KEYS,
        "keys = { secrets = { a = { env = \"SHORT\" }, b = { env = \"JWT_SECRET\" } } }",
        "keys = { secrets = { a = { file = \"secret\" }, b = { env = \"JWT_SECRET\" } } }",
    ),
    case(
        Code::BadAlgorithm,
        KEYS,
        "algorithms = [\"HS256\"]\nkeys = { jwks_file = \"keys.json\" }",
        "algorithms = [\"ES256\"]\nkeys = { jwks_file = \"keys.json\" }",
    ),
    case(
        Code::BadAlgorithm,
        KEYS,
        "algorithms = [\"HS256\", \"ES256\"]\nkeys = { secret_env = \"JWT_SECRET\" }",
        "algorithms = [\"HS256\", \"HS512\"]\nkeys = { secret_env = \"JWT_SECRET\" }",
    ),
    case(
        Code::BadAlgorithm,
        KEYS,
        "algorithms = [\"none\", \"ES256\"]\nkeys = { jwks_file = \"keys.json\" }",
        KEYS,
    ),
    case(
        Code::BadAdminToken,
        LISTEN,
        "[[admin.token]]\nname = \"a\"\nrole = \"admin\"\nenv = \"SHORT\"",
        "[[admin.token]]\nname = \"a\"\nrole = \"admin\"\nenv = \"JWT_SECRET\"",
    ),
    case(
        Code::BadAdminToken,
        LISTEN,
        "[admin]\ntoken = [{ name = \"a\", role = \"admin\", env = \"JWT_SECRET\" }, { name = \"b\", role = \"admin\", file = \"secret\" }]",
        LISTEN,
    ),
];

const MISSING: &str = "missing = [\"aud\"]\nkeys = { jwks_file = \"keys.json\" }";
const INLINE: &str = "keys = { secret = \"a-shared-secret-of-at-least-32-bytes\" }";
const EXPOSED: &str = "[admin]\nlisten = \"0.0.0.0:9900\"";

const NOTICES: &[Case] = &[
    case(
        Code::InlineSecret,
        KEYS,
        "keys = { secret = \"${JWT_SECRET:-a-default-that-all-can-read}\" }",
        "keys = { secret = \"${JWT_SECRET}\" }",
    ),
    case(Code::MissingClaim, KEYS, MISSING, KEYS),
    case(Code::InlineSecret, KEYS, INLINE, "keys = { secret = \"${JWT_SECRET}\" }"),
    case(
        Code::OpenFile,
        KEYS,
        "keys = { secret_file = \"open\" }",
        "keys = { secret_file = \"secret\" }",
    ),
    case(Code::PlainHttp, PATH, "path = \"/\"\ncredentials = [\"cookie:a\"]", PATH),
    case(
        Code::PlainHttp,
        LISTEN,
        "listen = \"0.0.0.0:1\"",
        "listen = \"0.0.0.0:1\"\ntrusted_proxies = [\"10.0.0.7\"]",
    ),
    case(Code::SkippedKey, KEYS, "keys = { jwks_file = \"odd.json\" }", KEYS),
    case(
        Code::Unused,
        "[[route]]",
        "[[upstream]]\nname = \"b\"\nservers = [\"http://b\"]\n[[route]]",
        "[[route]]",
    ),
    case(
        Code::WayAround,
        TO,
        "upstream = \"app\"\nmethods = [\"GET\"]\n[[route]]\npath = \"/\"\naccess = \"public\"\nupstream = \"app\"",
        "upstream = \"app\"\nmethods = [\"GET\"]\n[[route]]\npath = \"/\"\naccess = \"public\"\nmethods = [\"POST\"]\nupstream = \"app\"",
    ),
    case(
        Code::WayAround,
        TO,
        "upstream = \"app\"\n[[route]]\npath = \"/\"\naccess = \"public\"\nheaders = { X-Debug = true }\nupstream = \"app\"",
        "upstream = \"app\"\n[[route]]\npath = \"/\"\nheaders = { X-Debug = true }\nupstream = \"app\"",
    ),
    case(Code::AdminExposed, LISTEN, EXPOSED, "[admin]\nlisten = \"127.0.0.1:9900\""),
    case(
        Code::TrustsEveryone,
        LISTEN,
        "trusted_proxies = [\"0.0.0.0/0\"]",
        "trusted_proxies = [\"0.0.0.0/1\"]",
    ),
    case(
        Code::Unreachable,
        PATH,
        "path = \"/auth/x\"\nupstream = \"app\"\n[session]\nprefix = \"/auth\"\n[[route]]\npath = \"/\"",
        "path = \"/authx\"\nupstream = \"app\"\n[session]\nprefix = \"/auth\"\n[[route]]\npath = \"/\"",
    ),
    case(
        Code::BadLoginUrl,
        PATH,
        "path = \"/\"\nlogin_url = \"/login?a=b\"",
        "path_exact = \"/login\"\naccess = \"public\"\nupstream = \"app\"\n[[route]]\npath = \"/\"\nlogin_url = \"/login?a=b\"",
    ),
    case(
        Code::LooseCookie,
        "[[route]]",
        "[session]\nsecure = false\n[[route]]",
        "[session]\nsecure = true\n[[route]]",
    ),
];

fn replaced(case: &Case, by: &str) -> String {
    assert!(SMALLEST.contains(case.from), "{}", case.from);
    SMALLEST.replacen(case.from, by, 1)
}

#[test]
fn each_mistake_is_named_once_and_the_text_without_it_loads() {
    let place = Place::new();
    for case in [GENERAL, ISSUERS, ROUTES, UPSTREAMS, ASSERTIONS].concat().iter() {
        let found = place.bad(&replaced(case, case.bad));
        let codes: Vec<Code> = found.items.iter().map(|item| item.code).collect();
        assert_eq!(codes, [case.code], "{}\n{found}", case.bad);
        place.good(&replaced(case, case.good));
    }
}

#[test]
fn each_notice_is_given_once_and_not_without_its_cause() {
    let place = Place::new();
    place.file("open", SECRET.as_bytes());
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(place.path("open"), readable).unwrap();
    let odd = JWKS.replacen("\"keys\": [", "\"keys\": [ { \"kty\": \"odd\" },", 1);
    place.file("odd.json", odd.as_bytes());
    for case in NOTICES {
        let codes = |text: &str| -> Vec<Code> {
            place.good(text).notes.items.iter().map(|item| item.code).collect()
        };
        assert_eq!(codes(&replaced(case, case.bad)), [case.code], "{}", case.bad);
        assert_eq!(codes(&replaced(case, case.good)), [], "{}", case.good);
    }
}

#[test]
fn every_code_has_a_case() {
    let cases = [GENERAL, ISSUERS, ROUTES, NOTICES, UPSTREAMS, ASSERTIONS].concat();
    // The file itself, the pod, the system's limits, and what is in certificates: no matter of a text.
    let elsewhere = [
        Code::Unreadable,
        Code::OnePerPod,
        Code::FewDescriptors,
        Code::BadCertificate,
        Code::CertificateDates,
        Code::OpenPrivateKey,
    ];
    for code in Code::ALL {
        assert!(
            elsewhere.contains(code) || cases.iter().any(|case| case.code == *code),
            "{code:?} has no case"
        );
    }
}
