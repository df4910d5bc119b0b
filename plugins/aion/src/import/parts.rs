//! A modality with its codec, as tables of a config.

use crate::field::{read_field, read_field_config};
use crate::image::{read_image, read_image_config};
use crate::modalities::{AionKind, CodecClass};
use crate::scalar::Scalars;
use crate::spectrum::{read_spectrum, read_spectrum_config};
use candle_core::Device;
use panchroma_core::{Error, Parameters, Result};
use panchroma_table::Codes;
use panchroma_table::codec::{Compression, ScalarCodec};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::Path;

/// One kind of tokens as a modality.
pub(super) struct Part {
    pub(super) kind: &'static AionKind,
    pub(super) own: Own,
}

/// Where its codec goes.
pub(super) enum Own {
    /// A run of its own.
    Run {
        /// Tables of the modality and the tokenizer.
        modality: String,
        /// What the modality would have learned.
        fitted: Value,
        /// Of the codec.
        parameters: Parameters,
    },
    /// The table of the modality itself.
    Inline {
        /// Keys of the table, and that of the tokenizer.
        modality: String,
        /// What the modality would have learned.
        fitted: Value,
        /// What the tokenizer would have learned.
        codes: Value,
    },
}

/// Bands of the images of a kind.
fn bands(kind: &AionKind) -> &'static [&'static str] {
    match kind.key {
        "tok_image_hsc" => &["HSC-G", "HSC-R", "HSC-I", "HSC-Z", "HSC-Y"],
        _ => &["DES-G", "DES-R", "DES-I", "DES-Z"],
    }
}

impl Part {
    /// Reads the codec in `folder`.
    pub(super) fn read(kind: &'static AionKind, folder: &Path) -> Result<Self> {
        let name = kind.name();
        let parameters = Parameters::new(0, &Device::Cpu);
        let below = parameters.pp("codec").pp(name);
        let own = match kind.class {
            CodecClass::Image => {
                let config = read_image_config(folder, false)?;
                read_image(folder, &below, false)?;
                let channels = bands(kind);
                let config = panchroma_image::ImageCodecConfig {
                    channels: channels.iter().map(|band| (*band).to_owned()).collect(),
                    ..config
                };
                let modality = format!(
                    "[modality.{name}]\nkind = \"image\"\ncolumn = \"image\"\nchannels = {channels:?}\nmask_marks = \"good\"\nsize = \
                     {}\n{FLUXES}\n{}",
                    config.crop,
                    tokenizer(name, "image_codec", &config)?
                );
                Own::Run { modality, fitted: plain(channels.len()), parameters }
            }
            CodecClass::Field => {
                let config = read_field_config(folder)?;
                read_field(folder, &below)?;
                let modality = format!(
                    "[modality.{name}]\nkind = \"image\"\ncolumn = \"{}\"\nchannels = [\"map\"]\nmask = \"\"\nivar = \"\"\nsize = \
                     {}\n{FLUXES}\n{}",
                    kind.codec,
                    config.crop,
                    tokenizer(name, "field_codec", &config)?
                );
                Own::Run { modality, fitted: plain(1), parameters }
            }
            CodecClass::Spectrum => {
                let mut config = read_spectrum_config(folder)?;
                read_spectrum(folder, &below)?;
                // The transformer was trained with all tokens of every spectrum.
                config.skip_unmeasured = false;
                let last = config.wavelength_min + config.wavelength_step * config.samples.saturating_sub(1) as f64;
                let modality = format!(
                    "[modality.{name}]\nkind = \"spectrum\"\ncolumn = \"spectrum\"\ngrid = \"own\"\nwavelength_min = {:?}\nwavelength_max = \
                     {last:?}\nsamples = {}\nnormalise = \"none\"\nchannels = [\"normalised\"]\nclip = 1e6\nmin_coverage = 0.0\n\n{}",
                    config.wavelength_min,
                    config.samples,
                    tokenizer(name, "spectrum_codec", &config)?
                );
                Own::Run { modality, fitted: Value::Null, parameters }
            }
            CodecClass::Quantiles | CodecClass::LogQuantiles | CodecClass::Several | CodecClass::Grid => {
                scalars(kind, folder)?
            }
            CodecClass::Catalogue => {
                return Err(crate::config::unfit(folder, "catalogues of sources are not imported"));
            }
        };
        Ok(Self { kind, own })
    }

