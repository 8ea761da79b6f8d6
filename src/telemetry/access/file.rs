//! The access log in a file of its own, which may be renamed or removed under us: as log rotation
//! does, without a signal.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often it is looked whether the name still leads to the open file.
const LOOK: Duration = Duration::from_secs(1);

/// See the module. Lines are appended; a new file can be read by its owner and group.
pub struct LogFile {
    path: PathBuf,
    file: Option<File>,
    looked: Instant,
}

impl LogFile {
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = append(path)?;
        Ok(Self { path: path.to_owned(), file: Some(file), looked: Instant::now() })
    }

    /// The file that the name leads to, opened anew where it is another.
    fn current(&mut self) -> io::Result<&mut File> {
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            let identity = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
            let named = std::fs::metadata(&self.path).map(identity).ok();
            let open = self.file.as_ref().and_then(|file| file.metadata().ok()).map(identity);
            if named.is_none() || named != open {
                self.file = None;
            }
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => append(&self.path)?,
        };
        Ok(self.file.insert(file))
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.current()?.write(bytes)
    }

    /// Nothing is kept back.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_renamed_gets_no_more_lines_and_a_new_one_does() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
        let mut log = LogFile::open(&path).unwrap();
        log.write_all(b"one\n").unwrap();
        std::fs::rename(&path, &old).unwrap();
        // Within the second it is the old file still; nothing is lost.
        log.write_all(b"two\n").unwrap();
        log.looked -= LOOK;
        log.write_all(b"three\n").unwrap();
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
    }
}
