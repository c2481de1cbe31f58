//! What each slice of a card must know of the others, from what they ask for and whether they work.

use cotenant_types::limits::Neighbours;
use cotenant_types::{Policy, Share, Span};

/// A slice among those of its card.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) policy: Policy,
    pub(super) compute: Span<Share>,
    /// It wants compute now.
    pub(super) is_active: bool,
}

/// Of each, what the others do.
pub(super) fn neighbours(parts: &[Part]) -> Vec<Neighbours> {
    let one = |at: usize| {
        let others = parts.iter().enumerate().filter(|(other, _)| *other != at);
        let mut sum = Neighbours::default();
        for (_, part) in others {
            let request = part.compute.request.per_mille();
            sum.count += 1;
            if part.is_active {
                sum.active_milli = sum.active_milli.saturating_add(request);
                if part.takes_more() {
                    sum.elastic_milli = sum.elastic_milli.saturating_add(request);
                }
            }
        }
        sum
    };
    (0..parts.len()).map(one).collect()
}

impl Part {
    /// Whether it would take time that nobody asks for.
    fn takes_more(self) -> bool {
        match self.policy {
            Policy::Fixed => false,
            Policy::Burst | Policy::Contend => self.compute.limit > self.compute.request,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_of_all_others() {
        let part = |policy, (request, limit): (u32, u32), is_active| {
            let share = |milli: u32| Share::from_per_mille(milli).unwrap();
            let compute = Span { request: share(request), limit: share(limit) };
            Part { policy, compute, is_active }
        };
        let told = |parts: &[Part]| -> Vec<(u32, u32, u32)> {
            let neighbours = neighbours(parts).into_iter();
            neighbours.map(|it| (it.count, it.active_milli, it.elastic_milli)).collect()
        };
        assert_eq!(told(&[]), []);
        let burst = part(Policy::Burst, (200, 1000), true);
        assert_eq!(told(&[burst]), [(0, 0, 0)]);
        let parts = [
            burst,
            part(Policy::Burst, (300, 300), true),
            part(Policy::Contend, (100, 1000), false),
            part(Policy::Fixed, (50, 50), true),
        ];
        assert_eq!(told(&parts), [(3, 350, 0), (3, 250, 200), (3, 550, 200), (3, 500, 200)]);
    }
}
