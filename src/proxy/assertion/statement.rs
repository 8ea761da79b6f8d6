//! What an assertion says, member by member (RFC 7519, RFC 8693 section 4).

use serde_json::{Map, Value, json};

use crate::clock::UnixMs;
use crate::keys::random_id;
use crate::token::{ClaimPath, Claims};
use crate::verify::Signed;

use super::origin::Origin;

/// See the module.
pub struct Statement<'s> {
    pub issuer: &'s str,
    pub audience: &'s str,
    pub at: UnixMs,
    pub expires_at: UnixMs,
    pub person: Person,
    pub origin: Origin,
    /// Who acts in their name, and in whose name that one acts.
    pub act: Option<Value>,
}

/// Whom it is about, in the words of the issuer's configured claims.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Person {
    pub subject: Option<String>,
    pub session: Option<String>,
    pub client: Option<String>,
}

impl Person {
    pub fn of(signed: &Signed) -> Self {
        Self {
            subject: signed.subject().map(str::to_owned),
            session: signed.session().map(str::to_owned),
            client: signed.client().map(str::to_owned),
        }
    }
}

impl Statement<'_> {
    /// The claims set, with those of `from` that are copied, each at the place that it had. `None`:
    /// the system gives no random bytes.
    pub fn claims(self, copied: &[ClaimPath], from: &Claims) -> Option<Map<String, Value>> {
        let mut claims = Map::new();
        for path in copied {
            let Some(value) = path.find(from) else { continue };
            match path {
                ClaimPath::Name(name) => drop(claims.insert(name.clone(), value.clone())),
                ClaimPath::Pointer(tokens) => put(&mut claims, tokens, value),
            }
        }
        let own = [
            ("iss", Some(self.issuer.into())),
            ("aud", Some(self.audience.into())),
            ("sub", self.person.subject.map(Value::String)),
            ("sid", self.person.session.map(Value::String)),
            ("client_id", self.person.client.map(Value::String)),
            ("iat", Some(self.at.secs().into())),
            ("exp", Some(self.expires_at.secs().into())),
            ("jti", Some(random_id().ok()?.into())),
            ("act", self.act),
            ("origin", Some(json!(self.origin))),
        ];
        // After what is copied: nothing of a token can take their place.
        for (name, value) in own {
            match value {
                Some(value) => drop(claims.insert(name.to_owned(), value)),
                None => drop(claims.remove(name)),
            }
        }
        Some(claims)
    }
}

fn put(into: &mut Map<String, Value>, tokens: &[String], value: &Value) {
    match tokens {
        [] => {}
        [last] => drop(into.insert(last.clone(), value.clone())),
        [first, rest @ ..] => {
            let inner = into.entry(first.clone()).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}
