//! Kinds `regression` and `classification`: one linear layer on the vector over all modalities of
//! an object, trained with the trunk.
//!
//! Comes in: the joint vectors and a column with the target. Goes out: a loss over the objects that
//! have both, and a prediction for every object. Neither learns a scaler from data: give `shift`
//! and `scale` where the target is far from unit size.

mod classification;
mod regression;
#[cfg(test)]
mod tests;

pub use classification::{Classification, ClassificationConfig};
pub use regression::{Regression, RegressionConfig, RegressionLoss, Transform};

use candle_core::Tensor;
use panchroma_core::{Decay, Features, HeadContext, Init, Result, ops};

/// One linear layer.
struct Layer {
    /// `[O, D]`
    weight: Tensor,
    /// `[O]`
    bias: Tensor,
}

impl Layer {
    fn new(context: &HeadContext<'_>, outputs: usize) -> Result<Self> {
        let (width, parameters) = (context.width, context.parameters);
        Ok(Self {
            weight: parameters.get("weight", &[outputs, width], Init::fan_in(width), Decay::Yes)?,
            bias: parameters.get("bias", &[outputs], Init::Zeros, Decay::No)?,
        })
    }

    /// Joint vectors `[B, D]` -> `[B, O]`.
    fn forward(&self, features: &Features) -> Result<Tensor> {
        Ok(ops::linear(&features.joint.vectors, &self.weight, Some(&self.bias))?)
    }

    fn flops(&self, batch: usize) -> f64 {
        2.0 * batch as f64 * self.weight.elem_count() as f64
    }
}

/// The objects that have features and a target, and those targets.
fn known<T>(targets: Vec<Option<T>>, present: &[bool]) -> (Vec<u32>, Vec<T>) {
    (0u32..).zip(targets.into_iter().zip(present)).filter_map(|(i, (t, p))| p.then_some(t?).map(|t| (i, t))).unzip()
}
