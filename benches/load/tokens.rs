//! Tokens signed with a shared secret, good for an hour.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::json;

pub fn mint(secret: &str, issuer: &str, user: &str, session: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({
        "iss": issuer, "aud": "bench", "sub": user, "sid": session,
        "iat": now - 5, "exp": now + 3600,
    });
    let part = |text: &str| BASE64URL.encode(text);
    let text = format!("{}.{}", part(r#"{"alg":"HS256","typ":"JWT"}"#), part(&claims.to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("{text}.{}", BASE64URL.encode(hmac::sign(&key, text.as_bytes())))
}
