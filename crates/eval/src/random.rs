//! Random numbers by counter: a draw is a function of what it is for, never of when it is made.

/// Keys of independent streams, so that two uses of one seed do not share draws.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    /// Which queries a bootstrap sample holds.
    Bootstrap,
    /// Which differences a permutation turns round.
    Permutation,
    /// Which queries are judged.
    Sample,
    /// Which arm of an experiment a unit is in.
    Assignment,
}

/// A seed and what it is used for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draws {
    key: u64,
}

impl Draws {
    pub(crate) fn new(seed: u64, stream: Stream) -> Self {
        let stream = match stream {
            Stream::Bootstrap => 1,
            Stream::Permutation => 2,
            Stream::Sample => 3,
            Stream::Assignment => 4,
        };
        Self { key: scramble(scramble(seed) ^ stream) }
    }

    /// 64 random bits, fixed by the sample and the place within it.
    pub(crate) fn bits(self, sample: u64, place: u64) -> u64 {
        scramble(scramble(self.key ^ sample) ^ place)
    }

    /// A number in `[0, 1)`, of 53 random bits.
    pub(crate) fn share(self, sample: u64, place: u64) -> f64 {
        (self.bits(sample, place) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// 64 bits that a text and nothing else decides: eight bytes at a time, then the length.
    pub(crate) fn bits_of(self, text: &str) -> u64 {
        let word = |bytes: &[u8]| {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            u64::from_le_bytes(word)
        };
        let words = text.as_bytes().chunks(8).map(word);
        let key = words.fold(self.key, |key, word| scramble(key ^ word));
        scramble(key ^ text.len() as u64)
    }

    /// A number below `bound`, by the high word of a product: its bias is below `bound / 2^64`.
    pub(crate) fn below(self, bound: usize, sample: u64, place: u64) -> usize {
        ((u128::from(self.bits(sample, place)) * bound as u128) >> 64) as usize
    }
}

/// One step of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
fn scramble(key: u64) -> u64 {
    let mut bits = key.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        // The first outputs of the published generator from seed 1234567.
        let state = |step: u64| 1_234_567u64.wrapping_add(step.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let found = [0, 1, 2].map(|step| scramble(state(step)));
        assert_eq!(found, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
    }

    #[test]
    fn draws_are_even_enough_and_streams_differ() {
        let draws = Draws::new(7, Stream::Bootstrap);
        let mut counts = [0usize; 10];
        for sample in 0..1000 {
            for place in 0..10 {
                counts[draws.below(10, sample, place)] += 1;
            }
        }
        // Expected 1000 each with a standard deviation of 30: five of them is never by chance.
        assert!(counts.iter().all(|count| (850..=1150).contains(count)), "{counts:?}");
        assert_ne!(draws.bits(0, 0), Draws::new(7, Stream::Permutation).bits(0, 0));
        assert_ne!(draws.bits(0, 0), Draws::new(8, Stream::Bootstrap).bits(0, 0));
    }
}
