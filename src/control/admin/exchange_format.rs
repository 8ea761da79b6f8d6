//! Records as lines of an export, and back. Lossless: what is read is byte for byte the record
//! that was written, since two that differ under one id are a conflict. Issuers stand by their
//! identity, because the importing gateway may call them otherwise.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::UnixMs;
use crate::control::store::Change;
use crate::denylist::{
    Actor, Condition, Denial, DenialId, Except, IssuerId, Lift, Selector, TokenId, Via,
};

use super::members::check_identifier;
use super::record::{ConditionJson, ExceptJson, SelectorJson, via_name};

/// Another number is another format, and is refused.
pub(super) const VERSION: u64 = 1;
const REASON_CHARS_MAX: usize = 256;
const NAME_BYTES_MAX: usize = 256;
/// How far another gateway's clock may be ahead. A cutoff later than that would refuse tokens that
/// are not issued yet.
const AHEAD_MAX: std::time::Duration = std::time::Duration::from_secs(3600);

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub portcullis_export: u64,
    pub exported_at: String,
    /// Everything up to this place in the log of the store.
    pub sequence: u64,
}

/// A time: RFC 3339, or milliseconds since 1970 where that cannot say it (a token may name a year
/// of five digits).
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stamp {
    Text(String),
    Ms(i64),
}

impl Stamp {
    fn of(at: UnixMs) -> Self {
        let text = at.rfc3339();
        if UnixMs::parse_rfc3339(&text) == Some(at) { Self::Text(text) } else { Self::Ms(at.0) }
    }

    fn time(&self) -> Result<UnixMs, NotARecord> {
        match self {
            Self::Text(text) => time(text),
            Self::Ms(ms) => Ok(UnixMs(*ms)),
        }
    }
}

