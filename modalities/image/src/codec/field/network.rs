//! The field codec's network. Names of parameters: `encoder` and `decoder`, each with `resample.N`, `mix` and `residual.N`.

use super::config::{FieldCodecConfig, OutputActivation};
use crate::codec::layers::{Convolution, Linear};
use candle_core::Tensor;
use panchroma_core::ops::{self, Activation, convolution::Window};
use panchroma_core::{Parameters, Result};

/// Halves or doubles with a kernel of 4 pixels.
const RESAMPLE: Window = Window { stride: 2, padding: 1 };
const SAME: Window = Window { stride: 1, padding: 1 };

fn relu(x: &Tensor) -> Result<Tensor> {
    Ok(ops::activation(Activation::Relu, x)?)
}

/// `x + W relu(w ∗ relu(x))`.
#[derive(Debug, Clone)]
struct Residual {
    convolution: Convolution,
    linear: Linear,
}

impl Residual {
    fn new(p: &Parameters, channels: usize, hidden: usize) -> Result<Self> {
        Ok(Self {
            convolution: Convolution::same(&p.pp("convolution"), [channels, hidden], 3)?,
            linear: Linear::new(&p.pp("linear"), [hidden, channels])?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let u = relu(&self.convolution.forward(&relu(x)?)?)?;
        Ok((x + self.linear.forward(&u)?)?)
    }
}

/// Either half.
#[derive(Debug, Clone)]
struct Half {
    resample: Vec<Convolution>,
    mix: Convolution,
    residual: Vec<Residual>,
}

impl Half {
    fn frozen(&self) -> Self {
        let residual =
            |unit: &Residual| Residual { convolution: unit.convolution.frozen(), linear: unit.linear.frozen() };
        Self {
            resample: self.resample.iter().map(Convolution::frozen).collect(),
            mix: self.mix.frozen(),
            residual: self.residual.iter().map(residual).collect(),
        }
    }
}

/// Both halves, with the projections to latent values and back.
#[derive(Debug, Clone)]
pub(super) struct Network {
    encoder: Half,
    to_latent: Linear,
    from_latent: Linear,
    decoder: Half,
    output: OutputActivation,
    extension: f64,
}

impl Network {
    pub(super) fn new(config: &FieldCodecConfig, p: &Parameters) -> Result<Self> {
        let residual = |p: &Parameters, channels: usize| -> Result<Vec<Residual>> {
            let unit = |n: usize| Residual::new(&p.pp("residual").pp(n), channels, config.residual_hidden);
            (0..config.residual_units).map(unit).collect()
        };
        let latent = config.levels.len();
        let (e, d) = (p.pp("encoder"), p.pp("decoder"));
        let (own, of_decoder) = (config.hidden, config.decoder_channels());
        let (down, up) = (config.encoder_widths(), config.decoder_widths());
        let halve = |n: usize| Convolution::new(&e.pp("resample").pp(n), [down[n], down[n + 1]], 4, RESAMPLE);
        let double = |n: usize| Convolution::transposed(&d.pp("resample").pp(n), [up[n], up[n + 1]], 4, RESAMPLE);
        Ok(Self {
            encoder: Half {
                resample: (0..config.halvings).map(halve).collect::<Result<_>>()?,
                mix: Convolution::same(&e.pp("mix"), [own; 2], 3)?,
                residual: residual(&e, own)?,
            },
            to_latent: Linear::new(&p.pp("to_latent"), [own, latent])?,
            from_latent: Linear::new(&p.pp("from_latent"), [latent, of_decoder])?,
            decoder: Half {
                resample: (0..config.halvings).map(double).collect::<Result<_>>()?,
                mix: Convolution::transposed(&d.pp("mix"), [of_decoder; 2], 3, SAME)?,
                residual: residual(&d, of_decoder)?,
            },
            output: config.output,
            extension: config.extension,
        })
    }

    /// `[B, H, W, 1]` → latent values `[B, h, w, latent]`.
    pub(super) fn encode(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        for layer in &self.encoder.resample {
            x = relu(&layer.forward(&x)?)?;
        }
        x = self.encoder.mix.forward(&x)?;
        for unit in &self.encoder.residual {
            x = unit.forward(&x)?;
        }
        self.to_latent.forward(&x)
    }

    /// `[B, h, w, latent]` → `[B, H, W, 1]`, not yet cut off to the range from 0 to 1.
    pub(super) fn decode(&self, z: &Tensor) -> Result<Tensor> {
        let mut x = self.decoder.mix.forward(&self.from_latent.forward(z)?)?;
        for unit in &self.decoder.residual {
            x = unit.forward(&x)?;
        }
        for layer in &self.decoder.resample {
            x = layer.forward(&relu(&x)?)?;
        }
        if self.output == OutputActivation::Sigmoid {
            x = (x.neg()?.exp()? + 1.0)?.recip()?;
        }
        if self.extension > 0.0 { Ok(((x * (1.0 + 2.0 * self.extension))? - self.extension)?) } else { Ok(x) }
    }

    /// The same network, which gradients don't reach: no activation is kept for them.
    pub(super) fn frozen(&self) -> Self {
        Self {
            encoder: self.encoder.frozen(),
            to_latent: self.to_latent.frozen(),
            from_latent: self.from_latent.frozen(),
            decoder: self.decoder.frozen(),
            ..self.clone()
        }
    }
}
