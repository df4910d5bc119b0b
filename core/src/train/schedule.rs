//! The learning rate over a run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Shape of the learning rate after warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// Half a cosine from the peak to the final rate.
    #[default]
    Cosine,
    /// The peak throughout.
    Constant,
    /// The peak, then a straight line to the final rate over the last fifth (warm-up, stable, decay).
    Wsd,
}

/// Learning rate as a function of the step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Shape after warm-up.
    pub kind: ScheduleKind,
    /// Highest rate.
    pub peak: f64,
    /// Rate at the end, as a share of the peak.
    pub final_share: f64,
    /// Steps of linear warm-up.
    pub warmup: u64,
    /// Steps in all.
    pub steps: u64,
}

/// Share of a `wsd` schedule that decays.
const DECAY_SHARE: f64 = 0.2;

impl Schedule {
    /// Rate of step `step`, counted from 0. The first step is not zero: it would be wasted.
    #[must_use]
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        let length = self.steps.saturating_sub(self.warmup).max(1) as f64;
        let done = ((step - self.warmup) as f64 / length).min(1.0);
        let share = match self.kind {
            ScheduleKind::Constant => 1.0,
            ScheduleKind::Cosine => {
                let cosine = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
                self.final_share + (1.0 - self.final_share) * cosine
            }
            ScheduleKind::Wsd => {
                let decayed = ((done - (1.0 - DECAY_SHARE)) / DECAY_SHARE).max(0.0);
                1.0 - (1.0 - self.final_share) * decayed
            }
        };
        self.peak * share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(kind: ScheduleKind) -> Schedule {
        Schedule { kind, peak: 2.0, final_share: 0.1, warmup: 10, steps: 110 }
    }

    #[test]
    fn warm_up_is_linear_and_ends_at_the_peak() {
        for kind in [ScheduleKind::Cosine, ScheduleKind::Constant, ScheduleKind::Wsd] {
            let s = schedule(kind);
            assert_eq!(s.rate(0), 0.2);
            assert_eq!(s.rate(9), 2.0);
            assert_eq!(s.rate(10), 2.0);
        }
    }

    #[test]
    fn ends_at_the_final_share_and_stays_there() {
        for (kind, end) in [(ScheduleKind::Cosine, 0.2), (ScheduleKind::Constant, 2.0), (ScheduleKind::Wsd, 0.2)] {
            let s = schedule(kind);
            assert!((s.rate(110) - end).abs() < 1e-12, "{kind:?}");
            assert!((s.rate(500) - end).abs() < 1e-12, "{kind:?}");
        }
        // Half way down the cosine: 0.1 + 0.9 * 0.5 of the peak.
        assert!((schedule(ScheduleKind::Cosine).rate(60) - 1.1).abs() < 1e-12);
        assert_eq!(schedule(ScheduleKind::Wsd).rate(80), 2.0);
    }
}
