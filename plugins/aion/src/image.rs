//! The published codec of images.

use crate::parameters::{Form, Waiting, take_levels};
use crate::weights::Weights;
use panchroma_core::{Error, Parameters, Result};
use panchroma_image::codec::network::{LayerKind, decoder_layers, encoder_layers};
use panchroma_image::{ImageCodec, ImageCodecConfig};
use serde::Deserialize;
use std::path::Path;

/// `config.json`; what is left out has the default of the Python package.
#[derive(Debug, Deserialize)]
struct Config {
    quantizer_levels: Vec<u32>,
    #[serde(default = "hidden_dims")]
    hidden_dims: usize,
    #[serde(default = "multisurvey_projection_dims")]
    multisurvey_projection_dims: usize,
    #[serde(default = "n_compressions")]
    n_compressions: usize,
    #[serde(default = "num_consecutive")]
    num_consecutive: usize,
    #[serde(default = "embedding_dim")]
    embedding_dim: usize,
    #[serde(default = "range_compression_factor")]
    range_compression_factor: f64,
    #[serde(default = "mult_factor")]
    mult_factor: f64,
}

fn hidden_dims() -> usize {
    512
}
fn multisurvey_projection_dims() -> usize {
    54
}
fn n_compressions() -> usize {
    2
}
fn num_consecutive() -> usize {
    4
}
fn embedding_dim() -> usize {
    5
}
fn range_compression_factor() -> f64 {
    0.01
}
fn mult_factor() -> f64 {
    10.0
}

/// Reads the config of a codec of images from `config.json` of `folder`; `as_reference` is [`ImageCodecConfig::as_reference`].
///
/// # Errors
/// If the file can't be read, or makes no sense.
pub fn read_image_config(folder: &Path, as_reference: bool) -> Result<ImageCodecConfig> {
    let file = folder.join("config.json");
    let config: Config = read_json(&file)?;
    require_dimensions(&file, config.embedding_dim, &config.quantizer_levels)?;
    let own = ImageCodecConfig {
        projection: config.multisurvey_projection_dims,
        hidden: config.hidden_dims,
        compressions: config.n_compressions,
        consecutive: config.num_consecutive,
        levels: config.quantizer_levels,
        range: config.range_compression_factor,
        factor: config.mult_factor,
        as_reference,
        ..ImageCodecConfig::default()
    };
    match own.wrong() {
        None => Ok(own),
        Some((key, reason)) => Err(unfit(&file, key, reason)),
    }
}

/// Reads `config.json` and `model.safetensors` of `folder` into a codec with its parameters in `parameters`.
///
/// # Errors
/// If a file can't be read, or a tensor is missing, left over, or of another shape than the config says; with the file, the tensor
/// and both shapes.
pub fn read_image(folder: &Path, parameters: &Parameters, as_reference: bool) -> Result<ImageCodec> {
    let config = read_image_config(folder, as_reference)?;
    let mut weights = Weights::open(&folder.join("model.safetensors"))?;
    let codec = ImageCodec::new(&config, parameters)?;
    let mut waiting = Waiting::new(parameters);
    let from = &mut weights;
    waiting.layer("project", from, "subsample_in", Form::Same)?;
    waiting.layer("unproject", from, "subsample_out", Form::Same)?;
    waiting.layer("to_latent", from, "pre_quant_proj", Form::Pixel)?;
    waiting.layer("from_latent", from, "post_quant_proj", Form::Pixel)?;
    waiting.layer("first", from, "model.conv_in.conv", Form::Kernel)?;
    waiting.layer("last", from, "model.conv_out.conv", Form::Kernel)?;
    let norm = format!("model.encoder_layers.{}.1", 2 * config.compressions + 3);
    waiting.read("norm.gamma", from, &format!("{norm}.weight"), Form::Same)?;
    waiting.read("norm.beta", from, &format!("{norm}.bias"), Form::Same)?;
    for (half, layers, places) in [
        ("encoder", encoder_layers(&config), encoder_places(&config)),
        ("decoder", decoder_layers(&config), decoder_places(&config)),
    ] {
        for (number, (kind, place)) in layers.into_iter().zip(places).enumerate() {
            read_layer(&mut waiting, &format!("{half}.{number}"), from, &format!("model.{half}_layers.{place}"), kind)?;
        }
    }
    take_levels(from, "_quantizer.levels", &config.levels)?;
    waiting.finish()?;
    weights.finish()?;
    Ok(codec)
}

