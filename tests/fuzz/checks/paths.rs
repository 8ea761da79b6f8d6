//! Paths: backends that read them differently.

use std::collections::HashSet;
use std::sync::OnceLock;

use portcullis::fuzzing::Paths;

const ROUTES: [&str; 7] = ["/", "/admin", "/pub", "/pub/admin", "/a/b/c", "=/exact", "=/a/"];
/// Steps that a backend takes one after the other.
const STEPS_MAX: usize = 5;

/// A path that passes has no dot segment in any reading, and each reading selects the route that
/// was selected: by segments compared one by one, which shares no code with the index of routes.
pub fn path(bytes: &[u8]) {
    static PATHS: OnceLock<Paths> = OnceLock::new();
    let paths = PATHS.get_or_init(|| Paths::new(&ROUTES));
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // The request's parser ends a path there.
    if text.contains('?') {
        return;
    }
    // Longer ones only take longer to read in all these ways.
    let path = format!("/{}", text.get(..120).unwrap_or(text));
    let Ok(selected) = paths.select(&path) else { return };
    for (reading, steps) in readings(path.as_bytes()) {
        let shown = String::from_utf8_lossy(&reading);
        let dots = reading.split(|byte| matches!(byte, b'/' | b'\\'));
        let dots = dots.filter(|segment| matches!(*segment, b"." | b"..")).count();
        assert_eq!(dots, 0, "{path} reads {shown} after {steps:?}");
        assert_eq!(route_of(&reading), selected, "{path} reads {shown} after {steps:?}");
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Percent-decoding, twice at the most.
    Decode,
    /// Servlet containers: each segment ends at its `;`.
    CutParameters,
    MergeSlashes,
    /// What was decoded is parsed again: `?` and `#` end the path.
    CutQuery,
}

/// All that these steps make of a path, in every order.
fn readings(path: &[u8]) -> Vec<(Vec<u8>, Vec<Step>)> {
    let mut all = vec![(path.to_vec(), Vec::new())];
    let mut seen = HashSet::from([(path.to_vec(), 0)]);
    let mut at = 0;
    while let Some((reading, steps)) = all.get(at).cloned() {
        at += 1;
        if steps.len() == STEPS_MAX {
            continue;
        }
        let decoded = steps.iter().filter(|step| **step == Step::Decode).count();
        for step in [Step::Decode, Step::CutParameters, Step::MergeSlashes, Step::CutQuery] {
            let allowed = match step {
                Step::Decode => decoded < 2,
                Step::CutQuery => decoded > 0,
                Step::CutParameters | Step::MergeSlashes => true,
            };
            if !allowed {
                continue;
            }
            let next = take(step, &reading);
            if seen.insert((next.clone(), decoded + usize::from(step == Step::Decode))) {
                all.push((next, [&steps[..], &[step]].concat()));
            }
        }
    }
    all
}

fn take(step: Step, path: &[u8]) -> Vec<u8> {
    match step {
        Step::Decode => decode(path),
        Step::CutParameters => {
            let segments = path.split(|byte| *byte == b'/');
            let cut = segments.map(|one| one.split(|byte| *byte == b';').next().unwrap());
            cut.collect::<Vec<_>>().join(&b'/')
        }
        Step::MergeSlashes => {
            let mut merged = path.to_vec();
            merged.dedup_by(|one, before| *one == b'/' && *before == b'/');
            merged
        }
        Step::CutQuery => path.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap().to_vec(),
    }
}

fn decode(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < path.len() {
        let digits = path.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| digits.bytes().all(|one| one.is_ascii_hexdigit()));
        match digits.filter(|_| path[at] == b'%') {
            Some(digits) => {
                decoded.push(u8::from_str_radix(digits, 16).unwrap());
                at += 3;
            }
            None => {
                decoded.push(path[at]);
                at += 1;
            }
        }
    }
    decoded
}

/// The exact one, else the longest whose segments begin the path.
fn route_of(path: &[u8]) -> Option<&'static str> {
    let exact = ROUTES.iter().find(|route| route.as_bytes().strip_prefix(b"=") == Some(path));
    let is_below = |route: &str| {
        let stem = route.trim_end_matches('/').as_bytes();
        path.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    };
    let prefixes = ROUTES.iter().filter(|route| !route.starts_with('=') && is_below(route));
    exact.or_else(|| prefixes.max_by_key(|route| route.len())).copied()
}
