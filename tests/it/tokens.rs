//! What a token must be to pass. Every refusal stands beside the good token that it differs from
//! by one detail, and no refused request reaches the backend.

use serde_json::{Value, json};

use crate::support::{Issuer, Key, Kind, Setup, TokenScene, Upstream, base64url};

const ALGORITHMS: [&str; 12] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
    "ES384", "EdDSA",
];

#[test]
fn each_algorithm_passes_with_its_key_and_fails_with_another_key() {
    let upstream = Upstream::new();
    let mut setup = Setup::new().upstream("app", &upstream, "");
    let mut issuers = Vec::new();
    for algorithm in ALGORITHMS {
        let issuer = Issuer::named(algorithm, &format!("https://{algorithm}.example/"), algorithm);
        setup = setup.issuer(&issuer, "");
        issuers.push(issuer);
    }
    let gateway = setup.start();
    for issuer in issuers {
        let name = issuer.algorithm.clone();
        assert_eq!(gateway.status(&issuer.mint("alice")), 200, "{name}");
        // Again, now that the signature is remembered.
        assert_eq!(gateway.status(&issuer.mint("alice")), 200, "{name}");
        let forged = issuer.token("alice").signed_by(&issuer.key.other(), &name).mint();
        let answer = gateway.get_with("/", &forged);
        assert_eq!((answer.status, answer.code().as_str()), (401, "token_invalid"), "{name}");
    }
}

#[test]
fn keys_from_a_jwks_file_verify_by_kid() {
    let upstream = Upstream::new();
    for algorithm in ["ES256", "RS256", "EdDSA"] {
        let mut issuer = Issuer::new(algorithm);
        issuer.kid = Some("2026-11".into());
        let gateway = Setup::new().issuer_jwks(&issuer, "").upstream("app", &upstream, "").start();
        assert_eq!(gateway.status(&issuer.mint("alice")), 200, "{algorithm}");
        let unknown = issuer.token("alice").header("kid", "2026-12").mint();
        assert_eq!(gateway.status(&unknown), 401, "{algorithm}");
    }
}

#[test]
fn a_secret_may_come_from_the_environment() {
    let mut issuer = Issuer::new("HS256");
    issuer.key = Key::Secret(b"from-the-environment-0123456789abcdef"[..].into());
    let gateway = Setup::new()
        .issuer_with_keys(&issuer, "{ secret_env = \"JWT_SECRET\" }", "")
        .environment("JWT_SECRET", "from-the-environment-0123456789abcdef")
        .upstream("app", &Upstream::new(), "")
        .start();
    assert_eq!(gateway.status(&issuer.mint("alice")), 200);
    let forged = issuer.token("alice").signed_by(&issuer.key.other(), "HS256").mint();
    assert_eq!(gateway.status(&forged), 401);
}

#[test]
fn a_missing_token_is_challenged_without_an_error_code() {
    let answer = TokenScene::new("ES256").gateway.get("/", &[]);
    assert_eq!((answer.status, answer.code().as_str()), (401, "token_missing"));
    let challenge = answer.header("www-authenticate").expect("a challenge");
    assert!(challenge.starts_with("Bearer"), "{challenge}");
    // RFC 6750 section 3.1: no error information when no credential came.
    assert!(!challenge.contains("error"), "{challenge}");
}

#[test]
fn the_header_never_chooses_the_algorithm() {
    let scene = TokenScene::new("RS256");
    scene.passes(&scene.good().mint());
    // The public key as an HMAC secret, in each spelling that libraries have fallen for.
    let pem = scene.issuer.key.public_pem();
    let jwk = scene.issuer.key.jwk().to_string();
    let spellings = [
        pem.clone(),
        pem.trim_end().to_owned(),
        format!(" \n{pem}"),
        pem.replace('\n', "\r\n"),
        jwk,
        String::new(),
    ];
    for secret in spellings {
        let key = Key::Secret(secret.as_bytes().into());
        for algorithm in ["HS256", "HS384", "HS512"] {
            let token = scene.good().header("alg", algorithm).signed_by(&key, algorithm).mint();
            scene.refuses_invalid(&format!("{algorithm} with the public key"), &token);
        }
    }
    // The right key with another of its algorithms: a key is bound to one.
    for algorithm in ["PS256", "RS384", "RS512"] {
        let token =
            scene.good().header("alg", algorithm).signed_by(&scene.issuer.key, algorithm).mint();
        scene.refuses_invalid(algorithm, &token);
    }
}

