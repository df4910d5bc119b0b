//! The image codec's network: a convolutional encoder down to the latent values and a decoder back.
//!
//! Source: MagViT of Yu et al. 2023, arXiv:2310.05737, without its time axis, as AION-1 has it.

use super::ImageCodecConfig;
use super::layers::{Convolution, Linear, Norm, Residual, Unfold};
use candle_core::Tensor;
use panchroma_core::ops::convolution::Window;
use panchroma_core::{Parameters, Result};

/// A layer of either half.
#[derive(Debug, Clone)]
enum Layer {
    Residual(Residual),
    Convolution(Convolution),
    Unfold(Unfold),
}

impl Layer {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Residual(layer) => layer.forward(x),
            Self::Convolution(layer) => layer.forward(x),
            Self::Unfold(layer) => layer.forward(x),
        }
    }

    fn frozen(&self) -> Self {
        match self {
            Self::Residual(layer) => Self::Residual(layer.frozen()),
            Self::Convolution(layer) => Self::Convolution(layer.frozen()),
            Self::Unfold(layer) => Self::Unfold(layer.frozen()),
        }
    }
}

/// What a layer is, and how many channels go in and out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerKind {
    /// Residual unit of this many channels.
    Residual(usize),
    /// Convolution with a kernel of so many pixels.
    Convolution(usize, [usize; 2]),
    /// Convolution of 3 pixels at every second one.
    Halve([usize; 2]),
    /// Four pixels out of each.
    Unfold([usize; 2]),
}

/// The layers of the encoder between its first convolution and its norm, numbered from 0 in the names of parameters.
#[must_use]
pub fn encoder_layers(config: &ImageCodecConfig) -> Vec<LayerKind> {
    let mut channels = config.first();
    let mut layers = vec![LayerKind::Residual(channels)];
    for _ in 0..config.compressions {
        layers.push(LayerKind::Halve([channels, 2 * channels]));
        channels *= 2;
        layers.extend(vec![LayerKind::Residual(channels); config.consecutive]);
    }
    layers.push(LayerKind::Convolution(7, [channels; 2]));
    layers.extend(vec![LayerKind::Residual(channels); config.consecutive]);
    layers
}

/// The layers of the decoder before its last convolution, numbered from 0 in the names of parameters.
#[must_use]
pub fn decoder_layers(config: &ImageCodecConfig) -> Vec<LayerKind> {
    let mut channels = config.hidden;
    let mut layers = vec![LayerKind::Residual(channels); config.consecutive];
    layers.push(LayerKind::Convolution(3, [channels; 2]));
    for _ in 0..config.compressions {
        layers.extend(vec![LayerKind::Residual(channels); config.consecutive]);
        layers.push(LayerKind::Unfold([channels, channels / 2]));
        channels /= 2;
    }
    layers.push(LayerKind::Residual(channels));
    layers
}

fn made(kinds: Vec<LayerKind>, p: &Parameters) -> Result<Vec<Layer>> {
    let layer = |(number, kind): (usize, LayerKind)| {
        let p = p.pp(number);
        Ok(match kind {
            LayerKind::Residual(channels) => Layer::Residual(Residual::new(&p, channels)?),
            LayerKind::Convolution(kernel, channels) => Layer::Convolution(Convolution::same(&p, channels, kernel)?),
            LayerKind::Halve(channels) => {
                Layer::Convolution(Convolution::new(&p, channels, 3, Window { stride: 2, padding: 1 })?)
            }
            LayerKind::Unfold(channels) => Layer::Unfold(Unfold::new(&p, channels)?),
        })
    };
    kinds.into_iter().enumerate().map(layer).collect()
}

/// Both halves, with the projections from bands and to latent values.
#[derive(Debug, Clone)]
pub(super) struct Network {
    project: Linear,
    first: Convolution,
    encoder: Vec<Layer>,
    norm: Norm,
    to_latent: Linear,
    from_latent: Linear,
    decoder: Vec<Layer>,
    last: Convolution,
    unproject: Linear,
}

impl Network {
    pub(super) fn new(config: &ImageCodecConfig, p: &Parameters) -> Result<Self> {
        let (bands, projection, latent) = (config.bands.len(), config.projection, config.levels.len());
        Ok(Self {
            project: Linear::new(&p.pp("project"), [bands, projection])?,
            first: Convolution::same(&p.pp("first"), [projection, config.first()], 7)?,
            encoder: made(encoder_layers(config), &p.pp("encoder"))?,
            norm: Norm::new(&p.pp("norm"), config.hidden)?,
            to_latent: Linear::new(&p.pp("to_latent"), [config.hidden, latent])?,
            from_latent: Linear::new(&p.pp("from_latent"), [latent, config.hidden])?,
            decoder: made(decoder_layers(config), &p.pp("decoder"))?,
            last: Convolution::same(&p.pp("last"), [config.first(), projection], 3)?,
            unproject: Linear::new(&p.pp("unproject"), [projection, bands])?,
        })
    }

    /// `[B, H, W, bands]`, 0 where an image lacks a band, and a factor `[B, 1, 1, 1]` for each image → latent values
    /// `[B, h, w, latent]`.
    pub(super) fn encode(&self, x: &Tensor, factors: &Tensor) -> Result<Tensor> {
        let x = self.project.forward(x)?.broadcast_mul(factors)?;
        let mut x = self.first.forward(&x)?;
        for layer in &self.encoder {
            x = layer.forward(&x)?;
        }
        self.to_latent.forward(&self.norm.forward(&x)?)
    }

    /// `[B, h, w, latent]` → `[B, H, W, bands]`.
    pub(super) fn decode(&self, z: &Tensor) -> Result<Tensor> {
        let mut x = self.from_latent.forward(z)?;
        for layer in &self.decoder {
            x = layer.forward(&x)?;
        }
        self.unproject.forward(&self.last.forward(&x)?)
    }

    /// The same network, which gradients don't reach: no activation is kept for them.
    pub(super) fn frozen(&self) -> Self {
        let all = |layers: &[Layer]| layers.iter().map(Layer::frozen).collect();
        Self {
            project: self.project.frozen(),
            first: self.first.frozen(),
            encoder: all(&self.encoder),
            norm: self.norm.frozen(),
            to_latent: self.to_latent.frozen(),
            from_latent: self.from_latent.frozen(),
            decoder: all(&self.decoder),
            last: self.last.frozen(),
            unproject: self.unproject.frozen(),
        }
    }
}
