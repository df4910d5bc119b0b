//! A codec for images: a convolutional autoencoder whose latent values are rounded to codes.
//!
//! One network for images of any subset of the bands that it knows: a linear map brings them to as many channels whichever they are, and
//! another one brings all bands back. [`ImageCodec`] works on tensors of physical fluxes, [`tokenizer`] makes a tokenizer of it;
//! [`field`] is a codec for maps of one value per pixel.
//!
//! Source: the image tokenizer of AION-1, Parker et al. 2025, section 4; MagViT, Yu et al. 2023, arXiv:2310.05737; finite scalar
//! quantization, Mentzer et al. 2023, arXiv:2309.15505.

pub mod config;
pub mod field;
mod frames;
mod layers;
mod learned;
pub mod network;
mod pixels;
#[cfg(test)]
mod tests;
pub mod tokenizer;

pub use config::{Band, ImageCodecConfig};
pub use learned::Learned;

use candle_core::{DType, Device, Tensor};
use network::Network;
use panchroma_core::ops::quantize::{fsq, fsq_values};
use panchroma_core::{Error, Parameters, Result};
use pixels::{Channels, Fluxes, Prepared};

/// From images to codes and back.
#[derive(Debug, Clone)]
pub struct ImageCodec {
    config: ImageCodecConfig,
    trained: Network,
    /// The same weights, without a tape: for use.
    network: Network,
    device: Device,
}

/// Error of the compressed flux that is small enough: pixels measured better than that count alike in the loss.
const FLOOR: f64 = 0.02;

/// Images with what is known about their pixels.
#[derive(Debug, Clone, Copy)]
pub struct Images<'a> {
    /// `[B, C, H, W]` f32, at the zero points of the bands.
    pub flux: &'a Tensor,
    /// `[B, C, H, W]` f32: inverse variance of `flux`, 0 where unknown.
    pub ivar: Option<&'a Tensor>,
    /// `[B, C, H, W]` u8: 1 where measured. An image lacks a band of which nothing was measured.
    pub valid: Option<&'a Tensor>,
    /// Names of the C bands.
    pub bands: &'a [&'a str],
}

impl<'a> Images<'a> {
    /// Of which every pixel was measured, with unknown errors.
    #[must_use]
    pub fn new(flux: &'a Tensor, bands: &'a [&'a str]) -> Self {
        Self { flux, ivar: None, valid: None, bands }
    }
}

impl ImageCodec {
    /// With parameters below those of `parameters`, which hold starting values.
    ///
    /// # Errors
    /// If the config makes no sense or a name is taken.
    pub fn new(config: &ImageCodecConfig, parameters: &Parameters) -> Result<Self> {
        config.check()?;
        let trained = Network::new(config, parameters)?;
        let network = trained.frozen();
        Ok(Self { config: config.clone(), trained, network, device: parameters.device().clone() })
    }

    /// What it was made of.
    #[must_use]
    pub fn config(&self) -> &ImageCodecConfig {
        &self.config
    }

    /// Fluxes `[B, C, H, W]` f32 of `bands` → codes `[B, T]` u32, line by line; images may be larger than `crop`.
    ///
    /// # Errors
    /// If a band is unknown or named twice, there are not as many planes as bands, or an image is smaller than `crop`.
    pub fn encode(&self, flux: &Tensor, bands: &[&str]) -> Result<Tensor> {
        self.encode_images(Images::new(flux, bands))
    }

    /// As [`Self::encode`], for images of which not every pixel was measured.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_images(&self, images: Images<'_>) -> Result<Tensor> {
        if images.flux.dims().first() == Some(&0) {
            return Ok(Tensor::zeros((0, self.config.side().pow(2)), DType::U32, &self.device)?);
        }
        let prepared = self.prepare(images)?;
        let z = self.network.encode(&prepared.values, &prepared.factors)?;
        Ok(fsq(&z, &self.config.levels)?.codes.flatten_from(1)?)
    }

    /// Codes `[B, T]` u32 → fluxes `[B, C, H, W]` f32 of `bands`, on the CPU.
    ///
    /// # Errors
    /// If a band is unknown or named twice, there are not as many codes as pixels of a square, or a code is out of the vocabulary.
    pub fn decode(&self, codes: &Tensor, bands: &[&str]) -> Result<Tensor> {
        let channels = Channels::new(&self.config, bands)?;
        let z = self.latent(codes)?;
        channels.restore(&self.config, &self.network.decode(&z)?)
    }

