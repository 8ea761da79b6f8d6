//! Answers the admin API's questions about routes out of the data plane's published state.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderMap;

use crate::config::{Access, ClaimRule};
use crate::control::admin::{RouteExplainer, RouteFound, RouteQuestion, RouteRefusal, RouteReport};
use crate::proxy::answer::Rejection;
use crate::proxy::route::Route;
use crate::proxy::{Published, ask};
use crate::verify::Check;

/// The explainer of whatever is published when it is asked.
pub fn route_explainer(published: Arc<ArcSwap<Published>>) -> RouteExplainer {
    Arc::new(move |question| report(&published.load(), question))
}

fn report(published: &Published, question: &RouteQuestion<'_>) -> RouteReport {
    let mut report = match question.url {
        Some(url) => of_route(published, url, question),
        None => RouteReport {
            before: vec![Check::skipped("route", "needs url")],
            ..RouteReport::default()
        },
    };
    if let Some(credential) = question.credential
        && let Err(rejection) = ask::credential(published, credential)
    {
        let (bytes, most) = (credential.expose().len(), published.token_bytes_max);
        let detail = match bytes > most {
            true => format!("it has {bytes} bytes, more than token_bytes_max = {most}"),
            false => rejection.reason(),
        };
        report.before.push(Check::fail("credential", detail));
        report.refused_before = report.refused_before.or(Some(refusal(&rejection)));
    }
    report
}

fn of_route(published: &Published, url: &str, question: &RouteQuestion<'_>) -> RouteReport {
    let headers = HeaderMap::new();
    let asked = ask::route(&published.routes, url, question.method, &headers)
        .map(|selected| (selected.number, selected.route));
    let (number, route) = match named(published, question).map_or(asked, Ok) {
        Ok(found) => found,
        Err(rejection) => {
            return RouteReport {
                before: vec![Check::fail("route", rejection.reason())],
                refused_before: Some(refusal(&rejection)),
                ..RouteReport::default()
            };
        }
    };
    let of = published.routes.routes().len();
    let detail = format!(
        "{} {}  ({number} of {of}), access {}",
        route.host.shown(),
        route.path.shown(),
        access(route.access)
    );
    let mut report = RouteReport {
        route: Some(RouteFound {
            name: route.name.to_string(),
            host: route.host.shown(),
            path: route.path.shown(),
            number,
            of,
            access: access(route.access),
        }),
        before: vec![Check::ok("route", detail)],
        scopes: route.require.scopes.clone(),
        scopes_any: route.require.scopes_any.clone(),
        ..RouteReport::default()
    };
    let Some(signed) = question.token else { return report };
    for (name, answer) in ask::requirements(route, signed, question.now) {
        match answer {
            Ok(()) => report.after.push(Check::ok(name, needs(route, name))),
            Err(rejection) => {
                report.refused_after = report.refused_after.or(Some(refusal(&rejection)));
                report.after.push(Check::fail(name, rejection.reason()));
            }
        }
    }
    report
}

/// The route that a request had, where it is asked about again and the table still has that route.
/// Its headers are not remembered, so they cannot choose a second time.
fn named<'p>(published: &'p Published, question: &RouteQuestion<'_>) -> Option<(usize, &'p Route)> {
    let name = question.route?;
    let routes = published.routes.routes().iter().enumerate();
    let mut found = routes.filter(|(_, route)| *route.name == *name);
    found.next().map(|(at, route)| (at + 1, &**route))
}

/// What the route asks for, where the check's name does not say it.
fn needs(route: &Route, name: &str) -> String {
    let require = &route.require;
    match name {
        "audience" => require.audiences.join(" or "),
        "type" => require.typ.clone().unwrap_or_default(),
        "claims" => require.claims.iter().map(ClaimRule::shown).collect::<Vec<_>>().join(", "),
        _ => String::new(),
    }
}

fn refusal(rejection: &Rejection) -> RouteRefusal {
    RouteRefusal { status: rejection.status().as_u16(), code: rejection.code() }
}

fn access(access: Access) -> &'static str {
    match access {
        Access::Required => "required",
        Access::Optional => "optional",
        Access::Public => "public",
    }
}
