//! `token decode`: what a token says, whoever wrote it. Lenient where the gateway is strict, so
//! that a token whose form is refused can be looked into as well.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Value, json};

use crate::cli::console::{Console, Look, json_text};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::input::TokenFrom;
use crate::cli::words;
use crate::clock::UnixMs;
use crate::token::Compact;

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What could be read.
struct Decoded {
    header: Value,
    /// `None`: encrypted (RFC 7516), or not JSON.
    claims: Option<Value>,
    encrypted: bool,
    /// Why the gateway would not even look at it.
    form: Option<String>,
}

pub fn run(from: &TokenFrom, console: &Console) -> Result<Exit, Failure> {
    let credential = from.read()?;
    let Some(decoded) = decode(credential.expose()) else {
        return Err(Failure::Refused(format!(
            "what is in {from} is no JSON web token: its first part is not a JSON object in base64url"
        )));
    };
    if console.json {
        let document = json!({
            "verified": false,
            "header": decoded.header,
            "claims": decoded.claims,
            "form": decoded.form.as_deref().unwrap_or("ok"),
        });
        console.say_always(&json_text(&document))?;
    } else {
        console.say_always(&render(&decoded, &console.look))?;
    }
    Ok(Exit::Done)
}

fn decode(token: &str) -> Option<Decoded> {
    let parts: Vec<&str> = token.split('.').collect();
    let part = |index: usize| -> Option<Value> {
        serde_json::from_slice(&LENIENT.decode(parts.get(index)?).ok()?).ok()
    };
    let header = part(0).filter(Value::is_object)?;
    let encrypted = parts.len() == 5;
    let claims = if encrypted { None } else { part(1) };
    let form = Compact::parse(token).err().map(|fault| fault.to_string());
    Some(Decoded { header, claims, encrypted, form })
}

fn render(decoded: &Decoded, look: &Look) -> String {
    let pretty = |value: &Value| words::printable(&format!("{value:#}"));
    let mut text = format!(
        "{} anyone can write this. `portcullis explain` asks the gateway.\n",
        look.paint.yellow("Not verified:")
    );
    let _ = writeln!(text, "\n{}\n{}", look.paint.bold("header"), pretty(&decoded.header));
    match &decoded.claims {
        Some(claims) => {
            let _ = writeln!(text, "\n{}\n{}", look.paint.bold("claims"), pretty(claims));
            text.push_str(&times(claims, look));
        }
        None if decoded.encrypted => {
            text.push_str(
                "\nIts claims are encrypted (JWE): only the holder of the key reads them.\n",
            );
        }
        None => text.push_str("\nIts claims are not JSON.\n"),
    }
    if let Some(form) = &decoded.form {
        let note = look.paint.red("A gateway refuses its form:");
        let _ = writeln!(text, "\n{note} {}", words::printable_line(form));
    }
    text
}

fn times(claims: &Value, look: &Look) -> String {
    let mut text = String::new();
    let names =
        [("auth_time", "logged in"), ("iat", "issued"), ("nbf", "good from"), ("exp", "ends")];
    for (claim, word) in names {
        let Some(at) = claims.get(claim) else { continue };
        let words = match at.as_f64() {
            // Beyond 10^11 it is milliseconds by mistake: the year 5138.
            Some(seconds) if seconds.abs() < 1e11 => {
                #[expect(clippy::cast_possible_truncation, reason = "bounded in the line above")]
                let at = UnixMs((seconds * 1000.0) as i64);
                format!("{}, {}", words::clock(at, look.now), words::relative(at, look.now))
            }
            Some(_) => "not seconds: this looks like milliseconds".to_owned(),
            None => "not a number".to_owned(),
        };
        let heading = if text.is_empty() { "\n" } else { "" };
        let _ = writeln!(text, "{heading}  {word:<10} {words}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::console::Paint;
    use crate::token::base64url::encode;

    fn look() -> Look {
        let now = UnixMs::parse_rfc3339("2026-11-21T11:15:04Z").unwrap();
        Look { paint: Paint::PLAIN, terminal: true, now }
    }

    fn token(header: &str, claims: &str) -> String {
        format!("{}.{}.c2ln", encode(header.as_bytes()), encode(claims.as_bytes()))
    }

    #[test]
    fn a_token_is_shown_as_unverified_with_its_times_in_words() {
        let token = token(
            r#"{"alg":"ES256"}"#,
            r#"{"sub":"al\u001bice","iat":1795257760,"exp":1795260000000}"#,
        );
        assert_eq!(
            render(&decode(&token).unwrap(), &look()),
            r#"Not verified: anyone can write this. `portcullis explain` asks the gateway.

header
{
  "alg": "ES256"
}

claims
{
  "exp": 1795260000000,
  "iat": 1795257760,
  "sub": "al\u001bice"
}

  issued     10:42:40 UTC, 32 min ago
  ends       not seconds: this looks like milliseconds
"#
        );
    }

    #[test]
    fn what_a_gateway_refuses_can_still_be_looked_into() {
        let padded = format!("{}==.e30.c2ln", encode(br#"{"alg": "HS256"}"#));
        let text = render(&decode(&padded).unwrap(), &look());
        assert!(text.contains("HS256") && text.contains("A gateway refuses its form:"), "{text}");
        let encrypted = format!("{}.a.b.c.d", encode(br#"{"alg":"dir","enc":"A256GCM"}"#));
        assert!(render(&decode(&encrypted).unwrap(), &look()).contains("encrypted"));
        assert!(decode("opaque").is_none());
    }
}
