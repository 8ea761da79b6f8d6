//! The real program: started with a config file, spoken to over sockets, stopped by signals.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::{Admin, Answer, Connection, Lines, PATIENCE, eventually};

/// A running gateway. Dropping it kills the process.
pub struct Gateway {
    child: Child,
    dir: Arc<TempDir>,
    config: PathBuf,
    environment: Vec<(String, String)>,
    /// `host:port` of the public listener.
    pub address: String,
    /// `host:port` of the admin listener.
    pub admin_address: String,
    metrics_address: Option<String>,
    /// Standard output: the access log.
    pub stdout: Lines,
    /// Standard error: events.
    pub stderr: Lines,
}

impl Gateway {
    /// Starts `portcullis run` and waits for its ready line.
    #[track_caller]
    pub fn start(dir: Arc<TempDir>, config: PathBuf, environment: Vec<(String, String)>) -> Self {
        Self::run(&["run"], dir, config, environment)
    }

    /// Starts a process that takes the place of this one, and waits until it serves.
    #[track_caller]
    pub fn replacement(&self) -> Self {
        let (dir, config) = (Arc::clone(&self.dir), self.config.clone());
        Self::run(&["run", "--replace"], dir, config, self.environment.clone())
    }

    #[track_caller]
    fn run(
        arguments: &[&str],
        dir: Arc<TempDir>,
        config: PathBuf,
        environment: Vec<(String, String)>,
    ) -> Self {
        // A variable that the program does not know stands for the shell's own limit.
        let files = environment.iter().find(|(name, _)| name == OPEN_FILES);
        let mut command = match files {
            None => program(),
            Some((_, limits)) => in_a_shell(limits),
        };
        let mut child = command
            .args(arguments)
            .arg("-c")
            .arg(&config)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = Lines::collect(child.stdout.take().unwrap());
        let stderr = Lines::collect(child.stderr.take().unwrap());
        let ready = stdout.find(|line| {
            let event: Value = serde_json::from_str(line).ok()?;
            (event["event"] == "ready").then_some(event)
        });
        let Some(ready) = ready else {
            let status = child.wait().unwrap();
            panic!(
                "the gateway did not start, {status}:\n{}\n{}",
                stderr.until_end().join("\n"),
                std::fs::read_to_string(&config).unwrap(),
            );
        };
        let address = first_tcp(&ready["listen"]).expect("a public TCP listener");
        let admin_address = first_tcp(&ready["admin"]).unwrap_or_default();
        let metrics_address = first_tcp(&ready["metrics"]);
        Self {
            child,
            dir,
            config,
            environment,
            address,
            admin_address,
            metrics_address,
            stdout,
            stderr,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where metrics are scraped.
    #[track_caller]
    pub fn metrics_address(&self) -> &str {
        self.metrics_address.as_deref().expect("[metrics] listens")
    }

    /// The value of one series of the metrics, written as Prometheus has it; 0 where it is not there.
    #[track_caller]
    pub fn metric(&self, series: &str) -> f64 {
        let text = Connection::open(self.metrics_address()).get("/metrics", &[]).text();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// The most memory that the process ever had resident, in kB.
    pub fn peak_kb(&self) -> u64 {
        self.memory_kb("VmHWM:")
    }

    /// The memory that the process has resident, in kB.
    pub fn resident_kb(&self) -> u64 {
        self.memory_kb("VmRSS:")
    }

    fn memory_kb(&self, what: &str) -> u64 {
        let status = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|line| line.starts_with(what)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn admin_url(&self) -> String {
        format!("http://{}", self.admin_address)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn config(&self) -> &Path {
        &self.config
    }

    /// A new connection to the public listener.
    #[track_caller]
    pub fn connect(&self) -> Connection {
        Connection::open(&self.address)
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub fn get(&self, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.connect().get(target, headers)
    }

    /// One request with a bearer token, on a connection of its own.
    #[track_caller]
    pub fn get_with(&self, target: &str, token: &str) -> Answer {
        self.get(target, &[("Authorization", &format!("Bearer {token}"))])
    }

    /// The status that a token gets at `/`.
    #[track_caller]
    pub fn status(&self, token: &str) -> u16 {
        self.get_with("/", token).status
    }

    /// The administrator with the credential that the gateway made at its first start.
    #[track_caller]
    pub fn admin(&self) -> Admin {
        let token = std::fs::read_to_string(self.dir().join("data/admin.token")).unwrap();
        Admin::new(&self.admin_address, token.trim())
    }

    /// Runs another command of the program in the config's directory, with this gateway's admin
    /// API, and waits for it.
    pub fn command(&self, arguments: &[&str], stdin: &str) -> std::process::Output {
        use std::io::Write as _;
        let mut child = program()
            .args(arguments)
            .arg("-c")
            .arg(&self.config)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("PORTCULLIS_ADMIN", self.admin_url())
            .current_dir(self.dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that does not read its input may be gone already.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// All JSON lines of standard output so far.
    pub fn events_on_stdout(&self) -> Vec<Value> {
        let lines = self.stdout.all();
        lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Access log lines so far.
    pub fn access_log(&self) -> Vec<Value> {
        self.stdout
            .all()
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|line| line.get("status").is_some())
            .collect()
    }

    /// The access log line with this request id; waits for it.
    #[track_caller]
    pub fn access_line(&self, request_id: &str) -> Value {
        self.stdout
            .find(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                (line["request_id"] == request_id && line.get("status").is_some()).then_some(line)
            })
            .expect("the access log goes on until the process ends")
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the process to end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        eventually("the gateway ends", || self.child.try_wait().unwrap())
    }

    /// SIGKILL: no chance to write anything.
    #[track_caller]
    pub fn kill9(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// Kills it and starts it again with the same config and store.
    #[track_caller]
    pub fn kill9_and_restart(mut self) -> Self {
        self.kill9();
        self.start_again()
    }

    /// Drains it and starts it again with the same config and store.
    #[track_caller]
    pub fn restart(mut self) -> Self {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert!(status.success(), "{status}: {}", self.stderr.until_end().join("\n"));
        self.start_again()
    }

    /// After the process has ended.
    #[track_caller]
    pub fn start_again(&self) -> Self {
        Self::start(Arc::clone(&self.dir), self.config.clone(), self.environment.clone())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the gateway's stderr\n{}", self.stderr.all().join("\n"));
            eprintln!("--- the gateway's stdout\n{}", self.stdout.all().join("\n"));
        }
    }
}

/// See [`Setup::open_files`](super::Setup::open_files).
pub const OPEN_FILES: &str = "TEST_OPEN_FILES";

/// The program under a shell's limits of open files: soft, hard.
fn in_a_shell(limits: &str) -> Command {
    let (soft, hard) = limits.split_once(' ').unwrap();
    let plain = program();
    let mut command = Command::new("/bin/sh");
    command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let script = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" \"$@\"");
    command.arg("-c").arg(script).arg(plain.get_program());
    command
}

/// The program under test with nothing in its environment that could change what it does.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// Runs a command that should end by itself; kills it when it does not.
#[track_caller]
pub fn run_to_end(command: &mut Command) -> Output {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdout = Lines::collect(child.stdout.take().unwrap());
    let stderr = Lines::collect(child.stderr.take().unwrap());
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{command:?} still runs: {:?} {:?}", stdout.all(), stderr.all());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let bytes = |lines: &Lines| lines.until_end().join("\n").into_bytes();
    Output { status, stdout: bytes(&stdout), stderr: bytes(&stderr) }
}

/// `host:port` of the first listener that is not a unix socket.
fn first_tcp(listeners: &Value) -> Option<String> {
    listeners
        .as_array()?
        .iter()
        .find_map(|listener| Some(listener.as_str()?.split_once("://")?.1.to_owned()))
}
