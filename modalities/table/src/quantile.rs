//! Rank among the training values -> normal distribution, as scikit-learn's `QuantileTransformer`
//! with `output_distribution="normal"` does, with the ends cut where the sample has nothing to say.

use serde::{Deserialize, Serialize};

/// Largest number of knots of the learned distribution.
const KNOTS: usize = 256;

/// Most values that are kept to learn the distribution; of more, an even share is kept.
const KEPT: usize = 1 << 20;

/// A learned distribution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Distribution {
    /// Values at evenly spaced probabilities from 0 to 1, not falling.
    knots: Vec<f64>,
    /// How many values it was learned from.
    count: u64,
}

impl Distribution {
    /// Whether this can be used; a checkpoint may hold anything.
    pub(crate) fn is_sound(&self) -> bool {
        !self.knots.is_empty() && self.count > 0 && self.knots.iter().all(|k| k.is_finite()) && self.knots.is_sorted()
    }

    /// Standard normal deviate of the rank of `value`, at most that of half a value from the end.
    pub(crate) fn normal(&self, value: f64) -> f64 {
        let edge = 0.5 / self.count as f64;
        normal_quantile(self.probability(value).clamp(edge, 1.0 - edge))
    }

    /// Share of the training values below `value`; in the middle of a run of equal knots.
    fn probability(&self, value: f64) -> f64 {
        // Knots below `value`, and knots not above it.
        let low = self.knots.partition_point(|k| *k < value);
        let high = self.knots.partition_point(|k| *k <= value);
        let last = self.knots.len() - 1;
        if last == 0 {
            // One value says nothing about ranks.
            return 0.5;
        }
        let position = if high > low {
            (low + high - 1) as f64 / 2.0
        } else if low == 0 {
            0.0
        } else if low > last {
            last as f64
        } else {
            let (before, after) = (self.knots[low - 1], self.knots[low]);
            (low - 1) as f64 + (value - before) / (after - before)
        };
        position / last as f64
    }
}

/// Collects values for a [`Distribution`] in bounded memory.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    values: Vec<f64>,
    /// Every so many-th value is kept.
    stride: u64,
    seen: u64,
}

impl Sample {
    pub(crate) fn new() -> Self {
        Self { values: Vec::new(), stride: 1, seen: 0 }
    }

    pub(crate) fn add(&mut self, value: f64) {
        if self.seen.is_multiple_of(self.stride) {
            self.values.push(value);
            if self.values.len() == KEPT {
                // Every second one, so that what is kept stays evenly spread over all that was seen.
                self.values = self.values.iter().copied().step_by(2).collect();
                self.stride *= 2;
            }
        }
        self.seen += 1;
    }

    /// What was kept.
    pub(crate) fn into_values(self) -> Vec<f64> {
        self.values
    }

    /// `None` if no value was added.
    pub(crate) fn finish(mut self) -> Option<Distribution> {
        self.values.sort_by(f64::total_cmp);
        let last = self.values.len().checked_sub(1)?;
        let knots = KNOTS.min(self.values.len());
        let at = |i: usize| {
            // Linear between order statistics, as numpy's default percentile.
            let position = if knots == 1 { 0.0 } else { i as f64 * last as f64 / (knots - 1) as f64 };
            let (low, share) = (position.floor() as usize, position.fract());
            let (a, b) = (self.values[low], self.values[(low + 1).min(last)]);
            if a == b { a } else { a * (1.0 - share) + b * share }
        };
        let mut knots: Vec<f64> = (0..knots).map(at).collect();
        // Rounding must not let two neighbours swap.
        knots.sort_by(f64::total_cmp);
        Some(Distribution { knots, count: self.seen })
    }
}

