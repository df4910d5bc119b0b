//! Distributions of a scalar that need no network, over the same bins as a model's: the marginal and a normal one.

use crate::Bins;
use candle_core::cpu::erf::erf_f64 as erf;

/// Probability of each bin under a normal distribution; what is beyond the ends is in the first and last.
pub(super) fn normal(bins: &Bins, mean: f64, deviation: f64) -> Vec<f64> {
    let below = |edge: f64| 0.5 * (1.0 + erf((edge - mean) / (deviation * std::f64::consts::SQRT_2)));
    let count = bins.centres.len();
    let inner = bins.edges.get(1..count).unwrap_or_default();
    let cumulative: Vec<f64> = std::iter::once(0.0).chain(inner.iter().map(|edge| below(*edge))).chain([1.0]).collect();
    cumulative.windows(2).map(|pair| (pair[1] - pair[0]).max(0.0)).collect()
}

/// Weights of the bins after `codes`, each with as many made-up objects as make them most probable when each is left out.
pub(super) fn marginal(codes: &[usize], width: usize) -> Vec<f64> {
    let mut counts = vec![0.0_f64; width];
    codes.iter().filter_map(|code| counts.get_mut(*code).map(|count| *count += 1.0)).count();
    let all: f64 = counts.iter().sum();
    let left_out = |more: f64| -> f64 {
        let total = all - 1.0 + more * width as f64;
        counts.iter().filter(|count| **count > 0.0).map(|count| count * ((count - 1.0 + more) / total).ln()).sum()
    };
    let tries = (-16..=8).map(|power| 2_f64.powf(f64::from(power) / 2.0));
    let best = tries.max_by(|a, b| left_out(*a).total_cmp(&left_out(*b))).unwrap_or(1.0);
    counts.iter().map(|count| count + best).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Posterior;

    #[test]
    fn the_marginal_is_the_histogram_as_far_as_the_training_split_supports_it() {
        // Many objects of two bins: hardly any made-up ones.
        let codes: Vec<usize> = (0..1000).map(|i| usize::from(i % 4 == 0)).collect();
        let weights = Posterior::new(&bins(3), marginal(&codes, 3)).probabilities().to_vec();
        assert!((weights[0] - 0.75).abs() < 1e-2 && (weights[1] - 0.25).abs() < 1e-2 && weights[2] > 0.0);
        // One object per bin says that all are alike.
        let weights = marginal(&[0, 2, 4, 6], 8);
        assert!(weights.iter().cloned().fold(0.0, f64::max) < 1.2 * weights.iter().cloned().fold(f64::MAX, f64::min));
    }

    #[test]
    fn a_normal_distribution_keeps_its_tails() {
        let p = normal(&bins(4), 2.0, 1.0);
        let inner = 0.341_344_746;
        let expected = [0.5 - inner, inner, inner, 0.5 - inner];
        assert!(p.iter().zip(expected).all(|(p, e)| (p - e).abs() < 1e-6), "{p:?}");
    }

    fn bins(count: usize) -> Bins {
        Bins {
            name: "x".into(),
            unit: String::new(),
            centres: (0..count).map(|i| i as f64 + 0.5).collect(),
            edges: (0..=count).map(|i| i as f64).collect(),
        }
    }
}
