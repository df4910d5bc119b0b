//! Spectra on another grid on a CUDA device.

use super::{OP, ascending};
use crate::ops::gpu::cuda::Cuda;
use crate::ops::gpu::resample::Curves;
use crate::ops::gpu::{Number, Pointer, tensors};
use crate::ops::kept::Kept;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use std::sync::Arc;

/// Flux and inverse variance at the points of `grid`; shapes are checked.
pub(super) fn resample(flux: &Tensor, ivar: &Tensor, wavelength: &Tensor, grid: &Tensor) -> Result<(Tensor, Tensor)> {
    let (rows, samples) = flux.dims2()?;
    // Looked at where they are few: a wavelength axis that all spectra share stays one row.
    ascending(&wavelength.flatten_all()?.to_vec1()?, samples)?;
    let points: Vec<f32> = grid.to_vec1()?;
    if points.windows(2).any(|pair| !matches!(pair, [a, b] if a <= b)) {
        bail!("{OP}: expected a `grid` that rises on a GPU");
    }
    let positions = wavelength.broadcast_as((rows, samples))?.contiguous()?;
    let kept = Arc::new(Kept::default());
    let op = Resample { positions, ivar: ivar.clone(), grid: grid.contiguous()?, weights: kept.clone() };
    let resampled = flux.apply_op1(op)?;
    match kept.take() {
        Some(weights) => Ok((resampled, tensors::tensor(weights, &Shape::from((rows, points.len()))))),
        None => bail!("{OP}: a forward pass without inverse variances"),
    }
}

struct Resample {
    /// `[B, L]`, as `ivar`.
    positions: Tensor,
    ivar: Tensor,
    grid: Tensor,
    /// Inverse variances of the result.
    weights: Arc<Kept<CudaStorage>>,
}

impl Resample {
    fn with_curves<R>(&self, number: Number, f: impl FnOnce(&Curves) -> Result<R>) -> Result<R> {
        let (rows, samples) = self.positions.dims2()?;
        let points = self.grid.elem_count();
        let tensors = [&self.positions, &self.ivar, &self.grid];
        tensors::with_tensors(OP, tensors, |_, _, [positions, inverse_variance, grid], own| {
            if own != Number::F32 {
                bail!("{OP}: expected wavelengths, inverse variances and grid in f32");
            }
            let counts = Pointer::NULL;
            f(&Curves { number, rows, samples, points, positions, inverse_variance, counts, grid })
        })
    }
}

impl CustomOp1 for Resample {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("{OP}: expected tensors on a CUDA device")
    }

    fn cuda_fwd(&self, flux: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (pointer, number) = tensors::values(OP, flux, layout)?;
        self.with_curves(number, |curves| {
            let shape = Shape::from((curves.rows, curves.points));
            let (storage, out) = tensors::storage(&flux.device, number, shape.elem_count())?;
            let (weights, weights_pointer) = tensors::storage(&flux.device, Number::F32, shape.elem_count())?;
            curves.forward(&Cuda::new(&flux.device)?, pointer, [out, weights_pointer])?;
            self.weights.set(weights);
            Ok((storage, shape))
        })
    }

    fn bwd(&self, flux: &Tensor, _out: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        tensors::with_tensors(OP, [&grad.contiguous()?], |device, gpu, [dout], number| {
            let (storage, dflux) = tensors::storage(device, number, flux.elem_count())?;
            self.with_curves(number, |curves| curves.backward(gpu, dout, dflux))?;
            Ok(Some(tensors::tensor(storage, flux.shape())))
        })
    }
}
