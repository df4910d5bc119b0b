//! What all codecs read: a config, and numbers of a file of weights.

use crate::weights::Weights;
use candle_core::{DType, Tensor};
use panchroma_core::{Error, Result};
use serde::de::DeserializeOwned;
use std::path::Path;

/// Reads a `config.json`. Keys that it does not know are left aside, as the Python package does.
///
/// # Errors
/// If it can't be read, or a key is missing or of another type, with its path.
pub(crate) fn config<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let text = std::fs::read_to_string(file).map_err(Error::io("read", file))?;
    serde_json::from_str(&text).map_err(|error| Error::Plugin {
        kind: "file",
        name: file.display().to_string(),
        reason: error.to_string(),
    })
}

/// A tensor of real numbers, as f32.
///
/// # Errors
/// If there is none, or it has another shape or kind of number; with the file, the tensor and both.
pub(crate) fn real(weights: &mut Weights, name: &str, shape: &[usize]) -> Result<Tensor> {
    let tensor = weights.take(name, shape)?;
    if !tensor.dtype().is_float() {
        return Err(wrong(weights, name, "real numbers".into(), tensor.dtype().as_str().into()));
    }
    Ok(tensor.to_dtype(DType::F32)?)
}

/// As [`real`], row by row.
///
/// # Errors
/// As [`real`].
pub(crate) fn values(weights: &mut Weights, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    Ok(real(weights, name, shape)?.flatten_all()?.to_vec1()?)
}

/// As [`values`], of whole numbers.
///
/// # Errors
/// As [`real`].
pub(crate) fn whole(weights: &mut Weights, name: &str, shape: &[usize]) -> Result<Vec<i64>> {
    let tensor = weights.take(name, shape)?;
    if !tensor.dtype().is_int() {
        return Err(wrong(weights, name, "whole numbers".into(), tensor.dtype().as_str().into()));
    }
    Ok(tensor.to_dtype(DType::I64)?.flatten_all()?.to_vec1()?)
}

/// A tensor holds other numbers than it should.
pub(crate) fn wrong(weights: &Weights, name: &str, expected: String, found: String) -> Error {
    Error::Shape { part: format!("`{}`, tensor `{name}`", weights.path().display()), expected, found }
}
