//! The text of a configuration: from byte offsets to lines, columns and printable excerpts.
//! Excerpts are masked and hold no control characters, whatever the file holds.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::diagnostic::Place;
use super::mask;

/// What stands in the place of a masked value.
const MASK: &str = "\"…\"";
/// Characters of a line that are shown at the most.
const EXCERPT_CHARS_MAX: usize = 160;

/// See the module.
pub struct Source {
    /// As it was named on the command line.
    pub path: PathBuf,
    pub text: String,
    line_starts: Vec<usize>,
    masked: Vec<Range<usize>>,
}

impl Source {
    pub fn new(path: &Path, text: &str) -> Self {
        let line_starts =
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            line_starts,
            masked: mask::secret_ranges(text),
        }
    }

    /// The path for people.
    pub fn file(&self) -> String {
        self.path.display().to_string()
    }

    /// Counted from 1.
    pub fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    pub fn place(&self, span: &Range<usize>) -> Place {
        let line = self.line(span.start);
        let start = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let text = self.text.get(start..).unwrap_or("").lines().next().unwrap_or("");
        let end = start + text.len();
        let from = span.start.clamp(start, end);
        let to = span.end.clamp(from, end);
        let column = self.text.get(start..from).unwrap_or("").chars().count() + 1;
        let (excerpt, caret) = self.excerpt(start..end, from..to);
        Place { line, column, excerpt, caret }
    }

    /// The line with masked values replaced, and where in it the marked bytes came to be.
    fn excerpt(&self, line: Range<usize>, marked: Range<usize>) -> (String, (usize, usize)) {
        let mut shown: Vec<char> = Vec::new();
        let (mut first, mut last) = (None, 0);
        let mut skip_until = line.start;
        for (at, symbol) in self.text.get(line.clone()).unwrap_or("").char_indices() {
            let at = line.start + at;
            let is_marked = marked.contains(&at);
            if is_marked && first.is_none() {
                // A mark that begins inside a mask begins where the mask does.
                let inside = if at < skip_until { MASK.chars().count() } else { 0 };
                first = Some(shown.len() - inside);
            }
            if at >= skip_until {
                match self.masked.iter().find(|range| range.contains(&at)) {
                    Some(range) => {
                        shown.extend(MASK.chars());
                        skip_until = range.end;
                    }
                    None => shown.push(printable(symbol)),
                }
            }
            if is_marked {
                last = shown.len();
            }
        }
        let first = first.unwrap_or(shown.len());
        let width = last.saturating_sub(first).max(1);
        crop(&shown, first, width)
    }
}

/// A terminal must not be steered by a configuration file: no controls, no changes of direction.
fn printable(symbol: char) -> char {
    match symbol {
        '\t' => ' ',
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        symbol if symbol.is_control() => '\u{fffd}',
        symbol => symbol,
    }
}

/// Keeps a very long line to a window around the mark.
fn crop(shown: &[char], first: usize, width: usize) -> (String, (usize, usize)) {
    if shown.len() <= EXCERPT_CHARS_MAX {
        return (shown.iter().collect(), (first, width));
    }
    let from = first.saturating_sub(EXCERPT_CHARS_MAX / 4);
    let mut out = String::from(if from > 0 { "…" } else { "" });
    let lead = out.chars().count();
    let room = EXCERPT_CHARS_MAX - lead;
    out.extend(shown.iter().skip(from).take(room));
    if from + room < shown.len() {
        out.push('…');
    }
    let before = first - from + lead;
    (out, (before, width.min(EXCERPT_CHARS_MAX.saturating_sub(before)).max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, marked: &str) -> Place {
        let start = text.find(marked).unwrap();
        Source::new(Path::new("gateway.toml"), text).place(&(start..start + marked.len()))
    }

    #[test]
    fn a_place_counts_lines_and_characters_from_one() {
        let place = place("a = 1\nbä = \"x\"\n", "\"x\"");
        assert_eq!((place.line, place.column), (2, 6));
        assert_eq!(place.excerpt, "bä = \"x\"");
        assert_eq!(place.caret, (5, 3));
    }

    #[test]
    fn a_masked_value_is_replaced_and_the_carets_follow() {
        let place = place("keys = { secret = \"hunter2\", kid = 7 }", "7");
        assert_eq!(place.excerpt, "keys = { secret = \"…\", kid = 7 }");
        assert_eq!(place.caret, (29, 1));
        assert_eq!(place.column, 36);
    }

    #[test]
    fn a_mark_on_a_masked_value_covers_its_mask() {
        let place = place("secret = \"hunter2\"", "\"hunter2\"");
        assert_eq!(place.excerpt, "secret = \"…\"");
        assert_eq!(place.caret, (9, 3));
    }

    #[test]
    fn controls_and_long_lines_do_not_reach_the_terminal() {
        let place = place(&format!("a = \"\u{1b}[31m{}x\"", "y".repeat(500)), "x");
        assert!(place.excerpt.chars().count() <= EXCERPT_CHARS_MAX + 1);
        assert!(!place.excerpt.contains('\u{1b}'));
        assert_eq!(place.excerpt.chars().nth(place.caret.0), Some('x'));
    }
}
