//! Very many at once: the gateway's memory does not grow with the length of a call, and the file's
//! tools can be killed at any moment.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::support::{Gateway, Issuer, Setup, Upstream, eventually, program, run_to_end};

fn batch(gateway: &Gateway, name: &str, from: usize, count: usize) {
    let line = |n: usize| {
        let line = json!({"user": format!("user-{n}"), "always": true, "reason": "breach 2026-11"});
        line.to_string() + "\n"
    };
    let lines: String = (from..from + count).map(line).collect();
    std::fs::write(gateway.dir().join(name), lines).unwrap();
    let done = gateway.command(&["denials", "batch", name], "");
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn two_hundred_thousand_lines_take_the_memory_of_what_is_denied_and_not_of_the_call() {
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &Upstream::new()).start();
    batch(&gateway, "first.ndjson", 0, 20_000);
    let before = gateway.peak_kb();
    batch(&gateway, "many.ndjson", 20_000, 200_000);
    let grown = gateway.peak_kb().saturating_sub(before);
    // The lines are 16 MB and the answers 9 MB; what stays is 200,000 entries of the hot table, the
    // store's cache of pages (64 MiB at the most) and what waits for the reader.
    assert!(grown < 160_000, "{grown} kB for 200,000 lines");
    assert_eq!(gateway.status(&issuer.mint("user-219999")), 401);
    assert_eq!(gateway.status(&issuer.mint("user-220000")), 200);
}

/// Files beside the store that a killed tool may leave and the next run takes away or keeps.
fn check(store: &Path) {
    let checked = run_to_end(program().args(["store", "check", "--store"]).arg(store));
    let text = String::from_utf8_lossy(&checked.stdout);
    assert_eq!(checked.status.code(), Some(0), "{text}");
}

#[test]
fn a_repair_and_a_compaction_that_are_killed_at_any_moment_leave_a_whole_store() {
    let issuer = Issuer::new("HS256");
    let mut gateway = Setup::simple(&issuer, &Upstream::new()).start();
    batch(&gateway, "many.ndjson", 0, 5_000);
    gateway.signal(rustix::process::Signal::TERM);
    gateway.wait();
    let store = gateway.dir().join("data");
    for tool in ["repair", "compact"] {
        let mut ended = 0;
        for round in 0..8_u32 {
            let mut child = program()
                .args(["store", tool, "--store"])
                .arg(&store)
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap();
            // Moments spread over the time that it takes; the last one is let go on.
            std::thread::sleep(Duration::from_millis(u64::from(round * round) * 15));
            if round == 7 {
                let status = eventually("it ends", || child.try_wait().unwrap());
                assert!(status.success(), "{tool}");
                ended += 1;
            } else {
                child.kill().unwrap();
                child.wait().unwrap();
            }
            check(&store);
        }
        assert_eq!(ended, 1);
    }
    let gateway = gateway.start_again();
    for number in [0, 2_500, 4_999] {
        assert_eq!(gateway.status(&issuer.mint(&format!("user-{number}"))), 401);
    }
    assert_eq!(gateway.status(&issuer.mint("user-5000")), 200);
}
