//! The access log has a line for every request, on every path, and no token is ever written
//! anywhere: not to the log, not to events, not into an error, not to the disk.

use std::io::{PipeReader, PipeWriter, Write as _};
use std::process::Stdio;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::{
    Connection, Issuer, Lines, Setup, Upstream, eventually, nobody, program, run_to_end,
};

/// A distinctive piece of a token: the middle of its signature and of its claims.
fn pieces(token: &str) -> Vec<String> {
    token
        .split('.')
        .filter(|part| part.len() >= 24)
        .skip(1)
        .map(|part| part[part.len() / 2 - 10..part.len() / 2 + 10].to_owned())
        .collect()
}

#[test]
fn every_answer_has_one_line_with_its_reason_and_request_id() {
    let issuer = Issuer::new("HS256");
    let upstream = Upstream::new();
    let down = nobody();
    let gateway = Setup::simple(&issuer, &upstream)
        .upstream_at("down", &format!("http://{down}"), "")
        .route("/api/", "")
        .route("/read/", "require = { scopes = [\"read\"] }")
        .route("/pub/", "access = \"public\"")
        .route("/down/", "access = \"public\"\nupstream = \"down\"")
        .start();
    gateway.admin().block(json!({"user": "mallory"}));
    let good = issuer.mint("alice");
    let cases = [
        ("/api/x", Some(good.clone()), 200, None),
        ("/pub/x", None, 200, None),
        ("/api/x", None, 401, Some("token_missing")),
        ("/api/x", Some("garbage".into()), 401, Some("token_invalid")),
        (
            "/api/x",
            Some(issuer.token("alice").times(-900, -600).mint()),
            401,
            Some("token_expired"),
        ),
        ("/api/x", Some(issuer.mint("mallory")), 401, Some("token_revoked")),
        ("/read/x", Some(good.clone()), 403, Some("scope_missing")),
        ("/nowhere", Some(good.clone()), 404, Some("")),
        ("/api/../x", Some(good.clone()), 400, Some("")),
        ("/down/x", None, 502, Some("")),
    ];
    for (target, token, status, code) in cases {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> =
            bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
        let answer = gateway.get(target, &headers);
        assert_eq!(answer.status, status, "{target}: {}", answer.text());
        let id = answer.header("x-request-id").expect("a request id").to_owned();
        let line = gateway.access_line(&id);
        assert_eq!(line["status"], status, "{line}");
        assert_eq!(line["method"], "GET", "{line}");
        if let Some(code) = code {
            let told = answer.code();
            assert_eq!(answer.json()["request_id"], id.as_str());
            assert!(code.is_empty() || told == code, "{told}");
            assert!(line.to_string().contains(&format!("\"{told}\"")), "{line} names {told}");
        }
        let lines = gateway.access_log();
        let same = lines.iter().filter(|line| line["request_id"] == id.as_str()).count();
        assert_eq!(same, 1, "one line for {id}");
    }
}

#[test]
fn the_request_id_of_a_stranger_is_not_taken_over() {
    let gateway = Setup::simple(&Issuer::new("HS256"), &Upstream::new()).start();
    let answer = gateway.get("/", &[("X-Request-Id", "chosen-by-me")]);
    assert_ne!(answer.header("x-request-id"), Some("chosen-by-me"));
    let upstream = Upstream::new();
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &upstream).start();
    let bearer = format!("Bearer {}", issuer.mint("alice"));
    let answer = gateway.get("/", &[("Authorization", &bearer), ("X-Request-Id", "chosen-by-me")]);
    assert_eq!(upstream.last().header("x-request-id"), answer.header("x-request-id"));
    assert_ne!(upstream.last().header("x-request-id"), Some("chosen-by-me"));
}

