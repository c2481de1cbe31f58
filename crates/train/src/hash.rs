//! Hashes of content: for checksums, cache keys and telling whether a data set has changed.

use cotenant_transformer::random::scramble;

/// A running 64-bit hash. Each word is mixed in by a bijection, so that two inputs which differ in
/// one word only never agree. It guards against accidents, not against an adversary.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hasher(u64);

impl Hasher {
    /// Hashes with different seeds are unrelated.
    pub(crate) fn new(seed: u64) -> Self {
        Self(scramble(seed))
    }

    /// Mixes in a number.
    pub(crate) fn word(&mut self, word: u64) {
        self.0 = scramble(self.0 ^ word);
    }

    /// Mixes in bytes and their number.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let words = bytes.chunks_exact(8);
        let rest = words.remainder();
        for word in words {
            let word = word.try_into().expect("chunks_exact gives 8 bytes");
            self.word(u64::from_le_bytes(word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.word(u64::from_le_bytes(last));
        self.word(bytes.len() as u64);
    }

    /// The hash of everything so far.
    pub(crate) fn finish(&self) -> u64 {
        self.0
    }
}

/// The hash of some bytes.
pub(crate) fn hash_bytes(seed: u64, bytes: &[u8]) -> u64 {
    let mut hasher = Hasher::new(seed);
    hasher.bytes(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::hash_bytes;

    #[test]
    fn every_flipped_bit_and_every_cut_changes_the_hash() {
        let bytes: Vec<u8> = (0..45).map(|i| i * 5).collect();
        let whole = hash_bytes(1, &bytes);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(hash_bytes(1, &flipped), whole, "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert_ne!(hash_bytes(1, &bytes[..len]), whole, "cut to {len}");
        }
        assert_ne!(hash_bytes(2, &bytes), whole);
    }
}
