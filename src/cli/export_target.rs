//! Where an export goes. Into a file only as a whole: a cut-off export never stands where a whole one is
//! looked for. A pipe or a device that has the name is written to and stays what it is, and a link
//! goes on leading where it led.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::transfer::Place;

/// See the module.
pub struct Target {
    out: BufWriter<Box<dyn Write>>,
    /// What becomes of it at the end.
    whole: Option<Whole>,
}

/// A file that is written beside the one in whose place it is put.
struct Whole {
    file: File,
    part: PathBuf,
    path: PathBuf,
}

impl Target {
    pub fn open(to: &Place) -> io::Result<Self> {
        if to.is_standard() {
            return Ok(Self::stream(io::stdout()));
        }
        let path = led_to(&to.0);
        if fs::metadata(&path).is_ok_and(|about| !about.is_file() && !about.is_dir()) {
            return Ok(Self::stream(File::options().write(true).open(&path)?));
        }
        let mut part = path.clone().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = private(&part)?;
        let out = BufWriter::new(Box::new(file.try_clone()?) as Box<dyn Write>);
        Ok(Self { out, whole: Some(Whole { file, part, path }) })
    }

    fn stream(out: impl Write + 'static) -> Self {
        Self { out: BufWriter::new(Box::new(out)), whole: None }
    }

    /// All was written: it is on disk, under its name.
    pub fn keep(mut self) -> io::Result<()> {
        self.out.flush()?;
        let Some(whole) = &self.whole else { return Ok(()) };
        whole.file.sync_all()?;
        fs::rename(&whole.part, &whole.path)?;
        self.whole = None;
        Ok(())
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(whole) = &self.whole {
            // What is left of it helps nobody; the failure is what there is to tell.
            fs::remove_file(&whole.part).ok();
        }
    }
}

/// Where a link leads, also to what is not there yet.
fn led_to(path: &Path) -> PathBuf {
    let new = || Some(path.parent()?.join(fs::read_link(path).ok()?));
    fs::canonicalize(path).ok().or_else(new).unwrap_or_else(|| path.to_owned())
}

/// Who is denied is nobody else's business: nothing that somebody has put there is written to, neither
/// his file nor where his link leads.
fn private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // What an export that was killed has left. Where it cannot be removed, that is said next.
    fs::remove_file(path).ok();
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};

    use super::*;

    fn write(path: &Path, text: &str) -> io::Result<()> {
        let mut target = Target::open(&Place(path.to_owned()))?;
        target.write_all(text.as_bytes())?;
        target.keep()
    }

    #[test]
    fn a_file_is_there_as_a_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("export");
        write(&path, "one").unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode), ("one", 0o600));
        let mut cut_off = Target::open(&Place(path.clone())).unwrap();
        cut_off.write_all(b"tw").unwrap();
        drop(cut_off);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_lies_where_the_file_is_begun_is_not_written_to() {
        let directory = tempfile::tempdir().unwrap();
        let (path, part) = (directory.path().join("export"), directory.path().join("export.part"));
        let others = directory.path().join("others");
        fs::write(&others, "his").unwrap();
        symlink(&others, &part).unwrap();
        write(&path, "one").unwrap();
        assert_eq!(fs::read_to_string(&others).unwrap(), "his");
        fs::write(&part, "left over").unwrap();
        fs::set_permissions(&part, fs::Permissions::from_mode(0o666)).unwrap();
        write(&path, "two").unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode), ("two", 0o600));
    }

    #[test]
    fn a_pipe_stays_a_pipe_and_a_link_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        let (here, mode) = (rustix::fs::CWD, rustix::fs::Mode::from_raw_mode(0o600));
        rustix::fs::mknodat(here, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let reader = {
            let pipe = pipe.clone();
            std::thread::spawn(move || fs::read_to_string(pipe).unwrap())
        };
        write(&pipe, "through").unwrap();
        assert_eq!(reader.join().unwrap(), "through");
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
        let (link, led_to) = (directory.path().join("link"), directory.path().join("there"));
        symlink(&led_to, &link).unwrap();
        for text in ["new", "newer"] {
            write(&link, text).unwrap();
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            assert_eq!(fs::read_to_string(&led_to).unwrap(), text);
        }
    }
}