#[test]
fn a_token_appears_nowhere_that_is_written() {
    let issuer = Issuer::new("ES256");
    let upstream = Upstream::new();
    let gateway = Setup::simple(&issuer, &upstream)
        .tables("[log]\nlevel = \"debug\"\n")
        .route("/", "credentials = [\"bearer\", \"cookie:session\"]")
        .start();
    let mut answers = String::new();
    let mut secrets = Vec::new();
    let kinds = [
        issuer.mint("alice"),
        issuer.token("alice").times(-900, -600).mint(),
        issuer.token("alice").signed_by(&issuer.key.other(), "ES256").mint(),
        issuer.token("alice").claim("iss", "https://other.example/").mint(),
        issuer.token("alice").header("kid", "nobody").mint(),
        issuer.token("mallory").mint(),
        issuer.token("alice").mint() + "=",
        issuer.token("alice").mint_with_member("exp", "\"soon\""),
        issuer.token("alice").mint_raw("{", "{"),
    ];
    gateway.admin().block(json!({"user": "mallory"}));
    for token in kinds {
        secrets.extend(pieces(&token));
        let query = format!("/x?access_token={token}");
        for (target, name, value) in [
            ("/", "Authorization", format!("Bearer {token}")),
            ("/", "Authorization", format!("bearer  {token} {token}")),
            ("/", "Cookie", format!("a=1; session={token}; b=2")),
            (query.as_str(), "X-Other", "1".to_owned()),
            (query.as_str(), "Authorization", format!("Bearer {token}")),
        ] {
            let answer = gateway.get(target, &[(name, &value)]);
            // The backend's own answer repeats what it received; that is its affair.
            if answer.status != 200 {
                answers += &answer.head;
                answers += &answer.text();
            }
        }
        let admin = gateway.admin();
        for (path, body) in [
            ("/v1/explain", json!({"token": token})),
            ("/v1/revoke", json!({"token": token, "reason": "x"})),
            ("/v1/revoke", json!({"token": token, "tokn": token, "reason": "x"})),
        ] {
            answers += &admin.call("POST", path, Some(&body)).text();
        }
        for arguments in [["explain"].as_slice(), &["revoke", "--token-file", "-"]] {
            let output = gateway.command(arguments, &token);
            answers += &String::from_utf8_lossy(&output.stdout);
            answers += &String::from_utf8_lossy(&output.stderr);
        }
    }
    // The administrator's own credential is a token as well.
    let admin_token = std::fs::read_to_string(gateway.dir().join("data/admin.token")).unwrap();
    secrets.push(admin_token.trim().to_owned());
    let last = gateway.get("/", &[]);
    gateway.access_line(last.header("x-request-id").expect("a request id"));
    let dir = gateway.dir().to_owned();
    let (stdout, stderr) = (gateway.stdout.clone(), gateway.stderr.clone());
    let gateway = gateway.restart();
    let written = [
        ("stdout", stdout.until_end().join("\n")),
        ("stderr", stderr.until_end().join("\n")),
        ("answers", answers),
        (
            "store",
            String::from_utf8_lossy(&std::fs::read(dir.join("data/denials.redb")).unwrap())
                .into_owned(),
        ),
    ];
    drop(gateway);
    assert!(written[0].1.lines().count() > 30, "the log was written at all");
    for (place, text) in &written {
        for secret in &secrets {
            assert!(!text.contains(secret), "{secret} stands in {place}");
        }
    }
}

