//! How busy the processor is, as the difference of two readings.

use std::fs;

use cotenant_types::{Bytes, Card, CardId, Mebibytes, Share};

use super::card::{MemoryLimit, limits, meminfo_bytes};
use crate::meter::{CardUse, Health};
use crate::vitals::Vitals;

/// Reads the CPU card.
///
/// Busy time is that of the processors that this process may run on, whoever used them: with a
/// quota below those processors, neighbours outside count too.
#[derive(Debug)]
pub(crate) struct ProcessorMeter {
    card: CardId,
    memory: Mebibytes,
    /// The tightest limit around this process; none where the machine's memory is the limit.
    limit: Option<MemoryLimit>,
    last: Ticks,
}

/// Time that processors have spent since the machine started, in the kernel's ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    total: u64,
}

impl ProcessorMeter {
    pub(crate) fn new(card: &Card) -> Self {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let machine = meminfo_bytes(&meminfo, "MemTotal").unwrap_or(Bytes(u64::MAX));
        let tight = limits().into_iter().filter(|limit| limit.max < machine);
        let limit = tight.min_by_key(|limit| limit.max);
        Self { card: card.id.clone(), memory: card.memory, limit, last: Ticks::read() }
    }

    pub(crate) fn read(&mut self) -> CardUse {
        let now = Ticks::read();
        let compute = busy_share(self.last, now);
        self.last = now;
        let used = self.limit.as_ref().map_or_else(machine_used, group_used);
        CardUse {
            card: self.card.clone(),
            compute,
            memory_used: used.to_mebibytes_ceil().min(self.memory),
            temperature_c: None,
            power_mw: None,
            health: Health::Good,
            vitals: Vitals::default(),
        }
    }
}

/// The part of the time between two readings in which the processors worked; nothing if no time
/// has passed.
fn busy_share(before: Ticks, after: Ticks) -> Share {
    let total = after.total.saturating_sub(before.total);
    let busy = after.busy.saturating_sub(before.busy).min(total);
    let per_mille = (u128::from(busy) * 1000).checked_div(u128::from(total)).unwrap_or(0);
    Share::from_per_mille(per_mille as u32).unwrap_or(Share::WHOLE)
}

impl Ticks {
    fn read() -> Self {
        let allowed = rustix::thread::sched_getaffinity(None).ok();
        let may_run_on = |cpu: usize| {
            let known = cpu < rustix::thread::CpuSet::MAX_CPU;
            allowed.as_ref().is_none_or(|set| known && set.is_set(cpu))
        };
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        Self::parse(&stat, may_run_on)
    }

    /// Sums lines such as `cpu3 user nice system idle iowait irq softirq steal guest guest_nice`.
    /// Guests' time is in user's already. Time that the hypervisor took is not ours: it counts as
    /// busy, since no job could have had it.
    fn parse(stat: &str, may_run_on: impl Fn(usize) -> bool) -> Self {
        let mut sum = Self::default();
        for line in stat.lines() {
            let mut words = line.split_ascii_whitespace();
            let cpu = words.next().and_then(|word| word.strip_prefix("cpu"));
            let Some(Ok(cpu)) = cpu.map(str::parse::<usize>) else {
                continue;
            };
            if !may_run_on(cpu) {
                continue;
            }
            let times: Vec<u64> = words.take(8).map_while(|word| word.parse().ok()).collect();
            let total = times.iter().fold(0, |sum: u64, time| sum.saturating_add(*time));
            let idle =
                times.iter().skip(3).take(2).fold(0, |sum: u64, time| sum.saturating_add(*time));
            sum.total = sum.total.saturating_add(total);
            sum.busy = sum.busy.saturating_add(total - idle.min(total));
        }
        sum
    }
}

/// Memory of the machine that is in use and would not be given back.
fn machine_used() -> Bytes {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let number = |key| meminfo_bytes(&meminfo, key).unwrap_or_default().0;
    Bytes(number("MemTotal").saturating_sub(number("MemAvailable")))
}

/// Memory of the group that is in use and would not be given back.
fn group_used(limit: &MemoryLimit) -> Bytes {
    let used = fs::read_to_string(&limit.used).unwrap_or_default();
    let stat = fs::read_to_string(&limit.stat).unwrap_or_default();
    let cached = stat.lines().find_map(|line| line.strip_prefix(limit.cached)?.trim().parse().ok());
    Bytes(used.trim().parse().unwrap_or(0u64).saturating_sub(cached.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "\
cpu  300 0 100 500 100 0 0 0 0 0
cpu0 100 10 20 300 50 3 4 13 90 0
cpu1 200 0 0 100 0 0 0 0 0 0
cpu2 7
intr 5 6
cpux 1 2 3
";

    #[test]
    fn ticks_are_of_the_processors_that_may_be_used() {
        let check = |cpus: &[usize], busy: u64, total: u64| {
            let ticks = Ticks::parse(STAT, |cpu| cpus.contains(&cpu));
            assert_eq!(ticks, Ticks { busy, total }, "{cpus:?}");
        };
        check(&[], 0, 0);
        check(&[0], 150, 500);
        check(&[0, 1], 350, 800);
        check(&[2], 7, 7);
        assert_eq!(Ticks::parse("", |_| true), Ticks::default());
    }

    #[test]
    fn busy_shares_are_differences() {
        let check = |before: (u64, u64), after: (u64, u64), expected: u32| {
            let ticks = |(busy, total)| Ticks { busy, total };
            let share = busy_share(ticks(before), ticks(after));
            assert_eq!(share.per_mille(), expected, "{before:?} {after:?}");
        };
        check((0, 0), (0, 0), 0);
        check((100, 200), (100, 200), 0);
        check((100, 200), (150, 300), 500);
        check((100, 200), (200, 300), 1000);
        check((0, 0), (1, 3), 333);
        // Counters that went backwards, as after a processor was taken away.
        check((100, 200), (50, 300), 0);
        check((100, 200), (150, 100), 0);
        check((0, 0), (u64::MAX, u64::MAX), 1000);
    }
}
