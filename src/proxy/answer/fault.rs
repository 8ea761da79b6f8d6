//! What is wrong with a request itself, and what went wrong behind us, in words.

use http::StatusCode;

/// What is wrong with the request itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadRequest {
    Connect,
    Trace,
    TargetForm,
    /// Another than http and https.
    Scheme,
    HostMissing,
    HostRepeated,
    HostInvalid,
    HostDisagrees,
    PathBytes,
    PathEscape,
    PathDots,
    /// Its readings select different routes.
    PathRoutes,
    /// A header names another method, which selects another route.
    MethodRoutes,
    /// The route rewrites it, and its readings would be rewritten differently.
    PathRewrite,
    Upgrade,
    /// Another than exactly `chunked`.
    TransferCoding,
    /// Its body ended before its end, or is framed as no body is.
    BodyBroken,
    HeaderCount,
    HeaderBytes,
    /// More than one credential, or one that can be read as two (RFC 6750 section 2).
    TwoCredentials,
    AuthorizationForm,
    /// A token longer than any that is read.
    TokenLength,
    /// The proxy in front does not tell which request it asks about.
    ForwardedRequest,
    /// A word in the query of an endpoint of our own that it does not know.
    Parameter,
    /// The proxy in front asks for answers in a way that there is not.
    Dialect,
}

impl BadRequest {
    pub fn text(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT is not served here",
            Self::Trace => "TRACE is not served here",
            Self::TargetForm => "The request target must begin with a slash",
            Self::Scheme => "The request target is no address of http or https",
            Self::HostMissing => "The Host header is missing",
            Self::HostRepeated => "There is more than one Host header",
            Self::HostInvalid => "The Host header is not a host",
            Self::HostDisagrees => "The Host header and the request target disagree",
            Self::PathBytes => "The request target holds bytes that must be escaped",
            Self::PathEscape => "The path holds an escape that is malformed or ambiguous",
            Self::PathDots => "The path holds a dot segment",
            Self::PathRewrite => "The path can be read in more than one way to rewrite it",
            Self::MethodRoutes => "A header names a method with another route than the request's",
            Self::PathRoutes => "The path can be read in more than one way",
            Self::Upgrade => "The WebSocket handshake is malformed",
            Self::TransferCoding => "The only transfer coding served here is chunked",
            Self::BodyBroken => "The body of the request is malformed or broke off",
            Self::HeaderCount => "There are too many header fields",
            Self::HeaderBytes => "The header is too large",
            Self::TwoCredentials => "There is more than one credential",
            Self::AuthorizationForm => "The Authorization header is malformed",
            Self::TokenLength => "The token is too long",
            Self::ForwardedRequest => "X-Forwarded-Method, -Host and -Uri must tell one request",
            Self::Parameter => "A parameter of the query is neither true nor false",
            Self::Dialect => "The dialect is nginx, or left out",
        }
    }

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::HeaderCount | Self::HeaderBytes => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Connect
            | Self::Trace
            | Self::TargetForm
            | Self::Scheme
            | Self::HostMissing
            | Self::HostRepeated
            | Self::HostInvalid
            | Self::HostDisagrees
            | Self::PathBytes
            | Self::PathEscape
            | Self::PathDots
            | Self::PathRoutes
            | Self::MethodRoutes
            | Self::PathRewrite
            | Self::Upgrade
            | Self::TransferCoding
            | Self::BodyBroken
            | Self::TwoCredentials
            | Self::AuthorizationForm
            | Self::TokenLength
            | Self::ForwardedRequest
            | Self::Parameter
            | Self::Dialect => StatusCode::BAD_REQUEST,
        }
    }
}
