//! Numbers that look random and are functions of what they are for: nothing is drawn from a clock
//! or a state that others share.

/// 64 bits that are fixed by the key.
pub(crate) fn keyed(key: &[u64]) -> u64 {
    key.iter().fold(0, |bits, &word| scramble(bits ^ word))
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
        // The first outputs of the reference implementation for the seed 0.
        let gamma = 0x9E37_79B9_7F4A_7C15_u64;
        let outputs = [0, 1, 2].map(|n: u64| scramble(gamma.wrapping_mul(n)));
        assert_eq!(outputs, [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4, 0x06C4_5D18_8009_454F]);
    }

    #[test]
    fn every_word_of_a_key_counts() {
        assert_ne!(keyed(&[1, 2]), keyed(&[2, 1]));
        assert_ne!(keyed(&[1]), keyed(&[1, 0]));
    }
}
