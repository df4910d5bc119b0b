//! The blocks of encoder and decoder: their parameters, as branches of the fused stack.

use super::config::EncoderDecoderConfig;
use crate::ops::stack::{
    AttentionBranch, Branch, CrossAttentionBranch, HeadNorms, LinearParameters, MlpBranch, NormParameters,
};
use crate::ops::{self, Mask, NormKind};
use crate::{Decay, Init, Parameters, Result};
use candle_core::Tensor;

/// Added to the variance in a norm, as in 4M.
const EPSILON: f64 = 1e-6;

/// A norm with or without bias.
#[derive(Clone, Debug)]
pub(super) struct Norm(NormParameters);

impl Norm {
    pub(super) fn new(width: usize, bias: bool, parameters: &Parameters) -> Result<Self> {
        let beta = bias.then(|| parameters.get("bias", &[width], Init::Zeros, Decay::No)).transpose()?;
        let gamma = parameters.get("weight", &[width], Init::Ones, Decay::No)?;
        Ok(Self(NormParameters { kind: NormKind::Layer, gamma, beta, eps: EPSILON }))
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let Self(NormParameters { kind, gamma, beta, eps }) = self;
        Ok(ops::norm(*kind, x, gamma, beta.as_ref(), *eps)?)
    }
}

/// Makes the parameters of blocks.
pub(super) struct Builder<'a> {
    config: &'a EncoderDecoderConfig,
    /// Residual branches of the stack, whose sum must not grow with depth.
    branches: usize,
}

impl<'a> Builder<'a> {
    /// The branches of the encoder.
    pub(super) fn encoder(config: &'a EncoderDecoderConfig, parameters: &Parameters) -> Result<Vec<Branch>> {
        let this = Self { config, branches: 2 * config.encoder_depth };
        let mut branches = Vec::with_capacity(this.branches);
        for number in 0..config.encoder_depth {
            let p = parameters.pp(format!("block{number:02}"));
            branches.push(Branch::Attention(this.attention("norm1", &p, Mask::Full)?));
            branches.push(Branch::Mlp(this.mlp(&p)?));
        }
        Ok(branches)
    }

    /// The branches of the decoder, with `mask` among the targets.
    pub(super) fn decoder(
        config: &'a EncoderDecoderConfig,
        parameters: &Parameters,
        mask: &Mask,
    ) -> Result<Vec<Branch>> {
        let this = Self { config, branches: 3 * config.decoder_depth };
        let mut branches = Vec::with_capacity(this.branches);
        for number in 0..config.decoder_depth {
            let p = parameters.pp(format!("block{number:02}"));
            branches.push(Branch::Attention(this.attention("norm1", &p, mask.clone())?));
            branches.push(Branch::CrossAttention(this.cross_attention(&p)?));
            branches.push(Branch::Mlp(this.mlp(&p)?));
        }
        Ok(branches)
    }

    fn norm(&self, name: &str, width: usize, parameters: &Parameters) -> Result<NormParameters> {
        Ok(Norm::new(width, self.config.norm_bias, &parameters.pp(name))?.0)
    }

    fn map(
        &self,
        name: &str,
        [outputs, inputs]: [usize; 2],
        scale: f64,
        bias: bool,
        p: &Parameters,
    ) -> Result<LinearParameters> {
        let init = Init::Normal { std: (inputs as f64).powf(-0.5) * scale };
        let bias = bias.then(|| p.get(&format!("{name}.bias"), &[outputs], Init::Zeros, Decay::No)).transpose()?;
        Ok(LinearParameters { weight: p.get(&format!("{name}.weight"), &[outputs, inputs], init, Decay::Yes)?, bias })
    }

    fn residual_scale(&self) -> f64 {
        (self.branches as f64).powf(-0.5)
    }

    fn head_norms(&self, parameters: &Parameters) -> Result<Option<HeadNorms>> {
        if !self.config.qk_norm {
            return Ok(None);
        }
        let width = self.config.width / self.config.heads;
        let [queries, keys] = ["query_norm", "key_norm"].map(|name| self.norm(name, width, parameters));
        Ok(Some(HeadNorms { queries: queries?, keys: keys? }))
    }

    fn attention(&self, norm: &str, parameters: &Parameters, mask: Mask) -> Result<AttentionBranch> {
        let EncoderDecoderConfig { width, heads, qkv_bias, projection_bias, .. } = *self.config;
        let norm = self.norm(norm, width, parameters)?;
        let p = parameters.pp("attention");
        let qkv = self.map("qkv", [3 * width, width], 1.0, qkv_bias, &p)?;
        let out = self.map("out", [width, width], self.residual_scale(), projection_bias, &p)?;
        let branch = AttentionBranch::new(norm, qkv, out, heads, mask)?;
        Ok(match self.head_norms(&p)? {
            Some(norms) => branch.with_head_norms(norms)?,
            None => branch,
        })
    }

    fn cross_attention(&self, parameters: &Parameters) -> Result<CrossAttentionBranch> {
        let EncoderDecoderConfig { width, heads, qkv_bias, projection_bias, .. } = *self.config;
        let norms = [self.norm("norm_query", width, parameters)?, self.norm("norm_context", width, parameters)?];
        let p = parameters.pp("cross_attention");
        let q = self.map("q", [width, width], 1.0, qkv_bias, &p)?;
        let kv = self.map("kv", [2 * width, width], 1.0, qkv_bias, &p)?;
        let out = self.map("out", [width, width], self.residual_scale(), projection_bias, &p)?;
        let branch = CrossAttentionBranch::new(norms, q, kv, out, heads)?;
        Ok(match self.head_norms(&p)? {
            Some(norms) => branch.with_head_norms(norms)?,
            None => branch,
        })
    }

    fn mlp(&self, parameters: &Parameters) -> Result<MlpBranch> {
        let (width, bias) = (self.config.width, self.config.mlp_bias);
        let (activation, hidden) = self.config.mlp();
        let norm = self.norm("norm2", width, parameters)?;
        let p = parameters.pp("mlp");
        let input = self.map("in", [activation.inputs(hidden), width], 1.0, bias, &p)?;
        let output = self.map("out", [width, hidden], self.residual_scale(), bias, &p)?;
        Ok(MlpBranch::new(norm, input, output, activation)?)
    }
}

/// The same branches with another mask in self-attention.
pub(super) fn with_mask(branches: &[Branch], mask: &Mask) -> Vec<Branch> {
    let other = |branch: &Branch| match branch {
        Branch::Attention(attention) => Branch::Attention(attention.clone().with_mask(mask.clone())),
        branch => branch.clone(),
    };
    branches.iter().map(other).collect()
}
