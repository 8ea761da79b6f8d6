//! Thousands of spoilt tokens before three verifiers: ours, PyJWT and npm's jose. Nothing passes
//! here that both others refuse. The spoiling is seeded, so that a run can be repeated.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Connection, Issuer, Setup, Token, Upstream, base64url, jwk, now, peers};

const ALGORITHMS: [&str; 12] = [
    "ES256", "RS256", "HS256", "EdDSA", "HS384", "HS512", "RS384", "RS512", "PS256", "PS384",
    "PS512", "ES384",
];
/// Of these tokens the key is one of three that are published, by its name.
const NAMED: usize = ALGORITHMS.len();
const CASES: usize = 3_900;
/// As all three have it. What has ended seconds ago passes before each of them, one after the other.
const LEEWAY: &str = "leeway = \"300s\"";

/// A token and the algorithm of its issuer.
struct Case {
    issuer: usize,
    token: String,
    what: String,
}

/// xorshift64*: the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).unwrap() % bound
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/~";

fn spoilt(issuer: &Issuer, dice: &mut Dice) -> (String, String) {
    let token = issuer.token("alice");
    let named = |(token, what): (String, &str)| (token, what.to_owned());
    match dice.below(8) {
        0 => named((token.claim("note", dice.below(1000)).mint(), "good")),
        1 => named((bytes_changed(&token.mint(), dice), "bytes")),
        2 => header_changed(token, dice),
        3 => claims_changed(token, dice),
        4 => named((raw_changed(&token, dice), "JSON")),
        5 => named((parts_changed(&token.mint(), dice), "parts")),
        6 => named((signature_changed(issuer, &token, dice), "signature")),
        _ => {
            let other = issuer.key.other();
            named((token.signed_by(&other, &issuer.algorithm).mint(), "another key"))
        }
    }
}

