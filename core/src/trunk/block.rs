//! A pre-norm transformer block.

use crate::ops::stack::{AttentionBranch, Branch, LinearParameters, MlpBranch, NormParameters};
use crate::ops::{self, Activation, Mask, NormKind};
use crate::{Decay, Forward, Init, Mode, Parameters, Result};
use candle_core::Tensor;
use rand::Rng;

/// Added to the variance in a norm.
const EPSILON: f64 = 1e-5;

/// Layer norm with its parameters.
#[derive(Clone, Debug)]
pub struct Norm {
    gamma: Tensor,
    beta: Tensor,
}

impl Norm {
    /// Makes `weight` (ones) and `bias` (zeros).
    ///
    /// # Errors
    /// If a parameter exists already.
    pub fn new(width: usize, parameters: &Parameters) -> Result<Self> {
        Ok(Self {
            gamma: parameters.get("weight", &[width], Init::Ones, Decay::No)?,
            beta: parameters.get("bias", &[width], Init::Zeros, Decay::No)?,
        })
    }

    /// `[.., D]` -> `[.., D]`.
    ///
    /// # Errors
    /// If the last axis is not D.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::layer_norm(x, &self.gamma, &self.beta, EPSILON)?)
    }

    fn parameters(&self) -> NormParameters {
        let (gamma, beta) = (self.gamma.clone(), Some(self.beta.clone()));
        NormParameters { kind: NormKind::Layer, gamma, beta, eps: EPSILON }
    }
}

/// `x += attention(norm(x)); x += mlp(norm(x))`.
#[derive(Clone, Debug)]
pub struct Block {
    branches: [Branch; 2],
    dropout: f64,
    name: String,
}

impl Block {
    /// Makes the parameters of a block of `depth`.
    ///
    /// # Errors
    /// If a parameter exists already.
    pub fn new(
        width: usize,
        heads: usize,
        hidden: usize,
        depth: usize,
        dropout: f64,
        parameters: &Parameters,
    ) -> Result<Self> {
        // Two branches per block add to the residual stream: its variance must not grow with depth.
        let residual_scale = (2.0 * depth as f64).powf(-0.5);
        let norm = |name: &str| Ok::<_, crate::Error>(Norm::new(width, &parameters.pp(name))?.parameters());
        let map = |p: &Parameters, name: &str, [outputs, inputs]: [usize; 2], scale: f64, bias: bool| {
            let init = Init::Normal { std: (inputs as f64).powf(-0.5) * scale };
            let bias = bias.then(|| p.get(&format!("{name}.bias"), &[outputs], Init::Zeros, Decay::No)).transpose()?;
            let weight = p.get(&format!("{name}.weight"), &[outputs, inputs], init, Decay::Yes)?;
            Ok::<_, crate::Error>(LinearParameters { weight, bias })
        };
        let (attention, mlp) = (parameters.pp("attention"), parameters.pp("mlp"));
        // Queries, keys and values have no bias: one on the keys changes nothing (softmax does not see a constant), so its
        // gradient is zero but for rounding.
        let qkv = map(&attention, "qkv", [3 * width, width], 1.0, false)?;
        let out = map(&attention, "out", [width, width], residual_scale, true)?;
        let input = map(&mlp, "in", [hidden, width], 1.0, true)?;
        let output = map(&mlp, "out", [width, hidden], residual_scale, true)?;
        let attention = AttentionBranch::new(norm("norm1")?, qkv, out, heads, Mask::Full)?;
        let mlp = MlpBranch::new(norm("norm2")?, input, output, Activation::Gelu)?;
        let branches = [Branch::Attention(attention), Branch::Mlp(mlp)];
        Ok(Self { branches, dropout, name: parameters.name().to_owned() })
    }

    /// What the block adds to the residual stream, in order.
    #[must_use]
    pub fn branches(&self) -> &[Branch; 2] {
        &self.branches
    }

    /// What each branch is multiplied by for each of `objects`, by their places in the batch: whole branches of whole objects are
    /// dropped (stochastic depth), one draw per object, so the cost does not grow with the tokens.
    ///
    /// Source: Huang et al. 2016, as DINOv2 uses it.
    #[must_use]
    pub fn scales(&self, objects: usize, context: &Forward) -> [Option<Vec<f32>>; 2] {
        ["attention", "mlp"].map(|branch| {
            if context.mode == Mode::Evaluate || self.dropout == 0.0 {
                return None;
            }
            let mut random = context.random(&format!("{}.{branch}", self.name));
            let keep = 1.0 - self.dropout;
            Some((0..objects).map(|_| if random.random_bool(keep) { (1.0 / keep) as f32 } else { 0.0 }).collect())
        })
    }
}
