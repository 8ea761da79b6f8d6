//! `explain`: every check on a token, or on a request that was refused. The denials that hit are
//! fetched too, since "who did this and how is it taken back" is the next question.

use std::fmt::Write as _;

use serde_json::json;

use super::arguments::{Explain, Explained, Global};
use super::client::Client;
use super::console::{Console, Look, json_text};
use super::exit::Exit;
use super::failure::Failure;
use super::query::path_segment;
use super::shapes::{Check, Denial, Explanation, RequestThen, Route};
use super::words;

pub fn run(explain: &Explain, global: &Global, console: &Console) -> Result<Exit, Failure> {
    let mut body = match &explain.what {
        Explained::Token(from) => json!({ "token": from.read()?.expose() }),
        Explained::Request(id) => json!({ "request_id": id }),
    };
    if let Some(members) = body.as_object_mut() {
        members.extend(explain.url.as_ref().map(|url| ("url".to_owned(), json!(url))));
        members.extend(explain.method.as_ref().map(|m| ("method".to_owned(), json!(m))));
    }
    let client = Client::new(global)?;
    let answer = client.post("/v1/explain", &body)?;
    let explanation = answer.shown::<Explanation>("the gateway")?;
    if console.json {
        console.say_always(&json_text(&answer.raw))?;
    } else {
        let denials = denials(&client, &explanation)?;
        console.say_always(&render(&explanation, &denials, &global.again(), &console.look))?;
    }
    Ok(if explanation.pass { Exit::Done } else { Exit::Refused })
}

/// The denials that hit. One that this credential may not see, or that is gone by now, is left
/// out: its id stands in the check.
fn denials(client: &Client, explanation: &Explanation) -> Result<Vec<Denial>, Failure> {
    let mut denials = Vec::new();
    for id in explanation.checks.iter().flat_map(|check| &check.denials) {
        match client.read(&format!("/v1/denials/{}", path_segment(id))) {
            Ok(answer) => denials.push(answer.shown::<Denial>("the gateway")?),
            Err(Failure::Problem(_)) => {}
            Err(other) => return Err(other),
        }
    }
    Ok(denials)
}

fn render(explanation: &Explanation, denials: &[Denial], again: &str, look: &Look) -> String {
    let mut text = String::new();
    if let Some(request) = &explanation.request {
        text.push_str(&request_words(request, look));
    }
    let asked = explanation.checks.iter().any(|check| check.check == "route");
    if let Some(route) = explanation.route.as_ref().filter(|_| !asked) {
        line(&mut text, "ok", "route", &[route_words(route)], look);
    }
    for check in &explanation.checks {
        line(&mut text, &check.result, &check.check, &check_words(check, denials, look), look);
    }
    let _ = writeln!(text, "\n{}", verdict(explanation, again));
    text
}

fn line(text: &mut String, result: &str, name: &str, words: &[String], look: &Look) {
    let mark = match result {
        "fail" => look.paint.red("FAIL"),
        "ok" => look.paint.green("ok  "),
        "skipped" => look.paint.dim("-   "),
        other => format!("{other:<4}"),
    };
    let (first, rest) = words.split_first().map_or(("", words), |(first, rest)| (first, rest));
    let _ = writeln!(text, "  {}", format!("{mark}  {name:<11} {first}").trim_end());
    for more in rest {
        let _ = writeln!(text, "  {:<17} {more}", "");
    }
}

fn route_words(route: &Route) -> String {
    let host = route.host.as_deref().filter(|host| *host != "*").unwrap_or_default();
    let path = route.path.as_deref().or(route.name.as_deref()).unwrap_or_default();
    let mut text = format!("{host} {path}").trim_start().to_owned();
    match (route.number, route.of) {
        (Some(number), Some(of)) => text.push_str(&format!("  ({number} of {of})")),
        (Some(number), None) => text.push_str(&format!("  ({number})")),
        (None, _) => {}
    }
    if let Some(access) = &route.access {
        let _ = write!(text, ", access {access}");
    }
    text
}

fn request_words(request: &RequestThen, look: &Look) -> String {
    let mut text = format!("Request {}", request.request_id);
    if let Some(at) = request.at {
        let (clock, ago) = (words::clock(at.0, look.now), words::relative(at.0, look.now));
        let _ = write!(text, ", {clock}, {ago}");
    }
    if let Some(address) = &request.address {
        let _ = write!(text, ", from {address}");
    }
    let RequestThen { method, host, path, code, detail, .. } = request;
    let _ = write!(text, "\n  {method} {host}{path}  was answered ");
    if let Some(status) = request.status {
        let _ = write!(text, "{status} ");
    }
    let _ = writeln!(text, "{code}: {detail}\n\nThat token now:\n");
    text
}

/// What stands behind a check: its own words, else made from its members.
fn check_words(check: &Check, denials: &[Denial], look: &Look) -> Vec<String> {
    let mut lines = Vec::new();
    for id in &check.denials {
        match denials.iter().find(|denial| denial.id.as_ref() == Some(id)) {
            Some(denial) => lines.extend(denial_words(id, denial, look)),
            None => lines.push(id.clone()),
        }
    }
    if !lines.is_empty() {
        return lines;
    }
    if check.issued_at.is_some() || check.expires_at.is_some() {
        lines.push(times_words(check, look));
        if check.result != "fail" {
            return lines;
        }
    }
    if let Some(detail) = &check.detail {
        lines.push(detail.clone());
    } else if !check.needs.is_empty() {
        let has = if check.has.is_empty() { "none".to_owned() } else { check.has.join(" ") };
        lines.push(format!("needs {}; token has: {has}", check.needs.join(" ")));
    }
    lines
}

