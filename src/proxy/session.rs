//! Browser sessions: the token lives in a cookie that no script can read, the refresh token sealed in
//! another. Both are set here, read here and cleared here, with the same attributes each time.

pub mod browser;
pub mod capture;
mod chunks;
pub mod renewal;
mod seal;
mod set_cookies;

use std::time::Duration;

use http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};

use crate::clock::UnixMs;
use crate::config::{Config, Issuer, SessionCookies as CookieConfig};
use crate::denylist::IssuerId;
pub use crate::desk::Kept;
use crate::desk::{By, End, Ending};
use crate::token::Credential;
use crate::verify::Signed;

use super::cookie;
use chunks::Brought;
use seal::Sealer;

/// What stands for a cookie that is there and cannot be read: no token is spelled so.
const UNREADABLE: &str = ".";

/// The session's two cookies, as compiled.
pub struct Session {
    access: String,
    refresh: String,
    /// What follows name and value, but for the age.
    attributes: String,
    seal: bool,
    sealer: Sealer,
    /// Both names and those of their parts: what no backend gets to see.
    names: Vec<String>,
    /// Issuers whose sessions are renewed, and how long before a token ends.
    renewed: Vec<(IssuerId, Duration)>,
}

impl Session {
    /// `None`: no route takes or makes a session.
    pub fn compile(config: &Config) -> Option<Self> {
        if !config.uses_sessions() {
            return None;
        }
        let cookies = &config.session.cookies;
        let (access, refresh) = (cookies.full_name(""), cookies.full_name("-refresh"));
        let parts = |name: &str| {
            let part = |number| chunks::part_name(name, number);
            (1..=chunks::PARTS_MAX).map(part).collect::<Vec<_>>()
        };
        Some(Self {
            names: [vec![access.clone(), refresh.clone()], parts(&access), parts(&refresh)]
                .concat(),
            access,
            refresh,
            attributes: attributes(cookies),
            seal: cookies.seal,
            sealer: Sealer::new(&cookies.keys)?,
            renewed: config.issuers.iter().filter_map(ahead).collect(),
        })
    }

    /// The access token that a request brings; a cookie that cannot be read is a token that no
    /// verifier takes.
    pub fn credential(&self, headers: &HeaderMap) -> Option<Credential> {
        match chunks::join(headers, &self.access) {
            Brought::Nothing => None,
            Brought::Broken => Some(Credential::new(UNREADABLE)),
            Brought::Value(value) => {
                Some(Credential::new(self.opened(&value).as_deref().unwrap_or(UNREADABLE)))
            }
        }
    }

    /// What the request brings, also where two cookies have one name: a browser sends the one of
    /// this host beside one that was set for its domain.
    pub fn credentials(&self, headers: &HeaderMap) -> Vec<Credential> {
        if chunks::join(headers, &self.access) != Brought::Broken {
            return self.credential(headers).into_iter().collect();
        }
        let wholes = chunks::wholes(headers, &self.access).into_iter();
        wholes.filter_map(|value| self.opened(value)).map(|text| Credential::new(&text)).collect()
    }

    fn opened(&self, value: &str) -> Option<String> {
        if !self.seal {
            return Some(value.to_owned());
        }
        String::from_utf8(self.sealer.open(&self.access, value)?).ok()
    }

    /// What the refresh cookie holds, where it is one that was sealed here.
    pub fn kept(&self, headers: &HeaderMap) -> Option<Kept> {
        let Brought::Value(value) = chunks::join(headers, &self.refresh) else { return None };
        let opened = self.sealer.open(&self.refresh, &value)?;
        serde_json::from_slice(&opened).ok()
    }

    /// Some session is renewed.
    pub fn renews(&self) -> bool {
        !self.renewed.is_empty()
    }

    /// So long before its access token ends a session is renewed; `None`: its issuer's are not.
    pub fn ahead(&self, kept: &Kept) -> Option<Duration> {
        let of = |(id, _): &&(IssuerId, Duration)| id.as_str() == kept.issuer;
        self.renewed.iter().find(of).map(|(_, ahead)| *ahead)
    }

    /// The longest of these.
    pub fn ahead_max(&self) -> Duration {
        self.renewed.iter().map(|(_, ahead)| *ahead).max().unwrap_or_default()
    }

    /// Takes our cookies out of a request; the bytes of the others stay.
    pub fn strip(&self, headers: &mut HeaderMap) {
        if !headers.contains_key(COOKIE) {
            return;
        }
        let all = headers.get_all(COOKIE).iter();
        let left = all.filter_map(|value| cookie::without(value, &self.names, None));
        let left: Vec<HeaderValue> = left.collect();
        headers.remove(COOKIE);
        for value in left {
            headers.append(COOKIE, value);
        }
    }

    /// The cookies of a login or a renewal; those of a longer value before it are cleared. `None`:
    /// it does not fit, or cannot be sealed.
    pub fn set(
        &self,
        brought: &[String],
        access: &str,
        signed: &Signed,
        kept: Option<&Kept>,
        now: UnixMs,
    ) -> Option<Vec<HeaderValue>> {
        let value = match self.seal {
            true => self.sealer.seal(&self.access, access.as_bytes())?,
            false => access.to_owned(),
        };
        let mut cookies = chunks::split(&self.access, &value)?;
        let access_age = signed.expires_at().since(now).as_secs();
        let mut values = Vec::new();
        for (name, value) in &cookies {
            values.push(self.cookie(name, value, access_age)?);
        }
        if let Some(kept) = kept {
            let (refresh, set) = self.sealed(kept, now)?;
            values.extend(set);
            cookies.extend(refresh);
        }
        for name in brought {
            if !cookies.iter().any(|(set, _)| set == name) {
                values.push(self.cookie(name, "", 0)?);
            }
        }
        Some(values)
    }

