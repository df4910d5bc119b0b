//! Codecs of numbers: a value becomes a code, a code the value that it stands for.
//!
//! [`ScalarCodec`] is one number per object: a [`Compression`] (`compression`), then the bins of a
//! [`panchroma_core::Codebook`], at quantiles of the training values or at equal steps. [`MultiScalarCodec`] is several numbers per object
//! with a codebook each, such as the coefficients of a spectrum. Numbers are f32 throughout, and codes those of AION-1's scalar codecs
//! (Parker et al. 2025, section 3.2).

mod compression;
mod sources;
#[cfg(test)]
mod tests;

pub use compression::{Compression, Function};
pub use sources::{SourceField, SourcesCodec};

use candle_core::{DType, Device, Tensor};
use panchroma_core::codebook::Codebook;
use panchroma_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// One number per object as one code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Kept", into = "Kept")]
pub struct ScalarCodec {
    compression: Compression,
    codebook: Codebook,
    /// What codes are decoded to, in the unit of the values.
    values: Vec<f32>,
}

/// A codec as text.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    compression: Compression,
    codebook: Codebook,
    values: Vec<f32>,
}

impl From<ScalarCodec> for Kept {
    fn from(codec: ScalarCodec) -> Self {
        Self { compression: codec.compression, codebook: codec.codebook, values: codec.values }
    }
}

impl TryFrom<Kept> for ScalarCodec {
    type Error = Error;

    fn try_from(kept: Kept) -> Result<Self> {
        Self::new(kept.compression, kept.codebook)?.with_values(kept.values)
    }
}

impl ScalarCodec {
    /// Codes of `codebook`, which is in what `compression` gives; a code is decoded to the upper edge of its bin.
    ///
    /// # Errors
    /// If the functions of `compression` don't undo each other.
    pub fn new(compression: Compression, codebook: Codebook) -> Result<Self> {
        compression.check()?;
        let compression = compression.aligned(&codebook);
        let values = codebook.steps().iter().map(|step| compression.decompress(*step)).collect();
        Ok(Self { compression, codebook, values })
    }

    /// Bins at `size` quantiles of `sample`, the training values; a code is decoded to the median of the sample in its bin.
    ///
    /// # Errors
    /// If the sample is empty, or the functions of `compression` don't undo each other.
    pub fn fitted(compression: Compression, sample: &[f32], size: usize) -> Result<Self> {
        compression.check()?;
        let mut compressed: Vec<f32> = sample.iter().map(|x| compression.compress(*x)).collect();
        let codec = Self::new(compression, Codebook::quantiles(compressed.clone(), size)?)?;
        compressed.sort_by(f32::total_cmp);
        Ok(codec
            .centred(|bin| panchroma_core::codebook::quantile(&compressed, bin / size.saturating_sub(1).max(1) as f64)))
    }

    /// `size` bins at equal steps of what `compression` gives, from that of `from` to that of `to`; a code is decoded to the middle of its
    /// bin.
    ///
    /// # Errors
    /// If the functions of `compression` don't undo each other, or the range is empty.
    pub fn grid(compression: Compression, (from, to): (f32, f32), size: usize) -> Result<Self> {
        compression.check()?;
        let [low, high] = [from, to].map(|x| compression.compress(x));
        let codec = Self::new(compression, Codebook::linear(low, high, size)?)?;
        let step = f64::from(high - low) / size.saturating_sub(1).max(1) as f64;
        Ok(codec.centred(|bin| (f64::from(low) + bin * step) as f32))
    }

    /// Decodes to `at(c - 1/2)` for code `c`, and to the first step for the first code, whose bin has no width.
    fn centred(mut self, at: impl Fn(f64) -> f32) -> Self {
        for (code, value) in self.values.iter_mut().enumerate().skip(1) {
            *value = self.compression.decompress(at(code as f64 - 0.5));
        }
        self
    }

    /// Decodes code `c` to `values[c]` instead, in the unit of the values.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is not one per code.
    pub fn with_values(mut self, values: Vec<f32>) -> Result<Self> {
        if values.len() != self.codebook.len() {
            return Err(wrong("values of codes", format!("{}", self.codebook.len()), values.len()));
        }
        self.values = values;
        Ok(self)
    }