/// Every other line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry {
    Denial(Box<DenialLine>),
    Lift(LiftLine),
    /// The last one: without it the file was cut off.
    End(Counts),
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counts {
    pub denials: u64,
    pub lifts: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DenialLine {
    id: String,
    issuer_id: String,
    selector: SelectorJson,
    condition: ConditionJson,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    except: Option<ExceptJson>,
    created_at: Stamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kept_until: Option<Stamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ends_at: Option<Stamp>,
    #[serde(default)]
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    created_by: ActorLine,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LiftLine {
    id: String,
    at: Stamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    by: ActorLine,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ActorLine {
    name: String,
    role: String,
    via: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
}

/// Why a line is no record.
pub(super) type NotARecord = String;

impl Entry {
    pub fn of(change: &Change) -> Self {
        match change {
            Change::Denied(denial) => Self::Denial(Box::new(DenialLine {
                id: denial.id.to_string(),
                issuer_id: denial.issuer.as_str().to_owned(),
                selector: SelectorJson::of(&denial.selector),
                condition: ConditionJson::of(denial.condition),
                except: denial.except.as_ref().map(ExceptJson::of),
                created_at: Stamp::of(denial.created_at),
                kept_until: denial.kept_until.map(Stamp::of),
                ends_at: denial.ends_at.map(Stamp::of),
                reason: denial.reason.clone(),
                reference: denial.reference.clone(),
                created_by: ActorLine::of(&denial.created_by),
            })),
            Change::Lifted(lift) => Self::Lift(LiftLine {
                id: lift.denial.to_string(),
                at: Stamp::of(lift.at),
                reason: lift.reason.clone(),
                by: ActorLine::of(&lift.by),
            }),
        }
    }

    /// `json` was read strictly: no member of it is there twice.
    pub fn read(json: Value) -> Result<Self, NotARecord> {
        serde_json::from_value(json).map_err(|fault| fault.to_string())
    }
}

impl DenialLine {
    pub fn into_denial(self, now: UnixMs) -> Result<Denial, NotARecord> {
        let selector = selector(self.selector)?;
        let condition = condition(self.condition)?;
        let except = self.except.map(except).transpose()?;
        let created_at = self.created_at.time()?;
        let ends_at = self.ends_at.as_ref().map(Stamp::time).transpose()?;
        if created_at > now.plus(AHEAD_MAX) {
            return Err("created_at is in the future.".to_owned());
        }
        match condition {
            Condition::IssuedBefore(at) if at > created_at.plus(AHEAD_MAX) => {
                return Err("The cutoff is later than the record.".to_owned());
            }
            Condition::IssuedBefore(_) => {}
            Condition::Always | Condition::VersionBelow(_) if except.is_some() => {
                return Err("Only issued_before can have an except.".to_owned());
            }
            Condition::Always | Condition::VersionBelow(_) => {}
        }
        if matches!(selector, Selector::Registration(_))
            && (condition != Condition::Always || self.kept_until.is_none())
        {
            return Err("A registration is always, and has a kept_until.".to_owned());
        }
        if ends_at.is_some() && condition != Condition::Always {
            return Err("Only always can have an ends_at.".to_owned());
        }
        Ok(Denial {
            id: id(&self.id)?,
            issuer: IssuerId::new(&identifier(self.issuer_id)?),
            selector,
            condition,
            except,
            created_at,
            kept_until: self.kept_until.as_ref().map(Stamp::time).transpose()?,
            ends_at,
            reason: prose(self.reason)?,
            reference: self.reference.map(prose).transpose()?,
            created_by: self.created_by.into_actor()?,
        })
    }
}

impl LiftLine {
    pub fn into_lift(self, now: UnixMs) -> Result<Lift, NotARecord> {
        let at = self.at.time()?;
        if at > now.plus(AHEAD_MAX) {
            return Err("at is in the future.".to_owned());
        }
        let reason = self.reason.map(prose).transpose()?;
        Ok(Lift { denial: id(&self.id)?, at, reason, by: self.by.into_actor()? })
    }
}

impl ActorLine {
    fn of(actor: &Actor) -> Self {
        Self {
            name: actor.name.clone(),
            role: actor.role.clone(),
            via: via_name(actor.via).to_owned(),
            address: actor.address.clone(),
        }
    }

    fn into_actor(self) -> Result<Actor, NotARecord> {
        let all = [Via::Api, Via::Cli, Via::Dashboard, Via::Import, Via::Gateway];
        let via = all.into_iter().find(|via| via_name(*via) == self.via);
        Ok(Actor {
            name: short(self.name)?,
            role: short(self.role)?,
            via: via.ok_or("An unknown via.")?,
            address: self.address.map(short).transpose()?,
        })
    }
}

fn selector(json: SelectorJson) -> Result<Selector, NotARecord> {
    Ok(match json {
        SelectorJson::Jti(id) => Selector::Token(TokenId::Jti(identifier(id)?)),
        SelectorJson::Token(text) => Selector::Token(TokenId::Digest(digest(&text)?)),
        SelectorJson::Session(id) => Selector::Session(identifier(id)?),
        SelectorJson::Subject(id) => Selector::Subject(identifier(id)?),
        SelectorJson::Client(id) => Selector::Client(identifier(id)?),
        SelectorJson::Key(text) => {
            Selector::Key(text.parse().map_err(|_| "A key stands by its thumbprint.")?)
        }
        SelectorJson::Claim { name, value } => {
            Selector::Claim { name: identifier(name)?, value: identifier(value)? }
        }
        SelectorJson::Everyone(true) => Selector::Issuer,
        SelectorJson::Registered(one) => Selector::Registration(except(one)?),
        SelectorJson::Everyone(false) => return Err("everyone is true or absent.".to_owned()),
    })
}

fn condition(json: ConditionJson) -> Result<Condition, NotARecord> {
    match json {
        ConditionJson::Always(true) => Ok(Condition::Always),
        ConditionJson::Always(false) => Err("always is true or absent.".to_owned()),
        ConditionJson::IssuedBefore(text) => time(&text).map(Condition::IssuedBefore),
        ConditionJson::VersionBelow(0) => Err("version_below is at least 1.".to_owned()),
        ConditionJson::VersionBelow(number) => Ok(Condition::VersionBelow(number)),
    }
}

fn except(json: ExceptJson) -> Result<Except, NotARecord> {
    Ok(match json {
        ExceptJson::Session(id) => Except::Session(identifier(id)?),
        ExceptJson::Jti(id) => Except::Token(TokenId::Jti(identifier(id)?)),
        ExceptJson::Token(text) => Except::Token(TokenId::Digest(digest(&text)?)),
    })
}

fn digest(text: &str) -> Result<[u8; 32], NotARecord> {
    text.strip_prefix("sha256:")
        .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| "A token stands by sha256: and its digest in base64url.".to_owned())
}

fn id(text: &str) -> Result<DenialId, NotARecord> {
    text.parse().map_err(|_| "The id is not one of a denial.".to_owned())
}

fn time(text: &str) -> Result<UnixMs, NotARecord> {
    UnixMs::parse_rfc3339(text).ok_or_else(|| "A time is not RFC 3339.".to_owned())
}

fn identifier(text: String) -> Result<String, NotARecord> {
    check_identifier(&text).map(|()| text).map_err(|(_, detail)| detail)
}

fn prose(text: String) -> Result<String, NotARecord> {
    if text.chars().count() > REASON_CHARS_MAX || text.chars().any(char::is_control) {
        return Err("A reason or reference is too long or has control characters.".to_owned());
    }
    Ok(text)
}

fn short(text: String) -> Result<String, NotARecord> {
    if text.len() > NAME_BYTES_MAX || text.chars().any(char::is_control) {
        return Err("A name is too long or has control characters.".to_owned());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::denylist::tests as strategies;
    use proptest::prelude::*;

    fn actor(via: Via) -> Actor {
        Actor { name: "dana".to_owned(), role: "admin".to_owned(), via, address: None }
    }

    proptest! {
        #[test]
        fn a_record_reads_back_as_it_was(
            issuer in strategies::issuers(),
            selector in strategies::selectors(),
            at in 0_i64..4_000_000_000_000,
            kind in 0..3_u8,
            extra in any::<bool>(),
        ) {
            let condition = match kind {
                0 => Condition::Always,
                1 => Condition::IssuedBefore(UnixMs(at)),
                _ => Condition::VersionBelow(7),
            };
            let denial = Denial {
                id: DenialId([7; 10]),
                issuer,
                selector,
                condition,
                except: (extra && kind == 1).then_some(Except::Token(TokenId::Digest([3; 32]))),
                created_at: UnixMs(at),
                kept_until: extra.then_some(UnixMs(at + 1)),
                ends_at: (extra && kind == 0).then_some(UnixMs(at + 2)),
                reason: "a \"reason\"".to_owned(),
                reference: extra.then(|| "INC-1".to_owned()),
                created_by: actor(Via::Dashboard),
            };
            let line = serde_json::to_value(Entry::of(&Change::Denied(denial.clone()))).unwrap();
            let Ok(Entry::Denial(read)) = Entry::read(line) else { panic!() };
            prop_assert_eq!(read.into_denial(UnixMs(at)).unwrap(), denial);
        }
    }

    #[test]
    fn a_tombstone_reads_back_and_none_of_the_future_is_taken() {
        let at = UnixMs(1_795_259_641_123);
        let reason = Some("false alarm".to_owned());
        let lift = Lift { denial: DenialId([1; 10]), at, reason, by: actor(Via::Gateway) };
        let line = serde_json::to_value(Entry::of(&Change::Lifted(lift.clone()))).unwrap();
        let read = |now| match Entry::read(line.clone()) {
            Ok(Entry::Lift(read)) => read.into_lift(now),
            _ => panic!(),
        };
        assert_eq!(read(at), Ok(lift));
        assert!(read(at.minus(AHEAD_MAX)).is_ok());
        assert!(read(at.minus(AHEAD_MAX).minus(std::time::Duration::from_millis(1))).is_err());
    }
}
