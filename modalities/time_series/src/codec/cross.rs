//! A block in which queries look at a memory and not at each other: what is asked for besides changes no answer.

use super::CurveCodecConfig;
use candle_core::Tensor;
use panchroma_core::ops::{self, Activation, Mask};
use panchroma_core::trunk::Norm;
use panchroma_core::{Decay, Init, Parameters, Result};

/// A linear map with its bias.
#[derive(Clone, Debug)]
pub(super) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Parameters `weight` `[outputs, inputs]`, smaller by `scale` than what keeps the size of vectors, and `bias`.
    pub(super) fn new(p: &Parameters, [inputs, outputs]: [usize; 2], scale: f64) -> Result<Self> {
        let init = Init::Normal { std: (inputs as f64).powf(-0.5) * scale };
        let weight = p.get("weight", &[outputs, inputs], init, Decay::Yes)?;
        Ok(Self { weight, bias: Some(p.get("bias", &[outputs], Init::Zeros, Decay::No)?) })
    }

    /// Parameter `weight` alone.
    fn unbiased(p: &Parameters, [inputs, outputs]: [usize; 2]) -> Result<Self> {
        Ok(Self { weight: p.get("weight", &[outputs, inputs], Init::fan_in(inputs), Decay::Yes)?, bias: None })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::linear(x, &self.weight, self.bias.as_ref())?)
    }

    pub(super) fn outputs(&self) -> Result<usize> {
        Ok(self.weight.dim(0)?)
    }
}

/// `x += attention(norm(x), norm(memory)); x += mlp(norm(x))`.
#[derive(Clone, Debug)]
pub(super) struct Cross {
    heads: usize,
    norm: Norm,
    norm_memory: Norm,
    query: Linear,
    key_value: Linear,
    out: Linear,
    norm_mlp: Norm,
    inner: Linear,
    outer: Linear,
}

impl Cross {
    pub(super) fn new(config: &CurveCodecConfig, hidden: usize, p: &Parameters) -> Result<Self> {
        let (width, scale) = (config.width, (2.0 * config.decoder_depth as f64).powf(-0.5));
        Ok(Self {
            heads: config.heads,
            norm: Norm::new(width, &p.pp("norm1"))?,
            norm_memory: Norm::new(width, &p.pp("memory"))?,
            query: Linear::unbiased(&p.pp("query"), [width, width])?,
            // A bias of the keys would change nothing.
            key_value: Linear::unbiased(&p.pp("key_value"), [width, 2 * width])?,
            out: Linear::new(&p.pp("out"), [width, width], scale)?,
            norm_mlp: Norm::new(width, &p.pp("norm2"))?,
            inner: Linear::new(&p.pp("in"), [width, hidden], 1.0)?,
            outer: Linear::new(&p.pp("outer"), [hidden, width], scale)?,
        })
    }

    /// Queries `[N, T, D]` and memory `[N, C, D]` → `[N, T, D]`.
    pub(super) fn forward(&self, x: &Tensor, memory: &Tensor) -> Result<Tensor> {
        let (n, t, d) = x.dims3()?;
        let by_heads = |x: &Tensor| -> Result<Tensor> {
            let tokens = x.dim(1)?;
            Ok(x.reshape((n, tokens, self.heads, d / self.heads))?.transpose(1, 2)?)
        };
        let query = by_heads(&self.query.forward(&self.norm.forward(x)?)?)?;
        let both = self.key_value.forward(&self.norm_memory.forward(memory)?)?;
        let [key, value] = [0, d].map(|start| by_heads(&both.narrow(2, start, d)?.contiguous()?));
        let seen = ops::attention(&query, &key?, &value?, None, &Mask::Full)?;
        let x = (x + self.out.forward(&seen.transpose(1, 2)?.contiguous()?.reshape((n, t, d))?)?)?;
        let hidden = ops::activation(Activation::Gelu, &self.inner.forward(&self.norm_mlp.forward(&x)?)?)?;
        Ok((&x + self.outer.forward(&hidden)?)?)
    }
}
