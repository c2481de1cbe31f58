//! Why a card had nothing to do.

use cotenant_types::trace::{CallKind, GapLength, GapStart};

use super::host;
use super::{Cause, Costs};
use crate::card::CardCounts;
use crate::held::Held;
use crate::observed::Observed;

/// A kernel that takes less is short beside what submitting it costs.
const SHORT_NS: u64 = 100_000;
/// A step that submits as many kernels has enough to do, in pieces too small.
const SUBMISSIONS_OF_A_STEP: u64 = 64;
/// A batch that is larger is not small.
const BATCH_BYTES_MAX: u64 = 1 << 20;

/// Idle time between two calls.
#[derive(Clone, Copy, Debug, Default)]
struct Gaps {
    /// Too short for anything but the next call.
    short_ns: u64,
    /// Of these, behind a wait.
    short_waited_ns: u64,
    longer_ns: u64,
    longer_waited_ns: u64,
    /// Whether most of the longer ones are less than a millisecond.
    are_mostly_medium: bool,
}

/// Costs of a program with a card: the time since the card first had work, how long it had some, and
/// the causes of the rest.
pub(super) fn costs(observed: &Observed, card: &CardCounts) -> (u64, u64, Costs) {
    let mut costs = Costs::default();
    let gaps = Gaps::of(card);
    let in_calls_ns: u64 = CallKind::ALL.into_iter().map(|kind| card.idle_ns(kind)).sum();
    let idle_ns = in_calls_ns + gaps.short_ns + gaps.longer_ns;
    let busy_ns = card.window_ns().saturating_sub(idle_ns);
    let waits_ns = between_calls(observed, &gaps, &mut costs);
    in_calls(card, &mut costs);
    computing(observed, &gaps, waits_ns, &mut costs);
    // A wait lasts longer than the card works where its thread then has no processor.
    limit_waits(busy_ns.min(card.work_ns()), &mut costs);
    if is_small_batch(card) {
        small_batch(&gaps, &mut costs);
    }
    (card.window_ns(), busy_ns, costs)
}

impl Gaps {
    fn of(card: &CardCounts) -> Self {
        let both = |length| GapStart::ALL.map(|start| card.gap_ns(length, start)).iter().sum();
        let waited = |length| card.gap_ns(length, GapStart::Synchronized);
        let count = |length| {
            let counts = GapStart::ALL.map(|start| card.gaps(length, start));
            counts.into_iter().fold(0u64, u64::saturating_add)
        };
        let [medium, long]: [u64; 2] = [both(GapLength::Medium), both(GapLength::Long)];
        Self {
            short_ns: both(GapLength::Short),
            short_waited_ns: waited(GapLength::Short),
            longer_ns: medium + long + card.tail_ns(),
            longer_waited_ns: waited(GapLength::Medium) + waited(GapLength::Long),
            are_mostly_medium: count(GapLength::Medium) >= count(GapLength::Long),
        }
    }

    /// Of some time in longer gaps, what lay in those behind a wait.
    fn waited_part(&self, ns: u64) -> u64 {
        (ns as f64 * self.longer_waited_ns as f64 / self.longer_ns.max(1) as f64) as u64
    }
}

/// Puts down what the program waited for between calls, and gives the sum. What looks saw stands
/// for all gaps, in proportion.
fn between_calls(observed: &Observed, gaps: &Gaps, costs: &mut Costs) -> u64 {
    let seen: u64 = observed.held.values().sum();
    if seen == 0 {
        return 0;
    }
    let all = gaps.short_ns + gaps.longer_ns;
    host::waits(observed, all as f64 / seen as f64, costs).min(gaps.longer_ns)
}

fn in_calls(card: &CardCounts, costs: &mut Costs) {
    for kind in CallKind::ALL {
        let cause = match kind {
            CallKind::Launch => Cause::TinyKernels,
            CallKind::CopyFromPageable => Cause::UnpinnedCopies,
            CallKind::CopyAndWait | CallKind::CopyBehind => Cause::SynchronousCopies,
            CallKind::ReadValue | CallKind::Synchronize => Cause::Synchronization,
            CallKind::Fetch | CallKind::FetchBehind => Cause::Fetches,
            CallKind::Allocate => Cause::Allocations,
        };
        costs.add(cause, card.idle_ns(kind));
    }
}

/// What is left of the gaps, the program computed in: behind a wait, that is the wait's cost; else
/// it is what submitting costs, or work that somebody else could do.
fn computing(observed: &Observed, gaps: &Gaps, waits_ns: u64, costs: &mut Costs) {
    costs.add(Cause::Synchronization, gaps.short_waited_ns);
    costs.add(Cause::TinyKernels, gaps.short_ns - gaps.short_waited_ns);
    let mut longer_ns = gaps.longer_ns - waits_ns;
    // Threads have no processor for longer than a short gap lasts; when the card is at work
    // meanwhile, that costs nothing.
    let lead = &observed.lead;
    let at_work_ns = lead.ready_ns.saturating_add(lead.cpu_ns());
    let ready_ns = host::part(lead.ready_ns, gaps.short_ns + longer_ns, at_work_ns);
    let ready_ns = ready_ns.min(longer_ns);
    costs.add(Cause::NoProcessor, ready_ns);
    longer_ns -= ready_ns;
    if host::held_ns(observed, Held::Computes) > 0 {
        longer_ns -= host::transfers(observed, longer_ns, costs);
    }
    let waited_ns = gaps.waited_part(longer_ns).min(longer_ns);
    costs.add(Cause::Synchronization, waited_ns);
    costs.add(Cause::InlinePreparation, longer_ns - waited_ns);
}

/// Without any waits, card and program would go on side by side, so that the shorter of both is won.
/// What the program computes beyond that would keep the card waiting anyway.
fn limit_waits(work_ns: u64, costs: &mut Costs) {
    let waits_ns = costs.take(Cause::Synchronization);
    let won_ns = waits_ns.min(work_ns);
    costs.add(Cause::Synchronization, won_ns);
    costs.add(Cause::InlinePreparation, waits_ns - won_ns);
}

/// Whether kernels are short, leave a part of the card empty, and are few for each batch, which is
/// small.
fn is_small_batch(card: &CardCounts) -> bool {
    let kinds = [CallKind::CopyFromPageable, CallKind::CopyAndWait, CallKind::CopyBehind];
    let batches = kinds.iter().fold(0u64, |sum, kind| sum.saturating_add(card.calls(*kind)));
    let bytes = kinds.iter().fold(0u64, |sum, kind| sum.saturating_add(card.bytes(*kind)));
    let (Some(blocks), Some(room)) = (card.mean_blocks(), card.multiprocessors()) else {
        return false;
    };
    blocks < room
        && card.mean_ns() < SHORT_NS
        && batches > 0
        && card.submissions() / batches < SUBMISSIONS_OF_A_STEP
        && bytes / batches < BATCH_BYTES_MAX
}

/// With a larger batch, what a step costs besides its kernels would be paid less often.
fn small_batch(gaps: &Gaps, costs: &mut Costs) {
    let mut ns = costs.take(Cause::TinyKernels)
        + costs.take(Cause::Synchronization)
        + costs.take(Cause::SynchronousCopies)
        + costs.take(Cause::UnpinnedCopies);
    // What is short is done for every step, however small its batch.
    if gaps.are_mostly_medium {
        ns += costs.take(Cause::InlinePreparation);
    }
    costs.add(Cause::SmallBatch, ns);
}
