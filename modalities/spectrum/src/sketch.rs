//! How a spectrum is drawn: its first channel along the grid.

use panchroma_core::sketch::{Sample, Sketch};
use panchroma_core::{Arrays, Result};

/// What object `row` measured, in the units of the arrays.
pub(crate) fn sketch(arrays: &Arrays, row: usize, unit: &str) -> Result<Option<Sketch>> {
    let (shape, valid) = arrays.valid()?;
    let &[_, l] = shape else { return Ok(None) };
    let (flux_shape, flux) = arrays.f32("flux")?;
    let wavelength = arrays.f64("wavelength")?.1;
    let ivar = arrays.f64("ivar").map(|(_, ivar)| ivar).unwrap_or_default();
    let channels = flux_shape.get(1).copied().unwrap_or(1);
    let sample = |at: usize| {
        // The first of the channels of this object.
        let place = row * channels * l + at;
        let error = ivar.get(place).filter(|ivar| **ivar > 0.0).map_or(0.0, |ivar| ivar.powf(-0.5));
        let (value, at) = (f64::from(*flux.get(place)?), *wavelength.get(row * l + at)?);
        (value.is_finite() && at.is_finite() && error.is_finite()).then_some(Sample { at, value, error })
    };
    let measured = (0..l).filter(|at| valid.get(row * l + at) == Some(&1));
    let samples: Vec<Sample> = measured.filter_map(sample).collect();
    Ok((!samples.is_empty()).then(|| Sketch::Samples {
        axis: ["wavelength".into(), unit.into()],
        value: ["flux as the model sees it".into(), String::new()],
        groups: vec![(String::new(), samples)],
    }))
}
