//! What this process has used, as the operating system counts it.

use std::fs;

/// Processor time and memory of the process so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Seconds of processor time, user and system, of all threads; 0 where unknown.
    pub cpu_s: f64,
    /// Most memory that was ever resident, in MiB; 0 where unknown.
    pub peak_rss_mib: u64,
}

/// Clock ticks a second in `/proc/self/stat`, fixed by Linux's interface to user space.
const TICKS_PER_S: f64 = 100.0;

impl Usage {
    /// Reads the counters of Linux's `/proc`; zeros elsewhere.
    pub fn now() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self { cpu_s: cpu_s(&stat).unwrap_or(0.0), peak_rss_mib: peak_mib(&status).unwrap_or(0) }
    }
}

/// Fields 14 and 15, counted from the closing bracket of the program's name.
fn cpu_s(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_S)
}

fn peak_mib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib.div_ceil(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_past_a_hostile_program_name() {
        let stat = "7 (a ) b) S 1 1 1 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0";
        assert_eq!(cpu_s(stat), Some(3.0));
        assert_eq!(peak_mib("VmPeak:\t9 kB\nVmHWM:\t  2049 kB\n"), Some(3));
        assert_eq!((cpu_s(""), peak_mib("VmHWM: x")), (None, None));
    }
}
