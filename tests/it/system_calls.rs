//! What a small request costs the kernel: two receives and two sends, one of each on either side, and
//! nothing else; on HTTP/2, less than that on the client's side. Counted by strace on the one thread that
//! serves it.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::frames::*;
use crate::support::peers::{installed, not_tested};
use crate::support::{Connection, Frames, Gateway, Issuer, Lines, Setup, Upstream};

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

/// What is written otherwise wakes a thread that sleeps.
const SENDS: &[&str] = &["sendto", "sendmsg", "writev"];

fn of(calls: &BTreeMap<String, usize>, names: &[&str]) -> usize {
    names.iter().filter_map(|name| calls.get(*name)).sum()
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
    let (sends, receives) = (of(&calls, SENDS), of(&calls, &["recvfrom", "recvmsg", "readv"]));
    assert_eq!((sends, receives), (2 * REQUESTS, 2 * REQUESTS), "{calls:?}");
    // The sweep of each second, and the log's thread that is woken for the lines that came: how often
    // depends on how long all of it took.
    let few = REQUESTS / 10 + usize::try_from(took.as_millis() / 10).unwrap();
    let rest: usize = calls.iter().filter(|(name, _)| *name != "epoll_wait").map(|(_, n)| n).sum();
    assert!(rest <= 4 * REQUESTS + 2 * few, "{calls:?}");
    assert!(of(&calls, &["epoll_wait"]) <= 2 * REQUESTS + few, "{calls:?}");
}

#[test]
fn answers_of_one_connection_that_are_ready_together_leave_in_one_send() {
    const TOGETHER: usize = 10;
    let body = "x".repeat(300);
    let answer = format!(
        "[[route]]\npath = \"/static\"\naccess = \"public\"\nanswer = {{ body = \"{body}\" }}\n"
    );
    let upstream = Upstream::answering(|exchange| exchange.answer("200 OK", "", ""));
    let gateway = Setup::simple(&Issuer::new("HS256"), &upstream)
        .server("threads = 1")
        .tables(&answer)
        .start();
    let mut connection = Frames::open(&gateway);
    let mut streams = (1_u32..).step_by(2);
    let mut ask = || {
        let asked: Vec<u32> = streams.by_ref().take(TOGETHER).collect();
        let get = |&stream: &u32| {
            frame(HEADERS, END_STREAM | END_HEADERS, stream, &head("GET", "/static", &[]))
        };
        connection.try_send(&asked.iter().flat_map(get).collect::<Vec<u8>>()).unwrap();
        for _ in 0..TOGETHER {
            while !connection.next().unwrap().ends_stream() {}
        }
    };
    ask();
    let Some(trace) = Trace::of(&gateway, "data-0") else { return };
    let rounds = REQUESTS / TOGETHER;
    (0..rounds).for_each(|_| ask());
    let calls = trace.end();
    println!("{rounds} times {TOGETHER} requests: {calls:?}");
    // Acknowledgements and the like may leave by themselves.
    assert!(of(&calls, SENDS) <= 2 * rounds, "{calls:?}");
}
