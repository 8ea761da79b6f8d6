//! `[assertion]` and what routes and clients say of it: how the gateway vouches for a person to a
//! backend, and which server may ask to be vouched for to another.

mod client;
mod route;

pub use client::AssertionClient;
pub use route::{RouteAssertion, route_assertion};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::cursor::{Span, Table, show};
use super::diagnostic::{Code, Diagnostic};
use super::header_name::normal;
use super::identity::claim_of;
use super::item::{Item, Text};
use super::secrets::secret_file;
use super::whole::Whole;
use super::{Session, Store};
use crate::clock::UnixMs;
use crate::keys::{Algorithm, MintError, OWN_ALGORITHMS, OwnKey, Rota, SigningKey};
use crate::token::ClaimPath;

/// The `typ` of an assertion: nobody takes it for an access token (RFC 8725 section 3.11).
pub const ASSERTION_TYPE: &str = "portcullis-assertion+jwt";
/// No assertion lives longer; keys are published for longer than that after they have signed.
pub const ASSERTION_LIFETIME_MAX: Duration = Duration::from_secs(600);

const LIFETIME: Duration = Duration::from_secs(60);
const LIFETIME_MIN: Duration = Duration::from_secs(5);
const DAY: Duration = Duration::from_secs(86_400);
/// What the gateway says itself in an assertion.
const OWN_CLAIMS: [&str; 11] =
    ["iss", "aud", "sub", "sid", "client_id", "iat", "nbf", "exp", "jti", "act", "origin"];

/// See the module.
#[derive(Clone, Debug)]
pub struct Assertion {
    /// The `iss` of what is signed.
    pub issuer: String,
    /// Of the keys that are made.
    pub rota: Rota,
    /// The first signs, all are published. Empty where they are made.
    pub keys: Vec<OwnKey>,
    /// Where those are kept that are made; `None`: the configuration names its own.
    pub key_file: Option<PathBuf>,
    pub clients: Vec<AssertionClient>,
}

/// `[assertion]`; `None` where it is not there, or not as it must be.
pub fn assertion(table: &Table<'_>, is_there: bool, store: &Store) -> Option<Assertion> {
    let issuer = if is_there { table.required("issuer") } else { table.get("issuer") };
    let issuer = issuer.and_then(|item| some_text(&item));
    let algorithm = table.choice(
        "algorithm",
        Algorithm::ES256,
        &[("ES256", Algorithm::ES256), ("EdDSA", Algorithm::EdDSA)],
    );
    let every = table.duration("rotate", 30 * DAY, DAY..=3650 * DAY);
    let listed = table.get("key_files");
    for key in ["algorithm", "rotate"] {
        if let (Some(_), Some(item)) = (&listed, table.get(key)) {
            let message = format!("`{key}` beside `key_files`: it is for keys that are made here");
            let diagnostic = Diagnostic::error(Code::NoEffect, message);
            table.reader.report(&item.key_span, diagnostic);
        }
    }
    let keys = listed.as_ref().map(key_files);
    let clients = client::clients(table);
    table.finish();
    Some(Assertion {
        issuer: issuer?.value,
        rota: Rota { algorithm, every },
        key_file: keys.is_none().then(|| store.path.join("assertion-keys.json")),
        keys: keys.unwrap_or_default(),
        clients,
    })
}

fn key_files(item: &Item<'_>) -> Vec<OwnKey> {
    let mut keys: Vec<OwnKey> = Vec::new();
    let Some(array) = item.value.as_array() else {
        item.wrong_type("a list of strings");
        return keys;
    };
    if array.is_empty() {
        let message = "`key_files` is empty: nothing could be signed";
        let diagnostic = Diagnostic::error(Code::Empty, message)
            .help("leave it out: then keys are made, and change by themselves");
        item.reader.report(&item.span, diagnostic);
    }
    for entry in array.iter() {
        let entry =
            Item { span: entry.span(), value: entry.get_ref(), in_list: true, ..item.again() };
        let Some(key) = key_file(&entry) else { continue };
        if keys.iter().any(|own| own.key.kid() == key.kid()) {
            let diagnostic = Diagnostic::error(Code::Duplicate, "this key is listed twice");
            item.reader.report(&entry.span, diagnostic);
            continue;
        }
        let signs_from = keys.is_empty().then_some(UnixMs(0));
        keys.push(OwnKey { key: Arc::new(key), signs_from });
    }
    keys
}

