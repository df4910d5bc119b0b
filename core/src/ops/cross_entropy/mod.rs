//! `mean over rows of -Σ_v q_v log softmax(logits)_v`, `q` the target with label smoothing.
//!
//! Axes: `M` rows, `V` vocabulary, `G` groups.
//!
//! Targets and groups are looked at on the host: give them on the CPU whatever the device of the logits, or it waits for them.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(test)]
mod tests;

use super::slices::{indices, require_f32, with_values, zeros};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

const OP: &str = "cross_entropy";

/// The target of a row that doesn't count.
pub const IGNORED: u32 = u32::MAX;

/// Rows that are averaged among themselves first, such as the tokens of one modality.
#[derive(Clone, Copy, Debug)]
pub struct Groups<'a> {
    /// `[M]` u32: the group of each row.
    pub of_rows: &'a Tensor,
    /// G.
    pub count: usize,
}

/// Cross entropy of the softmax of `logits` with `targets`, differentiable in `logits`.
///
/// Shapes: `logits` `[M, V]` f32 on the CPU, any strides; `targets` `[M]` u32 → scalar. A row whose
/// target is [`IGNORED`] doesn't count and gets no gradient, whatever it holds (also NaN). The
/// target of a row is the distribution that has `1 - label_smoothing` at its target and
/// `label_smoothing / V` more everywhere. Without `groups` the result is the mean over the rows that
/// count; with them the mean over the groups that have such a row of the mean within each. If no row
/// counts it is 0.
///
/// The gradient is calculated in the same pass and kept, in memory of the size of `logits`, if
/// anything needs it.
///
/// # Errors
/// If a target or a group is out of range (named with its row), if `label_smoothing` isn't within
/// 0 and 1, if shapes disagree, or for another type of number or another device.
///
/// Source: Szegedy et al. 2016, §7 (label smoothing).
pub fn cross_entropy(
    logits: &Tensor,
    targets: &Tensor,
    label_smoothing: f64,
    groups: Option<Groups<'_>>,
) -> Result<Tensor> {
    let &[rows, vocabulary] = logits.dims() else {
        bail!("{OP}: expected `logits` of shape [rows, vocabulary], got {:?}", logits.dims());
    };
    require_f32(OP, "logits", logits)?;
    if !(0.0..=1.0).contains(&label_smoothing) {
        bail!("{OP}: expected `label_smoothing` between 0 and 1, got {label_smoothing}");
    }
    let targets = indices(OP, "targets", targets, Some(rows))?;
    let out_of_range = |&(_, &target): &(usize, &u32)| target != IGNORED && target as usize >= vocabulary;
    if let Some((row, target)) = targets.iter().enumerate().find(out_of_range) {
        bail!("{OP}: target {target} of row {row} is out of range for a vocabulary of {vocabulary}");
    }
    let weights = weights(&targets, groups)?;
    let logits = logits.contiguous()?;
    #[cfg(feature = "cuda")]
    if logits.device().is_cuda() {
        return cuda::cross_entropy(&logits, &targets, &weights, label_smoothing);
    }
    let mut gradient = zeros(if logits.track_op() { rows * vocabulary } else { 0 });
    let mut losses = vec![0.0; rows];
    let rows = cpu::Rows { targets: &targets, weights: &weights, smoothing: label_smoothing };
    with_values(OP, [&logits], |[x]| cpu::forward(x, vocabulary, rows, &mut losses, &mut gradient))?;
    let loss: f64 = losses.iter().sum();
    let gradient = match logits.track_op() {
        true => Some(Tensor::from_vec(gradient, logits.shape(), logits.device())?),
        false => None,
    };
    logits.apply_op1(CrossEntropy { loss: loss as f32, gradient })
}

/// What each row counts in the mean: they sum to 1, or are all 0.
fn weights(targets: &[u32], groups: Option<Groups<'_>>) -> Result<Vec<f64>> {
    let (of_rows, count) = match groups {
        None => (vec![0; targets.len()], 1),
        Some(groups) => (indices(OP, "groups", groups.of_rows, Some(targets.len()))?, groups.count),
    };
    let counted = || of_rows.iter().zip(targets).enumerate().filter(|(_, (_, target))| **target != IGNORED);
    let mut sizes = vec![0_usize; count];
    for (row, (&group, _)) in counted() {
        match sizes.get_mut(group as usize) {
            Some(size) => *size += 1,
            None => bail!("{OP}: group {group} of row {row} is out of range for {count} groups"),
        }
    }
    let present = sizes.iter().filter(|&&size| size > 0).count();
    let mut weights = vec![0.0; targets.len()];
    for (row, (&group, _)) in counted() {
        weights[row] = 1.0 / (present as f64 * sizes[group as usize] as f64);
    }
    Ok(weights)
}

/// Holds what the one pass over the logits gave.
struct CrossEntropy {
    loss: f32,
    /// Of the logits; `None` if nothing needs it.
    gradient: Option<Tensor>,
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, _logits: &CpuStorage, _layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![self.loss]), Shape::from(())))
    }

    fn bwd(&self, _logits: &Tensor, _loss: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let Some(gradient) = &self.gradient else { return Ok(None) };
        let factor = grad.to_scalar::<f32>()?;
        if factor == 1.0 {
            return Ok(Some(gradient.clone()));
        }
        let mut scaled = zeros(gradient.elem_count());
        with_values(OP, [gradient], |[gradient]| cpu::scale(gradient, factor, &mut scaled))?;
        Ok(Some(Tensor::from_vec(scaled, gradient.shape(), gradient.device())?))
    }
}
