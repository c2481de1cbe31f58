//! Which files are merged: a pure function of their sizes.
//!
//! A file of size s is in tier floor(log4(s / least)). Neighbours of one tier or below become one
//! file once they make one of a higher tier, so that a document is written again a logarithmic
//! number of times and the number of files grows with the logarithm of their size. Four of the
//! lowest tier become one in any case. A file of which a quarter is dead is written anew:
//! the full text of what is dead is looked at whenever a segment is opened.

use std::ops::Range;

/// A file's size, with and without what is dead in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Bytes of all that is in it.
    pub(crate) bytes: u64,
    /// Bytes of what is live.
    pub(crate) live_bytes: u64,
}

/// Neighbours that become one.
const WIDTH: usize = 4;
/// Files below this, in bytes, are of the lowest tier.
const LEAST_BYTES: u64 = 1 << 20;

/// The neighbours to merge next, if any; merged, they have at most `bytes_max`.
pub(crate) fn next(sizes: &[Size], bytes_max: u64) -> Option<Range<usize>> {
    let much_dead = sizes.iter().position(|size| size.live_bytes * 4 <= size.bytes * 3);
    if let Some(at) = much_dead {
        return Some(at..at + 1);
    }
    let highest = sizes.iter().map(|size| tier(size.live_bytes)).max()?;
    (0..=highest).find_map(|limit| {
        let is_in = |at: usize| tier(sizes[at].live_bytes) <= limit;
        let mut start = 0;
        while start < sizes.len() {
            let end = (start..sizes.len()).find(|&at| !is_in(at)).unwrap_or(sizes.len());
            let end = fitting(sizes, start..end, bytes_max);
            let merged: u64 = sizes[start..end].iter().map(|size| size.live_bytes).sum();
            if end - start >= WIDTH && (limit == 0 || tier(merged) > limit) {
                return Some(start..end);
            }
            start = end.max(start + 1);
        }
        None
    })
}

/// All files in as few groups of neighbours as fit; groups of one that are all live are left out.
pub(crate) fn all(sizes: &[Size], bytes_max: u64) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut start = 0;
    while start < sizes.len() {
        let end = fitting(sizes, start..sizes.len(), bytes_max);
        let is_clean = sizes[start].live_bytes == sizes[start].bytes;
        if end - start > 1 || !is_clean {
            groups.push(start..end);
        }
        start = end;
    }
    groups
}

/// Where the files from the front of a range that fit in one end; the first one fits always.
fn fitting(sizes: &[Size], range: Range<usize>, bytes_max: u64) -> usize {
    let mut sum = 0;
    let fits = |at: &usize| {
        sum += sizes[*at].live_bytes;
        sum <= bytes_max
    };
    let count = range.clone().take_while(fits).count();
    range.start + count.max(range.len().min(1))
}

fn tier(bytes: u64) -> u32 {
    (bytes / LEAST_BYTES).max(1).ilog(WIDTH as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(live_bytes: u64) -> Size {
        Size { bytes: live_bytes, live_bytes }
    }

    #[test]
    fn four_of_a_tier_become_one_and_what_has_much_dead_is_written_anew() {
        const MIB: u64 = 1 << 20;
        let check = |sizes: &[u64], expected| {
            let sizes: Vec<Size> = sizes.iter().map(|mib| size(mib * MIB)).collect();
            assert_eq!(next(&sizes, 1024 * MIB), expected, "{sizes:?}");
        };
        check(&[], None);
        check(&[64, 64, 64], None);
        check(&[64, 64, 64, 64], Some(0..4));
        check(&[256, 64, 64, 64], None);
        check(&[256, 1, 64, 64, 64], None);
        check(&[256, 1, 64, 64, 64, 64], Some(1..6));
        check(&[64, 64, 256, 64, 64], None);
        check(&[256, 256, 64, 256, 256], None);
        check(&[250, 250, 64, 250, 250], Some(0..4));
        check(&[900, 64, 64, 64, 64], Some(1..5));
        check(&[900, 900, 900, 900], None);
        let half = Size { bytes: 100, live_bytes: 50 };
        assert_eq!(next(&[size(MIB), half], 1024 * MIB), Some(1..2));
        assert_eq!(all(&[size(5), size(6), size(7)], 11), vec![0..2]);
        assert_eq!(all(&[size(5), half], 11), vec![1..2]);
        assert!(all(&[size(500)], 11).is_empty());
    }

    #[test]
    fn files_stay_few_and_are_seldom_written_again() {
        let (mut sizes, mut written) = (Vec::new(), 0);
        for flushed in 1..=1000u64 {
            sizes.push(size(1 << 26));
            while let Some(range) = next(&sizes, u64::MAX) {
                let merged: u64 = sizes[range.clone()].iter().map(|size| size.live_bytes).sum();
                written += merged >> 26;
                sizes.splice(range, [size(merged)]);
            }
            let tiers = flushed.ilog(4) as usize + 1;
            assert!(sizes.len() <= 3 * tiers, "{flushed}: {sizes:?}");
            assert!(written <= flushed * tiers as u64, "{flushed}: {written} written again");
        }
    }
}
