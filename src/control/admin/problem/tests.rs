//! Every refusal is a problem document that the docs name.

use super::*;
use http_body_util::BodyExt as _;

#[expect(clippy::too_many_lines, reason = "a table: one row for each refusal")]
/// One of each. The `match` fails to compile when a variant is added and not listed.
fn all() -> Vec<Refused> {
    let fault = vec![Fault::new("/user", "empty", "An empty identifier matches nothing.")];
    let every = vec![
        Refused::MalformedJson { line: 1, column: 2, what: "Expected value".to_owned() },
        Refused::DuplicateMember { pointer: "/user".to_owned() },
        Refused::TokenMissing,
        Refused::TokenWrong,
        Refused::TooManyFailures { retry_after_seconds: 6 },
        Refused::RoleTooSmall { role: "viewer", may_not: "undo", needs: "operator" },
        Refused::IssuerNotAllowed { issuer: "main".to_owned() },
        Refused::CrossSite { why: "The Origin is not ours.".to_owned() },
        Refused::NoSuchPath,
        Refused::NoSuchDenial { id: "dn_1".to_owned() },
        Refused::AmbiguousId { id: "dn_1".to_owned() },
        Refused::NoSuchRequest,
        Refused::NoSuchStream { id: "st_1".to_owned() },
        Refused::NoSuchSession { id: "se_1".to_owned() },
        Refused::CoresBusy,
        Refused::NoSuchRegistration { id: "dn_1".into() },
        Refused::MethodNotAllowed { allow: "POST".to_owned() },
        Refused::BodyTooLarge { limit_bytes: 65_536 },
        Refused::NotJson,
        Refused::NotNdjson,
        Refused::LineTooLarge { limit_bytes: 65_536 },
        Refused::NotAnExport,
        Refused::UnknownExportVersion { version: 2 },
        Refused::InvalidIdempotencyKey,
        Refused::IdempotencyKeyReused,
        Refused::IdempotencyInProgress,
        Refused::TooManyStreams,
        Refused::BodyTimeout,
        Refused::BodyBroken,
        Refused::InvalidDenial(fault.clone()),
        Refused::InvalidRegistration(fault.clone()),
        Refused::InvalidBody(fault.clone()),
        Refused::InvalidQuery(fault),
        Refused::InvalidCursor,
        Refused::NotReady,
        Refused::DenylistFull { limit: 10, in_force: 9, reserved: true },
        Refused::DiskFull,
        Refused::StoreFailed("The store could not write it.".to_owned()),
        Refused::StoreSlow,
        Refused::BadConfig(Diagnostics {
            file: "gateway.toml".to_owned(),
            items: Vec::new(),
            named: Vec::new(),
        }),
        Refused::ReloadNotPossible("The address is taken".to_owned()),
    ];
    for refused in &every {
        match refused {
            Refused::MalformedJson { .. }
            | Refused::DuplicateMember { .. }
            | Refused::TokenMissing
            | Refused::TokenWrong
            | Refused::TooManyFailures { .. }
            | Refused::RoleTooSmall { .. }
            | Refused::IssuerNotAllowed { .. }
            | Refused::CrossSite { .. }
            | Refused::NoSuchPath
            | Refused::NoSuchDenial { .. }
            | Refused::AmbiguousId { .. }
            | Refused::NoSuchRequest
            | Refused::NoSuchStream { .. }
            | Refused::NoSuchSession { .. }
            | Refused::CoresBusy
            | Refused::NoSuchRegistration { .. }
            | Refused::MethodNotAllowed { .. }
            | Refused::BodyTooLarge { .. }
            | Refused::NotJson
            | Refused::NotNdjson
            | Refused::LineTooLarge { .. }
            | Refused::NotAnExport
            | Refused::UnknownExportVersion { .. }
            | Refused::InvalidIdempotencyKey
            | Refused::IdempotencyKeyReused
            | Refused::IdempotencyInProgress
            | Refused::TooManyStreams
            | Refused::BodyTimeout
            | Refused::BodyBroken
            | Refused::InvalidDenial(_)
            | Refused::InvalidRegistration(_)
            | Refused::InvalidBody(_)
            | Refused::InvalidQuery(_)
            | Refused::InvalidCursor
            | Refused::NotReady
            | Refused::DenylistFull { .. }
            | Refused::DiskFull
            | Refused::StoreFailed(_)
            | Refused::StoreSlow
            | Refused::BadConfig(_)
            | Refused::ReloadNotPossible(_) => {}
        }
    }
    every
}

#[tokio::test]
async fn every_refusal_is_a_problem_document_with_a_code_of_its_own_that_the_docs_name() {
    let docs = include_str!("../../../../docs/admin-api.md");
    let mut codes = std::collections::HashSet::new();
    for refused in all() {
        let answer = refused.answer("id-1");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let status = answer.status();
        assert!(status.is_client_error() || status.is_server_error());
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["status"], status.as_u16());
        assert_eq!(body["request_id"], "id-1");
        for text in ["title", "detail", "code"] {
            assert!(!body[text].as_str().unwrap().is_empty(), "{refused:?}");
        }
        assert_eq!(body.get("errors").is_some(), !refused.faults().is_empty());
        assert!(codes.insert(refused.code()), "{refused:?}");
        assert!(docs.contains(&format!("`{}`", refused.code())), "{refused:?}");
    }
}
