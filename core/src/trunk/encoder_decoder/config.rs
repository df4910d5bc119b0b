//! `[trunk]` with `kind = "encoder_decoder"`.

use crate::ops::Activation;
use crate::{Result, Section};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Sizes and switches of trunk `encoder_decoder`. The defaults are those of 4M's small model without biases.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EncoderDecoderConfig {
    /// Width D of both residual streams; a multiple of `heads`. 64 to 2048.
    #[serde(default = "default_width")]
    pub width: usize,
    /// Blocks of the encoder. 1 to 24.
    #[serde(default = "default_depth")]
    pub encoder_depth: usize,
    /// Blocks of the decoder. 1 to 24.
    #[serde(default = "default_depth")]
    pub decoder_depth: usize,
    /// Number of attention heads.
    #[serde(default = "default_heads")]
    pub heads: usize,
    /// Width of the hidden layer of each MLP, as a multiple of `width`; a gated one has two thirds of that.
    #[serde(default = "default_mlp_ratio")]
    pub mlp_ratio: f64,
    /// Nonlinearity of the MLPs: `silu`, `gelu` or `relu`.
    #[serde(default = "default_activation")]
    pub activation: Nonlinearity,
    /// Whether MLPs have a gate (SwiGLU, GEGLU).
    #[serde(default = "default_true")]
    pub gated: bool,
    /// Biases of queries, keys and values.
    #[serde(default)]
    pub qkv_bias: bool,
    /// Bias of the map behind attention.
    #[serde(default)]
    pub projection_bias: bool,
    /// Biases of the MLPs.
    #[serde(default)]
    pub mlp_bias: bool,
    /// Biases of the norms.
    #[serde(default)]
    pub norm_bias: bool,
    /// Norms of queries and keys per head, against scores that grow.
    #[serde(default)]
    pub qk_norm: bool,
    /// Learned tokens that stand in front of each object's own in the encoder. 0 to 64.
    #[serde(default)]
    pub registers: usize,
    /// Whether tokens that are predicted see only those of their own modality among themselves.
    #[serde(default)]
    pub decoder_separate: bool,
    /// Whether tokens that are predicted see only those before them among themselves.
    #[serde(default)]
    pub decoder_causal: bool,
    /// Whether encoder and decoder know a modality by the same vector.
    #[serde(default = "default_true")]
    pub share_modality_embeddings: bool,
    /// How the encoded tokens of an object become one vector: `mean`, `registers` (their mean) or `attentive`, which only a head
    /// that reads the vector trains.
    #[serde(default)]
    pub pool: EncoderPool,
    /// Probability with which each branch of each block is left out for an object in training (stochastic depth). 0 to 0.5.
    #[serde(default)]
    pub drop_path: f64,
    /// Compute activations again in the backward pass instead of keeping them: a third of the memory for about a fifth more
    /// time.
    #[serde(default)]
    pub recompute: bool,
}

/// Nonlinearity of an MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Nonlinearity {
    /// `x σ(x)`.
    Silu,
    /// `x Φ(x)`, exact.
    Gelu,
    /// `max(x, 0)`; not with a gate.
    Relu,
}

/// How encoded tokens become one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EncoderPool {
    /// The mean of the tokens.
    #[default]
    Mean,
    /// The mean of the register tokens.
    Registers,
    /// A learned query attends to all tokens.
    Attentive,
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
fn default_activation() -> Nonlinearity {
    Nonlinearity::Silu
}
fn default_true() -> bool {
    true
}

impl EncoderDecoderConfig {
    /// Reads and checks a `[trunk]` table.
    ///
    /// # Errors
    /// If a value is out of range, or two don't fit each other.
    pub fn read(section: &Section) -> Result<Self> {
        let config: Self = section.read()?;
        for (key, value, most) in [
            ("width", config.width, 16384),
            ("encoder_depth", config.encoder_depth, 256),
            ("decoder_depth", config.decoder_depth, 256),
            ("heads", config.heads, 256),
        ] {
            if value == 0 || value > most {
                return Err(section.reject(key, format!("must be between 1 and {most}")));
            }
        }
        if !config.width.is_multiple_of(config.heads) {
            let nearest = config.width.div_ceil(config.heads) * config.heads;
            let (width, heads) = (config.width, config.heads);
            let reason = format!("width {width} is not a multiple of heads {heads}; the next one is {nearest}");
            return Err(section.reject("width", reason));
        }
        if !(0.25..=16.0).contains(&config.mlp_ratio) {
            return Err(section.reject("mlp_ratio", "must be between 0.25 and 16"));
        }
        if config.gated && config.activation == Nonlinearity::Relu {
            return Err(section.reject("activation", "must be `silu` or `gelu` with a gate, or set `gated = false`"));
        }
        if config.registers > 1024 {
            return Err(section.reject("registers", "must be between 0 and 1024"));
        }
        if config.pool == EncoderPool::Registers && config.registers == 0 {
            return Err(section.reject("pool", "must be another, or `registers` above 0"));
        }
        if !(0.0..=0.9).contains(&config.drop_path) {
            return Err(section.reject("drop_path", "must be between 0 and 0.9"));
        }
        Ok(config)
    }

    /// What the fused MLP applies, and its inner width after it.
    pub(super) fn mlp(&self) -> (Activation, usize) {
        let hidden = (self.width as f64 * self.mlp_ratio) as usize;
        match (self.activation, self.gated) {
            (Nonlinearity::Silu, true) => (Activation::SwiGlu, 2 * hidden / 3),
            (Nonlinearity::Gelu | Nonlinearity::Relu, true) => (Activation::GeGlu, 2 * hidden / 3),
            (Nonlinearity::Silu, false) => (Activation::Silu, hidden),
            (Nonlinearity::Gelu, false) => (Activation::Gelu, hidden),
            (Nonlinearity::Relu, false) => (Activation::Relu, hidden),
        }
    }

    /// Floating-point operations of the encoder for `batch` sequences of `tokens` tokens.
    pub(super) fn encoder_flops(&self, batch: usize, tokens: usize) -> f64 {
        let (d, t) = (self.width as f64, (tokens + self.registers) as f64);
        let block = 8.0 * d * d + self.mlp_flops() + 4.0 * t * d;
        batch as f64 * t * self.encoder_depth as f64 * block
    }

    /// And of the decoder for `asked` targets that see `given` tokens.
    pub(super) fn decoder_flops(&self, batch: usize, given: usize, asked: usize) -> f64 {
        let (d, n, m) = (self.width as f64, (given + self.registers) as f64, asked as f64);
        let own = 8.0 * d * d + 4.0 * m * d + 4.0 * d * d + 4.0 * n * d + self.mlp_flops();
        let context = 4.0 * d * d;
        batch as f64 * (self.decoder_depth as f64 * (m * own + n * context) + n * 2.0 * d * d)
    }

    fn mlp_flops(&self) -> f64 {
        let (_, hidden) = self.mlp();
        let maps = if self.gated { 3.0 } else { 2.0 };
        2.0 * maps * self.width as f64 * hidden as f64
    }
}
