//! The slow outer loop: what the driver sees a slice use, against what was measured and charged.
//!
//! Measured time has errors of a kind: an event costs time itself, copies are not measured, kernels
//! on two streams overlap, and while others have the card, time passes that is not the slice's. The
//! driver's own figure has none of these, but comes late and in steps. So it corrects measured
//! costs by a factor, slowly, and leaves the factor alone while it is about right.
//!
//! What was charged wrongly until then is settled as a debt or a credit, so that in the long run the
//! slice has had what the driver saw, whatever the factor was.

use super::flight::IN_FLIGHT_NS_MAX;

/// Shorter looks say more about when they were taken than about use.
const SPAN_NS_MIN: u64 = 100_000_000;

/// A look never covers more than this.
const SPAN_NS_MAX: u64 = 30_000_000_000;

/// A look must cover so many of the largest submissions.
const LARGEST_MIN: u64 = 5;

/// The pool's looks come this much late or early.
const LOOK_JITTER_NS: i64 = 10_000_000;

/// Looks at less use than this part of the time are not worth following: one in twenty.
const USE_PART_MIN: u64 = 20;

/// Errors below this, in millionths, are left alone.
const DEAD_BAND_PPM: i64 = 10_000;

/// The factor moves by one part in so many of the way; faster while it is far off.
const INERTIA: i64 = 4;
const INERTIA_FAR: i64 = 2;
/// And slowly while a single submission on this or that side of a look could have made the error.
const INERTIA_IN_DOUBT: i64 = 12;

/// Errors above this, in millionths, are far off.
const FAR_PPM: i64 = 100_000;

const ONE_PPM: u64 = 1_000_000;
const PPM_MIN: i64 = 200_000;
const PPM_MAX: i64 = 2_000_000;

/// A look of the driver's at a slice, as far as it goes beyond the look before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Time between the looks.
    pub span_ns: u64,
    /// Use that the driver saw meanwhile.
    pub busy_ns: u64,
    /// Use that was measured meanwhile, without any factor.
    pub measured_ns: u64,
    /// The most that one submission took: it may have been charged on one side of a look and seen
    /// on the other.
    pub largest_ns: u64,
}

impl Seen {
    /// Whether it says enough to be followed; otherwise the next look covers its time too.
    pub fn is_telling(self) -> bool {
        self.span_ns >= SPAN_NS_MIN
            && self.measured_ns >= self.span_ns / USE_PART_MIN
            && self.measured_ns >= self.largest_ns.saturating_mul(LARGEST_MIN)
            || self.span_ns >= SPAN_NS_MAX
    }
}

/// What must be settled so that charges agree with what the driver saw, both counted from the same
/// moment: positive for a debt. What may still be under way is left out, and so is what may have
/// been submitted but not run.
pub fn gap_ns(busy_ns: u64, charged_ns: u64, largest_ns: u64) -> i64 {
    let signed = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
    let gap = signed(busy_ns).saturating_sub(signed(charged_ns));
    let largest = signed(largest_ns);
    let too_little = largest.saturating_add(LOOK_JITTER_NS);
    let too_much = largest.saturating_add(signed(IN_FLIGHT_NS_MAX));
    match gap {
        gap if gap > too_little => gap - too_little,
        gap if gap < -too_much => gap + too_much,
        _ => 0,
    }
}

/// The factor after a look, in millionths. 0, as on a new page, stands for 1.
pub fn next_correction(factor_ppm: u64, seen: Seen) -> u64 {
    let factor = if factor_ppm == 0 { ONE_PPM } else { factor_ppm } as i64;
    if !seen.is_telling() || seen.busy_ns == 0 || seen.measured_ns == 0 {
        return factor as u64;
    }
    let target = u128::from(seen.busy_ns) * u128::from(ONE_PPM) / u128::from(seen.measured_ns);
    let target = i64::try_from(target).unwrap_or(PPM_MAX).clamp(PPM_MIN, PPM_MAX);
    let error = target - factor;
    if error.abs() <= DEAD_BAND_PPM {
        return factor as u64;
    }
    // The largest took the card for that much less, too.
    let largest = u128::from(corrected(seen.largest_ns, factor as u64));
    let doubt = largest * u128::from(ONE_PPM) / u128::from(seen.measured_ns);
    let doubt = i64::try_from(doubt).unwrap_or(PPM_MAX).min(PPM_MAX);
    let beyond_doubt = error.abs() - doubt;
    let inertia = if beyond_doubt <= DEAD_BAND_PPM {
        INERTIA_IN_DOUBT
    } else if beyond_doubt <= FAR_PPM {
        INERTIA
    } else {
        INERTIA_FAR
    };
    (factor + error / inertia).clamp(PPM_MIN, PPM_MAX) as u64
}

/// A cost with the factor applied.
pub fn corrected(cost_ns: u64, factor_ppm: u64) -> u64 {
    if factor_ppm == 0 || factor_ppm == ONE_PPM {
        return cost_ns;
    }
    let cost = u128::from(cost_ns) * u128::from(factor_ppm) / u128::from(ONE_PPM);
    u64::try_from(cost).unwrap_or(u64::MAX)
}
