//! How bright a spectrum is: what is subtracted, and what its flux is divided by.

use crate::config::Normalise;
use crate::resample::Resampled;

/// In the unit of the flux.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Level {
    pub(crate) centre: f64,
    /// Above 0.
    pub(crate) scale: f64,
}

impl Level {
    /// Over the valid samples; with `none` as with `median`.
    pub(crate) fn of(spectrum: &Resampled, normalise: Normalise) -> Self {
        let flux = || spectrum.flux.iter().zip(&spectrum.valid).filter(|(_, v)| **v).map(|(f, _)| *f);
        let count = flux().count().max(1) as f64;
        let mean_size = flux().map(f64::abs).sum::<f64>() / count;
        let (centre, wanted) = match normalise {
            Normalise::Median | Normalise::None => (0.0, median(flux().map(f64::abs).collect())),
            Normalise::Mean => (0.0, mean_size),
            Normalise::Standard => {
                let mean = flux().sum::<f64>() / count;
                (mean, (flux().map(|f| (f - mean).powi(2)).sum::<f64>() / count).sqrt())
            }
            Normalise::Robust => {
                let middle = median(flux().collect());
                (middle, 1.4826 * median(flux().map(|f| (f - middle).abs()).collect()))
            }
        };
        // A spectrum that is mostly exactly 0 has no median; one of nothing but 0 stays as it is.
        let scale = [wanted, mean_size].into_iter().find(|s| *s > 0.0 && s.is_finite()).unwrap_or(1.0);
        Self { centre, scale }
    }
}

/// The upper median; 0 of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    let middle = values.len() / 2;
    if values.is_empty() { 0.0 } else { *values.select_nth_unstable_by(middle, f64::total_cmp).1 }
}
