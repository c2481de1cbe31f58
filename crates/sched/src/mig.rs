//! Partitions of a card in MIG mode: which are free, and which to take so that most stay possible.

use cotenant_types::{Mebibytes, MigGeometry, MigPlace, MigProfile, Share};

/// Slots that are taken, and by how many partitions of each profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MigFree {
    /// One bit a slot.
    taken: u32,
    /// Partitions by profile, in the geometry's order; empty while there is none.
    counts: Vec<u8>,
}

impl MigFree {
    /// No partition.
    pub(crate) const NONE: MigFree = MigFree { taken: 0, counts: Vec::new() };

    /// Whether a partition could be made where it is to be; true where the card is not in MIG mode.
    pub(crate) fn has_room(
        &self,
        geometry: Option<&MigGeometry>,
        place: Option<&MigPlace>,
    ) -> bool {
        let Some(place) = place else { return true };
        let Some((at, mask)) = locate(geometry, Some(place)) else { return false };
        let profile = &geometry.expect("a located partition has a geometry").profiles[at];
        let may_begin = profile.starts.contains(&place.start);
        may_begin && self.taken & mask == 0 && self.count(at) < profile.count_max
    }

    /// The partition that holds at least so much and leaves the most possible; none if there is no
    /// room for any.
    pub(crate) fn find<'a>(
        &self,
        geometry: &'a MigGeometry,
        (memory, compute): (Mebibytes, Share),
    ) -> Option<(&'a MigProfile, MigPlace)> {
        let holds = |profile: &MigProfile| profile.memory >= memory && profile.compute >= compute;
        let fitting = geometry.profiles.iter().enumerate().filter(|(_, profile)| holds(profile));
        let mut fitting: Vec<_> = fitting.collect();
        fitting.sort_by_key(|(_, profile)| (profile.width, profile.memory, profile.compute));
        fitting.into_iter().find_map(|(at, profile)| {
            let start = self.start(geometry, at)?;
            Some((profile, MigPlace { profile: profile.name.clone(), start }))
        })
    }

    /// Where a partition may begin so that the fewest others become impossible; the last of equals,
    /// for profiles that may begin anywhere are best kept away from the first slots.
    fn start(&self, geometry: &MigGeometry, at: usize) -> Option<u8> {
        let profile = &geometry.profiles[at];
        if self.count(at) >= profile.count_max {
            return None;
        }
        let free = profile.starts.iter().filter(|&&start| self.taken & profile.mask(start) == 0);
        free.copied()
            .max_by_key(|&start| (possible(geometry, self.taken | profile.mask(start)), start))
    }

    fn count(&self, at: usize) -> u8 {
        self.counts.get(at).copied().unwrap_or(0)
    }

    /// Takes a partition; nothing where the card is not in MIG mode.
    pub(crate) fn take(&mut self, geometry: Option<&MigGeometry>, place: Option<&MigPlace>) {
        if let Some((at, mask)) = locate(geometry, place) {
            if self.counts.len() <= at {
                self.counts.resize(at + 1, 0);
            }
            self.counts[at] += 1;
            self.taken |= mask;
        }
    }

    /// Gives a partition back.
    pub(crate) fn give_back(&mut self, geometry: Option<&MigGeometry>, place: Option<&MigPlace>) {
        if let Some((at, mask)) = locate(geometry, place) {
            self.counts[at] -= 1;
            self.taken &= !mask;
        }
    }

    /// What is free both here and there.
    pub(crate) fn least(&self, other: &MigFree) -> MigFree {
        let len = self.counts.len().max(other.counts.len());
        let counts = (0..len).map(|at| self.count(at).max(other.count(at))).collect();
        MigFree { taken: self.taken | other.taken, counts }
    }
}

fn locate(geometry: Option<&MigGeometry>, place: Option<&MigPlace>) -> Option<(usize, u32)> {
    let (geometry, place) = (geometry?, place?);
    let at = geometry.profiles.iter().position(|profile| profile.name == place.profile)?;
    Some((at, geometry.profiles[at].mask(place.start)))
}

/// Slots of all partitions that could still be made, each counted for itself.
fn possible(geometry: &MigGeometry, taken: u32) -> u32 {
    let places = |profile: &MigProfile| {
        let free = profile.starts.iter().filter(|&&start| taken & profile.mask(start) == 0);
        free.count() as u32 * u32::from(profile.width)
    };
    geometry.profiles.iter().map(places).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry() -> MigGeometry {
        let profile = |name: &str, memory, compute, width, starts: &[u8], count_max| MigProfile {
            name: name.to_owned(),
            memory: Mebibytes(memory),
            compute: Share::from_per_mille(compute).unwrap(),
            width,
            starts: starts.to_vec(),
            count_max,
        };
        MigGeometry {
            slots: 8,
            profiles: vec![
                profile("1g.10gb", 9856, 142, 1, &[0, 1, 2, 3, 4, 5, 6], 7),
                profile("2g.20gb", 19968, 285, 2, &[0, 2, 4], 3),
                profile("3g.40gb", 40192, 428, 4, &[0, 4], 2),
                profile("7g.80gb", 80384, 1000, 8, &[0], 1),
            ],
        }
    }

    /// Takes what is asked for until nothing fits; gives what was taken.
    fn fill(asks: &[(u64, u32)]) -> String {
        let (geometry, mut free, mut taken) = (geometry(), MigFree::default(), Vec::new());
        for &(memory, compute) in asks {
            let ask = (Mebibytes(memory), Share::from_per_mille(compute).unwrap());
            match free.find(&geometry, ask) {
                Some((_, place)) => {
                    taken.push(format!("{}@{}", place.profile, place.start));
                    free.take(Some(&geometry), Some(&place));
                }
                None => taken.push("none".to_owned()),
            }
        }
        taken.join(" ")
    }

    #[test]
    fn the_smallest_that_holds_goes_where_most_stays_possible() {
        assert_eq!(fill(&[(1000, 100), (40000, 400), (40000, 400)]), "1g.10gb@6 3g.40gb@0 none");
        assert_eq!(
            fill(&[(1000, 100), (1000, 100), (40000, 400)]),
            "1g.10gb@6 1g.10gb@5 3g.40gb@0"
        );
        assert_eq!(fill(&[(1000, 300)]), "3g.40gb@4");
        assert_eq!(fill(&[(80000, 1000), (1, 1)]), "7g.80gb@0 none");
        assert_eq!(fill(&[(90000, 1)]), "none");
    }
}
