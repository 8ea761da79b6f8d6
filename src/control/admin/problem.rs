//! Every answer of the admin API that is not a success: RFC 9457 problem JSON with a stable `code`.
//!
//! One enum, one `match` to status, code and text. No text holds a token or a secret; what a
//! caller sent is quoted only where it is an identifier of bounded length.

mod kinds;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::config::Diagnostics;
use crate::control::config::ReloadFault;

use super::answer::AnswerBody;

mod fault;

pub(super) use fault::Fault;

/// Why a request was not done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    MalformedJson {
        line: usize,
        column: usize,
        what: String,
    },
    DuplicateMember {
        pointer: String,
    },
    TokenMissing,
    TokenWrong,
    /// Too many wrong credentials from one address.
    TooManyFailures {
        retry_after_seconds: u64,
    },
    /// What was asked, as the end of "may not …", and who may.
    RoleTooSmall {
        role: &'static str,
        may_not: &'static str,
        needs: &'static str,
    },
    IssuerNotAllowed {
        issuer: String,
    },
    CrossSite {
        why: String,
    },
    NoSuchPath,
    NoSuchDenial {
        id: String,
    },
    AmbiguousId {
        id: String,
    },
    NoSuchRequest,
    NoSuchStream {
        id: String,
    },
    /// The data plane has not answered in time.
    CoresBusy,
    NoSuchSession {
        id: String,
    },
    NoSuchRegistration {
        id: String,
    },
    MethodNotAllowed {
        allow: String,
    },
    BodyTooLarge {
        limit_bytes: usize,
    },
    NotJson,
    NotNdjson,
    /// One line of many.
    LineTooLarge {
        limit_bytes: usize,
    },
    /// The first line is not an export's.
    NotAnExport,
    UnknownExportVersion {
        version: u64,
    },
    InvalidIdempotencyKey,
    /// The key was sent with another body.
    IdempotencyKeyReused,
    /// The first call with the key is not answered yet.
    IdempotencyInProgress,
    /// Too many calls that stream, all at once.
    TooManyStreams,
    BodyTimeout,
    /// The connection broke in the middle of the body.
    BodyBroken,
    /// Members of a body that creates a denial.
    InvalidDenial(Vec<Fault>),
    /// Members of a body that registers.
    InvalidRegistration(Vec<Fault>),
    /// Members of any other body.
    InvalidBody(Vec<Fault>),
    /// Query parameters; the pointer is the parameter's name.
    InvalidQuery(Vec<Fault>),
    InvalidCursor,
    NotReady,
    DenylistFull {
        limit: u64,
        in_force: u64,
        /// An admin would still be let in.
        reserved: bool,
    },
    /// The store's disk has no room left.
    DiskFull,
    StoreFailed(String),
    StoreSlow,
    /// The config file cannot be used; what is in force stays.
    BadConfig(Diagnostics),
    /// The config file is good, and something of it cannot be had here and now.
    ReloadNotPossible(String),
}

impl Refused {
    pub fn status(&self) -> StatusCode {
        self.kind().0
    }

