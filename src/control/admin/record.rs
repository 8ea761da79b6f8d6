//! A record as JSON. Times are RFC 3339 in UTC; the issuer is shown by its config name, or by its
//! identity when the config no longer has it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;
use crate::control::store::Record;
use crate::denylist::{Actor, Condition, Denylist, Except, IssuerId, Selector, TokenId, Via};
use crate::verify::Verifier;

use crate::control::people::Refusals;

/// What records are shown with.
pub(super) struct View<'a> {
    pub verifier: &'a Verifier,
    pub denylist: &'a Denylist,
    pub refusals: &'a Refusals,
}

#[derive(Serialize)]
pub(super) struct RecordJson {
    id: String,
    sequence: u64,
    state: &'static str,
    issuer: String,
    #[serde(flatten)]
    selector: SelectorJson,
    #[serde(flatten)]
    condition: ConditionJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    except: Option<ExceptJson>,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    created_at: String,
    created_by: ActorJson,
    /// When it stops by itself: the end of a timed block, else the time from which no token can
    /// match it. Absent: until undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_hit_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    undone_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    undone_by: Option<ActorJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    undo_reason: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum SelectorJson {
    Jti(String),
    /// A token without `jti`, by the SHA-256 of its signing input: `sha256:…` in base64url.
    Token(String),
    Session(String),
    Subject(String),
    Client(String),
    Key(String),
    Claim {
        name: String,
        value: String,
    },
    Everyone(bool),
    /// Not denied: let pass.
    Registered(ExceptJson),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum ConditionJson {
    Always(bool),
    IssuedBefore(String),
    VersionBelow(u64),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum ExceptJson {
    Session(String),
    Jti(String),
    Token(String),
}

#[derive(Serialize)]
pub(super) struct ActorJson {
    name: String,
    role: String,
    via: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
}

impl View<'_> {
    pub fn record(&self, record: &Record) -> RecordJson {
        let denial = &record.denial;
        let mark = self.denylist.fingerprinter().selector(&denial.issuer, &denial.selector);
        let hit = self.refusals.last_hit(mark, denial.condition.kind());
        let lift = record.lift.as_ref();
        let in_force =
            |at: &UnixMs| *at >= denial.created_at && lift.is_none_or(|lift| *at <= lift.at);
        RecordJson {
            id: denial.id.to_string(),
            sequence: record.sequence,
            state: state(record),
            issuer: self.issuer_name(&denial.issuer),
            selector: SelectorJson::of(&denial.selector),
            condition: ConditionJson::of(denial.condition),
            except: denial.except.as_ref().map(ExceptJson::of),
            reason: denial.reason.clone(),
            reference: denial.reference.clone(),
            created_at: denial.created_at.rfc3339(),
            created_by: ActorJson::of(&denial.created_by),
            ends_at: denial.ends_at.or(denial.kept_until).map(UnixMs::rfc3339),
            last_hit_at: hit.filter(in_force).map(UnixMs::rfc3339),
            undone_at: lift.map(|lift| lift.at.rfc3339()),
            undone_by: lift.map(|lift| ActorJson::of(&lift.by)),
            undo_reason: lift.and_then(|lift| lift.reason.clone()),
        }
    }

    pub fn issuer_name(&self, id: &IssuerId) -> String {
        issuer_name(self.verifier, id).unwrap_or_else(|| id.as_str()).to_owned()
    }
}

/// The config name of an issuer.
pub(super) fn issuer_name<'v>(verifier: &'v Verifier, id: &IssuerId) -> Option<&'v str> {
    let found = verifier.issuers().iter().find(|issuer| issuer.policy.id == *id);
    found.map(|issuer| issuer.policy.name.as_str())
}

/// `in_force`, `undone` by somebody, or `ended` by itself.
pub(super) fn state(record: &Record) -> &'static str {
    match record.lift.as_ref().map(|lift| lift.by.via) {
        None => "in_force",
        Some(Via::Gateway) => "ended",
        Some(Via::Api | Via::Cli | Via::Dashboard | Via::Import) => "undone",
    }
}

impl SelectorJson {
    pub fn of(selector: &Selector) -> Self {
        match selector {
            Selector::Token(TokenId::Jti(id)) => Self::Jti(id.clone()),
            Selector::Token(TokenId::Digest(digest)) => Self::Token(encoded(digest)),
            Selector::Session(id) => Self::Session(id.clone()),
            Selector::Subject(id) => Self::Subject(id.clone()),
            Selector::Client(id) => Self::Client(id.clone()),
            Selector::Key(thumbprint) => Self::Key(thumbprint.to_string()),
            Selector::Claim { name, value } => {
                Self::Claim { name: name.clone(), value: value.clone() }
            }
            Selector::Issuer => Self::Everyone(true),
            Selector::Registration(one) => Self::Registered(ExceptJson::of(one)),
        }
    }
}

impl ConditionJson {
    pub fn of(condition: Condition) -> Self {
        match condition {
            Condition::Always => Self::Always(true),
            Condition::IssuedBefore(at) => Self::IssuedBefore(at.rfc3339()),
            Condition::VersionBelow(number) => Self::VersionBelow(number),
        }
    }
}

impl ExceptJson {
    pub fn of(except: &Except) -> Self {
        match except {
            Except::Session(id) => Self::Session(id.clone()),
            Except::Token(TokenId::Jti(id)) => Self::Jti(id.clone()),
            Except::Token(TokenId::Digest(digest)) => Self::Token(encoded(digest)),
        }
    }
}

impl ActorJson {
    pub fn of(actor: &Actor) -> Self {
        Self {
            name: actor.name.clone(),
            role: actor.role.clone(),
            via: via_name(actor.via),
            address: actor.address.clone(),
        }
    }
}

pub(super) fn via_name(via: Via) -> &'static str {
    match via {
        Via::Api => "api",
        Via::Cli => "cli",
        Via::Dashboard => "dashboard",
        Via::Import => "import",
        Via::Gateway => "gateway",
    }
}

fn encoded(digest: &[u8; 32]) -> String {
    format!("sha256:{}", URL_SAFE_NO_PAD.encode(digest))
}

/// A selector in words: `user alice`, `session s-81f3`, `tenant=acme`.
pub(super) fn in_words(selector: &Selector) -> String {
    match selector {
        Selector::Token(TokenId::Jti(id)) => format!("token {id}"),
        Selector::Token(TokenId::Digest(digest)) => format!("token {}", encoded(digest)),
        Selector::Session(id) => format!("session {id}"),
        Selector::Subject(id) => format!("user {id}"),
        Selector::Client(id) => format!("client {id}"),
        Selector::Key(thumbprint) => format!("key {thumbprint}"),
        Selector::Claim { name, value } => format!("{name}={value}"),
        Selector::Issuer => "everyone".to_owned(),
        Selector::Registration(one) => format!("registration of {}", in_words(&one.selector())),
    }
}
