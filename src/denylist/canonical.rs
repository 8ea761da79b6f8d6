//! The one byte form of (issuer, selector): what fingerprints are taken of, what the store's index
//! is made of and what a record holds. Every part carries its length, so no two selectors share a
//! form. It is part of the store's format: tags are never used for anything else.

use crate::keys::Thumbprint;

use super::{Except, IssuerId, Selector, TokenId};

const TOKEN_JTI: u8 = 1;
const TOKEN_DIGEST: u8 = 2;
const SESSION: u8 = 3;
const SUBJECT: u8 = 4;
const CLIENT: u8 = 5;
const KEY: u8 = 6;
const CLAIM: u8 = 7;
const ISSUER: u8 = 8;
const REGISTERED_JTI: u8 = 9;
const REGISTERED_DIGEST: u8 = 10;
const REGISTERED_SESSION: u8 = 11;
/// No selector: what a person has ended, in the store's index.
const ENDED_BY: u8 = 12;

/// A selector of borrowed parts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Parts<'a> {
    Jti(&'a str),
    Digest(&'a [u8; 32]),
    Session(&'a str),
    Subject(&'a str),
    Client(&'a str),
    Key(&'a Thumbprint),
    Claim(&'a str, &'a str),
    Issuer,
    RegisteredJti(&'a str),
    RegisteredDigest(&'a [u8; 32]),
    RegisteredSession(&'a str),
}

impl<'a> Parts<'a> {
    pub(crate) fn of(selector: &'a Selector) -> Self {
        match selector {
            Selector::Token(token) => Self::of_token(token),
            Selector::Session(session) => Self::Session(session),
            Selector::Subject(subject) => Self::Subject(subject),
            Selector::Client(client) => Self::Client(client),
            Selector::Key(key) => Self::Key(key),
            Selector::Claim { name, value } => Self::Claim(name, value),
            Selector::Issuer => Self::Issuer,
            Selector::Registration(Except::Session(session)) => Self::RegisteredSession(session),
            Selector::Registration(Except::Token(token)) => Self::of_registered(token),
        }
    }

    pub(crate) fn of_token(token: &'a TokenId) -> Self {
        match token {
            TokenId::Jti(jti) => Self::Jti(jti),
            TokenId::Digest(digest) => Self::Digest(digest),
        }
    }

    pub(crate) fn of_registered(token: &'a TokenId) -> Self {
        match token {
            TokenId::Jti(jti) => Self::RegisteredJti(jti),
            TokenId::Digest(digest) => Self::RegisteredDigest(digest),
        }
    }

    pub(crate) fn of_except(except: &'a Except) -> Self {
        match except {
            Except::Session(session) => Self::Session(session),
            Except::Token(token) => Self::of_token(token),
        }
    }

    /// Appends the canonical form.
    pub(crate) fn write(self, issuer: &IssuerId, to: &mut Vec<u8>) {
        let mut put = |tag: u8, parts: &[&[u8]]| {
            to.push(tag);
            for part in parts {
                to.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
                to.extend_from_slice(part);
            }
        };
        let iss = issuer.as_str().as_bytes();
        match self {
            Self::Jti(jti) => put(TOKEN_JTI, &[iss, jti.as_bytes()]),
            Self::Digest(digest) => put(TOKEN_DIGEST, &[iss, digest]),
            Self::Session(session) => put(SESSION, &[iss, session.as_bytes()]),
            Self::Subject(subject) => put(SUBJECT, &[iss, subject.as_bytes()]),
            Self::Client(client) => put(CLIENT, &[iss, client.as_bytes()]),
            Self::Key(key) => put(KEY, &[iss, &key.0]),
            Self::Claim(name, value) => put(CLAIM, &[iss, name.as_bytes(), value.as_bytes()]),
            Self::Issuer => put(ISSUER, &[iss]),
            Self::RegisteredJti(jti) => put(REGISTERED_JTI, &[iss, jti.as_bytes()]),
            Self::RegisteredDigest(digest) => put(REGISTERED_DIGEST, &[iss, digest]),
            Self::RegisteredSession(session) => put(REGISTERED_SESSION, &[iss, session.as_bytes()]),
        }
    }
}

/// The canonical form of a selector.
pub(crate) fn of_selector(issuer: &IssuerId, selector: &Selector) -> Vec<u8> {
    let mut form = Vec::with_capacity(96);
    Parts::of(selector).write(issuer, &mut form);
    form
}

/// What the records are indexed by that a person has made about their own access.
pub(crate) fn of_person(issuer: &IssuerId, subject: &str) -> Vec<u8> {
    let mut form = Vec::with_capacity(96);
    Parts::Subject(subject).write(issuer, &mut form);
    if let Some(tag) = form.first_mut() {
        *tag = ENDED_BY;
    }
    form
}

/// Reads a canonical form; `None` when it is not one.
pub(crate) fn read(form: &[u8]) -> Option<(IssuerId, Selector)> {
    let (tag, mut rest) = form.split_first()?;
    let issuer = IssuerId::new(&text(&mut rest)?);
    let selector = match *tag {
        TOKEN_JTI => Selector::Token(TokenId::Jti(text(&mut rest)?)),
        TOKEN_DIGEST => Selector::Token(TokenId::Digest(part(&mut rest)?.try_into().ok()?)),
        SESSION => Selector::Session(text(&mut rest)?),
        SUBJECT => Selector::Subject(text(&mut rest)?),
        CLIENT => Selector::Client(text(&mut rest)?),
        KEY => Selector::Key(Thumbprint(part(&mut rest)?.try_into().ok()?)),
        CLAIM => Selector::Claim { name: text(&mut rest)?, value: text(&mut rest)? },
        ISSUER => Selector::Issuer,
        REGISTERED_JTI => Selector::Registration(Except::Token(TokenId::Jti(text(&mut rest)?))),
        REGISTERED_DIGEST => Selector::Registration(Except::Token(TokenId::Digest(
            part(&mut rest)?.try_into().ok()?,
        ))),
        REGISTERED_SESSION => Selector::Registration(Except::Session(text(&mut rest)?)),
        _ => return None,
    };
    rest.is_empty().then_some((issuer, selector))
}

/// The kind of a canonical form, from its tag alone.
pub(crate) fn kind(form: &[u8]) -> Option<super::SelectorKind> {
    use super::SelectorKind;
    match *form.first()? {
        TOKEN_JTI | TOKEN_DIGEST => Some(SelectorKind::Token),
        SESSION => Some(SelectorKind::Session),
        SUBJECT => Some(SelectorKind::Subject),
        CLIENT => Some(SelectorKind::Client),
        KEY => Some(SelectorKind::Key),
        CLAIM => Some(SelectorKind::Claim),
        ISSUER => Some(SelectorKind::Issuer),
        REGISTERED_JTI | REGISTERED_DIGEST | REGISTERED_SESSION => Some(SelectorKind::Registration),
        _ => None,
    }
}

/// The issuer of a canonical form.
pub(crate) fn issuer(form: &[u8]) -> Option<&str> {
    let (_, mut rest) = form.split_first()?;
    std::str::from_utf8(part(&mut rest)?).ok()
}

/// Of a registration, the form of the token or session itself; `None`: it is of a denial.
pub(crate) fn registered(form: &[u8]) -> Option<Vec<u8>> {
    let (tag, rest) = form.split_first()?;
    let plain = match *tag {
        REGISTERED_JTI => TOKEN_JTI,
        REGISTERED_DIGEST => TOKEN_DIGEST,
        REGISTERED_SESSION => SESSION,
        _ => return None,
    };
    Some(std::iter::once(plain).chain(rest.iter().copied()).collect())
}

fn part<'f>(rest: &mut &'f [u8]) -> Option<&'f [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (part, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(part)
}

fn text(rest: &mut &[u8]) -> Option<String> {
    std::str::from_utf8(part(rest)?).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms_of(issuer: &str, texts: &[&str]) -> Vec<(IssuerId, Selector)> {
        let issuer = IssuerId::new(issuer);
        let mut all = vec![
            Selector::Issuer,
            Selector::Key(Thumbprint([7; 32])),
            Selector::Token(TokenId::Digest([7; 32])),
            Selector::Registration(Except::Token(TokenId::Digest([7; 32]))),
        ];
        for text in texts {
            let text = (*text).to_owned();
            all.push(Selector::Token(TokenId::Jti(text.clone())));
            all.push(Selector::Session(text.clone()));
            all.push(Selector::Registration(Except::Session(text.clone())));
            all.push(Selector::Registration(Except::Token(TokenId::Jti(text.clone()))));
            all.push(Selector::Subject(text.clone()));
            all.push(Selector::Client(text.clone()));
            for other in texts {
                all.push(Selector::Claim { name: text.clone(), value: (*other).to_owned() });
            }
        }
        all.into_iter().map(|selector| (issuer.clone(), selector)).collect()
    }

    #[test]
    fn no_two_selectors_share_a_form_and_each_reads_back() {
        let texts = ["", "a", "ab", "b", "a\0b", "\0", "a\u{1}\0\0\0b", "é", "e\u{301}", "007"];
        let mut seen = std::collections::HashMap::new();
        for issuer in ["", "a", "https://id.example.com", "https://id.example.com/"] {
            for (issuer, selector) in forms_of(issuer, &texts) {
                let form = of_selector(&issuer, &selector);
                assert_eq!(kind(&form), Some(selector.kind()));
                assert_eq!(read(&form), Some((issuer.clone(), selector.clone())));
                let plain = if let Selector::Registration(one) = &selector {
                    Some(of_selector(&issuer, &one.selector()))
                } else {
                    None
                };
                assert_eq!(registered(&form), plain);
                assert_eq!(seen.insert(form, (issuer, selector)), None);
            }
        }
    }

    #[test]
    fn a_form_that_is_cut_or_continued_is_refused() {
        let selector = Selector::Claim { name: "tenant".into(), value: "acme".into() };
        let form = of_selector(&IssuerId::new("https://id.example.com/"), &selector);
        for cut in 0..form.len() {
            assert_eq!(read(&form[..cut]), None);
        }
        let mut longer = form.clone();
        longer.push(0);
        assert_eq!(read(&longer), None);
        let mut other = form;
        other[0] = 12;
        assert_eq!(read(&other), None);
    }
}
