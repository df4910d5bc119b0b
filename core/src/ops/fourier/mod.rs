//! `[sin(x_m f_k), cos(x_m f_k)]`: physical coordinates as waves.
//!
//! Axes: `M` coordinates, `F` frequencies.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(test)]
mod tests;

use super::slices::{require_f32, values, with_values, zeros};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

const OP: &str = "fourier";

/// Sines, then cosines, of every coordinate times every frequency; differentiable in `x`.
///
/// Shapes: `x` `[M]`, in any unit, `frequencies` `[F]`, in radians per that unit → `[M, 2F]`; f32 on
/// the CPU, any strides. Angles are products in f32; up to 10⁵ in magnitude their sine and cosine are
/// right to 1.2e-7, beyond that they come from the mathematical library, more slowly. The
/// rounding of the angle itself is larger: 2⁻²⁴ of it, 0.004 at 10⁵. Where the angle is infinite or
/// NaN, so is the result NaN.
///
/// # Errors
/// If shapes are wrong, if `frequencies` asks for a gradient, or for another type of number or
/// another device.
///
/// Source: Vaswani et al. 2017, §3.5, with the angle of a measured coordinate for that of an index.
pub fn fourier(x: &Tensor, frequencies: &Tensor) -> Result<Tensor> {
    if x.rank() != 1 {
        bail!("{OP}: expected `x` of shape [coordinates], got {:?}", x.dims());
    }
    if frequencies.rank() != 1 {
        bail!("{OP}: expected `frequencies` of shape [frequencies], got {:?}", frequencies.dims());
    }
    require_f32(OP, "x", x)?;
    require_f32(OP, "frequencies", frequencies)?;
    if frequencies.track_op() {
        bail!("{OP}: expected `frequencies` without a gradient: detach them");
    }
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return x.contiguous()?.apply_op1(cuda::Fourier { frequencies: frequencies.contiguous()? });
    }
    x.contiguous()?.apply_op1(Fourier { frequencies: frequencies.to_vec1()? })
}

struct Fourier {
    frequencies: Vec<f32>,
}

impl CustomOp1 for Fourier {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(OP, x, layout)?;
        let width = 2 * self.frequencies.len();
        let mut waves = zeros(x.len() * width);
        cpu::forward(x, &self.frequencies, &mut waves);
        Ok((CpuStorage::F32(waves), Shape::from((x.len(), width))))
    }

    fn bwd(&self, x: &Tensor, waves: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let mut dx = zeros(x.elem_count());
        with_values(OP, [waves, &grad.contiguous()?], |[waves, grad]| {
            cpu::backward(waves, grad, &self.frequencies, &mut dx);
        })?;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}
