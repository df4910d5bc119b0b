//! Global response normalisation: channels of a sequence compete by their length.
//!
//! Axes: `B` sequences, `T` places, `C` channels.

mod cpu;
#[cfg(test)]
mod tests;

use super::gradients::add_or_give;
use super::slices::{require_f32, values, with_values, zeros};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

const OP: &str = "response_norm";

/// Added to the mean length.
const EPSILON: f32 = 1e-6;

/// `y = x (1 + γ n) + β` with `n_c = ‖x_c‖ / (mean of ‖x_c‖ + 1e-6)` over the places of each sequence; differentiable in all three.
///
/// Shapes: `x` `[B, T, C]`, `gamma` and `beta` `[C]` → `[B, T, C]`; f32, any strides. On other devices than the CPU it is put together from
/// single operations.
///
/// # Errors
/// If shapes disagree, or for another type of number.
///
/// Source: Woo et al. 2023 (ConvNeXt V2), section 3.2 and algorithm 1.
pub fn response_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor) -> Result<Tensor> {
    let &[_, _, channels] = x.dims() else {
        bail!("{OP}: expected `x` of shape [sequences, places, channels], got {:?}", x.dims());
    };
    for (name, tensor) in [("gamma", gamma), ("beta", beta)] {
        if tensor.dims() != [channels] {
            bail!("{OP}: expected `{name}` of shape [{channels}] for `x` {:?}, got {:?}", x.dims(), tensor.dims());
        }
        require_f32(OP, name, tensor)?;
    }
    require_f32(OP, "x", x)?;
    if !x.device().is_cpu() {
        return composed(x, gamma, beta);
    }
    x.contiguous()?.apply_op3(&gamma.contiguous()?, &beta.contiguous()?, ResponseNorm)
}

/// The same from single operations; a channel of zeros gets no gradient there either.
fn composed(x: &Tensor, gamma: &Tensor, beta: &Tensor) -> Result<Tensor> {
    let [gamma, beta] = [gamma.to_dtype(x.dtype())?, beta.to_dtype(x.dtype())?];
    let length = (x.sqr()?.sum_keepdim(1)? + f64::from(f32::MIN_POSITIVE))?.sqrt()?;
    let share = length.broadcast_div(&(length.mean_keepdim(2)? + f64::from(EPSILON))?)?;
    x.broadcast_mul(&(share.broadcast_mul(&gamma)? + 1.0)?)?.broadcast_add(&beta)
}

struct ResponseNorm;

impl CustomOp3 for ResponseNorm {
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
        let (_, length, _) = xl.shape().dims3()?;
        let mut y = zeros(xl.shape().elem_count());
        cpu::forward(values(OP, x, xl)?, values(OP, gamma, gl)?, values(OP, beta, bl)?, length, &mut y);
        Ok((CpuStorage::F32(y), xl.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (_, length, channels) = x.dims3()?;
        let mut dx = zeros(x.elem_count());
        let sums = with_values(OP, [x, gamma, &grad.contiguous()?], |[x, gamma, dy]| {
            cpu::backward(x, gamma, dy, length, &mut dx)
        })?;
        let (dgamma, dbeta) = sums.split_at(channels);
        Ok((Some(Tensor::from_vec(dx, x.shape(), x.device())?), add_or_give(gamma, dgamma)?, add_or_give(beta, dbeta)?))
    }
}
