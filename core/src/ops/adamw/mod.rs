//! One step of AdamW for one tensor, and the norm of all gradients.
//!
//! Source: Loshchilov and Hutter 2019, algorithm 2, in the form of PyTorch's `AdamW` (decay scaled
//! by the learning rate, epsilon added after the bias correction).

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(test)]
mod tests;

#[cfg(feature = "cuda")]
pub(crate) use crate::ops::gpu::adamw::Step;
#[cfg(feature = "cuda")]
pub(crate) use cuda::{Learning, OnDevice};

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor, bail};
use std::cell::RefCell;

const OP: &str = "adamw";

/// The numbers of one step for one parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Factors {
    /// What the gradient is multiplied by: clipping.
    pub(crate) gradient: f32,
    /// Decay of the first moment, and what is left of 1.
    pub(crate) first: [f32; 2],
    /// Decay of the second moment, and what is left of 1.
    pub(crate) second: [f32; 2],
    /// Learning rate over the bias correction of the first moment.
    pub(crate) rate: f32,
    /// One over the root of the bias correction of the second moment.
    pub(crate) correction: f32,
    pub(crate) epsilon: f32,
    /// Learning rate times weight decay.
    pub(crate) decay: f32,
}

impl Factors {
    /// For step `step` (from 1) with the moments' decays `betas`; calculated in f64.
    pub(crate) fn new(step: u64, betas: [f64; 2], epsilon: f64, rate: f64, weight_decay: f64, clip: f64) -> Self {
        let [beta1, beta2] = betas;
        let exponent = step as f64;
        Self {
            gradient: clip as f32,
            first: [beta1 as f32, (1.0 - beta1) as f32],
            second: [beta2 as f32, (1.0 - beta2) as f32],
            rate: (rate / (1.0 - beta1.powf(exponent))) as f32,
            correction: (1.0 - beta2.powf(exponent)).sqrt().recip() as f32,
            epsilon: epsilon as f32,
            decay: (rate * weight_decay) as f32,
        }
    }
}

/// Changes `parameter` and its moments in place. Without a gradient, it counts as zero.
///
/// # Errors
/// If the parameter isn't contiguous f32 on the CPU, or lengths differ.
pub(crate) fn update(
    parameter: &Tensor,
    gradient: Option<&[f32]>,
    (first, second): (&mut [f32], &mut [f32]),
    factors: Factors,
) -> Result<()> {
    let count = parameter.elem_count();
    let lengths = [gradient.map_or(count, <[f32]>::len), first.len(), second.len()];
    if lengths != [count; 3] {
        bail!("{OP}: expected a gradient and moments of {count} numbers, got {lengths:?}");
    }
    parameter.inplace_op1(&Update { gradient, moments: RefCell::new((first, second)), factors })
}

/// Sum of squares, in f64 and in an order that the length alone decides: finite if all values are.
pub(crate) fn sum_of_squares(gradient: &[f32]) -> f64 {
    cpu::sum_of_squares(gradient)
}

struct Update<'a> {
    gradient: Option<&'a [f32]>,
    // candle calls the operation by shared reference.
    moments: RefCell<(&'a mut [f32], &'a mut [f32])>,
    factors: Factors,
}

impl InplaceOp1 for Update<'_> {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, parameter: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let CpuStorage::F32(all) = parameter else { bail!("{OP}: expected parameters in f32") };
        let range = layout.contiguous_offsets().map(|(start, end)| start..end);
        let Some(parameter) = range.and_then(|range| all.get_mut(range)) else {
            bail!("{OP}: expected contiguous parameters, got strides {:?}", layout.stride())
        };
        let (first, second) = &mut *self.moments.borrow_mut();
        cpu::update(self.factors, parameter, self.gradient, first, second);
        Ok(())
    }
}
