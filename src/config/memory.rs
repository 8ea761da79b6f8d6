//! How much memory there is for this process: what its control group allows, else the machine's.

use std::fs::read_to_string;

/// In bytes; `None`: nobody says.
pub fn available() -> Option<u64> {
    let machine = read_to_string("/proc/meminfo").ok().and_then(|text| machine(&text));
    let group = read_to_string("/proc/self/cgroup").ok().and_then(|text| group(&text));
    machine.into_iter().chain(group).min()
}

fn machine(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The least that any group above allows, in version 2 (`0::/path`) or 1 (`N:memory:/path`).
fn group(cgroup: &str) -> Option<u64> {
    let (root, file, path) = cgroup.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (kind, path) = (fields.next()?, fields.next()?);
        match kind {
            "" => Some(("/sys/fs/cgroup", "memory.max", path)),
            kind if kind.split(',').any(|one| one == "memory") => {
                Some(("/sys/fs/cgroup/memory", "memory.limit_in_bytes", path))
            }
            _ => None,
        }
    })?;
    let mut least: Option<u64> = None;
    let mut path = Some(std::path::Path::new(path));
    while let Some(here) = path {
        let inside = here.strip_prefix("/").unwrap_or(here);
        let text = read_to_string(std::path::Path::new(root).join(inside).join(file));
        // "max" is no number: no limit here.
        let found = text.ok().and_then(|text| text.trim().parse().ok());
        least = least.into_iter().chain(found).min();
        path = here.parent();
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_says_how_much_it_has() {
        assert_eq!(machine("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        assert_eq!(machine("MemFree: 1 kB\n"), None);
        assert!(available().is_some_and(|bytes| bytes > 1 << 20));
    }
}
