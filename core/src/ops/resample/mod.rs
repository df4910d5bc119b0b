//! Straight lines between the samples of a spectrum, read at the points of another grid, with errors.
//!
//! Axes: `B` spectra, `L` samples each, `G` points of the grid.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(test)]
mod tests;

use super::slices::{require_f32, values, with_values, zeros};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use std::sync::Arc;

const OP: &str = "resample";

/// Spectra as they were measured.
#[derive(Clone, Copy, Debug)]
pub struct Spectra<'a> {
    /// `[B, L]` flux density; anything, also NaN, where `ivar` is 0.
    pub flux: &'a Tensor,
    /// `[B, L]` inverse variance of `flux`; what isn't above 0 says that the sample means nothing.
    pub ivar: &'a Tensor,
    /// `[L]` for all or `[B, L]`: wavelength, strictly ascending (also where `ivar` is 0), in the unit
    /// of the grid.
    pub wavelength: &'a Tensor,
}

/// Flux and inverse variance of spectra at the points of `grid`, by linear interpolation;
/// differentiable in the flux.
///
/// Shapes: `grid` `[G]` in any order → two `[B, G]`; all f32 on the CPU, any strides. Between the
/// samples `k` and `k + 1` the flux is `(1 - t) f_k + t f_{k+1}`, and its variance that of this sum with
/// independent errors. Outside of the samples, and where a sample that has a part in the sum (other
/// than 0) has inverse variance 0, both are 0, and so is the gradient.
///
/// On a CUDA device the grid has to rise, and the host waits for grid and wavelengths, which it looks at.
///
/// This samples: where the grid is coarser than the spectrum, what lies between its points is lost.
///
/// # Errors
/// If wavelengths don't ascend (named with their place), if a variable stands behind anything but
/// the flux, if shapes disagree, or for another type of number or another device.
pub fn resample(spectra: Spectra<'_>, grid: &Tensor) -> Result<(Tensor, Tensor)> {
    let Spectra { flux, ivar, wavelength } = spectra;
    let &[rows, samples] = flux.dims() else {
        bail!("{OP}: expected `flux` of shape [spectra, samples], got {:?}", flux.dims());
    };
    if ivar.dims() != [rows, samples] {
        bail!("{OP}: expected `ivar` of the shape of `flux`, [{rows}, {samples}], got {:?}", ivar.dims());
    }
    if wavelength.dims() != [samples] && wavelength.dims() != [rows, samples] {
        let got = wavelength.dims();
        bail!("{OP}: expected `wavelength` of shape [{samples}] or [{rows}, {samples}], got {got:?}");
    }
    let &[points] = grid.dims() else {
        bail!("{OP}: expected `grid` of shape [points], got {:?}", grid.dims());
    };
    require_f32(OP, "flux", flux)?;
    for (name, tensor) in [("ivar", ivar), ("wavelength", wavelength), ("grid", grid)] {
        require_f32(OP, name, tensor)?;
        if tensor.track_op() {
            bail!("{OP}: expected `{name}` without a gradient: detach it");
        }
    }
    let (flux, ivar) = (flux.contiguous()?, ivar.contiguous()?);
    #[cfg(feature = "cuda")]
    if flux.device().is_cuda() {
        return cuda::resample(&flux, &ivar, wavelength, grid);
    }
    let places = with_values(OP, [&wavelength.contiguous()?, &grid.contiguous()?], |[wavelength, grid]| {
        ascending(wavelength, samples)?;
        Ok::<_, candle_core::Error>(Arc::new(cpu::places(wavelength, samples, grid)))
    })??;
    let mut weights = zeros(rows * points);
    with_values(OP, [&ivar], |[ivar]| cpu::inverse_variances(ivar, samples, &places, &mut weights))?;
    let resampled = flux.apply_op1(Resample { weights: weights.clone(), places })?;
    Ok((resampled, Tensor::from_vec(weights, (rows, points), flux.device())?))
}

/// Refuses rows whose values don't ascend. NaN don't.
fn ascending(wavelength: &[f32], samples: usize) -> Result<()> {
    for (row, values) in wavelength.chunks(samples.max(1)).enumerate() {
        let broken = |pair: &[f32]| !matches!(pair, [a, b] if a < b);
        if let Some(at) = values.windows(2).position(broken) {
            let (before, after) = (values[at], values[at + 1]);
            bail!(
                "{OP}: expected ascending `wavelength`, got {after} after {before} at sample {} of row {row}",
                at + 1
            );
        }
    }
    Ok(())
}

struct Resample {
    /// `[B, G]` inverse variances of the result: 0 where it is not a measurement.
    weights: Vec<f32>,
    places: Arc<cpu::Places>,
}

impl CustomOp1 for Resample {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, flux: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, samples) = layout.shape().dims2()?;
        let mut out = zeros(self.weights.len());
        cpu::forward(values(OP, flux, layout)?, samples, &self.places, &self.weights, &mut out);
        Ok((CpuStorage::F32(out), Shape::from((rows, self.places.points()))))
    }

    fn bwd(&self, flux: &Tensor, _out: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (_, samples) = flux.dims2()?;
        let mut dflux = zeros(flux.elem_count());
        with_values(OP, [&grad.contiguous()?], |[grad]| {
            cpu::backward(grad, samples, &self.places, &self.weights, &mut dflux);
        })?;
        Ok(Some(Tensor::from_vec(dflux, flux.shape(), flux.device())?))
    }
}
