//! The published codec of segmentation maps.

use crate::image::{read_json, require_dimensions, unfit};
use crate::parameters::{Form, Waiting, take_levels};
use crate::weights::Weights;
use panchroma_core::{Parameters, Result};
use panchroma_image::codec::field::OutputActivation;
use panchroma_image::{FieldCodec, FieldCodecConfig};
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

/// `config.json`; what is left out has the default of the Python package.
#[derive(Debug, Deserialize)]
struct Config {
    encoder_output_dim: usize,
    decoder_input_dim: Option<usize>,
    embedding_dim: Option<usize>,
    #[serde(default = "res_hidden_dims")]
    res_hidden_dims: usize,
    #[serde(default = "num_res_layers")]
    num_res_layers: usize,
    #[serde(default = "num_downsamples")]
    num_downsamples: usize,
    #[serde(default)]
    variational: bool,
    output_activation_extension: Option<f64>,
    #[serde(default)]
    ema_model_weights: bool,
    #[serde(default = "levels")]
    levels: Vec<u32>,
}

fn res_hidden_dims() -> usize {
    64
}
fn num_res_layers() -> usize {
    2
}
fn num_downsamples() -> usize {
    3
}
fn levels() -> Vec<u32> {
    vec![8, 5, 5, 5]
}

fn read_config(folder: &Path) -> Result<(FieldCodecConfig, bool)> {
    let file = folder.join("config.json");
    let json: Value = read_json(&file)?;
    // A function can't be written there: nothing is the sigmoid, null is no activation.
    let output = match json.get("output_activation") {
        None => OutputActivation::Sigmoid,
        Some(Value::Null) => OutputActivation::None,
        Some(other) => {
            return Err(unfit(&file, "output_activation", format!("expected null or nothing, got {other}")));
        }
    };
    let config: Config = serde_json::from_value(json).map_err(|error| unfit(&file, "", error.to_string()))?;
    if config.variational {
        let reason = "expected false: twice as many latent values as the quantizer takes".into();
        return Err(unfit(&file, "variational", reason));
    }
    // As Python's `or`: 0 is none.
    let given = |value: Option<usize>| value.filter(|value| *value > 0).unwrap_or(config.encoder_output_dim);
    require_dimensions(&file, given(config.embedding_dim), &config.levels)?;
    let own = FieldCodecConfig {
        hidden: config.encoder_output_dim,
        decoder_hidden: given(config.decoder_input_dim),
        residual_hidden: config.res_hidden_dims,
        residual_units: config.num_res_layers,
        halvings: config.num_downsamples,
        levels: config.levels,
        output,
        extension: config.output_activation_extension.unwrap_or(0.0),
        ..FieldCodecConfig::default()
    };
    match own.wrong() {
        None => Ok((own, config.ema_model_weights)),
        Some((key, reason)) => Err(unfit(&file, key, reason)),
    }
}

/// Reads the config of a codec of maps from `config.json` of `folder`.
///
/// # Errors
/// If the file can't be read, or makes no sense.
pub fn read_field_config(folder: &Path) -> Result<FieldCodecConfig> {
    Ok(read_config(folder)?.0)
}

/// Reads `config.json` and `model.safetensors` of `folder` into a codec with its parameters in `parameters`.
///
/// # Errors
/// If a file can't be read, or a tensor is missing, left over, or of another shape than the config says; with the file, the tensor
/// and both shapes.
pub fn read_field(folder: &Path, parameters: &Parameters) -> Result<FieldCodec> {
    let (config, averaged) = read_config(folder)?;
    let mut weights = Weights::open(&folder.join("model.safetensors"))?;
    if averaged {
        // A running mean of the weights, which encoding and decoding don't use.
        let own = Parameters::new(0, parameters.device());
        FieldCodec::new(&config, &own)?;
        read_weights(&config, &own, &mut weights, "ema.module.")?;
    }
    let codec = FieldCodec::new(&config, parameters)?;
    read_weights(&config, parameters, &mut weights, "")?;
    weights.finish()?;
    Ok(codec)
}

fn read_weights(config: &FieldCodecConfig, parameters: &Parameters, weights: &mut Weights, prefix: &str) -> Result<()> {
    let mut waiting = Waiting::new(parameters);
    waiting.layer("to_latent", weights, &format!("{prefix}encode_proj"), Form::Pixel)?;
    waiting.layer("from_latent", weights, &format!("{prefix}decode_proj"), Form::Pixel)?;
    let halvings = config.halvings;
    for n in 0..halvings {
        let (down, up) = (format!("{prefix}encoder.net.{}", 2 * n), format!("{prefix}decoder.net.{}", 2 * n + 3));
        waiting.layer(&format!("encoder.resample.{n}"), weights, &down, Form::Kernel)?;
        waiting.layer(&format!("decoder.resample.{n}"), weights, &up, Form::Kernel)?;
    }
    for (half, mix) in [("encoder", 2 * halvings), ("decoder", 0)] {
        let name = |place: usize| format!("{prefix}{half}.net.{place}");
        waiting.layer(&format!("{half}.mix"), weights, &name(mix), Form::Kernel)?;
        for unit in 0..config.residual_units {
            let (own, name) = (format!("{half}.residual.{unit}"), format!("{}.net.{unit}.net", name(mix + 1)));
            let (kernel, norm) = (format!("{name}.1"), format!("{name}.2"));
            waiting.normed_kernel(&format!("{own}.convolution"), weights, [&kernel, &norm])?;
            waiting.layer(&format!("{own}.linear"), weights, &format!("{name}.4"), Form::Pixel)?;
        }
    }
    take_levels(weights, &format!("{prefix}_quantizer.levels"), &config.levels)?;
    waiting.finish()
}
