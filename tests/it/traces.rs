//! Spans: a collector gets them as OTLP, the upstream is their child, a stranger does not choose.

use serde_json::Value;

use crate::support::{Issuer, Setup, Upstream, eventually, nobody};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// All spans that came to the collector so far.
fn spans(collector: &Upstream) -> Vec<Value> {
    let documents = collector.received().into_iter().map(|request| {
        assert_eq!(request.target, "/v1/traces");
        assert_eq!(request.header("content-type"), Some("application/json"));
        serde_json::from_slice::<Value>(&request.body).unwrap()
    });
    documents
        .flat_map(|document| {
            let resource = &document["resourceSpans"][0];
            let service = &resource["resource"]["attributes"][0];
            assert_eq!(service["key"], "service.name");
            assert_eq!(service["value"]["stringValue"], "gate");
            resource["scopeSpans"][0]["spans"].as_array().unwrap().clone()
        })
        .collect()
}

fn attribute<'s>(span: &'s Value, key: &str) -> &'s Value {
    let all = span["attributes"].as_array().unwrap();
    let found = all.iter().find(|attribute| attribute["key"] == key);
    &found.unwrap_or_else(|| panic!("no {key} in {span}"))["value"]
}

fn tracing(collector: &Upstream, sample: u32) -> String {
    let url = collector.url();
    format!("[tracing]\notlp = \"{url}/v1/traces\"\nsample = {sample}\nservice = \"gate\"")
}

#[test]
fn a_sampled_request_has_a_span_whose_child_is_the_upstreams_and_no_secret_is_in_it() {
    let issuer = Issuer::new("ES256");
    let (upstream, collector) = (Upstream::new(), Upstream::new());
    let gateway = Setup::simple(&issuer, &upstream).tables(&tracing(&collector, 1)).start();
    let token = issuer.mint("alice-in-person");
    let bearer = format!("Bearer {token}");
    let parent = format!("00-{TRACE}-{SPAN}-00");
    let headers = [("Authorization", bearer.as_str()), ("traceparent", parent.as_str())];
    assert_eq!(gateway.get("/a/b?key=very-secret", &headers).status, 200);
    assert_eq!(gateway.get("/c", &[]).status, 401);
    let all = eventually("two spans", || Some(spans(&collector)).filter(|all| all.len() == 2));
    let of = |status: &str| {
        let status_of =
            |span: &&Value| attribute(span, "http.response.status_code")["intValue"] == status;
        all.iter().find(status_of).unwrap()
    };
    let (passed, refused) = (of("200"), of("401"));
    assert_eq!((&passed["traceId"], &passed["parentSpanId"]), (&TRACE.into(), &SPAN.into()));
    let told = upstream.last();
    let told = told.header("traceparent").unwrap().to_owned();
    assert_eq!(told, format!("00-{TRACE}-{}-01", passed["spanId"].as_str().unwrap()));
    assert_eq!(attribute(passed, "url.path")["stringValue"], "/a/b");
    assert!(passed.get("status").is_none());
    assert_eq!(attribute(refused, "error.type")["stringValue"], "token_missing");
    assert_ne!(refused["traceId"], TRACE);
    let nanos = |name: &str| passed[name].as_str().unwrap().parse::<u64>().unwrap();
    assert!(nanos("endTimeUnixNano") >= nanos("startTimeUnixNano"));
    let text = serde_json::to_string(&all).unwrap();
    for secret in ["very-secret", "alice-in-person", &token[token.len() - 20..]] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[test]
fn what_is_said_of_a_trace_goes_with_it_and_not_with_a_new_one() {
    let issuer = Issuer::new("ES256");
    let (upstream, collector) = (Upstream::new(), Upstream::new());
    let gateway = Setup::simple(&issuer, &upstream).tables(&tracing(&collector, 1)).start();
    let bearer = format!("Bearer {}", issuer.mint("alice"));
    let parent = format!("00-{TRACE}-{SPAN}-01");
    for (parent, state) in [(parent.as_str(), Some("a=b")), ("none", None)] {
        let headers =
            [("Authorization", bearer.as_str()), ("traceparent", parent), ("tracestate", "a=b")];
        assert_eq!(gateway.get("/", &headers).status, 200);
        assert_eq!(upstream.last().header("tracestate"), state, "{parent}");
    }
}

#[test]
fn a_stranger_cannot_have_his_requests_exported_and_his_header_passes_as_it_came() {
    let issuer = Issuer::new("ES256");
    let (upstream, collector) = (Upstream::new(), Upstream::new());
    let sampled = format!("00-{TRACE}-{SPAN}-01");
    let bearer = format!("Bearer {}", issuer.mint("alice"));
    let headers = [("Authorization", bearer.as_str()), ("traceparent", sampled.as_str())];
    let gateway = Setup::simple(&issuer, &upstream).tables(&tracing(&collector, 0)).start();
    assert_eq!(gateway.get("/stranger", &headers).status, 200);
    assert_eq!(upstream.last().header("traceparent"), Some(sampled.as_str()));
    drop(gateway);
    let gateway = Setup::simple(&issuer, &upstream)
        .server("trusted_proxies = [\"127.0.0.0/8\"]")
        .tables(&tracing(&collector, 0))
        .start();
    assert_eq!(gateway.get("/friend", &headers).status, 200);
    let all = eventually("a span", || Some(spans(&collector)).filter(|all| !all.is_empty()));
    assert_eq!(all.len(), 1);
    assert_eq!(attribute(&all[0], "url.path")["stringValue"], "/friend");
}

#[test]
fn a_collector_that_is_gone_costs_spans_and_nothing_else() {
    let issuer = Issuer::new("ES256");
    let down = nobody();
    let gateway = Setup::simple(&issuer, &Upstream::new())
        .tables(&format!("[tracing]\notlp = \"http://{down}/v1/traces\"\nsample = 1"))
        .tables("[metrics]\nlisten = \"127.0.0.1:0\"")
        .start();
    let token = issuer.mint("alice");
    assert_eq!(gateway.get_with("/", &token).status, 200);
    eventually("the loss is counted", || {
        let page = crate::support::Connection::open(gateway.metrics_address()).get("/metrics", &[]);
        page.text().contains("portcullis_spans_total{result=\"lost\"} 1\n").then_some(())
    });
    assert_eq!(gateway.get_with("/", &token).status, 200);
}
