//! The learning rate of each step.

use std::f64::consts::PI;

use crate::spec::{Decay, Settings};

/// Warm-up, then decay to 0 after the last step, as `transformers` schedules it but for the first
/// step: that has its share of the peak already, since a step at learning rate 0 learns nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Learning rate after warm-up.
    pub peak: f32,
    /// Steps of warm-up.
    pub warmup_steps: u64,
    /// Steps in all.
    pub steps_total: u64,
    /// What follows warm-up.
    pub decay: Decay,
}

impl Schedule {
    /// The schedule of a run of so many steps; a part of a step counts as a step of warm-up.
    pub fn new(settings: &Settings, steps_total: u64) -> Self {
        let thousandths = steps_total.saturating_mul(u64::from(settings.warmup_per_mille));
        Self {
            peak: settings.learning_rate,
            warmup_steps: thousandths.div_ceil(1000),
            steps_total,
            decay: settings.decay,
        }
    }

    /// The learning rate of a step, counted from 0.
    pub fn rate(&self, step: u64) -> f32 {
        let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        let factor = if step < self.warmup_steps {
            share(step + 1, self.warmup_steps)
        } else {
            let falling = self.steps_total.saturating_sub(self.warmup_steps);
            match self.decay {
                Decay::Constant => 1.0,
                Decay::Linear => share(self.steps_total.saturating_sub(step), falling),
                Decay::Cosine => {
                    let progress = share(step - self.warmup_steps, falling).min(1.0);
                    0.5 * (1.0 + (PI * progress).cos())
                }
            }
        };
        (f64::from(self.peak) * factor) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::{Decay, Schedule, Settings};

    /// Expected values written out by hand.
    fn check(decay: Decay, warmup_per_mille: u32, steps_total: u64, expected: &[f32]) {
        let settings =
            Settings { learning_rate: 1.0, warmup_per_mille, decay, ..Settings::default() };
        let schedule = Schedule::new(&settings, steps_total);
        for (step, &rate) in expected.iter().enumerate() {
            let found = schedule.rate(step as u64);
            assert!((found - rate).abs() < 1e-6, "{decay:?} step {step}: {found} for {rate}");
        }
    }

    #[test]
    fn rates_rise_to_the_peak_and_fall_to_nothing() {
        check(Decay::Linear, 0, 4, &[1.0, 0.75, 0.5, 0.25, 0.0, 0.0]);
        check(Decay::Linear, 400, 5, &[0.5, 1.0, 1.0, 2.0 / 3.0, 1.0 / 3.0, 0.0]);
        check(Decay::Linear, 100, 5, &[1.0, 1.0, 0.75, 0.5, 0.25]);
        check(Decay::Cosine, 200, 5, &[1.0, 1.0, 0.853_553_4, 0.5, 0.146_446_6, 0.0]);
        check(Decay::Constant, 500, 4, &[0.5, 1.0, 1.0, 1.0, 1.0]);
        check(Decay::Linear, 999, 1, &[1.0]);
    }
}
