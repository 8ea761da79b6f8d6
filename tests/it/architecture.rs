//! Which part of the source tree may know which other. Reads the tree; a rule that is broken names
//! the file and the line.

use std::path::{Path, PathBuf};

/// Every Rust file below a path, with its text. Fails when there is none: a rule that matches
/// nothing holds nothing.
fn files(below: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let file = root.join(format!("{below}.rs"));
    if file.is_file() {
        found.push(file);
    }
    let mut directories = vec![root.join(below)];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no file below {below}");
    found
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path.strip_prefix(root).unwrap().to_owned(), text)
        })
        .collect()
}

/// A file of unit tests beside the code that they test.
fn is_unit_tests(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem == "tests")
        || path.components().any(|part| part.as_os_str() == "tests")
}

/// Lines of code, not of comments; what follows `#[cfg(test)]` does not count.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| (number + 1, line))
}

#[track_caller]
fn never(below: &str, words: &[&str]) {
    let mut broken = Vec::new();
    for (path, text) in files(below).into_iter().filter(|(path, _)| !is_unit_tests(path)) {
        for (number, line) in code(&text) {
            if let Some(word) = words.iter().find(|word| line.contains(*word)) {
                broken.push(format!("{}:{number}: {word}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{below} may not know these:\n{}", broken.join("\n"));
}

#[test]
fn the_data_plane_does_not_know_the_control_plane() {
    never("src/proxy", &["crate::control", "crate::cli", "crate::app", "redb::"]);
}

#[test]
fn the_control_plane_does_not_know_the_data_plane() {
    never("src/control", &["crate::proxy", "crate::cli", "crate::app"]);
}

#[test]
fn the_core_is_pure_and_knows_neither_plane() {
    let outside = [
        "tokio::",
        "hyper::",
        "hyper_util::",
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "std::thread",
        "SystemTime",
        "Instant::now",
        "tracing::",
        "crate::proxy",
        "crate::control",
        "crate::config",
        "crate::cli",
        "crate::app",
    ];
    for part in ["src/token", "src/keys", "src/verify", "src/denylist"] {
        never(part, &outside);
    }
}

#[test]
fn no_file_outgrows_its_name_and_each_says_what_it_is_for() {
    for (path, text) in files("src").into_iter().chain(files("tests")) {
        let lines = text.lines().count();
        // Tables of cases make the tests of one subject long; code has no such excuse.
        let lines_max = if is_unit_tests(&path) { 600 } else { 400 };
        assert!(lines <= lines_max, "{} has {lines} lines", path.display());
        assert!(text.starts_with("//!"), "{} does not open with what it is for", path.display());
    }
}

#[test]
fn every_test_that_the_table_of_threats_names_exists_and_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(root.join("docs/threats.md")).unwrap();
    let mut named = 0;
    for name in table.split('`').skip(1).step_by(2).filter(|name| name.contains("::")) {
        let (module, test) = name.split_once("::").unwrap();
        let file = root.join(format!("tests/it/{module}.rs"));
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let declared = format!("#[test]\nfn {test}() {{");
        assert!(
            text.contains(&declared),
            "docs/threats.md names {name}, which is no test that runs"
        );
        named += 1;
    }
    assert!(named > 40, "the table was read: {named}");
}

#[test]
fn there_is_no_unfinished_work_in_the_tree() {
    // Written in two parts, so that this file does not match itself.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("unimple", "mented!"),
        concat!("to", "do!("),
    ];
    for (path, text) in files("src").into_iter().chain(files("tests")) {
        for (number, line) in text.lines().enumerate() {
            for word in words {
                assert!(!line.contains(word), "{}:{}: {word}", path.display(), number + 1);
            }
        }
    }
}
