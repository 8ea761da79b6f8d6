//! The client of the admin API. Finds the first address that answers, carries the credential, and
//! turns a problem document into a [`Failure`].

use bytes::Bytes;
use http::{Method, StatusCode, header};
use http_body_util::Full;
use serde_json::Value;

use crate::secret::Secret;

use super::address::Admin;
use super::arguments::Global;
use super::failure::{Attempt, Failure};
use super::http::{Address, ExchangeError, exchange};
use super::input;
use super::shapes::{self, Problem};
use super::words;

/// Names the door by which a change came in, for the audit.
const VIA_HEADER: &str = "x-portcullis-client";

/// What every answer of an admin API has. Another server that says 200 must not seem to have done what
/// was asked.
const API_HEADER: &str = "x-portcullis-api";

/// A client of one gateway.
pub struct Client {
    pub(super) runtime: tokio::runtime::Runtime,
    pub(super) admin: Admin,
    token: Option<Secret>,
    /// Where the credential came from, or why there is none.
    token_note: String,
}

/// An answer that is not a problem.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    /// As it came, for `--json`.
    pub raw: Value,
}

impl Answer {
    /// The same with every string made safe for a terminal, in our shape.
    pub fn shown<S: serde::de::DeserializeOwned>(&self, from: &str) -> Result<S, Failure> {
        let mut value = self.raw.clone();
        shapes::make_printable(&mut value);
        serde_json::from_value(value)
            .map_err(|error| Failure::Answer { from: from.to_owned(), detail: error.to_string() })
    }
}

pub(super) fn must_be_ours(from: &Address, headers: &http::HeaderMap) -> Result<(), Failure> {
    if headers.contains_key(API_HEADER) {
        return Ok(());
    }
    let detail = "it is another server".to_owned();
    Err(Failure::Answer { from: from.to_string(), detail })
}

impl Client {
    pub fn new(global: &Global) -> Result<Self, Failure> {
        let admin = Admin::find(global)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|cause| Failure::Read { what: "the clock and sockets".to_owned(), cause })?;
        let (token, token_note) = credential(&admin);
        Ok(Self { runtime, admin, token, token_note })
    }

    pub fn read(&self, path: &str) -> Result<Answer, Failure> {
        self.call(Method::GET, path, None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Result<Answer, Failure> {
        self.call(Method::POST, path, Some(body))
    }

    fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, Failure> {
        let (address, response) = self.send(&method, path, body)?;
        let (parts, bytes) = response.into_parts();
        let document = serde_json::from_slice::<Value>(&bytes);
        if !parts.status.is_success() {
            return Err(self.problem(&address, parts.status, document.ok()));
        }
        must_be_ours(&address, &parts.headers)?;
        match document {
            Ok(raw) => Ok(Answer { status: parts.status, raw }),
            Err(_) => Err(Failure::Answer {
                from: address.to_string(),
                detail: format!("{} without a JSON body", parts.status),
            }),
        }
    }

    /// Asks one address after the other until one takes the connection; any status is an answer.
    pub fn send(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(Address, http::Response<Bytes>), Failure> {
        let mut tried = Vec::new();
        for address in &self.admin.addresses {
            let request = self.request(address, method, path, body)?;
            match self.runtime.block_on(exchange(address, request)) {
                Ok(response) => return Ok((address.clone(), response)),
                Err(ExchangeError::Connect(outcome)) => {
                    tried.push(Attempt { address: address.to_string(), outcome });
                }
                // Something listens there: asking a second one might do a thing twice.
                Err(ExchangeError::Broken(detail)) => {
                    return Err(Failure::Answer { from: address.to_string(), detail });
                }
            }
        }
        Err(self.unreachable(tried))
    }

    pub(super) fn request(
        &self,
        address: &Address,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<http::Request<Full<Bytes>>, Failure> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, address.authority())
            .header(header::ACCEPT, "application/json")
            .header(VIA_HEADER, "cli");
        if let (Address::Tcp(_), Some(token)) = (address, &self.token) {
            let bearer = [b"Bearer ", token.expose()].concat();
            match http::HeaderValue::from_bytes(&bearer) {
                Ok(mut value) => {
                    value.set_sensitive(true);
                    request = request.header(header::AUTHORIZATION, value);
                }
                Err(_) => {
                    return Err(Failure::usage(
                        "The admin credential holds bytes that no header can carry.",
                    ));
                }
            }
        }
        let bytes = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        request
            .body(Full::new(bytes))
            .map_err(|error| Failure::usage(format!("`{path}` cannot be asked for: {error}")))
    }

    pub(super) fn problem(
        &self,
        from: &Address,
        status: StatusCode,
        document: Option<Value>,
    ) -> Failure {
        let Some(document) = document.filter(Value::is_object) else {
            return Failure::Answer { from: from.to_string(), detail: status.to_string() };
        };
        let mut problem = Problem::new(status, document);
        if problem.is_of_another_listener() {
            problem.notes.push(format!(
                "{from} answers as a listener for clients does. The admin API is where [admin] \
                 listen says."
            ));
        } else if status == StatusCode::UNAUTHORIZED {
            problem.notes.push(self.token_note.clone());
        }
        Failure::Problem(Box::new(problem))
    }

    /// What to do where none of these took the connection.
    pub(super) fn unreachable(&self, tried: Vec<Attempt>) -> Failure {
        let refused = tried.iter().any(|attempt| attempt.outcome == "permission denied");
        let advice = match refused {
            true => "A socket is for the gateway's own user: run this as that one. Others use its \
                     HTTP address, with PORTCULLIS_ADMIN_TOKEN."
                .to_owned(),
            false => self.advice(),
        };
        Failure::Unreachable { tried, advice }
    }

    fn advice(&self) -> String {
        match &self.admin.config {
            Some(config) if config.exists() => format!(
                "Is the gateway running? The addresses are those of {}; --admin names another.",
                config.display()
            ),
            Some(config) => format!(
                "There is no {}: say which gateway with -c FILE or --admin ADDR.",
                config.display()
            ),
            None => "Is the gateway running, and is this the address of its [admin] listen?".into(),
        }
    }
}

/// PORTCULLIS_ADMIN_TOKEN, else the first token's file; and which it was, or why there is none.
fn credential(admin: &Admin) -> (Option<Secret>, String) {
    match std::env::var("PORTCULLIS_ADMIN_TOKEN") {
        Ok(token) if !token.trim().is_empty() => {
            let note = "It was sent the credential of PORTCULLIS_ADMIN_TOKEN.".to_owned();
            return (Some(Secret::new(token.trim().as_bytes().to_vec())), note);
        }
        Ok(_) | Err(_) => {}
    }
    let file = admin.first_token.display();
    match input::read_secret(&admin.first_token) {
        Ok(token) => {
            let note =
                format!("It was sent the credential in {file}; PORTCULLIS_ADMIN_TOKEN is not set.");
            (Some(token), note)
        }
        Err(error) => {
            let why = words::cause(&error.to_string());
            let mut note =
                format!("PORTCULLIS_ADMIN_TOKEN is not set, and {file} cannot be read: {why}.");
            if error.kind() == std::io::ErrorKind::PermissionDenied {
                note.push_str(" Run this as the gateway's user, or set the variable.");
            }
            (None, note)
        }
    }
}
