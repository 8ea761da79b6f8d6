//! Whom a revocation or a block hits: exactly one selector, in the words that people type.

use serde_json::{Map, Value, json};

use super::failure::Failure;
use super::input::TokenFrom;
use super::raw::RawTarget;

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    User(String),
    Session(String),
    Token(TokenFrom),
    Jti(String),
    Client(String),
    Key(String),
    Claim { name: String, value: String },
    Everyone,
}

impl Target {
    /// `verb` is only for the message: `revoke` or `block`.
    pub(super) fn compile(raw: RawTarget, verb: &str) -> Result<Self, Failure> {
        if raw.token.is_some() {
            return Err(Failure::TokenAsArgument);
        }
        if let Some(bare) = raw.bare {
            return Err(Failure::usage(format!(
                "Say what {bare} is: portcullis {verb} --user {bare}, or --session, --jti, --client, --key."
            )));
        }
        let claim = raw.claim.as_deref().map(name_and_value).transpose()?;
        let target = None
            .or(raw.user.map(Self::User))
            .or(raw.session.map(Self::Session))
            .or(raw.token_file.map(|path| Self::Token(TokenFrom::of(Some(path)))))
            .or(raw.jti.map(Self::Jti))
            .or(raw.client.map(Self::Client))
            .or(raw.key.map(Self::Key))
            .or(claim.map(|(name, value)| Self::Claim { name, value }))
            .or(raw.everyone.then_some(Self::Everyone));
        target.ok_or_else(|| {
            Failure::usage(format!(
                "Whom? One of --user, --session, --token-file, --jti, --client, --key, --claim, \
                 --everyone. `portcullis {verb} --help` has examples."
            ))
        })
    }

    pub fn is_one_token(&self) -> bool {
        matches!(self, Self::Token(_) | Self::Jti(_))
    }

    /// Puts the selector into the body of `/v1/revoke` or `/v1/block`, reading the token where it
    /// is one.
    pub(super) fn write(&self, body: &mut Map<String, Value>) -> Result<(), Failure> {
        let (member, value) = match self {
            Self::User(id) => ("user", json!(id)),
            Self::Session(id) => ("session", json!(id)),
            Self::Token(from) => ("token", json!(from.read()?.expose())),
            Self::Jti(id) => ("jti", json!(id)),
            Self::Client(id) => ("client", json!(id)),
            Self::Key(id) => ("key", json!(id)),
            Self::Claim { name, value } => ("claim", json!({ "name": name, "value": value })),
            Self::Everyone => ("everyone", json!(true)),
        };
        body.insert(member.to_owned(), value);
        Ok(())
    }

    /// The flag that would name the same again, for a line to paste; `None` where that is not a
    /// line of words.
    pub(super) fn flag(&self) -> Option<String> {
        match self {
            Self::User(id) => Some(format!("--user {}", super::words::shell(id))),
            Self::Session(id) => Some(format!("--session {}", super::words::shell(id))),
            Self::Client(id) => Some(format!("--client {}", super::words::shell(id))),
            Self::Key(id) => Some(format!("--key {}", super::words::shell(id))),
            Self::Claim { name, value } => {
                Some(format!("--claim {}", super::words::shell(&format!("{name}={value}"))))
            }
            Self::Token(_) | Self::Jti(_) | Self::Everyone => None,
        }
    }
}

/// `tenant=acme`.
pub(super) fn name_and_value(text: &str) -> Result<(String, String), Failure> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        Some(_) | None => {
            Err(Failure::usage(format!("--claim: `{text}` is not NAME=VALUE, as in tenant=acme.")))
        }
    }
}
