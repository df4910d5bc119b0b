//! The stack on the CPU as an operation that candle records.

use super::{Branch, ContextRows, Keep, OP, Rows, Saved, Sequences};
use crate::ops::gradients;
use crate::ops::kept::Kept;
use crate::ops::pool::Buffer;
use crate::ops::slices::{values, with_all, zeros};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use std::sync::Arc;

pub(super) struct Stack {
    pub(super) branches: Arc<[Branch]>,
    pub(super) sequences: Sequences,
    pub(super) context_sequences: Sequences,
    /// For each of `sequences`, the one of the context.
    pub(super) of: Vec<usize>,
    /// Per branch, for each row.
    pub(super) scales: Vec<Option<Vec<f32>>>,
    pub(super) keep: Keep,
    pub(super) kept: Kept<Vec<Left>>,
}

/// What the forward pass leaves to the backward pass of one branch.
pub(super) struct Left {
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

    fn rows<'a>(&'a self, branch: usize, context: &'a [f32]) -> Rows<'a> {
        Rows {
            sequences: &self.sequences,
            scales: self.scales.get(branch).and_then(Option::as_deref),
            context: ContextRows { values: context, sequences: &self.context_sequences, of: &self.of },
        }
    }

    fn forward(&self, parameters: &[&[&[f32]]], [x, context]: [&[f32]; 2], y: &mut [f32], keep: Keep) -> Vec<Left> {
        let mut kept = Vec::new();
        let mut current: Option<Buffer> = None;
        for (number, (branch, p)) in self.branches.iter().zip(parameters).enumerate() {
            let input = current.as_deref().unwrap_or(x);
            let last = number + 1 == self.branches.len();
            let mut next = (!last).then(|| Buffer::new(x.len()));
            let output = next.as_deref_mut().unwrap_or(&mut *y);
            let saved = branch.forward(p, self.rows(number, context), input, output, keep == Keep::All);
            if keep != Keep::Nothing {
                kept.push(Left { input: current.take(), saved: (keep == Keep::All).then_some(saved) });
            }
            current = next;
        }
        kept
    }

    fn backward(
        &self,
        parameters: &[&[&[f32]]],
        [x, context]: [&[f32]; 2],
        mut kept: Vec<Left>,
        [gradient, dcontext]: [&mut [f32]; 2],
    ) {
        for (number, (branch, p)) in self.branches.iter().zip(parameters).enumerate().rev() {
            let Some(Left { input, saved }) = kept.pop() else { return };
            let (rows, input) = (self.rows(number, context), input.as_deref().unwrap_or(x));
            branch.backward(p, rows, input, saved, [&mut *gradient, &mut *dcontext]);
        }
    }

    /// The result for `x` of this layout.
    fn result(&self, inputs: [&[f32]; 2], layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut y = zeros(inputs[0].len());
        let kept = self.with_parameters(|parameters| self.forward(parameters, inputs, &mut y, self.keep))?;
        if self.keep != Keep::Nothing {
            self.kept.set(kept);
        }
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    /// Gradients of the stream and the context where candle has to keep them.
    fn gradients(&self, x: &Tensor, context: Option<&Tensor>, grad: &Tensor) -> Result<[Option<Tensor>; 2]> {
        gradients::require(OP)?;
        let grad = grad.contiguous()?;
        let kept = self.kept.take();
        let tensors: Vec<&Tensor> = [x, &grad].into_iter().chain(context).collect();
        let [gradient, dcontext] = with_all(OP, &tensors, |slices| {
            let inputs = [slices[0], slices.get(2).copied().unwrap_or_default()];
            let (mut gradient, mut dcontext) = (slices[1].to_vec(), zeros(inputs[1].len()));
            self.with_parameters(|parameters| {
                let again = || {
                    let mut y = Buffer::new(inputs[0].len());
                    self.forward(parameters, inputs, &mut y, Keep::Inputs)
                };
                self.backward(parameters, inputs, kept.unwrap_or_else(again), [&mut gradient, &mut dcontext]);
            })?;
            Ok::<_, candle_core::Error>([gradient, dcontext])
        })??;
        let own = |gradient: Vec<f32>, of: &Tensor| match of.track_op() {
            true => Tensor::from_vec(gradient, of.shape(), of.device()).map(Some),
            false => Ok(None),
        };
        Ok([own(gradient, x)?, context.map(|context| own(dcontext, context)).transpose()?.flatten()])
    }
}

impl CustomOp2 for Stack {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.result([values(OP, x, layout)?, &[]], layout)
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, _] = self.gradients(x, None, grad)?;
        Ok((dx, None))
    }
}

impl CustomOp3 for Stack {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        context: &CpuStorage,
        context_layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.result([values(OP, x, layout)?, values(OP, context, context_layout)?], layout)
    }

    fn bwd(
        &self,
        x: &Tensor,
        context: &Tensor,
        _: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, dcontext] = self.gradients(x, Some(context), grad)?;
        Ok((dx, dcontext, None))
    }
}
