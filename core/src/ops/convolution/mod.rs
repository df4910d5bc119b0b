//! Convolution over the lines and columns of images whose channels come last, and its transpose.
//!
//! `y[b, i, j, o] = β[o] + Σ w[o, k, l, c] x[b, s i + k - p, s j + l - p, c]` with stride `s` and padding `p`; what lies beside the
//! image is 0. The transposed one maps an image of the size of `y` to one of the size of `x`.
//!
//! Axes: `B` images, `H` and `W` lines and columns, `I` channels of the input, `O` of the output, `K` and `L` lines and columns of
//! the kernel. A channel-wise norm is then one over the last axis, and a kernel of one pixel a linear map.

mod cpu;
mod elsewhere;
#[cfg(test)]
mod tests;

use super::gradients::{self, Added};
use super::linear;
use super::product::Onto;
use super::slices::{require_f32, values, with_values, zeros};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
use cpu::Sizes;

/// How a kernel moves over an image, alike in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Pixels from one place of the kernel to the next; of the transposed convolution, between pixels of the result.
    pub stride: usize,
    /// Lines and columns of zeros at each side; of the transposed convolution, how many are cut off the result.
    pub padding: usize,
}

/// Convolution, differentiable in all three.
///
/// Shapes: `x` `[B, H, W, I]`, `w` `[O, K, L, I]`, `b` `[O]` → `[B, (H + 2 p - K) / s + 1, (W + 2 p - L) / s + 1, O]`, rounded down;
/// f32, any strides.
///
/// # Errors
/// If shapes disagree, the kernel is larger than the padded image, the stride is 0, or for another type of number.
pub fn convolution(x: &Tensor, w: &Tensor, b: Option<&Tensor>, window: Window) -> Result<Tensor> {
    Convolution { window, transposed: false }.apply(x, w, b)
}

/// Transposed convolution, differentiable in all three: the map whose matrix is that of [`convolution`] transposed.
///
/// Shapes: `x` `[B, H, W, I]`, `w` `[I, K, L, O]`, `b` `[O]` → `[B, (H - 1) s - 2 p + K, (W - 1) s - 2 p + L, O]`; f32, any strides.
///
/// # Errors
/// If shapes disagree, nothing is left after cutting off the padding, the stride is 0, or for another type of number.
pub fn transposed_convolution(x: &Tensor, w: &Tensor, b: Option<&Tensor>, window: Window) -> Result<Tensor> {
    Convolution { window, transposed: true }.apply(x, w, b)
}

#[derive(Clone, Copy)]
struct Convolution {
    window: Window,
    transposed: bool,
}

