//! Branches of a transformer, one after the other, as one operation: `x += branch(x)` for each.
//!
//! Rows are the tokens of all sequences, one after the other with nothing between them, so that nothing is computed on
//! padding. Between the branches nothing crosses candle's tape: activations lie in buffers that the next step uses again,
//! gradients of parameters are added to [`super::Gradients`] by the matrix products themselves.
//!
//! Axes: `M` rows (tokens of all sequences), `D` width.

mod attention;
#[cfg(any(test, feature = "cuda"))]
mod composed;
pub(super) mod cpu;
mod mlp;
#[cfg(feature = "cuda")]
mod residual;
#[cfg(test)]
mod tests;

pub use attention::AttentionBranch;
pub use mlp::MlpBranch;

use super::gradients;
use super::layer_norm::NormKind;
use super::pool::Buffer;
use super::slices::{require_f32, values, with_all, zeros};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use std::sync::{Arc, Mutex, PoisonError};

const OP: &str = "stack";

/// Where sequences begin and end among the rows.
#[derive(Clone, Debug)]
pub struct Sequences {
    /// One more than there are sequences.
    starts: Arc<[usize]>,
}

impl Sequences {
    /// Sequences of these lengths, one after the other.
    pub fn new(lengths: impl IntoIterator<Item = usize>) -> Self {
        let ends = lengths.into_iter().scan(0, |end, length| {
            *end += length;
            Some(*end)
        });
        Self { starts: std::iter::once(0).chain(ends).collect() }
    }

    /// How many sequences there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there is no sequence.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All tokens.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    /// First row and number of rows of each.
    pub(super) fn each(&self) -> impl Iterator<Item = (usize, usize)> {
        self.starts.windows(2).map(|pair| (pair[0], pair[1] - pair[0]))
    }
}

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
}

/// Activations of a branch.
type Saved = Vec<Buffer>;

impl Branch {
    fn parameters(&self) -> Vec<&Tensor> {
        match self {
            Self::Attention(branch) => branch.parameters(),
            Self::Mlp(branch) => branch.parameters(),
        }
    }

    /// Writes `x + branch(x)` to `y`; gives the activations if they are to be kept.
    fn forward(&self, p: &[&[f32]], rows: Rows<'_>, x: &[f32], y: &mut [f32], keep: bool) -> Saved {
        match self {
            Self::Attention(branch) => branch.forward(p, rows, x, Some(y)),
            Self::Mlp(branch) => branch.forward(p, rows, x, y, keep),
        }
    }

    /// Turns the gradient of the output into that of the input, in place, and adds those of the parameters. What isn't saved is
    /// computed again.
    fn backward(&self, p: &[&[f32]], rows: Rows<'_>, x: &[f32], saved: Option<Saved>, gradient: &mut [f32]) {
        match self {
            Self::Attention(branch) => branch.backward(p, rows, x, saved, gradient),
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
/// If shapes disagree, or for another type of number or another device.
pub fn stack(
    x: &Tensor,
    branches: &Arc<[Branch]>,
    sequences: &Sequences,
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
    for (number, branch) in branches.iter().enumerate() {
        let expected = match branch {
            Branch::Attention(branch) => branch.width(),
            Branch::Mlp(branch) => branch.width(),
        };
        if expected != width {
            bail!("{OP}: expected `x` of width {expected} for branch {number}, got {:?}", x.dims());
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
        return composed::composed(x, branches, sequences, scales, keep);
    }
    let op = Stack { branches: branches.clone(), sequences: sequences.clone(), scales, keep, kept: Mutex::new(None) };
    // candle records an operation if one of its arguments has a gradient: data has none, a parameter does.
    x.contiguous()?.apply_op2(&anchor, op)
}

struct Stack {
    branches: Arc<[Branch]>,
    sequences: Sequences,
    /// Per branch, for each row.
    scales: Vec<Option<Vec<f32>>>,
    keep: Keep,
    kept: Mutex<Option<Vec<Kept>>>,
}

/// What the forward pass leaves to the backward pass of one branch.
struct Kept {
    /// None for the first branch, whose input candle has.
    input: Option<Buffer>,
    saved: Option<Saved>,
}

impl Stack {
    /// Calls `f` with the values of all parameters, those of each branch together.
    fn with_parameters<R>(&self, f: impl FnOnce(&[&[&[f32]]]) -> R) -> Result<R> {
        let tensors: Vec<Vec<&Tensor>> = self.branches.iter().map(Branch::parameters).collect();
        with_all(OP, &tensors.concat(), |mut values| {
            let mut each = Vec::with_capacity(tensors.len());
            for own in &tensors {
                let (first, rest) = values.split_at(own.len());
                each.push(first);
                values = rest;
            }
            f(&each)
        })
    }

    fn rows(&self, branch: usize) -> Rows<'_> {
        Rows { sequences: &self.sequences, scales: self.scales.get(branch).and_then(Option::as_deref) }
    }

    fn forward(&self, parameters: &[&[&[f32]]], x: &[f32], y: &mut [f32], keep: Keep) -> Vec<Kept> {
        let mut kept = Vec::new();
        let mut current: Option<Buffer> = None;
        for (number, (branch, p)) in self.branches.iter().zip(parameters).enumerate() {
            let input = current.as_deref().unwrap_or(x);
            let last = number + 1 == self.branches.len();
            let mut next = (!last).then(|| Buffer::new(x.len()));
            let output = next.as_deref_mut().unwrap_or(&mut *y);
            let saved = branch.forward(p, self.rows(number), input, output, keep == Keep::All);
            if keep != Keep::Nothing {
                kept.push(Kept { input: current.take(), saved: (keep == Keep::All).then_some(saved) });
            }
            current = next;
        }
        kept
    }

    fn backward(&self, parameters: &[&[&[f32]]], x: &[f32], mut kept: Vec<Kept>, gradient: &mut [f32]) {
        for (number, (branch, p)) in self.branches.iter().zip(parameters).enumerate().rev() {
            let Some(Kept { input, saved }) = kept.pop() else { return };
            let (rows, input) = (self.rows(number), input.as_deref().unwrap_or(x));
            branch.backward(p, rows, input, saved, gradient);
        }
    }
}

impl CustomOp2 for Stack {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(OP, x, layout)?;
        let mut y = zeros(x.len());
        let kept = self.with_parameters(|parameters| self.forward(parameters, x, &mut y, self.keep))?;
        if self.keep != Keep::Nothing {
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        }
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        gradients::require(OP)?;
        let grad = grad.contiguous()?;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        let gradient = with_all(OP, &[x, &grad], |slices| {
            let (x, mut gradient) = (slices[0], slices[1].to_vec());
            self.with_parameters(|parameters| {
                let again = || {
                    let mut y = Buffer::new(x.len());
                    self.forward(parameters, x, &mut y, Keep::Inputs)
                };
                self.backward(parameters, x, kept.unwrap_or_else(again), &mut gradient);
            })?;
            Ok::<_, candle_core::Error>(gradient)
        })??;
        let dx = if x.track_op() { Some(Tensor::from_vec(gradient, x.shape(), x.device())?) } else { None };
        Ok((dx, None))
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
