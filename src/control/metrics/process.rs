//! The standard figures of a process, from procfs; nothing where there is none.

use super::family::{Page, number};

pub fn write(page: &mut Page<'_>) -> std::fmt::Result {
    let Some(process) = Process::read() else { return Ok(()) };
    page.gauge("process_resident_memory_bytes", "Resident memory", process.resident_bytes)?;
    page.gauge("process_virtual_memory_bytes", "Virtual memory", process.virtual_bytes)?;
    page.gauge("process_start_time_seconds", "Start, in Unix time", process.started_at)?;
    page.gauge("process_open_fds", "Open file descriptors", process.open_files)?;
    page.gauge("process_max_fds", "File descriptors that may be open", process.files_max)?;
    page.gauge("process_threads", "Threads", process.threads)?;
    page.float_counter("process_cpu_seconds", "CPU time, user and system", process.cpu_seconds)
}

struct Process {
    resident_bytes: f64,
    virtual_bytes: f64,
    cpu_seconds: f64,
    started_at: f64,
    open_files: f64,
    files_max: f64,
    threads: f64,
}

impl Process {
    /// proc(5): the fields of `stat` behind the name, which ends with the last `)`.
    fn read() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let (_, behind) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = behind.split_whitespace().collect();
        // `behind` begins with field 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let ticks = number(rustix::param::clock_ticks_per_second());
        let page = number(rustix::param::page_size() as u64);
        let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
        let up: f64 = uptime.split_whitespace().next()?.parse().ok()?;
        let now = crate::clock::UnixMs::now();
        let now = number(u64::try_from(now.0).ok()?) / 1e3;
        Some(Self {
            resident_bytes: number(field(24)?) * page,
            virtual_bytes: number(field(23)?),
            cpu_seconds: number(field(14)? + field(15)?) / ticks,
            started_at: now - up + number(field(22)?) / ticks,
            open_files: number(std::fs::read_dir("/proc/self/fd").ok()?.count() as u64),
            files_max: limit(),
            threads: number(field(20)?),
        })
    }
}

fn limit() -> f64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.map_or(f64::INFINITY, number)
}