    /// The refresh cookie alone. `None`: it does not fit, or cannot be sealed.
    pub fn set_kept(&self, kept: &Kept, now: UnixMs) -> Option<Vec<HeaderValue>> {
        self.sealed(kept, now).map(|(_, values)| values)
    }

    fn sealed(&self, kept: &Kept, now: UnixMs) -> Option<(Parts, Vec<HeaderValue>)> {
        let text = zeroize::Zeroizing::new(serde_json::to_vec(kept).ok()?);
        let sealed = self.sealer.seal(&self.refresh, &text)?;
        let age = kept.ends_at().since(now).as_secs();
        let refresh = chunks::split(&self.refresh, &sealed)?;
        let values: Option<Vec<HeaderValue>> =
            refresh.iter().map(|(name, value)| self.cookie(name, value, age)).collect();
        Some((refresh, values?))
    }

    /// The names of ours that a request brings.
    pub fn brought(&self, headers: &HeaderMap) -> Vec<String> {
        let mut names = Vec::new();
        for header in headers.get_all(COOKIE) {
            for (name, _) in cookie::pairs(header.as_bytes()) {
                let ours =
                    chunks::belongs(name, &self.access) || chunks::belongs(name, &self.refresh);
                let name = String::from_utf8_lossy(name);
                if ours && !names.iter().any(|known| *known == name) {
                    names.push(name.into_owned());
                }
            }
        }
        names
    }

    /// Cookies that clear those, and the two names in any case.
    pub fn clear(&self, brought: &[String]) -> Vec<HeaderValue> {
        let always = [&self.access, &self.refresh].into_iter();
        let rest = brought.iter().filter(|name| **name != self.access && **name != self.refresh);
        always.chain(rest).filter_map(|name| self.cookie(name, "", 0)).collect()
    }

    fn cookie(&self, name: &str, value: &str, age_s: u64) -> Option<HeaderValue> {
        let text = format!("{name}={value}; Max-Age={age_s}{}", self.attributes);
        let mut value = HeaderValue::try_from(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// It stands for a cookie that could not be read.
pub fn is_unreadable(credential: &Credential) -> bool {
    credential.expose() == UNREADABLE
}

/// Names and values of the cookies that one value takes.
type Parts = Vec<(String, String)>;

fn ahead(issuer: &Issuer) -> Option<(IssuerId, Duration)> {
    Some((issuer.policy.id.clone(), issuer.renewal.as_ref()?.ahead))
}

/// One thing to end, without who asks.
#[derive(Clone)]
pub struct Ended {
    pub issuer: IssuerId,
    pub what: Ending,
    /// Of the token; unknown for what only a refresh cookie proves, which is then denied for itself
    /// and never folded into a cutoff.
    subject: Option<String>,
    issued_at: Option<UnixMs>,
}

impl Ended {
    pub fn is_same(&self, other: &Self) -> bool {
        self.issuer == other.issuer && self.what == other.what
    }
}

/// The sessions of tokens and refresh cookie, or a token alone where it belongs to none.
pub fn endings<'s>(
    tokens: impl IntoIterator<Item = &'s Signed>,
    kept: Option<&Kept>,
) -> Vec<Ended> {
    let mut ends: Vec<Ended> = Vec::new();
    for signed in tokens {
        let issuer = signed.policy().id.clone();
        let what = match signed.session() {
            Some(session) => Ending::Session(session.to_owned()),
            None => {
                Ending::Token { id: signed.token_id().clone(), expires_at: signed.expires_at() }
            }
        };
        let subject = signed.subject().map(str::to_owned);
        let end = Ended { issuer, what, subject, issued_at: signed.issued_at() };
        if !ends.iter().any(|other| other.is_same(&end)) {
            ends.push(end);
        }
    }
    if let Some(kept) = kept {
        let what = Ending::of_session(kept.session.clone(), kept.named_here);
        // No mark of its token says the session's name.
        let access = kept
            .named_here
            .then(|| Ending::Token { id: kept.access.clone(), expires_at: kept.access_ends_at() });
        for what in std::iter::once(what).chain(access) {
            let issued_at = Some(kept.login_time());
            let end = Ended { issuer: kept.issuer_id(), what, subject: None, issued_at };
            if !ends.iter().any(|other| other.is_same(&end)) {
                ends.push(end);
            }
        }
    }
    ends
}

/// As the desk is asked.
pub fn asked(
    ends: Vec<Ended>,
    address: Option<std::net::IpAddr>,
    reason: &'static str,
) -> Vec<End> {
    let end = |Ended { issuer, what, subject, issued_at }| End {
        issuer,
        what,
        subject,
        issued_at,
        by: By::Holder(address),
        reason: reason.into(),
    };
    ends.into_iter().map(end).collect()
}

/// Adds cookies to an answer, which no cache may keep then.
pub fn add_cookies(headers: &mut HeaderMap, cookies: Vec<HeaderValue>) {
    if cookies.is_empty() {
        return;
    }
    for cookie in cookies {
        headers.append(SET_COOKIE, cookie);
    }
    headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

fn attributes(cookies: &CookieConfig) -> String {
    let mut text = String::from("; Path=/; HttpOnly");
    if let Some(domain) = &cookies.domain {
        text.push_str("; Domain=");
        text.push_str(domain);
    }
    if cookies.secure {
        text.push_str("; Secure");
    }
    text.push_str("; SameSite=");
    text.push_str(cookies.same_site.as_str());
    text
}
