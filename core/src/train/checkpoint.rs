//! Checkpoints: safetensors for the numbers, JSON for the rest, complete or not there.

use super::CheckpointError;
use crate::data::Position;
use crate::{Error, LibraryId, Parameter, Result};
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
    /// Version and hash of each plugin of a shared library that the model uses, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub plugins: BTreeMap<String, LibraryId>,
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

/// The bytes of a file that a checkpoint can't be without.
fn read_file(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => unreadable(path, &"there is no such file"),
        _ => Error::Io { action: "read", path: path.to_path_buf(), source },
    })
}

/// Reads all tensors of a file.
///
/// # Errors
/// [`CheckpointError::Unreadable`] if it is damaged.
pub fn read_tensors(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let bytes = read_file(path)?;
    let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).map_err(|e| unreadable(path, &e))?;
    Ok(tensors.into_iter().collect())
}

/// Reads the tensors of a file, which must be those of `expected` by names and shapes; gives them in that order, in
/// the same type of number and on the same device.
///
/// # Errors
/// If the file is damaged, or a tensor is missing, too many, or of another shape.
pub fn read_like(path: &Path, expected: &[(String, Tensor)]) -> Result<Vec<(String, Tensor)>> {
    let mut tensors = read_tensors(path)?;
    let mut found = Vec::with_capacity(expected.len());
    for (name, expected) in expected {
        let tensor = tensors
            .remove(name)
            .ok_or_else(|| CheckpointError::MissingTensor { path: path.to_path_buf(), name: name.clone() })?;
        if tensor.dims() != expected.dims() {
            return Err(CheckpointError::TensorShape {
                path: path.to_path_buf(),
                name: name.clone(),
                expected: expected.dims().to_vec(),
                found: tensor.dims().to_vec(),
            }
            .into());
        }
        found.push((name.clone(), tensor.to_dtype(expected.dtype())?.to_device(expected.device())?));
    }
    match tensors.into_keys().next() {
        Some(name) => Err(CheckpointError::ExtraTensor { path: path.to_path_buf(), name }.into()),
        None => Ok(found),
    }
}

/// Reads the state of the checkpoint in `folder`.
///
/// # Errors
/// [`CheckpointError::Unreadable`] if it is damaged or of a later version.
pub fn read_state(folder: &Path) -> Result<State> {
    let path = folder.join("state.json");
    let bytes = read_file(&path)?;
    let state: State = serde_json::from_slice(&bytes).map_err(|e| unreadable(&path, &e))?;
    if state.version != VERSION {
        let State { version, written_by, .. } = state;
        return Err(CheckpointError::OtherLayout { path, written_by, version, expected: VERSION }.into());
    }
    Ok(state)
}

/// Sets `parameters` from the tensors of a file.
///
/// # Errors
/// If a tensor is missing, too many, or of another shape; then nothing was changed.
pub fn load_parameters(path: &Path, parameters: &[(String, Parameter)]) -> Result<()> {
    let like: Vec<(String, Tensor)> = parameters.iter().map(|(n, p)| (n.clone(), p.var.as_tensor().clone())).collect();
    for ((_, parameter), (_, tensor)) in parameters.iter().zip(read_like(path, &like)?) {
        parameter.var.set(&tensor)?;
    }
    Ok(())
}

/// Sets those of `parameters` that a file has, too.
///
/// # Errors
/// If one has another shape there, or there is none that both have.
pub(super) fn load_common(path: &Path, parameters: &[(String, Parameter)]) -> Result<()> {
    let mut tensors = read_tensors(path)?;
    let mut common = 0;
    for (name, Parameter { var, .. }) in parameters {
        let Some(tensor) = tensors.remove(name) else { continue };
        if tensor.dims() != var.dims() {
            return Err(CheckpointError::TensorShape {
                path: path.to_path_buf(),
                name: name.clone(),
                expected: var.dims().to_vec(),
                found: tensor.dims().to_vec(),
            }
            .into());
        }
        var.set(&tensor.to_dtype(var.dtype())?.to_device(var.device())?)?;
        common += 1;
    }
    if common == 0 { Err(unreadable(path, &"it has no parameter of this model")) } else { Ok(()) }
}

