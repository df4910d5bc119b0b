//! A stack of transformer blocks with a pool: what both trunks are made of.

use super::block::{Block, Norm};
use super::packed::Packed;
use super::pool::{Pool, PoolKind};
use crate::ops::stack::Branch;
use crate::ops::{self, Keep};
use crate::{Forward, Mode, Parameters, Result, Section};
use candle_core::{DType, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Size of an encoder.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EncoderConfig {
    /// Width D of the residual stream; a multiple of `heads`. 64 to 2048.
    #[serde(default = "default_width")]
    pub width: usize,
    /// Number of blocks. 1 to 48.
    #[serde(default = "default_depth")]
    pub depth: usize,
    /// Number of attention heads.
    #[serde(default = "default_heads")]
    pub heads: usize,
    /// Width of the hidden layer of each block's MLP, as a multiple of `width`.
    #[serde(default = "default_mlp_ratio")]
    pub mlp_ratio: f64,
    /// How the tokens of an object become one vector: `attentive`, `class`, `mean` or `plain`.
    #[serde(default)]
    pub pool: PoolKind,
    /// Probability with which each branch of each block is left out for an object in training
    /// (stochastic depth). 0 to 0.5.
    #[serde(default)]
    pub drop_path: f64,
    /// Compute activations again in the backward pass instead of keeping them: a third of the memory for about a fifth more
    /// time.
    #[serde(default)]
    pub recompute: bool,
}

fn default_width() -> usize {
    256
}
fn default_depth() -> usize {
    4
}
fn default_heads() -> usize {
    4
}
fn default_mlp_ratio() -> f64 {
    4.0
}

impl EncoderConfig {
    /// Reads and checks a `[trunk]` table.
    ///
    /// # Errors
    /// If a value is out of range, or `width` is not a multiple of `heads`.
    pub fn read(section: &Section) -> Result<Self> {
        let config: Self = section.read()?;
        for (key, value, most) in
            [("width", config.width, 16384), ("depth", config.depth, 256), ("heads", config.heads, 256)]
        {
            if value == 0 || value > most {
                return Err(section.reject(key, format!("must be between 1 and {most}")));
            }
        }
        if !config.width.is_multiple_of(config.heads) {
            let nearest = config.width.div_ceil(config.heads) * config.heads;
            let reason = format!(
                "width {} is not a multiple of heads {}; the next one is {nearest}",
                config.width, config.heads
            );
            return Err(section.reject("width", reason));
        }
        if !(0.25..=16.0).contains(&config.mlp_ratio) {
            return Err(section.reject("mlp_ratio", "must be between 0.25 and 16"));
        }
        if !(0.0..=0.9).contains(&config.drop_path) {
            return Err(section.reject("drop_path", "must be between 0 and 0.9"));
        }
        Ok(config)
    }

    fn hidden(&self) -> usize {
        ((self.width as f64 * self.mlp_ratio).round() as usize).max(1)
    }

    /// Floating-point operations of a forward pass over `batch` sequences of `tokens` tokens.
    #[must_use]
    pub fn flops(&self, batch: usize, tokens: usize) -> f64 {
        let (d, t, h) = (self.width as f64, tokens as f64, self.hidden() as f64);
        let block = 8.0 * d * d + 4.0 * d * h + 4.0 * t * d;
        let pool = 4.0 * d * d + 4.0 * d;
        batch as f64 * t * (self.depth as f64 * block + pool)
    }
}

/// Transformer blocks, a final norm and a pool.
#[derive(Clone, Debug)]
pub struct Encoder {
    blocks: Vec<Block>,
    /// Of all blocks.
    branches: Arc<[Branch]>,
    norm: Norm,
    pool: Pool,
    recompute: bool,
}

impl Encoder {
    /// Makes the parameters.
    ///
    /// # Errors
    /// If a parameter exists already.
    pub fn new(config: &EncoderConfig, parameters: &Parameters) -> Result<Self> {
        let EncoderConfig { width, depth, heads, pool, drop_path, recompute, .. } = *config;
        let blocks: Vec<Block> = (0..depth)
            .map(|i| {
                Block::new(width, heads, config.hidden(), depth, drop_path, &parameters.pp(format!("block{i:02}")))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            branches: blocks.iter().flat_map(Block::branches).cloned().collect(),
            blocks,
            norm: Norm::new(width, &parameters.pp("norm"))?,
            pool: Pool::new(pool, width, heads, &parameters.pp("pool"))?,
            recompute,
        })
    }

    /// `x` `[B, T, D]`, `valid` `[B, T]` u8 on the CPU -> encoded tokens `[B, T, D]` in the type of `x` (0 where there is none)
    /// and one vector per object `[B, D]` in f32.
    ///
    /// # Errors
    /// If shapes disagree.
    pub fn forward(&self, x: &Tensor, valid: &Tensor, context: &Forward) -> Result<(Tensor, Tensor)> {
        let (x, valid) = self.pool.before(x, valid)?;
        let packed = Packed::new(&valid)?;
        let scales = self.blocks.iter().flat_map(|block| block.scales(packed.sequences().len(), context)).collect();
        let keep = match context.mode {
            Mode::Evaluate => Keep::Nothing,
            Mode::Train if self.recompute => Keep::Inputs,
            Mode::Train => Keep::All,
        };
        let rows = ops::stack(&packed.pack(&x)?, &self.branches, packed.sequences(), scales, keep)?;
        let (tokens, pooled) = self.pool.after(&packed.unpack(&self.norm.forward(&rows)?)?, &valid)?;
        Ok((tokens, pooled.to_dtype(DType::F32)?))
    }

    /// Pools already encoded tokens `[B, T, D]` to `[B, D]` with the encoder's own pool; with a
    /// class token, which has no part in a subset of the tokens, their mean.
    ///
    /// # Errors
    /// If shapes disagree.
    pub fn pool_tokens(&self, x: &Tensor, valid: &Tensor) -> Result<Tensor> {
        Ok(self.pool.subset(x, valid)?.to_dtype(DType::F32)?)
    }
}
