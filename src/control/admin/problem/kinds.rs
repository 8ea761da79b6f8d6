//! What each refusal is on the wire: status, stable code, title. One match, without a wildcard.

use http::StatusCode;

use super::Refused;

const UNFIT: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;

impl Refused {
    /// Status, stable code and title.
    #[expect(clippy::too_many_lines, reason = "one table: a line for each refusal")]
    pub(super) fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::MalformedJson { .. } => {
                (S::BAD_REQUEST, "malformed_json", "The body is not JSON")
            }
            Self::DuplicateMember { .. } => {
                (S::BAD_REQUEST, "duplicate_member", "A member is there twice")
            }
            Self::TokenMissing => {
                (S::UNAUTHORIZED, "admin_token_missing", "An admin token is needed")
            }
            Self::TokenWrong => {
                (S::UNAUTHORIZED, "admin_token_wrong", "The admin token is not known")
            }
            Self::TooManyFailures { .. } => {
                (S::TOO_MANY_REQUESTS, "too_many_failures", "Too many wrong admin tokens")
            }
            Self::RoleTooSmall { .. } => {
                (S::FORBIDDEN, "role_too_small", "The role does not allow this")
            }
            Self::IssuerNotAllowed { .. } => {
                (S::FORBIDDEN, "issuer_not_allowed", "The credential is not for this issuer")
            }
            Self::CrossSite { .. } => {
                (S::FORBIDDEN, "cross_site", "The request came from elsewhere")
            }
            Self::NoSuchPath => (S::NOT_FOUND, "no_such_path", "Nothing is here"),
            Self::NoSuchDenial { .. } => (S::NOT_FOUND, "no_such_denial", "No such denial"),
            Self::AmbiguousId { .. } => (S::CONFLICT, "ambiguous_id", "More than one denial"),
            Self::NoSuchStream { .. } => (S::NOT_FOUND, "no_such_stream", "No such open stream"),
            Self::NoSuchSession { .. } => (S::NOT_FOUND, "no_such_session", "No such session"),
            Self::CoresBusy => (S::SERVICE_UNAVAILABLE, "cores_busy", "The data plane is busy"),
            Self::NoSuchRegistration { .. } => {
                (S::NOT_FOUND, "no_such_registration", "No such registration")
            }
            Self::NoSuchRequest => (S::NOT_FOUND, "no_such_request", "No such refused request"),
            Self::MethodNotAllowed { .. } => {
                (S::METHOD_NOT_ALLOWED, "method_not_allowed", "Another method is needed")
            }
            Self::BodyTooLarge { .. } => {
                (S::PAYLOAD_TOO_LARGE, "body_too_large", "The body is too large")
            }
            Self::NotJson => (S::UNSUPPORTED_MEDIA_TYPE, "not_json", "The body must be JSON"),
            Self::NotNdjson => (S::UNSUPPORTED_MEDIA_TYPE, "not_ndjson", "The body must be NDJSON"),
            Self::LineTooLarge { .. } => {
                (S::PAYLOAD_TOO_LARGE, "line_too_large", "The line is too large")
            }
            Self::NotAnExport => (UNFIT, "not_an_export", "Nothing was imported"),
            Self::UnknownExportVersion { .. } => {
                (UNFIT, "unknown_export_version", "Nothing was imported")
            }
            Self::InvalidIdempotencyKey => {
                (S::BAD_REQUEST, "invalid_idempotency_key", "The idempotency key is not one")
            }
            Self::IdempotencyKeyReused => {
                (UNFIT, "idempotency_key_reused", "The key was used before")
            }
            Self::IdempotencyInProgress => {
                (S::CONFLICT, "idempotency_in_progress", "The first call is under way")
            }
            Self::TooManyStreams => {
                (S::TOO_MANY_REQUESTS, "too_many_streams", "Too many streams at once")
            }
            Self::BodyTimeout => (S::REQUEST_TIMEOUT, "body_timeout", "The body did not arrive"),
            Self::BodyBroken => (S::BAD_REQUEST, "body_broken", "The body did not arrive"),
            Self::InvalidRegistration(_) => {
                (UNFIT, "invalid_registration", "Nothing was registered")
            }
            Self::InvalidDenial(_) => (UNFIT, "invalid_denial", "The denial was not created"),
            Self::InvalidBody(_) => (UNFIT, "invalid_body", "The request was not done"),
            Self::InvalidQuery(_) => (UNFIT, "invalid_query", "The request was not done"),
            Self::InvalidCursor => (S::BAD_REQUEST, "invalid_cursor", "The cursor does not fit"),
            Self::NotReady => (S::SERVICE_UNAVAILABLE, "not_ready", "Not ready"),
            Self::DenylistFull { .. } => {
                (S::INSUFFICIENT_STORAGE, "denylist_full", "The denial was not created")
            }
            Self::DiskFull => (S::INSUFFICIENT_STORAGE, "disk_full", "The store did not take it"),
            Self::StoreFailed(_) => {
                (S::SERVICE_UNAVAILABLE, "store_failed", "The store did not take it")
            }
            Self::StoreSlow => (S::SERVICE_UNAVAILABLE, "store_slow", "The store is slow"),
            Self::BadConfig(_) => {
                (S::UNPROCESSABLE_ENTITY, "invalid_config", "The config was not reloaded")
            }
            Self::ReloadNotPossible(_) => {
                (S::CONFLICT, "reload_not_possible", "The config was not reloaded")
            }
        }
    }
}