impl Convolution {
    fn op(self) -> &'static str {
        if self.transposed { "transposed_convolution" } else { "convolution" }
    }

    /// Checks shapes; `large` is the input of a convolution and the output of a transposed one.
    fn sizes(self, x: &[usize], w: &[usize]) -> Result<Sizes> {
        let op = self.op();
        let Window { stride, padding } = self.window;
        let (&[batch, height, width, channels], &[outputs, lines, columns, inputs]) = (x, w) else {
            bail!("{op}: expected `x` and `w` with 4 axes, got shapes {x:?} and {w:?}");
        };
        if stride == 0 {
            bail!("{op}: expected a stride of at least 1, got 0");
        }
        let expected = if self.transposed { outputs } else { inputs };
        if channels != expected {
            bail!("{op}: expected `x` with {expected} channels for `w` of shape {w:?}, got shape {x:?}");
        }
        let other = |size: usize, kernel: usize| {
            if self.transposed {
                size.checked_sub(1)
                    .and_then(|last| (last * stride + kernel).checked_sub(2 * padding))
                    .filter(|n| *n > 0)
            } else {
                (size + 2 * padding).checked_sub(kernel).filter(|_| kernel > 0).map(|free| free / stride + 1)
            }
        };
        let (Some(other_height), Some(other_width)) = (other(height, lines), other(width, columns)) else {
            bail!("{op}: a kernel of {lines} x {columns} with padding {padding} leaves nothing of `x` of shape {x:?}");
        };
        let (own, other) = ([height, width], [other_height, other_width]);
        let (large, small) = if self.transposed { (other, own) } else { (own, other) };
        Ok(Sizes { batch, large, small, kernel: [lines, columns], inputs, outputs, stride, padding })
    }

    fn apply(self, x: &Tensor, w: &Tensor, b: Option<&Tensor>) -> Result<Tensor> {
        let op = self.op();
        let sizes = self.sizes(x.dims(), w.dims())?;
        for (name, tensor) in [("x", Some(x)), ("w", Some(w)), ("b", b)] {
            if let Some(tensor) = tensor {
                require_f32(op, name, tensor)?;
            }
        }
        let outputs = if self.transposed { sizes.inputs } else { sizes.outputs };
        if let Some(b) = b.filter(|b| b.dims() != [outputs]) {
            bail!("{op}: expected `b` of shape [{outputs}], got {:?}", b.dims());
        }
        if !x.device().is_cpu() {
            return elsewhere::apply(x, w, b, self.window, self.transposed);
        }
        let (x, w) = (x.contiguous()?, w.contiguous()?);
        match b {
            Some(b) => x.apply_op3(&w, &b.contiguous()?, self),
            None => x.apply_op2(&w, self),
        }
    }

    fn forward(self, x: (&[f32], &Layout), w: (&[f32], &Layout), b: &[f32]) -> Result<(CpuStorage, Shape)> {
        let sizes = self.sizes(x.1.dims(), w.1.dims())?;
        let ([height, width], channels) =
            if self.transposed { (sizes.large, sizes.inputs) } else { (sizes.small, sizes.outputs) };
        let shape = Shape::from((sizes.batch, height, width, channels));
        let mut y = zeros(shape.elem_count());
        if self.transposed {
            cpu::to_large(&sizes, x.0, w.0, b, &mut y);
        } else {
            cpu::to_small(&sizes, x.0, w.0, b, &mut y);
        }
        Ok((CpuStorage::F32(y), shape))
    }

    fn backward(self, x: &Tensor, w: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let sizes = self.sizes(x.dims(), w.dims())?;
        let (dx, dw) = with_values(self.op(), [x, w, grad], |[x_values, w_values, dy]| {
            let dx = x.track_op().then(|| {
                let mut dx = zeros(x_values.len());
                if self.transposed {
                    cpu::to_small(&sizes, dy, w_values, &[], &mut dx);
                } else {
                    cpu::to_large(&sizes, dy, w_values, &[], &mut dx);
                }
                dx
            });
            let (large, small) = if self.transposed { (dy, x_values) } else { (x_values, dy) };
            let added = gradients::add(w, |dw, onto| cpu::weight_gradient(&sizes, large, small, dw, onto));
            let dw = (added == Added::No && w.track_op()).then(|| {
                let mut dw = zeros(w_values.len());
                cpu::weight_gradient(&sizes, large, small, &mut dw, Onto::Nothing);
                dw
            });
            (dx, dw)
        })?;
        let tensor = |values: Option<Vec<f32>>, like: &Tensor| -> Result<Option<Tensor>> {
            values.map(|values| Tensor::from_vec(values, like.shape(), like.device())).transpose()
        };
        Ok((tensor(dx, x)?, tensor(dw, w)?))
    }
}

impl CustomOp2 for Convolution {
    fn name(&self) -> &'static str {
        self.op()
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, w: &CpuStorage, wl: &Layout) -> Result<(CpuStorage, Shape)> {
        self.forward((values(self.op(), x, xl)?, xl), (values(self.op(), w, wl)?, wl), &[])
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        self.backward(x, w, &grad.contiguous()?)
    }
}

impl CustomOp3 for Convolution {
    fn name(&self) -> &'static str {
        self.op()
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let op = self.op();
        self.forward((values(op, x, xl)?, xl), (values(op, w, wl)?, wl), values(op, b, bl)?)
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (dx, dw) = self.backward(x, w, &grad)?;
        let added = with_values(self.op(), [&grad], |[dy]| {
            gradients::add(b, |db, onto| linear::cpu::bias_gradient(dy, db, onto))
        })?;
        if added == Added::Yes || !b.track_op() {
            return Ok((dx, dw, None));
        }
        let mut db = vec![0.0; b.elem_count()];
        with_values(self.op(), [&grad], |[dy]| linear::cpu::bias_gradient(dy, &mut db, Onto::Nothing))?;
        Ok((dx, dw, Some(Tensor::from_vec(db, b.shape(), b.device())?)))
    }
}
