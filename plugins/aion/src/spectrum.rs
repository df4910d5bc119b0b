//! The published codec of spectra.

use crate::read;
use crate::weights::Weights;
use candle_core::Tensor;
use panchroma_core::{Error, Parameters, Result};
use panchroma_spectrum::codec::{SpectrumCodec, SpectrumCodecConfig};
use serde::Deserialize;
use std::path::Path;

/// `config.json`; what is left out has the default of the Python package.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct Config {
    encoder_depths: Vec<usize>,
    encoder_dims: Vec<usize>,
    decoder_depths: Vec<usize>,
    decoder_dims: Vec<usize>,
    lambda_min: f64,
    resolution: f64,
    num_pixels: usize,
    latent_channels: usize,
    embedding_dim: usize,
    clip_ivar: Option<f64>,
    clip_flux: Option<f64>,
    input_scaling: f64,
    normalization_range: [f64; 2],
    codebook_size: usize,
    dim: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            encoder_depths: vec![3, 3, 9, 3],
            encoder_dims: vec![96, 192, 384, 768],
            decoder_depths: vec![3, 3, 9, 3],
            decoder_dims: vec![384, 192, 96, 1],
            lambda_min: 3500.0,
            resolution: 0.8,
            num_pixels: 8704,
            latent_channels: 512,
            embedding_dim: 4,
            clip_ivar: Some(100.0),
            clip_flux: None,
            input_scaling: 0.2,
            normalization_range: [-1.0, 5.0],
            codebook_size: 1024,
            dim: 10,
        }
    }
}

impl Config {
    fn translated(self, file: &Path) -> Result<SpectrumCodecConfig> {
        let wrong = |key: &str, expected: String, found: String| Error::Shape {
            part: format!("`{}`, `{key}`", file.display()),
            expected,
            found,
        };
        if self.encoder_dims.last() != Some(&self.latent_channels) {
            let expected = format!("the last of `encoder_dims`, {:?}", self.encoder_dims);
            return Err(wrong("latent_channels", expected, self.latent_channels.to_string()));
        }
        if self.embedding_dim != self.dim {
            return Err(wrong("embedding_dim", format!("`dim`, {}", self.dim), self.embedding_dim.to_string()));
        }
        if !self.codebook_size.is_power_of_two() {
            return Err(wrong("codebook_size", "a power of 2".into(), self.codebook_size.to_string()));
        }
        let config = SpectrumCodecConfig {
            wavelength_min: self.lambda_min,
            wavelength_step: self.resolution,
            samples: self.num_pixels,
            encoder_depths: self.encoder_depths,
            encoder_widths: self.encoder_dims,
            decoder_depths: self.decoder_depths,
            decoder_widths: self.decoder_dims,
            code_bits: self.codebook_size.ilog2() as usize,
            code_width: Some(self.dim),
            normalisation_codes: self.codebook_size,
            normalisation_range: self.normalization_range,
            clip_ivar: self.clip_ivar.unwrap_or(f64::INFINITY),
            clip_flux: self.clip_flux.unwrap_or(f64::INFINITY),
            input_scaling: self.input_scaling,
            ..SpectrumCodecConfig::default()
        };
        config.check().map_err(|(key, reason)| wrong(key, reason, "a config that does not fit".into()))?;
        Ok(config)
    }
}

/// Reads the config of a codec of spectra from `config.json` of `folder`.
///
/// # Errors
/// If the file can't be read, or makes no sense.
pub fn read_spectrum_config(folder: &Path) -> Result<SpectrumCodecConfig> {
    let file = folder.join("config.json");
    read::config::<Config>(&file)?.translated(&file)
}

/// Reads `config.json` and `model.safetensors` of `folder` into a codec with its parameters in `parameters`.
///
/// # Errors
/// If a file can't be read, or a tensor is missing, left over, or of another shape than the config says; with the file, the tensor and both
/// shapes.
pub fn read_spectrum(folder: &Path, parameters: &Parameters) -> Result<SpectrumCodec> {
    let config = read_spectrum_config(folder)?;
    let mut weights = Weights::open(&folder.join("model.safetensors"))?;
    let codec = SpectrumCodec::new(&config, parameters)?;
    let prefix = if parameters.name().is_empty() { String::new() } else { format!("{}.", parameters.name()) };
    for (name, parameter) in parameters.all() {
        let Some(own) = name.strip_prefix(&prefix) else { continue };
        if let Some(block) = own.strip_suffix(".shift") {
            let shift = shift(&mut weights, block, &config)?;
            parameter.var.set(&Tensor::new(&[shift], parameters.device())?)?;
            continue;
        }
        let published = published(own, parameter.var.dims(), config.encoder_widths.len());
        let tensor = published.read(&mut weights)?.reshape(parameter.var.shape())?;
        parameter.var.set(&tensor.to_device(parameters.device())?)?;
    }
    let single = |weights: &mut Weights, name: &str, expected: f64| -> Result<()> {
        let found = read::values(weights, name, &[])?;
        let same = |found: &f32| (f64::from(*found) - expected).abs() <= 1e-6 * expected.abs();
        if found.iter().all(same) {
            Ok(())
        } else {
            Err(read::wrong(weights, name, expected.to_string(), format!("{found:?}")))
        }
    };
    single(&mut weights, "latent_grid.lambda_min", config.wavelength_min)?;
    single(&mut weights, "latent_grid.resolution", config.wavelength_step)?;
    let expect = |weights: &mut Weights, name: &str, shape: &[usize], expected: Vec<i64>| -> Result<()> {
        let found = read::whole(weights, name, shape)?;
        if found == expected {
            Ok(())
        } else {
            Err(read::wrong(weights, name, format!("{expected:?}"), format!("{found:?}")))
        }
    };
    expect(&mut weights, "latent_grid.length", &[], vec![config.samples as i64])?;
    let masks = (0..config.code_bits).rev().map(|bit| 1 << bit).collect();
    expect(&mut weights, "_quantizer._quantizer.mask", &[config.code_bits], masks)?;
    let grid = read::values(&mut weights, "latent_grid._wavelength", &[1, config.samples])?;
    let levels = read::values(&mut weights, "normalization_quantizer.buckets", &[config.normalisation_codes])?;
    let codec = codec.with_buffers(grid, levels).map_err(|error| match error {
        Error::Shape { part, expected, found } => {
            Error::Shape { part: format!("`{}`, {part}", weights.path().display()), expected, found }
        }
        other => other,
    })?;
    weights.finish()?;
    Ok(codec)
}

