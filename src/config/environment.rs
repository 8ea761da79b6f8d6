//! `"${NAME}"` and `"${NAME:-default}"` in strings. `$${` stands for a literal `${`. What came
//! from the environment is never printed: messages show the text as written.

/// Where names come from: the process, or a map in tests.
pub type Environment<'e> = dyn Fn(&str) -> Option<String> + 'e;

/// Why a string cannot be filled in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VariableFault {
    Unset {
        name: String,
    },
    /// No closing brace, or a name that no variable can have.
    Form,
}

/// The string with its variables filled in, and whether there were any. A variable that is set
/// but empty counts as unset where a default is given, as in a shell.
pub fn expand(raw: &str, environment: &Environment<'_>) -> Result<(String, bool), VariableFault> {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    let mut found = false;
    while let Some(at) = rest.find("${") {
        let before = rest.get(..at).unwrap_or("");
        let after = rest.get(at + 2..).unwrap_or("");
        if let Some(escaped) = before.strip_suffix('$') {
            out.push_str(escaped);
            out.push_str("${");
            rest = after;
            continue;
        }
        let (inner, tail) = after.split_once('}').ok_or(VariableFault::Form)?;
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        if !is_variable_name(name) {
            return Err(VariableFault::Form);
        }
        let value = match (environment(name), default) {
            (Some(value), None) => value,
            (Some(value), Some(_)) if !value.is_empty() => value,
            (_, Some(default)) => default.to_owned(),
            (None, None) => return Err(VariableFault::Unset { name: name.to_owned() }),
        };
        out.push_str(before);
        out.push_str(&value);
        found = true;
        rest = tail;
    }
    out.push_str(rest);
    Ok((out, found))
}

/// Letters, digits and `_`, not beginning with a digit.
pub fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(raw: &str) -> Result<(String, bool), VariableFault> {
        expand(raw, &|name| match name {
            "HOST" => Some("app".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        })
    }

    #[test]
    fn a_variable_is_filled_in_and_an_unset_one_is_a_fault() {
        assert_eq!(filled("http://${HOST}:80"), Ok(("http://app:80".to_owned(), true)));
        assert_eq!(filled("${NONE}"), Err(VariableFault::Unset { name: "NONE".to_owned() }));
        assert_eq!(filled("plain $HOST"), Ok(("plain $HOST".to_owned(), false)));
    }

    #[test]
    fn a_default_stands_in_for_unset_and_for_empty() {
        assert_eq!(filled("${NONE:-a b}"), Ok(("a b".to_owned(), true)));
        assert_eq!(filled("${EMPTY:-x}"), Ok(("x".to_owned(), true)));
        assert_eq!(filled("${EMPTY}"), Ok((String::new(), true)));
        assert_eq!(filled("${NONE:-}"), Ok((String::new(), true)));
    }

    #[test]
    fn a_doubled_dollar_is_literal_and_a_broken_form_is_a_fault() {
        assert_eq!(filled("$${HOST}"), Ok(("${HOST}".to_owned(), false)));
        assert_eq!(filled("${HOST"), Err(VariableFault::Form));
        assert_eq!(filled("${}"), Err(VariableFault::Form));
        assert_eq!(filled("${a b}"), Err(VariableFault::Form));
    }
}
