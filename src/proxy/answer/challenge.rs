//! What a refusal asks the client to bring.

use http::header::HeaderValue;

/// `WWW-Authenticate` (RFC 6750 section 3).
pub enum Challenge<'r> {
    Plain,
    Error {
        error: &'static str,
        description: &'static str,
    },
    Scopes(&'r [String]),
    /// RFC 9470 section 3.
    MaxAge(u64),
}

impl Challenge<'_> {
    pub fn value(&self) -> Option<HeaderValue> {
        let text = match self {
            Self::Plain => return Some(HeaderValue::from_static("Bearer")),
            Self::Error { error, description } => {
                ["Bearer error=\"", error, "\", error_description=\"", description, "\""].concat()
            }
            Self::Scopes(needed) => {
                format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", needed.join(" "))
            }
            Self::MaxAge(seconds) => {
                format!("Bearer error=\"insufficient_user_authentication\", max_age=\"{seconds}\"")
            }
        };
        HeaderValue::try_from(text).ok()
    }
}
