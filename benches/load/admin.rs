//! The admin API, on one connection that stays.

use std::time::Instant;

use serde_json::Value;

use super::Arguments;
use super::wire::{Connection, Place};

pub struct Admin {
    connection: Connection,
    token: String,
}

/// When a call was begun and when its answer was there.
#[derive(Clone, Copy)]
pub struct Call {
    pub begun: Instant,
    pub acknowledged: Instant,
}

impl Admin {
    /// `admin` (an address) and `admin_token`.
    pub async fn of(arguments: &Arguments) -> Self {
        let place = Place::plain(arguments.number("admin"));
        let token = arguments.text("admin_token").to_owned();
        Self { connection: place.connect().await, token }
    }

    /// Ends access.
    pub async fn revoke(&mut self, body: &Value) -> Call {
        self.post("/v1/revoke", body).await
    }

    /// Makes a denial.
    pub async fn create(&mut self, body: &Value) -> Call {
        self.post("/v1/denials", body).await
    }

    async fn post(&mut self, path: &str, body: &Value) -> Call {
        let (body, token) = (body.to_string(), &self.token);
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let begun = Instant::now();
        let (status, answer) = self.connection.ask(&request).await;
        let acknowledged = Instant::now();
        assert!(matches!(status, 200 | 201), "{status} {}", String::from_utf8_lossy(&answer));
        Call { begun, acknowledged }
    }
}
