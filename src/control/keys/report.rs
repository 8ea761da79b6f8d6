//! What people may know of a source and its keys: names and thumbprints, never key material.

use serde::{Serialize, Serializer};

use crate::clock::UnixMs;
use crate::keys::Key;

/// One source.
#[derive(Clone, Debug, Serialize)]
pub struct SourceReport {
    pub issuer: String,
    /// As the config says it, for people.
    pub source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// `fixed`, `fresh`, `kept` (of an earlier process), `failing` (the last good set holds) or
    /// `none`.
    pub state: &'static str,
    pub from_disk: bool,
    pub fetches: u64,
    #[serde(serialize_with = "moment", skip_serializing_if = "Option::is_none")]
    pub last_success: Option<UnixMs>,
    /// When the keys count no longer, if no fetch succeeds until then.
    #[serde(serialize_with = "moment", skip_serializing_if = "Option::is_none")]
    pub usable_until: Option<UnixMs>,
    #[serde(serialize_with = "moment", skip_serializing_if = "Option::is_none")]
    pub next_fetch: Option<UnixMs>,
    /// Failed fetches in a row.
    pub failures: u32,
    #[serde(serialize_with = "failure", skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<(UnixMs, String)>,
    /// Keys of the set that are not used, and why.
    pub skipped: Vec<String>,
    pub keys: Vec<KeyReport>,
}

/// One key.
#[derive(Clone, Debug, Serialize)]
pub struct KeyReport {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// RFC 7638: what a denial of the key names.
    pub thumbprint: String,
    pub algorithms: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

impl KeyReport {
    pub fn of(key: &Key) -> Self {
        Self {
            kid: key.kid().map(str::to_owned),
            thumbprint: key.thumbprint().to_string(),
            algorithms: key.algorithms().iter().map(|algorithm| algorithm.as_str()).collect(),
            client: key.client().map(str::to_owned),
        }
    }
}

fn moment<S: Serializer>(at: &Option<UnixMs>, out: S) -> Result<S::Ok, S::Error> {
    at.map(UnixMs::rfc3339).serialize(out)
}

fn failure<S: Serializer>(found: &Option<(UnixMs, String)>, out: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Failure<'f> {
        at: String,
        detail: &'f str,
    }
    found.as_ref().map(|(at, detail)| Failure { at: at.rfc3339(), detail }).serialize(out)
}