fn read_layer(waiting: &mut Waiting, own: &str, weights: &mut Weights, name: &str, kind: LayerKind) -> Result<()> {
    match kind {
        LayerKind::Convolution(..) | LayerKind::Halve(_) => {
            waiting.layer(own, weights, &format!("{name}.conv"), Form::Kernel)
        }
        LayerKind::Unfold(_) => waiting.layer(own, weights, &format!("{name}.net.0"), Form::Unfolded),
        LayerKind::Residual(_) => {
            waiting.layer(&format!("{own}.convolution"), weights, &format!("{name}.net.0.conv"), Form::Kernel)?;
            waiting.layer(&format!("{own}.linear"), weights, &format!("{name}.net.2"), Form::Pixel)?;
            let gates = format!("{name}.net.4");
            waiting.read(&format!("{own}.key.weight"), weights, &format!("{gates}.to_k.weight"), Form::Pixel)?;
            // Added to all pixels before a softmax over them, it changes nothing.
            weights.take(&format!("{gates}.to_k.bias"), &[1])?;
            waiting.layer(&format!("{own}.inner"), weights, &format!("{gates}.net.0"), Form::Pixel)?;
            waiting.layer(&format!("{own}.outer"), weights, &format!("{gates}.net.2"), Form::Pixel)
        }
    }
}

/// Where the layers of the encoder lie in the published lists, which have consecutive units in a list of their own.
fn encoder_places(config: &ImageCodecConfig) -> Vec<String> {
    let units = |group: usize| (0..config.consecutive).map(move |unit| format!("{group}.{unit}"));
    let mut places = vec!["0".to_owned()];
    for group in (1..=2 * config.compressions + 1).step_by(2) {
        places.push(group.to_string());
        places.extend(units(group + 1));
    }
    places
}

/// The same for the decoder, whose list is the other way round.
fn decoder_places(config: &ImageCodecConfig) -> Vec<String> {
    let units = |group: usize| (0..config.consecutive).map(move |unit| format!("{group}.{unit}"));
    let mut places = Vec::new();
    for group in (0..=2 * config.compressions).step_by(2) {
        places.extend(units(group));
        places.push((group + 1).to_string());
    }
    places.push((2 * config.compressions + 2).to_string());
    places
}

/// Reads a `config.json`. Keys that it does not know are left aside, as the Python package does.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(file: &Path) -> Result<T> {
    let text = std::fs::read_to_string(file).map_err(Error::io("read", file))?;
    serde_json::from_str(&text).map_err(|error| unfit(file, "", error.to_string()))
}

/// Refuses a quantizer of other dimensions than the latent values have.
pub(crate) fn require_dimensions(file: &Path, dimensions: usize, levels: &[u32]) -> Result<()> {
    if dimensions == levels.len() {
        return Ok(());
    }
    Err(Error::Shape {
        part: format!("`{}`, `embedding_dim`", file.display()),
        expected: format!("{}, one for each of the levels {levels:?}", levels.len()),
        found: dimensions.to_string(),
    })
}

/// A config that makes no sense.
pub(crate) fn unfit(file: &Path, key: &str, reason: String) -> Error {
    let reason = if key.is_empty() { reason } else { format!("`{key}`: {reason}") };
    Error::Plugin { kind: "file", name: file.display().to_string(), reason }
}
