//! `y = x wᵀ + b`.
//!
//! Axes: `I` inputs, `O` outputs, `M` rows (all leading axes of `x` together).

pub(super) mod cpu;
#[cfg(feature = "cuda")]
pub(super) mod cuda;
#[cfg(test)]
mod tests;

use super::gradients::{self, Added};
use super::product::Onto;
use super::slices::{require_f32, values, with_values, zeros};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};

const OP: &str = "linear";

/// `y = x wᵀ + b`, differentiable in all three.
///
/// Shapes: `x` `[.., I]`, `w` `[O, I]`, `b` `[O]` → `[.., O]`; f32 on the CPU, any strides.
///
/// # Errors
/// If shapes disagree, or for another type of number or another device.
pub fn linear(x: &Tensor, w: &Tensor, b: Option<&Tensor>) -> Result<Tensor> {
    let (outputs, inputs) = match w.dims() {
        &[outputs, inputs] => (outputs, inputs),
        dims => bail!("{OP}: expected `w` of shape [outputs, inputs], got {dims:?}"),
    };
    if x.dims().last() != Some(&inputs) {
        bail!("{OP}: expected `x` of shape [.., {inputs}], got {:?}", x.dims());
    }
    require_f32(OP, "x", x)?;
    require_f32(OP, "w", w)?;
    let (x, w) = (x.contiguous()?, w.contiguous()?);
    let Some(b) = b else {
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            return cuda::linear(&x, &w, None);
        }
        return x.apply_op2(&w, Linear);
    };
    if b.dims() != [outputs] {
        bail!("{OP}: expected `b` of shape [{outputs}], got {:?}", b.dims());
    }
    require_f32(OP, "b", b)?;
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return cuda::linear(&x, &w, Some(b));
    }
    x.apply_op3(&w, &b.contiguous()?, Linear)
}

struct Linear;

impl Linear {
    fn forward(x: &[f32], x_layout: &Layout, w: &[f32], w_layout: &Layout, b: &[f32]) -> Result<(CpuStorage, Shape)> {
        let (outputs, inputs) = w_layout.shape().dims2()?;
        let mut dims = x_layout.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = outputs;
        }
        let shape = Shape::from(dims);
        let mut y = zeros(shape.elem_count());
        cpu::forward(x, w, b, inputs, &mut y);
        Ok((CpuStorage::F32(y), shape))
    }

    fn backward(x: &Tensor, w: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (outputs, inputs) = w.dims2()?;
        let sizes = (inputs, outputs);
        let (dx, dw) = with_values(OP, [x, w, grad], |[x_values, w_values, dy]| {
            // Data has no gradient: the first layer of a tokenizer saves a third of its products.
            let dx = x.track_op().then(|| {
                let mut dx = zeros(x_values.len());
                cpu::input_gradient(dy, w_values, inputs, outputs, &mut dx);
                dx
            });
            let added = gradients::add(w, |dw, onto| cpu::weight_gradient(dy, x_values, sizes, dw, onto));
            let dw = (added == Added::No && w.track_op()).then(|| {
                let mut dw = zeros(w_values.len());
                cpu::weight_gradient(dy, x_values, sizes, &mut dw, Onto::Nothing);
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

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, w: &CpuStorage, wl: &Layout) -> Result<(CpuStorage, Shape)> {
        Self::forward(values(OP, x, xl)?, xl, values(OP, w, wl)?, wl, &[])
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Self::backward(x, w, &grad.contiguous()?)
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        OP
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
        Self::forward(values(OP, x, xl)?, xl, values(OP, w, wl)?, wl, values(OP, b, bl)?)
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
        let (dx, dw) = Self::backward(x, w, &grad)?;
        let added = with_values(OP, [&grad], |[dy]| gradients::add(b, |db, onto| cpu::bias_gradient(dy, db, onto)))?;
        if added == Added::Yes || !b.track_op() {
            return Ok((dx, dw, None));
        }
        let mut db = vec![0.0; b.elem_count()];
        with_values(OP, [&grad], |[dy]| cpu::bias_gradient(dy, &mut db, Onto::Nothing))?;
        Ok((dx, dw, Some(Tensor::from_vec(db, b.shape(), b.device())?)))
    }
}
