//! The administrator: calls of the admin API with a bearer credential.

use serde_json::{Value, json};

use super::{Answer, Connection};

/// Where the admin API listens, and who calls.
#[derive(Clone)]
pub struct Admin {
    address: String,
    token: String,
}

impl Admin {
    pub fn new(address: &str, token: &str) -> Self {
        Self { address: address.into(), token: token.into() }
    }

    /// The same API, called with another credential.
    pub fn with_token(&self, token: &str) -> Self {
        Self::new(&self.address, token)
    }

    #[track_caller]
    pub fn connect(&self) -> Connection {
        Connection::open(&self.address)
    }

    /// Any call; the answer whatever it is.
    #[track_caller]
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let mut connection = self.connect();
        self.call_on(&mut connection, method, path, body)
    }

    /// Any call on an open connection.
    #[track_caller]
    pub fn call_on(
        &self,
        connection: &mut Connection,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Answer {
        self.try_call_on(connection, method, path, body).expect("an answer")
    }

    /// Nothing when the peer is gone before its answer is whole.
    pub fn try_call_on(
        &self,
        connection: &mut Connection,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Option<Answer> {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n",
            self.address, self.token
        );
        let body = body.map(Value::to_string).unwrap_or_default();
        if !body.is_empty() {
            request +=
                &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        }
        connection.try_send(request + "\r\n" + &body).ok()?;
        connection.answer_to(method).ok()
    }

    /// A call that must succeed.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.call("POST", path, Some(body));
        assert!(
            matches!(answer.status, 200 | 201),
            "{path} {body}: {}\n{}",
            answer.head,
            answer.text()
        );
        answer.json()
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let answer = self.call("GET", path, None);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// `POST /v1/revoke`; the new denial's id.
    #[track_caller]
    pub fn revoke(&self, selector: Value) -> String {
        self.stop("/v1/revoke", selector)
    }

    /// `POST /v1/block`; the new denial's id.
    #[track_caller]
    pub fn block(&self, selector: Value) -> String {
        self.stop("/v1/block", selector)
    }

    /// `POST /v1/denials`; the new denial's id.
    #[track_caller]
    pub fn deny(&self, denial: Value) -> String {
        self.stop("/v1/denials", denial)
    }

    #[track_caller]
    pub fn undo(&self, id: &str) -> Value {
        self.post(&format!("/v1/denials/{id}/undo"), &json!({"reason": "taken back"}))
    }

    #[track_caller]
    fn stop(&self, path: &str, mut body: Value) -> String {
        if body.get("reason").is_none() {
            body["reason"] = "test".into();
        }
        self.post(path, &body)["id"].as_str().expect("an id").to_owned()
    }
}
