//! `explain`: all checks, in one order, and honest about what is not verified. That it agrees with
//! `verify` is asserted by every other test here.

use super::*;

fn lines(verifier: &Verifier, token: &Credential) -> Vec<String> {
    let (checks, _) = verifier.explain(token, NOW);
    checks
        .iter()
        .map(|check| {
            let word = match check.outcome {
                Outcome::Ok => "ok",
                Outcome::Fail => "FAIL",
                Outcome::Skipped => "-",
            };
            format!("{word} {}: {}", check.name, check.detail)
        })
        .collect()
}

#[test]
fn a_good_token_is_explained_line_by_line() {
    let verifier = verifier(policy());
    let token = sign(&claims());
    let bytes = token.expose().len();
    let kid = key().kid();
    let expected = [
        format!("ok form: signed token, ES256, {bytes} bytes"),
        format!("ok issuer: main  {ISS}"),
        format!("ok key: {kid}, ES256, thumbprint {}…", &kid[..8]),
        "ok signature: ".to_owned(),
        "ok type: JWT".to_owned(),
        format!("ok audience: {AUD}"),
        "ok times: issued 2027-01-15T07:59:00Z, 1 min ago; ends 2027-01-15T09:00:00Z, in 1 h"
            .to_owned(),
        "ok claims: user alice, jti t-1".to_owned(),
    ];
    assert_eq!(lines(&verifier, &token), expected);
    assert!(verifier.explain(&token, NOW).1.is_some());
}

#[test]
fn all_failures_are_shown_and_unverified_claims_are_called_so() {
    let stranger = SigningKey::generate(Algorithm::ES256).unwrap().with_kid(key().kid());
    let mut claims = with("aud", "x".into());
    claims["exp"] = (NOW_SECS - 3600).into();
    claims["iat"] = (NOW_SECS - 7200).into();
    claims["sub"] = true.into();
    let token = Credential::new(&stranger.sign(&claims).unwrap());
    let verifier = verifier(policy());
    let lines = lines(&verifier, &token);
    assert_eq!(
        lines[3..],
        [
            "FAIL signature: the signature does not match the key",
            "ok type: JWT (not verified)",
            "FAIL audience: aud is \"x\", none of the issuer's audiences (not verified)",
            "FAIL times: expired 2027-01-15T07:00:00Z, 1 h ago (not verified)",
            "FAIL claims: the claim \"sub\" is not a string or an integer (not verified)",
        ]
    );
    assert!(verifier.explain(&token, NOW).1.is_none(), "nothing is known of a forged token");
}

#[test]
fn several_faults_of_time_are_in_one_line() {
    let mut claims = claims();
    claims["iat"] = (NOW_SECS - 10 * 86_400).into();
    claims["exp"] = (NOW_SECS - 3600).into();
    let token = sign(&claims);
    let lines = lines(&verifier(policy()), &token);
    assert_eq!(
        lines[6],
        "FAIL times: it lives 9 d 23 h, longer than max_lifetime = 1 d; \
         expired 2027-01-15T07:00:00Z, 1 h ago"
    );
}

#[test]
fn what_cannot_be_asked_is_skipped_and_says_why() {
    let verifier = verifier(policy());
    let outcomes = |token: &Credential| -> Vec<Outcome> {
        verifier.explain(token, NOW).0.iter().map(|check| check.outcome).collect()
    };
    use Outcome::{Fail, Ok, Skipped};
    let rubbish = Credential::new("rubbish");
    assert_eq!(
        outcomes(&rubbish),
        [Fail, Skipped, Skipped, Skipped, Skipped, Skipped, Skipped, Skipped]
    );
    let foreign = sign(&with("iss", "https://nobody.example/".into()));
    assert_eq!(
        outcomes(&foreign),
        [Ok, Fail, Skipped, Skipped, Skipped, Skipped, Skipped, Skipped]
    );
    let unknown = Credential::new(
        &SigningKey::generate(Algorithm::ES256).unwrap().with_kid("x").sign(&claims()).unwrap(),
    );
    assert_eq!(outcomes(&unknown), [Ok, Ok, Fail, Skipped, Ok, Ok, Ok, Ok]);
}

#[test]
fn no_text_of_a_fault_or_a_check_holds_the_token() {
    let verifier = verifier(policy());
    for claims in [claims(), with("exp", 1.into()), with("aud", "x".into()), with("sub", json!({}))]
    {
        let token = sign(&claims);
        let signature = token.expose().rsplit('.').next().unwrap().to_owned();
        let said = format!(
            "{:?} {:?} {:?}",
            verifier.explain(&token, NOW).0,
            verifier.verify(&token, NOW).map_err(|fault| (fault.detail(), fault.reason())),
            token,
        );
        assert!(!said.contains(&signature[..16]), "{said}");
    }
}