/// A private key in PEM. What it is says which algorithm it signs by.
fn key_file(item: &Item<'_>) -> Option<SigningKey> {
    let bytes = secret_file(item)?;
    let text = zeroize::Zeroizing::new(String::from_utf8(bytes).unwrap_or_default());
    let mut fault = MintError::NotPrivatePem;
    for algorithm in OWN_ALGORITHMS {
        match SigningKey::from_pem(algorithm, &text) {
            Ok(key) => return Some(key),
            Err(why) => fault = why,
        }
    }
    let message = match fault {
        MintError::OtherKey(_) => {
            "a private key that is neither of P-256 nor of Ed25519".to_owned()
        }
        fault @ (MintError::Crypto | MintError::NotPrivatePem | MintError::Key(_)) => {
            fault.to_string()
        }
    };
    let help = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem";
    item.reader.report(&item.span, Diagnostic::error(Code::BadKey, message).help(help));
    None
}

impl Whole<'_, '_> {
    /// Routes that vouch need somebody who signs; and what is signed must be nobody else's.
    pub fn check_assertions(&self, assertion: Option<&Assertion>, session: &Session) {
        let table = self.root.table("assertion", "assertion");
        let report = |span: &Span, message: String, help: &str| {
            let diagnostic = Diagnostic::error(Code::BadAssertion, message).help(help);
            self.root.reader.report(span, diagnostic);
        };
        for parsed in self.routes {
            let Some(vouched) = &parsed.route.assertion else { continue };
            if !self.root.has("assertion") {
                let message = "this route vouches to its backend, and nobody signs".to_owned();
                report(&parsed.span, message, "[assertion] says who: issuer = \"https://…\"");
            }
            let alike =
                |name: &HeaderName| normal(name.as_str()) == normal(vouched.header.as_str());
            if parsed.route.identity.iter().any(|(name, _)| alike(name)) {
                let message = format!("header {} is set twice", vouched.header);
                let diagnostic = Diagnostic::error(Code::Duplicate, message);
                self.root.reader.report(&parsed.span, diagnostic);
            }
        }
        let Some(assertion) = assertion else { return };
        let span = table.get("issuer").map_or_else(|| table.span.clone(), |item| item.span);
        if session.prefix.is_none() {
            let message = "the public keys would be nowhere: `session.prefix` is empty".to_owned();
            report(&span, message, "prefix = \"/.auth\": they are at /.auth/jwks");
        }
        for issuer in self.issuers.iter().filter_map(|entry| entry.value.as_ref()) {
            let policy = &issuer.policy;
            let typed = policy.types.iter().any(|typ| typ == ASSERTION_TYPE);
            if policy.iss.as_ref() == Some(&assertion.issuer) && !typed {
                let name = &policy.name;
                let message =
                    format!("issuer \"{name}\" has this `iss` for tokens of another kind");
                report(
                    &span,
                    message,
                    "a name of the gateway's own: \"https://gateway.example.com\"",
                );
            }
        }
    }
}

fn lifetime(table: &Table<'_>) -> Duration {
    table.duration("lifetime", LIFETIME, LIFETIME_MIN..=ASSERTION_LIFETIME_MAX)
}

/// Claims that are copied, each to the same place.
fn claims(table: &Table<'_>) -> Vec<ClaimPath> {
    let Some(item) = table.get("claims") else { return Vec::new() };
    let mut claims: Vec<ClaimPath> = Vec::new();
    for text in item.strings(false).unwrap_or_default() {
        let Some(path) = claim_of(&item, &text) else { continue };
        let top = match &path {
            ClaimPath::Name(name) => Some(name),
            ClaimPath::Pointer(tokens) => tokens.first(),
        };
        if top.is_some_and(|top| OWN_CLAIMS.contains(&top.as_str())) {
            let message = format!("\"{}\" is said by the gateway itself", show(&text.raw));
            table.reader.report(&text.span, Diagnostic::error(Code::BadAssertion, message));
        } else if claims.contains(&path) {
            let message = format!("\"{}\" is listed twice", show(&text.raw));
            table.reader.report(&text.span, Diagnostic::error(Code::Duplicate, message));
        } else {
            claims.push(path);
        }
    }
    claims
}

fn some_text(item: &Item<'_>) -> Option<Text> {
    let text = item.string()?;
    if text.value.is_empty() {
        let message = format!("`{}` is empty", show(&item.key));
        item.reader.report(&text.span, Diagnostic::error(Code::Empty, message));
        return None;
    }
    Some(text)
}
