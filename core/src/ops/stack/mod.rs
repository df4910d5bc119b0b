//! Branches of a transformer, one after the other, as one operation: `x += branch(x)` for each.
//!
//! Rows are the tokens of all sequences, one after the other with nothing between them, so that nothing is computed on
//! padding. Between the branches nothing crosses candle's tape: activations lie in buffers that the next step uses again,
//! gradients of parameters are added to [`super::Gradients`] by the matrix products themselves.
//!
//! Axes: `M` rows (tokens of all sequences), `D` width; `M_c` and `D_c` of the context, where there is one.

mod attention;
#[cfg(any(test, feature = "cuda"))]
mod composed;
pub(super) mod cpu;
mod cross;
mod heads;
mod mlp;
mod operation;
#[cfg(any(test, feature = "cuda"))]
mod places;
#[cfg(feature = "cuda")]
mod residual;
mod sequences;
#[cfg(test)]
mod tests;

pub use attention::AttentionBranch;
pub use cross::CrossAttentionBranch;
pub use heads::HeadNorms;
pub use mlp::MlpBranch;
pub use sequences::{Context, Sequences};

use super::kept::Kept;
use super::layer_norm::NormKind;
use super::pool::Buffer;
use super::slices::require_f32;
use candle_core::{Result, Tensor, bail};
use operation::Stack;
use std::sync::Arc;

const OP: &str = "stack";

/// A normalisation with its parameters.
#[derive(Clone, Debug)]
pub struct NormParameters {
    /// Which.
    pub kind: NormKind,
    /// γ `[D]`.
    pub gamma: Tensor,
    /// β `[D]`, if there is one.
    pub beta: Option<Tensor>,
    /// Added to the variance.
    pub eps: f64,
}

/// A linear map with its parameters.
#[derive(Clone, Debug)]
pub struct LinearParameters {
    /// `[outputs, inputs]`.
    pub weight: Tensor,
    /// `[outputs]`, if there is one.
    pub bias: Option<Tensor>,
}

/// What is added to the residual stream.
#[derive(Clone, Debug)]
pub enum Branch {
    /// Attention of the tokens of each sequence to each other.
    Attention(AttentionBranch),
    /// Attention of the tokens of each sequence to those of a sequence of the context.
    CrossAttention(CrossAttentionBranch),
    /// An MLP on each token.
    Mlp(MlpBranch),
}

/// What the backward pass finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// All activations: the fastest, when there will be a backward pass.
    #[default]
    All,
    /// The input of each branch: its activations are computed again, about a fifth more time for a third of the memory.
    Inputs,
    /// Nothing, when no backward pass is expected; one computes everything again.
    Nothing,
}

/// What the rows of a call are.
#[derive(Clone, Copy)]
struct Rows<'a> {
    sequences: &'a Sequences,
    /// What each row of the branch is multiplied by before it is added; 1 without.
    scales: Option<&'a [f32]>,
    context: ContextRows<'a>,
}

/// What the rows of the context are; nothing without.
#[derive(Clone, Copy)]
struct ContextRows<'a> {
    values: &'a [f32],
    sequences: &'a Sequences,
    /// For each sequence of the stream.
    of: &'a [usize],
}

/// Activations of a branch.
struct Saved {
    buffers: Vec<Buffer>,
    /// Queries and keys before they were normalised, if they are.
    before: Option<[heads::Before; 2]>,
}

impl Branch {
    fn width(&self) -> usize {
        match self {
            Self::Attention(branch) => branch.width(),
            Self::CrossAttention(branch) => branch.width(),
            Self::Mlp(branch) => branch.width(),
        }
    }

    fn parameters(&self) -> Vec<&Tensor> {
        match self {
            Self::Attention(branch) => branch.parameters(),
            Self::CrossAttention(branch) => branch.parameters(),
            Self::Mlp(branch) => branch.parameters(),
        }
    }

    /// Writes `x + branch(x)` to `y`; gives the activations if they are to be kept.
    fn forward(&self, p: &[&[f32]], rows: Rows<'_>, x: &[f32], y: &mut [f32], keep: bool) -> Saved {
        match self {
            Self::Attention(branch) => branch.forward(p, rows, x, Some(y)),
            Self::CrossAttention(branch) => branch.forward(p, rows, x, Some(y)),
            Self::Mlp(branch) => branch.forward(p, rows, x, y, keep),
        }
    }

    /// Turns the gradient of the output into that of the input, in place, and adds those of the context and of the parameters.
    /// What isn't saved is computed again.
    fn backward(
        &self,
        p: &[&[f32]],
        rows: Rows<'_>,
        x: &[f32],
        saved: Option<Saved>,
        [gradient, dcontext]: [&mut [f32]; 2],
    ) {
        match self {
            Self::Attention(branch) => branch.backward(p, rows, x, saved, gradient),
            Self::CrossAttention(branch) => branch.backward(p, rows, x, saved, [gradient, dcontext]),
            Self::Mlp(branch) => branch.backward(p, rows, x, saved, gradient),
        }
    }
}

