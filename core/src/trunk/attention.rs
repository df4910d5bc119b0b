//! Multi-head attention over the tokens of each object.

use crate::ops;
use crate::{Decay, Init, Parameters, Result};
use candle_core::Tensor;

/// Projections around [`ops::self_attention`].
///
/// Queries, keys and values have no bias: one on the keys changes nothing (softmax does not see a
/// constant), so its gradient is zero but for rounding.
#[derive(Clone, Debug)]
pub struct Attention {
    qkv: Tensor,
    out_weight: Tensor,
    out_bias: Tensor,
    heads: usize,
}

impl Attention {
    /// Makes the parameters below `parameters`; `residual_scale` shrinks what is added to the
    /// residual stream, so that its variance does not grow with depth.
    ///
    /// # Errors
    /// If a parameter exists already.
    pub fn new(width: usize, heads: usize, residual_scale: f64, parameters: &Parameters) -> Result<Self> {
        let std = (width as f64).powf(-0.5);
        Ok(Self {
            qkv: parameters.get("qkv.weight", &[3 * width, width], Init::fan_in(width), Decay::Yes)?,
            out_weight: parameters.get(
                "out.weight",
                &[width, width],
                Init::Normal { std: std * residual_scale },
                Decay::Yes,
            )?,
            out_bias: parameters.get("out.bias", &[width], Init::Zeros, Decay::No)?,
            heads,
        })
    }

    /// `x` `[B, T, D]`, `valid` `[B, T]` u8 -> `[B, T, D]`.
    ///
    /// # Errors
    /// If shapes disagree.
    pub fn forward(&self, x: &Tensor, valid: &Tensor) -> Result<Tensor> {
        let qkv = ops::linear(x, &self.qkv, None)?;
        let y = ops::self_attention(&qkv, self.heads, Some(valid))?;
        Ok(ops::linear(&y, &self.out_weight, Some(&self.out_bias))?)
    }
}

/// One learned query that reads a set of tokens: attentive pooling.
#[derive(Clone, Debug)]
pub(super) struct Query {
    query: Tensor,
    kv: Tensor,
    out_weight: Tensor,
    out_bias: Tensor,
    heads: usize,
}

impl Query {
    pub(super) fn new(width: usize, heads: usize, parameters: &Parameters) -> Result<Self> {
        Ok(Self {
            query: parameters.get("query", &[width], Init::Normal { std: 1.0 }, Decay::No)?,
            kv: parameters.get("kv.weight", &[2 * width, width], Init::fan_in(width), Decay::Yes)?,
            out_weight: parameters.get("out.weight", &[width, width], Init::fan_in(width), Decay::Yes)?,
            out_bias: parameters.get("out.bias", &[width], Init::Zeros, Decay::No)?,
            heads,
        })
    }

    /// `x` `[B, T, D]`, `valid` `[B, T]` u8 -> `[B, D]`.
    pub(super) fn forward(&self, x: &Tensor, valid: &Tensor) -> Result<Tensor> {
        let (b, _, d) = x.dims3()?;
        let kv = ops::linear(x, &self.kv, None)?;
        let query = self.query.reshape((1, 1, d))?.broadcast_as((b, 1, d))?.contiguous()?;
        let y = ops::cross_attention(&query, &kv, self.heads, Some(valid))?.squeeze(1)?;
        Ok(ops::linear(&y, &self.out_weight, Some(&self.out_bias))?)
    }
}
