//! Which cards are joined by NVLink, and how cards are called on the bus.

use std::collections::BTreeMap;

/// A card on the bus, and what its NVLinks lead to: other cards, or switches.
#[derive(Clone, Debug)]
pub(super) struct Linked {
    /// The card's own address.
    pub(super) bus: String,
    /// Addresses at the far ends of its links.
    pub(super) remotes: Vec<String>,
}

/// A number for each card: cards with the same number can reach each other over links, directly,
/// through other cards or through switches. The number is the place of the first of them.
pub(super) fn link_groups(cards: &[Linked]) -> Vec<u32> {
    let mut groups: Vec<usize> = (0..cards.len()).collect();
    let mut owners: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, card) in cards.iter().enumerate() {
        for end in std::iter::once(&card.bus).chain(&card.remotes) {
            let Some(&other) = owners.get(&**end) else {
                owners.insert(end, at);
                continue;
            };
            let (from, to) = (groups[at].max(groups[other]), groups[at].min(groups[other]));
            groups.iter_mut().filter(|group| **group == from).for_each(|group| *group = to);
        }
    }
    let as_number = |group: usize| u32::try_from(group).expect("a machine has few cards");
    groups.into_iter().map(as_number).collect()
}

/// An address as the kernel writes it: NVML says `00000000:17:00.0`, the kernel `0000:17:00.0`.
pub(super) fn kernel_address(address: &str) -> String {
    let lower = address.trim().to_ascii_lowercase();
    match lower.split_once(':') {
        Some((domain, rest)) if domain.len() > 4 => {
            let start = domain.len() - 4;
            match (domain.get(..start), domain.get(start..)) {
                (Some(zeros), Some(short)) if zeros.bytes().all(|byte| byte == b'0') => {
                    format!("{short}:{rest}")
                }
                _ => lower,
            }
        }
        _ => lower,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_that_reach_each_other_have_one_number() {
        // Each word is a card: its address, and behind `>` what it is linked to.
        let check = |cards: &str, expected: &[u32]| {
            let parse = |word: &str| {
                let (bus, remotes) = word.split_once('>').unwrap_or((word, ""));
                let remotes = remotes.split(',').filter(|end| !end.is_empty());
                Linked { bus: bus.to_owned(), remotes: remotes.map(str::to_owned).collect() }
            };
            let cards: Vec<Linked> = cards.split_whitespace().map(parse).collect();
            assert_eq!(link_groups(&cards), expected, "{cards:?}");
        };
        check("", &[]);
        check("a b c", &[0, 1, 2]);
        check("a>b b>a c", &[0, 0, 2]);
        check("a b>c c>b", &[0, 1, 1]);
        check("a>b b c>d d", &[0, 0, 2, 2]);
        check("a b>a", &[0, 0]);
        check("a>s b>t c>s,t", &[0, 0, 0]);
        check("a>s b>s c>s d>s", &[0, 0, 0, 0]);
        check("a>d b>c c>b d>a", &[0, 1, 1, 0]);
        check("a>b b>c c>d d>e e", &[0, 0, 0, 0, 0]);
    }

    #[test]
    fn addresses_are_written_as_the_kernel_does() {
        let check = |address: &str, expected: &str| assert_eq!(kernel_address(address), expected);
        check("00000000:17:00.0", "0000:17:00.0");
        check("0000:AF:00.0", "0000:af:00.0");
        check("00010000:17:00.0", "00010000:17:00.0");
        check("nonsense", "nonsense");
        check("卡卡卡:17", "卡卡卡:17");
    }
}
