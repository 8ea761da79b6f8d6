//! How long a denial must be kept, so that nothing is forgotten while a token that it matches can
//! still pass.

use std::time::Duration;

use crate::clock::UnixMs;

use super::{Condition, Except, Selector, SelectorKind};

/// The part of an issuer's policy that bounds how long its tokens live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    pub max_lifetime: Duration,
    pub session_lifetime_max: Duration,
    /// Sessions are renewed by the gateway: cutoffs are kept for the session's life.
    pub renewed: bool,
    pub leeway: Duration,
    /// Its tokens may lack `iat`: cutoffs are kept until lifted.
    pub iat_optional: bool,
}

/// The last time that RFC 3339 can say in any offset: 9999-12-30T22:00:00Z. A token whose `exp` lies
/// beyond it lives too long to pass.
const LAST: UnixMs = UnixMs(253_402_207_200_000);

/// When the denial may be forgotten; `None`: only when lifted. `token_expires` is the `exp` of the
/// token that a token selector names, where it is known.
pub fn kept_until(
    selector: &Selector,
    condition: Condition,
    created_at: UnixMs,
    token_expires: Option<UnixMs>,
    retention: &Retention,
) -> Option<UnixMs> {
    let kind = selector.kind();
    if let (SelectorKind::Token, Some(expires)) = (kind, token_expires) {
        return Some(expires.plus(retention.leeway).min(LAST));
    }
    // A lifetime is bounded by `exp` − `iat`; without `iat` it is not bounded at all.
    if retention.iat_optional || matches!(kind, SelectorKind::Key | SelectorKind::Issuer) {
        return None;
    }
    let of_tokens = if retention.renewed {
        retention.max_lifetime.max(retention.session_lifetime_max)
    } else {
        retention.max_lifetime
    };
    let end = match (condition, kind) {
        (Condition::Always, SelectorKind::Token) => created_at.plus(retention.max_lifetime),
        (Condition::Always, SelectorKind::Session) => {
            created_at.plus(retention.session_lifetime_max.max(retention.max_lifetime))
        }
        (
            Condition::Always,
            SelectorKind::Subject
            | SelectorKind::Client
            | SelectorKind::Claim
            | SelectorKind::Key
            | SelectorKind::Issuer
            | SelectorKind::Registration,
        ) => return None,
        (Condition::IssuedBefore(before), _) => before.plus(of_tokens),
        (Condition::VersionBelow(_), _) => created_at.plus(of_tokens),
    };
    Some(end.plus(retention.leeway).min(LAST))
}

/// Until when a registration lets pass, at the most. A denial of the same session or token that is
/// made later is always kept longer, so that ending a session can never be forgotten before the
/// registration that it ends.
pub fn registered_until(
    registered: &Except,
    created_at: UnixMs,
    token_expires: Option<UnixMs>,
    retention: &Retention,
) -> UnixMs {
    let end = match (registered, token_expires) {
        (Except::Token(_), Some(expires)) => expires,
        (Except::Token(_), None) => created_at.plus(retention.max_lifetime),
        (Except::Session(_), _) => {
            created_at.plus(retention.session_lifetime_max.max(retention.max_lifetime))
        }
    };
    end.plus(retention.leeway).min(LAST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::denylist::TokenId;
    use crate::keys::Thumbprint;

    const NOW: UnixMs = UnixMs(1_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(86_400);

    fn retention() -> Retention {
        Retention {
            max_lifetime: HOUR * 12,
            session_lifetime_max: DAY * 30,
            renewed: false,
            leeway: Duration::from_secs(30),
            iat_optional: false,
        }
    }

    fn after(by: Duration) -> Option<UnixMs> {
        Some(NOW.plus(by).plus(Duration::from_secs(30)))
    }

    #[test]
    fn each_line_of_kept_until_holds() {
        use Condition::{Always, IssuedBefore, VersionBelow};
        let token = Selector::Token(TokenId::Jti("t-1".into()));
        let session = Selector::Session("s-1".into());
        let alice = Selector::Subject("alice".into());
        let client = Selector::Client("shop".into());
        let claim = Selector::Claim { name: "tenant".into(), value: "acme".into() };
        let key = Selector::Key(Thumbprint([1; 32]));
        let of = |selector: &Selector, condition, expires, retention: &Retention| {
            kept_until(selector, condition, NOW, expires, retention)
        };
        let plain = retention();
        let renewed = Retention { renewed: true, ..retention() };
        let no_iat = Retention { iat_optional: true, ..retention() };
        let cutoff = IssuedBefore(NOW.plus(HOUR));

        let expires = Some(NOW.plus(HOUR * 3));
        assert_eq!(of(&token, Always, expires, &plain), after(HOUR * 3));
        assert_eq!(of(&token, Always, expires, &no_iat), after(HOUR * 3));
        assert_eq!(of(&token, Always, None, &plain), after(HOUR * 12));
        assert_eq!(of(&token, Always, None, &no_iat), None, "its life has no bound");
        assert_eq!(of(&session, Always, None, &plain), after(DAY * 30));
        for selector in [&session, &alice, &client, &claim] {
            assert_eq!(of(selector, cutoff, None, &plain), after(HOUR * 13));
            assert_eq!(of(selector, cutoff, None, &renewed), after(DAY * 30 + HOUR));
            assert_eq!(of(selector, cutoff, None, &no_iat), None);
            assert_eq!(of(selector, VersionBelow(3), None, &plain), after(HOUR * 12));
            assert_eq!(of(selector, VersionBelow(3), None, &renewed), after(DAY * 30));
            assert_eq!(of(selector, VersionBelow(3), None, &no_iat), None);
        }
        for selector in [&alice, &client, &claim, &key, &Selector::Issuer] {
            assert_eq!(of(selector, Always, None, &plain), None);
        }
        for selector in [&key, &Selector::Issuer] {
            assert_eq!(of(selector, cutoff, None, &plain), None);
            assert_eq!(of(selector, VersionBelow(3), None, &plain), None);
        }
    }
}
