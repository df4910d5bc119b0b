//! Measures of predicted numbers.

/// Coefficient of determination: `1 - Σ(t - p)² / Σ(t - mean t)²`. 1 is perfect, 0 as good as the
/// mean of `truth`, and there is no lowest value.
///
/// Shapes: `[N]`, `[N]`. NaN if `truth` has no variance.
#[must_use]
pub fn r2(truth: &[f64], predicted: &[f64]) -> f64 {
    let mean = mean(truth.iter().copied());
    let total: f64 = truth.iter().map(|t| (t - mean).powi(2)).sum();
    let left: f64 = errors(truth, predicted).map(|e| e * e).sum();
    if total > 0.0 { 1.0 - left / total } else { f64::NAN }
}

/// Mean absolute error, in the unit of `truth`.
///
/// Shapes: `[N]`, `[N]`. NaN if there is no object.
#[must_use]
pub fn mae(truth: &[f64], predicted: &[f64]) -> f64 {
    mean(errors(truth, predicted).map(f64::abs))
}

/// Root of the mean squared error, in the unit of `truth`.
///
/// Shapes: `[N]`, `[N]`. NaN if there is no object.
#[must_use]
pub fn rmse(truth: &[f64], predicted: &[f64]) -> f64 {
    mean(errors(truth, predicted).map(|e| e * e)).sqrt()
}

fn errors<'a>(truth: &'a [f64], predicted: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
    truth.iter().zip(predicted).map(|(t, p)| t - p)
}

/// NaN without values.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0usize), |(sum, count), v| (sum + v, count + 1));
    sum / count as f64
}
