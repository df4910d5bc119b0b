//! The MLP branch: norm, linear map, activation, linear map.

use super::cpu::{
    add_bias, add_linear, add_partial, at, count, linear_rows, norm, normed_linear_backward, residual_rows, scaled,
    tasks,
};
use super::{LinearParameters, NormParameters, Rows, Saved};
use crate::ops::activation::{Activation, cpu as activation};
use crate::ops::layer_norm::cpu::STATISTICS;
use crate::ops::parts::Parts;
use crate::ops::pool::Buffer;
use crate::ops::product::{Matrix, Onto, product};
use candle_core::{Result, Tensor};

/// `W_2 f(W_1 norm(x) + b_1) + b_2`.
#[derive(Clone, Debug)]
pub struct MlpBranch {
    pub(super) norm: NormParameters,
    pub(super) input: LinearParameters,
    pub(super) output: LinearParameters,
    pub(super) activation: Activation,
}

impl MlpBranch {
    /// Shapes: `norm` of width D, `input` `[N, D]`, `output` `[D, N]`. For a gated activation `input` is `[2 N, D]`: its first N
    /// rows give what goes through the function, its last N rows what that is multiplied by. In `W_2 (f(W_1 h) ⊙ W_3 h)` they
    /// are `W_1` above `W_3`, and so is the bias.
    ///
    /// # Errors
    /// If shapes disagree.
    pub fn new(
        norm: NormParameters,
        input: LinearParameters,
        output: LinearParameters,
        activation: Activation,
    ) -> Result<Self> {
        let width = norm.gamma.elem_count();
        let hidden = input.weight.dims().first().copied().unwrap_or(0);
        let outputs = activation.outputs(hidden);
        norm.require(width)?;
        input.require("input", activation.inputs(outputs), width)?;
        output.require("output", width, outputs)?;
        Ok(Self { norm, input, output, activation })
    }

    pub(super) fn width(&self) -> usize {
        self.norm.gamma.elem_count()
    }

    pub(super) fn parameters(&self) -> Vec<&Tensor> {
        let always = [&self.norm.gamma, &self.input.weight, &self.output.weight];
        always.into_iter().chain(&self.norm.beta).chain(&self.input.bias).chain(&self.output.bias).collect()
    }

