//! Terms in order, each with its list, searched where the bytes lie.
//!
//! Terms stand in blocks of [`BLOCK_TERMS`]. Within a block a term is: how many bytes it shares with
//! the one before (none for the first), how many follow, these bytes, how many documents hold it,
//! and how far its list begins behind the one before; the first of a block says where its list
//! begins. Numbers are LEB128. Beside the blocks, eight bytes each, stands where they begin.

use std::cmp::Ordering;

const BLOCK_TERMS: usize = 16;

/// Bytes of a block's place in the table beside the blocks.
const PLACE_BYTES: usize = 8;

/// A term's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its place in the order of terms.
    pub number: u32,
    /// Documents that hold it.
    pub documents: u32,
    /// Where its list begins.
    pub list: u64,
}

/// Writes terms that come in ascending order.
#[derive(Default)]
pub(super) struct DictionaryWriter {
    blocks: Vec<u8>,
    places: Vec<u8>,
    before: String,
    list_before: u64,
    terms: u32,
}

impl DictionaryWriter {
    pub(super) fn add(&mut self, term: &str, documents: u32, list: u64) {
        let is_first = (self.terms as usize).is_multiple_of(BLOCK_TERMS);
        if is_first {
            self.places.extend_from_slice(&(self.blocks.len() as u64).to_le_bytes());
            self.before.clear();
            self.list_before = 0;
        }
        let pairs = term.bytes().zip(self.before.bytes());
        let shared = pairs.take_while(|(one, other)| one == other).count();
        let rest = &term.as_bytes()[shared..];
        for number in [shared as u64, rest.len() as u64] {
            write_number(number, &mut self.blocks);
        }
        self.blocks.extend_from_slice(rest);
        write_number(documents.into(), &mut self.blocks);
        write_number(list - self.list_before, &mut self.blocks);
        self.before.clear();
        self.before.push_str(term);
        self.list_before = list;
        self.terms += 1;
    }

    /// The blocks, the table of their places, and the number of terms.
    pub(super) fn finish(self) -> (Vec<u8>, Vec<u8>, u32) {
        (self.blocks, self.places, self.terms)
    }
}

/// Terms that [`DictionaryWriter`] wrote.
#[derive(Clone, Copy)]
pub(super) struct Dictionary<'a> {
    pub blocks: &'a [u8],
    pub places: &'a [u8],
    pub terms: u32,
}

impl<'a> Dictionary<'a> {
    /// Bytes of the table for so many terms.
    pub(super) fn places_bytes(terms: u32) -> usize {
        (terms as usize).div_ceil(BLOCK_TERMS) * PLACE_BYTES
    }

    /// The entry of a term. Bytes that make no sense hold no term.
    pub(super) fn find(&self, term: &str) -> Option<Entry> {
        // The last block whose first term is not above the one that is looked for.
        let (mut low, mut high) = (0, self.places.len() / PLACE_BYTES);
        while low < high {
            let middle = low + (high - low) / 2;
            let first = self.block(middle)?.first_bytes()?;
            match first.cmp(term.as_bytes()) {
                Ordering::Greater => high = middle,
                Ordering::Less | Ordering::Equal => low = middle + 1,
            }
        }
        let mut block = self.block(low.checked_sub(1)?)?;
        // How many bytes of the term are those of the term before.
        let mut common = 0;
        while let Some((shared, rest, entry)) = block.next() {
            if shared < common {
                return None;
            }
            if shared == common {
                let wanted = term.as_bytes().get(common..)?;
                if rest == wanted {
                    return Some(entry);
                }
                common += rest.iter().zip(wanted).take_while(|(one, other)| one == other).count();
            }
        }
        None
    }

