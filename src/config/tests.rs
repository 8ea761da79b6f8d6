//! The reader as a whole: what loads, how mistakes are shown, and that no secret is ever shown.

use std::path::{Path, PathBuf};

use super::*;

/// A directory with the key files that the examples name.
struct Place {
    directory: tempfile::TempDir,
}

const SECRET: &str = "a-shared-secret-of-at-least-64-bytes-that-must-never-be-printed-anywhere";
const JWKS: &str = include_str!("../../docs/example/issuer.jwks.json");

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = Self { directory };
        place.file("keys.json", JWKS.as_bytes());
        place.file("secret", format!("{SECRET}\n").as_bytes());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.path(name))
            .unwrap();
        file.write_all(bytes).unwrap();
    }

    fn parse(&self, text: &str) -> Result<Loaded, Diagnostics> {
        let environment = |name: &str| match name {
            "JWT_SECRET" => Some(SECRET.to_owned()),
            "SHORT" => Some("hunter2".to_owned()),
            "LISTEN" => Some("127.0.0.1:1234".to_owned()),
            _ => None,
        };
        parse(text, &self.path("gateway.toml"), &environment)
    }

    fn good(&self, text: &str) -> Loaded {
        self.parse(text).unwrap_or_else(|found| panic!("{found}"))
    }

    /// The diagnostics of a text that cannot be used.
    fn bad(&self, text: &str) -> Diagnostics {
        self.parse(text).err().unwrap_or_else(|| panic!("accepted:\n{text}"))
    }
}

const SMALLEST: &str = r#"
[server]
listen = "127.0.0.1:8080"

[[issuer]]
name = "main"
issuer = "https://id.example.com/"
audiences = ["https://api.example.com"]
keys = { jwks_file = "keys.json" }

[[upstream]]
name = "app"
servers = ["http://127.0.0.1:3000"]

[[route]]
path = "/"
upstream = "app"
"#;

#[test]
fn the_smallest_file_loads_with_safe_defaults() {
    let loaded = Place::new().good(SMALLEST);
    assert_eq!(loaded.notes.items, []);
    let config = loaded.config;
    let policy = &config.issuers[0].policy;
    assert_eq!(policy.iss.as_deref(), Some("https://id.example.com/"));
    assert_eq!(policy.id.as_str(), "https://id.example.com/");
    assert_eq!(policy.max_lifetime, Duration::from_secs(86_400));
    assert_eq!(policy.leeway, Duration::from_secs(30));
    assert_eq!(policy.missing, crate::verify::Missing::default());
    assert!(policy.algorithms.iter().all(|algorithm| !algorithm.is_symmetric()));
    assert_eq!(config.issuers[0].keys.keys().len(), 1);
    let route = &config.routes[0];
    assert_eq!((route.access, route.forward), (Access::Required, Forward::Strip));
    assert_eq!(route.credentials, [Carrier::Bearer]);
    assert_eq!(route.name, "* /");
    assert_eq!(route.line, 15);
    assert!(config.server.trusted_proxies.is_empty());
    assert!(config.admin.listen.iter().all(|listen| match listen {
        Listen::Tcp(address) => address.ip().is_loopback(),
        Listen::Unix(_) => true,
    }));
}

#[test]
fn three_mistakes_come_out_in_one_run() {
    let place = Place::new();
    let text = r#"[server]
listen = "127.0.0.1:8080"

[[issuer]]
name = "main"
issuer = "https://id.example.com/"
audience = "https://api.example.com"
keys = { pem_file = "keys/main.pem" }

[[upstream]]
name = "app"
servers = ["http://127.0.0.1:3000"]

[[route]]
path = "/"
access = "required"
upstream = "ap"
"#;
    let found = place.bad(text);
    let directory = place.directory.path().display();
    let expected = format!(
        r#"error[C012]: unknown key `audience` in [[issuer]]
  --> {directory}/gateway.toml:7:1
  |
7 | audience = "https://api.example.com"
  | ^^^^^^^^ did you mean `audiences`?
  = help: it is a list: audiences = ["https://api.example.com"]

error[C040]: the key file cannot be read
  --> {directory}/gateway.toml:8:21
  |
8 | keys = {{ pem_file = "keys/main.pem" }}
  |                     ^^^^^^^^^^^^^^^
  = {directory}/keys/main.pem: no such file
  = help: relative paths start at the config file's directory

error[C031]: no upstream is named "ap"
  --> {directory}/gateway.toml:17:12
   |
17 | upstream = "ap"
   |            ^^^^ did you mean "app" (line 11)?

3 errors in {directory}/gateway.toml. Nothing was changed; a running gateway keeps the config it has.
"#
    );
    assert_eq!(found.render(false), expected);
}

