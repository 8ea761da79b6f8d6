//! Looks four times a second at how much memory the process has. Above `limits.memory_max` new
//! requests and clients are turned away, and idle ones close, until it is below again: an answer of
//! 503 is better than the system ending the process with everything in it.
//!
//! It also gives back what was freed. The allocator hands pages that have been free for a second to the
//! system only when somebody frees a page, and a process that thousands of connections have left, or
//! whose connections rest, is one in which nobody does.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::proxy::Memory;

const EVERY: Duration = Duration::from_millis(250);

/// What is allocated and freed again so that the allocator looks for pages to give back: large enough
/// to be a page of its own.
const NUDGE_BYTES: usize = 1 << 20;

/// Also where the system would give them to everybody: of what idles, a huge page holds little.
pub fn without_huge_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay as the system has them");
    }
}

/// Watches for as long as somebody holds `memory`.
pub fn watch(memory: Weak<Memory>) -> std::io::Result<()> {
    let Ok(statm) = File::open("/proc/self/statm") else { return Ok(()) };
    let page = rustix::param::page_size() as u64;
    std::thread::Builder::new().name("memory".to_owned()).spawn(move || {
        while let Some(memory) = memory.upgrade() {
            if let Some(pages) = resident(&statm) {
                look(&memory, pages * page);
            }
            drop(memory);
            give_back();
            std::thread::sleep(EVERY);
        }
    })?;
    Ok(())
}

fn give_back() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(NUDGE_BYTES)));
}

fn look(memory: &Memory, resident: u64) {
    let max = memory.max_bytes.load(Ordering::Relaxed);
    let was = memory.is_short();
    // Below again only when some has come back, so that it does not flutter.
    let threshold = if was { max - max / 20 } else { max };
    let short = max > 0 && resident > threshold;
    if short != was {
        memory.set_short(short);
        match short {
            true => tracing::warn!(resident, max, "memory is short: requests are turned away"),
            false => tracing::warn!(resident, max, "memory is no longer short"),
        }
    }
}

/// proc(5): the second field.
fn resident(statm: &File) -> Option<u64> {
    let mut bytes = [0; 128];
    let length = statm.read_at(&mut bytes, 0).ok()?;
    let text = std::str::from_utf8(bytes.get(..length)?).ok()?;
    text.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_short_above_the_limit_and_until_a_twentieth_has_come_back() {
        let memory = Memory::new(1_000);
        for (resident, short) in [(999, false), (1_001, true), (980, true), (940, false)] {
            look(&memory, resident);
            assert_eq!(memory.is_short(), short, "{resident}");
        }
        memory.max_bytes.store(0, Ordering::Relaxed);
        look(&memory, u64::MAX);
        assert!(!memory.is_short());
    }
}
