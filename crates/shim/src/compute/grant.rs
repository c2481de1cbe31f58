//! How much of a card a slice may use now, from what it was promised and what its neighbours do.

use cotenant_types::Policy;
use cotenant_types::limits::CardLimit;

const WHOLE_MILLI: u64 = 1000;

/// The part of the card that the slice may use, in thousandths; at least one, so that a program
/// always ends.
///
/// - `fixed`: the limit, whatever others do.
/// - `burst`: the request, and of what nobody on the card asks for now a part in proportion to the
///   requests of those who would take it.
/// - `contend`: everything while alone; beside others a part in proportion to the requests.
pub fn grant_milli(card: &CardLimit) -> u32 {
    let request = u64::from(card.compute.request.per_mille());
    let limit = u64::from(card.compute.limit.per_mille());
    let active = u64::from(card.neighbours.active_milli);
    let granted = match card.policy {
        Policy::Fixed => limit,
        Policy::Burst => {
            let idle = WHOLE_MILLI.saturating_sub(request + active);
            let elastic = u64::from(card.neighbours.elastic_milli).min(active);
            // Without a request it still takes part in what is left, as the smallest.
            let weight = request.max(1);
            limit.min(request + idle * weight / (weight + elastic))
        }
        Policy::Contend => {
            let weight = request.max(1);
            limit.min(WHOLE_MILLI * weight / (weight + active))
        }
    };
    granted.clamp(1, WHOLE_MILLI) as u32
}

/// Whether nothing has to be held back: the slice may use all there is.
pub fn is_unbounded(grant_milli: u32) -> bool {
    u64::from(grant_milli) >= WHOLE_MILLI
}