    fn values<'a>(&self, p: &[&'a [f32]]) -> Values<'a> {
        let mut optional = p[3..].iter().copied();
        let mut next = |there: bool| if there { optional.next() } else { None };
        Values {
            gamma: p[0],
            input: p[1],
            output: p[2],
            beta: next(self.norm.beta.is_some()),
            input_bias: next(self.input.bias.is_some()).unwrap_or_default(),
            output_bias: next(self.output.bias.is_some()).unwrap_or_default(),
        }
    }

    /// Before and after the activation.
    fn hidden(&self) -> (usize, usize) {
        let inputs = self.input.weight.dims().first().copied().unwrap_or(0);
        (inputs, self.activation.outputs(inputs))
    }

    /// Saved: statistics of the norm, what goes into the activation.
    pub(super) fn forward(&self, p: &[&[f32]], rows: Rows<'_>, x: &[f32], y: &mut [f32], keep: bool) -> Saved {
        let (v, width, (inputs, outputs)) = (self.values(p), self.width(), self.hidden());
        let count = rows.sequences.rows();
        let mut statistics = Buffer::new(count * STATISTICS);
        let mut before = keep.then(|| Buffer::new(count * inputs));
        let (statistics_parts, before_parts) = (Parts::new(&mut statistics), before.as_deref_mut().map(Parts::new));
        let (norm, y) = (norm(&self.norm, v.gamma, v.beta), Parts::new(y));
        tasks(count, |_, own| {
            let range = at(&own, width);
            let x = &x[range.clone()];
            // SAFETY: rows of a task are its alone.
            let statistics = unsafe { statistics_parts.slice(at(&own, STATISTICS)) };
            let mut scratch = before_parts.is_none().then(|| Buffer::new(own.len() * inputs));
            // SAFETY: as above.
            let kept = before_parts.map(|parts| unsafe { parts.slice(at(&own, inputs)) });
            let Some(before) = kept.or(scratch.as_deref_mut()) else { return };
            {
                let mut normed = Buffer::new(x.len());
                norm.forward_rows(x, &mut normed, statistics);
                linear_rows(&normed, v.input, &[], width, before);
            }
            let mut after = Buffer::new(own.len() * outputs);
            activation::forward_rows(self.activation, inputs, before, v.input_bias, &mut after);
            // SAFETY: as above.
            let y = unsafe { y.slice(range) };
            let scales = rows.scales.map(|scales| &scales[own]);
            residual_rows(x, &after, (v.output, v.output_bias), outputs, scales, y);
        });
        Saved { buffers: std::iter::once(statistics).chain(before).collect(), before: None }
    }

    /// Without saved activations each task computes its own again: they are never all there at once.
    pub(super) fn backward(&self, p: &[&[f32]], rows: Rows<'_>, x: &[f32], saved: Option<Saved>, gradient: &mut [f32]) {
        let (v, width, (inputs, outputs)) = (self.values(p), self.width(), self.hidden());
        let row_count = rows.sequences.rows();
        let mut saved = saved.map(|saved| saved.buffers).unwrap_or_default().into_iter();
        let kept_statistics = saved.next();
        let before = saved.next();
        let again = before.is_none();
        let mut statistics = kept_statistics.unwrap_or_else(|| Buffer::new(row_count * STATISTICS));
        let mut dbefore = Buffer::new(row_count * inputs);
        let norm = norm(&self.norm, v.gamma, v.beta);
        {
            let scaled = scaled(gradient, rows.scales);
            let dy = scaled.as_deref().unwrap_or(gradient);
            let mut after = Buffer::new(row_count * outputs);
            let mut partial = Buffer::zeros(count(row_count) * inputs);
            let parts = [&mut after, &mut dbefore, &mut partial, &mut statistics].map(|buffer| Parts::new(buffer));
            tasks(row_count, |task, rows| {
                let mut dafter = Buffer::new(rows.len() * outputs);
                let dy = Matrix::row_major(&dy[at(&rows, width)], width);
                product(&mut dafter, dy, Matrix::row_major(v.output, outputs), 1.0, Onto::Nothing);
                // SAFETY: rows of a task, and its sums, are its alone.
                let (after, dbefore, sums) = unsafe {
                    (
                        parts[0].slice(at(&rows, outputs)),
                        parts[1].slice(at(&rows, inputs)),
                        parts[2].slice(task * inputs..(task + 1) * inputs),
                    )
                };
                let computed = again.then(|| {
                    let x = &x[at(&rows, width)];
                    let (mut normed, mut before) = (Buffer::new(x.len()), Buffer::new(rows.len() * inputs));
                    // SAFETY: as above.
                    norm.forward_rows(x, &mut normed, unsafe { parts[3].slice(at(&rows, STATISTICS)) });
                    linear_rows(&normed, v.input, &[], width, &mut before);
                    activation::forward_rows(self.activation, inputs, &mut before, v.input_bias, after);
                    before
                });
                let kept = before.as_deref().map(|before| &before[at(&rows, inputs)]);
                let before = kept.or(computed.as_deref()).unwrap_or_default();
                activation::backward_rows(self.activation, before, &dafter, dbefore, after, sums);
            });
            add_linear(&self.output, dy, &after);
            add_bias(&self.output, dy);
            if let Some(bias) = &self.input.bias {
                add_partial(bias, &partial, inputs, 0..inputs);
            }
        }
        normed_linear_backward((&self.norm, &self.input), norm, v.input, (x, &statistics), &dbefore, gradient);
    }
}

/// Values of the parameters.
struct Values<'a> {
    gamma: &'a [f32],
    beta: Option<&'a [f32]>,
    input: &'a [f32],
    input_bias: &'a [f32],
    output: &'a [f32],
    output_bias: &'a [f32],
}
