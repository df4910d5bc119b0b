//! `gelu(x) = x Φ(x)`, `Φ` the standard normal distribution function.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(test)]
mod tests;

use super::slices::{require_f32, values, with_values};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

const OP: &str = "gelu";

/// `x Φ(x)`, the exact form (with the error function), differentiable.
///
/// Shapes: any; f32 on the CPU, any strides. Relative error below 2e-6 also in the left tail.
///
/// # Errors
/// For another type of number or another device.
///
/// Source: Hendrycks and Gimpel 2016, eq. 1.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    require_f32(OP, "x", x)?;
    x.contiguous()?.apply_op1(Gelu)
}

struct Gelu;

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(OP, x, layout)?;
        let mut y = vec![0.0; x.len()];
        cpu::forward(x, &mut y);
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        cuda::forward(x, layout)
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            return cuda::backward(x, &grad.contiguous()?).map(Some);
        }
        let mut dx = vec![0.0; x.elem_count()];
        with_values(OP, [x, &grad.contiguous()?], |[x, dy]| cpu::backward(x, dy, &mut dx))?;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}