/// The folder of the newest complete checkpoint: what `latest` names, else the highest step.
#[must_use]
pub fn latest(checkpoints: &Path) -> Option<PathBuf> {
    let named = named(checkpoints, "latest").map(|name| checkpoints.join(name));
    named.filter(|p| p.join("state.json").is_file()).or_else(|| complete(checkpoints).pop().map(|(_, path)| path))
}

/// What the file `latest` or `best` says.
fn named(checkpoints: &Path, file: &str) -> Option<String> {
    fs::read_to_string(checkpoints.join(file)).ok().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// All complete checkpoints by their steps, oldest first.
fn complete(checkpoints: &Path) -> Vec<(u64, PathBuf)> {
    let mut found: Vec<(u64, PathBuf)> = folders(checkpoints)
        .filter_map(|(name, path)| Some((name.strip_prefix("step-")?.parse().ok()?, path)))
        .filter(|(_, path)| path.join("state.json").is_file())
        .collect();
    found.sort();
    found
}

fn folders(checkpoints: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    let entries = fs::read_dir(checkpoints).into_iter().flatten().flatten();
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
}

/// Removes all but the newest `keep` checkpoints, and what a killed run left of one; never what `latest` or `best`
/// names.
///
/// # Errors
/// [`Error::Io`] if one can't be removed.
pub fn prune(checkpoints: &Path, keep: usize) -> Result<()> {
    let named = ["latest", "best"].map(|file| named(checkpoints, file).map(|name| checkpoints.join(name)));
    let mut old = complete(checkpoints);
    old.truncate(old.len().saturating_sub(keep));
    let old = old.into_iter().map(|(_, path)| path).filter(|path| !named.iter().flatten().any(|n| n == path));
    let partial = folders(checkpoints).filter(|(name, path)| name.starts_with(".step-") && path.is_dir());
    for path in old.chain(partial.map(|(_, path)| path)) {
        fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with checkpoints of these steps, as far as their names go.
    fn folder(steps: &[u64]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for step in steps {
            let path = folder.path().join(format!("step-{step:06}"));
            fs::create_dir(&path).unwrap();
            fs::write(path.join("state.json"), "{}").unwrap();
        }
        folder
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = folders(folder).map(|(name, _)| name).collect();
        names.sort();
        names
    }

    #[test]
    fn steps_are_ordered_as_numbers() -> Result<()> {
        let folder = folder(&[999_999, 1_000_000, 5]);
        assert_eq!(latest(folder.path()), Some(folder.path().join("step-1000000")));
        prune(folder.path(), 1)?;
        assert_eq!(names(folder.path()), ["step-1000000"]);
        Ok(())
    }

    #[test]
    fn what_latest_and_best_name_is_kept() -> Result<()> {
        let folder = folder(&[1, 2, 3, 4]);
        write_atomically(&folder.path().join("best"), b"step-000001")?;
        // As after going on from step 2, where a damaged step 4 had been.
        write_atomically(&folder.path().join("latest"), b"step-000003")?;
        prune(folder.path(), 1)?;
        assert_eq!(names(folder.path()), ["best", "latest", "step-000001", "step-000003", "step-000004"]);
        assert_eq!(latest(folder.path()), Some(folder.path().join("step-000003")));
        Ok(())
    }

    #[test]
    fn half_written_checkpoints_do_not_count_and_go() -> Result<()> {
        let folder = folder(&[2]);
        for name in [".step-000004.partial", "step-000006"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        write_atomically(&folder.path().join("latest"), b"step-000006")?;
        assert_eq!(latest(folder.path()), Some(folder.path().join("step-000002")));
        prune(folder.path(), 1)?;
        assert_eq!(names(folder.path()), ["latest", "step-000002", "step-000006"]);
        Ok(())
    }
}
