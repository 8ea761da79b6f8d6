//! OpenID Connect Discovery 1.0: from an issuer to the URL of its keys. The document is believed
//! about exactly one issuer (section 4.3), and about a URL that the config's rules allow.

use http::Uri;
use serde_json::Value;

use crate::token::json;

use super::fetch::{FetchFault, Fetched, Fetcher};

/// Where the keys of `issuer` are, as its document says.
pub async fn jwks_url(fetcher: &Fetcher, document: &Uri, issuer: &str) -> Result<Uri, FetchFault> {
    let body = match fetcher.get(document, None).await? {
        Fetched::New { body, .. } => body,
        Fetched::Same { .. } => return Err(content("a 304 that nobody asked for")),
    };
    let url = read(&body, issuer)?;
    if !fetcher.may_lead(document, &url) {
        return Err(content("its jwks_uri is not an https URL that may be asked"));
    }
    Ok(url)
}

pub(super) fn read(body: &[u8], issuer: &str) -> Result<Uri, FetchFault> {
    let document =
        json::object(body).map_err(|_| content("the discovery document is not strict JSON"))?;
    match document.get("issuer") {
        Some(Value::String(named)) if named == issuer => {}
        Some(Value::String(named)) => {
            let named: String = named.chars().take(200).collect();
            let why = format!("the document is of issuer {named:?}, not exactly {issuer:?}");
            return Err(FetchFault::Content(why));
        }
        _ => return Err(content("the discovery document names no issuer")),
    }
    let Some(Value::String(url)) = document.get("jwks_uri") else {
        return Err(content("the discovery document has no jwks_uri"));
    };
    url.parse().map_err(|_| content("its jwks_uri is not a URL"))
}

fn content(why: &str) -> FetchFault {
    FetchFault::Content(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<String> {
        read(text.as_bytes(), "https://id.example.com/").ok().map(|url| url.to_string())
    }

    #[test]
    fn a_document_is_believed_about_exactly_its_issuer() {
        let of = |issuer: &str| format!(r#"{{"issuer":"{issuer}","jwks_uri":"https://a/k"}}"#);
        assert_eq!(found(&of("https://id.example.com/")).as_deref(), Some("https://a/k"));
        for other in [
            "https://id.example.com",
            "https://ID.example.com/",
            "https://id.example.com//",
            "http://id.example.com/",
            "https://id.example.com/evil",
            "",
        ] {
            assert_eq!(found(&of(other)), None, "{other}");
        }
        assert_eq!(found(r#"{"jwks_uri":"https://a/k"}"#), None);
        assert_eq!(found(r#"{"issuer":"https://id.example.com/"}"#), None);
        let twice = r#"{"issuer":"https://id.example.com/","issuer":"x","jwks_uri":"https://a/k"}"#;
        assert_eq!(found(twice), None);
        assert_eq!(found("<html>"), None);
    }
}
