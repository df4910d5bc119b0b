//! What probes share: checked features, in f64, with mean 0 and standard deviation 1.

use nalgebra::DMatrix;
use panchroma_core::{Error, ProbeTarget, Result};
use rayon::prelude::*;

/// An error of the probe `name`.
pub(crate) fn refuse(name: &str, reason: impl Into<String>) -> Error {
    Error::Plugin { kind: "probe", name: name.into(), reason: reason.into() }
}

/// Checks features and target of a fit: as many rows as targets, at least `least`, all finite.
pub(crate) fn check(name: &str, features: &[f32], width: usize, target: &ProbeTarget, least: usize) -> Result<()> {
    let rows = target.len();
    if width == 0 || features.len() != rows * width {
        return Err(Error::Shape {
            part: format!("probe `{name}`, features"),
            expected: format!("{rows} rows of {width}"),
            found: format!("{} values", features.len()),
        });
    }
    if rows < least {
        return Err(refuse(name, format!("expected at least {least} objects with a target to fit on, got {rows}")));
    }
    let finite = match target {
        ProbeTarget::Numbers(numbers) => numbers.iter().all(|n| n.is_finite()),
        ProbeTarget::Classes { labels, names } => labels.iter().all(|l| *l < names.len()),
    };
    if !finite {
        return Err(refuse(name, "expected finite targets, or classes that have a name"));
    }
    check_finite(name, features)
}

/// Checks features of a prediction.
pub(crate) fn check_width(name: &str, features: &[f32], width: usize) -> Result<()> {
    if !features.len().is_multiple_of(width) {
        return Err(Error::Shape {
            part: format!("probe `{name}`, features"),
            expected: format!("rows of {width}, as in the fit"),
            found: format!("{} values", features.len()),
        });
    }
    check_finite(name, features)
}

fn check_finite(name: &str, features: &[f32]) -> Result<()> {
    match features.iter().filter(|x| !x.is_finite()).count() {
        0 => Ok(()),
        count => Err(refuse(name, format!("expected finite features, got {count} of {} that are not", features.len()))),
    }
}

/// Mean and standard deviation of each feature in the training split.
pub(crate) struct Standard {
    mean: Vec<f64>,
    /// 1 for a feature that is constant but for rounding: it becomes 0 instead of noise.
    deviation: Vec<f64>,
}

/// Objects that a thread works on at once; sums over parts are added in order, so that results do
/// not depend on the number of threads.
pub(crate) const PART: usize = 1024;

impl Standard {
    pub(crate) fn fit(features: &[f32], width: usize) -> Self {
        let rows = (features.len() / width).max(1) as f64;
        let sums = |term: &dyn Fn(usize, f64) -> f64| -> Vec<f64> {
            let mut sums = vec![0.0; width];
            for row in features.chunks_exact(width) {
                for (i, (sum, x)) in sums.iter_mut().zip(row).enumerate() {
                    *sum += term(i, f64::from(*x));
                }
            }
            sums.into_iter().map(|s| s / rows).collect()
        };
        let mean = sums(&|_, x| x);
        let variance = sums(&|i, x| mean.get(i).map_or(0.0, |m| (x - m).powi(2)));
        let constant = |deviation: f64, mean: f64| deviation <= 1e-7 * mean.abs() || deviation == 0.0;
        let deviation = variance.iter().map(|v| v.sqrt());
        let deviation = deviation.zip(&mean).map(|(d, m)| if constant(d, *m) { f64::INFINITY } else { d }).collect();
        Self { mean, deviation }
    }

    pub(crate) fn width(&self) -> usize {
        self.mean.len()
    }

    /// `[N, D]` row-major -> the same objects as parts, each a matrix `[D, n]` with n at most [`PART`].
    pub(crate) fn parts(&self, features: &[f32]) -> Vec<DMatrix<f64>> {
        let width = self.width();
        let part = |rows: &[f32]| {
            let scale = |row: &[f32]| -> Vec<f64> {
                let terms = row.iter().zip(&self.mean).zip(&self.deviation);
                terms.map(|((x, mean), deviation)| (f64::from(*x) - mean) / deviation).collect()
            };
            let values: Vec<f64> = rows.chunks_exact(width).flat_map(scale).collect();
            // Row-major [n, D] and column-major [D, n] are the same memory.
            DMatrix::from_vec(width, rows.len() / width, values)
        };
        features.par_chunks(PART * width).map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_features_have_mean_zero_and_deviation_one_and_constants_vanish() {
        // Column 0: 1, 3 -> -1, 1. Column 1 is constant at a value that has no exact sum of ten.
        let features: Vec<f32> = (0..10).flat_map(|i| [if i % 2 == 0 { 1.0 } else { 3.0 }, 0.1]).collect();
        let parts = Standard::fit(&features, 2).parts(&features);
        assert_eq!(parts.len(), 1);
        assert!((0..10).all(|i| parts[0][(0, i)] == if i % 2 == 0 { -1.0 } else { 1.0 }));
        assert!((0..10).all(|i| parts[0][(1, i)] == 0.0));
    }

    #[test]
    fn bad_features_and_targets_are_refused() {
        let target = ProbeTarget::Numbers(vec![0.0, 1.0]);
        assert!(check("p", &[0.0, 1.0], 1, &target, 2).is_ok());
        assert!(check("p", &[0.0, 1.0, 2.0], 1, &target, 2).is_err());
        assert!(check("p", &[0.0, 1.0], 1, &target, 3).is_err());
        assert!(check("p", &[0.0, f32::NAN], 1, &target, 2).is_err());
        assert!(check("p", &[0.0, 1.0], 1, &ProbeTarget::Numbers(vec![0.0, f64::NAN]), 2).is_err());
        assert!(check_width("p", &[0.0; 3], 2).is_err());
    }
}