/// Applies `branches` in order, differentiable in `x` and all their parameters.
///
/// Shapes: `x` `[M, D]`, the tokens of all `sequences` → `[M, D]`; f32 on the CPU, f32 or bf16 on a CUDA
/// device, where the stack is made of single operations. `scales` has an entry per branch: what the
/// branch is multiplied by for each sequence before it is added, for example in stochastic depth; 1 without.
///
/// Gradients of the parameters are added to [`super::Gradients`] alone: a plain `Tensor::backward` is an error.
///
/// # Errors
/// If shapes disagree, a branch attends to a context, or for another type of number or another device.
pub fn stack(
    x: &Tensor,
    branches: &Arc<[Branch]>,
    sequences: &Sequences,
    scales: Vec<Option<Vec<f32>>>,
    keep: Keep,
) -> Result<Tensor> {
    apply(x, branches, sequences, None, scales, keep)
}

/// [`stack`] with a context for branches of cross-attention, differentiable in its rows, too.
///
/// # Errors
/// As [`stack`]; and if the context doesn't fit the sequences.
pub fn stack_with_context(
    x: &Tensor,
    branches: &Arc<[Branch]>,
    sequences: &Sequences,
    context: &Context,
    scales: Vec<Option<Vec<f32>>>,
    keep: Keep,
) -> Result<Tensor> {
    apply(x, branches, sequences, Some(context), scales, keep)
}

fn apply(
    x: &Tensor,
    branches: &Arc<[Branch]>,
    sequences: &Sequences,
    context: Option<&Context>,
    scales: Vec<Option<Vec<f32>>>,
    keep: Keep,
) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    require_f32(OP, "x", x)?;
    if rows != sequences.rows() {
        bail!(
            "{OP}: expected `x` with {} rows for {} sequences, got {:?}",
            sequences.rows(),
            sequences.len(),
            x.dims()
        );
    }
    if scales.len() != branches.len() || scales.iter().flatten().any(|scales| scales.len() != sequences.len()) {
        bail!("{OP}: expected scales for {} branches and {} sequences each", branches.len(), sequences.len());
    }
    if let Some(context) = context {
        require_f32(OP, "context", &context.rows)?;
        context.require(sequences)?;
    }
    for (number, branch) in branches.iter().enumerate() {
        let expected = branch.width();
        if expected != width {
            bail!("{OP}: expected `x` of width {expected} for branch {number}, got {:?}", x.dims());
        }
        if let Branch::CrossAttention(branch) = branch {
            let (expected, got) = (branch.context_width(), context.map(|context| context.rows.dims()));
            if got.is_none_or(|got| got[1] != expected) {
                bail!("{OP}: expected a context of width {expected} for branch {number}, got {got:?}");
            }
        }
    }
    let Some(anchor) = branches.first().and_then(|branch| branch.parameters().first().copied().cloned()) else {
        return Ok(x.clone());
    };
    let per_row = |scales: Vec<f32>| -> Vec<f32> {
        sequences.each().zip(scales).flat_map(|((_, rows), scale)| std::iter::repeat_n(scale, rows)).collect()
    };
    let scales: Vec<Option<Vec<f32>>> = scales.into_iter().map(|scales| scales.map(per_row)).collect();
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return composed::composed(x, branches, sequences, context, scales, keep);
    }
    let (context_sequences, of) = match context {
        Some(context) => (context.sequences.clone(), context.of.clone()),
        None => (Sequences::new([]), Vec::new()),
    };
    let op = Stack {
        branches: branches.clone(),
        sequences: sequences.clone(),
        context_sequences,
        of,
        scales,
        keep,
        kept: Kept::default(),
    };
    // candle records an operation if one of its arguments has a gradient: data has none, a parameter does.
    match context {
        Some(context) => x.contiguous()?.apply_op3(&context.rows.contiguous()?, &anchor, op),
        None => x.contiguous()?.apply_op2(&anchor, op),
    }
}

/// Refuses a parameter of another shape.
fn require_shape(name: &str, tensor: &Tensor, expected: &[usize]) -> Result<()> {
    require_f32(OP, name, tensor)?;
    if tensor.dims() != expected {
        bail!("{OP}: expected `{name}` of shape {expected:?}, got {:?}", tensor.dims());
    }
    if !tensor.is_contiguous() {
        bail!("{OP}: expected contiguous `{name}`, got strides {:?}", tensor.stride());
    }
    Ok(())
}

impl NormParameters {
    fn require(&self, width: usize) -> Result<()> {
        require_shape("norm.gamma", &self.gamma, &[width])?;
        self.beta.iter().try_for_each(|beta| require_shape("norm.beta", beta, &[width]))
    }
}

impl LinearParameters {
    fn require(&self, name: &str, outputs: usize, inputs: usize) -> Result<()> {
        require_shape(&format!("{name}.weight"), &self.weight, &[outputs, inputs])?;
        self.bias.iter().try_for_each(|bias| require_shape(&format!("{name}.bias"), bias, &[outputs]))
    }
}
