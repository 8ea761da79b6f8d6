//! Whether the files of the configuration have changed: by their stamps, which see an edit, a file
//! moved into place, and the swapped link of a mounted volume alike.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long files must stay the same before they are read, and how often that is waited for.
const SETTLE: Duration = Duration::from_millis(100);
const SETTLES_MAX: usize = 20;

/// Where, which, when and how long; `None`: it is not there.
type Stamp = Option<(u64, u64, i64, i64, i64, i64, u64)>;

/// See the module.
pub struct Watch {
    files: Vec<(PathBuf, Stamp)>,
}

impl Watch {
    /// As they are now: to be made before the files are read, so that no change goes unseen.
    pub fn of(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let stamped = |path: PathBuf| {
            let stamp = stamp(&path);
            (path, stamp)
        };
        Self { files: files.into_iter().map(stamped).collect() }
    }

    pub fn paths(&self) -> impl Iterator<Item = PathBuf> {
        self.files.iter().map(|(path, _)| path.clone())
    }

    /// Adds files that were not known to be named before they were read.
    pub fn watch_also(&mut self, files: &[PathBuf]) {
        for path in files {
            if !self.files.iter().any(|(known, _)| known == path) {
                self.files.push((path.clone(), stamp(path)));
            }
        }
    }

    /// What is no longer named is no longer looked at.
    pub fn forget_all_but(&mut self, files: &[PathBuf]) {
        self.files.retain(|(path, _)| files.contains(path));
    }

    pub fn has_changed(&self) -> bool {
        self.files.iter().any(|(path, then)| stamp(path) != *then)
    }

    /// Waits until whoever writes has finished, as far as that can be seen.
    pub fn settle(&self) {
        let now = || Self::of(self.paths());
        let mut seen = now();
        for _ in 0..SETTLES_MAX {
            std::thread::sleep(SETTLE);
            if !seen.has_changed() {
                return;
            }
            seen = now();
        }
    }
}

fn stamp(path: &Path) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    let (written, changed) = ((meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()));
    Some((meta.dev(), meta.ino(), written.0, written.1, changed.0, changed.1, meta.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_a_swapped_link_and_a_file_that_appears_are_changes_and_reading_is_none() {
        let place = tempfile::tempdir().unwrap();
        let (file, link) = (place.path().join("a"), place.path().join("link"));
        let missing = place.path().join("missing");
        std::fs::write(&file, "one").unwrap();
        std::fs::write(place.path().join("b"), "one").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let all = [file.clone(), link.clone(), missing.clone()];
        let watch = || Watch::of(all.clone());
        let before = watch();
        std::fs::read(&file).unwrap();
        assert!(!before.has_changed());
        std::fs::write(&missing, "").unwrap();
        assert!(before.has_changed());
        let before = watch();
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(place.path().join("b"), &link).unwrap();
        assert!(before.has_changed());
        let before = watch();
        std::fs::write(&file, "longer").unwrap();
        assert!(before.has_changed());
        before.settle();
    }
}
