//! The guides, followed by copy and paste: their shell lines are run, their configurations start.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::peers::{Peer, installed};
use crate::support::{Gateway, Issuer, Setup, Upstream, eventually, program, run_to_end};

fn guide(name: &str) -> String {
    std::fs::read_to_string(docs().join(name)).unwrap()
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// The blocks of a language below a heading.
fn blocks(text: &str, heading: &str, language: &str) -> Vec<String> {
    let (_, section) = text.split_once(&format!("\n## {heading}\n")).expect(heading);
    let section = section.split("\n## ").next().unwrap();
    let fence = format!("```{language}\n");
    let found = section.split(&fence).skip(1);
    found.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

/// Runs shell lines in the gateway's directory, with `portcullis` and other programs by name.
#[track_caller]
fn follow(gateway: &Gateway, lines: &str, programs: &[(&str, String)]) -> String {
    let bin = gateway.dir().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let portcullis = program().get_program().to_str().unwrap().to_owned();
    let ours = format!("{portcullis} \"$@\"");
    for (name, command) in programs.iter().chain(&[("portcullis", ours)]) {
        let path = bin.join(name);
        std::fs::write(&path, format!("#!/bin/sh\nexec {command}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output = run_to_end(
        Command::new("sh")
            .args(["-euc", lines])
            .current_dir(gateway.dir())
            .env("PATH", path)
            .env("PORTCULLIS_CONFIG", gateway.config())
            .env("PORTCULLIS_ADMIN", gateway.admin_url()),
    );
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{lines}\n{said}\n{errors}");
    said
}

#[test]
fn a_blacklist_in_redis_is_carried_over_as_the_guide_says() {
    let Some(redis) = installed("redis-server") else { return };
    let Some(client) = installed("redis-cli") else { return };
    let issuer = Issuer::new("ES256");
    let gateway = Setup::simple(&issuer, &Upstream::new()).start();
    let socket = gateway.dir().join("redis.sock");
    let mut command = Command::new(redis);
    command.args(["--port", "0", "--save", "", "--unixsocket"]).arg(&socket);
    command.current_dir(gateway.dir()).stdin(Stdio::null()).stdout(Stdio::null());
    let _redis = Peer::of(command.spawn().unwrap());
    eventually("redis listens", || socket.exists().then_some(()));
    let token = |jti: &str| issuer.token("alice").claim("jti", jti).mint();
    for jti in ["6f1c-1", "6f1c-2"] {
        let key = format!("bl:{jti}");
        let set = ["set", &key, "1", "ex", "600"];
        let done = run_to_end(Command::new(&client).arg("-s").arg(&socket).args(set));
        assert!(done.status.success(), "{done:?}");
    }
    let statuses = || ["6f1c-1", "6f1c-2", "6f1c-3"].map(|jti| gateway.status(&token(jti)));
    assert_eq!(statuses(), [200, 200, 200]);
    let lines = blocks(&guide("migrate.md"), "From a blacklist in Redis", "sh").remove(0);
    let redis_cli = format!("{} -s {} \"$@\"", client.display(), socket.display());
    for standing in ["2 denied, 0 stood already", "0 denied, 2 stood already"] {
        let said = follow(&gateway, &lines, &[("redis-cli", redis_cli.clone())]);
        assert!(said.contains(standing), "{said}");
    }
    assert_eq!(statuses(), [401, 401, 200]);
}

#[test]
fn a_list_of_krakends_elements_is_carried_over_as_the_guide_says() {
    let issuer = Issuer::new("ES256");
    let gateway = Setup::simple(&issuer, &Upstream::new()).start();
    std::fs::write(gateway.dir().join("elements.txt"), "jti-77\nsub-mallory\n").unwrap();
    let lines = blocks(&guide("migrate.md"), "From KrakenD's revoker", "sh").remove(0);
    follow(&gateway, &lines, &[]);
    let status =
        |subject: &str, jti: &str| gateway.status(&issuer.token(subject).claim("jti", jti).mint());
    assert_eq!(
        (status("alice", "77"), status("mallory", "1"), status("alice", "78")),
        (401, 401, 200)
    );
}

#[test]
fn every_configuration_of_a_guide_is_valid() {
    let mut found = 0;
    for entry in std::fs::read_dir(docs()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for block in text.split("```toml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            // A whole file; the others show a part.
            if !(block.contains("[[route]]") && block.contains("[[issuer]]")) {
                continue;
            }
            found += 1;
            let dir = tempfile::tempdir().unwrap();
            std::os::unix::fs::symlink(docs().join("example"), dir.path().join("example")).unwrap();
            let config = dir.path().join("gateway.toml");
            std::fs::write(&config, block).unwrap();
            let mut check = program();
            check.arg("check").arg("-c").arg(&config).env("CLIENT_SECRET", "s3cr3t");
            let checked = run_to_end(&mut check);
            let errors = String::from_utf8_lossy(&checked.stderr);
            assert!(checked.status.success(), "{}:\n{block}\n{errors}", path.display());
        }
    }
    assert!(found >= 4, "{found}");
}
