//! What the numbers were measured on.

use std::fs;
use std::thread;

/// The processor, what it can do that matters here, and its cores, in one line.
pub(super) fn describe() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let model = field(&cpuinfo, "model name").unwrap_or("unknown processor");
    let flags: Vec<&str> = field(&cpuinfo, "flags").unwrap_or_default().split(' ').collect();
    let wanted = ["avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16"];
    let present: Vec<&str> = wanted.into_iter().filter(|flag| flags.contains(flag)).collect();
    format!("{model}, {cores} cores, {}", present.join(" "))
}

fn field<'a>(cpuinfo: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu avx2\n";
        assert_eq!(field(cpuinfo, "model name"), Some("Some CPU @ 2 GHz"));
        assert_eq!(field(cpuinfo, "cache"), None);
    }
}
