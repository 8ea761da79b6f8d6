//! The claims set and how the config names a claim in it.

use serde_json::{Map, Value};

/// Where a claim is: a top-level name, byte for byte, or a JSON pointer (RFC 6901) when it begins
/// with `/`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClaimPath {
    Name(String),
    /// Unescaped reference tokens.
    Pointer(Vec<String>),
}

impl ClaimPath {
    /// Reads what the config says: `sub`, `https://example.com/roles` or `/data/id`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a claim needs a name".to_owned());
        }
        match text.strip_prefix('/') {
            None => Ok(Self::Name(text.to_owned())),
            Some(tokens) => {
                tokens.split('/').map(unescape).collect::<Result<_, _>>().map(Self::Pointer)
            }
        }
    }

    pub fn find<'c>(&self, claims: &'c Claims) -> Option<&'c Value> {
        match self {
            Self::Name(name) => claims.0.get(name),
            Self::Pointer(tokens) => {
                let (first, rest) = tokens.split_first()?;
                rest.iter().try_fold(claims.0.get(first)?, step)
            }
        }
    }

    /// Takes out what [`Self::find`] finds. In a list null stands in its place, so that the others keep
    /// theirs.
    pub fn take(&self, members: &mut Map<String, Value>) -> Option<Value> {
        let (first, rest) = match self {
            Self::Name(name) => return members.remove(name),
            Self::Pointer(tokens) => tokens.split_first()?,
        };
        let Some((last, way)) = rest.split_last() else { return members.remove(first) };
        let around = way.iter().try_fold(members.get_mut(first)?, step_mut)?;
        if let Value::Object(members) = around {
            return members.remove(last);
        }
        step_mut(around, last).map(Value::take)
    }
}

/// One reference token of a pointer (RFC 6901 section 4).
fn step<'v>(value: &'v Value, token: &String) -> Option<&'v Value> {
    match value {
        Value::Object(members) => members.get(token),
        Value::Array(elements) => elements.get(place(token)?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn step_mut<'v>(value: &'v mut Value, token: &String) -> Option<&'v mut Value> {
    match value {
        Value::Object(members) => members.get_mut(token),
        Value::Array(elements) => elements.get_mut(place(token)?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// In a list.
fn place(token: &str) -> Option<usize> {
    let plain = token == "0" || !token.starts_with(['0', '+']);
    token.parse().ok().filter(|_| plain)
}

/// RFC 6901 section 3: `~1` is `/`, `~0` is `~`, any other `~` is a mistake.
fn unescape(token: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(token.len());
    let mut characters = token.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '~' => match characters.next() {
                Some('0') => '~',
                Some('1') => '/',
                Some(_) | None => {
                    return Err("in a JSON pointer `~` is written `~0` and `/` is `~1`".to_owned());
                }
            },
            other => other,
        });
    }
    Ok(plain)
}

impl std::fmt::Display for ClaimPath {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => out.write_str(name),
            Self::Pointer(tokens) => tokens.iter().try_for_each(|token| {
                write!(out, "/{}", token.replace('~', "~0").replace('/', "~1"))
            }),
        }
    }
}

/// A parsed claims set: no duplicate members at any depth.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Claims(pub Map<String, Value>);

impl Claims {
    /// A top-level claim.
    pub fn member(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// About how much memory it takes, for the cache's bound.
    pub fn size_bytes(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + 64 + size_bytes(value)).sum()
    }
}

/// Heap behind one value; the constants are what a node of the map and a vector's slot take.
fn size_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.capacity(),
        Value::Array(elements) => {
            elements.iter().map(|element| size_of::<Value>() + size_bytes(element)).sum()
        }
        Value::Object(members) => {
            members.iter().map(|(name, value)| name.len() + 64 + size_bytes(value)).sum()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(text: &str) -> Claims {
        Claims(crate::token::json::object(text.as_bytes()).unwrap())
    }

    #[test]
    fn a_name_is_taken_byte_for_byte_and_a_pointer_walks() {
        let claims = claims(
            r#"{"sub":"a","https://example.com/roles":["x","y"],"data":{"id":7,"a/b":{"m~n":1}},"a.b":2}"#,
        );
        let find = |path: &str| ClaimPath::parse(path).unwrap().find(&claims).cloned();
        assert_eq!(find("sub"), Some("a".into()));
        assert_eq!(find("Sub"), None);
        assert_eq!(find("a.b"), Some(2.into()));
        assert_eq!(find("https://example.com/roles").unwrap()[1], "y");
        assert_eq!(find("/data/id"), Some(7.into()));
        assert_eq!(find("/data/a~1b/m~0n"), Some(1.into()));
        assert_eq!(find("/https:~1~1example.com~1roles/1"), Some("y".into()));
        for absent in [
            "/data/none",
            "/sub/0",
            "/https:~1~1example.com~1roles/01",
            "/https:~1~1example.com~1roles/+1",
            "/https:~1~1example.com~1roles/-",
            "/https:~1~1example.com~1roles/2",
        ] {
            assert_eq!(find(absent), None, "{absent}");
        }
    }

    #[test]
    fn what_a_path_finds_it_takes_out_and_in_a_list_the_others_keep_their_places() {
        let mut claims = claims(r#"{"a":1,"b":{"c":2,"d":3},"e":["x","y",{"f":["z",{"g":4}]}]}"#);
        let mut take = |path: &str| {
            let path = ClaimPath::parse(path).unwrap();
            let found = path.find(&claims).cloned();
            assert_eq!(path.take(&mut claims.0), found, "{path}");
            found.is_some()
        };
        for path in ["a", "/b/c", "/e/0", "/e/1", "/e/2/f/1/g", "/e/2/f/0"] {
            assert!(take(path), "{path}");
        }
        for absent in ["a", "/b/c", "/b/c/x", "/e/3", "/e/01", "/e/2/f/1/g", "/none/x"] {
            assert!(!take(absent), "{absent}");
        }
        let left = serde_json::json!({"b": {"d": 3}, "e": [null, null, {"f": [null, {}]}]});
        assert_eq!(Value::Object(claims.0), left);
    }

    #[test]
    fn a_path_prints_as_it_was_written_and_a_wrong_one_is_refused() {
        for path in ["sub", "https://example.com/roles", "/data/id", "/a~1b/~0"] {
            assert_eq!(ClaimPath::parse(path).unwrap().to_string(), path);
        }
        for path in ["", "/a~2", "/a~"] {
            assert!(ClaimPath::parse(path).is_err(), "{path:?}");
        }
    }
}
