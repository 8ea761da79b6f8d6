//! The index against a plain walk over all routes, which is what the order of matching means.

use super::*;
use crate::config::HeaderCondition;

fn prefix(path: &str) -> PathPattern {
    PathPattern::Prefix(path.to_owned())
}

fn route(host: &HostPattern, path: &PathPattern, conditions: Conditions) -> Arc<Route> {
    let answer =
        StaticAnswer { status: http::StatusCode::OK, body: "x".into(), content_type: None };
    Arc::new(Route {
        name: format!("{} {} {}", host.shown(), path.shown(), conditions.shown()).into(),
        host: host.clone(),
        path: path.clone(),
        conditions,
        access: Access::Public,
        credentials: Vec::new(),
        forward: Forward::Strip,
        identity: Vec::new(),
        assertion: None,
        require: Requirements::default(),
        issuers: None,
        capture: None,
        login_url: None,
        streams: Arc::new(crate::proxy::streams::StreamPolicy::new(
            "route".into(),
            &Arc::from([]),
            &crate::config::StreamRules::default(),
        )),
        target: Target::Answer(answer),
        limits: RouteLimits::default(),
        load: None,
        cors: Cors::Off,
        upgrades: Vec::new(),
        rewrite: None,
        request_headers: HeaderRules::default(),
        response_headers: HeaderRules::default(),
    })
}

fn host_matches(pattern: &HostPattern, host: &str) -> bool {
    match pattern {
        HostPattern::Any => true,
        HostPattern::Exact(name) => name == host,
        HostPattern::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
    }
}

fn path_matches(pattern: &PathPattern, path: &str) -> bool {
    match pattern {
        PathPattern::Exact(exact) => exact == path,
        PathPattern::Prefix(prefix) => {
            let stem = prefix.strip_suffix('/').unwrap_or(prefix);
            path.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
    }
}

fn found(table: &RouteTable, host: &str, path: &str, method: &Method) -> Option<String> {
    let headers = HeaderMap::new();
    let wanted = Wanted { host, path, method, headers: &headers };
    table.first(wanted).map(|route| route.name.to_string())
}

#[test]
fn prefixes_match_whole_segments_only() {
    for pattern in ["/api/", "/api"] {
        let table = RouteTable::new(vec![route(
            &HostPattern::Any,
            &prefix(pattern),
            Conditions::default(),
        )]);
        for path in ["/api", "/api/", "/api/x", "/api//x"] {
            assert!(found(&table, "a", path, &Method::GET).is_some(), "{pattern} {path}");
        }
        for path in ["/apix", "/API/x", "/", "//api", "/ap"] {
            assert!(found(&table, "a", path, &Method::GET).is_none(), "{pattern} {path}");
        }
    }
}

#[test]
fn the_index_finds_what_a_walk_in_the_order_of_matching_finds() {
    let hosts = [
        HostPattern::Any,
        HostPattern::Exact("a.b.example.com".into()),
        HostPattern::Exact("example.com".into()),
        HostPattern::Suffix(".example.com".into()),
        HostPattern::Suffix(".b.example.com".into()),
    ];
    let paths = [
        prefix("/"),
        prefix("/api"),
        prefix("/api/v1/"),
        prefix("/api/v1/x"),
        prefix("/a"),
        PathPattern::Exact("/".into()),
        PathPattern::Exact("/api".into()),
        PathPattern::Exact("/api/".into()),
        PathPattern::Exact("/api/v1/x".into()),
    ];
    let asked = [
        "/",
        "//",
        "/api",
        "/api/",
        "/api//",
        "/api/v1",
        "/api/v1/",
        "/api/v1/x",
        "/api/v1/x/",
        "/api/v1/xy",
        "/a",
        "/ab",
        "/a/b/c",
        "//api",
        "/z",
    ];
    let asked_hosts =
        ["a.b.example.com", "c.b.example.com", "x.example.com", "example.com", "o", ""];
    let post = Conditions { methods: vec![Method::POST], headers: Vec::new() };
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..400 {
        let mut table = Vec::new();
        for host in &hosts {
            for path in &paths {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                if random & 3 == 0 {
                    table.push(route(host, path, Conditions::default()));
                }
                if random & 12 == 0 {
                    table.push(route(host, path, post.clone()));
                }
            }
        }
        let table = RouteTable::new(table);
        for host in asked_hosts {
            for path in asked {
                for method in [Method::GET, Method::POST] {
                    let walked = table.routes().iter().find(|route| {
                        host_matches(&route.host, host)
                            && path_matches(&route.path, path)
                            && route.conditions.takes_method(&method)
                    });
                    let walked = walked.map(|route| route.name.to_string());
                    assert_eq!(found(&table, host, path, &method), walked, "{host} {path}");
                }
            }
        }
    }
}

#[test]
fn a_wildcard_host_needs_a_label_in_front() {
    let host = HostPattern::Suffix(".example.com".into());
    let table = RouteTable::new(vec![route(&host, &prefix("/"), Conditions::default())]);
    assert!(found(&table, "a.example.com", "/", &Method::GET).is_some());
    for host in ["example.com", ".example.com", "aexample.com", "a.example.com.org", ""] {
        assert!(found(&table, host, "/", &Method::GET).is_none(), "{host}");
    }
}

#[test]
fn a_header_condition_takes_one_line_with_exactly_the_value() {
    let condition = |equals: Option<&'static str>| HeaderCondition {
        name: HeaderName::from_static("x-version"),
        equals: equals.map(http::HeaderValue::from_static),
    };
    let of = |header| {
        let conditions = Conditions { methods: Vec::new(), headers: vec![header] };
        RouteTable::new(vec![route(&HostPattern::Any, &prefix("/"), conditions)])
    };
    let matches = |table: &RouteTable, values: &[&'static str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("x-version", http::HeaderValue::from_static(value));
        }
        let wanted = Wanted { host: "a", path: "/", method: &Method::GET, headers: &headers };
        table.first(wanted).is_some()
    };
    let equal = of(condition(Some("2")));
    assert!(matches(&equal, &["2"]));
    for other in [&[][..], &["3"], &["2", "3"], &["2", "2"], &["2 "], &[""]] {
        assert!(!matches(&equal, other), "{other:?}");
    }
    let present = of(condition(None));
    assert!(matches(&present, &["3"]) && matches(&present, &["", "4"]) && !matches(&present, &[]));
}
