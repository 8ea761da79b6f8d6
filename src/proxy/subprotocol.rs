//! A token among the subprotocols of a WebSocket handshake, where a page can put one that no other
//! header takes from it: `new WebSocket(url, ["chat", "bearer", token])`. A name and the token behind it,
//! or both in one word, `bearer.TOKEN`.
//!
//! Both leave the list that the backend gets. A client that offered something expects one of it to be
//! chosen (WHATWG WebSockets, 4.1), so where the backend chooses nothing we answer with the name: never
//! with the token.

use http::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL};

use super::answer::BadRequest;

/// The one token that is carried under this name.
pub fn token<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, BadRequest> {
    let mut found = None;
    for element in carried(headers, name) {
        let Element::Token(token) = element? else { continue };
        if token.is_empty() {
            return Err(BadRequest::AuthorizationForm);
        }
        if found.replace(token).is_some() {
            return Err(BadRequest::TwoCredentials);
        }
    }
    Ok(found)
}

/// The name as the client wrote it, where it is a word of its own: what may be answered.
pub fn offered(headers: &HeaderMap, name: &str) -> Option<HeaderValue> {
    let named = carried(headers, name).find_map(|element| match element {
        Ok(Element::Name(name)) => Some(name),
        Ok(Element::Token(_) | Element::Other(_)) | Err(_) => None,
    });
    named.and_then(|name| HeaderValue::from_str(name).ok())
}

/// Takes every token out of the list that this name carries. What nobody can read goes too.
pub fn strip(headers: &mut HeaderMap, name: &str) {
    let kept: Vec<&str> = carried(headers, name)
        .filter_map(|element| match element {
            Ok(Element::Other(other)) => Some(other),
            Ok(Element::Name(_) | Element::Token(_)) | Err(_) => None,
        })
        .collect();
    let kept = HeaderValue::from_str(&kept.join(", "));
    headers.remove(SEC_WEBSOCKET_PROTOCOL);
    if let Ok(kept) = kept
        && !kept.is_empty()
    {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, kept);
    }
}

/// A word of the list, as a carrier of this name reads it.
enum Element<'h> {
    Name(&'h str),
    Token(&'h str),
    Other(&'h str),
}

fn carried<'h>(
    headers: &'h HeaderMap,
    name: &str,
) -> impl Iterator<Item = Result<Element<'h>, BadRequest>> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let words = values.flat_map(|value| {
        // What is no text is one word that nobody can read.
        let text = value.to_str().unwrap_or("\0");
        text.split(',').map(|word| word.trim_matches([' ', '\t']))
    });
    let mut behind_name = false;
    words.map(move |word| {
        if word.contains('\0') {
            return Err(BadRequest::AuthorizationForm);
        }
        if std::mem::take(&mut behind_name) {
            return Ok(Element::Token(word));
        }
        let (head, rest) = word.split_at_checked(name.len()).unwrap_or((word, ""));
        Ok(match (head.eq_ignore_ascii_case(name), rest.strip_prefix('.')) {
            (true, _) if rest.is_empty() => {
                behind_name = true;
                Element::Name(word)
            }
            (true, Some(token)) => Element::Token(token),
            (true, None) | (false, _) => Element::Other(word),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(line));
        }
        headers
    }

    #[test]
    fn a_token_is_behind_its_name_or_in_one_word_with_it_and_there_is_one() {
        let found = |lines: &[&'static str]| {
            let headers = headers(lines);
            token(&headers, "bearer").map(|token| token.map(str::to_owned))
        };
        for good in [
            &["chat, bearer, a.b.c"][..],
            &["chat", "Bearer", "a.b.c"],
            &["bearer.a.b.c,chat"],
            &["bearer,a.b.c"],
        ] {
            assert_eq!(found(good), Ok(Some("a.b.c".into())), "{good:?}");
        }
        for none in [&["chat, bearer2, a.b.c"][..], &["bearerx.a.b.c"], &["a.b.c"], &[]] {
            assert_eq!(found(none), Ok(None), "{none:?}");
        }
        assert_eq!(found(&["bearer, a, bearer.b"]), Err(BadRequest::TwoCredentials));
        assert_eq!(found(&["bearer, "]), Err(BadRequest::AuthorizationForm));
        assert_eq!(found(&["bearer."]), Err(BadRequest::AuthorizationForm));
    }

    #[test]
    fn what_goes_on_holds_no_token_and_what_is_answered_is_the_name() {
        for (lines, left, answered) in [
            (&["chat, bearer, a.b.c, v2"][..], Some("chat, v2"), Some("bearer")),
            (&["chat, BEARER", "a.b.c"], Some("chat"), Some("BEARER")),
            (&["bearer.a.b.c, other, x.y.z, chat"], Some("chat"), None),
            (&["bearer, a.b.c"], None, Some("bearer")),
            (&["chat"], Some("chat"), None),
        ] {
            let mut headers = headers(lines);
            let offered = offered(&headers, "bearer");
            assert_eq!(offered.as_ref().map(|value| value.to_str().unwrap()), answered);
            ["bearer", "other"].iter().for_each(|name| strip(&mut headers, name));
            let value = headers.get(SEC_WEBSOCKET_PROTOCOL);
            assert_eq!(value.map(|value| value.to_str().unwrap()), left, "{lines:?}");
        }
        let mut unreadable = HeaderMap::new();
        let bytes = HeaderValue::from_bytes(b"bearer, a.b.c\xff").unwrap();
        unreadable.insert(SEC_WEBSOCKET_PROTOCOL, bytes);
        assert!(token(&unreadable, "bearer").is_err());
        strip(&mut unreadable, "bearer");
        assert!(unreadable.is_empty());
    }
}
