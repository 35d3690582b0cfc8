//! The processor time of a process in nanoseconds: the ticks of `/proc/PID/stat` are too coarse.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// The time of each thread so far.
pub struct ProcessorTime(BTreeMap<String, u64>);

impl ProcessorTime {
    pub fn read(pid: u32) -> Self {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let used = threads.filter_map(|thread| {
            let thread = thread.unwrap();
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            let nanoseconds = text.split(' ').next()?.parse().ok()?;
            Some((thread.file_name().into_string().unwrap(), nanoseconds))
        });
        Self(used.collect())
    }

    pub fn since(&self, earlier: &Self) -> Duration {
        let used = self.0.iter().map(|(thread, now)| {
            now - earlier.0.get(thread).copied().unwrap_or_default().min(*now)
        });
        Duration::from_nanos(used.sum())
    }
}
