//! The config file, by way of the running program: what is wrong is said before anything starts.

use std::path::Path;

use crate::support::{Issuer, Setup, Upstream, program, run_to_end};

#[test]
fn a_gateway_does_not_start_with_a_config_that_check_refuses() {
    let setup =
        Setup::simple(&Issuer::new("HS256"), &Upstream::new()).server("drain_timout = \"5s\"");
    let (dir, path) = setup.write();
    for command in ["check", "run"] {
        let output = run_to_end(program().arg(command).arg("-c").arg(&path));
        assert_eq!(output.status.code(), Some(78), "{command}");
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(
            text.contains("gateway.toml:3:1") && text.contains("drain_timout"),
            "{command}: {text}"
        );
        assert!(text.contains("`drain_timeout`"), "{command} suggests the near miss: {text}");
    }
    assert!(!dir.path().join("data").exists(), "nothing was begun");
}

#[test]
fn a_config_that_check_accepts_starts() {
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &Upstream::new()).start();
    let output = run_to_end(program().arg("check").arg("-c").arg(gateway.config()));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("is valid"));
    assert_eq!(gateway.status(&issuer.mint("alice")), 200);
}

#[test]
fn the_complete_example_and_the_one_in_the_readme_are_valid_as_they_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let accepted = |path: &Path| {
        let output = run_to_end(program().arg("check").arg("-c").arg(path));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{}: {text}", path.display());
    };
    accepted(&root.join("gateway.toml"));

    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let start = readme.find("    [server]").expect("the example in the README");
    let example: String = readme[start..]
        .lines()
        .take_while(|line| line.starts_with("    "))
        .map(|line| format!("{}\n", line.trim_start()))
        .collect();
    assert!(example.lines().count() > 10, "{example}");
    let (dir, path) = Setup::new().write();
    std::fs::write(&path, example).unwrap();
    accepted(&path);
    drop(dir);
}
