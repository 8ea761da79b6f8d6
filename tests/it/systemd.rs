//! What a service manager is told, and the sockets that it passes.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use crate::support::{Connection, PATIENCE, Setup, Upstream};

/// The next message that has this line; others before it are skipped.
#[track_caller]
fn told(socket: &UnixDatagram, line: &str) -> String {
    let mut bytes = [0; 4096];
    loop {
        let count = socket.recv(&mut bytes).unwrap_or_else(|error| panic!("{line}: {error}"));
        let text = String::from_utf8(bytes[..count].to_vec()).unwrap();
        if text.lines().any(|found| found == line) {
            return text;
        }
    }
}

#[test]
fn it_is_told_of_readiness_of_reloads_of_life_and_of_the_end() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let upstream = Upstream::new();
    let mut gateway = Setup::new()
        .upstream("app", &upstream, "")
        .route("/", "access = \"public\"")
        .server("watch = false")
        .environment("NOTIFY_SOCKET", path.to_str().unwrap())
        .environment("WATCHDOG_USEC", "800000")
        .start();
    told(&socket, "READY=1");
    told(&socket, "WATCHDOG=1");
    gateway.signal(Signal::HUP);
    let reloading = told(&socket, "RELOADING=1");
    let at = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
    assert!(at.parse::<u64>().unwrap() > 0, "{reloading}");
    told(&socket, "READY=1");
    gateway.signal(Signal::TERM);
    told(&socket, "STOPPING=1");
    assert_eq!(gateway.wait().code(), Some(0));
}

/// The program with this socket as its only passed one, named `web`.
fn with_passed(socket: &TcpListener, config: &std::path::Path) -> Child {
    let passed: OwnedFd = socket.try_clone().unwrap().into();
    Command::new("/bin/sh")
        .arg("-c")
        .arg("exec 3<&0 </dev/null; export LISTEN_PID=$$; exec \"$0\" run -c \"$1\"")
        .arg(env!("CARGO_BIN_EXE_portcullis"))
        .arg(config)
        .env_clear()
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", "web")
        .stdin(passed)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_passed_socket_is_taken_by_its_name_or_by_its_address() {
    let upstream = Upstream::new();
    for by_name in [true, false] {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        // With a name, the address of the config is not bound at all.
        let (name, listen) =
            if by_name { ("name = \"web\"", "192.0.2.1:80") } else { ("", address.as_str()) };
        let (_directory, config) = Setup::new()
            .upstream("app", &upstream, "")
            .route("/", "access = \"public\"")
            .tables(&format!("[[listener]]\nlisten = \"{listen}\"\n{name}\n"))
            .write();
        let mut child = with_passed(&socket, &config);
        let answer = Connection::open(&address).get("/", &[]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(answer.status, 200);
    }
}
