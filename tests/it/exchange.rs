//! Many denials at once through the command line: batch, export, import, and the audit of it.

use serde_json::Value;

use crate::support::{Connection, Gateway, Issuer, Setup, Upstream, now};

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
    assert_eq!(act["action"], "imported", "what was brought was done elsewhere");
    assert!(act["counts"]["denials"].is_u64() && act["by"]["via"] == "cli", "{act}");
    assert_eq!(run(&other, &["audit", "--action", "undone"], "", 0), "");
}

#[test]
fn an_export_of_a_stopped_store_is_taken_also_with_times_that_rfc_3339_cannot_say() {
    let issuer = Issuer::new("HS256");
    let mut gateway = Setup::simple(&issuer, &Upstream::new()).start();
    // Its life is too long to pass, and it can be denied all the same.
    let odd = issuer.token("alice").claim("exp", 253_402_300_799_i64).mint();
    run(&gateway, &["block", "--token-file", "-"], &odd, 0);
    run(&gateway, &["block", "--user", "mallory"], "", 0);
    let online = run(&gateway, &["denials", "export", "-"], "", 0);
    gateway.kill9();
    let offline = run(&gateway, &["store", "export"], "", 0);
    let (text, ms) = ("\"9999-12-30T22:00:00Z\"", "253402300829000");
    for export in [online, offline] {
        assert!(export.contains(text), "{export}");
        let export = export.replace(text, ms);
        let other = Setup::simple(&issuer, &Upstream::new()).start();
        for known in [0, 2] {
            let said = run(&other, &["--json", "denials", "import", "-"], &export, 0);
            let said: Value = serde_json::from_str(&said).unwrap();
            assert_eq!(said["complete"], true, "{said}");
            assert_eq!(said["denials"]["known"], known, "{said}");
        }
        assert_eq!(other.status(&issuer.mint("mallory")), 401);
        let again = run(&other, &["denials", "export", "-"], "", 0);
        assert!(again.contains(&format!("\"kept_until\":{ms}")), "{again}");
    }
}

#[test]
fn a_batch_that_is_sent_again_as_of_the_same_time_makes_nothing_twice() {
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &Upstream::new()).start();
    let lines = "{\"user\":\"alice\",\"issued_before\":\"now\"}\n\
                 {\"user\":\"bob\",\"always\":true,\"for\":\"15m\"}\n\
                 {\"user\":\"carol\",\"always\":true,\"for\":\"5m\"}\n";
    let send = |query: &str| {
        let credential = std::fs::read_to_string(gateway.dir().join("data/admin.token")).unwrap();
        let bearer = format!("Bearer {}", credential.trim());
        let mut connection = Connection::open(&gateway.admin_address);
        let headers = [
            ("Host", "localhost"),
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/x-ndjson"),
        ];
        let path = format!("/v1/denials/batch{query}");
        connection.request("POST", &path, &headers, lines.as_bytes())
    };
    let as_of = format!("?as_of={}", now() - 600);
    let first = send(&as_of).text();
    assert!(first.contains("\"created\":2,"), "{first}");
    assert!(first.contains("\"already_over\""), "a block of five minutes ten minutes ago: {first}");
    assert_eq!(gateway.status(&issuer.mint("carol")), 200);
    let again = send(&as_of).text();
    assert!(again.contains("\"created\":0,\"already\":2,"), "{again}");
    let later = send("").text();
    assert!(later.contains("\"created\":3,"), "{later}");
    let future = send("?as_of=2999-01-01T00:00:00Z");
    assert_eq!((future.status, future.code().as_str()), (422, "invalid_query"));
}
