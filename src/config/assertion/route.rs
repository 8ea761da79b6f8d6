//! `assertion` of a route: what is signed for its backend, and in which header it goes.

use std::time::Duration;

use http::HeaderName;

use super::{claims, lifetime, some_text};
use crate::config::Route;
use crate::config::cursor::{Table, show};
use crate::config::diagnostic::{Code, Diagnostic};
use crate::config::identity::own_header;
use crate::config::item::Item;
use crate::token::ClaimPath;

/// What a route's backend gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteAssertion {
    pub audience: String,
    pub header: HeaderName,
    pub claims: Vec<ClaimPath>,
    pub lifetime: Duration,
}

impl Route {
    /// Headers that its backend believes to be the gateway's.
    pub fn own_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let identity = self.identity.iter().map(|(name, _)| name);
        identity.chain(self.assertion.as_ref().map(|assertion| &assertion.header))
    }
}

/// `assertion` of a route; `span` is where it stands.
pub fn route_assertion(route: &Table<'_>) -> Option<RouteAssertion> {
    let is_there = route.has("assertion");
    let table = route.table("assertion", "route.assertion");
    let audience = if is_there { table.required("audience") } else { table.get("audience") };
    let audience = audience.and_then(|item| some_text(&item));
    let header = table.get("header").and_then(|item| header(&item));
    let (claims, lifetime) = (claims(&table), lifetime(&table));
    table.finish();
    let default = HeaderName::from_static("x-portcullis-assertion");
    let header = header.unwrap_or(default);
    Some(RouteAssertion { audience: audience?.value, header, claims, lifetime })
}

fn header(item: &Item<'_>) -> Option<HeaderName> {
    let text = item.string()?;
    match own_header(&text.value) {
        Ok(header) => Some(header),
        Err(fault) => {
            let message = format!("\"{}\" {fault}", show(&text.raw));
            let diagnostic = Diagnostic::error(Code::BadHeader, message);
            let help = "take a name of its own: \"X-Portcullis-Assertion\"";
            item.reader.report(&text.span, diagnostic.help(help));
            None
        }
    }
}
