//! What a process wrote, line by line, while it is still writing.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use super::PATIENCE;

/// Lines of one output stream, collected by a thread of its own. Cheap to clone.
#[derive(Clone, Default)]
pub struct Lines {
    shared: Arc<(Mutex<Written>, Condvar)>,
}

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    /// Collects until the stream ends.
    pub fn collect(stream: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let shared = Arc::clone(&lines.shared);
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                shared.0.lock().unwrap().lines.push(text);
                shared.1.notify_all();
                line.clear();
            }
            shared.0.lock().unwrap().ended = true;
            shared.1.notify_all();
        });
        lines
    }

    /// All so far.
    pub fn all(&self) -> Vec<String> {
        self.shared.0.lock().unwrap().lines.clone()
    }

    /// All that will ever be; waits for the end of the stream.
    #[track_caller]
    pub fn until_end(&self) -> Vec<String> {
        self.find(|_| None::<()>);
        self.all()
    }

    /// The first line for which `wanted` has a value; `None` once the stream ended without one.
    #[track_caller]
    pub fn find<T>(&self, mut wanted: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + PATIENCE;
        let mut looked_at = 0;
        let mut written = self.shared.0.lock().unwrap();
        loop {
            while let Some(line) = written.lines.get(looked_at) {
                looked_at += 1;
                if let Some(value) = wanted(line) {
                    return Some(value);
                }
            }
            if written.ended {
                return None;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "no such line after {PATIENCE:?} in:\n{}",
                written.lines.join("\n")
            );
            written = self.shared.1.wait_timeout(written, left).unwrap().0;
        }
    }
}