#[test]
fn a_secret_in_a_broken_config_is_not_printed() {
    let setup = Setup::simple(&Issuer::new("HS256"), &Upstream::new());
    let (dir, path) = setup.write();
    let secret = "hunter2-hunter2-hunter2-hunter2-hunter2";
    let broken = format!(
        "{}\n[[issuer]]\nname = \"two\"\nissuer = \"https://two.example/\"\naudiences = [\"a\"]\nalgorithms = [\"HS256\"]\nkeys = {{ secret = \"{secret}\", secrt = \"{secret}\" }}\n",
        std::fs::read_to_string(&path).unwrap()
    );
    std::fs::write(&path, broken).unwrap();
    let output = run_to_end(program().arg("check").arg("-c").arg(&path));
    assert_eq!(output.status.code(), Some(78));
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("gateway.toml:"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    drop(dir);
}

#[test]
fn the_access_log_can_be_off_or_for_refused_requests_only() {
    let issuer = Issuer::new("HS256");
    let upstream = Upstream::new();
    let gateway = Setup::simple(&issuer, &upstream).tables("[log]\naccess = \"refused\"\n").start();
    assert_eq!(gateway.status(&issuer.mint("alice")), 200);
    let refused = gateway.get("/", &[]);
    gateway.access_line(refused.header("x-request-id").expect("a request id"));
    assert_eq!(gateway.access_log().len(), 1);
    let gateway = Setup::simple(&issuer, &upstream).tables("[log]\naccess = \"off\"\n").start();
    assert_eq!(gateway.get("/", &[]).status, 401);
    let stdout = gateway.stdout.clone();
    let gateway = gateway.restart();
    assert_eq!(stdout.until_end().len(), 1, "the ready line alone");
    drop(gateway);
}

#[test]
fn a_client_that_left_has_its_line_too() {
    let upstream = Upstream::answering(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        exchange.read_body();
        while exchange.connection.try_send("5\r\nhello\r\n").is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        exchange.close();
    });
    let issuer = Issuer::new("HS256");
    let gateway = Setup::simple(&issuer, &upstream).start();
    let mut connection = gateway.connect();
    connection.send(format!(
        "GET /gone HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n",
        issuer.mint("alice")
    ));
    connection.through(b"hello").unwrap();
    drop(connection);
    eventually("its access line", || {
        gateway.access_log().into_iter().find(|line| line.to_string().contains("/gone"))
    });
}

#[test]
fn the_event_of_a_denial_names_the_user_unless_the_log_may_not() {
    let issuer = Issuer::new("HS256");
    let upstream = Upstream::new();
    for (tables, named) in [("", true), ("[log]\nsubject = false\n", false)] {
        let gateway = Setup::simple(&issuer, &upstream).tables(tables).start();
        gateway.admin().revoke(json!({"user": "alice", "reason": "lost laptop"}));
        let line = gateway.stderr.find(|line| line.contains("revoked ").then(|| line.to_owned()));
        let line = line.expect("an event");
        let words = "revoked user alice \\\"lost laptop\\\": ";
        assert_eq!(line.contains(words), named, "{line}");
        assert_eq!(line.contains("alice") || line.contains("laptop"), named, "{line}");
        assert!(line.contains("on disk after ") && line.contains("dn_"), "{line}");
    }
}

#[test]
fn a_log_of_its_own_in_combined_format_survives_rotation_and_lets_no_line_be_forged() {
    let issuer = Issuer::new("ES256");
    let gateway = Setup::simple(&issuer, &Upstream::new())
        .tables("[log]\naccess_file = \"access.log\"\naccess_format = \"combined\"")
        .start();
    let path = gateway.dir().join("access.log");
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default();
    let bearer = format!("Bearer {}", issuer.mint("al\" ice"));
    let headers = [
        ("Authorization", bearer.as_str()),
        ("User-Agent", "tool/1.0 \"x\" \\"),
        ("Referer", "https://app.example.com/a?code=very-secret#x"),
    ];
    assert_eq!(gateway.get("/one?key=very-secret", &headers).status, 200);
    let line = eventually("a line", || read(&path).lines().next().map(str::to_owned));
    let (who, rest) = line.split_once('[').unwrap();
    assert_eq!(who, "127.0.0.1 - al__ice ");
    let (_, request) = rest.split_once("] ").unwrap();
    assert!(request.starts_with("\"GET /one HTTP/1.1\" 200 "), "{line}");
    let quoted = "\"https://app.example.com/a\" \"tool/1.0 ?x? ?\"";
    assert!(request.ends_with(quoted), "{line}");
    let old = gateway.dir().join("access.log.1");
    std::fs::rename(&path, &old).unwrap();
    // As log rotation sends it.
    gateway.signal(Signal::USR1);
    let new = eventually("a line in the new file", || {
        assert_eq!(gateway.get("/two", &[]).status, 401);
        Some(read(&path)).filter(|text| !text.is_empty())
    });
    assert!(new.contains("\"GET /two HTTP/1.1\" 401 "), "{new}");
    assert!(gateway.access_log().is_empty(), "lines are in the file only");
}

