//! The exchange of tokens (RFC 8693): a server that was sent an assertion, or the person's own
//! token, is vouched for to the next server in the person's name. Asked are the client, whether the
//! assertion was for that client, which servers it may call, and, each time anew, the denylist about
//! the token with which all of it began. Nothing that comes of it outlives that token.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use crate::clock::UnixMs;
use crate::config::{ASSERTION_LIFETIME_MAX, ASSERTION_TYPE, Assertion, AssertionClient};
use crate::denylist::Fingerprinter;
use crate::keys::OWN_ALGORITHMS;
use crate::proxy::answer::Rejection;
use crate::proxy::core::Core;
use crate::proxy::published::Published;
use crate::token::{ClaimPath, Credential};
use crate::verify::{
    ClaimNames, Issuer, KeyCell, Policy, Refused, SignatureCache, Signed, TokenFault, Verifier,
};

use super::origin::{Lost, Origin};
use super::statement::{Person, Statement};
use super::{Vouching, expiry, sign};

/// Clocks of several gateways that share their keys.
const LEEWAY: std::time::Duration = std::time::Duration::from_secs(5);
/// Servers that call each other in one person's name.
const ACTORS_MAX: usize = 8;

/// See the module.
pub struct TokenExchange {
    clients: Vec<AssertionClient>,
    /// Of assertions, and of nothing else.
    assertions: Verifier,
}

/// Why a server is not vouched for (RFC 8693 section 2.2.2, RFC 6749 section 5.2). What is wrong
/// with the person's token is a rejection of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExchangeFault {
    /// The request is not one, for this reason.
    Request(&'static str),
    Grant,
    Client,
    /// It may not call that server.
    Target,
    Scope,
    /// The assertion was for another server.
    OtherClients,
    /// It says too little of the token behind it, or more than was ever signed.
    Unfit,
    TooManyActors,
}

/// What came of it.
pub struct Issued {
    pub token: String,
    pub expires_in_s: u64,
}

/// For whom a server asks.
pub struct Subject {
    signed: Arc<Signed>,
    person: Person,
    origin: Origin,
}

impl ExchangeFault {
    pub fn reason(self) -> &'static str {
        match self {
            Self::Request(reason) => reason,
            Self::Grant => "grant_type is urn:ietf:params:oauth:grant-type:token-exchange",
            Self::Client => "The client is unknown, or its secret is another",
            Self::Target => "This client may not call that audience",
            Self::Scope => "Scopes are not handed on: leave the parameter out",
            Self::OtherClients => "The assertion was made for another audience",
            Self::Unfit => "The assertion cannot be exchanged",
            Self::TooManyActors => "Too many servers act for each other",
        }
    }

    pub fn status(self) -> StatusCode {
        if self == Self::Client { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST }
    }

    /// The word of our log and metrics.
    pub fn code(self) -> &'static str {
        if self == Self::Client { "client_unknown" } else { "exchange_refused" }
    }

    /// The word of OAuth.
    pub fn error(self) -> &'static str {
        match self {
            Self::Grant => "unsupported_grant_type",
            Self::Client => "invalid_client",
            Self::Target => "invalid_target",
            Self::Scope => "invalid_scope",
            Self::Request(_) | Self::OtherClients | Self::Unfit | Self::TooManyActors => {
                "invalid_request"
            }
        }
    }
}

impl From<ExchangeFault> for Rejection {
    fn from(fault: ExchangeFault) -> Self {
        Self::Exchange(fault)
    }
}

impl TokenExchange {
    /// `None`: nobody may.
    pub fn compile(assertion: &Assertion, keys: KeyCell, by: &Fingerprinter) -> Option<Self> {
        if assertion.clients.is_empty() {
            return None;
        }
        let issuer = Arc::new(Issuer::with_cell(policy(assertion), keys));
        let remembered = Arc::new(SignatureCache::new(0));
        let assertions = Verifier::new(vec![issuer], by.clone(), remembered);
        Some(Self { clients: assertion.clients.clone(), assertions })
    }

    /// The client with this name and secret.
    pub fn client(&self, name: &str, secret: &[u8]) -> Option<&AssertionClient> {
        let named = self.clients.iter().find(|client| client.name == name)?;
        named.secret.matches(secret).then_some(named)
    }

    /// An assertion of ours, whosever it is.
    pub fn judge(&self, token: &Credential, now: UnixMs) -> Result<Arc<Signed>, Refused> {
        self.assertions.judge(token, now).map(|token| Arc::clone(token.signed()))
    }
}