    pub fn code(&self) -> &'static str {
        self.kind().1
    }

    /// For people.
    #[expect(clippy::too_many_lines, reason = "a table: one row for each refusal")]
    pub fn detail(&self) -> String {
        match self {
            Self::MalformedJson { line, column, what } => {
                format!("{what}, at line {line} column {column}.")
            }
            Self::DuplicateMember { pointer } => {
                format!("{pointer} is there twice; which of the two is meant cannot be known.")
            }
            Self::TokenMissing => "Send Authorization: Bearer with an admin token.".to_owned(),
            Self::TokenWrong => "No configured admin token is this one.".to_owned(),
            Self::TooManyFailures { retry_after_seconds } => {
                format!("Too many wrong admin tokens; again in {retry_after_seconds} s.")
            }
            Self::RoleTooSmall { role, may_not, needs } => {
                format!("{role} may not {may_not}; it needs {needs}.")
            }
            Self::IssuerNotAllowed { issuer } => {
                format!("This credential may not act on issuer {issuer:?}.")
            }
            Self::CrossSite { why } => why.clone(),
            Self::NoSuchPath => "The admin API has no such path.".to_owned(),
            Self::NoSuchDenial { id } => format!("No denial's id is or begins with {id:?}."),
            Self::AmbiguousId { id } => {
                format!("More than one denial's id begins with {id:?}: give more of it.")
            }
            Self::NoSuchStream { id } => {
                format!("No open stream's id is {id:?}; it may have ended.")
            }
            Self::NoSuchSession { id } => {
                format!("No session's id is {id:?}; it may have ended.")
            }
            Self::CoresBusy => "A core of the data plane has not answered in time.".to_owned(),
            Self::NoSuchRegistration { id } => {
                format!("No registration's id is or begins with {id:?}.")
            }
            Self::NoSuchRequest => "No refused request with this id is remembered: the last 4,096 \
                 are, since this process started."
                .to_owned(),
            Self::MethodNotAllowed { allow } => format!("This path takes {allow}."),
            Self::BodyTooLarge { limit_bytes } => format!("A body may have {limit_bytes} bytes."),
            Self::NotJson => "Send Content-Type: application/json.".to_owned(),
            Self::NotNdjson => {
                "Send Content-Type: application/x-ndjson, one JSON object a line.".to_owned()
            }
            Self::LineTooLarge { limit_bytes } => format!("A line may have {limit_bytes} bytes."),
            Self::NotAnExport => {
                "The first line is not that of an export: send what /v1/denials/export gave."
                    .to_owned()
            }
            Self::UnknownExportVersion { version } => {
                format!("The export is of version {version}; this gateway reads version 1.")
            }
            Self::InvalidIdempotencyKey => {
                "Idempotency-Key is one value of 1 to 255 visible ASCII characters.".to_owned()
            }
            Self::IdempotencyKeyReused => {
                "This Idempotency-Key came before with another body: make a new one.".to_owned()
            }
            Self::IdempotencyInProgress => {
                "A call with this Idempotency-Key is not answered yet; repeat it.".to_owned()
            }
            Self::TooManyStreams => {
                "Too many batches, exports and imports run; wait for one of them.".to_owned()
            }
            Self::BodyTimeout => "The body was not complete in time.".to_owned(),
            Self::BodyBroken => "The body stopped before its end.".to_owned(),
            Self::InvalidDenial(faults)
            | Self::InvalidRegistration(faults)
            | Self::InvalidBody(faults) => how_many(faults, "member is", "members are"),
            Self::InvalidQuery(faults) => how_many(faults, "parameter is", "parameters are"),
            Self::InvalidCursor => {
                "Use next_cursor as it was given, with the same other parameters.".to_owned()
            }
            Self::NotReady => "The gateway is not ready.".to_owned(),
            Self::DenylistFull { limit, in_force, reserved } => format!(
                "{in_force} denials and registrations are in force and the limit is {limit}{}. Undo blocks that are \
                 no longer needed, or raise store.limit and restart.",
                if *reserved { ", the last tenth of it for admins" } else { "" }
            ),
            Self::DiskFull => "The store's disk is full. Nothing was changed, and what was denied \
                 before stays denied. Make room on it, then repeat the call."
                .to_owned(),
            Self::StoreFailed(why) => format!("{why} Nothing was changed."),
            Self::BadConfig(found) => {
                format!("{}. The config in force stays.", ReloadFault::Config(found.clone()))
            }
            Self::ReloadNotPossible(why) => format!("{why}. The config in force stays."),
            Self::StoreSlow => "The store has not answered in time; it may still take it. Repeat \
                 the call: what stands already is answered as such."
                .to_owned(),
        }
    }

    fn diagnostics(&self) -> Option<serde_json::Value> {
        if let Self::BadConfig(found) = self { Some(found.to_json()) } else { None }
    }

    pub fn faults(&self) -> &[Fault] {
        if let Self::InvalidDenial(faults)
        | Self::InvalidRegistration(faults)
        | Self::InvalidBody(faults)
        | Self::InvalidQuery(faults) = self
        {
            faults
        } else {
            &[]
        }
    }

    /// The answer, but for the headers that every answer has.
    pub fn answer(&self, request_id: &str) -> Response<AnswerBody> {
        let (status, code, title) = self.kind();
        let body = Body {
            title,
            status: status.as_u16(),
            code,
            detail: self.detail(),
            request_id,
            errors: self.faults(),
            diagnostics: self.diagnostics(),
        };
        let text = serde_json::to_vec(&body).unwrap_or_default();
        let mut answer = Response::new(AnswerBody::Whole(Some(Bytes::from(text))));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110 section 15.5.2: a 401 carries a challenge; RFC 6750 section 3.1: no error
            // code where no credential came.
            let challenge = if matches!(self, Self::TokenWrong) {
                "Bearer realm=\"portcullis admin\", error=\"invalid_token\""
            } else {
                "Bearer realm=\"portcullis admin\""
            };
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Self::MethodNotAllowed { allow } = self
            && let Ok(allow) = HeaderValue::try_from(allow)
        {
            headers.insert(header::ALLOW, allow);
        }
        if let Self::TooManyFailures { retry_after_seconds } = self {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(*retry_after_seconds));
        }
        if matches!(
            self,
            Self::NotReady
                | Self::CoresBusy
                | Self::StoreFailed(_)
                | Self::StoreSlow
                | Self::TooManyStreams
        ) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        // A guesser pays for a connection per guess, and nobody waits longer for a body.
        if matches!(self, Self::BodyTimeout | Self::TooManyFailures { .. }) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

#[derive(Serialize)]
struct Body<'a> {
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: String,
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Fault],
    /// What is wrong with the config file, and where.
    #[serde(skip_serializing_if = "Option::is_none")]
    diagnostics: Option<serde_json::Value>,
}

fn how_many(faults: &[Fault], one: &str, several: &str) -> String {
    match faults {
        [only] => only.detail.clone(),
        [] => format!("A {one} wrong."),
        _ => format!("{} {several} wrong.", faults.len()),
    }
}

#[cfg(test)]
mod tests;