    /// All terms in order. Bytes that make no sense end it.
    pub(super) fn entries(self) -> impl Iterator<Item = (Vec<u8>, Entry)> + 'a {
        let mut term = Vec::new();
        let mut at = 0;
        let mut block = self.block(0);
        std::iter::from_fn(move || {
            loop {
                if let Some((shared, rest, entry)) = block.as_mut()?.next() {
                    term.truncate(shared);
                    term.extend_from_slice(rest);
                    return Some((term.clone(), entry));
                }
                at += 1;
                block = self.block(at);
            }
        })
    }

    fn block(&self, block: usize) -> Option<BlockReader<'a>> {
        let first = block * BLOCK_TERMS;
        let terms = (self.terms as usize).checked_sub(first).filter(|terms| *terms > 0)?;
        let place = self.places.get(block * PLACE_BYTES..)?.first_chunk::<PLACE_BYTES>()?;
        let place = usize::try_from(u64::from_le_bytes(*place)).ok()?;
        let bytes = self.blocks.get(place..)?;
        Some(BlockReader { bytes, left: terms.min(BLOCK_TERMS), number: first as u32, list: 0 })
    }
}

struct BlockReader<'a> {
    bytes: &'a [u8],
    left: usize,
    number: u32,
    list: u64,
}

impl<'a> BlockReader<'a> {
    fn first_bytes(&mut self) -> Option<&'a [u8]> {
        self.next().map(|(_, rest, _)| rest)
    }

    /// How many bytes the term shares with the one before, the others, and the entry.
    fn next(&mut self) -> Option<(usize, &'a [u8], Entry)> {
        self.left = self.left.checked_sub(1)?;
        let shared = usize::try_from(read_number(&mut self.bytes)?).ok()?;
        let rest = usize::try_from(read_number(&mut self.bytes)?).ok()?;
        let (rest, behind) = self.bytes.split_at_checked(rest)?;
        self.bytes = behind;
        let documents = u32::try_from(read_number(&mut self.bytes)?).ok()?;
        self.list = self.list.checked_add(read_number(&mut self.bytes)?)?;
        let entry = Entry { number: self.number, documents, list: self.list };
        self.number = self.number.checked_add(1)?;
        Some((shared, rest, entry))
    }
}

fn write_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[inline]
fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, behind) = bytes.split_first()?;
        *bytes = behind;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_found_and_others_are_not() {
        let mut terms: Vec<String> =
            (0..1000u32).map(|at| format!("{:x}", at.wrapping_mul(0x9e37_79b9) >> 12)).collect();
        terms.extend(["a", "aa", "aab", "语", "语言", "ab"].map(String::from));
        terms.sort();
        terms.dedup();
        for count in [0, 1, 15, 16, 17, terms.len()] {
            let mut writer = DictionaryWriter::default();
            for (at, term) in terms[..count].iter().enumerate() {
                writer.add(term, at as u32 * 3 + 1, at as u64 * at as u64);
            }
            let (blocks, places, number) = writer.finish();
            assert_eq!((number as usize, Dictionary::places_bytes(number)), (count, places.len()));
            let dictionary = Dictionary { blocks: &blocks, places: &places, terms: number };
            for (at, term) in terms.iter().enumerate() {
                let (number, list) = (at as u32, at as u64 * at as u64);
                let entry = Entry { number, documents: number * 3 + 1, list };
                assert_eq!(dictionary.find(term), (at < count).then_some(entry), "{term}");
                for other in
                    [format!("{term}!"), format!("{term}\u{10ffff}"), "!".to_owned() + term]
                {
                    assert_eq!(dictionary.find(&other), None);
                }
            }
            assert_eq!(dictionary.find(""), None);
            let all = dictionary.entries().map(|(term, entry)| {
                assert_eq!(dictionary.find(str::from_utf8(&term).unwrap()), Some(entry));
                String::from_utf8(term).unwrap()
            });
            assert_eq!(all.collect::<Vec<_>>(), &terms[..count]);
            for end in 0..blocks.len().min(300) {
                let cut = Dictionary { blocks: &blocks[..end], ..dictionary };
                assert!(cut.entries().count() <= end);
                cut.find("aab");
            }
        }
    }
}
