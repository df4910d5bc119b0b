//! Which tokens become known in which step.

use super::GenerateError;
use crate::Result;
use std::f64::consts::FRAC_PI_2;

/// In which steps the tokens of a modality are drawn. What is drawn in one step is drawn independently of each other; later steps are given
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// All at once.
    OneStep,
    /// One after the other, in the order of their numbers.
    Autoregressive,
    /// In each step all that are left are drawn, and those are kept that were most probable; how many follows a cosine, from few to
    /// many. Source: Chang et al. 2022 (MaskGIT), section 3.2 and 3.3, without noise on the confidence.
    MaskGit {
        /// Number of steps.
        steps: usize,
    },
    /// In random order, equally many in each step: Mizrahi et al. 2023 (4M), section 4.
    Roar {
        /// Number of steps.
        steps: usize,
    },
}

impl Schedule {
    /// As the command line calls it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::OneStep => "one_step",
            Self::Autoregressive => "autoregressive",
            Self::MaskGit { .. } => "maskgit",
            Self::Roar { .. } => "roar",
        }
    }

    /// Refuses a number of steps that is out of range.
    ///
    /// # Errors
    /// [`GenerateError::OutOfRange`].
    pub fn check(&self) -> Result<()> {
        match self {
            Self::MaskGit { steps: 0 } | Self::Roar { steps: 0 } => {
                Err(GenerateError::OutOfRange { name: "steps", expected: "at least 1", found: "0".into() }.into())
            }
            _ => Ok(()),
        }
    }

    /// How many of `tokens` tokens become known in each step: as many steps as asked for, or one per token if those are fewer.
    #[must_use]
    pub fn counts(&self, tokens: usize) -> Vec<usize> {
        if tokens == 0 {
            return Vec::new();
        }
        match *self {
            Self::OneStep => vec![tokens],
            Self::Autoregressive => vec![1; tokens],
            Self::Roar { steps } => {
                let steps = steps.clamp(1, tokens);
                (0..steps).map(|i| tokens / steps + usize::from(i < tokens % steps)).collect()
            }
            Self::MaskGit { steps } => {
                let steps = steps.clamp(1, tokens);
                let mut left = tokens;
                let mut counts = Vec::with_capacity(steps);
                for step in 1..=steps {
                    let share = (FRAC_PI_2 * step as f64 / steps as f64).cos();
                    // Each step makes one token known at least, and leaves one for each that comes.
                    let after = ((tokens as f64 * share) as usize).clamp(steps - step, left - 1);
                    let after = if step == steps { 0 } else { after };
                    counts.push(left - after);
                    left = after;
                }
                counts
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_cosine_begins_with_few() {
        // Left after each step: 16 cos(π/8 k) = 14.8, 11.3, 6.1, 0.
        assert_eq!(Schedule::MaskGit { steps: 4 }.counts(16), [2, 3, 5, 6]);
        assert_eq!(Schedule::Roar { steps: 3 }.counts(8), [3, 3, 2]);
        assert_eq!(Schedule::Autoregressive.counts(3), [1, 1, 1]);
        assert_eq!(Schedule::OneStep.counts(3), [3]);
    }

    proptest! {
        #[test]
        fn every_token_becomes_known_once(tokens in 0_usize..300, steps in 1_usize..40) {
            for schedule in [
                Schedule::OneStep,
                Schedule::Autoregressive,
                Schedule::MaskGit { steps },
                Schedule::Roar { steps },
            ] {
                let counts = schedule.counts(tokens);
                prop_assert_eq!(counts.iter().sum::<usize>(), tokens);
                prop_assert!(counts.iter().all(|count| *count > 0));
                if let Schedule::MaskGit { .. } | Schedule::Roar { .. } = schedule {
                    prop_assert_eq!(counts.len(), steps.min(tokens));
                }
            }
        }
    }
}
