//! The published codecs of scalars: bins of reservoirs, of their logarithms, of several coefficients, and a grid.

use crate::modalities::CodecClass;
use crate::read;
use crate::weights::Weights;
use candle_core::Tensor;
use panchroma_core::{Codebook, Error, Result};
use panchroma_table::codec::{Compression, Function, MultiScalarCodec, ScalarCodec};
use serde::Deserialize;
use std::path::Path;

/// A codec of one or several numbers per object.
#[derive(Clone, Debug)]
pub enum Scalars {
    /// `[..]` to `[..]`.
    One(ScalarCodec),
    /// `[B, C]` to `[B, C]`.
    Several(MultiScalarCodec),
}

#[derive(Debug, Deserialize)]
struct Config {
    codebook_size: usize,
    reservoir_size: Option<usize>,
    min_log_value: Option<f64>,
    #[serde(default)]
    compression_fns: Vec<Function>,
    #[serde(default)]
    decompression_fns: Vec<Function>,
    num_quantizers: Option<usize>,
}

impl Scalars {
    /// Reads `config.json` and `model.safetensors` of `folder`, for a class of scalars.
    ///
    /// # Errors
    /// For another class, if a file can't be read, or a tensor is missing, left over, or of another shape than the config says; with the file, the tensor and
    /// both shapes.
    pub fn read(folder: &Path, class: CodecClass) -> Result<Self> {
        let file = folder.join("config.json");
        let config: Config = read::config(&file)?;
        let needed = |key: &str, value: Option<usize>| {
            value.ok_or_else(|| Error::Shape {
                part: format!("`{}`", file.display()),
                expected: format!("key `{key}`"),
                found: "no such key".into(),
            })
        };
        let mut weights = Weights::open(&folder.join("model.safetensors"))?;
        // Some files were written before the attribute was renamed.
        let old =
            ["buckets", "_reservoir", "quantizers.0._reservoir"].iter().any(|n| weights.has(&format!("quantizer.{n}")));
        let part = if old { "quantizer" } else { "_quantizer" };
        let size = config.codebook_size;
        let read = match class {
            CodecClass::Grid => {
                let steps = codebook(&mut weights, &format!("{part}.buckets"), size)?;
                Self::One(ScalarCodec::new(Compression::None, steps)?)
            }
            CodecClass::Quantiles | CodecClass::LogQuantiles => {
                let compression = match class {
                    CodecClass::LogQuantiles => Compression::log(config.min_log_value.unwrap_or(-3.0)),
                    _ => Compression::None,
                };
                let samples = needed("reservoir_size", config.reservoir_size)?;
                Self::One(ScalarCodec::new(compression, reservoir(&mut weights, part, size, samples)?)?)
            }
            CodecClass::Several => {
                let samples = needed("reservoir_size", config.reservoir_size)?;
                let compression = Compression::Functions {
                    compress: config.compression_fns.clone(),
                    decompress: config.decompression_fns.clone(),
                };
                let column = |number: usize| {
                    let name = format!("{part}.quantizers.{number}");
                    ScalarCodec::new(compression.clone(), reservoir(&mut weights, &name, size, samples)?)
                };
                let columns = (0..needed("num_quantizers", config.num_quantizers)?).map(column);
                Self::Several(MultiScalarCodec::new(columns.collect::<Result<_>>()?)?)
            }
            other => {
                return Err(Error::Shape {
                    part: format!("`{}`", folder.display()),
                    expected: "a codec of scalars".into(),
                    found: format!("{other:?}"),
                });
            }
        };
        weights.finish()?;
        Ok(read)
    }

    /// Values f32 -> codes u32 of the same shape.
    ///
    /// # Errors
    /// If the shape or type does not fit.
    pub fn encode(&self, values: &Tensor) -> Result<Tensor> {
        match self {
            Self::One(codec) => codec.encode(values),
            Self::Several(codec) => codec.encode(values),
        }
    }

    /// Codes (u32 or i64) -> values f32 of the same shape.
    ///
    /// # Errors
    /// If the shape does not fit, or a code is out of the vocabulary.
    pub fn decode(&self, codes: &Tensor) -> Result<Tensor> {
        match self {
            Self::One(codec) => codec.decode(codes),
            Self::Several(codec) => codec.decode(codes),
        }
    }

    /// The codec of each number.
    #[must_use]
    pub fn columns(&self) -> &[ScalarCodec] {
        match self {
            Self::One(codec) => std::slice::from_ref(codec),
            Self::Several(codec) => codec.columns(),
        }
    }
}

/// The bins of one reservoir. The reservoir itself is what they were made from, and not needed.
pub(crate) fn reservoir(weights: &mut Weights, name: &str, size: usize, samples: usize) -> Result<Codebook> {
    read::real(weights, &format!("{name}._reservoir"), &[samples])?;
    codebook(weights, &format!("{name}._index_to_val"), size)
}

fn codebook(weights: &mut Weights, name: &str, size: usize) -> Result<Codebook> {
    Codebook::new(read::values(weights, name, &[size])?).map_err(|error| match error {
        Error::Shape { expected, found, .. } => read::wrong(weights, name, expected, found),
        other => other,
    })
}
