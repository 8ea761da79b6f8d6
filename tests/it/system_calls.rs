//! What a small request costs the kernel: two receives and two sends, one of each on either side, and
//! nothing else. Counted by strace on the one thread that serves it.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::peers::{installed, not_tested};
use crate::support::{Connection, Gateway, Issuer, Lines, Setup, Upstream};

/// Requests that are counted.
const REQUESTS: usize = 200;

/// strace on one thread of the gateway.
struct Trace {
    child: Child,
    output: std::path::PathBuf,
}

impl Trace {
    /// `None`: it is not installed, or nobody may trace here, as in a container without that right.
    fn of(gateway: &Gateway, thread: &str) -> Option<Self> {
        let output = gateway.dir().join("trace");
        let mut command = Command::new(installed("strace")?);
        command.args(["-p", &thread_id(gateway, thread), "-o"]).arg(&output);
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut trace = Self { child: command.spawn().unwrap(), output };
        let said = Lines::collect(trace.child.stderr.take().unwrap());
        let first = said.find(|line| Some(line.to_owned())).expect("it says what it does");
        if first.contains("Operation not permitted") {
            return not_tested(&format!("system calls cannot be counted here: {first}"));
        }
        assert!(first.contains("attached"), "{first}");
        Some(trace)
    }

    /// How often each call was made, those that had to wait under a name of their own.
    fn end(mut self) -> BTreeMap<String, usize> {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        self.child.wait().unwrap();
        let text = std::fs::read_to_string(&self.output).unwrap();
        let mut calls = BTreeMap::new();
        for line in text.lines() {
            let Some((name, rest)) = line.split_once('(') else { continue };
            let waited = if rest.contains("EAGAIN") { " in vain" } else { "" };
            *calls.entry(format!("{name}{waited}")).or_insert(0) += 1;
        }
        calls
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn thread_id(gateway: &Gateway, name: &str) -> String {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", gateway.pid().as_raw_nonzero()));
    let mut tasks = tasks.unwrap().map(|task| task.unwrap().path());
    let is = |task: &std::path::PathBuf| {
        std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name)
    };
    let task = tasks.find(is).expect("a thread of this name");
    task.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_small_request_is_two_sends_and_two_receives() {
    let (issuer, upstream) = (
        Issuer::new("ES256"),
        Upstream::answering(|exchange| exchange.answer("200 OK", "", [b'x'; 1024])),
    );
    let gateway = Setup::simple(&issuer, &upstream).server("threads = 1").start();
    let bearer = format!("Bearer {}", issuer.mint("alice"));
    let get = |connection: &mut Connection| {
        assert_eq!(connection.get("/", &[("Authorization", &bearer)]).status, 200);
    };
    let mut connection = gateway.connect();
    for _ in 0..50 {
        get(&mut connection);
    }
    let Some(trace) = Trace::of(&gateway, "data-0") else { return };
    let began = std::time::Instant::now();
    for _ in 0..REQUESTS {
        get(&mut connection);
    }
    let took = began.elapsed();
    let calls = trace.end();
    println!("{REQUESTS} requests: {calls:?}");
    let of = |names: &[&str]| names.iter().filter_map(|name| calls.get(*name)).sum::<usize>();
    // What is written otherwise wakes a thread that sleeps.
    let sends = of(&["sendto", "sendmsg", "writev"]);
    let receives = of(&["recvfrom", "recvmsg", "readv"]);
    assert_eq!((sends, receives), (2 * REQUESTS, 2 * REQUESTS), "{calls:?}");
    // The sweep of each second, and the log's thread that is woken for the lines that came: how often
    // depends on how long all of it took.
    let few = REQUESTS / 10 + usize::try_from(took.as_millis() / 10).unwrap();
    let rest: usize = calls.iter().filter(|(name, _)| *name != "epoll_wait").map(|(_, n)| n).sum();
    assert!(rest <= 4 * REQUESTS + 2 * few, "{calls:?}");
    assert!(of(&["epoll_wait"]) <= 2 * REQUESTS + few, "{calls:?}");
}
