//! Random numbers by counter: a value is a function of what it is for, never of when it is drawn.

/// Mixes keys into 64 well-spread bits, by the finalizer of SplitMix64
/// (Steele, Lea and Flood, OOPSLA 2014) after each key.
pub fn mix(keys: &[u64]) -> u64 {
    keys.iter().fold(0x9E37_79B9_7F4A_7C15, |state, &key| scramble(state ^ scramble(key)))
}

/// One round of SplitMix64.
pub fn scramble(key: u64) -> u64 {
    let mut z = key.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The top 24 bits as a number in `[0, 1)`.
pub fn unit(bits: u64) -> f32 {
    (bits >> 40) as f32 / (1u64 << 24) as f32
}
