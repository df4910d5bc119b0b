//! How an image is drawn: a plane for each channel.

use panchroma_core::sketch::{Plane, Sketch};
use panchroma_core::{Arrays, Result};

/// What object `row` measured, in the units of the arrays; a channel without a measured pixel is left out.
pub(crate) fn sketch(arrays: &Arrays, row: usize, channels: &[String]) -> Result<Option<Sketch>> {
    let (shape, valid) = arrays.valid()?;
    let &[_, c, height, width] = shape else { return Ok(None) };
    let flux = arrays.f32("flux")?.1;
    let pixels = height * width;
    let plane = |channel: usize| {
        let own = (row * c + channel) * pixels..(row * c + channel + 1) * pixels;
        let (flux, valid) = (flux.get(own.clone())?, valid.get(own)?);
        let values = flux.iter().zip(valid).map(|(flux, valid)| (*valid == 1 && flux.is_finite()).then_some(*flux));
        let label = channels.get(channel).cloned().unwrap_or_default();
        valid.contains(&1).then(|| Plane { label, width, values: values.collect() })
    };
    let planes: Vec<Plane> = (0..c).filter_map(plane).collect();
    Ok((!planes.is_empty()).then(|| Sketch::Planes { unit: "units of the model".into(), planes }))
}
