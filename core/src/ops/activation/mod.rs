//! What stands between the two linear maps of an MLP.

pub(super) mod cpu;
#[cfg(feature = "cuda")]
pub(super) mod cuda;
#[cfg(test)]
mod tests;

use super::slices::{require_f32, values, with_values};
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const OP: &str = "activation";

/// A function of single values, or of pairs of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x Φ(x)`, `Φ` the standard normal distribution function, exact. Source: Hendrycks and Gimpel 2016, eq. 1.
    #[default]
    Gelu,
    /// The same with the hyperbolic tangent in place of the error function. Source: the same, section 2.
    GeluTanh,
    /// `x σ(x)`. Source: the same, section 4.
    Silu,
    /// `x` above 0, `exp(x) - 1` below. Source: Clevert, Unterthiner and Hochreiter 2015, eq. 15.
    Elu,
    /// `x` above 0, 0 below.
    Relu,
    /// `silu(a) b` where the first half of the last axis is `a`, the second `b`. Source: Shazeer 2020, eq. 6.
    #[serde(rename = "swiglu")]
    SwiGlu,
    /// `gelu(a) b` with the exact GELU and halves as for [`Activation::SwiGlu`]. Source: the same, eq. 6.
    #[serde(rename = "geglu")]
    GeGlu,
}

impl Activation {
    /// Whether it takes two values for one.
    #[must_use]
    pub fn gated(self) -> bool {
        matches!(self, Self::SwiGlu | Self::GeGlu)
    }

    /// Length of the last axis of the result, from that of the input.
    #[must_use]
    pub fn outputs(self, inputs: usize) -> usize {
        if self.gated() { inputs / 2 } else { inputs }
    }

    /// Length of the last axis of the input, from that of the result.
    #[must_use]
    pub fn inputs(self, outputs: usize) -> usize {
        if self.gated() { 2 * outputs } else { outputs }
    }
}

/// Applies an activation, differentiable.
///
/// Shapes: `[.., N]` → `[.., N]`, or `[.., 2 N]` → `[.., N]` for a gated one; f32 on the CPU, any strides.
/// Relative error below 2e-6, for [`Activation::Gelu`] also in the left tail.
///
/// # Errors
/// If the last axis can't be halved, for another type of number or another device.
pub fn activation(kind: Activation, x: &Tensor) -> Result<Tensor> {
    require_f32(OP, "x", x)?;
    match x.dims().last() {
        Some(width) if kind.gated() && width % 2 != 0 => {
            bail!("{OP}: expected `x` of shape [.., 2 x width] for {kind:?}, got {:?}", x.dims())
        }
        None if kind.gated() => {
            bail!("{OP}: expected `x` of shape [.., 2 x width] for {kind:?}, got a scalar")
        }
        _ => x.contiguous()?.apply_op1(Pointwise(kind)),
    }
}

/// [`activation`] with [`Activation::Gelu`].
///
/// # Errors
/// As [`activation`].
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    activation(Activation::Gelu, x)
}

struct Pointwise(Activation);

impl CustomOp1 for Pointwise {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut dims = layout.dims().to_vec();
        let inputs = dims.last().copied().unwrap_or(1);
        if let Some(last) = dims.last_mut() {
            *last = self.0.outputs(inputs);
        }
        Ok((CpuStorage::F32(cpu::forward(self.0, inputs, values(OP, x, layout)?)), Shape::from(dims)))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        cuda::forward(self.0, (x, layout), None)
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            return cuda::backward(self.0, x, &grad.contiguous()?).map(Some);
        }
        let inputs = x.dims().last().copied().unwrap_or(1);
        let dx = with_values(OP, [x, &grad.contiguous()?], |[x, dy]| cpu::backward(self.0, inputs, x, dy))?;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}