/// What an assertion must be. It is looked at as strictly as any token.
fn policy(assertion: &Assertion) -> Policy {
    let named = |name: &str| ClaimPath::Name(name.to_owned());
    let audiences: Vec<&str> =
        assertion.clients.iter().map(|client| client.audience.as_str()).collect();
    Policy {
        types: vec![ASSERTION_TYPE.to_owned()],
        max_lifetime: ASSERTION_LIFETIME_MAX,
        session_lifetime_max: ASSERTION_LIFETIME_MAX,
        leeway: LEEWAY,
        claims: ClaimNames { client: vec![named("client_id")], ..ClaimNames::default() },
        required: vec![named("origin")],
        ..Policy::new("assertions", &assertion.issuer, &audiences, &OWN_ALGORITHMS)
    }
}

impl Subject {
    /// Of the person's own token, which has passed.
    pub fn of_token(signed: Arc<Signed>) -> Result<Self, Rejection> {
        // Denials of the token that it stands for would not reach it.
        if signed.is_type(ASSERTION_TYPE) {
            return Err(ExchangeFault::Request("An assertion has the token type …:jwt").into());
        }
        let (person, origin) = (Person::of(&signed), Origin::of(&signed, true));
        Ok(Self { signed, person, origin })
    }

    /// Of an assertion that this client was sent; the token behind it is asked about again, once more
    /// where fresher keys may tell another tale.
    pub async fn of_assertion(
        signed: Arc<Signed>,
        client: &AssertionClient,
        (core, published): (&Core, &Published),
        now: UnixMs,
    ) -> Result<Self, Rejection> {
        if !signed.audiences().contains(&client.audience) {
            return Err(ExchangeFault::OtherClients.into());
        }
        // The leeway is for clocks that run behind ours, not for more time.
        if signed.expires_at() <= now {
            let at = signed.expires_at();
            return Err(Rejection::Token(TokenFault::Expired { at, now }));
        }
        let origin = signed.claims().member("origin").cloned().unwrap_or_default();
        let origin: Origin =
            serde_json::from_value(origin).map_err(|_| Rejection::from(ExchangeFault::Unfit))?;
        let person = Person::of(&signed);
        let look = || origin.still_passes(&person, &published.verifier, &published.denylist, now);
        let mut passes = look();
        if let Err(Lost::Key(fault)) = &passes {
            let asked = published.nudges.ask(fault, &core.waiting).await;
            let again = if asked.look_again { look() } else { passes };
            passes = again.map_err(|lost| lost.weighed(asked));
        }
        match passes {
            Ok(()) => Ok(Self { signed, person, origin }),
            Err(Lost::NotWhole) => Err(ExchangeFault::Unfit.into()),
            Err(Lost::Key(fault)) => Err(Rejection::Token(fault)),
            Err(Lost::Expired { at }) => Err(Rejection::Token(TokenFault::Expired { at, now })),
            Err(Lost::Denied(hit)) => Err(Rejection::Denied(hit)),
        }
    }
}

impl Vouching {
    /// An assertion for the next server, in the person's name, by this client.
    pub fn issue(
        &self,
        subject: Subject,
        client: &AssertionClient,
        audience: &str,
        now: UnixMs,
    ) -> Result<Issued, Rejection> {
        if !client.may_call.iter().any(|one| one == audience) {
            return Err(ExchangeFault::Target.into());
        }
        let Subject { signed, person, origin } = subject;
        let key = self.keys.signer(now)?;
        let expires_at = expiry(now.plus(client.lifetime), origin.expires_at(), now)?;
        let statement = Statement {
            issuer: &self.issuer,
            audience,
            at: now,
            expires_at,
            person,
            origin,
            act: Some(actor(&client.name, signed.claims().member("act"))?),
        };
        let expires_in_s = u64::try_from(expires_at.secs() - now.secs()).unwrap_or(0);
        let token = sign(&key, statement, &client.claims, signed.claims())?;
        Ok(Issued { token, expires_in_s })
    }
}

/// The client, and below it whoever acted before (RFC 8693 section 4.1).
fn actor(name: &str, before: Option<&Value>) -> Result<Value, Rejection> {
    let before = before.filter(|act| act.is_object());
    let mut count = 1;
    let mut next = before;
    while let Some(actor) = next {
        count += 1;
        next = actor.get("act");
    }
    match before {
        _ if count > ACTORS_MAX => Err(ExchangeFault::TooManyActors.into()),
        Some(before) => Ok(json!({ "sub": name, "act": before })),
        None => Ok(json!({ "sub": name })),
    }
}
