//! Programs that nobody here wrote: Debian's, and the Python and npm packages of `tests/clients`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::{Lines, PATIENCE, eventually};

/// A program by name from the usual places; tests/run installs those that the tests use.
pub fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = places.map(|place| place.join(name)).find(|path| path.is_file());
    found.or_else(|| not_tested(&format!("{name} is not installed; tests/run installs it")))
}

/// Says so past the capture of the test harness: a test that did not run must not look as if it had.
pub fn not_tested<T>(why: &str) -> Option<T> {
    let _ = writeln!(std::io::stderr().lock(), "NOT TESTED: {why}");
    None
}

/// Python with the packages of `tests/clients/requirements.txt`.
pub fn python() -> PathBuf {
    packages().join("bin/python3")
}

/// A command of Node.js that finds the packages of `tests/clients/package.json`, from ES modules
/// too: they resolve `require` made by `createRequire(process.env.PEERS)`.
pub fn node(script_name: &str) -> Command {
    let mut command = Command::new(installed("node").expect("Node.js"));
    command.arg(script(script_name));
    command.env("NODE_PATH", packages().join("node_modules"));
    command.env("PEERS", packages().join("package.json"));
    command
}

/// A script of this directory's neighbour `clients/`.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// Installs the packages once where they are missing; `tests/clients/install` locks.
pub fn packages() -> &'static Path {
    static PACKAGES: OnceLock<PathBuf> = OnceLock::new();
    PACKAGES.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory");
        let done = Command::new(script("install"))
            .env("CARGO_TARGET_DIR", target)
            .stdin(Stdio::null())
            .output()
            .expect("tests/clients/install starts");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        target.join("test-clients")
    })
}

/// A running peer that is killed when the test ends.
pub struct Peer(Child);

impl Peer {
    /// Starts it and takes its first line of output, by which it says its port.
    pub fn start(command: &mut Command) -> (Self, String) {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = Lines::collect(child.stdout.take().unwrap());
        let peer = Self(child);
        let first = lines.find(|line| Some(line.to_owned())).expect("a first line");
        (peer, first)
    }

    pub fn of(child: Child) -> Self {
        Self(child)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program that says `open`, goes on when it is told to, and ends.
pub struct Client {
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

impl Client {
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        let stdout = Lines::collect(child.stdout.take().unwrap());
        let stderr = Lines::collect(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    #[track_caller]
    pub fn is_open(&self) {
        let open = self.stdout.find(|line| (line == "open").then_some(()));
        assert!(open.is_some(), "it ended early: {:#?}", self.stderr.until_end());
    }

    #[track_caller]
    pub fn go_on(&mut self) {
        self.child.stdin.take().unwrap().write_all(b"\n").unwrap();
    }

    /// Its exit code.
    #[track_caller]
    pub fn ends(&mut self) -> Option<i32> {
        eventually("the client ends", || self.child.try_wait().unwrap()).code()
    }

    /// Its exit code, where it has more to do: within so many times the usual patience.
    #[track_caller]
    pub fn ends_within(&mut self, patiences: u32) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE * patiences;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it still runs: {:#?}", self.stderr.all());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// All lines of its output, when it has ended.
    pub fn said(&self) -> Vec<String> {
        self.stdout.until_end()
    }

    /// All that it had to complain of, when it has ended.
    pub fn errors(&self) -> String {
        self.stderr.until_end().join("\n")
    }

    #[track_caller]
    pub fn ends_well(mut self) {
        let code = self.ends();
        assert_eq!(code, Some(0), "{:#?}", self.stderr.until_end());
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
