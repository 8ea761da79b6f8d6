//! What the admin API answers, as far as the command line shows it. Members that are absent stay
//! empty, so that an older or a newer gateway can be read too.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::clock::UnixMs;

use super::words;

mod problem;

pub use problem::Problem;

/// A time of the API: RFC 3339.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Time(pub UnixMs);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        UnixMs::parse_rfc3339(&text)
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not a time of RFC 3339")))
    }
}

#[derive(Clone, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Denial {
    pub id: Option<String>,
    pub state: Option<String>,
    pub issuer: Option<String>,
    #[serde(flatten)]
    pub selector: Selector,
    pub always: Option<bool>,
    pub issued_before: Option<Time>,
    pub version_below: Option<u64>,
    pub except: Option<Selector>,
    pub reason: Option<String>,
    pub reference: Option<String>,
    pub created_at: Option<Time>,
    pub created_by: Option<By>,
    pub ends_at: Option<Time>,
    pub last_hit_at: Option<Time>,
    pub already: bool,
    pub outcome: Option<Outcome>,
    pub dry_run: bool,
    pub would: Option<Would>,
    pub warnings: Vec<Warning>,
    pub undone_at: Option<Time>,
    pub undone_by: Option<By>,
    pub undo_reason: Option<String>,
}

/// Exactly one member in an answer of ours.
#[derive(Clone, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Selector {
    pub subject: Option<String>,
    pub session: Option<String>,
    /// SHA-256 of the signing input of a token without `jti`.
    #[serde(alias = "token")]
    pub token_digest: Option<String>,
    pub jti: Option<String>,
    pub client: Option<String>,
    pub key: Option<String>,
    pub claim: Option<Claim>,
    pub everyone: Option<bool>,
    /// What is let pass, of a registration.
    pub registered: Option<Box<Selector>>,
}

#[derive(Clone, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Claim {
    pub name: String,
    pub value: String,
}

impl Selector {
    /// `user alice`, `session s-81f3`, `tenant=acme`.
    pub fn words(&self, issuer: Option<&str>) -> String {
        let named = [
            ("user", &self.subject),
            ("session", &self.session),
            ("token", &self.jti),
            ("token of digest", &self.token_digest),
            ("client", &self.client),
            ("key", &self.key),
        ];
        for (noun, id) in named {
            if let Some(id) = id {
                return format!("{noun} {id}");
            }
        }
        if let Some(registered) = &self.registered {
            return format!("registration of {}", registered.words(issuer));
        }
        match (&self.claim, self.everyone, issuer) {
            (Some(claim), _, _) => format!("{}={}", claim.name, claim.value),
            (None, Some(true), Some(issuer)) => format!("everyone of issuer {issuer}"),
            (None, Some(_) | None, _) => "everyone".to_owned(),
        }
    }

    pub fn is_one_token(&self) -> bool {
        self.jti.is_some() || self.token_digest.is_some()
    }
}

#[derive(Clone, Deserialize, Debug, Default)]
#[serde(default)]
pub struct By {
    pub name: String,
    pub role: Option<String>,
    pub via: Option<String>,
    pub address: Option<String>,
}

impl By {
    /// `dana (cli, 10.0.0.9)`.
    pub fn words(&self) -> String {
        let rest: Vec<&str> =
            [&self.via, &self.address].into_iter().filter_map(|part| part.as_deref()).collect();
        if rest.is_empty() {
            self.name.clone()
        } else {
            format!("{} ({})", self.name, rest.join(", "))
        }
    }
}

#[derive(Clone, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Outcome {
    pub durable: Option<bool>,
    pub replicas: Option<Replicas>,
    pub streams_cut: Option<u64>,
    pub streams_by_kind: BTreeMap<String, u64>,
    pub tokens_seen: Option<u64>,
    pub last_seen_at: Option<Time>,
    pub last_seen_from: Option<String>,
    pub tokens_pass_from: Option<Time>,
}

#[derive(Clone, Copy, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Replicas {
    pub applied: u64,
    pub known: u64,
    pub waited_ms: Option<u64>,
}

#[derive(Clone, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Would {
    pub window: Option<String>,
    pub subjects: Option<u64>,
    pub tokens_seen: Option<u64>,
    pub streams: Option<u64>,
}

