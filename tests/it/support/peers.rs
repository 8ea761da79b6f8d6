//! Programs that nobody here wrote: Debian's, and the Python and npm packages of `tests/clients`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use super::Lines;

/// A program by name from the usual places; tests/run installs those that the tests use.
pub fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = places.map(|place| place.join(name)).find(|path| path.is_file());
    if found.is_none() {
        // Past the capture of the test harness: a test that did not run must not look as if it had.
        let _ = writeln!(
            std::io::stderr().lock(),
            "NOT TESTED: {name} is not installed; tests/run installs it"
        );
    }
    found
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
fn packages() -> &'static Path {
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
