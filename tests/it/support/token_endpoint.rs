//! An OAuth 2.0 token endpoint for refresh tokens (RFC 6749 section 6), which rotates them, takes none
//! twice, and fails, hangs or lies as it is told. It also revokes (RFC 7009), and answers JSON for JSON
//! as a plain backend does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value, json};

use super::upstream::{Exchange, Received};
use super::{PATIENCE, Upstream};

/// Makes the next access token of a session.
pub type Mint = Box<dyn Fn() -> String + Send>;

/// What a call gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Grants {
    /// A new access token and a new refresh token.
    Rotating,
    /// A new access token; the refresh token goes on.
    Keeping,
    /// Nothing that helps: status line and body.
    Says(&'static str, &'static str),
    /// Bytes that nobody chose: instead of an answer, or as the body of one where the seed is odd.
    Noise(u64),
    /// No answer until the endpoint is told to go on.
    Waiting,
    /// No answer, and nothing granted, whatever comes later.
    Hanging,
}

/// See the module.
#[derive(Clone)]
pub struct TokenEndpoint {
    server: Upstream,
    shared: Arc<(Mutex<State>, Condvar)>,
}

struct State {
    grants: Grants,
    /// Refresh tokens that count.
    good: BTreeSet<String>,
    made: usize,
    mint: Mint,
    calls: Vec<Received>,
    revoked: Vec<String>,
}

impl TokenEndpoint {
    pub fn new(mint: impl Fn() -> String + Send + 'static) -> Self {
        let state = State {
            grants: Grants::Rotating,
            good: BTreeSet::new(),
            made: 0,
            mint: Box::new(mint),
            calls: Vec::new(),
            revoked: Vec::new(),
        };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        let serving = Arc::clone(&shared);
        let server = Upstream::answering(move |exchange| serve(exchange, &serving));
        Self { server, shared }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.url())
    }

    /// A refresh token, as a login gives one.
    pub fn issue(&self) -> String {
        self.state(State::issue)
    }

    pub fn set(&self, grants: Grants) {
        self.state(|state| state.grants = grants);
        self.shared.1.notify_all();
    }

    pub fn mint(&self, mint: impl Fn() -> String + Send + 'static) {
        self.state(|state| state.mint = Box::new(mint));
    }

    /// Calls for new tokens that have come.
    pub fn calls(&self) -> usize {
        self.state(|state| state.calls.len())
    }

    pub fn last_call(&self) -> Received {
        self.state(|state| state.calls.last().cloned()).expect("a call")
    }

    pub fn revoked(&self) -> Vec<String> {
        self.state(|state| state.revoked.clone())
    }

    fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.shared.0.lock().unwrap())
    }
}

impl State {
    fn issue(&mut self) -> String {
        self.made += 1;
        let token = format!("refresh+{}/=", self.made);
        self.good.insert(token.clone());
        token
    }

    fn grant(&mut self, refresh: &str) -> Option<Value> {
        if !self.good.contains(refresh) {
            return None;
        }
        let mut answer = json!({
            "access_token": (self.mint)(), "token_type": "Bearer", "expires_in": 3600,
        });
        if self.grants != Grants::Keeping {
            self.good.remove(refresh);
            answer["refresh_token"] = self.issue().into();
        }
        Some(answer)
    }
}

fn serve(exchange: &mut Exchange<'_>, (state, changed): &(Mutex<State>, Condvar)) {
    exchange.read_body();
    let received = exchange.received.clone();
    let target = received.target.as_str();
    let (mut fields, plain) = (BTreeMap::new(), target == "/plain");
    if plain {
        let body: Value = serde_json::from_slice(&received.body).unwrap();
        let token = body["session"]["refresh"].as_str().unwrap_or_default();
        fields.insert("refresh_token".to_owned(), token.to_owned());
    } else {
        fields = form(&received.body);
    }
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let mut state = state.lock().unwrap();
    if target == "/revoke" {
        let token = field("token");
        state.good.remove(&token);
        state.revoked.push(token);
        return exchange.answer("200 OK", "", "");
    }
    state.calls.push(received);
    let refresh = field("refresh_token");
    let counted = state.good.contains(&refresh);
    let hangs = state.grants == Grants::Hanging;
    let waits = |state: &mut State| matches!(state.grants, Grants::Waiting | Grants::Hanging);
    let (mut state, _) = changed.wait_timeout_while(state, PATIENCE, waits).unwrap();
    let json_type = "Content-Type: application/json\r\n";
    if hangs {
        return exchange.close();
    }
    if let Grants::Noise(seed) = state.grants {
        let noise = noise(seed);
        match seed % 2 {
            0 => exchange.send(noise),
            _ => exchange.answer("200 OK", json_type, noise),
        }
        return exchange.close();
    }
    if let Grants::Says(status, body) = state.grants {
        return exchange.answer(status, json_type, body);
    }
    // What is revoked while a call waits was good when it came.
    if counted {
        state.good.insert(refresh.clone());
    }
    let granted = match plain || field("grant_type") == "refresh_token" {
        true => state.grant(&refresh),
        false => None,
    };
    match granted {
        Some(tokens) if plain => {
            let tokens = json!({"data": {
                "jwt": tokens["access_token"], "refresh": tokens["refresh_token"],
            }});
            exchange.answer("200 OK", json_type, tokens.to_string());
        }
        Some(tokens) => exchange.answer("200 OK", json_type, tokens.to_string()),
        None => {
            exchange.answer("400 Bad Request", json_type, r#"{"error":"invalid_grant"}"#);
        }
    }
}

/// The same for the same seed.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let length = 1 + seed as usize * 97 % 3000;
    std::iter::repeat_with(byte).take(length).collect()
}

/// The fields of a form.
pub fn form(body: &[u8]) -> BTreeMap<String, String> {
    let text = std::str::from_utf8(body).unwrap();
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), unescaped(value))).collect()
}

fn unescaped(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}
