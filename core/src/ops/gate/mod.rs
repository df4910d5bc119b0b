//! `y = x g + r`: channels scaled by one factor each per object, on top of a residual.
//!
//! Axes: `B` objects, `N` places of each (all axes between the first and the last), `C` channels.

mod cpu;
#[cfg(test)]
mod tests;

use super::slices::{require_f32, values, with_values};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

const OP: &str = "gate";

/// Scaled channels on top of a residual, differentiable in all three.
///
/// Shapes: `x` and `residual` `[B, .., C]`, `gates` `[B, C]` → `[B, .., C]`; f32, any strides.
///
/// # Errors
/// If shapes disagree, or for another type of number.
pub fn gate(x: &Tensor, gates: &Tensor, residual: &Tensor) -> Result<Tensor> {
    let &[batch, .., channels] = x.dims() else {
        bail!("{OP}: expected `x` of shape [batch, .., channels], got {:?}", x.dims());
    };
    if gates.dims() != [batch, channels] || residual.dims() != x.dims() {
        bail!(
            "{OP}: expected `gates` of shape [{batch}, {channels}] and `residual` of shape {:?}, got {:?} and {:?}",
            x.dims(),
            gates.dims(),
            residual.dims()
        );
    }
    for (name, tensor) in [("x", x), ("gates", gates), ("residual", residual)] {
        require_f32(OP, name, tensor)?;
    }
    if !x.device().is_cpu() {
        let mut dims = vec![1; x.dims().len()];
        (dims[0], dims[x.dims().len() - 1]) = (batch, channels);
        return x.broadcast_mul(&gates.reshape(dims)?)? + residual;
    }
    x.contiguous()?.apply_op3(&gates.contiguous()?, &residual.contiguous()?, Gate)
}

struct Gate;

impl CustomOp3 for Gate {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        gates: &CpuStorage,
        gl: &Layout,
        residual: &CpuStorage,
        rl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, channels) = gl.shape().dims2()?;
        let y = cpu::forward(values(OP, x, xl)?, values(OP, gates, gl)?, values(OP, residual, rl)?, channels);
        Ok((CpuStorage::F32(y), xl.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gates: &Tensor,
        _residual: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (_, channels) = gates.dims2()?;
        let (dx, dgates) = with_values(OP, [x, gates, &grad], |[x, gates, dy]| cpu::backward(x, gates, dy, channels))?;
        let dx = Tensor::from_vec(dx, x.shape(), x.device())?;
        Ok((Some(dx), Some(Tensor::from_vec(dgates, gates.shape(), gates.device())?), Some(grad)))
    }
}
