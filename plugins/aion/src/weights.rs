//! The tensors of one file of weights, each taken once: a missing one, one too many and another shape are errors.

use candle_core::Tensor;
use panchroma_core::Result;
use panchroma_core::train::CheckpointError;
use panchroma_core::train::checkpoint::read_tensors;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is left of a file.
#[derive(Debug)]
pub struct Weights {
    path: PathBuf,
    tensors: BTreeMap<String, Tensor>,
}

impl Weights {
    /// Reads all tensors of a safetensors file.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_path_buf(), tensors: read_tensors(path)? })
    }

    /// The tensor `name`, which must have this shape.
    ///
    /// # Errors
    /// That name the file, the tensor and both shapes.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let tensor = self.take_any(name)?;
        if tensor.dims() != shape {
            return Err(CheckpointError::TensorShape {
                path: self.path.clone(),
                name: name.to_owned(),
                expected: shape.to_vec(),
                found: tensor.dims().to_vec(),
            }
            .into());
        }
        Ok(tensor)
    }

    /// The tensor `name`, whatever its shape.
    ///
    /// # Errors
    /// If there is none, or it was taken.
    pub fn take_any(&mut self, name: &str) -> Result<Tensor> {
        let missing = || CheckpointError::MissingTensor { path: self.path.clone(), name: name.to_owned() };
        Ok(self.tensors.remove(name).ok_or_else(missing)?)
    }

    /// Whether the file has a tensor `name` that was not taken yet.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses what was not taken.
    ///
    /// # Errors
    /// [`CheckpointError::ExtraTensor`] for the first.
    pub fn finish(self) -> Result<()> {
        match self.tensors.into_keys().next() {
            Some(name) => Err(CheckpointError::ExtraTensor { path: self.path, name }.into()),
            None => Ok(()),
        }
    }
}
