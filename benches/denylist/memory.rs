//! What this process has in memory, and what the machine has left; by Linux's `/proc`, 0 elsewhere.

fn field(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

/// Resident bytes.
pub fn resident() -> u64 {
    field("/proc/self/status", "VmRSS:")
}

/// The most that was ever resident.
pub fn peak() -> u64 {
    field("/proc/self/status", "VmHWM:")
}

/// What could be had without swapping.
pub fn available() -> u64 {
    field("/proc/meminfo", "MemAvailable:")
}
