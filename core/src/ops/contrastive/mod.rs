//! Losses of all pairs of two sets of vectors, row `i` of the one belonging to row `i` of the other.
//! The `N x N` logits are never held: only blocks of them.
//!
//! Axes: `N` pairs that belong together, `D` width.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(test)]
mod tests;
mod tile;

use super::slices::{require_f32, with_values};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

const OP: &str = "contrastive";

/// A loss, and how well partners find each other.
#[derive(Clone, Debug)]
pub struct Contrast {
    /// Scalar.
    pub loss: Tensor,
    /// Scalar f32 without a history: share of rows whose logit with their partner is above those with all
    /// others, mean of both directions. One that is only as large as another hasn't found it.
    pub top1: Tensor,
}

/// Cross entropy of picking the partner among all rows of the other set, mean of both directions:
/// `1/N Σ_i (½ log Σ_j exp(l_ij) + ½ log Σ_j exp(l_ji) - l_ii)` with `l = scale a bᵀ`.
/// Differentiable in `a`, `b` and `scale`.
///
/// Shapes: `a` and `b` `[N, D]`, `scale` one number; f32 on the CPU, any strides. Memory beside the
/// result: a block of logits per thread and at most 128 numbers per row. The loss of no rows is 0.
///
/// # Errors
/// If shapes disagree, or for another type of number or another device.
///
/// Source: Radford et al. 2021, figure 3.
pub fn infonce(a: &Tensor, b: &Tensor, scale: &Tensor) -> Result<Contrast> {
    contrast(cpu::Form::Infonce, a, b, [("scale", scale), ("scale", scale)])
}

/// A yes-or-no question per pair: `-1/N Σ_ij log σ(y_ij (scale a_i · b_j + bias))`, `y` 1 where
/// `i = j` and -1 elsewhere. Differentiable in `a`, `b`, `scale` and `bias`.
///
/// Shapes: `a` and `b` `[N, D]`, `scale` and `bias` one number each; f32 on the CPU, any strides.
/// Memory as for [`infonce`].
///
/// # Errors
/// If shapes disagree, or for another type of number or another device.
///
/// Source: Zhai et al. 2023, algorithm 1.
pub fn sigmoid(a: &Tensor, b: &Tensor, scale: &Tensor, bias: &Tensor) -> Result<Contrast> {
    contrast(cpu::Form::Sigmoid, a, b, [("scale", scale), ("bias", bias)])
}

fn contrast(form: cpu::Form, a: &Tensor, b: &Tensor, factors: [(&str, &Tensor); 2]) -> Result<Contrast> {
    let &[rows, width] = a.dims() else {
        bail!("{OP}: expected `a` of shape [rows, width], got {:?}", a.dims());
    };
    if b.dims() != [rows, width] {
        bail!("{OP}: expected `b` of the shape of `a`, {:?}, got {:?}", a.dims(), b.dims());
    }
    if width == 0 {
        bail!("{OP}: expected `a` of a width of at least 1, got {:?}", a.dims());
    }
    require_f32(OP, "a", a)?;
    require_f32(OP, "b", b)?;
    for (name, factor) in factors {
        require_f32(OP, name, factor)?;
        if factor.elem_count() != 1 {
            bail!("{OP}: expected `{name}` of one number, got shape {:?}", factor.dims());
        }
    }
    let [(_, scale), (_, bias)] = factors;
    let factors = match form {
        cpu::Form::Infonce => scale.reshape(1)?,
        cpu::Form::Sigmoid => Tensor::cat(&[scale.reshape(1)?, bias.reshape(1)?], 0)?,
    };
    let (a, b) = (a.contiguous()?, b.contiguous()?);
    #[cfg(feature = "cuda")]
    if a.device().is_cuda() {
        return cuda::contrast(form, &a, &b, &factors);
    }
    let outcome = with_values(OP, [&a, &b, &factors], |[a, b, factors]| {
        cpu::forward(cpu::Problem::new(form, a, b, width, factors))
    })?;
    let loss = a.apply_op3(&b, &factors, Contrastive { form, loss: outcome.loss as f32, kept: outcome.kept })?;
    Ok(Contrast { loss, top1: Tensor::new(outcome.top1 as f32, a.device())? })
}

/// Holds what the pass over the blocks gave.
struct Contrastive {
    form: cpu::Form,
    loss: f32,
    kept: cpu::Kept,
}

impl CustomOp3 for Contrastive {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        _a: &CpuStorage,
        _al: &Layout,
        _b: &CpuStorage,
        _bl: &Layout,
        _factors: &CpuStorage,
        _fl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![self.loss]), Shape::from(())))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        factors: &Tensor,
        _loss: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (_, width) = a.dims2()?;
        let grad = grad.to_scalar::<f32>()?;
        let (for_a, for_b) = with_values(OP, [a, b, factors], |[a_values, b_values, f]| {
            let problem = cpu::Problem::new(self.form, a_values, b_values, width, f);
            let for_a = (a.track_op() || factors.track_op()).then(|| cpu::gradient(problem, self.kept.sides(), grad));
            let swapped = || cpu::gradient(problem.swapped(), self.kept.sides().swapped(), grad);
            (for_a, b.track_op().then(swapped))
        })?;
        let dfactors = match &for_a {
            Some(g) if factors.track_op() => {
                let values = [g.scale as f32, g.bias as f32];
                Some(Tensor::new(&values[..factors.elem_count()], factors.device())?)
            }
            _ => None,
        };
        let tensor = |gradient: Option<cpu::Gradient>, like: &Tensor| {
            gradient.map(|g| Tensor::from_vec(g.rows, like.shape(), like.device())).transpose()
        };
        Ok((tensor(for_a, a)?, tensor(for_b, b)?, dfactors))
    }
}