/// Inverse of the standard normal distribution function for `0 < p < 1`, relative error below
/// 1.2e-9. Source: the rational approximation of P. J. Acklam (2003).
#[expect(clippy::excessive_precision, reason = "coefficients as they were published")]
fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969683028665376e+01,
        2.209460984245205e+02,
        -2.759285104469687e+02,
        1.383577518672690e+02,
        -3.066479806614716e+01,
        2.506628277459239e+00,
    ];
    const B: [f64; 6] = [
        -5.447609879822406e+01,
        1.615858368580409e+02,
        -1.556989798598866e+02,
        6.680131188771972e+01,
        -1.328068155288572e+01,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784894002430293e-03,
        -3.223964580411365e-01,
        -2.400758277161838e+00,
        -2.549732539343734e+00,
        4.374664141464968e+00,
        2.938163982698783e+00,
    ];
    const D: [f64; 5] =
        [7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00, 3.754408661907416e+00, 1.0];
    const TAIL: f64 = 0.02425;
    let polynomial = |coefficients: &[f64], x: f64| coefficients.iter().fold(0.0, |sum, c| sum * x + c);
    let tail = |p: f64| {
        let q = (-2.0 * p.ln()).sqrt();
        polynomial(&C, q) / polynomial(&D, q)
    };
    if p < TAIL {
        tail(p)
    } else if p > 1.0 - TAIL {
        -tail(1.0 - p)
    } else {
        let q = p - 0.5;
        q * polynomial(&A, q * q) / polynomial(&B, q * q)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_quantiles_are_those_of_scipy() {
        // scipy.stats.norm.ppf
        for (p, expected) in PPF {
            assert!((normal_quantile(*p) - expected).abs() < 1e-8, "{p}");
        }
    }

    #[test]
    fn ranks_are_those_of_scikit_learn() {
        // QuantileTransformer(n_quantiles=8, output_distribution="normal") on VALUES, within its middle.
        let mut sample = Sample::new();
        for value in VALUES {
            sample.add(*value);
        }
        let distribution = sample.finish().unwrap();
        for (value, expected) in RANKS {
            let got = distribution.normal(*value);
            assert!((got - expected).abs() < 1e-8, "{value}: {got}, not {expected}");
        }
    }

    #[test]
    fn values_outside_the_sample_are_half_a_value_from_its_end() {
        let mut sample = Sample::new();
        for value in VALUES {
            sample.add(*value);
        }
        let distribution = sample.finish().unwrap();
        let edge = normal_quantile(0.5 / VALUES.len() as f64);
        assert_eq!(distribution.normal(-1e30), edge);
        assert_eq!(distribution.normal(1e30), -edge);
    }

    #[test]
    fn one_value_says_nothing_about_ranks() {
        let mut sample = Sample::new();
        sample.add(3.0);
        let distribution = sample.finish().unwrap();
        assert_eq!([2.0, 3.0, 4.0].map(|x| distribution.normal(x)), [0.0; 3]);
        assert!(Sample::new().finish().is_none());
    }

    #[test]
    fn large_samples_keep_an_even_share() {
        let mut sample = Sample::new();
        let count = 3 * KEPT;
        for i in 0..count {
            sample.add(i as f64);
        }
        assert!(sample.values.len() < KEPT);
        let distribution = sample.finish().unwrap();
        assert!((distribution.probability(count as f64 / 4.0) - 0.25).abs() < 1e-4);
        assert_eq!(distribution.knots.len(), KNOTS);
    }

    const PPF: &[(f64, f64)] = &[
        (1e-06, -4.753424308822899),
        (0.01, -2.3263478740408408),
        (0.024, -1.977368428181947),
        (0.025, -1.9599639845400545),
        (0.3, -0.5244005127080409),
        (0.5, 0.0),
        (0.9, 1.2815515655446004),
        (0.999, 3.090232306167813),
    ];
    const VALUES: &[f64] = &[0.3, 2.0, 2.0, 2.0, 5.5, 7.25, 11.0, 40.0];
    const RANKS: &[(f64, f64)] = &[
        (1.9, -1.1055818181920722),
        (2.0, -0.5659488219328631),
        (3.0, -0.07680897576940825),
        (5.5, 0.18001236979270496),
        (9.0, 0.7754137071463972),
        (10.5, 0.9866596365158969),
        (20.0, 1.290018211741238),
    ];
}
