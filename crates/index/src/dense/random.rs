//! Numbers that look drawn, each a function of what it is for.

/// A well-mixed function of a seed and what the number is for (the finaliser of SplitMix64, Steele,
/// Lea and Flood 2014).
pub(super) fn mix(seed: u64, purpose: u64) -> u64 {
    let mut z = seed ^ purpose.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A number above 0 and at most 1.
pub(super) fn uniform(seed: u64, purpose: u64) -> f64 {
    ((mix(seed, purpose) >> 11) + 1) as f64 / (1u64 << 53) as f64
}