    /// Its table in the config of the model that will be in `out`.
    pub(super) fn table(&self, out: &Path) -> String {
        let name = self.kind.name();
        match &self.own {
            Own::Run { .. } => {
                let codec = out.join("codecs").join(name);
                format!(
                    "[modality.{name}]\ncodec = {}\npositions = \"index\"\n",
                    toml_text(&codec.display().to_string())
                )
            }
            Own::Inline { modality, .. } => modality.clone(),
        }
    }
}

/// Keys of images whose values stay the fluxes of the data.
const FLUXES: &str = "scaling = \"linear\"\nsoftening = 1.0\nbackground = \"none\"\nstandardise = false\n";

/// What a modality of images learns that leaves its values as they are.
fn plain(channels: usize) -> Value {
    json!({ "channels": vec![json!({ "mean": 0.0, "deviation": 1.0 }); channels] })
}

fn tokenizer(name: &str, kind: &str, config: &impl Serialize) -> Result<String> {
    let mut table = toml::Table::try_from(config).map_err(|e| wrong(name, &e))?;
    table.insert("kind".into(), kind.into());
    // From the top, so that tables within it have their full names.
    let within = |key: &str, inner: toml::Table| toml::Table::from_iter([(key.to_owned(), toml::Value::Table(inner))]);
    let text = toml::to_string(&within("modality", within(name, within("tokenizer", table))));
    text.map_err(|e| wrong(name, &e))
}

fn wrong(name: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Plugin { kind: "codec", name: name.into(), reason: error.to_string() }
}

/// A string of TOML.
pub(super) fn toml_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn scalars(kind: &AionKind, folder: &Path) -> Result<Own> {
    let codec = Scalars::read(folder, kind.class)?;
    let columns = codec.columns();
    let column = kind.codec;
    let several = kind.class == CodecClass::Several;
    let names: Vec<String> =
        if several { (0..columns.len()).map(|i| format!("{column}[{i}]")).collect() } else { vec![column.to_owned()] };
    let length = if several { format!(", length = {}", columns.len()) } else { String::new() };
    let first = columns.first().ok_or_else(|| wrong(kind.name(), &"has no columns"))?;
    let modality = format!(
        "[modality.{}]\nkind = \"table\"\npositions = \"index\"\ncolumns = {{ {} = {{ scale = \"none\"{length} }} }}\ntokenizer = {{ {} }}\n",
        kind.name(),
        toml_text(column),
        codes(first, kind.class)?
    );
    let fixed: serde_json::Map<String, Value> = names.iter().map(|name| (name.clone(), json!("fixed"))).collect();
    let fitted = json!({ "columns": fixed });
    let codes = Codes::fitted_of(names.iter().map(String::as_str).zip(columns));
    Ok(Own::Inline { modality, fitted, codes })
}

/// Keys of the tokenizer that would make such codes from data.
fn codes(codec: &ScalarCodec, class: CodecClass) -> Result<String> {
    let size = codec.vocabulary();
    if class == CodecClass::Grid {
        let steps = codec.codebook().steps();
        let [from, to] = [steps.first(), steps.last()].map(|step| step.copied().unwrap_or_default());
        return Ok(format!("kind = \"grid_codes\", codes = {size}, from = {from:?}, to = {to:?}"));
    }
    let more = match codec.compression() {
        Compression::Functions { compress, decompress } => {
            let list = |functions| serde_json::to_string(functions).map_err(|e| wrong("functions", &e));
            format!(", compress = {}, decompress = {}", list(compress)?, list(decompress)?)
        }
        Compression::None => String::new(),
        Compression::Log { least, .. } => format!(", log_from = {least:?}"),
    };
    Ok(format!("kind = \"quantile_codes\", codes = {size}{more}"))
}
