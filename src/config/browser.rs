//! What the configuration says of browsers and their sessions, as the other modules get it.

use std::path::PathBuf;

use super::{Carrier, Config, Route};
use crate::secret::Secret;
use crate::token::ClaimPath;

/// How browsers are served.
#[derive(Clone, Debug)]
pub struct Session {
    /// Below this the gateway answers itself, without a slash at the end; `None`: nowhere.
    pub prefix: Option<String>,
    /// Where a browser goes after a log-out that says no other place.
    pub after_logout: String,
    pub cookies: SessionCookies,
}

/// The cookies of sessions that the gateway keeps.
#[derive(Clone, Debug)]
pub struct SessionCookies {
    /// Without the prefix that its attributes ask for.
    pub name: String,
    /// Shared by the hosts below it; `None`: this host's alone.
    pub domain: Option<String>,
    pub secure: bool,
    pub same_site: SameSite,
    /// Access tokens are sealed; refresh tokens always are.
    pub seal: bool,
    /// The first seals, all open. Empty: a key in the store's directory.
    pub keys: Vec<Secret>,
    /// Where that key is.
    pub key_file: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SameSite {
    Strict,
    Lax,
    None,
}

/// Where a login's answer holds its tokens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capture {
    pub token: TokenPlace,
    pub refresh: Option<TokenPlace>,
    /// What else leaves the answer: an ID token, a second copy.
    pub remove: Vec<TokenPlace>,
    /// An answer without a token passes: a login in several steps.
    pub optional: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TokenPlace {
    Header(http::HeaderName),
    /// A member of the JSON.
    Member(ClaimPath),
    /// A cookie that the backend sets.
    Cookie(String),
}

impl TokenPlace {
    pub fn is_member(&self) -> bool {
        match self {
            Self::Member(_) => true,
            Self::Header(_) | Self::Cookie(_) => false,
        }
    }
}

impl Capture {
    pub fn places(&self) -> impl Iterator<Item = &TokenPlace> {
        self.tokens().chain(&self.remove)
    }

    fn tokens(&self) -> impl Iterator<Item = &TokenPlace> {
        std::iter::once(&self.token).chain(&self.refresh)
    }

    /// Something of it is in the body.
    pub fn needs_body(&self) -> bool {
        self.places().any(TokenPlace::is_member)
    }

    /// The tokens are in the head: a redirect may bring them too.
    pub fn is_of_head(&self) -> bool {
        !self.tokens().any(TokenPlace::is_member)
    }
}

impl SameSite {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}

impl SessionCookies {
    /// With the prefix by which a browser holds the cookie to its attributes (RFC 6265bis section
    /// 4.1.3).
    pub fn full_name(&self, suffix: &str) -> String {
        let prefix = match (self.secure, &self.domain) {
            (true, None) => "__Host-",
            (true, Some(_)) => "__Secure-",
            (false, _) => "",
        };
        format!("{prefix}{}{suffix}", self.name)
    }
}

impl Config {
    /// Some route takes the session's cookie, or makes one.
    pub fn uses_sessions(&self) -> bool {
        let uses = |route: &Route| {
            route.capture.is_some() || route.credentials.contains(&Carrier::Session)
        };
        self.routes.iter().any(uses)
    }
}
