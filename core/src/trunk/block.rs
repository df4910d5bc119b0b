//! A pre-norm transformer block.

use super::attention::Attention;
use crate::ops;
use crate::{Decay, Forward, Init, Mode, Parameters, Result};
use candle_core::Tensor;
use rand::Rng;

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
        Ok(ops::layer_norm(x, &self.gamma, &self.beta, 1e-5)?)
    }
}

/// `x += attention(norm(x)); x += mlp(norm(x))`.
#[derive(Clone, Debug)]
pub struct Block {
    norm1: Norm,
    attention: Attention,
    norm2: Norm,
    mlp: [Tensor; 4],
    dropout: f64,
    name: String,
}

impl Block {
    /// Makes the parameters of block `index` of `depth`.
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
        // Two branches per block add to the residual stream.
        let residual_scale = (2.0 * depth as f64).powf(-0.5);
        let std = (hidden as f64).powf(-0.5) * residual_scale;
        let mlp = parameters.pp("mlp");
        Ok(Self {
            norm1: Norm::new(width, &parameters.pp("norm1"))?,
            attention: Attention::new(width, heads, residual_scale, &parameters.pp("attention"))?,
            norm2: Norm::new(width, &parameters.pp("norm2"))?,
            mlp: [
                mlp.get("in.weight", &[hidden, width], Init::fan_in(width), Decay::Yes)?,
                mlp.get("in.bias", &[hidden], Init::Zeros, Decay::No)?,
                mlp.get("out.weight", &[width, hidden], Init::Normal { std }, Decay::Yes)?,
                mlp.get("out.bias", &[width], Init::Zeros, Decay::No)?,
            ],
            dropout,
            name: parameters.name().to_owned(),
        })
    }

    /// `x` `[B, T, D]`, `valid` `[B, T]` u8 -> `[B, T, D]`; `objects` are their places in the batch.
    ///
    /// # Errors
    /// If shapes disagree.
    pub fn forward(&self, x: &Tensor, valid: &Tensor, objects: &[usize], context: &Forward) -> Result<Tensor> {
        let y = self.attention.forward(&self.norm1.forward(x)?, valid)?;
        let x = (x + self.drop(&y, "attention", objects, context)?)?;
        let [w1, b1, w2, b2] = &self.mlp;
        let y = ops::gelu(&ops::linear(&self.norm2.forward(&x)?, w1, Some(b1))?)?;
        let y = ops::linear(&y, w2, Some(b2))?;
        Ok((&x + self.drop(&y, "mlp", objects, context)?)?)
    }

    /// Drops whole branches of whole objects (stochastic depth): one draw per object, so the cost
    /// does not grow with the tokens. Source: Huang et al. 2016, as DINOv2 uses it.
    fn drop(&self, y: &Tensor, branch: &str, objects: &[usize], context: &Forward) -> Result<Tensor> {
        if context.mode == Mode::Evaluate || self.dropout == 0.0 {
            return Ok(y.clone());
        }
        let mut random = context.random(&format!("{}.{branch}", self.name));
        let keep = 1.0 - self.dropout;
        let draw = |_| if random.random_bool(keep) { (1.0 / keep) as f32 } else { 0.0 };
        let draws: Vec<f32> = (0..objects.iter().max().map_or(0, |last| last + 1)).map(draw).collect();
        let scale: Vec<f32> = objects.iter().filter_map(|&object| draws.get(object).copied()).collect();
        Ok(y.broadcast_mul(&Tensor::new(scale, y.device())?.reshape(((), 1, 1))?)?)
    }
}
