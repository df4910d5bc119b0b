//! Similarities -> loss, as plain functions of tensors.
//!
//! Every maximum that is subtracted for stability is detached: it drops out of the result, so it
//! must not get a gradient (that of a tie would be wrong).

use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Result, Shape, Tensor, bail};

/// Mean of both directions' cross entropy, row `i` and column `i` belonging together.
///
/// Shapes: `[N, N]` logits -> scalar.
/// Source: Radford et al. 2021, figure 3.
pub(super) fn infonce(logits: &Tensor) -> Result<Tensor> {
    let n = logits.dim(0)?;
    let own = (logits * eye(n, logits)?)?.sum_all()?;
    let all = (log_sum_exp(logits, 1)?.sum_all()? + log_sum_exp(logits, 0)?.sum_all()?)?;
    ((all * 0.5)? - own)? / n as f64
}

/// `-1/N Σij log σ(y_ij logits_ij)` with `y` 1 on the diagonal and -1 elsewhere.
///
/// Shapes: `[N, N]` logits -> scalar.
/// Source: Zhai et al. 2023, algorithm 1.
pub(super) fn sigmoid(logits: &Tensor) -> Result<Tensor> {
    let n = logits.dim(0)?;
    // -y: -1 on the diagonal, 1 elsewhere; -log σ(u) is softplus(-u).
    let sign = ((eye(n, logits)? * -2.0)? + 1.0)?;
    softplus(&(logits * sign)?)?.sum_all()? / n as f64
}

/// `log(1 + exp(x))` without overflow, with the exact gradient everywhere.
fn softplus(x: &Tensor) -> Result<Tensor> {
    let m = x.detach().relu()?;
    (m.neg()?.exp()? + (x - &m)?.exp()?)?.log()? + m
}

fn log_sum_exp(x: &Tensor, dim: usize) -> Result<Tensor> {
    let m = x.detach().max_keepdim(dim)?;
    x.broadcast_sub(&m)?.exp()?.sum_keepdim(dim)?.log()? + m
}

fn eye(n: usize, like: &Tensor) -> Result<Tensor> {
    Tensor::eye(n, like.dtype(), like.device())
}

/// Share of rows and columns whose largest value is on the diagonal: objects that find their
/// partner among those of the batch, mean of both directions.
///
/// Shapes: `[N, N]` -> scalar f32.
pub(super) fn top1(logits: &Tensor) -> Result<Tensor> {
    let own = Tensor::arange(0u32, u32::try_from(logits.dim(0)?).unwrap_or(u32::MAX), logits.device())?;
    let found = |best: Tensor| best.eq(&own)?.to_dtype(DType::F32)?.mean_all();
    (found(logits.argmax(D::Minus1)?)? + found(logits.argmax(0)?)?)? * 0.5
}

/// `min(x, bound)`, whose gradient is kept beyond the bound if it leads back.
///
/// The gradient of a plain minimum is zero there: a parameter that once got beyond its bound would
/// never leave it.
pub(super) fn at_most(x: &Tensor, bound: f64) -> Result<Tensor> {
    x.apply_op1(AtMost(bound as f32))
}

struct AtMost(f32);

impl CustomOp1 for AtMost {
    fn name(&self) -> &'static str {
        "at_most"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
            bail!("at_most: expected contiguous f32");
        };
        let values = values.get(start..end).unwrap_or_default().iter().map(|v| v.min(self.0)).collect();
        Ok((CpuStorage::F32(values), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        // A step goes against the gradient, so that a positive one leads back.
        let beyond = x.ge(self.0)?;
        Ok(Some(beyond.where_cond(&gradient.relu()?, gradient)?))
    }
}
