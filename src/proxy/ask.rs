//! The data plane's questions, asked without a request: for `explain` and `check --url`. The same
//! functions answer here and on the straight line.

use std::sync::Arc;

use crate::clock::UnixMs;
use crate::verify::Signed;

use super::answer::{BadRequest, Rejection};
use super::route::{Route, RouteTable};
use super::{canonical, credential, path, permit};

/// The route that a URL (`https://app.example.com/api/x`, or `/api/x` of any host) gets, and its
/// place in the order of matching, from 1.
pub fn route<'t>(table: &'t RouteTable, url: &str) -> Result<(usize, &'t Route), Rejection> {
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
    let found = table.select_path(&host, uri.path())?;
    let at = table.routes().iter().position(|route| std::ptr::eq(&raw const **route, found));
    Ok((at.map_or(0, |at| at + 1), found))
}

/// What a route asks of a verified token, beside the denylist: each answer by its word.
pub fn requirements(
    route: &Route,
    signed: &Arc<Signed>,
    now: UnixMs,
) -> [(&'static str, Result<(), Rejection>); 3] {
    [
        ("issuers", credential::issuer_taken(route, signed)),
        ("scopes", permit::scopes(signed, route)),
        ("login", permit::login_age(signed, route, now)),
    ]
}
