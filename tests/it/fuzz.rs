//! The seeds of the fuzz targets, and the inputs that once broke something: what `tests/fuzz` asks
//! of every input is asked of these on each run.

use std::path::Path;

#[path = "../fuzz/checks/lib.rs"]
mod checks;

/// What is asked of an input.
type Check = fn(&[u8]);

#[test]
fn every_seed_keeps_what_its_fuzz_target_asks() {
    let targets: [(&str, Check); 11] = [
        ("answer", checks::answer),
        ("claims", checks::claims),
        ("credential", checks::credential),
        ("frames", checks::frames),
        ("jwks", checks::jwks),
        ("path", checks::path),
        ("provider", checks::provider),
        ("proxy_protocol", checks::proxy_protocol),
        ("request", checks::request),
        ("token", checks::token),
        ("traceparent", checks::traceparent),
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let count = |part: &str| std::fs::read_dir(root.join(part)).unwrap().count();
    assert_eq!((count("targets"), count("seeds")), (targets.len(), targets.len()));
    for (name, check) in targets {
        assert!(root.join(format!("targets/{name}.rs")).is_file(), "{name}");
        let mut seeds = 0;
        for entry in std::fs::read_dir(root.join("seeds").join(name)).unwrap() {
            let file = entry.unwrap().path();
            println!("{}", file.display());
            check(&std::fs::read(file).unwrap());
            seeds += 1;
        }
        assert!(seeds > 0, "{name} has no seed");
    }
}
