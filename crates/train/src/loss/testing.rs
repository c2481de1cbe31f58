//! What the losses' tests share.

use cotenant_transformer::random;

/// Values in `-1..1`.
pub(super) fn random_rows(count: usize, seed: u64) -> Vec<f32> {
    (0..count).map(|i| random::unit(random::mix(&[seed, i as u64])) * 2.0 - 1.0).collect()
}

/// Cosine of two vectors.
pub(super) fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Compares loss and gradient with a definition in f64 and its central differences.
pub(super) fn slopes_agree(
    loss: f32,
    gradient: &[f32],
    rows: &[f32],
    definition: impl Fn(&[f64]) -> f64,
) {
    let mut rows: Vec<f64> = rows.iter().map(|&value| value.into()).collect();
    let expected = definition(&rows);
    assert!(
        (f64::from(loss) - expected).abs() < 1e-5 * (1.0 + expected.abs()),
        "{loss} for {expected}"
    );
    let step = 1e-5;
    for (at, &slope) in gradient.iter().enumerate() {
        let value = rows[at];
        rows[at] = value + step;
        let above = definition(&rows);
        rows[at] = value - step;
        let below = definition(&rows);
        rows[at] = value;
        let expected = (above - below) / (2.0 * step);
        let error = (f64::from(slope) - expected).abs();
        assert!(error < 1e-5 * (1.0 + expected.abs()) + 1e-6, "value {at}: {slope} for {expected}");
    }
}
