//! One issuer, one route that requires its tokens, and the two things a test asks of them.

use super::{Gateway, Issuer, Setup, Token, Upstream};

/// A gateway with one issuer, and what a test asks of it.
pub struct TokenScene {
    pub issuer: Issuer,
    pub upstream: Upstream,
    pub gateway: Gateway,
}

impl TokenScene {
    pub fn new(algorithm: &str) -> Self {
        let issuer = Issuer::new(algorithm);
        let upstream = Upstream::new();
        let gateway = Setup::simple(&issuer, &upstream).start();
        Self { issuer, upstream, gateway }
    }

    #[track_caller]
    pub fn passes(&self, token: &str) {
        let answer = self.gateway.get_with("/", token);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Refused with 401 and this code, and the backend saw nothing of it.
    #[track_caller]
    pub fn refuses(&self, what: &str, token: &str, code: &str) {
        let before = self.upstream.begun();
        let answer = self.gateway.get_with("/", token);
        assert_eq!(answer.status, 401, "{what}: {}", answer.text());
        assert_eq!(answer.code(), code, "{what}");
        let challenge = answer.header("www-authenticate").expect("a challenge");
        assert!(challenge.starts_with("Bearer "), "{what}: {challenge}");
        assert!(challenge.contains("error=\"invalid_token\""), "{what}: {challenge}");
        assert_eq!(self.upstream.begun(), before, "{what} reached the backend");
    }

    #[track_caller]
    pub fn refuses_invalid(&self, what: &str, token: &str) {
        self.refuses(what, token, "token_invalid");
    }

    pub fn good(&self) -> Token {
        self.issuer.token("alice")
    }
}