/// What a block of one channel adds. A norm leaves nothing of it but its bias, so whatever comes in, all places hold the same number, and
/// their length over a sequence is that of one times the root of their number.
fn shift(weights: &mut Weights, block: &str, config: &SpectrumCodecConfig) -> Result<f32> {
    let mut take = |name: &str, shape: &[usize]| -> Result<Vec<f64>> {
        let values = read::values(weights, &format!("{block}.{name}"), shape)?;
        Ok(values.into_iter().map(f64::from).collect())
    };
    take("dwconv.weight", &[1, 1, 7])?;
    take("dwconv.bias", &[1])?;
    take("norm.weight", &[1])?;
    let (norm, input, bias) = (take("norm.bias", &[1])?, take("pwconv1.weight", &[4, 1])?, take("pwconv1.bias", &[4])?);
    let (gamma, beta) = (take("grn.gamma", &[1, 1, 4])?, take("grn.beta", &[1, 1, 4])?);
    let (output, last) = (take("pwconv2.weight", &[1, 4])?, take("pwconv2.bias", &[1])?);
    // Places of the sequence in this stage.
    let stage: u32 = block.split('.').nth(2).and_then(|stage| stage.parse().ok()).unwrap_or(0);
    let places = match block.starts_with("encoder.") {
        true => config.samples >> (stage + 2),
        false if stage as usize + 1 == config.decoder_widths.len() => config.samples,
        false => (config.samples / config.samples_per_token()) << (stage + 1),
    };
    let norm = norm.first().copied().unwrap_or(0.0);
    let hidden: Vec<f64> = input.iter().zip(&bias).map(|(w, b)| gelu(w * norm + b)).collect();
    let lengths: Vec<f64> = hidden.iter().map(|h| h.abs() * (places as f64).sqrt()).collect();
    let mean = lengths.iter().sum::<f64>() / lengths.len() as f64 + 1e-6;
    let responses = hidden.iter().zip(&lengths).zip(gamma.iter().zip(&beta));
    let responses = responses.map(|((h, length), (gamma, beta))| gamma * h * length / mean + beta + h);
    let sum: f64 = responses.zip(&output).map(|(response, weight)| response * weight).sum();
    Ok((sum + last.first().copied().unwrap_or(0.0)) as f32)
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + candle_core::cpu::erf::erf_f64(x * std::f64::consts::FRAC_1_SQRT_2))
}

/// Where a parameter of ours lies in a published file.
struct Published {
    name: String,
    shape: Vec<usize>,
    /// The order of its axes in ours.
    axes: Vec<usize>,
}

impl Published {
    fn read(&self, weights: &mut Weights) -> Result<Tensor> {
        let tensor = read::real(weights, &self.name, &self.shape)?;
        Ok(if self.axes.is_empty() { tensor } else { tensor.permute(self.axes.as_slice())?.contiguous()? })
    }
}

/// The published name and shape of parameter `own`, which has the shape `dims`; of a network of so many stages.
fn published(own: &str, dims: &[usize], stages: usize) -> Published {
    let name = match own.strip_prefix("quantizer.") {
        Some(rest) => format!("_quantizer._quantizer.{rest}"),
        None => own.to_owned(),
    };
    let stage = |part: &str| own.strip_prefix(part).and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
    let (shape, axes) = match dims {
        &[rows, columns] if own.ends_with("dwconv.weight") => (vec![rows, 1, columns], vec![]),
        &[width] if own.contains(".grn.") => (vec![1, 1, width], vec![]),
        &[rows, columns] if own.ends_with("quant_conv.weight") => (vec![rows, columns, 1], vec![]),
        &[rows, columns] if let Some(stage) = stage("encoder.downsample_layers.") => {
            let kernel = if stage == 0 { 4 } else { 2 };
            (vec![rows, columns / kernel, kernel], vec![0, 2, 1])
        }
        &[rows, columns] if let Some(stage) = stage("decoder.upsample_layers.") => {
            let kernel = if stage + 1 == stages { 4 } else { 2 };
            (vec![columns, rows / kernel, kernel], vec![2, 1, 0])
        }
        dims => (dims.to_vec(), vec![]),
    };
    Published { name, shape, axes }
}
