//! Many denials at once through the command line: batch, export, import, and the audit of it.

use serde_json::Value;

use crate::support::{Gateway, Issuer, Setup, Upstream};

#[track_caller]
fn run(gateway: &Gateway, arguments: &[&str], stdin: &str, code: i32) -> String {
    let output = gateway.command(arguments, stdin);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_batch_denies_what_it_lists_and_an_export_carries_it_to_another_gateway() {
    let issuer = Issuer::new("ES256");
    let gateway = Setup::simple(&issuer, &Upstream::new()).start();
    let other = Setup::simple(&issuer, &Upstream::new()).start();
    let (alice, bob) = (issuer.mint("alice"), issuer.mint("bob"));
    let lines = "{\"user\":\"alice\",\"always\":true,\"reason\":\"breach\"}\n{\"user\":\"bob\"}\n";
    let said = run(&gateway, &["denials", "batch", "-"], lines, 2);
    assert!(said.contains("line 2: condition_missing"), "{said}");
    assert!(said.ends_with("2 lines: 1 denied, 0 stood already, 1 failed.\n"), "{said}");
    assert_eq!((gateway.status(&alice), gateway.status(&bob)), (401, 200));

    let file = gateway.dir().join("denials.ndjson");
    let file = file.to_str().unwrap();
    run(&gateway, &["denials", "export", file], "", 0);
    assert_eq!((other.status(&alice), other.status(&bob)), (200, 200));
    for known in [0, 1] {
        let said = run(&other, &["--json", "denials", "import", file], "", 0);
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&said["complete"], &said["denials"]["known"]), (&true.into(), &known.into()));
    }
    assert_eq!((other.status(&alice), other.status(&bob)), (401, 200));
    let whole = std::fs::read_to_string(file).unwrap();
    let (cut, _) = whole.trim_end().rsplit_once('\n').unwrap();
    run(&other, &["denials", "import", "-"], cut, 2);

    let act = run(&other, &["audit", "--json"], "", 0);
    let act: Value = serde_json::from_str(&act).unwrap();
    assert_eq!((&act["action"], &act["subject"]), (&"denied".into(), &"alice".into()));
    assert_eq!(act["by"]["via"], "cli", "the record keeps the door of the first gateway");
    assert_eq!(run(&other, &["audit", "--action", "undone"], "", 0), "");
}
