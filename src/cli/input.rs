//! Tokens and secrets from stdin or a file, bounded, never from the command line.

use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;

use crate::secret::Secret;
use crate::token::Credential;

use super::failure::Failure;

/// A token longer than this is no token that a gateway would look at.
const INPUT_BYTES_MAX: u64 = 64 * 1024;

/// Where a token is read from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TokenFrom {
    Stdin,
    File(PathBuf),
}

impl TokenFrom {
    /// `-` and nothing mean stdin.
    pub fn of(path: Option<PathBuf>) -> Self {
        match path {
            Some(path) if path.as_os_str() != "-" => Self::File(path),
            Some(_) | None => Self::Stdin,
        }
    }

    /// Reads it. A header line as curl takes it (`Authorization: Bearer …`) counts as its token.
    pub fn read(&self) -> Result<Credential, Failure> {
        let text = self.read_text()?;
        let token = strip_header(text.trim());
        if token.is_empty() {
            return Err(Failure::NoToken { from: self.to_string() });
        }
        if token.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Failure::NotOneToken { from: self.to_string() });
        }
        Ok(Credential::new(token))
    }

    fn read_text(&self) -> Result<String, Failure> {
        let mut bytes = Vec::new();
        let read = match self {
            Self::Stdin => {
                let stdin = std::io::stdin();
                if stdin.is_terminal() {
                    eprintln!("Paste the token, then Enter and Ctrl+D:");
                }
                stdin.lock().take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes)
            }
            Self::File(path) => std::fs::File::open(path)
                .and_then(|file| file.take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes)),
        };
        read.map_err(|cause| Failure::Read { what: self.to_string(), cause })?;
        if bytes.len() as u64 > INPUT_BYTES_MAX {
            return Err(Failure::TooLong { what: self.to_string(), bytes_max: INPUT_BYTES_MAX });
        }
        String::from_utf8(bytes).map_err(|_| Failure::NotOneToken { from: self.to_string() })
    }
}

impl std::fmt::Display for TokenFrom {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdin => out.write_str("stdin"),
            Self::File(path) => write!(out, "{}", path.display()),
        }
    }
}

fn strip_header(text: &str) -> &str {
    let rest = strip_prefix_no_case(text, "authorization:").unwrap_or(text).trim_start();
    strip_prefix_no_case(rest, "bearer ").unwrap_or(rest).trim_start()
}

fn strip_prefix_no_case<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let head = text.get(..prefix.len())?;
    if head.eq_ignore_ascii_case(prefix) { text.get(prefix.len()..) } else { None }
}

/// A secret in a file of ours: the whole file without the line's end.
pub fn read_secret(path: &std::path::Path) -> std::io::Result<Secret> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(INPUT_BYTES_MAX).read_to_end(&mut bytes)?;
    while bytes.last().is_some_and(u8::is_ascii_whitespace) {
        bytes.pop();
    }
    Ok(Secret::new(bytes))
}

/// A compact JWS or JWE as an argument, alone or behind `=` or a space: JSON objects begin with
/// `{"`, whose base64url is `eyJ`, and two to four dots follow.
pub fn looks_like_a_token(argument: &str) -> bool {
    argument.split(|c: char| c == '=' || c.is_whitespace()).any(|part| {
        part.starts_with("eyJ")
            && part.len() > 20
            && part.contains('.')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_an_argument_is_seen_wherever_it_hides() {
        let token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln";
        for argument in [token.to_owned(), format!("--token={token}"), format!("Bearer {token}")] {
            assert!(looks_like_a_token(&argument), "{argument}");
        }
        for argument in ["alice", "--user=alice", "eyJ", "a.b.c", "https://eyJ.example/x.y"] {
            assert!(!looks_like_a_token(argument), "{argument}");
        }
    }

    #[test]
    fn a_header_line_counts_as_its_token() {
        assert_eq!(strip_header("Authorization: Bearer abc"), "abc");
        assert_eq!(strip_header("bearer abc"), "abc");
        assert_eq!(strip_header("abc"), "abc");
        assert_eq!(strip_header("Basic abc"), "Basic abc");
    }

    #[test]
    fn one_token_is_read_and_two_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t");
        std::fs::write(&path, "Authorization: Bearer a.b.c\n").unwrap();
        assert_eq!(TokenFrom::File(path.clone()).read().unwrap().expose(), "a.b.c");
        std::fs::write(&path, "a.b.c\nd.e.f\n").unwrap();
        assert!(matches!(TokenFrom::File(path.clone()).read(), Err(Failure::NotOneToken { .. })));
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(TokenFrom::File(path.clone()).read(), Err(Failure::NoToken { .. })));
        std::fs::write(&path, vec![b'a'; 70_000]).unwrap();
        assert!(matches!(TokenFrom::File(path).read(), Err(Failure::TooLong { .. })));
    }
}
