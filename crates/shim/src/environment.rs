//! Limits from the environment, under the names that HAMi-core's users know.
//!
//! They count only where no pool wrote a limit page: whoever may set a program's environment may
//! raise such a limit.

use cotenant_types::limits::{CARDS_MAX, CardLimit, Neighbours, OnFailure, ShownProcesses};
use cotenant_types::{Bytes, Policy, Share, Span};

use crate::page::Facts;

/// Names that are read.
pub mod name {
    /// Memory of each card; `_0` and so on for one of them. A number with `g`, `m` or `k`.
    pub const MEMORY: &str = "CUDA_DEVICE_MEMORY_LIMIT";
    /// Compute of each card in per cent; `_0` and so on for one of them.
    pub const COMPUTE: &str = "CUDA_DEVICE_SM_LIMIT";
    /// `default`, `force` or `disable`.
    pub const POLICY: &str = "GPU_CORE_UTILIZATION_POLICY";
    /// `true` to have no limits at all.
    pub const DISABLED: &str = "CUDA_DISABLE_CONTROL";
    /// The file that a slice's processes share.
    pub const SHARED_FILE: &str = "CUDA_DEVICE_MEMORY_SHARED_CACHE";
}

/// Limits for cards by their number in the process, if the environment sets any.
///
/// `variable` looks up one name. A value that cannot be read sets nothing, as in HAMi-core.
pub fn facts<V: AsRef<str>>(variable: impl Fn(&str) -> Option<V>) -> Option<Facts> {
    let is_disabled = variable(name::DISABLED).is_some_and(|value| is_true(value.as_ref()));
    if is_disabled {
        return None;
    }
    let of = |base: &str, index: usize| {
        let (name, length) = numbered(base, index);
        let name = std::str::from_utf8(&name[..length]).ok()?;
        variable(name).or_else(|| variable(base))
    };
    let holds_compute = variable(name::POLICY).is_none_or(|value| value.as_ref() != "disable");
    let mut facts = Facts { sequence: 2, on_failure: OnFailure::PassThrough, ..Facts::NONE };
    facts.shown = ShownProcesses::Own;
    let mut is_set = false;
    for (index, card) in facts.cards.iter_mut().enumerate() {
        let memory = of(name::MEMORY, index).and_then(|text| memory(text.as_ref()));
        let compute = of(name::COMPUTE, index).and_then(|text| compute(text.as_ref()));
        let compute = compute.filter(|_| holds_compute);
        is_set |= memory.is_some() || compute.is_some();
        *card = Some(limit(memory, compute.unwrap_or(Share::WHOLE)));
    }
    facts.count = CARDS_MAX;
    is_set.then_some(facts)
}

fn limit(memory: Option<Bytes>, compute: Share) -> CardLimit {
    CardLimit {
        uuid: [0; 16],
        memory,
        overhead: Bytes(0),
        policy: Policy::Fixed,
        compute: Span { request: compute, limit: compute },
        neighbours: Neighbours::default(),
        hold_until_ns: 0,
        seen_busy_ns: 0,
        seen_at_ns: 0,
    }
}

/// A number with a unit: `3g`, `3000m`, `1048576k` or plain bytes. Zero means no limit.
fn memory(text: &str) -> Option<Bytes> {
    let text = text.trim();
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        _ => return None,
    };
    let amount = digits.parse::<u64>().ok()?.checked_mul(unit)?;
    (amount > 0).then_some(Bytes(amount))
}

/// Per cent from 1 to 100; more, or zero, means no limit.
fn compute(text: &str) -> Option<Share> {
    let percent = text.trim().parse::<u32>().ok()?;
    let share = Share::from_per_mille(percent.checked_mul(10)?).ok()?;
    (share > Share::ZERO && share < Share::WHOLE).then_some(share)
}

fn is_true(text: &str) -> bool {
    text.trim().eq_ignore_ascii_case("true") || text.trim() == "1"
}

/// A name with `_` and a number below 100 after it, without allocation.
fn numbered(base: &str, index: usize) -> ([u8; 48], usize) {
    let mut name = [0; 48];
    let mut length = 0;
    let digits = [b'0' + (index / 10 % 10) as u8, b'0' + (index % 10) as u8];
    let digits = if index < 10 { &digits[1..] } else { &digits[..] };
    for byte in base.as_bytes().iter().chain(b"_").chain(digits).take(name.len()) {
        name[length] = *byte;
        length += 1;
    }
    (name, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Option<Vec<(Option<u64>, u32)>> {
        let find = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string())
        };
        let facts = facts(find)?;
        let of = |card: &Option<CardLimit>| {
            let card = card.as_ref().unwrap();
            (card.memory.map(|memory| memory.0), card.compute.limit.per_mille())
        };
        Some(facts.cards[..3].iter().map(of).collect())
    }

    #[test]
    fn limits_are_read_for_all_cards_and_for_one() {
        let check = |variables: &[(&str, &str)], expected: &[(Option<u64>, u32)]| {
            assert_eq!(read(variables).as_deref(), Some(expected), "{variables:?}");
        };
        check(
            &[("CUDA_DEVICE_MEMORY_LIMIT", "2g"), ("CUDA_DEVICE_MEMORY_LIMIT_1", "512m")],
            &[(Some(2 << 30), 1000), (Some(512 << 20), 1000), (Some(2 << 30), 1000)],
        );
        check(
            &[("CUDA_DEVICE_SM_LIMIT_2", "30"), ("CUDA_DEVICE_MEMORY_LIMIT_0", "9K")],
            &[(Some(9 << 10), 1000), (None, 1000), (None, 300)],
        );
        check(
            &[
                ("CUDA_DEVICE_SM_LIMIT", "30"),
                ("GPU_CORE_UTILIZATION_POLICY", "disable"),
                ("CUDA_DEVICE_MEMORY_LIMIT", "77"),
            ],
            &[(Some(77), 1000); 3],
        );
    }

    #[test]
    fn nothing_set_means_no_limits() {
        assert!(read(&[]).is_none());
        assert!(read(&[("CUDA_DEVICE_MEMORY_LIMIT", "0")]).is_none());
        assert!(read(&[("CUDA_DEVICE_MEMORY_LIMIT", "lots")]).is_none());
        assert!(read(&[("CUDA_DEVICE_MEMORY_LIMIT", "99999999999999999g")]).is_none());
        assert!(read(&[("CUDA_DEVICE_SM_LIMIT", "100")]).is_none());
        assert!(
            read(&[("CUDA_DISABLE_CONTROL", "true"), ("CUDA_DEVICE_SM_LIMIT", "50")]).is_none()
        );
    }

    #[test]
    fn names_are_numbered() {
        let check = |index: usize, expected: &str| {
            let (name, length) = numbered("A", index);
            assert_eq!(std::str::from_utf8(&name[..length]), Ok(expected));
        };
        check(0, "A_0");
        check(9, "A_9");
        check(10, "A_10");
        check(63, "A_63");
        let (name, length) = numbered(name::MEMORY, 63);
        assert_eq!(&name[..length], b"CUDA_DEVICE_MEMORY_LIMIT_63");
    }
}
