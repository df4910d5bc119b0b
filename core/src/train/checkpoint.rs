//! Checkpoints: safetensors for the numbers, JSON for the rest, complete or not there.

use super::CheckpointError;
use crate::data::Position;
use crate::{Error, Parameter, Result};
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What a checkpoint knows besides tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Version of this layout.
    pub version: u32,
    /// Version of Panchroma that wrote it.
    pub written_by: String,
    /// Optimizer steps taken.
    pub step: u64,
    /// Next batch to read. Random numbers are functions of seed, step and object, so this and
    /// `step` are all there is to their state.
    pub position: Position,
    /// What each modality learned from the training split.
    pub fitted: BTreeMap<String, Value>,
    /// Of the data.
    pub data_fingerprint: String,
    /// Lowest evaluation loss so far.
    pub best: Option<f64>,
}

/// Version of the layout that this code writes.
pub const VERSION: u32 = 1;

/// Writes `contents` so that `path` is either as before or complete.
///
/// # Errors
/// [`Error::Io`]; then nothing is left behind.
pub fn write_atomically(path: &Path, contents: &[u8]) -> Result<()> {
    let temporary = path.with_extension("partial");
    let result = File::create(&temporary)
        .and_then(|mut file| file.write_all(contents).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    result.map_err(|source| {
        // Best effort: the first error is the one to show.
        let _ = fs::remove_file(&temporary);
        Error::Io { action: "write", path: path.to_path_buf(), source }
    })
}

/// Writes the folder `step-NNNNNN` below `checkpoints` under a temporary name, then renames it, then
/// lets `latest` name it.
///
/// # Errors
/// [`Error::Io`]; then no checkpoint of that name exists, and `latest` is as before.
pub fn write(
    checkpoints: &Path,
    state: &State,
    model: &[(String, Tensor)],
    average: Option<&[(String, Tensor)]>,
    optimizer: &BTreeMap<String, Tensor>,
) -> Result<PathBuf> {
    let name = format!("step-{:06}", state.step);
    let path = checkpoints.join(&name);
    let temporary = checkpoints.join(format!(".{name}.partial"));
    let result = (|| {
        if temporary.exists() {
            fs::remove_dir_all(&temporary).map_err(Error::io("remove", &temporary))?;
        }
        fs::create_dir_all(&temporary).map_err(Error::io("create", &temporary))?;
        save(&temporary.join("model.safetensors"), model.iter().map(|(n, t)| (n.as_str(), t)))?;
        if let Some(average) = average {
            save(&temporary.join("average.safetensors"), average.iter().map(|(n, t)| (n.as_str(), t)))?;
        }
        save(&temporary.join("optimizer.safetensors"), optimizer.iter().map(|(n, t)| (n.as_str(), t)))?;
        let json = serde_json::to_vec_pretty(state).map_err(|e| unreadable(&path, &e))?;
        write_atomically(&temporary.join("state.json"), &json)?;
        if path.exists() {
            fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
        }
        fs::rename(&temporary, &path).map_err(Error::io("create", &path))?;
        sync_folder(checkpoints);
        write_atomically(&checkpoints.join("latest"), name.as_bytes())
    })();
    if result.is_err() {
        let _ = fs::remove_dir_all(&temporary);
    }
    result.map(|()| path)
}

/// Makes a rename in `folder` durable; where a system can't, the data itself is synced already.
fn sync_folder(folder: &Path) {
    let _ = File::open(folder).and_then(|f| f.sync_all());
}

fn save<'a>(path: &Path, tensors: impl Iterator<Item = (&'a str, &'a Tensor)>) -> Result<()> {
    let tensors: Vec<(&str, &Tensor)> = tensors.collect();
    let bytes = safetensors::serialize(tensors, None).map_err(|e| unreadable(path, &e))?;
    write_atomically(path, &bytes)
}

fn unreadable(path: &Path, reason: &dyn std::fmt::Display) -> Error {
    CheckpointError::Unreadable { path: path.to_path_buf(), reason: reason.to_string() }.into()
}

/// Reads all tensors of a file.
///
/// # Errors
/// [`CheckpointError::Unreadable`] if it is damaged.
pub fn read_tensors(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).map_err(|e| unreadable(path, &e))?;
    Ok(tensors.into_iter().collect())
}

/// Reads the state of the checkpoint in `folder`.
///
/// # Errors
/// [`CheckpointError::Unreadable`] if it is damaged or of a later version.
pub fn read_state(folder: &Path) -> Result<State> {
    let path = folder.join("state.json");
    let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
    let state: State = serde_json::from_slice(&bytes).map_err(|e| unreadable(&path, &e))?;
    if state.version != VERSION {
        let reason = format!("layout {} was written by Panchroma {}, this one reads {VERSION}", state.version, state.written_by);
        return Err(unreadable(&path, &reason));
    }
    Ok(state)
}

/// Sets `parameters` from the tensors of a file.
///
/// # Errors
/// If a tensor is missing, too many, or of another shape; then nothing was changed.
pub fn load_parameters(path: &Path, parameters: &[(String, Parameter)]) -> Result<()> {
    let mut tensors = read_tensors(path)?;
    let mut found = Vec::with_capacity(parameters.len());
    for (name, parameter) in parameters {
        let tensor = tensors
            .remove(name)
            .ok_or_else(|| CheckpointError::MissingTensor { path: path.to_path_buf(), name: name.clone() })?;
        let expected = parameter.var.as_tensor();
        if tensor.dims() != expected.dims() {
            return Err(CheckpointError::TensorShape {
                path: path.to_path_buf(),
                name: name.clone(),
                expected: expected.dims().to_vec(),
                found: tensor.dims().to_vec(),
            }
            .into());
        }
        found.push(tensor.to_dtype(expected.dtype())?.to_device(expected.device())?);
    }
    if let Some(name) = tensors.keys().next() {
        return Err(CheckpointError::ExtraTensor { path: path.to_path_buf(), name: name.clone() }.into());
    }
    for ((_, parameter), tensor) in parameters.iter().zip(found) {
        parameter.var.set(&tensor)?;
    }
    Ok(())
}

/// The folder of the newest complete checkpoint: what `latest` names, else the highest step.
#[must_use]
pub fn latest(checkpoints: &Path) -> Option<PathBuf> {
    let named = fs::read_to_string(checkpoints.join("latest")).ok().map(|name| checkpoints.join(name.trim()));
    named.filter(|p| p.join("state.json").is_file()).or_else(|| complete(checkpoints).pop())
}

/// All complete checkpoints, oldest first.
fn complete(checkpoints: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(checkpoints)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("step-")))
        .filter(|p| p.join("state.json").is_file())
        .collect();
    found.sort();
    found
}

/// Removes all but the newest `keep` checkpoints, and never one that `best` names.
///
/// # Errors
/// [`Error::Io`] if one can't be removed.
pub fn prune(checkpoints: &Path, keep: usize) -> Result<()> {
    let best = fs::read_to_string(checkpoints.join("best")).ok();
    let mut all = complete(checkpoints);
    all.truncate(all.len().saturating_sub(keep));
    for path in all {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
        if name.is_some() && name.as_deref() == best.as_deref().map(str::trim) {
            continue;
        }
        fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
    }
    Ok(())
}
