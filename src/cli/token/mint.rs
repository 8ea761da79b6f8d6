//! `token mint` and `token key`: a signing key of one's own and tokens by it, for tests.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::cli::arguments::{KeyCommand, Mint, SigningSource};
use crate::cli::console::{Console, json_text};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::input;
use crate::clock::UnixMs;
use crate::keys::{Algorithm, SigningKey, random_id};
use crate::token::Compact;

/// Tried in this order on a private key whose algorithm was not said.
const PEM_ALGORITHMS: [Algorithm; 4] =
    [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA, Algorithm::RS256];

pub fn run(mint: &Mint, console: &Console) -> Result<Exit, Failure> {
    let mut key = signing_key(&mint.source, mint.algorithm)?;
    if let Some(kid) = &mint.kid {
        key = key.with_kid(kid);
    }
    let sample = match &mint.like {
        Some(like) => Some(sample(like)?),
        None => None,
    };
    let claims =
        claims(mint, sample, UnixMs::now(), &random_id().map_err(|error| signing(&error))?);
    let token = key.sign(&Value::Object(claims)).map_err(|error| signing(&error))?;
    if console.json {
        console.say_always(&json_text(&json!({ "token": token })))?;
    } else if mint.header {
        console.say_always(&format!("Authorization: Bearer {token}\n"))?;
    } else {
        console.say_always(&format!("{token}\n"))?;
    }
    Ok(Exit::Done)
}

/// Writes a fresh private key to a 0600 file and its public half to stdout.
pub fn key(key: &KeyCommand, console: &Console) -> Result<Exit, Failure> {
    let fresh = SigningKey::generate(key.algorithm).map_err(|error| signing(&error))?;
    let (Some(pem), Some(jwks)) = (fresh.to_pem(), fresh.jwks()) else {
        return Err(Failure::usage(format!(
            "--alg: {} is a shared secret, not a key pair. Make one with: openssl rand -base64 48",
            key.algorithm.as_str()
        )));
    };
    crate::cli::files::create_private(&key.out, pem.expose())
        .map_err(|cause| Failure::Write { what: key.out.display().to_string(), cause })?;
    console.remark(&format!(
        "The private key is in {}; stdout has the public key set for `jwks_file`.\n",
        key.out.display()
    ));
    console.say_always(&json_text(&jwks))?;
    Ok(Exit::Done)
}

fn signing(error: &crate::keys::MintError) -> Failure {
    Failure::Refused(format!("cannot sign: {error}"))
}

fn signing_key(
    source: &SigningSource,
    algorithm: Option<Algorithm>,
) -> Result<SigningKey, Failure> {
    let secret = |bytes: crate::secret::Secret| {
        SigningKey::from_secret(algorithm.unwrap_or(Algorithm::HS256), bytes)
            .map_err(|error| signing(&error))
    };
    match source {
        SigningSource::SecretFile(path) => secret(read(path)?),
        SigningSource::SecretEnv(name) => match std::env::var(name) {
            Ok(value) => secret(crate::secret::Secret::new(value.into_bytes())),
            Err(_) => Err(Failure::usage(format!("--secret-env: {name} is not set."))),
        },
        SigningSource::Pem(path) => {
            let bytes = read(path)?;
            let pem = std::str::from_utf8(bytes.expose()).unwrap_or_default();
            let tried = algorithm.map_or(PEM_ALGORITHMS.to_vec(), |one| vec![one]);
            let mut last = None;
            for algorithm in tried {
                match SigningKey::from_pem(algorithm, pem) {
                    Ok(key) => return Ok(key),
                    Err(error) => last = Some(error),
                }
            }
            let why = last.map(|error| error.to_string()).unwrap_or_default();
            Err(Failure::Refused(format!("{} cannot be used: {why}", path.display())))
        }
    }
}

fn read(path: &Path) -> Result<crate::secret::Secret, Failure> {
    input::read_secret(path)
        .map_err(|cause| Failure::Read { what: path.display().to_string(), cause })
}

fn sample(like: &input::TokenFrom) -> Result<Map<String, Value>, Failure> {
    let credential = like.read()?;
    match Compact::parse(credential.expose()) {
        Ok(compact) => Ok(compact.claims.0),
        Err(fault) => Err(Failure::Refused(format!("the token in {like} cannot be read: {fault}"))),
    }
}

/// The sample's claims with fresh times and `jti`, then what was said by flags.
fn claims(
    mint: &Mint,
    sample: Option<Map<String, Value>>,
    now: UnixMs,
    id: &str,
) -> Map<String, Value> {
    let mut claims = sample.unwrap_or_default();
    claims.remove("nbf");
    claims.insert("jti".to_owned(), id.into());
    claims.insert("iat".to_owned(), now.secs().into());
    claims.insert("exp".to_owned(), now.plus(mint.lifetime).secs().into());
    let named = [("iss", &mint.issuer), ("sub", &mint.user), ("sid", &mint.session)];
    for (name, value) in named {
        if let Some(value) = value {
            claims.insert(name.to_owned(), value.as_str().into());
        }
    }
    match mint.audiences.as_slice() {
        [] => {}
        [one] => drop(claims.insert("aud".to_owned(), one.as_str().into())),
        several => drop(claims.insert("aud".to_owned(), several.into())),
    }
    for (name, value) in &mint.claims {
        // `admin=true` and `roles=["a"]` are JSON, everything else is text.
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.as_str().into());
        claims.insert(name.clone(), value);
    }
    claims
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn mint() -> Mint {
        Mint {
            source: SigningSource::SecretEnv("UNUSED".into()),
            algorithm: None,
            kid: None,
            like: None,
            issuer: None,
            user: Some("alice".into()),
            session: None,
            audiences: vec!["api".into()],
            claims: vec![("admin".into(), "true".into()), ("team".into(), "blue".into())],
            lifetime: Duration::from_secs(60),
            header: false,
        }
    }

    #[test]
    fn flags_become_claims_and_times_are_fresh() {
        let sample = json!({ "iss": "i", "sub": "bob", "exp": 1, "nbf": 1, "jti": "old" });
        let made = claims(&mint(), sample.as_object().cloned(), UnixMs(5_000), "new");
        assert_eq!(
            Value::Object(made),
            json!({ "iss": "i", "sub": "alice", "aud": "api", "admin": true, "team": "blue",
                    "jti": "new", "iat": 5, "exp": 65 })
        );
    }

    #[test]
    fn a_key_that_was_written_signs_tokens_that_its_public_half_verifies() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("issuer.pem");
        let fresh = SigningKey::generate(Algorithm::EdDSA).unwrap();
        crate::cli::files::create_private(&path, fresh.to_pem().unwrap().expose()).unwrap();
        let read = signing_key(&SigningSource::Pem(path.clone()), None).unwrap();
        assert_eq!(read.algorithm(), Algorithm::EdDSA);
        assert_eq!(read.jwks(), fresh.jwks());
        let wrong = signing_key(&SigningSource::Pem(path), Some(Algorithm::RS256));
        assert!(matches!(wrong, Err(Failure::Refused(_))));
    }
}
