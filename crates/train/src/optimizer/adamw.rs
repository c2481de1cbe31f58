//! AdamW and clipping, with PyTorch's arithmetic.

use cotenant_transformer::AdamStep;

use crate::spec::Settings;

/// Decay of the running mean of gradients.
const BETA1: f64 = 0.9;
/// Decay of the running mean of squared gradients.
const BETA2: f64 = 0.999;
/// Keeps the quotient finite.
const EPSILON: f32 = 1e-8;

/// One tenant's optimizer state, for all values of its adapter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdamW {
    /// Running mean of gradients.
    pub mean: Vec<f32>,
    /// Running mean of squared gradients.
    pub square: Vec<f32>,
    /// Steps taken, wherever the means are.
    pub steps: u64,
}

impl AdamW {
    /// The state before the first step on so many values.
    pub fn new(values: usize) -> Self {
        Self { mean: vec![0.0; values], square: vec![0.0; values], steps: 0 }
    }

    /// What a device that keeps the means is told of the next step.
    pub(crate) fn next_step(&self, settings: &Settings, learning_rate: f32) -> AdamStep {
        AdamStep {
            beta1: BETA1,
            beta2: BETA2,
            epsilon: EPSILON,
            learning_rate,
            weight_decay: settings.weight_decay,
            norm_max: settings.clip_norm,
            steps: self.steps + 1,
        }
    }

    /// One step on `values` (all three slices have the state's length): decoupled weight decay,
    /// then Adam with bias correction, as `torch.optim.AdamW` does it value by value.
    pub fn step(
        &mut self,
        values: &mut [f32],
        gradient: &[f32],
        learning_rate: f32,
        weight_decay: f32,
    ) {
        assert_eq!(values.len(), self.mean.len(), "one state a value");
        assert_eq!(gradient.len(), self.mean.len(), "one gradient a value");
        self.steps += 1;
        let power = |beta: f64| 1.0 - beta.powi(self.steps.min(i32::MAX as u64) as i32);
        let rate = f64::from(learning_rate);
        let size = (rate / power(BETA1)) as f32;
        let root = power(BETA2).sqrt() as f32;
        let kept = (1.0 - rate * f64::from(weight_decay)) as f32;
        let (mean_part, square_part) = ((1.0 - BETA1) as f32, (1.0 - BETA2) as f32);
        let state = self.mean.iter_mut().zip(&mut self.square);
        for ((value, &slope), (mean, square)) in values.iter_mut().zip(gradient).zip(state) {
            *mean += mean_part * (slope - *mean);
            *square = *square * BETA2 as f32 + square_part * slope * slope;
            *value *= kept;
            *value -= size * (*mean / (square.sqrt() / root + EPSILON));
        }
    }
}

/// Euclidean norm of the gradient; scales it down to `norm_max` if it is longer, as
/// `torch.nn.utils.clip_grad_norm_` does. A gradient whose norm is not finite is left alone.
pub fn clip(gradient: &mut [f32], norm_max: Option<f32>) -> f32 {
    let norm = gradient.iter().map(|&slope| f64::from(slope).powi(2)).sum::<f64>().sqrt() as f32;
    if let Some(norm_max) = norm_max {
        let factor = norm_max / (norm + 1e-6);
        if norm.is_finite() && factor < 1.0 {
            gradient.iter_mut().for_each(|slope| *slope *= factor);
        }
    }
    norm
}

#[cfg(test)]
mod tests {
    use super::{AdamW, clip};

    /// AdamW as the paper writes it (arXiv:1711.05101, algorithm 2), in f64.
    fn reference(start: &[f64], gradients: &[Vec<f32>], rate: f64, decay: f64) -> Vec<f64> {
        let mut values = start.to_vec();
        for (i, value) in values.iter_mut().enumerate() {
            let (mut mean, mut square) = (0.0, 0.0);
            for (step, gradient) in gradients.iter().enumerate() {
                let slope = f64::from(gradient[i]);
                let t = step as i32 + 1;
                mean = 0.9 * mean + 0.1 * slope;
                square = 0.999 * square + 0.001 * slope * slope;
                let corrected = mean / (1.0 - 0.9_f64.powi(t));
                let spread = (square / (1.0 - 0.999_f64.powi(t))).sqrt();
                *value = *value - rate * decay * *value - rate * corrected / (spread + 1e-8);
            }
        }
        values
    }

    fn check(rate: f32, decay: f32) {
        let start = [0.5_f32, -1.25, 3.0, 0.0];
        let gradients: Vec<Vec<f32>> = (0..10)
            .map(|step| (0..4).map(|i| ((step * 7 + i * 3) % 11) as f32 * 0.1 - 0.45).collect())
            .collect();
        let mut values = start;
        let mut optimizer = AdamW::new(4);
        for gradient in &gradients {
            optimizer.step(&mut values, gradient, rate, decay);
        }
        let start = start.map(f64::from);
        let expected = reference(&start, &gradients, rate.into(), decay.into());
        for (found, expected) in values.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 2e-6, "{found} for {expected}");
        }
    }

    #[test]
    fn steps_are_those_of_the_paper() {
        check(1e-2, 0.0);
        check(1e-2, 0.1);
        check(1e-4, 0.01);
    }

    #[test]
    fn a_long_gradient_is_scaled_to_the_limit_and_a_short_one_kept() {
        let mut long = [3.0, 4.0];
        assert_eq!(clip(&mut long, Some(1.0)), 5.0);
        assert!((long[0] - 0.6).abs() < 1e-6 && (long[1] - 0.8).abs() < 1e-6, "{long:?}");
        let mut short = [0.3, 0.4];
        assert_eq!(clip(&mut short, Some(1.0)), 0.5);
        assert_eq!(short, [0.3, 0.4]);
        let mut free = [3.0, 4.0];
        assert_eq!(clip(&mut free, None), 5.0);
        assert_eq!(free, [3.0, 4.0]);
        let mut wild = [f32::INFINITY, 1.0];
        assert!(!clip(&mut wild, Some(1.0)).is_finite());
        assert_eq!(wild[1], 1.0);
    }
}