#[derive(Clone, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Warning {
    pub code: String,
    pub detail: Option<String>,
    pub close: Vec<String>,
}

impl Warning {
    pub fn words(&self) -> String {
        let detail = self.detail.as_deref().unwrap_or(&self.code);
        if self.close.is_empty() {
            detail.to_owned()
        } else {
            format!("{detail} Close: {}", self.close.join(", "))
        }
    }
}

#[derive(Clone, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Registration {
    pub id: String,
    #[serde(flatten)]
    pub selector: Selector,
    pub reason: Option<String>,
    pub created_at: Option<Time>,
    pub created_by: Option<By>,
    pub ends_at: Option<Time>,
    pub removed_at: Option<Time>,
    pub already: bool,
    /// What denies it since it was removed.
    pub denial: Option<String>,
    pub warnings: Vec<Warning>,
}

impl Registration {
    /// Its warnings, as those of a denial are shown.
    pub fn warned(&self) -> Denial {
        Denial { warnings: self.warnings.clone(), ..Denial::default() }
    }
}

#[derive(Clone, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Explanation {
    pub pass: bool,
    pub status: Option<u16>,
    pub code: Option<String>,
    pub route: Option<Route>,
    pub checks: Vec<Check>,
    pub would_pass_with: Option<String>,
    /// The refused request, where that was asked about.
    pub request: Option<RequestThen>,
}

/// A request as it was answered.
#[derive(Clone, Deserialize, Debug, Default)]
#[serde(default)]
pub struct RequestThen {
    pub request_id: String,
    pub at: Option<Time>,
    pub method: String,
    pub host: String,
    pub path: String,
    pub address: Option<String>,
    pub status: Option<u16>,
    pub code: String,
    pub detail: String,
}

#[derive(Clone, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Route {
    pub name: Option<String>,
    pub host: Option<String>,
    pub path: Option<String>,
    pub number: Option<u64>,
    pub of: Option<u64>,
    pub access: Option<String>,
}

#[derive(Clone, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Check {
    pub check: String,
    pub result: String,
    pub detail: Option<String>,
    pub denials: Vec<String>,
    pub issued_at: Option<Time>,
    pub expires_at: Option<Time>,
    pub needs: Vec<String>,
    pub has: Vec<String>,
}

#[derive(Clone, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Status {
    pub verdict: String,
    pub problems: Vec<Trouble>,
    pub version: Option<String>,
    pub replica: Option<String>,
    pub sequence: Option<u64>,
    pub store: Option<Store>,
    pub denials: Option<Room>,
    pub issuers: Vec<Issuer>,
    pub upstreams: Vec<super::status::UpstreamState>,
    pub streams: Option<u64>,
    pub started_at: Option<Time>,
    pub config: Option<ConfigState>,
}

#[derive(Clone, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Trouble {
    pub code: String,
    pub severity: Option<String>,
    pub since: Option<Time>,
    pub detail: Option<String>,
}

#[derive(Clone, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Store {
    pub kind: Option<String>,
    pub up: Option<bool>,
    pub pending: Option<u64>,
}

#[derive(Clone, Copy, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Room {
    pub in_force: u64,
    pub limit: Option<u64>,
}

#[derive(Clone, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Issuer {
    pub name: String,
    pub keys: Option<u64>,
    /// Tokens looked at since the start.
    pub sightings: Option<u64>,
    pub last_fetch: Option<Time>,
    pub ok: Option<bool>,
    pub unrevocable: Option<Unrevocable>,
}

/// Shares of the accepted tokens that lack a claim, 0 to 1.
#[derive(Clone, Copy, Deserialize, Debug, Default)]
#[serde(default)]
pub struct Unrevocable {
    pub no_jti: Option<f64>,
    pub no_sid: Option<f64>,
    pub no_iat: Option<f64>,
}

#[derive(Clone, Deserialize, Debug, Default)]
#[serde(default)]
pub struct ConfigState {
    pub loaded_at: Option<Time>,
    pub last_reload_ok: Option<bool>,
}

/// Makes every string in it one printable line (see [`words::printable_line`]).
pub fn make_printable(value: &mut Value) {
    match value {
        Value::String(text) => *text = words::printable_line(text),
        Value::Array(items) => items.iter_mut().for_each(make_printable),
        Value::Object(members) => members.values_mut().for_each(make_printable),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