fn times_words(check: &Check, look: &Look) -> String {
    let at = |at: super::shapes::Time| {
        format!("{}, {}", words::clock(at.0, look.now), words::relative(at.0, look.now))
    };
    let issued = check.issued_at.map(|time| format!("issued {}", at(time)));
    let ends = check
        .expires_at
        .map(|time| format!("{} {}", if time.0 > look.now { "ends" } else { "ended" }, at(time)));
    [issued, ends].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn denial_words(id: &str, denial: &Denial, look: &Look) -> Vec<String> {
    let what = denial.selector.words(denial.issuer.as_deref());
    let first = match denial.issued_before {
        Some(before) => {
            format!("{id}  {what}, tokens issued before {}", words::clock(before.0, look.now))
        }
        None => format!("{id}  {what}, {}", super::denials::effect(denial, look)),
    };
    let mut second = String::new();
    if let Some(reason) = denial.reason.as_deref().filter(|reason| !reason.is_empty()) {
        let _ = write!(second, "\"{reason}\" ");
    }
    if let Some(by) = &denial.created_by {
        let _ = write!(second, "by {}", by.words());
    }
    if let Some(at) = denial.created_at {
        let _ = write!(second, ", {}", words::relative(at.0, look.now));
    }
    match denial.ends_at {
        Some(at) => {
            let _ = write!(second, "; forgotten at {}", words::clock(at.0, look.now));
        }
        None => second.push_str("; until undone"),
    }
    vec![first, second.trim_start_matches([',', ';', ' ']).to_owned()]
}

fn verdict(explanation: &Explanation, again: &str) -> String {
    if explanation.pass {
        let unasked = explanation.checks.iter().any(|check| check.result == "skipped");
        return if unasked {
            "It passes the checks that could be asked.".to_owned()
        } else {
            "It passes.".to_owned()
        };
    }
    let mut text = match (explanation.status, explanation.code.as_deref()) {
        (Some(status), Some(code)) => format!("Refused with {status} {code}."),
        (Some(status), None) => format!("Refused with {status}."),
        (None, Some(code)) => format!("Refused: {code}."),
        (None, None) => "Refused.".to_owned(),
    };
    let denials: Vec<&str> =
        explanation.checks.iter().flat_map(|check| &check.denials).map(String::as_str).collect();
    if let Some(with) = &explanation.would_pass_with {
        let _ = write!(text, "\nIt would pass with {}.", with.trim_end_matches('.'));
    }
    if !denials.is_empty() {
        let _ = write!(text, "\nTo take the denial back: {again} undo {}", denials.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::console::Paint;
    use crate::clock::UnixMs;

    fn look() -> Look {
        let now = UnixMs::parse_rfc3339("2026-11-21T11:15:04Z").unwrap();
        Look { paint: Paint::PLAIN, terminal: true, now }
    }

    fn refused() -> Explanation {
        serde_json::from_value(json!({
            "pass": false, "status": 401, "code": "token_revoked",
            "route": { "host": "app.example.com", "path": "/api/", "number": 2, "of": 7, "access": "required" },
            "checks": [
                { "check": "signature", "result": "ok" },
                { "check": "times", "result": "ok", "issued_at": "2026-11-21T09:12:40Z",
                  "expires_at": "2026-11-21T13:12:40Z" },
                { "check": "denylist", "result": "fail", "denials": ["dn_4kq7t2m9xa"] },
                { "check": "scopes", "result": "fail", "needs": ["read"], "has": ["profile"] } ] }))
        .unwrap()
    }

    #[test]
    fn a_refusal_shows_every_check_the_denial_and_the_way_back() {
        let denial = serde_json::from_value(json!({
            "id": "dn_4kq7t2m9xa", "subject": "alice", "issued_before": "2026-11-21T11:14:02Z",
            "reason": "lost laptop", "created_at": "2026-11-21T11:14:02Z",
            "created_by": { "name": "dana", "via": "cli", "address": "10.0.0.9" },
            "ends_at": "2026-11-21T23:14:32Z" }))
        .unwrap();
        assert_eq!(
            render(&refused(), &[denial], "portcullis", &look()),
            r#"  ok    route       app.example.com /api/  (2 of 7), access required
  ok    signature
  ok    times       issued 09:12:40 UTC, 2 h 2 min ago; ends 13:12:40 UTC, in 117 min
  FAIL  denylist    dn_4kq7t2m9xa  user alice, tokens issued before 11:14:02 UTC
                    "lost laptop" by dana (cli, 10.0.0.9), 62 s ago; forgotten at 23:14:32 UTC
  FAIL  scopes      needs read; token has: profile

Refused with 401 token_revoked.
To take the denial back: portcullis undo dn_4kq7t2m9xa
"#
        );
    }

    #[test]
    fn a_token_that_passes_says_whether_all_was_asked() {
        let mut passes: Explanation = serde_json::from_value(json!({
            "pass": true, "status": 200,
            "checks": [ { "check": "form", "result": "ok", "detail": "signed token, ES256" } ] }))
        .unwrap();
        assert_eq!(
            render(&passes, &[], "portcullis", &look()),
            "  ok    form        signed token, ES256\n\nIt passes.\n"
        );
        passes.checks.push(Check {
            check: "scopes".into(),
            result: "skipped".into(),
            detail: Some("needs --url".into()),
            ..Check::default()
        });
        let text = render(&passes, &[], "portcullis", &look());
        assert!(
            text.ends_with(
                "  -     scopes      needs --url\n\nIt passes the checks that could be asked.\n"
            ),
            "{text}"
        );
    }
}
