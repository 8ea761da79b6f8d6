//! The path as the route's backend knows it. Only a path that has one structure is rewritten: what
//! is cut off must be the same to everyone who reads it.

use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderValue};

use crate::config::{HeaderRules, Rewrite};

use super::answer::BadRequest;
use super::path;

/// Changes the target in place.
pub fn target(uri: &mut Uri, rewrite: &Rewrite) -> Result<(), BadRequest> {
    let path = rewritten(uri.path(), rewrite)?;
    let text = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let target = PathAndQuery::try_from(text).map_err(|_| BadRequest::PathRewrite)?;
    *uri = Uri::from(target);
    Ok(())
}

fn rewritten(path: &str, rewrite: &Rewrite) -> Result<String, BadRequest> {
    if !path::has_one_structure(path) {
        return Err(BadRequest::PathRewrite);
    }
    match rewrite {
        Rewrite::Replace(whole) => Ok(whole.clone()),
        Rewrite::Prefix { strip, add } => {
            let rest = path.strip_prefix(strip.as_str()).ok_or(BadRequest::PathRewrite)?;
            let path = format!("{add}{rest}");
            Ok(if path.is_empty() { "/".to_owned() } else { path })
        }
    }
}

/// The prefix that the backend does not see and links need: `X-Forwarded-Prefix`.
pub fn stripped(rewrite: &Rewrite) -> Option<&str> {
    match rewrite {
        Rewrite::Prefix { strip, .. } if !strip.is_empty() => Some(strip),
        Rewrite::Prefix { .. } | Rewrite::Replace(_) => None,
    }
}

pub fn apply(rules: &HeaderRules, headers: &mut HeaderMap<HeaderValue>) {
    for name in &rules.remove {
        headers.remove(name);
    }
    for (name, value) in &rules.set {
        headers.insert(name, value.clone());
    }
    for (name, value) in &rules.add {
        headers.append(name, value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_segments_are_taken_and_put_and_the_rest_stays_byte_for_byte() {
        let prefix = |strip: &str, add: &str| Rewrite::Prefix {
            strip: strip.to_owned(),
            add: add.to_owned(),
        };
        let to = |path: &str, rewrite: &Rewrite| rewritten(path, rewrite).ok();
        let strip = prefix("/api", "");
        for (path, expected) in
            [("/api", "/"), ("/api/", "/"), ("/api/x%20y", "/x%20y"), ("/api/a:b@c", "/a:b@c")]
        {
            assert_eq!(to(path, &strip).as_deref(), Some(expected), "{path}");
        }
        assert_eq!(to("/api/x", &prefix("/api", "/v1")).as_deref(), Some("/v1/x"));
        assert_eq!(to("/api", &prefix("/api", "/v1")).as_deref(), Some("/v1"));
        assert_eq!(to("/x", &prefix("", "/v1")).as_deref(), Some("/v1/x"));
        for odd in ["/api//x", "/api/%2Fx", "/api/x;y", "/api/%252e", "/api/%3Fx", "/api/a%23"] {
            assert_eq!(to(odd, &strip), None, "{odd}");
            assert_eq!(to(odd, &Rewrite::Replace("/x".to_owned())), None, "{odd}");
        }
    }

    #[test]
    fn the_query_stays_as_it_came() {
        let mut uri: Uri = "http://a/api/x?a=%2F..;b//".parse().unwrap();
        let rewrite = Rewrite::Prefix { strip: "/api".to_owned(), add: String::new() };
        target(&mut uri, &rewrite).unwrap();
        assert_eq!(uri.to_string(), "/x?a=%2F..;b//");
    }
}
