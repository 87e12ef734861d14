//! The process as the kernel sees it, from /proc, and the disk under the data folder.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::LazyLock;

use prometheus::{Counter, IntGauge};

use super::{int_gauge, register};

/// Ticks a second of the times in /proc/self/stat: fixed by Linux's ABI.
const CLOCK_TICKS_PER_SECOND: f64 = 100.0;

struct Process {
    resident: IntGauge,
    cpu: Counter,
    open_files: IntGauge,
    open_files_max: IntGauge,
    threads: IntGauge,
    disk_free: IntGauge,
    disk_size: IntGauge,
}

static PROCESS: LazyLock<Process> = LazyLock::new(|| Process {
    resident: int_gauge("tidings_process_resident_memory_bytes", "Resident memory."),
    cpu: register(
        Counter::new("tidings_process_cpu_seconds_total", "User and system CPU time spent.")
            .expect("a valid name"),
    ),
    open_files: int_gauge("tidings_process_open_fds", "Open file descriptors."),
    open_files_max: int_gauge("tidings_process_max_fds", "Limit of open file descriptors."),
    threads: int_gauge("tidings_process_threads", "Threads."),
    disk_free: int_gauge("tidings_disk_free_bytes", "Free bytes on the disk of the data folder."),
    disk_size: int_gauge("tidings_disk_size_bytes", "Size of the disk of the data folder."),
});

/// Reads everything anew. What cannot be read keeps its last value.
pub(super) fn refresh(data_dir: Option<&Path>) {
    let process = &*PROCESS;
    if let Some(bytes) = resident_bytes() {
        process.resident.set(saturating(bytes));
    }
    if let Ok(stat) = fs::read_to_string("/proc/self/stat")
        && let Some((seconds, threads)) = cpu_and_threads(&stat)
    {
        process.cpu.inc_by((seconds - process.cpu.get()).max(0.0));
        process.threads.set(threads);
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        process.open_files.set(saturating(entries.count() as u64));
    }
    if let Ok(limits) = fs::read_to_string("/proc/self/limits")
        && let Some(max) = open_files_max(&limits)
    {
        process.open_files_max.set(max);
    }
    if let Some(Ok(space)) = data_dir.map(disk_space) {
        process.disk_free.set(saturating(space.free_bytes));
        process.disk_size.set(saturating(space.size_bytes));
    }
}

fn saturating(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Resident memory of this process; `None` where there is no /proc.
pub fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The command's name, field 2, may contain spaces: fields are counted after its parenthesis.
fn cpu_and_threads(stat: &str) -> Option<(f64, i64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |i: usize| fields.get(i)?.parse::<f64>().ok();
    let seconds = (ticks(11)? + ticks(12)?) / CLOCK_TICKS_PER_SECOND;
    Some((seconds, fields.get(17)?.parse().ok()?))
}

fn open_files_max(limits: &str) -> Option<i64> {
    let line = limits.lines().find_map(|l| l.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Bytes of the file system that holds a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// What an ordinary user may still write.
    pub free_bytes: u64,
    pub size_bytes: u64,
    /// What is written or may still be: the size less what is kept back for others.
    pub usable_bytes: u64,
}

impl DiskSpace {
    /// The free part, 0 to 100.
    pub fn free_percent(self) -> f64 {
        if self.size_bytes == 0 { 100.0 } else { self.free_bytes as f64 * 100.0 / self.size_bytes as f64 }
    }
}

/// The space on the disk that holds `path`, which must exist.
pub fn disk_space(path: &Path) -> io::Result<DiskSpace> {
    let stat = rustix::fs::statvfs(path)?;
    let usable = stat.f_blocks.saturating_sub(stat.f_bfree).saturating_add(stat.f_bavail);
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok(DiskSpace {
        free_bytes: bytes(stat.f_bavail),
        size_bytes: bytes(stat.f_blocks),
        usable_bytes: bytes(usable),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_files_even_with_a_hostile_command_name() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 0 0 0 250 150 0 0 20 0 7 0 1 1 1";
        assert_eq!(cpu_and_threads(stat), Some((4.0, 7)));
        let limits =
            "Limit   Soft  Hard  Units\nMax open files            1024                 4096  files\n";
        assert_eq!(open_files_max(limits), Some(1024));
    }

    #[test]
    fn this_process_has_memory_and_its_disk_a_size() {
        assert!(resident_bytes().expect("Linux") > 100_000);
        let space = disk_space(Path::new("/")).expect("the root exists");
        assert!(space.free_bytes <= space.usable_bytes && space.usable_bytes <= space.size_bytes);
        assert!((0.0..=100.0).contains(&space.free_percent()));
    }
}
