//! The autoencoder around the codes.

use super::config::SpectrumCodecConfig;
use super::convnext::{Map, Norm, Stages};
use candle_core::Tensor;
use panchroma_core::{Init, Parameters, Result};

/// Encoder and decoder with the maps to and from the numbers that become bits.
#[derive(Clone, Debug)]
pub(super) struct Network {
    encoder: Stages,
    norm: Norm,
    to_code: Map,
    /// Where numbers and bits are not as many: to the bits, and back.
    projections: Option<[Map; 2]>,
    from_code: Map,
    decoder: Stages,
}

impl Network {
    pub(super) fn new(config: &SpectrumCodecConfig, p: &Parameters) -> Result<Self> {
        let (latent, width, bits) =
            (config.encoder_widths.last().copied().unwrap_or(0), config.code_width(), config.code_bits);
        let init = Init::fan_in;
        let projections = if width == bits {
            None
        } else {
            let of =
                |name, inputs, outputs| Map::new(inputs, outputs, init(inputs), &p.pp(format!("quantizer.{name}")));
            Some([of("project_in", width, bits)?, of("project_out", bits, width)?])
        };
        Ok(Self {
            encoder: Stages::encoder(2, &config.encoder_depths, &config.encoder_widths, &p.pp("encoder"))?,
            // The default of PyTorch's layer norm.
            norm: Norm::new(latent, 1e-5, &p.pp("pre_quant_norm"))?,
            to_code: Map::new(latent, width, init(latent), &p.pp("quant_conv"))?,
            projections,
            from_code: Map::new(width, latent, init(width), &p.pp("post_quant_conv"))?,
            decoder: Stages::decoder(latent, &config.decoder_depths, &config.decoder_widths, &p.pp("decoder"))?,
        })
    }

    /// `[B, N, 2]` -> `[B, T, bits]`, before the signs are taken.
    pub(super) fn encode(&self, x: &Tensor) -> Result<Tensor> {
        let latent = self.to_code.forward(&self.norm.forward(&self.encoder.forward(x)?)?)?;
        match &self.projections {
            Some([to_bits, _]) => to_bits.forward(&latent),
            None => Ok(latent),
        }
    }

    /// `[B, T, bits]` signs -> `[B, N, channels]`.
    pub(super) fn decode(&self, signs: &Tensor) -> Result<Tensor> {
        let latent = match &self.projections {
            Some([_, from_bits]) => from_bits.forward(signs)?,
            None => signs.clone(),
        };
        self.decoder.forward(&self.from_code.forward(&latent)?)
    }

    pub(super) fn frozen(&self) -> Self {
        Self {
            encoder: self.encoder.frozen(),
            norm: self.norm.frozen(),
            to_code: self.to_code.frozen(),
            projections: self.projections.as_ref().map(|maps| maps.each_ref().map(Map::frozen)),
            from_code: self.from_code.frozen(),
            decoder: self.decoder.frozen(),
        }
    }
}