#[test]
fn a_jwk_without_alg_does_not_take_a_symmetric_token() {
    let upstream = Upstream::new();
    let issuer = Issuer::new("RS256");
    let set = json!({"keys": [issuer.key.jwk()]}).to_string();
    let gateway = Setup::new()
        .file("keys.json", &set)
        .issuer_with_keys(&issuer, "{ jwks_file = \"keys.json\" }", "")
        .upstream("app", &upstream, "")
        .start();
    assert_eq!(gateway.status(&issuer.mint("alice")), 200);
    let empty = Key::Secret([].into());
    let forged = issuer.token("alice").header("alg", "HS256").signed_by(&empty, "HS256").mint();
    assert_eq!(gateway.status(&forged), 401);
}

#[test]
fn none_in_any_spelling_is_no_algorithm() {
    let scene = TokenScene::new("ES256");
    scene.passes(&scene.good().mint());
    for alg in ["none", "None", "NONE", "NoNe", "", " none", "ES256 ", "es256"] {
        let token = scene.good().header("alg", alg).mint();
        scene.refuses_invalid(&format!("alg {alg:?} with a signature"), &token);
        let (unsigned, _) = token.rsplit_once('.').expect("two dots");
        scene.refuses_invalid(&format!("alg {alg:?}, empty signature"), &format!("{unsigned}."));
        scene.refuses_invalid(&format!("alg {alg:?}, no signature"), unsigned);
    }
    scene.refuses_invalid("no alg", &scene.good().without_header("alg").mint());
    let good = scene.good().mint();
    let (unsigned, _) = good.rsplit_once('.').expect("two dots");
    scene.refuses_invalid("signature cut off", &format!("{unsigned}."));
    let zeros = base64url([0; 64]);
    scene.refuses_invalid("r = s = 0", &format!("{unsigned}.{zeros}"));
}

#[test]
fn ecdsa_signatures_are_fixed_length_and_not_der() {
    let scene = TokenScene::new("ES256");
    let token = scene.good();
    let good = token.mint();
    scene.passes(&good);
    let (unsigned, signature) = good.rsplit_once('.').expect("two dots");
    let raw = decode(signature);
    let (r, s) = raw.split_at(32);
    let der = {
        let integer = |value: &[u8]| {
            let trimmed: Vec<u8> = value.iter().copied().skip_while(|byte| *byte == 0).collect();
            let mut body =
                if trimmed.first().is_some_and(|byte| *byte > 0x7f) { vec![0] } else { vec![] };
            body.extend(trimmed);
            let mut out = vec![0x02, u8::try_from(body.len()).unwrap()];
            out.extend(body);
            out
        };
        let body = [integer(r), integer(s)].concat();
        [vec![0x30, u8::try_from(body.len()).unwrap()], body].concat()
    };
    let variants = [
        ("DER", der),
        ("one byte short", raw[..63].to_vec()),
        ("one byte long", [raw.as_slice(), &[0]].concat()),
        ("r and s swapped", [s, r].concat()),
        ("r zero", [[0; 32].as_slice(), s].concat()),
        ("s zero", [r, [0; 32].as_slice()].concat()),
        ("empty", Vec::new()),
    ];
    for (what, signature) in variants {
        scene.refuses_invalid(what, &format!("{unsigned}.{}", base64url(signature)));
    }
}

#[test]
fn a_token_has_one_spelling() {
    let scene = TokenScene::new("RS256");
    // 256 bytes of signature leave four unused bits in the last base64url digit.
    let good = scene.good().claim("note", "a?b>c~").mint();
    scene.passes(&good);
    let (unsigned, signature) = good.rsplit_once('.').expect("two dots");
    let (header, claims) = unsigned.split_once('.').expect("a dot");
    let last = signature.chars().last().expect("not empty");
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let place = alphabet.find(last).expect("in the alphabet");
    let next = alphabet.as_bytes()[place + 1] as char;
    let loose = format!("{}{next}", &signature[..signature.len() - 1]);
    assert_eq!(decode(&loose), decode(signature), "another spelling of the same bytes");
    let variants = [
        ("padding", format!("{good}==")),
        ("unused bits", format!("{unsigned}.{loose}")),
        (
            "the other alphabet",
            format!("{unsigned}.{}", signature.replace('-', "+").replace('_', "/")),
        ),
        ("a fourth part", format!("{good}.")),
        ("a leading dot", format!(".{good}")),
        ("five parts", format!("{header}.{claims}.{signature}.{signature}.{signature}")),
        ("padding inside", format!("{header}=.{claims}.{signature}")),
        ("percent-encoded", good.replace('.', "%2E")),
        (
            "JSON serialization",
            json!({"payload": claims, "protected": header, "signature": signature}).to_string(),
        ),
    ];
    for (what, token) in variants {
        if token == good {
            continue;
        }
        let before = scene.upstream.begun();
        let answer = scene.gateway.get_with("/", &token);
        assert!(matches!(answer.status, 400 | 401), "{what}: {}", answer.status);
        assert_eq!(scene.upstream.begun(), before, "{what} reached the backend");
    }
}

