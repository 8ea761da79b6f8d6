//! The command line where a person looks at it: on a terminal it shows how far it is, and asks before
//! it does something wide.

use std::fs::File;
use std::io::Write as _;
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::json;

use crate::support::{Gateway, Issuer, Lines, Setup, Upstream, eventually, program};

/// A command on a terminal of its own.
struct OnTerminal {
    child: std::process::Child,
    keyboard: File,
    /// What the screen got, cut where the terminal's lines are.
    screen: Lines,
}

impl OnTerminal {
    fn start(gateway: &Gateway, arguments: &[&str]) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs = || {
            let path = std::path::Path::new(name.to_str().unwrap());
            Stdio::from(File::options().read(true).write(true).open(path).unwrap())
        };
        let child = program()
            .args(arguments)
            .arg("-c")
            .arg(gateway.config())
            .env("PORTCULLIS_ADMIN", gateway.admin_url())
            .current_dir(gateway.dir())
            .stdin(theirs())
            .stdout(theirs())
            .stderr(theirs())
            .spawn()
            .unwrap();
        let ours = File::from(ours);
        let keyboard = ours.try_clone().unwrap();
        Self { child, keyboard, screen: Lines::collect(Glass(ours)) }
    }

    fn see(&self, what: &str) {
        eventually(&format!("the screen shows {what:?}"), || {
            self.text().contains(what).then_some(())
        });
    }

    fn text(&self) -> String {
        self.screen.all().concat()
    }

    fn key_in(&mut self, line: &str) {
        self.keyboard.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn end(mut self) -> (Option<i32>, String) {
        let status = eventually("the command ends", || self.child.try_wait().unwrap());
        (status.code(), self.screen.until_end().concat())
    }
}

/// A line that is drawn over, or is a question, has no end: each piece that comes is one here.
struct Glass(File);

impl std::io::Read for Glass {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let room = to.len().saturating_sub(1);
        // A terminal whose other end is closed is at its end (EIO).
        let read = self.0.read(&mut to[..room]).unwrap_or(0);
        if read > 0 {
            to[read] = b'\n';
            return Ok(read + 1);
        }
        Ok(0)
    }
}

#[test]
fn everyone_is_asked_about_on_a_terminal_and_only_the_issuers_name_is_a_yes() {
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &Upstream::new()).start();
    let token = issuer.mint("alice");
    for (answer, code, status) in [("yes", 1, 200), ("", 1, 200), ("main", 0, 401)] {
        let mut command = OnTerminal::start(&gateway, &["block", "--everyone", "--reason", "x"]);
        command.see("issuer's name");
        command.key_in(answer);
        let (ended, text) = command.end();
        assert_eq!(ended, Some(code), "{answer:?}: {text}");
        assert_eq!(gateway.status(&token), status, "{answer:?}: {text}");
        if code != 0 {
            assert!(text.contains("Nothing was changed"), "{text}");
        }
    }
}

#[test]
fn a_batch_and_an_import_show_on_a_terminal_how_far_they_are_and_leave_nothing_of_it() {
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &Upstream::new()).start();
    let line = |n: usize| json!({"user": format!("u{n}"), "always": true}).to_string() + "\n";
    let lines: String = (0..30_000).map(line).collect();
    std::fs::write(gateway.dir().join("many.ndjson"), lines).unwrap();
    let batch = OnTerminal::start(&gateway, &["denials", "batch", "many.ndjson"]);
    let (code, text) = batch.end();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(" %  ") && text.contains(" lines, ") && text.contains("/s"), "{text}");
    let last = text.rsplit("\u{1b}[K").next().unwrap();
    assert!(last.contains("30,000 lines: 30,000 denied"), "{last}");
    assert!(!last.contains(" %  "), "the line is gone: {last}");
    // Piped, there is none of it.
    let piped = gateway.command(&["denials", "batch", "many.ndjson"], "");
    assert!(piped.stderr.is_empty(), "{:?}", String::from_utf8_lossy(&piped.stderr));
    let exported = gateway.command(&["denials", "export", "all.ndjson"], "");
    assert_eq!(exported.status.code(), Some(0), "{exported:?}");
    let import = OnTerminal::start(&gateway, &["denials", "import", "all.ndjson"]);
    let (code, text) = import.end();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("30,000 were known"), "{text}");
}