/// A pipe in which there is room for nothing more.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'.'; 4096]).is_ok() {}
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

#[test]
fn events_that_nobody_reads_hold_up_no_request_no_reload_and_no_end() {
    let (issuer, upstream) = (Issuer::new("ES256"), Upstream::new());
    let (dir, config) = Setup::simple(&issuer, &upstream).server("watch = false").write();
    let (_unread, events) = full_pipe();
    let mut command = program();
    command.arg("run").arg("-c").arg(&config).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.stderr(events).spawn().unwrap();
    let stdout = Lines::collect(child.stdout.take().unwrap());
    let address = stdout.find(|line| {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        event["listen"][0].as_str()?.strip_prefix("http://").map(str::to_owned)
    });
    let address = address.expect("a ready line");
    let token = issuer.mint("alice");
    let bearer = format!("Bearer {token}");
    let get = || Connection::open(&address).get("/", &[("Authorization", &bearer)]).status;
    assert_eq!(get(), 200);
    let pid = Pid::from_child(&child);
    for _ in 0..3 {
        kill_process(pid, Signal::HUP).unwrap();
        assert_eq!(get(), 200);
    }
    kill_process(pid, Signal::TERM).unwrap();
    let status = eventually("the end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    drop(dir);
}

#[test]
fn one_in_so_many_forwarded_requests_has_a_line_and_each_refused_one() {
    let issuer = Issuer::new("ES256");
    let gateway = Setup::simple(&issuer, &Upstream::new())
        .server("threads = 1")
        .tables("[log]\nsample = 10")
        .start();
    let token = issuer.mint("alice");
    for _ in 0..40 {
        assert_eq!(gateway.get_with("/", &token).status, 200);
    }
    for _ in 0..3 {
        assert_eq!(gateway.get("/", &[]).status, 401);
    }
    let lines = eventually("the refused ones", || {
        let lines = gateway.access_log();
        (lines.iter().filter(|line| line["status"] == 401).count() == 3).then_some(lines)
    });
    assert_eq!(lines.iter().filter(|line| line["status"] == 200).count(), 4);
}

#[test]
fn a_client_that_loops_with_a_dead_token_has_a_few_lines_and_a_count() {
    let issuer = Issuer::new("ES256");
    let gateway = Setup::simple(&issuer, &Upstream::new())
        .server("threads = 1")
        .tables("[log]\nrepeats_max = 5")
        .start();
    let mut connection = gateway.connect();
    for _ in 0..200 {
        assert_eq!(connection.get("/", &[("Authorization", "Bearer garbage")]).status, 401);
    }
    let told = |line: &serde_json::Value| line["lines"].as_u64().unwrap_or(1);
    let all = eventually("every request is in a line or in a count", || {
        let events = gateway.events_on_stdout();
        let of_loop = |line: &&serde_json::Value| line["reason"] == "token_invalid";
        let of_loop: Vec<_> = events.iter().filter(of_loop).cloned().collect();
        (of_loop.iter().map(told).sum::<u64>() == 200).then_some(of_loop)
    });
    assert!(all.len() < 100, "{} lines", all.len());
    assert!(all.iter().any(|line| line["event"] == "repeated" && line["client"] == "127.0.0.1"));
}
