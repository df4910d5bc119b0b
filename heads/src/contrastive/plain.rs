//! The losses as plain functions of all `N x N` logits: what tests compare the blocked operation with.
//!
//! Every maximum that is subtracted for stability is detached: it drops out of the result, so it
//! must not get a gradient (that of a tie would be wrong).

use candle_core::{D, DType, Result, Tensor};

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