/// What a diagnostic is about: its code, a text that has it, and the same text without it.
struct Case {
    code: Code,
    /// What of [`SMALLEST`] is replaced.
    from: &'static str,
    bad: &'static str,
    good: &'static str,
}

fn case(code: Code, from: &'static str, bad: &'static str, good: &'static str) -> Case {
    Case { code, from, bad, good }
}

const LISTEN: &str = "listen = \"127.0.0.1:8080\"";
const KEYS: &str = "keys = { jwks_file = \"keys.json\" }";
const SERVERS: &str = "servers = [\"http://127.0.0.1:3000\"]";
const AUDIENCES: &str = "audiences = [\"https://api.example.com\"]";
const PATH: &str = "path = \"/\"";
const TO: &str = "upstream = \"app\"";

fn general_cases() -> Vec<Case> {
    vec![
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
        case(
            Code::Unsupported,
            KEYS,
            "keys = { jwks_url = \"https://id.example.com/keys\" }",
            KEYS,
        ),
        case(Code::Unsupported, KEYS, "keys = { discovery = true }", KEYS),
        case(Code::Unsupported, LISTEN, "tls.certificates = []", LISTEN),
        case(Code::Unsupported, SERVERS, "servers = [\"https://a\"]", "servers = [\"http://a\"]"),
        case(
            Code::Unsupported,
            KEYS,
            "mode = \"allowlist\"\nkeys = { jwks_file = \"keys.json\" }",
            "mode = \"denylist\"\nkeys = { jwks_file = \"keys.json\" }",
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
    ]
}

fn issuer_and_route_cases() -> Vec<Case> {
    vec![
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
        case(
            Code::Unreachable,
            TO,
            "upstream = \"app\"\n[[route]]\npath = \"/\"\nupstream = \"app\"",
            "upstream = \"app\"\n[[route]]\npath_exact = \"/\"\nupstream = \"app\"",
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
    ]
}

fn notice_cases() -> Vec<Case> {
    let missing = "missing = [\"aud\"]\nkeys = { jwks_file = \"keys.json\" }";
    let inline = "keys = { secret = \"a-shared-secret-of-at-least-32-bytes\" }";
    let exposed = "[admin]\nlisten = \"0.0.0.0:9900\"";
    vec![
        case(Code::MissingClaim, KEYS, missing, KEYS),
        case(Code::InlineSecret, KEYS, inline, "keys = { secret = \"${JWT_SECRET}\" }"),
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
        case(Code::AdminExposed, LISTEN, exposed, "[admin]\nlisten = \"127.0.0.1:9900\""),
        case(
            Code::TrustsEveryone,
            LISTEN,
            "trusted_proxies = [\"0.0.0.0/0\"]",
            "trusted_proxies = [\"0.0.0.0/1\"]",
        ),
    ]
}

fn replaced(case: &Case, by: &str) -> String {
    assert!(SMALLEST.contains(case.from), "{}", case.from);
    SMALLEST.replacen(case.from, by, 1)
}

#[test]
fn each_mistake_is_named_once_and_the_text_without_it_loads() {
    let place = Place::new();
    for case in general_cases().iter().chain(&issuer_and_route_cases()) {
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
    for case in notice_cases() {
        let codes = |text: &str| -> Vec<Code> {
            place.good(text).notes.items.iter().map(|item| item.code).collect()
        };
        assert_eq!(codes(&replaced(&case, case.bad)), [case.code], "{}", case.bad);
        assert_eq!(codes(&replaced(&case, case.good)), [], "{}", case.good);
    }
}

#[test]
fn every_code_has_a_case() {
    let cases = [general_cases(), issuer_and_route_cases(), notice_cases()].concat_codes();
    for code in Code::ALL {
        // The file itself: tested below, since it needs no text.
        assert!(*code == Code::Unreadable || cases.contains(code), "{code:?} has no case");
    }
}

trait Codes {
    fn concat_codes(&self) -> Vec<Code>;
}

impl Codes for [Vec<Case>; 3] {
    fn concat_codes(&self) -> Vec<Code> {
        self.iter().flatten().map(|case| case.code).collect()
    }
}

#[test]
fn a_config_file_that_cannot_be_read_is_one_diagnostic() {
    let place = Place::new();
    let codes = |path: &Path| -> Vec<Code> {
        load(path).unwrap_err().items.iter().map(|item| item.code).collect()
    };
    assert_eq!(codes(&place.path("none.toml")), [Code::Unreadable]);
    place.file("latin.toml", b"# caf\xe9\n");
    assert_eq!(codes(&place.path("latin.toml")), [Code::Unreadable]);
    place.file("good.toml", SMALLEST.as_bytes());
    assert!(load(&place.path("good.toml")).is_ok());
}

#[test]
fn a_broken_line_hides_no_other_mistake_and_invents_none() {
    let text = SMALLEST
        .replacen("name = \"main\"", "name = main", 1)
        .replacen("servers", "server", 1)
        .replacen(PATH, "path = \"/%2e\"", 1);
    let found = Place::new().bad(&text);
    let seen: Vec<(Code, usize)> =
        found.items.iter().map(|item| (item.code, item.place.as_ref().unwrap().line)).collect();
    assert_eq!(seen, [(Code::Syntax, 6), (Code::UnknownKey, 13), (Code::BadPath, 16)], "{found}");
}

/// Puts a secret wherever one may be written, right or wrong, with mistakes around it.
#[test]
fn no_secret_is_ever_printed() {
    const SEED: &str = "Hunter2-hunter2/hunter2+hunter2.hunter2";
    let place = Place::new();
    let values = [
        "secret = \"SEED\"",
        "secret = SEED",
        "secret: SEED",
        "secret SEED",
        "secret = [\"SEED\"]",
        "secret = { value = \"SEED\" }",
        "secrt = \"SEED\"",
        "password = \"SEED\"",
        "api_token = \"SEED\"",
        "keys = \"SEED\"",
        "keys = [\"SEED\"]",
        "keys = { secret = \"SEED }",
        "keys = { secret = \"SEED\", nonsense = 1 }",
        "keys = { secret = \"SEED\" } }",
        "keys = { secret = \"${SEED}\" }",
        "keys = { secret = \"${NONE} SEED\" }",
        "keys = { secret_env = \"SEED\" }",
        "keys = { secret_env = \"SEED\", secret = \"SEED\" }",
        "keys = { secret_file = \"SEED\" }",
        "keys = { secret_file = \"/SEED\" }",
        "keys = { secrets = { a = \"SEED\" } }",
        "keys = { secrets = \"SEED\" }",
        "keys = { secrets = { a = { env = \"SEED\" }, b = { file = \"SEED\" }, c = { value = \"SEED\" } } }",
        "keys = { kid = 7, value = \"SEED\" }",
        "keys = { sceret = \"SEED\" }",
        "keys.secret = \"SEED\"\nkeys.secret = \"SEED\"",
        "keys.secret = '''\nSEED\n'''\nnonsense = 1",
        "keys = { # secret = \"SEED\"\n}",
        "algorithms = [\"HS512\"]\nkeys = { secret = \"SEED\" }",
        "algorithms = [\"ES256\"]\nkeys = { secret = \"SEED\" }",
        "[[admin.token]]\nname = \"a\"\nrole = \"adm\"\nfile = \"SEED\"",
        "[[admin.token]]\nname = \"a\"\nrole = \"adm\"\nenv = \"SEED\"",
        "[[admin.token]]\nname = 7\ntoken = \"SEED\"\nvalue = \"SEED\"",
        "[admin]\ntoken = \"SEED\"",
        "[[upstream]]\nname = \"b\"\nservers = [\"http://dana:SEED@127.0.0.1:1\"]",
        "[issuer.keys]\nsecret = \"SEED",
        "[issuer.keys.secrets]\na = \"SEED\"\nb = SEED",
    ];
    for value in values {
        let text = SMALLEST.replacen(KEYS, &value.replace("SEED", SEED), 1);
        let found = match place.parse(&text) {
            Ok(loaded) => loaded.notes,
            Err(found) => found,
        };
        let shown = format!(
            "{}\n{}\n{}\n{found:?}",
            found.render(false),
            found.render(true),
            found.to_json()
        );
        for part in ["unter2", "Hunter"] {
            assert!(!shown.contains(part), "{value}\n{shown}");
        }
        assert!(found.has_errors() || value.contains("HS"), "{value} was accepted");
    }
}

#[test]
fn what_the_environment_says_is_not_printed_either() {
    let text = SMALLEST.replacen(LISTEN, "listen = \"${JWT_SECRET}\"", 1);
    let found = Place::new().bad(&text);
    assert!(found.render(false).contains("\"${JWT_SECRET}\" is not an address"), "{found}");
    assert!(!found.render(false).contains("a-shared-secret"), "{found}");
    let good = SMALLEST.replacen(KEYS, "keys = { secret_env = \"JWT_SECRET\" }", 1);
    let loaded = Place::new().good(&good);
    let shown = format!("{}{}{loaded:?}", report(&loaded), report_json(&loaded));
    assert!(shown.contains("secret from env JWT_SECRET") && !shown.contains("a-shared-secret"));
}

#[test]
fn an_unset_variable_is_named_with_its_line() {
    let text = SMALLEST.replacen(SERVERS, "servers = [\"${BACKEND}\"]", 1);
    let found = Place::new().bad(&text);
    assert_eq!(found.items.len(), 1, "{found}");
    assert_eq!(found.items[0].message, "the environment variable BACKEND is not set");
    assert_eq!(found.items[0].place.as_ref().unwrap().line, 13);
}

#[test]
fn json_has_what_the_text_has() {
    let found = Place::new().bad(&SMALLEST.replacen(LISTEN, "lisetn = \"127.0.0.1:8080\"", 1));
    let json = found.to_json();
    let first = &json[0];
    assert_eq!(first["code"], "C012");
    assert_eq!((first["line"].as_u64(), first["column"].as_u64()), (Some(3), Some(1)));
    assert_eq!(first["message"], "unknown key `lisetn` in [server]");
    assert_eq!(first["suggestion"], "did you mean `listen`?");
    assert!(first["file"].as_str().unwrap().ends_with("gateway.toml"));
}

#[test]
fn colour_is_only_there_when_asked_for() {
    let found = Place::new().bad("x");
    assert!(found.render(true).contains("\x1b[1;31merror"));
    assert!(!found.render(false).contains('\x1b'));
}

#[test]
fn routes_are_ordered_by_what_they_say_and_not_by_where_they_stand() {
    let routes = [
        ("*", "path = \"/\""),
        ("*", "path = \"/api/\""),
        ("*.example.com", "path = \"/\""),
        ("*.b.example.com", "path = \"/\""),
        ("a.example.com", "path = \"/\""),
        ("a.example.com", "path = \"/api\""),
        ("a.example.com", "path_exact = \"/\""),
        ("b.example.com", "path = \"/x\""),
    ];
    let expected = [
        "a.example.com =/",
        "a.example.com /api",
        "a.example.com /",
        "b.example.com /x",
        "*.b.example.com /",
        "*.example.com /",
        "* /api/",
        "* /",
    ];
    let place = Place::new();
    for turn in 0..routes.len() {
        let mut text = SMALLEST.split("[[route]]").next().unwrap().to_owned();
        for (host, path) in routes.iter().cycle().skip(turn).take(routes.len()) {
            text += &format!("[[route]]\nhost = \"{host}\"\n{path}\nupstream = \"app\"\n");
        }
        let routes = place.good(&text).config.routes;
        let names: Vec<&str> = order(&routes).iter().map(|at| routes[*at].name.as_str()).collect();
        assert_eq!(names, expected);
    }
}

#[test]
fn a_secret_file_loses_one_newline_and_an_admin_token_keeps_its_limits() {
    let text = format!(
        "{}\n[[admin.token]]\nname = \"shop\"\nrole = \"revoker\"\nfile = \"secret\"\nissuers = [\"main\"]\n",
        SMALLEST.replacen(KEYS, "keys = { secret_file = \"secret\", kid = \"a\" }", 1)
    );
    let config = Place::new().good(&text).config;
    let token = &config.admin.tokens[0];
    assert!(token.secret.matches(SECRET.as_bytes()));
    assert_eq!(
        (token.role, token.issuers.as_deref()),
        (Role::Revoker, Some(&["main".to_owned()][..]))
    );
    assert_eq!(config.issuers[0].keys.keys()[0].kid(), Some("a"));
    assert_eq!(config.issuers[0].policy.algorithms, [crate::keys::Algorithm::HS256]);
}

#[test]
fn an_issuer_without_iss_is_known_by_its_id() {
    let text = SMALLEST
        .replacen(
            "issuer = \"https://id.example.com/\"",
            "id = \"shop\"\nmissing = [\"iss\", \"aud\"]",
            1,
        )
        .replacen(AUDIENCES, "claims = { subject = \"/data/id\" }", 1);
    let loaded = Place::new().good(&text);
    let policy = &loaded.config.issuers[0].policy;
    assert_eq!((policy.id.as_str(), &policy.iss), ("shop", &None));
    assert_eq!(policy.claims.subject.to_string(), "/data/id");
    assert_eq!(loaded.notes.count(Severity::Warning), 2);
}

#[test]
fn the_good_screen_shows_listeners_issuers_and_the_route_table() {
    let place = Place::new();
    let text = SMALLEST.replacen(
        "[[route]]",
        "[[route]]\npath = \"/api/\"\nrequire = { scopes = [\"read\"] }\nupstream = \"app\"\n[[route]]\naccess = \"public\"",
        1,
    );
    let loaded = place.good(&text);
    let directory = place.directory.path().display();
    let expected = format!(
        "{directory}/gateway.toml is valid.

  listen    http://127.0.0.1:8080
  admin     http://127.0.0.1:9900  and  unix:{directory}/data/admin.sock
  store     embedded in {directory}/data: one gateway only
  issuer    main  https://id.example.com/  jwks_file keys.json, tokens live at most 24h

  #  host  path   access    needs       upstream
  1  *     /api/  required  scope read  app       http://127.0.0.1:3000
  2  *     /      public    -           app       http://127.0.0.1:3000

  Tried in this order: exact host, then longest path; never file order.
"
    );
    assert_eq!(report(&loaded), expected);
    let json = report_json(&loaded);
    assert_eq!(json["routes"][0]["path"], "/api/");
    assert_eq!(json["issuers"][0]["max_lifetime"], "24h");
}

#[test]
fn flags_make_the_same_configuration_as_the_file() {
    let place = Place::new();
    let flags = Flags {
        listen: vec!["127.0.0.1:8080".into()],
        upstream: vec!["http://127.0.0.1:3000".into()],
        issuer: Some("https://id.example.com/".into()),
        audiences: vec!["https://api.example.com".into()],
        jwks_file: Some("keys.json".into()),
        ..Flags::default()
    };
    let (from_file, from_flags) = (place.good(SMALLEST), place.good(&super::from_flags(&flags)));
    assert_eq!(from_file.config.issuers[0].policy, from_flags.config.issuers[0].policy);
    assert_eq!(format!("{:?}", from_file.config.server), format!("{:?}", from_flags.config.server));
    assert_eq!(from_file.config.routes[0].path, from_flags.config.routes[0].path);
    // Nothing that a flag says can become another key.
    let hostile = "a\"\nname = \"b${HOME}\\";
    let flags = Flags { issuer: Some(hostile.into()), ..flags };
    let loaded = place.good(&super::from_flags(&flags));
    assert_eq!(loaded.config.issuers[0].policy.iss.as_deref(), Some(hostile));
}
