//! `y = (x - mean) / sqrt(var + eps) γ + β` over the last axis.
//!
//! Axes: `D` width, `M` rows (all leading axes together).

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(test)]
mod tests;

use super::slices::{require_f32, values, with_values};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

const OP: &str = "layer_norm";

/// Layer normalisation over the last axis, differentiable in `x`, `gamma` and `beta`.
///
/// Shapes: `x` `[.., D]`, `gamma` and `beta` `[D]` → `[.., D]`; f32 on the CPU, any strides. The
/// variance is the mean square (divided by `D`); `eps` is added to it.
///
/// # Errors
/// If shapes disagree, or for another type of number or another device.
///
/// Source: Ba, Kiros and Hinton 2016, eq. 4.
pub fn layer_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f64) -> Result<Tensor> {
    let Some(&width) = x.dims().last() else {
        bail!("{OP}: expected `x` of shape [.., width], got a scalar");
    };
    for (name, tensor) in [("gamma", gamma), ("beta", beta)] {
        if tensor.dims() != [width] {
            bail!("{OP}: expected `{name}` of shape [{width}], got {:?}", tensor.dims());
        }
        require_f32(OP, name, tensor)?;
    }
    require_f32(OP, "x", x)?;
    let op = LayerNorm { eps: eps as f32 };
    x.contiguous()?.apply_op3(&gamma.contiguous()?, &beta.contiguous()?, op)
}

struct LayerNorm {
    eps: f32,
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        gamma: &CpuStorage,
        gl: &Layout,
        beta: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = values(OP, x, xl)?;
        let mut y = vec![0.0; x.len()];
        cpu::forward(x, values(OP, gamma, gl)?, values(OP, beta, bl)?, self.eps, &mut y);
        Ok((CpuStorage::F32(y), xl.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        gamma: &CudaStorage,
        gl: &Layout,
        beta: &CudaStorage,
        bl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda::forward(self.eps, [(x, xl), (gamma, gl), (beta, bl)])
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            let [dx, dgamma, dbeta] = cuda::backward(self.eps, x, gamma, &grad.contiguous()?)?;
            return Ok((Some(dx), Some(dgamma), Some(dbeta)));
        }
        let mut dx = vec![0.0; x.elem_count()];
        let (dgamma, dbeta) = with_values(OP, [x, gamma, &grad.contiguous()?], |[x, gamma, dy]| {
            cpu::backward(x, gamma, dy, self.eps, &mut dx)
        })?;
        Ok((
            Some(Tensor::from_vec(dx, x.shape(), x.device())?),
            Some(Tensor::from_vec(dgamma, gamma.shape(), gamma.device())?),
            Some(Tensor::from_vec(dbeta, beta.shape(), beta.device())?),
        ))
    }
}
