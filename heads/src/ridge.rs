//! Kind `ridge`: a number from a linear map of the features whose weights are kept small.
//!
//! `min Σ (y - w·x - b)² + strength |w|²` on features of mean 0 and standard deviation 1, solved
//! exactly in f64. One eigendecomposition of `XᵀX` gives the solution for every strength and, with
//! the diagonal of the hat matrix, the exact error of leaving each object out, by which the strength
//! is chosen.
//!
//! Source: Hoerl & Kennard 1970; leave-one-out as in Golub, Heath & Wahba 1979, eq. 1.3.

use crate::features::{Standard, check, check_width, refuse};
use nalgebra::{DMatrix, DVector, SymmetricEigen};
use panchroma_core::reexport::serde_json::{Value, json};
use panchroma_core::{Descriptor, Fitted, Predictions, Probe, ProbeContext, ProbeTarget, Result, Section};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// `[probe.NAME]` with `kind = "ridge"`.
#[derive(Debug, Clone, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RidgeConfig {
    /// Strengths of the penalty to choose from, by leaving one object out. Default: powers of ten from 0.001 to 1e6.
    /// All above 0.
    #[serde(default = "default_strengths")]
    pub strengths: Vec<f64>,
}

fn default_strengths() -> Vec<f64> {
    (-3..=6).map(|power| 10f64.powi(power)).collect()
}

inventory::submit! {
    Descriptor::<dyn Probe> {
        name: "ridge",
        summary: "exact ridge regression, its strength chosen by leaving one object out",
        origin: env!("CARGO_PKG_NAME"),
        example: "strengths = [0.1, 1.0, 10.0, 100.0, 1000.0]\n",
        schema: || schemars::schema_for!(RidgeConfig),
        build: |section, context| Ok(Box::new(Ridge::new(section, context)?)),
    }
}

/// The probe of kind `ridge`.
pub struct Ridge {
    name: String,
    strengths: Vec<f64>,
}

impl Ridge {
    /// Reads the table.
    ///
    /// # Errors
    /// A config error at the key that caused it.
    pub fn new(section: &Section, context: &ProbeContext<'_>) -> Result<Self> {
        let RidgeConfig { strengths } = section.read()?;
        if strengths.is_empty() || !strengths.iter().all(|s| s.is_finite() && *s > 0.0) {
            return Err(section.reject("strengths", "must be one number or more, all above 0"));
        }
        Ok(Self { name: context.name.into(), strengths })
    }
}

/// `XᵀX` in its eigenvectors, and what every strength needs of it.
struct Decomposed {
    /// `[D, D]`, one eigenvector per column.
    vectors: DMatrix<f64>,
    /// `[D]`, at least 0.
    values: Vec<f64>,
    /// Objects in the basis of eigenvectors, `[D, n]` each.
    rotated: Vec<DMatrix<f64>>,
    /// `Σ x y` in that basis, `[D]`.
    moments: Vec<f64>,
}

impl Decomposed {
    fn new(parts: &[DMatrix<f64>], centred: &[f64], width: usize) -> Self {
        let grams: Vec<DMatrix<f64>> = parts.par_iter().map(|x| x * x.transpose()).collect();
        let gram = grams.into_iter().fold(DMatrix::zeros(width, width), |sum, gram| sum + gram);
        let SymmetricEigen { eigenvectors: vectors, eigenvalues } = SymmetricEigen::new(gram);
        let rotated: Vec<DMatrix<f64>> = parts.par_iter().map(|x| vectors.tr_mul(x)).collect();
        let mut moments = DVector::zeros(width);
        for (x, y) in rotated.iter().zip(centred.chunks(crate::features::PART)) {
            moments += x * DVector::from_column_slice(y);
        }
        // Rounding makes the eigenvalues of directions without variance slightly negative.
        let values = eigenvalues.iter().map(|v| v.max(0.0)).collect();
        Self { vectors, values, rotated, moments: moments.iter().copied().collect() }
    }

    /// Weights in the basis of eigenvectors.
    fn solve(&self, strength: f64) -> Vec<f64> {
        self.moments.iter().zip(&self.values).map(|(m, v)| m / (v + strength)).collect()
    }

    /// Mean squared error of objects that were left out: residual / (1 - hat diagonal).
    fn leave_one_out(&self, centred: &[f64], strength: f64) -> f64 {
        let weights = self.solve(strength);
        let rows = centred.len() as f64;
        let part = |(x, y): (&DMatrix<f64>, &[f64])| -> f64 {
            let error = |(x, y): (nalgebra::DVectorView<'_, f64>, &f64)| {
                // 1 / N is the part of the intercept, which has no penalty.
                let (mut predicted, mut hat) = (0.0, 1.0 / rows);
                for ((x, weight), value) in x.iter().zip(&weights).zip(&self.values) {
                    predicted += x * weight;
                    hat += x * x / (value + strength);
                }
                ((y - predicted) / (1.0 - hat)).powi(2)
            };
            x.column_iter().zip(y).map(error).sum()
        };
        let sums: Vec<f64> = self.rotated.par_iter().zip(centred.par_chunks(crate::features::PART)).map(part).collect();
        sums.iter().sum::<f64>() / rows
    }
}

impl Probe for Ridge {
    fn fit(&self, features: &[f32], width: usize, target: &ProbeTarget) -> Result<Box<dyn Fitted>> {
        let ProbeTarget::Numbers(numbers) = target else {
            return Err(refuse(&self.name, "`ridge` predicts numbers; use `logistic` or `neighbours` for classes"));
        };
        check(&self.name, features, width, target, 3)?;
        let standard = Standard::fit(features, width);
        let intercept = numbers.iter().sum::<f64>() / numbers.len() as f64;
        let centred: Vec<f64> = numbers.iter().map(|n| n - intercept).collect();
        let decomposed = Decomposed::new(&standard.parts(features), &centred, width);
        let mut best = (f64::NAN, f64::INFINITY);
        for strength in &self.strengths {
            let error = decomposed.leave_one_out(&centred, *strength);
            if best.0.is_nan() || error < best.1 {
                best = (*strength, error);
            }
        }
        let (strength, error) = best;
        let weights = &decomposed.vectors * DVector::from_vec(decomposed.solve(strength));
        Ok(Box::new(FittedRidge { name: self.name.clone(), standard, weights, intercept, strength, error }))
    }
}

struct FittedRidge {
    name: String,
    standard: Standard,
    /// `[D]`, for standardised features.
    weights: DVector<f64>,
    intercept: f64,
    strength: f64,
    error: f64,
}

impl Fitted for FittedRidge {
    fn predict(&self, features: &[f32]) -> Result<Predictions> {
        check_width(&self.name, features, self.standard.width())?;
        let parts = self.standard.parts(features);
        let numbers = parts.iter().flat_map(|x| x.tr_mul(&self.weights).data.as_vec().clone());
        Ok(Predictions::Numbers(numbers.map(|n| n + self.intercept).collect()))
    }

    fn chosen(&self) -> BTreeMap<String, Value> {
        let of = |key: &str, value: f64| (key.to_owned(), json!(value));
        BTreeMap::from([of("strength", self.strength), of("leave_one_out_rmse", self.error.sqrt())])
    }
}

#[cfg(test)]
mod tests;
