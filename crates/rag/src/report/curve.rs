//! Curves before they are drawn: what can be drawn of them, smoothed, and thinned to a bounded size.

use crate::report::model::Point;

/// Points that are drawn of one curve: more cannot be told apart and only make the page heavy.
pub(super) const POINTS_MAX: usize = 240;

/// Larger values than this have no place on an axis that people read.
const VALUE_MAX: f64 = 1e12;

/// The points that an axis can show, by step.
pub(super) fn drawable(points: &[Point]) -> Vec<Point> {
    let shown = |point: &&Point| point.value.is_finite() && point.value.abs() < VALUE_MAX;
    let mut points: Vec<Point> = points.iter().filter(shown).copied().collect();
    points.sort_by_key(|point| point.step);
    points
}

/// A mean over neighbours, twice, so that near ones count more; as many points as there were.
pub(super) fn smoothed(points: &[Point]) -> Vec<Point> {
    let radius = if points.len() < 5 { 0 } else { (points.len() / 24).max(1) };
    box_mean(&box_mean(points, radius), radius)
}

/// Evenly chosen points, the first and the last among them.
pub(super) fn thinned(points: &[Point]) -> Vec<Point> {
    if points.len() <= POINTS_MAX {
        return points.to_vec();
    }
    (0..POINTS_MAX).map(|n| points[n * (points.len() - 1) / (POINTS_MAX - 1)]).collect()
}

fn box_mean(points: &[Point], radius: usize) -> Vec<Point> {
    let mut sums = vec![0.0];
    sums.extend(points.iter().scan(0.0, |sum, point| {
        *sum += point.value;
        Some(*sum)
    }));
    let mean = |(at, point): (usize, &Point)| {
        // The window shrinks on both sides at the ends, so that the ends are not pulled inwards.
        let radius = radius.min(at).min(points.len() - 1 - at);
        let (from, to) = (at - radius, at + radius + 1);
        Point { step: point.step, value: (sums[to] - sums[from]) / (to - from) as f64 }
    };
    points.iter().enumerate().map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(values: &[f64]) -> Vec<Point> {
        values.iter().zip(0..).map(|(value, step)| Point { step, value: *value }).collect()
    }

    #[test]
    fn values_without_a_place_are_left_out() {
        let curve = points(&[1.0, f64::NAN, f64::INFINITY, 1e300, 2.0]);
        let steps: Vec<u64> = drawable(&curve).iter().map(|point| point.step).collect();
        assert_eq!(steps, [0, 4]);
        let mut reversed = points(&[1.0, 2.0, 3.0]);
        reversed.reverse();
        assert_eq!(drawable(&reversed), points(&[1.0, 2.0, 3.0]));
    }

    #[test]
    fn smoothing_keeps_lines_and_calms_noise() {
        let line: Vec<f64> = (0..100).map(f64::from).collect();
        for (smooth, raw) in smoothed(&points(&line)).iter().zip(&line) {
            assert!((smooth.value - raw).abs() < 1e-9, "{smooth:?} {raw}");
        }
        let noise: Vec<f64> = (0..100).map(|n| f64::from(n % 2)).collect();
        let middle = &smoothed(&points(&noise))[20..80];
        assert!(middle.iter().all(|point| (point.value - 0.5).abs() < 0.05), "{middle:?}");
        for few in [&[][..], &[1.0], &[1.0, 5.0, 2.0]] {
            assert_eq!(smoothed(&points(few)), points(few));
        }
    }

    #[test]
    fn thinning_keeps_the_ends() {
        let long = points(&vec![1.0; 10_000]);
        let thin = thinned(&long);
        assert_eq!(thin.len(), POINTS_MAX);
        assert_eq!((thin[0], thin[POINTS_MAX - 1]), (long[0], long[9_999]));
        assert_eq!(thinned(&long[..7]), long[..7]);
    }
}
