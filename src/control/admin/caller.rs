//! Who calls: a named credential, or the peer of the unix socket by its uid. And what a role may.

use std::net::IpAddr;

use http::{HeaderMap, header};

use crate::clock::UnixMs;
use crate::config::{AdminToken, Role};
use crate::denylist::{Actor, Via};

use super::problem::Refused;
use super::throttle::Throttle;

/// The other end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Peer {
    Tcp { remote: IpAddr, local: IpAddr },
    Unix { uid: u32 },
}

/// Who calls, authenticated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Caller {
    pub name: String,
    pub role: Role,
    /// Issuers by config name; `None`: all.
    pub issuers: Option<Vec<String>>,
    pub via: Via,
    pub address: Option<String>,
}

impl Caller {
    /// Asks for the credential. A request without one is refused, but for root and the process's
    /// own user on the unix socket; one with a wrong credential is refused wherever it comes from.
    pub fn authenticate(
        headers: &HeaderMap,
        peer: Peer,
        tokens: &[AdminToken],
        throttle: &Throttle,
        now: UnixMs,
    ) -> Result<Self, Refused> {
        let via = via(headers);
        let address = match peer {
            Peer::Tcp { remote, .. } => Some(remote),
            Peer::Unix { .. } => None,
        };
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (first, second) = (values.next(), values.next());
        let Some(value) = first else {
            return match peer {
                Peer::Unix { uid } if is_trusted(uid) => Ok(Self {
                    name: format!("uid {uid}"),
                    role: Role::Admin,
                    issuers: None,
                    via,
                    address: None,
                }),
                Peer::Unix { .. } | Peer::Tcp { .. } => Err(Refused::TokenMissing),
            };
        };
        let found = bearer(value.as_bytes())
            .filter(|_| second.is_none())
            .and_then(|presented| find(tokens, presented));
        match found {
            Some(token) => Ok(Self {
                name: token.name.clone(),
                role: token.role,
                issuers: token.issuers.clone(),
                via,
                address: address.map(|address| address.to_canonical().to_string()),
            }),
            // A good credential passes even while its address is being throttled: otherwise
            // anybody on this machine could keep the operator out by failing on purpose.
            None => Err(match address.map_or(Ok(()), |address| throttle.fail(address, now)) {
                Ok(()) => Refused::TokenWrong,
                Err(retry_after_seconds) => Refused::TooManyFailures { retry_after_seconds },
            }),
        }
    }

    /// Refuses a role that is smaller than `needs`.
    pub fn must_be(&self, needs: Role, may_not: &'static str) -> Result<(), Refused> {
        if self.role >= needs {
            return Ok(());
        }
        Err(Refused::RoleTooSmall { role: role_name(self.role), may_not, needs: role_name(needs) })
    }

    pub fn may_act_on(&self, issuer: &str) -> bool {
        self.issuers.as_ref().is_none_or(|names| names.iter().any(|name| name == issuer))
    }

    pub fn actor(&self) -> Actor {
        Actor {
            name: self.name.clone(),
            role: role_name(self.role).to_owned(),
            via: self.via,
            address: self.address.clone(),
        }
    }
}

pub(super) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Revoker => "revoker",
        Role::Operator => "operator",
        Role::Admin => "admin",
    }
}

/// Whoever could read our memory and files anyway.
fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// RFC 9110 section 11.1: the scheme is compared without case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    let token = rest.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

/// Compares with all of them, so that the time does not tell which one was near.
fn find<'t>(tokens: &'t [AdminToken], presented: &[u8]) -> Option<&'t AdminToken> {
    tokens.iter().fold(None, |found, token| {
        let matches = token.secret.matches(presented);
        if matches { found.or(Some(token)) } else { found }
    })
}

/// The door that our own programs name. Only for the audit: no right depends on it.
fn via(headers: &HeaderMap) -> Via {
    match headers.get("x-portcullis-client").map(http::HeaderValue::as_bytes) {
        Some(b"cli") => Via::Cli,
        Some(b"dashboard") => Via::Dashboard,
        Some(_) | None => Via::Api,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use http::HeaderValue;

    fn tokens() -> Vec<AdminToken> {
        ["viewer-token-0000", "admin-token-00000"]
            .iter()
            .zip([Role::Viewer, Role::Admin])
            .map(|(text, role)| AdminToken {
                name: role_name(role).to_owned(),
                role,
                secret: Secret::new(text.as_bytes().to_vec()),
                issuers: None,
            })
            .collect()
    }

    fn ask(peer: Peer, values: &[&str]) -> Result<Caller, Refused> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        Caller::authenticate(&headers, peer, &tokens(), &Throttle::default(), UnixMs(0))
    }

    fn tcp() -> Peer {
        Peer::Tcp { remote: [127, 0, 0, 1].into(), local: [127, 0, 0, 1].into() }
    }

    #[test]
    fn a_credential_is_known_by_its_exact_bytes() {
        let caller = ask(tcp(), &["Bearer admin-token-00000"]).unwrap();
        assert_eq!((caller.name.as_str(), caller.role), ("admin", Role::Admin));
        assert_eq!(caller.address.as_deref(), Some("127.0.0.1"));
        assert!(ask(tcp(), &["bearer  viewer-token-0000"]).is_ok());
        assert_eq!(ask(tcp(), &[]), Err(Refused::TokenMissing));
        for wrong in [
            "Bearer admin-token-00001",
            "Bearer admin-token-0000",
            "Bearer admin-token-000000",
            "Bearer ",
            "Bearer",
            "Basic admin-token-00000",
            "admin-token-00000",
        ] {
            assert_eq!(ask(tcp(), &[wrong]), Err(Refused::TokenWrong), "{wrong}");
        }
        let twice = ["Bearer admin-token-00000", "Bearer admin-token-00000"];
        assert_eq!(ask(tcp(), &twice), Err(Refused::TokenWrong));
    }

    #[test]
    fn a_socket_peer_is_named_by_its_uid_and_trusted_only_when_it_is_us_or_root() {
        let own = rustix::process::geteuid().as_raw();
        for uid in [0, own] {
            let caller = ask(Peer::Unix { uid }, &[]).unwrap();
            assert_eq!((caller.name, caller.role), (format!("uid {uid}"), Role::Admin));
        }
        let stranger = Peer::Unix { uid: own.wrapping_add(4_711) };
        assert_eq!(ask(stranger, &[]), Err(Refused::TokenMissing));
        assert_eq!(ask(stranger, &["Bearer viewer-token-0000"]).unwrap().role, Role::Viewer);
        // A credential that is given is the one that counts.
        assert_eq!(ask(Peer::Unix { uid: own }, &["Bearer no"]), Err(Refused::TokenWrong));
        let weaker = ask(Peer::Unix { uid: own }, &["Bearer viewer-token-0000"]).unwrap();
        assert_eq!(weaker.role, Role::Viewer);
    }

    #[test]
    fn a_guesser_is_slowed_and_the_operator_beside_it_is_not() {
        let throttle = Throttle::default();
        let ask = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            Caller::authenticate(&headers, tcp(), &tokens(), &throttle, UnixMs(0))
        };
        let answers: Vec<_> = (0..20).map(|_| ask("Bearer guess")).collect();
        assert_eq!(answers.first(), Some(&Err(Refused::TokenWrong)));
        assert!(matches!(answers.last(), Some(Err(Refused::TooManyFailures { .. }))));
        assert!(ask("Bearer admin-token-00000").is_ok());
    }
}
