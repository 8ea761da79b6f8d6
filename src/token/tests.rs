//! The form: one good token, and every way in which another spelling or shape is refused.

use super::base64url::encode;
use super::*;

const HEADER: &str = r#"{"alg":"ES256","kid":"k","typ":"JWT"}"#;
const CLAIMS: &str = r#"{"sub":"alice","exp":1700000000}"#;

fn token(header: &str, claims: &str) -> String {
    format!("{}.{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()), encode(b"signature"))
}

fn fault(token: &str) -> FormFault {
    Compact::parse(token).expect_err("it should be refused")
}

fn header_fault(header: &str) -> FormFault {
    fault(&token(header, CLAIMS))
}

#[test]
fn a_well_formed_token_is_taken_apart() {
    let text = token(HEADER, CLAIMS);
    let parsed = Compact::parse(&text).unwrap();
    assert_eq!(parsed.header.alg, "ES256");
    assert_eq!(parsed.header.kid.as_deref(), Some("k"));
    assert_eq!(parsed.header.typ.as_deref(), Some("JWT"));
    assert_eq!(parsed.claims.member("sub").unwrap(), "alice");
    assert_eq!(format!("{}.{}", parsed.signing_input, parsed.signature), text);
    assert_eq!(parsed.signing_digest(), sha256(parsed.signing_input.as_bytes()));
    assert_eq!(
        format!("{:?}", Credential::new(&text)),
        format!("Credential({} bytes)", text.len())
    );
}

// C5
#[test]
fn a_token_that_is_not_three_non_empty_parts_is_refused() {
    let good = token(HEADER, CLAIMS);
    let (header, claims) = (encode(HEADER.as_bytes()), encode(CLAIMS.as_bytes()));
    assert!(Compact::parse(&good).is_ok());
    for (text, parts) in [
        (String::new(), 1),
        ("opaque-token".to_owned(), 1),
        (format!("{header}.{claims}"), 2),
        (format!("{good}."), 4),
        (format!(".{good}"), 4),
        (format!("{good}.a.b.c"), 6),
        ("......".to_owned(), 7),
    ] {
        assert_eq!(fault(&text), FormFault::NotThreeParts { parts }, "{text}");
    }
    assert_eq!(fault(&format!(".{claims}.c2ln")), FormFault::EmptyPart(Part::Header));
    assert_eq!(fault(&format!("{header}..c2ln")), FormFault::EmptyPart(Part::Claims));
    assert_eq!(fault(&format!("{header}.{claims}.")), FormFault::EmptyPart(Part::Signature));
}

// C5
#[test]
fn another_spelling_of_a_part_is_refused() {
    let good = token(HEADER, r#"{"sub":"alice??>>"}"#);
    assert!(Compact::parse(&good).is_ok());
    let parts: Vec<_> = good.split('.').collect();
    let part = |index: usize, with: &str| {
        let mut parts: Vec<_> = parts.iter().map(|part| (*part).to_owned()).collect();
        parts[index] = with.to_owned();
        fault(&parts.join("."))
    };
    for (index, name) in [(0, Part::Header), (1, Part::Claims), (2, Part::Signature)] {
        let text = parts[index];
        assert_eq!(part(index, &format!("{text}=")), FormFault::Padded(name));
        assert_eq!(part(index, &format!("{text}==")), FormFault::Padded(name));
        for foreign in ["+", "/", " ", "\n", "\t", "\0", "%", "é"] {
            assert_eq!(part(index, &format!("{text}{foreign}")), FormFault::Alphabet(name));
            assert_eq!(part(index, &format!("{foreign}{text}")), FormFault::Alphabet(name));
        }
    }
    assert_eq!(part(2, "c2lnA"), FormFault::Length(Part::Signature));
    // `YQ` is "a"; `YR` would decode to the same byte if stray bits were let through.
    assert_ne!(part(2, "YR"), FormFault::Alphabet(Part::Signature));
    assert_eq!(part(2, "YR"), FormFault::StrayBits(Part::Signature));
}

// C5
#[test]
fn duplicate_members_are_refused_however_they_are_escaped() {
    let duplicate = FormFault::DuplicateMember;
    assert_eq!(header_fault(r#"{"alg":"ES256","alg":"HS256"}"#), duplicate(Part::Header));
    assert_eq!(header_fault(r#"{"alg":"ES256","\u0061lg":"none"}"#), duplicate(Part::Header));
    assert_eq!(header_fault(r#"{"alg":"ES256","a":{"b":1,"b":1}}"#), duplicate(Part::Header));
    for claims in
        [r#"{"sub":"a","sub":"b"}"#, r#"{"sub":"a","s\u0075b":"b"}"#, r#"{"a":[{"b":1,"b":2}]}"#]
    {
        assert_eq!(fault(&token(HEADER, claims)), duplicate(Part::Claims), "{claims}");
    }
    assert!(Compact::parse(&token(HEADER, r#"{"sub":"a","Sub":"b"}"#)).is_ok());
}

// C3
#[test]
fn alg_none_is_refused_in_any_case_with_or_without_a_signature() {
    assert!(Compact::parse(&token(r#"{"alg":"nonesuch"}"#, CLAIMS)).is_ok());
    for alg in ["none", "None", "NONE", "nOnE"] {
        let header = format!(r#"{{"alg":"{alg}"}}"#);
        assert_eq!(header_fault(&header), FormFault::AlgNone);
        let unsigned = format!("{}.{}.", encode(header.as_bytes()), encode(CLAIMS.as_bytes()));
        assert_eq!(fault(&unsigned), FormFault::AlgNone);
    }
}

// C5, C6
#[test]
fn header_members_that_change_the_meaning_are_refused_and_harmless_ones_are_ignored() {
    let harmless =
        r#"{"alg":"ES256","cty":"x","x5t":"a","x5t#S256":"b","x5c":["c"],"nonce":"d","ver":1}"#;
    assert!(Compact::parse(&token(harmless, CLAIMS)).is_ok());
    for (member, expected) in [
        (r#""crit":["exp"]"#, FormFault::Critical),
        (r#""crit":[]"#, FormFault::Critical),
        (r#""crit":["b64"],"b64":false"#, FormFault::Critical),
        (r#""b64":false"#, FormFault::Unencoded),
        (r#""b64":true"#, FormFault::Unencoded),
        (r#""zip":"DEF""#, FormFault::Compressed),
        (r#""enc":"A256GCM""#, FormFault::Encrypted),
        (r#""jku":"https://attacker.example/keys""#, FormFault::KeyInHeader("jku")),
        (r#""x5u":"https://attacker.example/cert""#, FormFault::KeyInHeader("x5u")),
        (r#""jwk":{"kty":"oct","k":"AA"}"#, FormFault::KeyInHeader("jwk")),
        (r#""jwk":null"#, FormFault::KeyInHeader("jwk")),
    ] {
        assert_eq!(header_fault(&format!(r#"{{"alg":"ES256",{member}}}"#)), expected, "{member}");
    }
}

// C6
#[test]
fn encrypted_and_json_serialized_tokens_are_refused_by_name() {
    assert_eq!(fault("eyJhbGciOiJSU0EtT0FFUCJ9.a.b.c.d"), FormFault::Encrypted);
    assert_eq!(fault("eyJhbGciOiJkaXIifQ..b.c.d"), FormFault::Encrypted);
    for json in [r#"{"payload":"a","signatures":[]}"#, r#" {"protected":"a"}"#] {
        assert_eq!(fault(json), FormFault::JsonSerialization);
    }
}

// C6
#[test]
fn header_members_of_a_wrong_type_and_long_key_ids_are_refused() {
    assert_eq!(header_fault("{}"), FormFault::AlgMissing);
    for value in ["null", "1", "true", "[]", "{}", r#"["ES256"]"#] {
        let header = format!(r#"{{"alg":{value}}}"#);
        assert_eq!(header_fault(&header), FormFault::MemberType("alg"));
        let header = format!(r#"{{"alg":"ES256","kid":{value}}}"#);
        assert_eq!(header_fault(&header), FormFault::MemberType("kid"));
        let header = format!(r#"{{"alg":"ES256","typ":{value}}}"#);
        assert_eq!(header_fault(&header), FormFault::MemberType("typ"));
    }
    let kid = |bytes: usize| format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(bytes));
    assert!(Compact::parse(&token(&kid(256), CLAIMS)).is_ok());
    assert_eq!(header_fault(&kid(257)), FormFault::KidTooLong { bytes: 257 });
}

#[test]
fn parts_that_are_no_json_objects_are_refused() {
    for text in ["", "[]", "1", "\"a\"", "null"] {
        let parsed = Compact::parse(&token(HEADER, text)).map(|_| ());
        let expected = match text {
            "" => FormFault::EmptyPart(Part::Claims),
            _ => FormFault::NotObject(Part::Claims),
        };
        assert_eq!(parsed, Err(expected), "{text}");
    }
    assert_eq!(header_fault("not json"), FormFault::NotJson(Part::Header));
    assert_eq!(fault(&token(HEADER, r#"{"exp":1e400}"#)), FormFault::NotJson(Part::Claims));
    assert_eq!(fault(&token(HEADER, "{}{}")), FormFault::NotJson(Part::Claims));
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(40), "]".repeat(40));
    assert_eq!(fault(&token(HEADER, &deep)), FormFault::TooDeep(Part::Claims));
}

#[test]
fn a_token_beyond_the_size_limit_is_refused_before_anything_else() {
    let padding = |bytes: usize| token(HEADER, &format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes)));
    assert!(Compact::parse(&padding(12_000)).is_ok());
    let long = padding(12_400);
    assert_eq!(fault(&long), FormFault::TooLong { bytes: long.len() });
    let dots = ".".repeat(TOKEN_BYTES_MAX + 1);
    assert_eq!(fault(&dots), FormFault::TooLong { bytes: dots.len() });
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
        let _ = Compact::parse(&text);
    }

    #[test]
    fn whatever_is_parsed_has_no_second_spelling(text in "[A-Za-z0-9_=+/-]{0,12}") {
        if let Ok(bytes) = base64url::decode(&text) {
            proptest::prop_assert_eq!(encode(&bytes), text);
        }
    }
}
