//! A file below a layer in memory: reads see the layer first, writes end in it. The file's lock is
//! the gateway's own, so that the two never have it at once.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;

use parking_lot::Mutex;
use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

const PAGE: usize = 4096;

#[derive(Debug)]
pub(super) struct Overlay {
    file: FileBackend,
    layer: Mutex<Layer>,
}

#[derive(Debug)]
struct Layer {
    length: u64,
    /// So many bytes of the file still count; what is beyond reads as zeros.
    below: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    pub(super) fn over(file: FileBackend) -> io::Result<Self> {
        let length = file.len()?;
        let layer = Layer { length, below: length, pages: BTreeMap::new() };
        Ok(Self { file, layer: Mutex::new(layer) })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.layer.lock().length == 0
    }

    /// A page as it is seen now.
    fn page(&self, layer: &Layer, number: u64) -> io::Result<Vec<u8>> {
        if let Some(page) = layer.pages.get(&number) {
            return Ok(page.clone());
        }
        let start = number.saturating_mul(PAGE as u64);
        let held = usize::try_from(layer.below.saturating_sub(start)).unwrap_or(PAGE).min(PAGE);
        let mut page = vec![0; PAGE];
        if let Some(part) = page.get_mut(..held).filter(|part| !part.is_empty()) {
            self.file.read(start, part)?;
        }
        Ok(page)
    }
}

/// The pieces of a range by page: page, where in it, where in the range.
fn pieces(
    offset: u64,
    length: usize,
) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let at = offset + done as u64;
        let within = usize::try_from(at % PAGE as u64).unwrap_or(0);
        let end = length.min(done + PAGE - within);
        let piece = (at / PAGE as u64, within, done..end);
        done = end;
        Some(piece)
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.layer.lock().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let layer = self.layer.lock();
        if offset.saturating_add(out.len() as u64) > layer.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (number, within, part) in pieces(offset, out.len()) {
            let page = self.page(&layer, number)?;
            let from = page.get(within..within + part.len()).unwrap_or_default();
            if let Some(to) = out.get_mut(part) {
                to.copy_from_slice(from);
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut layer = self.layer.lock();
        layer.length = length;
        layer.below = layer.below.min(length);
        let kept = layer.pages.split_off(&length.div_ceil(PAGE as u64));
        drop(kept);
        let within = usize::try_from(length % PAGE as u64).unwrap_or(0);
        if let Some(last) = layer.pages.get_mut(&(length / PAGE as u64))
            && let Some(beyond) = last.get_mut(within..)
        {
            beyond.fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut layer = self.layer.lock();
        layer.length = layer.length.max(offset.saturating_add(data.len() as u64));
        for (number, within, part) in pieces(offset, data.len()) {
            let mut page = self.page(&layer, number)?;
            let from = data.get(part).unwrap_or_default();
            if let Some(to) = page.get_mut(within..within + from.len()) {
                to.copy_from_slice(from);
            }
            layer.pages.insert(number, page);
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}