#[test]
fn duplicate_members_in_header_or_claims_are_refused() {
    let scene = TokenScene::new("ES256");
    let token = scene.good();
    let header = serde_json::to_string(&token.header).unwrap();
    let claims = serde_json::to_string(&token.claims).unwrap();
    scene.passes(&token.mint_raw(&header, &claims));
    let twice = |text: &str, member: &str| format!("{},{member}}}", &text[..text.len() - 1]);
    for member in ["\"sub\":\"bob\"", "\"exp\":9999999999", "\"\\u0073ub\":\"bob\""] {
        scene.refuses_invalid(member, &token.mint_raw(&header, &twice(&claims, member)));
    }
    for member in ["\"alg\":\"ES256\"", "\"typ\":\"JWT\"", "\"\\u0061lg\":\"none\""] {
        scene.refuses_invalid(member, &token.mint_raw(&twice(&header, member), &claims));
    }
    for text in ["", "null", "[]", "\"alice\"", "{", "{}{}", "\u{feff}{}", "NaN"] {
        scene.refuses_invalid(&format!("claims {text:?}"), &token.mint_raw(&header, text));
        scene.refuses_invalid(&format!("header {text:?}"), &token.mint_raw(text, &claims));
    }
}

#[test]
fn header_members_that_name_keys_or_extensions_are_refused() {
    let scene = TokenScene::new("ES256");
    scene.passes(&scene.good().mint());
    let stranger = Key::new(Kind::P256);
    let members: [(&str, Value); 9] = [
        ("jwk", stranger.jwk()),
        ("jku", "http://127.0.0.1:9/keys".into()),
        ("x5u", "http://127.0.0.1:9/chain".into()),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("zip", "DEF".into()),
        ("kid", json!(["main"])),
        ("typ", "logout+jwt".into()),
    ];
    for (name, value) in members {
        let token = scene.good().header(name, value.clone());
        scene.refuses_invalid(&format!("{name} = {value}"), &token.mint());
        let forged = token.signed_by(&stranger, "ES256").mint();
        scene.refuses_invalid(&format!("{name} = {value}, signed by a stranger"), &forged);
    }
    let encrypted = scene.good().header("enc", "A256GCM").header("alg", "PBES2-HS256+A128KW");
    scene.refuses_invalid("JWE header", &encrypted.header("p2c", 2_000_000_000).mint());
    for kid in ["../../../../dev/null", "' OR 1=1 --", &"k".repeat(4000)] {
        let forged = scene.good().header("kid", kid).signed_by(&stranger, "ES256").mint();
        scene.refuses_invalid("a strange kid", &forged);
    }
}

#[test]
fn an_oversized_token_is_refused_and_the_gateway_goes_on() {
    let scene = TokenScene::new("ES256");
    let of_size = |bytes: usize| scene.good().claim("note", "x".repeat(bytes * 3 / 4)).mint();
    scene.passes(&of_size(8 * 1024));
    let before = scene.upstream.begun();
    let answer = scene.gateway.get_with("/", &of_size(32 * 1024));
    assert!(matches!(answer.status, 400 | 401 | 431), "{}", answer.status);
    let mut connection = scene.gateway.connect();
    let huge = of_size(1024 * 1024);
    // The gateway may close before it has read all, and then the answer can be lost on the way.
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {huge}\r\n\r\n");
    let _ = connection.try_send(request);
    if let Ok(answer) = connection.answer_to("GET") {
        assert!(matches!(answer.status, 400 | 401 | 431), "{}", answer.status);
    }
    assert_eq!(scene.upstream.begun(), before);
    scene.passes(&scene.good().mint());
}

fn decode(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    use base64::alphabet::URL_SAFE;
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    let lenient = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&URL_SAFE, lenient).decode(text).unwrap()
}
