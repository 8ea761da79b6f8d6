//! The one suggestion that a misspelt word gets: near in spelling, or another product's word for
//! the same thing. Never a list.

/// Words of other products and habits, each with ours. Of several the first that is known in the
/// place and takes such a value.
const SYNONYMS: &[(&str, &str)] = &[
    ("aud", "audiences"),
    ("audience", "audiences"),
    ("alg", "algorithms"),
    ("algs", "algorithms"),
    ("address", "listen"),
    ("addr", "listen"),
    ("allow_origins", "origins"),
    ("allowed_origins", "origins"),
    ("auth", "access"),
    ("authority", "issuer"),
    ("backend", "upstream"),
    ("bind", "listen"),
    ("cert", "chain"),
    ("certificate", "pem_file"),
    ("certificate", "chain"),
    ("cert_file", "pem_file"),
    ("cert_file", "chain"),
    ("claim", "claims"),
    ("client_max_body_size", "body_bytes_max"),
    ("client_secret", "client_secret_file"),
    ("clock_skew", "leeway"),
    ("code", "status"),
    ("cookie", "credentials"),
    ("cookies", "credentials"),
    ("credential", "credentials"),
    ("discovery_url", "discovery"),
    ("domain", "host"),
    ("env", "secret_env"),
    ("headers", "identity"),
    ("healthcheck", "health"),
    ("health_check", "health"),
    ("hmac_secret", "secret_file"),
    ("hostname", "host"),
    ("interval", "every"),
    ("iss", "issuer"),
    ("issuer_uri", "issuer"),
    ("issuer_url", "issuer"),
    ("jwk", "jwks_file"),
    ("jwk", "jwks_url"),
    ("jwk_file", "jwks_file"),
    ("jwk_set_uri", "jwks_url"),
    ("jwk_set_url", "jwks_url"),
    ("jwks", "jwks_file"),
    ("jwks", "jwks_url"),
    ("jwks_endpoint", "jwks_url"),
    ("jwks_path", "jwks_file"),
    ("key", "keys"),
    ("key_file", "pem_file"),
    ("key_file", "key"),
    ("local_jwks", "jwks_file"),
    ("location", "path"),
    ("max_age", "max_lifetime"),
    ("oidc", "discovery"),
    ("openid", "discovery"),
    ("openid_configuration", "discovery"),
    ("pem", "pem_file"),
    ("port", "listen"),
    ("prefix", "path"),
    ("proxy_pass", "upstream"),
    ("public_key", "pem_file"),
    ("public_key_file", "pem_file"),
    ("remote_jwks", "jwks_url"),
    ("retries", "retry"),
    ("scope", "scopes"),
    ("secret", "secret_file"),
    ("secret_key", "secret_file"),
    ("secret_path", "secret_file"),
    ("server", "servers"),
    ("service", "upstream"),
    ("shared_secret", "secret_file"),
    ("shutdown_timeout", "drain_timeout"),
    ("skew", "leeway"),
    ("sni", "server_name"),
    ("target", "upstream"),
    ("timeout", "response_timeout"),
    ("uri", "jwks_url"),
    ("url", "servers"),
    ("url", "jwks_url"),
    ("url", "issuer"),
    ("well_known", "discovery"),
    ("workers", "threads"),
];

/// The nearest of `known`, if one is near enough to be meant.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    nearest_key(word, "", known)
}

/// The nearest of `known` for a key that stands before this value: where two words of ours mean
/// the same, the value says which.
pub fn nearest_key<'k>(
    word: &str,
    value: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    let lower = word.to_lowercase().replace('-', "_");
    let known: Vec<&str> = known.into_iter().collect();
    let by_spelling = known
        .iter()
        .map(|candidate| {
            (distance(&lower, &candidate.to_lowercase().replace('-', "_")), *candidate)
        })
        .filter(|(distance, candidate)| *distance <= 2 && distance * 2 < candidate.chars().count())
        .min();
    if let Some((0 | 1, candidate)) = by_spelling {
        return Some(candidate);
    }
    // `requests` for `requests_max`, where only one key begins so.
    let longer = |candidate: &&str| {
        candidate.strip_prefix(lower.as_str()).is_some_and(|rest| rest.starts_with('_'))
    };
    let mut by_beginning = known.iter().copied().filter(longer);
    let by_beginning = by_beginning.next().filter(|_| by_beginning.next().is_none());
    let meant = || {
        let ours = SYNONYMS.iter().filter(|(theirs, _)| *theirs == lower).map(|(_, ours)| ours);
        ours.filter_map(|ours| known.iter().find(|candidate| *candidate == ours))
    };
    let by_meaning = meant().find(|ours| takes(ours, value)).or_else(|| meant().next());
    by_meaning.copied().or(by_spelling.map(|(_, candidate)| candidate)).or(by_beginning)
}

/// A URL is no file, and a file is no URL.
fn takes(key: &str, value: &str) -> bool {
    !key.ends_with(if is_url(value) { "_file" } else { "_url" })
}

pub fn is_url(value: &str) -> bool {
    value.starts_with("https://") || value.starts_with("http://")
}

/// Edit distance with neighbours swapped as one step (optimal string alignment).
pub fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    if left.len().abs_diff(right.len()) > 2 {
        return usize::MAX;
    }
    let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, r) in right.iter().enumerate() {
            let substituted = at(&above, j) + usize::from(l != r);
            let mut best = substituted.min(at(&above, j + 1) + 1).min(at(&row, j) + 1);
            let swapped =
                i > 0 && j > 0 && left.get(i - 1) == Some(r) && right.get(j - 1) == Some(l);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    at(&above, right.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        assert_eq!(nearest("audience", ["audiences", "issuer"]), Some("audiences"));
        assert_eq!(nearest("acess", ["access", "host"]), Some("access"));
        assert_eq!(nearest("max-lifetime", ["max_lifetime"]), Some("max_lifetime"));
        assert_eq!(nearest("ap", ["app", "api"]), Some("api"));
        assert_eq!(nearest("colour", ["access", "host"]), None);
        assert_eq!(nearest("xy", ["id", "ip"]), None);
    }

    #[test]
    fn the_beginning_of_one_key_is_enough_and_of_two_is_not() {
        assert_eq!(nearest("requests", ["requests_max", "listen"]), Some("requests_max"));
        assert_eq!(nearest("http2", ["http2_streams_max", "http2_resets_max"]), None);
        assert_eq!(nearest("request", ["requests_max"]), None);
    }

    #[test]
    fn another_products_word_is_understood() {
        assert_eq!(nearest("backend", ["upstream", "host"]), Some("upstream"));
        assert_eq!(nearest("backend", ["host"]), None);
    }

    #[test]
    fn the_value_says_which_of_two_words_is_meant() {
        let known = ["jwks_file", "jwks_url", "secret_file"];
        assert_eq!(nearest_key("jwks", "https://id.example.com/keys", known), Some("jwks_url"));
        assert_eq!(nearest_key("jwks", "keys.json", known), Some("jwks_file"));
        assert_eq!(nearest_key("jwks", "https://a/", ["jwks_file"]), Some("jwks_file"));
        assert_eq!(nearest_key("jwks_uri", "https://a/", known), Some("jwks_url"));
    }

    #[test]
    fn distance_counts_a_swap_as_one() {
        assert_eq!(distance("lisetn", "listen"), 1);
        assert_eq!(distance("listen", "listen"), 0);
        assert_eq!(distance("abc", "xyz"), 3);
    }
}