    /// Loss and metrics of images that are encoded, rounded and decoded.
    ///
    /// The loss is the mean square difference of compressed fluxes, weighted by `floor² / (σ² + floor²)`: their inverse variance, by that of the
    /// fluxes and the slope of the compression, for pixels with errors above a floor of 0.02, below which all count alike. Compressed, as the
    /// reverse is exponential: a small error of the network at a bright pixel would be all of the gradient. Rounding passes
    /// gradients on as those of the value before. Pixels that were not measured do not count. There is nothing to do for codes that
    /// die: the codebook of a finite scalar quantizer is a grid that isn't learned, and all of it stays in reach.
    ///
    /// # Errors
    /// As [`Self::encode`], and if `crop` isn't a multiple of two to the power of the compressions.
    pub fn loss(&self, images: Images<'_>) -> Result<Learned> {
        if self.config.decoded_side() != self.config.crop {
            let wanted = 1_usize << self.config.compressions;
            let reason =
                format!("can't be trained: expected `crop` to be a multiple of {wanted}, got {}", self.config.crop);
            return Err(codec_error(reason));
        }
        let prepared = self.prepare(images)?;
        let z = self.trained.encode(&prepared.values, &prepared.factors)?;
        let quantized = fsq(&z, &self.config.levels)?;
        let decoded = self.trained.decode(&quantized.values)?;
        Learned::new(decoded, prepared.values, prepared.weights, &quantized.codes, self.config.vocabulary())
    }

    fn prepare(&self, images: Images<'_>) -> Result<Prepared> {
        let Images { flux, ivar, valid, bands } = images;
        let channels = Channels::new(&self.config, bands)?;
        let shape = match flux.dims() {
            &[batch, planes, height, width] => [batch, planes, height, width],
            dims => return Err(codec_error(format!("expected images of shape [B, C, H, W], got {dims:?}"))),
        };
        for (name, other) in [("inverse variances", ivar), ("flags", valid)] {
            if let Some(other) = other.filter(|other| other.dims() != shape) {
                return Err(codec_error(format!("expected {name} of shape {shape:?}, got {:?}", other.dims())));
            }
        }
        let host =
            |tensor: &Tensor| tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
        let flux = host(flux)?;
        let ivar = ivar.map(host).transpose()?.unwrap_or_default();
        let valid = match valid {
            Some(valid) => valid.to_device(&Device::Cpu)?.to_dtype(DType::U8)?.flatten_all()?.to_vec1::<u8>()?,
            None => Vec::new(),
        };
        let fluxes = Fluxes { shape, flux: &flux, ivar: &ivar, valid: &valid };
        let Prepared { values, factors, weights } = channels.prepare(&self.config, &fluxes, FLOOR)?;
        let there = |tensor: Tensor| tensor.to_device(&self.device);
        Ok(Prepared { values: there(values)?, factors: there(factors)?, weights: there(weights)? })
    }

    /// What codes stand for, `[B, h, w, latent]`.
    fn latent(&self, codes: &Tensor) -> Result<Tensor> {
        let side = self.config.side();
        latent(codes, &self.config.levels, side, &self.device)
    }
}

/// Codes `[B, side²]` → the values that they stand for, `[B, side, side, latent]`.
fn latent(codes: &Tensor, levels: &[u32], side: usize, device: &Device) -> Result<Tensor> {
    let &[batch, tokens] = codes.dims() else {
        return Err(codec_error(format!("expected codes of shape [B, {}], got {:?}", side * side, codes.dims())));
    };
    if tokens != side * side {
        return Err(codec_error(format!("expected {} codes per object, got {tokens}", side * side)));
    }
    let codes = codes.to_device(&Device::Cpu)?.to_dtype(DType::U32)?;
    let vocabulary: u32 = levels.iter().product();
    if let Some(code) = codes.flatten_all()?.to_vec1::<u32>()?.into_iter().find(|code| *code >= vocabulary) {
        return Err(codec_error(format!("expected codes below {vocabulary}, got {code}")));
    }
    let z = fsq_values(&codes, levels)?;
    Ok(z.reshape((batch, side, side, levels.len()))?.to_device(device)?)
}

/// What a codec refuses.
fn codec_error(reason: String) -> Error {
    Error::Plugin { kind: "codec", name: "image_codec".into(), reason }
}