fn bytes_changed(token: &str, dice: &mut Dice) -> String {
    let mut bytes = token.as_bytes().to_vec();
    for _ in 0..=dice.below(2) {
        let at = dice.below(bytes.len());
        match dice.below(3) {
            0 => bytes[at] = LETTERS[dice.below(LETTERS.len())],
            1 => bytes.insert(at, LETTERS[dice.below(LETTERS.len())]),
            _ => drop(bytes.remove(at)),
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Rightly signed, with another header.
fn header_changed(token: Token, dice: &mut Dice) -> (String, String) {
    let members: [(&str, Value); 18] = [
        ("alg", "none".into()),
        ("alg", "None".into()),
        ("alg", "HS256".into()),
        ("alg", "RS256".into()),
        ("alg", "ES384".into()),
        ("alg", "PS256".into()),
        ("alg", Value::Null),
        ("alg", json!(["ES256"])),
        ("crit", json!(["b64"])),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("typ", "logout+jwt".into()),
        ("typ", "AT+JWT".into()),
        ("kid", "x".into()),
        ("kid", json!(7)),
        ("jwk", json!({"kty": "oct", "k": "AAAA"})),
        ("zip", "DEF".into()),
    ];
    let (name, value) = dice.of(&members);
    let what = format!("header {name} {value}");
    (token.header(name, value).mint(), what)
}

/// Rightly signed, with another claim.
fn claims_changed(token: Token, dice: &mut Dice) -> (String, String) {
    let now = now();
    let values: [(&str, Value); 26] = [
        ("exp", json!(now - 1000)),
        ("exp", json!(now - 20)),
        ("exp", json!((now + 600).to_string())),
        ("exp", json!(now as f64 + 600.5)),
        ("exp", json!(true)),
        ("exp", Value::Null),
        ("exp", json!([now + 600])),
        ("exp", json!(-1)),
        ("nbf", json!(now + 900)),
        ("nbf", json!(now - 600)),
        ("nbf", json!("0")),
        ("iat", json!(now + 900)),
        ("iat", json!("0")),
        ("iat", Value::Null),
        ("iat", json!({})),
        ("iss", "https://id.example.com".into()),
        ("iss", "https://id.example.com/x".into()),
        ("iss", json!(["https://id.example.com/"])),
        ("iss", Value::Null),
        ("aud", "https://api.example.com/".into()),
        ("aud", json!(["https://api.example.com", "b"])),
        ("aud", json!([])),
        ("aud", json!({"a": "https://api.example.com"})),
        ("aud", json!([7])),
        ("sub", json!(7)),
        ("jti", json!(["a"])),
    ];
    if dice.below(6) == 0 {
        let name = dice.of(&["exp", "iat", "iss", "aud", "sub", "jti"]);
        return (token.without(name).mint(), format!("no {name}"));
    }
    let (name, value) = dice.of(&values);
    // The same text in every run.
    let what = format!("claim {name} {value}");
    let what = [-1000, -20, -600, 600, 900].iter().fold(what, |what, seconds| {
        what.replace(&(now + seconds).to_string(), &format!("now{seconds:+}"))
    });
    (token.claim(name, value).mint(), what)
}

/// Rightly signed over JSON that no library writes.
fn raw_changed(token: &Token, dice: &mut Dice) -> String {
    let header = serde_json::to_string(&token.header).unwrap();
    let claims = serde_json::to_string(&token.claims).unwrap();
    let twice = |text: &str, member: &str| format!("{},{member}}}", &text[..text.len() - 1]);
    match dice.below(9) {
        0 => token.mint_raw(&header, &twice(&claims, "\"sub\":\"bob\"")),
        1 => token.mint_raw(&header, &twice(&claims, "\"exp\":9999999999")),
        2 => token.mint_raw(&twice(&header, "\"alg\":\"none\""), &claims),
        3 => token.mint_raw(&header, &format!(" {claims}\n")),
        4 => token.mint_raw(&header, &format!("{claims}x")),
        5 => token.mint_raw(&header, &format!("\u{feff}{claims}")),
        6 => token.mint_raw(&header, &claims.replace("\"exp\":", "\"exp\":1e400,\"x\":")),
        7 => token.mint_raw(&header, dice.of(&["null", "[]", "\"x\"", "7", ""])),
        _ => token.mint_raw(dice.of(&["{}", "null", "[]", ""]), &claims),
    }
}

fn parts_changed(token: &str, dice: &mut Dice) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else { unreachable!() };
    match dice.below(9) {
        0 => format!("{header}.{claims}."),
        1 => format!("{header}.{claims}"),
        2 => format!("{header}.{signature}.{claims}"),
        3 => format!("{token}."),
        4 => format!("{token}.{signature}"),
        5 => format!("{header}.{claims}.{signature}=="),
        6 => format!("{header}=.{claims}.{signature}"),
        7 => format!("{header}..{signature}"),
        _ => token.replace('-', "+").replace('_', "/"),
    }
}

fn signature_changed(issuer: &Issuer, token: &Token, dice: &mut Dice) -> String {
    let minted = token.mint();
    let (input, _) = minted.rsplit_once('.').unwrap();
    let good = issuer.key.sign(&issuer.algorithm, input.as_bytes());
    let half = good.len() / 2;
    let bytes = match dice.below(6) {
        0 => good[..good.len() - 1].to_vec(),
        1 => [good.as_slice(), &[0]].concat(),
        2 => vec![0; good.len()],
        3 => [&good[half..], &good[..half]].concat(),
        4 => vec![255; good.len()],
        _ => {
            let mut bytes = good.clone();
            let at = dice.below(bytes.len());
            bytes[at] ^= 1 << dice.below(8);
            bytes
        }
    };
    format!("{input}.{}", base64url(bytes))
}

/// One verdict a line from a program of `tests/clients`.
fn verdicts(mut command: Command, issuer: &Issuer, lines: &str) -> Vec<bool> {
    let mut child = command
        .args([&issuer.iss, &issuer.audience])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines = lines.to_owned();
    let writing = std::thread::spawn(move || stdin.write_all(lines.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(|line| line == "1").collect()
}

#[test]
fn nothing_passes_that_two_other_libraries_refuse() {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let upstream = Upstream::new();
    let mut issuers: Vec<Issuer> = ALGORITHMS.iter().map(|name| Issuer::new(name)).collect();
    issuers.push(Issuer { kid: Some("two".into()), ..Issuer::new("ES256") });
    let cases: Vec<Case> = (0..CASES)
        .map(|number| {
            let issuer = number % issuers.len();
            let (token, what) = spoilt(&issuers[issuer], &mut dice);
            Case { issuer, token, what }
        })
        .collect();
    let ours: Vec<Vec<(usize, bool)>> = std::thread::scope(|scope| {
        let running: Vec<_> = issuers
            .iter()
            .enumerate()
            .map(|(index, issuer)| {
                let (cases, upstream) = (&cases, &upstream);
                scope.spawn(move || {
                    let setup = Setup::new().server("limits.failed_credentials_per_minute = 0");
                    let setup = match index {
                        NAMED => setup.file("keys.json", &three_keys(issuer)).issuer_with_keys(
                            issuer,
                            "{ jwks_file = \"keys.json\" }",
                            LEEWAY,
                        ),
                        _ => setup.issuer(issuer, LEEWAY),
                    };
                    let gateway = setup.upstream("app", upstream, "").start();
                    let mut connection = gateway.connect();
                    let mut verdicts = Vec::new();
                    for (number, case) in cases.iter().enumerate() {
                        if case.issuer == index {
                            verdicts.push((number, passes(&mut connection, &case.token)));
                        }
                    }
                    verdicts
                })
            })
            .collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let mut verdict = vec![false; CASES];
    ours.into_iter().flatten().for_each(|(number, passed)| verdict[number] = passed);
    let lines: String = cases
        .iter()
        .map(|case| {
            let issuer = &issuers[case.issuer];
            let jwk = issuer.key.jwk();
            format!("{}\n", json!({"token": case.token, "alg": issuer.algorithm, "jwk": jwk}))
        })
        .collect();
    let python = {
        let mut command = Command::new(peers::python());
        command.arg(peers::script("pyjwt_verdicts.py"));
        command
    };
    let pyjwt = verdicts(python, &issuers[0], &lines);
    let jose = verdicts(peers::node("jose_verdicts.mjs"), &issuers[0], &lines);
    assert_eq!((pyjwt.len(), jose.len()), (CASES, CASES));
    let known = std::fs::read_to_string(peers::script("../vectors/stricter.txt")).unwrap();
    let known: BTreeSet<&str> = known.lines().filter(|line| !line.starts_with('#')).collect();
    let mut stricter = BTreeSet::new();
    for (number, case) in cases.iter().enumerate() {
        let (us, them) = (verdict[number], (pyjwt[number], jose[number]));
        assert!(!us || them.0 || them.1, "{}: both refuse {}", case.what, case.token);
        if case.what == "good" {
            assert!(us && them.0 && them.1, "a good token: {us} {them:?} {}", case.token);
        }
        if !us && (them.0 || them.1) {
            stricter.insert(case.what.as_str());
        }
    }
    // What only we refuse is refused on purpose.
    let unknown: Vec<_> = stricter.difference(&known).collect();
    assert!(unknown.is_empty(), "refused by us alone, and not known to be: {unknown:#?}");
}

/// The issuer's key between two others, each with a name.
fn three_keys(issuer: &Issuer) -> String {
    let other = issuer.key.other();
    let keys = [("one", &other), ("two", &issuer.key), ("three", &other.other())];
    json!({"keys": keys.map(|(kid, key)| jwk(issuer, kid, key))}).to_string()
}

fn passes(connection: &mut Connection, token: &str) -> bool {
    let answer = connection.get("/", &[("Authorization", &format!("Bearer {token}"))]);
    assert!(matches!(answer.status, 200 | 400 | 401), "{}", answer.status);
    answer.status == 200
}