    /// Number of codes.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        self.codebook.len()
    }

    /// What comes before the bins.
    #[must_use]
    pub fn compression(&self) -> &Compression {
        &self.compression
    }

    /// The upper edges of the bins, compressed.
    #[must_use]
    pub fn codebook(&self) -> &Codebook {
        &self.codebook
    }

    /// The code of one value; NaN has the last code.
    #[must_use]
    pub fn code(&self, value: f32) -> u32 {
        self.codebook.code(self.compression.compress(value))
    }

    /// The value of one code; `None` if it is out of the vocabulary.
    #[must_use]
    pub fn value(&self, code: u32) -> Option<f32> {
        self.values.get(code as usize).copied()
    }

    /// The value that each code stands for.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// `[V + 1]`: the edges of the bins in the unit of the values, for histograms. The first bin has no known width.
    #[must_use]
    pub fn edges(&self) -> Vec<f32> {
        self.codebook.edges().into_iter().map(|edge| self.compression.decompress(edge)).collect()
    }

    /// Values -> codes, of any shape.
    ///
    /// # Errors
    /// If `values` is not f32.
    pub fn encode(&self, values: &Tensor) -> Result<Tensor> {
        let codes: Vec<u32> = numbers(values)?.into_iter().map(|value| self.code(value)).collect();
        Ok(Tensor::from_vec(codes, values.shape(), values.device())?)
    }

    /// Codes (u32 or i64) -> f32 values, of any shape.
    ///
    /// # Errors
    /// [`Error::Shape`] if a code is out of the vocabulary.
    pub fn decode(&self, codes: &Tensor) -> Result<Tensor> {
        let values = whole_numbers(codes)?.into_iter().map(|code| self.value_of(code)).collect::<Result<Vec<f32>>>()?;
        Ok(Tensor::from_vec(values, codes.shape(), codes.device())?)
    }

    fn value_of(&self, code: i64) -> Result<f32> {
        let value = u32::try_from(code).ok().and_then(|code| self.value(code));
        value.ok_or_else(|| wrong("codes of a scalar", format!("0 to {}", self.vocabulary() - 1), code))
    }
}

/// Several numbers per object, each with a codebook of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct MultiScalarCodec {
    columns: Vec<ScalarCodec>,
}

impl MultiScalarCodec {
    /// One codec per column.
    ///
    /// # Errors
    /// If there is none, or their vocabularies differ in size.
    pub fn new(columns: Vec<ScalarCodec>) -> Result<Self> {
        let Some(size) = columns.first().map(ScalarCodec::vocabulary) else {
            return Err(wrong("columns of a codec", "at least one".into(), 0));
        };
        if let Some(other) = columns.iter().find(|column| column.vocabulary() != size) {
            return Err(wrong("vocabulary of a column", size.to_string(), other.vocabulary()));
        }
        Ok(Self { columns })
    }

    /// Number of codes of each column.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        self.columns.first().map_or(0, ScalarCodec::vocabulary)
    }

    /// The codec of each column.
    #[must_use]
    pub fn columns(&self) -> &[ScalarCodec] {
        &self.columns
    }

    /// `[B, C]` f32 -> `[B, C]` u32.
    ///
    /// # Errors
    /// If the number of columns differs.
    pub fn encode(&self, values: &Tensor) -> Result<Tensor> {
        self.check(values)?;
        let codes = numbers(values)?.into_iter().zip(self.columns.iter().cycle()).map(|(x, column)| column.code(x));
        Ok(Tensor::from_vec(codes.collect::<Vec<u32>>(), values.shape(), values.device())?)
    }

    /// `[B, C]` u32 or i64 -> `[B, C]` f32.
    ///
    /// # Errors
    /// If the number of columns differs, or a code is out of the vocabulary.
    pub fn decode(&self, codes: &Tensor) -> Result<Tensor> {
        self.check(codes)?;
        let values = whole_numbers(codes)?.into_iter().zip(self.columns.iter().cycle());
        let values = values.map(|(code, column)| column.value_of(code)).collect::<Result<Vec<f32>>>()?;
        Ok(Tensor::from_vec(values, codes.shape(), codes.device())?)
    }

    fn check(&self, tensor: &Tensor) -> Result<()> {
        match tensor.dims() {
            [_, columns] if *columns == self.columns.len() => Ok(()),
            dims => Err(Error::Shape {
                part: "codec of several scalars".into(),
                expected: format!("[B, {}]", self.columns.len()),
                found: format!("{dims:?}"),
            }),
        }
    }
}

fn wrong(part: &str, expected: String, found: impl std::fmt::Display) -> Error {
    Error::Shape { part: part.into(), expected, found: found.to_string() }
}

/// The values of an f32 tensor, row by row.
pub(crate) fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    if tensor.dtype() != DType::F32 {
        return Err(wrong("values of a scalar codec", "f32".into(), tensor.dtype().as_str()));
    }
    Ok(tensor.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?)
}

/// The values of a tensor of codes, row by row.
pub(crate) fn whole_numbers(tensor: &Tensor) -> Result<Vec<i64>> {
    if !matches!(tensor.dtype(), DType::U32 | DType::I64 | DType::U8) {
        return Err(wrong("codes", "u32 or i64".into(), tensor.dtype().as_str()));
    }
    Ok(tensor.to_device(&Device::Cpu)?.flatten_all()?.to_dtype(DType::I64)?.to_vec1()?)
}
