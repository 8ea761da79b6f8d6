//! Where events go: into a queue, and from there to stderr by a thread of its own. Whoever has something
//! to tell never waits for who reads it: a pipe that nobody empties, or a terminal that was stopped, stops
//! no request. When the thread is behind, lines are lost, and how many is said by the next one.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait.
const BACKLOG: usize = 1024;
/// How long what was said may take to be written, where somebody waits for it.
const SETTLING: Duration = Duration::from_secs(2);

/// Takes lines. Cheap to clone.
#[derive(Clone)]
pub struct EventWriter {
    queue: SyncSender<Queued>,
    lost: Arc<AtomicU64>,
}

enum Queued {
    Line(Vec<u8>),
    /// Whoever waits is told that everything before it was written.
    Settled(SyncSender<()>),
}

impl EventWriter {
    /// Starts the thread. `tell_lost` says how many lines were lost, as an event like any other.
    pub fn spawn(
        mut sink: impl Write + Send + 'static,
        tell_lost: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, inbox) = sync_channel(BACKLOG);
        let lost: Arc<AtomicU64> = Arc::default();
        let counted = Arc::clone(&lost);
        std::thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || write(&inbox, &mut sink, &counted, &tell_lost))?;
        Ok(Self { queue, lost })
    }

    /// Waits until what was said so far is written, but not for long.
    pub fn settle(&self) {
        let deadline = Instant::now() + SETTLING;
        let (tell, told) = sync_channel(1);
        let mut queued = Queued::Settled(tell);
        while let Err(TrySendError::Full(back)) = self.queue.try_send(queued) {
            if Instant::now() >= deadline {
                return;
            }
            queued = back;
            std::thread::sleep(Duration::from_millis(5));
        }
        told.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok();
    }
}

fn write(
    inbox: &Receiver<Queued>,
    sink: &mut impl Write,
    lost: &AtomicU64,
    tell_lost: &impl Fn(u64),
) {
    while let Ok(queued) = inbox.recv() {
        match queued {
            // Stderr is the last place to complain; where it is gone there is no other.
            Queued::Line(line) => sink.write_all(&line).unwrap_or_default(),
            Queued::Settled(waiting) => waiting.try_send(()).unwrap_or_default(),
        }
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tell_lost(lost);
        }
    }
}

/// One event's line, which comes in one piece.
pub struct Line<'w>(&'w EventWriter);

impl<'w> MakeWriter<'w> for EventWriter {
    type Writer = Line<'w>;

    fn make_writer(&'w self) -> Line<'w> {
        Line(self)
    }
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.queue.try_send(Queued::Line(line.to_vec())).is_err() {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Takes a line when it is let.
    struct Reader {
        may: Receiver<()>,
        read: Sender<String>,
    }

    impl Write for Reader {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.may.recv().ok();
            self.read.send(String::from_utf8_lossy(line).into_owned()).ok();
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_tells_waits_for_no_reader_and_what_was_lost_is_counted() {
        let ((let_read, may), (read, lines)) = (channel(), channel());
        let (tell, lost) = channel();
        let tell = Mutex::new(tell);
        let tell_lost = move |count| tell.lock().unwrap().send(count).unwrap();
        let writer = EventWriter::spawn(Reader { may, read }, tell_lost).unwrap();
        let many = BACKLOG * 2;
        for number in 0..many {
            writer.make_writer().write_all(number.to_string().as_bytes()).unwrap();
        }
        drop(let_read);
        writer.settle();
        let written = lines.try_iter().count();
        // One may have been in the thread's hand already.
        assert!((BACKLOG..=BACKLOG + 1).contains(&written), "{written}");
        assert_eq!(lost.try_iter().sum::<u64>(), (many - written) as u64);
    }

    #[test]
    fn what_was_said_is_written_in_its_order_before_somebody_goes_on() {
        let ((let_read, may), (read, lines)) = (channel(), channel());
        drop(let_read);
        let writer = EventWriter::spawn(Reader { may, read }, |_| {}).unwrap();
        for line in ["a", "b", "c"] {
            writer.make_writer().write_all(line.as_bytes()).unwrap();
        }
        writer.settle();
        assert_eq!(lines.try_iter().collect::<String>(), "abc");
    }
}
