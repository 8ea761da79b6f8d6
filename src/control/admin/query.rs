//! Query parameters: each at most once, unknown ones refused.

use super::near::nearest;
use super::problem::Fault;

/// More than any endpoint takes.
const PAIRS_MAX: usize = 32;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Query {
    left: Vec<(String, String)>,
    pub faults: Vec<Fault>,
}

impl Query {
    /// Reads `a=b&c=d` (application/x-www-form-urlencoded).
    pub fn parse(text: &str) -> Self {
        let mut query = Self::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            if query.left.len() + query.faults.len() >= PAIRS_MAX {
                query.faults.push(Fault::new("", "malformed_query", "Too many parameters."));
                break;
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (decoded(name), decoded(value)) else {
                query.faults.push(Fault::new("", "malformed_query", "Broken percent-encoding."));
                continue;
            };
            if query.left.iter().any(|(known, _)| *known == name) {
                let detail = "It is there twice; which of the two is meant cannot be known.";
                query.faults.push(Fault::new(shown(&name), "duplicate_parameter", detail));
                continue;
            }
            query.left.push((name, value));
        }
        query
    }

    /// Refuses all parameters but these.
    pub fn allow_only(&mut self, known: &[&str]) {
        let (left, others) = std::mem::take(&mut self.left)
            .into_iter()
            .partition(|(name, _)| known.contains(&name.as_str()));
        self.left = others;
        let faults = std::mem::take(self).finish(known);
        *self = Self { left, faults };
    }

    pub fn take(&mut self, name: &str) -> Option<String> {
        let place = self.left.iter().position(|(known, _)| known == name)?;
        Some(self.left.swap_remove(place).1)
    }

    /// A count of at least 1.
    pub fn take_limit(&mut self) -> Option<usize> {
        let limit = self.take("limit")?.parse().ok().filter(|limit| *limit > 0);
        if limit.is_none() {
            self.fault("limit", "wrong_type", "Expected a whole number of at least 1.");
        }
        limit
    }

    pub fn fault(&mut self, name: &str, code: &'static str, detail: impl Into<String>) {
        self.faults.push(Fault::new(name, code, detail));
    }

    /// All faults, those of parameters that nobody took among them.
    pub fn finish(mut self, known: &[&str]) -> Vec<Fault> {
        for (name, _) in self.left.iter().take(8) {
            let name = shown(name);
            let detail = match nearest(&name, known) {
                Some(meant) => format!("Did you mean {meant}?"),
                None => format!("No parameter is called {name:?} here."),
            };
            self.faults.push(Fault::new(name, "unknown_parameter", detail));
        }
        self.faults
    }
}

fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}

/// Percent-decoding, `+` for a space; `None` for broken escapes and what is not UTF-8.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_taken_once() {
        let mut query = Query::parse("user=al%69ce%40x+y&limit=5&empty=&bare");
        assert_eq!(query.take("user").as_deref(), Some("alice@x y"));
        assert_eq!(query.take("user"), None);
        assert_eq!(query.take("empty").as_deref(), Some(""));
        assert_eq!(query.take("bare").as_deref(), Some(""));
        assert_eq!(query.take_limit(), Some(5));
        assert!(query.finish(&[]).is_empty());
    }

    #[test]
    fn unknown_double_and_broken_parameters_are_refused() {
        let codes = |text: &str| -> Vec<&'static str> {
            Query::parse(text).finish(&["user"]).iter().map(|fault| fault.code).collect()
        };
        assert_eq!(codes("usr=a"), ["unknown_parameter"]);
        assert_eq!(codes("user=%zz"), ["malformed_query"]);
        assert_eq!(codes("user=%ff"), ["malformed_query"]);
        assert_eq!(codes("user=%4"), ["malformed_query"]);
        assert_eq!(codes("x=a&x=b"), ["duplicate_parameter", "unknown_parameter"]);
        let many: Vec<String> = (0..1_000).map(|number| format!("p{number}=")).collect();
        assert!(codes(&many.join("&")).contains(&"malformed_query"));
        let mut query = Query::parse("limit=0");
        assert_eq!(query.take_limit(), None);
        assert_eq!(query.finish(&[]).len(), 1);
        assert_eq!(Query::parse("limit=99999").take_limit(), Some(99_999));
    }
}
