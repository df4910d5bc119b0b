//! `y = (x - mean) / sqrt(mean((x - mean)²) + eps) γ + β` over the last axis; the root mean square norm has no mean.
//!
//! Axes: `D` width, `M` rows (all leading axes together).

pub(super) mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(test)]
mod tests;

use super::gradients::{self, Added};
use super::product::Onto;
use super::simd::add_rows;
#[cfg(feature = "cuda")]
use super::slices::alike;
use super::slices::{require_f32, values, with_values, zeros};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};

/// Which normalisation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NormKind {
    /// Mean 0 and variance 1. Source: Ba, Kiros and Hinton 2016, eq. 4.
    #[default]
    Layer,
    /// Mean square 1. Source: Zhang and Sennrich 2019, eq. 4.
    Rms,
}

impl NormKind {
    fn op(self) -> &'static str {
        match self {
            Self::Layer => "layer_norm",
            Self::Rms => "rms_norm",
        }
    }
}

/// Layer normalisation over the last axis, differentiable in `x`, `gamma` and `beta`.
///
/// Shapes: `x` `[.., D]`, `gamma` and `beta` `[D]` → `[.., D]`; f32 on the CPU, any strides. The
/// variance is the mean square (divided by `D`); `eps` is added to it.
///
/// # Errors
/// If shapes disagree, or for another type of number or another device.
pub fn layer_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f64) -> Result<Tensor> {
    norm(NormKind::Layer, x, gamma, Some(beta), eps)
}

/// Either normalisation over the last axis, with or without a bias; shapes and errors as [`layer_norm`].
///
/// # Errors
/// As [`layer_norm`].
pub fn norm(kind: NormKind, x: &Tensor, gamma: &Tensor, beta: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    let op = kind.op();
    let Some(&width) = x.dims().last() else {
        bail!("{op}: expected `x` of shape [.., width], got a scalar");
    };
    for (name, tensor) in [("gamma", Some(gamma)), ("beta", beta)] {
        let Some(tensor) = tensor else { continue };
        if tensor.dims() != [width] {
            bail!(
                "{op}: expected `{name}` of shape [{width}] for `x` of shape {:?}, got {:?}",
                x.dims(),
                tensor.dims()
            );
        }
        require_f32(op, name, tensor)?;
    }
    require_f32(op, "x", x)?;
    let custom = Norm { kind, eps: eps as f32 };
    let x = x.contiguous()?;
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        let gamma = alike(gamma, &x)?.contiguous()?;
        return match beta {
            Some(beta) => x.apply_op3(&gamma, &alike(beta, &x)?.contiguous()?, custom),
            None => x.apply_op2(&gamma, custom),
        };
    }
    let gamma = gamma.contiguous()?;
    match beta {
        Some(beta) => x.apply_op3(&gamma, &beta.contiguous()?, custom),
        None => x.apply_op2(&gamma, custom),
    }
}

struct Norm {
    kind: NormKind,
    eps: f32,
}

impl Norm {
    fn of<'a>(&self, gamma: &'a [f32], beta: &'a [f32]) -> cpu::Norm<'a> {
        cpu::Norm { kind: self.kind, gamma, beta, eps: self.eps }
    }

    fn forward(&self, x: &[f32], layout: &Layout, gamma: &[f32], beta: &[f32]) -> (CpuStorage, Shape) {
        let mut y = zeros(x.len());
        cpu::forward(x, self.of(gamma, beta), &mut y);
        (CpuStorage::F32(y), layout.shape().clone())
    }

    /// Gradients of `x`, and of γ and β where candle has to keep them.
    fn backward(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        beta: Option<&Tensor>,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let op = self.kind.op();
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            let [dx, dgamma, dbeta] = cuda::backward(self, [x, gamma, &grad.contiguous()?])?;
            let own = |parameter: &Tensor, gradient: Tensor| -> Result<Option<Tensor>> {
                Ok((gradients::add_tensor(parameter, &gradient)? == Added::No).then_some(gradient))
            };
            return Ok((Some(dx), own(gamma, dgamma)?, beta.map(|beta| own(beta, dbeta)).transpose()?.flatten()));
        }
        let mut dx = zeros(x.elem_count());
        let sums = with_values(op, [x, gamma, &grad.contiguous()?], |[x, gamma, dy]| {
            cpu::backward(x, self.of(gamma, &[]), dy, &mut dx)
        })?;
        let (dgamma, dbeta) = sums.split_at(gamma.elem_count());
        let own = |parameter: &Tensor, own: &[f32]| match gradients::add(parameter, |sum, onto| {
            if onto == Onto::Nothing {
                sum.fill(0.0);
            }
            add_rows(sum, own);
        }) {
            Added::Yes => Ok(None),
            Added::No => Tensor::from_slice(own, parameter.shape(), parameter.device()).map(Some),
        };
        let dx = Tensor::from_vec(dx, x.shape(), x.device())?;
        Ok((Some(dx), own(gamma, dgamma)?, beta.map(|beta| own(beta, dbeta)).transpose()?.flatten()))
    }
}

impl CustomOp2 for Norm {
    fn name(&self) -> &'static str {
        self.kind.op()
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, gamma: &CpuStorage, gl: &Layout) -> Result<(CpuStorage, Shape)> {
        let op = self.kind.op();
        Ok(self.forward(values(op, x, xl)?, xl, values(op, gamma, gl)?, &[]))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout, gamma: &CudaStorage, gl: &Layout) -> Result<(CudaStorage, Shape)> {
        cuda::forward(self, [(x, xl), (gamma, gl)], None)
    }

    fn bwd(&self, x: &Tensor, gamma: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dx, dgamma, _) = self.backward(x, gamma, None, grad)?;
        Ok((dx, dgamma))
    }
}

impl CustomOp3 for Norm {
    fn name(&self) -> &'static str {
        self.kind.op()
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
        let op = self.kind.op();
        Ok(self.forward(values(op, x, xl)?, xl, values(op, gamma, gl)?, values(op, beta, bl)?))
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
        cuda::forward(self, [(x, xl), (gamma, gl)], Some((beta, bl)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        self.backward(x, gamma, Some(beta), grad)
    }
}
