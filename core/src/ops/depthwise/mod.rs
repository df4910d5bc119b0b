//! A convolution along a sequence, each channel by itself.
//!
//! Axes: `B` sequences, `T` places, `C` channels, `K` places of the kernel.

mod cpu;
#[cfg(test)]
mod tests;

use super::gradients::add_or_give;
use super::slices::{require_f32, values, with_values, zeros};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

const OP: &str = "depthwise";

/// `y[b, t, c] = bias[c] + Σ_k weight[c, k] x[b, t + k - (K - 1)/2, c]`, zeros beyond the ends; differentiable in all three.
///
/// Shapes: `x` `[B, T, C]`, `weight` `[C, K]` with odd K, `bias` `[C]` → `[B, T, C]`; f32, any strides. On other devices than the CPU it is
/// put together from single operations.
///
/// # Errors
/// If shapes disagree, the kernel is even, or for another type of number.
///
/// Source: the depthwise convolution of ConvNeXt, Liu et al. 2022, section 2.6.
pub fn depthwise(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let &[_, _, channels] = x.dims() else {
        bail!("{OP}: expected `x` of shape [sequences, places, channels], got {:?}", x.dims());
    };
    let kernel = match weight.dims() {
        &[rows, kernel] if rows == channels && kernel % 2 == 1 => kernel,
        dims => bail!("{OP}: expected `weight` of shape [{channels}, odd kernel] for `x` {:?}, got {dims:?}", x.dims()),
    };
    if bias.dims() != [channels] {
        bail!("{OP}: expected `bias` of shape [{channels}], got {:?}", bias.dims());
    }
    for (name, tensor) in [("x", x), ("weight", weight), ("bias", bias)] {
        require_f32(OP, name, tensor)?;
    }
    if !x.device().is_cpu() {
        return composed(x, weight, bias, kernel);
    }
    x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, Depthwise)
}

/// The same from single operations.
fn composed(x: &Tensor, weight: &Tensor, bias: &Tensor, kernel: usize) -> Result<Tensor> {
    let length = x.dim(1)?;
    let padded = x.pad_with_zeros(1, kernel / 2, kernel / 2)?;
    let mut sum = bias.to_dtype(x.dtype())?.broadcast_as(x.shape())?.contiguous()?;
    for place in 0..kernel {
        let own = weight.narrow(1, place, 1)?.squeeze(1)?.to_dtype(x.dtype())?;
        sum = (sum + padded.narrow(1, place, length)?.broadcast_mul(&own)?)?;
    }
    Ok(sum)
}

struct Depthwise;

impl CustomOp3 for Depthwise {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        weight: &CpuStorage,
        wl: &Layout,
        bias: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, length, channels) = xl.shape().dims3()?;
        let mut y = zeros(xl.shape().elem_count());
        let kernel = cpu::Kernel::new(values(OP, weight, wl)?, channels, cpu::Turned::No);
        cpu::forward(values(OP, x, xl)?, &kernel, values(OP, bias, bl)?, length, &mut y);
        Ok((CpuStorage::F32(y), xl.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (_, length, channels) = x.dims3()?;
        let kernel = weight.dim(1)?;
        let (dx, sums) = with_values(OP, [x, weight, &grad.contiguous()?], |[x_values, weight, dy]| {
            let dx = x.track_op().then(|| {
                let mut dx = zeros(dy.len());
                let turned = cpu::Kernel::new(weight, channels, cpu::Turned::Around);
                cpu::forward(dy, &turned, &vec![0.0; channels], length, &mut dx);
                dx
            });
            (dx, cpu::parameter_gradients(x_values, dy, length, channels, kernel))
        })?;
        let dx = dx.map(|dx| Tensor::from_vec(dx, x.shape(), x.device())).transpose()?;
        Ok((dx, add_or_give(weight, &sums.weight)?, add_or_give(bias, &sums.bias)?))
    }
}
