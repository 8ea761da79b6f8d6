//! Makes the file of a stopped gateway as small as what is in it: a copy of all that is alive, which
//! then takes the file's place. It needs room for both until then; memory does not grow with it.

use std::path::Path;

use crate::clock::UnixMs;

use super::{OfflineError, repair};

/// What was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Compacted {
    pub records: u64,
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// Compacts the store in a directory. A file that is not whole is for a repair, which keeps it.
pub fn compact(directory: &Path, now: UnixMs) -> Result<Compacted, OfflineError> {
    let path = super::file_of(directory);
    if let Some(why) = super::check::check_file(&path)?.faults.into_iter().next() {
        return Err(OfflineError::Damaged { path, why });
    }
    let done = repair::rebuilt(directory, true, now)?;
    // The copy was checked and has the name, on disk: nothing is in the old one alone.
    std::fs::remove_file(&done.kept)
        .map_err(|why| OfflineError::failed("remove", &done.kept, &why))?;
    let (bytes_before, bytes_after) = (done.bytes_before, done.bytes_after);
    Ok(Compacted { records: done.records, bytes_before, bytes_after })
}
