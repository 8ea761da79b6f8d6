//! Reads the files that a configuration names. An error says what the system said, for which uid,
//! and whose file it is with which mode: with containers and mounts that is the question.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Keys, key sets and secrets are small; a larger file is a mistake.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The whole file, and whether others than its owner can read it.
pub struct Content {
    pub bytes: Vec<u8>,
    pub mode: u32,
}

/// One line for people: the path, then why.
pub fn read(path: &Path) -> Result<Content, String> {
    read_up_to(path, FILE_BYTES_MAX)
}

/// As [`read`], for a file of another size.
pub fn read_up_to(path: &Path, bytes_max: u64) -> Result<Content, String> {
    let shown = absolute(path);
    read_inner(path, bytes_max).map_err(|why| format!("{shown}: {why}"))
}

/// As [`read`], for a path that may be a secret written into the wrong key: the file is named by
/// its directory only.
pub fn read_unnamed(path: &Path) -> Result<Content, String> {
    let parent = path.parent().unwrap_or(Path::new(""));
    read_inner(path, FILE_BYTES_MAX).map_err(|why| {
        match parent
            .ancestors()
            .find(|directory| directory.is_dir() || directory.as_os_str().is_empty())
        {
            Some(directory) => format!("looked for it below {}: {why}", absolute(directory)),
            None => why,
        }
    })
}

fn read_inner(path: &Path, bytes_max: u64) -> Result<Content, String> {
    let explain = |error: &std::io::Error| why(error, path);
    let file = std::fs::File::open(path).map_err(|error| explain(&error))?;
    let metadata = file.metadata().map_err(|error| explain(&error))?;
    if metadata.is_dir() {
        return Err("it is a directory".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|error| explain(&error))?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("it is larger than {}", super::value::show_size(bytes_max)));
    }
    Ok(Content { bytes, mode: metadata.mode() & 0o7777 })
}

fn why(error: &std::io::Error, path: &Path) -> String {
    if error.kind() == std::io::ErrorKind::NotFound {
        return "no such file".to_owned();
    }
    if error.kind() != std::io::ErrorKind::PermissionDenied {
        return error.to_string();
    }
    let uid = rustix::process::geteuid().as_raw();
    match std::fs::metadata(path) {
        Ok(metadata) => denied(
            uid,
            metadata.mode() & 0o7777,
            &owner("/etc/passwd", metadata.uid()),
            &owner("/etc/group", metadata.gid()),
        ),
        Err(_) => format!("permission denied for uid {uid} (a directory above is closed)"),
    }
}

fn denied(uid: u32, mode: u32, user: &str, group: &str) -> String {
    format!("permission denied for uid {uid} (file is {mode:04o} {user}:{group})")
}

/// The name for an id in `/etc/passwd` or `/etc/group`; the number where there is none.
fn owner(database: &str, id: u32) -> String {
    let number = id.to_string();
    let text = std::fs::read_to_string(database).unwrap_or_default();
    let mut names = text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then(|| name.to_owned())
    });
    names.next().unwrap_or(number)
}

fn absolute(path: &Path) -> String {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// The bytes of a secret file: one trailing newline is an editor's, not the secret's.
pub fn trim_newline(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_uid_and_mode() {
        assert_eq!(
            denied(65532, 0o600, "root", "root"),
            "permission denied for uid 65532 (file is 0600 root:root)"
        );
        assert_eq!(owner("/etc/passwd", 0), "root");
    }

    #[test]
    fn a_missing_file_is_named_and_a_missing_secret_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hunter2");
        assert!(read(&path).err().unwrap().ends_with("hunter2: no such file"));
        let unnamed = read_unnamed(&path).err().unwrap();
        assert!(unnamed.ends_with("no such file") && !unnamed.contains("hunter2"), "{unnamed}");
        std::fs::write(&path, "x\n").unwrap();
        assert_eq!(read(&path).ok().unwrap().bytes, b"x\n");
    }

    #[test]
    fn one_newline_is_not_part_of_a_secret() {
        assert_eq!(trim_newline(b"a\n\n".to_vec()), b"a\n");
        assert_eq!(trim_newline(b"a\r\n".to_vec()), b"a");
        assert_eq!(trim_newline(b" a ".to_vec()), b" a ");
    }
}
