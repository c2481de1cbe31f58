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

/// What neighbours say on average, near ones more; as many points as there were.
pub(super) fn smoothed(points: &[Point]) -> Vec<Point> {
    let radius = if points.len() < 5 { 0 } else { (points.len() / 16).max(1) };
    fitted(&fitted(points, radius), radius)
}

/// Evenly chosen points, the first and the last among them.
pub(super) fn thinned(points: &[Point]) -> Vec<Point> {
    if points.len() <= POINTS_MAX {
        return points.to_vec();
    }
    (0..POINTS_MAX).map(|n| points[n * (points.len() - 1) / (POINTS_MAX - 1)]).collect()
}

/// At each point, the straight line through the neighbours within `radius`. Inside the curve that
/// is their mean; at its ends, where neighbours are on one side only, a mean would lag behind.
fn fitted(points: &[Point], radius: usize) -> Vec<Point> {
    let sums = running_sums(points.iter().map(|point| point.value));
    let moments =
        running_sums(points.iter().zip(0..).map(|(point, at)| point.value * f64::from(at)));
    let fit = |(at, point): (usize, &Point)| {
        let (from, to) = (at.saturating_sub(radius), (at + radius + 1).min(points.len()));
        let number = (to - from) as f64;
        let middle = (from + to - 1) as f64 / 2.0;
        let sum = sums[to] - sums[from];
        let spread = number * (number * number - 1.0) / 12.0;
        let covariance = moments[to] - moments[from] - middle * sum;
        let slope = if spread > 0.0 { covariance / spread } else { 0.0 };
        Point { step: point.step, value: sum / number + slope * (at as f64 - middle) }
    };
    points.iter().enumerate().map(fit).collect()
}

/// The sum of the first 0, 1, 2 … values.
fn running_sums(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sum = 0.0;
    let later = values.map(|value| {
        sum += value;
        sum
    });
    std::iter::once(0.0).chain(later).collect()
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
        let ends = [smoothed(&points(&noise))[0], smoothed(&points(&noise))[99]];
        assert!(ends.iter().all(|point| (point.value - 0.5).abs() < 0.3), "{ends:?}");
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
