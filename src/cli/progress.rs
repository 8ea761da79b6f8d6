//! A line on stderr that is drawn over, where a person looks at it: how much of a file is done, how
//! fast, and how long the rest takes.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::console::{Console, write_stderr};
use super::words;

/// How often the line is drawn.
const DRAWN_EVERY: Duration = Duration::from_millis(200);
const CLEARED: &str = "\r\x1b[K";

/// What has been done so far. Counted by whoever does it.
#[derive(Default, Debug)]
pub struct Done {
    pub lines: AtomicU64,
    pub failed: AtomicU64,
    /// Of the file that is sent.
    pub bytes: AtomicU64,
}

/// See the module. The line is gone when this is.
pub struct Progress {
    pub done: Arc<Done>,
    drawing: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// `total`: bytes of the file, where that is known.
    pub fn start(total: Option<u64>, console: &Console) -> Self {
        let done = Arc::new(Done::default());
        let seen = !console.quiet && std::io::stderr().is_terminal();
        Self { drawing: seen.then(|| draw(Arc::clone(&done), total)), done }
    }

    pub fn line(&self, failed: bool) {
        self.done.lines.fetch_add(1, Ordering::Relaxed);
        self.done.failed.fetch_add(u64::from(failed), Ordering::Relaxed);
    }

    /// Makes room for a line of something else.
    pub fn clear(&self) {
        if self.drawing.is_some() {
            write_stderr(CLEARED);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.drawing.take() {
            drop(stop);
            // It draws and does nothing else.
            let _ = thread.join();
            write_stderr(CLEARED);
        }
    }
}

fn draw(done: Arc<Done>, total: Option<u64>) -> (mpsc::Sender<()>, JoinHandle<()>) {
    let (stop, stopped) = mpsc::channel();
    let began = Instant::now();
    let thread = std::thread::spawn(move || {
        while stopped.recv_timeout(DRAWN_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
            write_stderr(&format!("{CLEARED}{}", text(&done, total, began.elapsed())));
        }
    });
    (stop, thread)
}

/// `45 %  90,000 lines, 12,345/s, 8 s left, 3 failed`.
fn text(done: &Done, total: Option<u64>, elapsed: Duration) -> String {
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let (lines, failed, bytes) = (of(&done.lines), of(&done.failed), of(&done.bytes));
    let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let mut text = String::new();
    let total = total.filter(|total| *total > 0);
    if let Some(total) = total {
        let percent = bytes.min(total).saturating_mul(100) / total;
        text.push_str(&format!("{percent} %  "));
    }
    let rate = lines.saturating_mul(1000) / ms;
    text.push_str(&format!("{} lines, {}/s", words::count(lines), words::count(rate)));
    if let Some(total) = total.filter(|total| bytes > 0 && bytes < *total) {
        let left = ms.saturating_mul(total - bytes) / bytes;
        text.push_str(&format!(", {} left", words::span(Duration::from_millis(left))));
    }
    if failed > 0 {
        text.push_str(&format!(", {} failed", words::count(failed)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_much_how_fast_and_how_long() {
        let done = Done::default();
        done.lines.store(90_000, Ordering::Relaxed);
        done.bytes.store(45, Ordering::Relaxed);
        let at = |seconds: u64, total| text(&done, total, Duration::from_secs(seconds));
        assert_eq!(at(9, Some(100)), "45 %  90,000 lines, 10,000/s, 11 s left");
        assert_eq!(at(9, None), "90,000 lines, 10,000/s");
        done.failed.store(3, Ordering::Relaxed);
        assert_eq!(at(9, Some(45)), "100 %  90,000 lines, 10,000/s, 3 failed");
        assert_eq!(at(0, Some(0)), "90,000 lines, 90,000,000/s, 3 failed");
    }
}
