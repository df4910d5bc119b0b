//! Attention of a learned query to the tokens of each object.

use crate::ops;
use crate::{Decay, Init, Parameters, Result};
use candle_core::Tensor;

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
        let query = self.query.to_dtype(x.dtype())?.reshape((1, 1, d))?.broadcast_as((b, 1, d))?.contiguous()?;
        let y = ops::cross_attention(&query, &kv, self.heads, Some(valid))?.squeeze(1)?;
        Ok(ops::linear(&y, &self.out_weight, Some(&self.out_bias))?)
    }
}
