//! Go's `math/rand`, seeded as `rand.Seed` and `rand.New(rand.NewSource(seed))` do: an additive
//! lagged Fibonacci generator, x[n] = x[n-607] + x[n-273] over 64 bits.
//!
//! Its seeding scrambles a table of 607 "cooked" words, which is the state of the same generator
//! 7.8e12 steps after a seeding without a table. The words are not copied from there but
//! [worked out](super::leap), in a few milliseconds.

use super::Draws;
use super::leap::{LENGTH, TAP, after};

/// Steps between the plain seeding and the words.
const COOKED_STEPS: u64 = 7_800_000_000_000;

/// The generator's modulus for seeds, a prime.
const PRIME: i64 = (1 << 31) - 1;

/// The generator.
pub(super) struct GoRandom {
    words: Vec<u64>,
    tap: usize,
    feed: usize,
}

impl GoRandom {
    /// The generator of a seed.
    pub(super) fn new(seed: i64) -> Self {
        let cooked = after(&seeded(1, [20, 10, 0]), COOKED_STEPS);
        let mut words = seeded(seed, [40, 20, 0]);
        words.iter_mut().zip(&cooked).for_each(|(word, cooked)| *word ^= cooked);
        Self { words, tap: 0, feed: LENGTH - TAP }
    }

    fn bits(&mut self) -> u64 {
        let before = |at: usize| if at == 0 { LENGTH - 1 } else { at - 1 };
        (self.tap, self.feed) = (before(self.tap), before(self.feed));
        let word = self.words[self.feed].wrapping_add(self.words[self.tap]);
        self.words[self.feed] = word;
        word
    }

    /// Go's `Int63`, `Uint32` and `Int31`: the upper bits of all but the sign.
    fn upper(&mut self, count: u32) -> u32 {
        ((self.bits() & (u64::MAX >> 1)) >> (63 - count)) as u32
    }
}

impl Draws for GoRandom {
    /// Go's `int31n`, which `Shuffle` uses: Lemire's method.
    fn below_shuffling(&mut self, bound: u32) -> u32 {
        let mut product = u64::from(self.upper(32)) * u64::from(bound);
        if (product as u32) < bound {
            let threshold = bound.wrapping_neg() % bound;
            while (product as u32) < threshold {
                product = u64::from(self.upper(32)) * u64::from(bound);
            }
        }
        (product >> 32) as u32
    }

    /// Go's `Int31n`, which `Intn` and `Perm` use.
    fn below(&mut self, bound: u32) -> u32 {
        if bound.is_power_of_two() {
            return self.upper(31) & (bound - 1);
        }
        let most = (1u32 << 31) - 1 - (1u32 << 31) % bound;
        loop {
            let drawn = self.upper(31);
            if drawn <= most {
                return drawn % bound;
            }
        }
    }

    fn skip(&mut self, draws: u32) {
        for _ in 0..draws {
            self.bits();
        }
    }
}

/// Words of a Lehmer generator, three of its outputs each, shifted.
fn seeded(seed: i64, shifts: [u32; 3]) -> Vec<u64> {
    let seed = match seed.rem_euclid(PRIME) {
        0 => 89_482_311,
        seed => seed,
    };
    let mut state = seed as u64;
    let mut next = || {
        state = state * 48_271 % PRIME as u64;
        state
    };
    for _ in 0..20 {
        next();
    }
    (0..LENGTH).map(|_| shifts.iter().fold(0, |word, shift| word ^ next() << shift)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_go() {
        // What Go prints for `rand.New(rand.NewSource(1)).Int63()` and so on, widely known.
        let mut random = GoRandom::new(1);
        let first = [(); 2].map(|()| random.bits() & (u64::MAX >> 1));
        assert_eq!(first, [5_577_006_791_947_779_410, 8_674_665_223_082_153_551]);
        // `rand.Seed(1)` and `rand.Intn(100)`, the numbers of Go's tour.
        let mut random = GoRandom::new(1);
        let hundreds: Vec<u32> = (0..10).map(|_| random.below(100)).collect();
        assert_eq!(hundreds, [81, 87, 47, 59, 81, 18, 25, 40, 56, 0]);
    }

    /// Every word of the state after seeding, for the seeds of the published experiment and ours.
    #[test]
    fn states_are_those_of_go() {
        let data = match std::env::var_os("COTENANT_DATA") {
            Some(folder) => std::path::PathBuf::from(folder),
            None => std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        };
        let file = data.join("openb/arrival_rng_states.csv");
        let Ok(table) = std::fs::read_to_string(&file) else {
            return eprintln!("skipped: {} is not there; set COTENANT_DATA", file.display());
        };
        for row in table.lines().skip(1) {
            let cells: Vec<&str> = row.split(',').collect();
            let random = GoRandom::new(cells[0].parse().unwrap());
            let words = cells[3].split_whitespace().map(|word| word.parse::<i64>().unwrap() as u64);
            assert_eq!(random.words, words.collect::<Vec<_>>(), "seed {}", cells[0]);
            assert_eq!([random.tap, random.feed].map(|at| at.to_string()), cells[1..3]);
        }
        assert_eq!(table.lines().count(), 21);
    }
}
