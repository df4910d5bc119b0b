//! A codec for maps of one value per pixel, such as a segmentation: a small convolutional autoencoder whose latent values are rounded to codes.
//!
//! Source: VQ-VAE of van den Oord et al. 2017, arXiv:1711.00937, with finite scalar quantization, as AION-1 has it. The batch norms
//! within its residual units are affine maps when in use; here they are part of the convolution before.

pub mod config;
mod network;
#[cfg(test)]
mod tests;
pub mod tokenizer;

pub use config::{FieldCodecConfig, OutputActivation};

use super::{Learned, latent};
use candle_core::{DType, Device, Tensor};
use network::Network;
use panchroma_core::ops::quantize::fsq;
use panchroma_core::{Error, Parameters, Result};

/// From maps to codes and back.
#[derive(Debug, Clone)]
pub struct FieldCodec {
    config: FieldCodecConfig,
    trained: Network,
    /// The same weights, without a tape: for use.
    network: Network,
    device: Device,
}

/// Error of a value that is small enough, as of the image codec.
const FLOOR: f64 = 0.02;

impl FieldCodec {
    /// With parameters below those of `parameters`, which hold starting values.
    ///
    /// # Errors
    /// If the config makes no sense or a name is taken.
    pub fn new(config: &FieldCodecConfig, parameters: &Parameters) -> Result<Self> {
        config.check()?;
        let trained = Network::new(config, parameters)?;
        let network = trained.frozen();
        Ok(Self { config: config.clone(), trained, network, device: parameters.device().clone() })
    }

    /// What it was made of.
    #[must_use]
    pub fn config(&self) -> &FieldCodecConfig {
        &self.config
    }

    /// Maps `[B, H, W]` f32 → codes `[B, T]` u32, line by line; maps may be larger than `crop`.
    ///
    /// # Errors
    /// If a map is smaller than `crop`.
    pub fn encode(&self, field: &Tensor) -> Result<Tensor> {
        if field.dims().first() == Some(&0) {
            return Ok(Tensor::zeros((0, self.config.side().pow(2)), DType::U32, &self.device)?);
        }
        let z = self.network.encode(&self.shares(field)?)?;
        Ok(fsq(&z, &self.config.levels)?.codes.flatten_from(1)?)
    }

    /// Codes `[B, T]` u32 → maps `[B, H, W]` f32, from `low` to `high`.
    ///
    /// # Errors
    /// If there are not as many codes as pixels of a square, or a code is out of the vocabulary.
    pub fn decode(&self, codes: &Tensor) -> Result<Tensor> {
        let z = latent(codes, &self.config.levels, self.config.side(), &self.device)?;
        let share = self.network.decode(&z)?.clamp(0f32, 1f32)?.squeeze(3)?;
        let FieldCodecConfig { low, high, .. } = self.config;
        if (low, high) == (0.0, 1.0) { Ok(share) } else { Ok(share.affine(high - low, low)?) }
    }

    /// Loss and metrics of maps `[B, H, W]` that are encoded, rounded and decoded: the mean square difference on the way from `low` = 0 to
    /// `high` = 1, of what is not yet cut off to that range, weighted by `floor² / (1 / ivar + floor²)` with a floor of 0.02. `ivar` and `valid` are of the shape of the maps: inverse variance, 0 where
    /// unknown, and u8, 1 where measured.
    ///
    /// # Errors
    /// As [`Self::encode`], and if `crop` isn't a multiple of two to the power of the halvings.
    pub fn loss(&self, field: &Tensor, ivar: Option<&Tensor>, valid: Option<&Tensor>) -> Result<Learned> {
        if self.config.decoded_side() != self.config.crop {
            let wanted = 1_usize << self.config.halvings;
            let reason =
                format!("can't be trained: expected `crop` to be a multiple of {wanted}, got {}", self.config.crop);
            return Err(error(reason));
        }
        for (name, other) in [("inverse variances", ivar), ("flags", valid)] {
            if let Some(other) = other.filter(|other| other.dims() != field.dims()) {
                return Err(error(format!("expected {name} of shape {:?}, got {:?}", field.dims(), other.dims())));
            }
        }
        let mut truth = self.shares(field)?;
        let mut weights = match ivar {
            Some(ivar) => {
                let precision = (self.cut(ivar)? * (FLOOR * (self.config.high - self.config.low)).powi(2))?;
                // Where nothing is known of the error: as if there was none.
                let known = (&precision / (&precision + 1.0)?)?;
                precision.gt(0f64)?.where_cond(&known, &precision.ones_like()?)?
            }
            None => truth.ones_like()?,
        };
        if let Some(valid) = valid {
            let measured = self.cut(&valid.to_dtype(DType::F32)?)?;
            truth = measured.gt(0f64)?.where_cond(&truth, &truth.zeros_like()?)?;
            weights = (weights * measured)?;
        }
        let z = self.trained.encode(&truth)?;
        let quantized = fsq(&z, &self.config.levels)?;
        let decoded = self.trained.decode(&quantized.values)?;
        Learned::new(decoded, truth, weights, &quantized.codes, self.config.vocabulary())
    }

    /// The square around the centre, as shares of the way from `low` to `high`.
    fn shares(&self, field: &Tensor) -> Result<Tensor> {
        let FieldCodecConfig { low, high, .. } = self.config;
        let cut = self.cut(field)?;
        if (low, high) == (0.0, 1.0) { Ok(cut) } else { Ok(cut.affine(1.0 / (high - low), -low / (high - low))?) }
    }

    /// The square around the centre, `[B, crop, crop, 1]`.
    fn cut(&self, field: &Tensor) -> Result<Tensor> {
        let crop = self.config.crop;
        let &[_, height, width] = field.dims() else {
            return Err(error(format!("expected maps of shape [B, H, W], got {:?}", field.dims())));
        };
        if height < crop || width < crop {
            let reason =
                format!("cuts out {crop} x {crop} pixels; expected maps of at least that, got {height} x {width}");
            return Err(error(reason));
        }
        let cut = field.narrow(1, (height - crop) / 2, crop)?.narrow(2, (width - crop) / 2, crop)?;
        Ok(cut.to_dtype(DType::F32)?.contiguous()?.unsqueeze(3)?.to_device(&self.device)?)
    }
}

fn error(reason: String) -> Error {
    Error::Plugin { kind: "codec", name: "field_codec".into(), reason }
}
