//! The data plane's questions, asked without a request: for `explain` and `check --url`. The same
//! functions answer here and on the straight line.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method};

use crate::clock::UnixMs;
use crate::config::Carrier;
use crate::token::Credential;
use crate::verify::Signed;

use super::answer::{BadRequest, Rejection};
use super::published::Published;
use super::route::{Route, RouteTable, Wanted};
use super::{canonical, credential, path, requirements};

/// A route that was asked for.
pub struct Selected<'t> {
    /// Its place in the order of matching, from 1.
    pub number: usize,
    pub route: &'t Route,
    /// Places of those before it whose host and path match and whose other conditions do not hold.
    pub passed_over: Vec<usize>,
}

/// The route that a request for a URL (`https://app.example.com/api/x`, or `/api/x` of any host)
/// gets.
pub fn route<'t>(
    table: &'t RouteTable,
    url: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Selected<'t>, Rejection> {
    let uri: http::Uri = url.parse().map_err(|_| BadRequest::TargetForm)?;
    let host = match uri.authority() {
        Some(authority) => {
            canonical::host_name(authority.as_str()).ok_or(BadRequest::HostInvalid)?
        }
        None => String::new(),
    };
    if !uri.path().starts_with('/') {
        return Err(BadRequest::TargetForm.into());
    }
    path::check(uri.path(), uri.query())?;
    let wanted = Wanted { host: &host, path: uri.path(), method, headers };
    let found = table.select_wanted(wanted)?;
    let at = table.routes().iter().position(|route| Arc::ptr_eq(route, found));
    let passed_over = table.passed_over(wanted).into_iter().map(|at| at + 1).collect();
    Ok(Selected { number: at.map_or(0, |at| at + 1), route: found, passed_over })
}

/// Whether a request is read that brings this as its bearer token.
pub fn credential(published: &Published, token: &Credential) -> Result<(), Rejection> {
    let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
    let value = value.map_err(|_| BadRequest::AuthorizationForm)?;
    let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
    credential::present_by(&headers, &[Carrier::Bearer], published).map(drop)
}

/// What a route asks of a verified token, beside the denylist: each that it asks, by its word.
pub fn requirements(
    route: &Route,
    signed: &Arc<Signed>,
    now: UnixMs,
) -> Vec<(&'static str, Result<(), Rejection>)> {
    let issuers = route.issuers.as_ref();
    let issuers = issuers.map(|_| ("issuers", credential::issuer_taken(route, signed)));
    issuers.into_iter().chain(requirements::each(signed, route, now)).collect()
}
