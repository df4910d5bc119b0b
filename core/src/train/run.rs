//! The folder that a training writes, and how a trained model is taken from it.

use super::CheckpointError;
use super::checkpoint::{self, State, write_atomically};
use crate::config::Document;
use crate::data::writable;
use crate::model::CODECS;
use crate::plugins::ChangedPolicy;
use crate::{Error, Experiment, Model, Registry, Result};
use candle_core::Device;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The paths in a run.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
}

/// What training does when the folder holds a run already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    Refuse,
    Resume,
    Overwrite,
}

impl RunFolder {
    /// The run in `path`, which need not exist.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf() }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The resolved config.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// The checkpoints.
    #[must_use]
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// The final numbers.
    #[must_use]
    pub fn results(&self) -> PathBuf {
        self.path.join("results.json")
    }

    /// The page.
    #[must_use]
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// Checks that training may write here, without writing.
    pub(super) fn check(&self, experiment: &Experiment, existing: Existing) -> Result<()> {
        writable(&self.path)?;
        let exists = self.config().exists() || self.checkpoints().exists();
        match existing {
            Existing::Refuse if exists => Err(CheckpointError::RunExists { path: self.path.clone() }.into()),
            Existing::Resume if exists => self.same_config(experiment),
            Existing::Resume => Err(CheckpointError::NothingToResume { path: self.path.clone() }.into()),
            _ => Ok(()),
        }
    }

    /// Makes the folder, empty of an earlier run if that is to be replaced, and writes the config.
    pub(super) fn prepare(&self, experiment: &Experiment, existing: Existing) -> Result<()> {
        if existing == Existing::Overwrite {
            self.clear()?;
        }
        let checkpoints = self.checkpoints();
        fs::create_dir_all(&checkpoints).map_err(Error::io("create", &checkpoints))?;
        write_atomically(&self.config(), experiment.document.to_toml().as_bytes())
    }

    /// Copies the codecs that `model` takes from other runs, so that this run can be used without those.
    ///
    /// # Errors
    /// If a file can't be read or written.
    pub(super) fn keep_codecs(&self, model: &Model) -> Result<()> {
        for (modality, codec) in model.trained_codecs() {
            let own = Self::new(&self.path.join(CODECS).join(modality));
            if own.path == codec.run || codec.is_in(&own.path) {
                continue;
            }
            let weights = weights_of(&codec.run)?;
            let from = weights.parent().unwrap_or(&codec.run);
            let name = from.file_name().unwrap_or_default();
            let partial = own.path.with_extension("partial");
            let to = Self::new(&partial).checkpoints().join(name);
            let _ = fs::remove_dir_all(&partial);
            fs::create_dir_all(&to).map_err(Error::io("create", &to))?;
            let mut copies = vec![(Self::new(&codec.run).config(), Self::new(&partial).config())];
            for file in [from.join("state.json"), weights.clone()] {
                copies.push((file.clone(), to.join(file.file_name().unwrap_or_default())));
            }
            for (file, copy) in copies {
                fs::copy(&file, &copy).map_err(Error::io("copy", &file))?;
            }
            if own.path.is_dir() {
                fs::remove_dir_all(&own.path).map_err(Error::io("remove", &own.path))?;
            }
            fs::rename(&partial, &own.path).map_err(Error::io("create", &own.path))?;
        }
        Ok(())
    }

    /// Removes what a run writes and nothing else: a wrong `run.output` must not cost anybody a folder. Copies of codecs stay, as the new run
    /// may have been made of them; [`Self::keep_codecs`] replaces those that it was not.
    fn clear(&self) -> Result<()> {
        let names = ["checkpoints", "log.jsonl", "results.json", "report.html", "report.json", "config.toml"];
        let mut written: Vec<PathBuf> = names.iter().map(|name| self.path.join(name)).collect();
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let events = entries.filter(|e| e.file_name().to_string_lossy().starts_with("events.out.tfevents."));
        written.extend(events.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "panchroma")));
        for path in written {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::Io { action: "remove", path, source: e });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A resumed run may be longer, save more often or read elsewhere; the rest must be the same.
    fn same_config(&self, experiment: &Experiment) -> Result<()> {
        const FREE: [&str; 13] = [
            "run.output",
            "run.name",
            "data.path",
            "data.also",
            "data.bad_rows",
            "train.max_steps",
            "train.checkpoint_every",
            "train.keep_checkpoints",
            "train.evaluate_every",
            "train.probe_every",
            "data.threads",
            "data.prefetch",
            "data.cache_mib",
        ];
        let before = flat(&Document::load(&self.config(), &[])?);
        let now = flat(&experiment.document);
        let free = |key: &str| {
            FREE.contains(&key) || ["probe.", "evaluate.", "plugins."].iter().any(|table| key.starts_with(table))
        };
        for key in before.keys().chain(now.keys()).filter(|k| !free(k)) {
            let show = |value: Option<&String>| value.map_or_else(|| "not set".into(), |v| format!("`{v}`"));
            let (was, is) = (before.get(key), now.get(key));
            if was != is {
                return Err(CheckpointError::OtherConfig {
                    path: self.path.clone(),
                    key: key.clone(),
                    was: show(was),
                    is: show(is),
                }
                .into());
            }
        }
        Ok(())
    }
}

/// Every value of a config by its dotted key.
fn flat(document: &Document) -> BTreeMap<String, String> {
    fn add(path: String, value: &toml::Value, flat: &mut BTreeMap<String, String>) {
        match value {
            toml::Value::Table(table) => {
                for (key, value) in table {
                    add(if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, value, flat);
                }
            }
            value => {
                flat.insert(path, value.to_string());
            }
        }
    }
    let mut values = BTreeMap::new();
    // What `to_toml` writes can be parsed: its own tests see to that.
    let table = document.to_toml().parse::<toml::Table>().unwrap_or_default();
    add(String::new(), &toml::Value::Table(table), &mut values);
    values
}

/// Refuses plugins that are not those of the checkpoint, unless the config accepts them.
///
/// # Errors
/// [`CheckpointError::OtherPlugin`] for the first.
pub(super) fn same_plugins(path: &Path, state: &State, model: &Model, policy: ChangedPolicy) -> Result<()> {
    for (plugin, is) in model.libraries().iter().filter(|_| policy == ChangedPolicy::Error) {
        let was = state.plugins.get(plugin);
        if was != Some(is) {
            let was = was.map_or_else(|| "not there".into(), ToString::to_string);
            let (path, plugin) = (path.to_path_buf(), plugin.clone());
            return Err(CheckpointError::OtherPlugin { path, plugin, was, is: is.to_string() }.into());
        }
    }
    Ok(())
}

/// A trained model with its config, from a run folder.
///
/// The weights are the moving average where the run kept one.
///
/// # Errors
/// If the folder is not a run, has no complete checkpoint, or the checkpoint is damaged or of
/// another model.
pub fn load_run(
    path: &Path,
    overrides: &[String],
    registry: &Registry,
    device: &Device,
) -> Result<(Experiment, Model, State)> {
    load_with(path, overrides, None, registry, device)
}

/// The same for a config that says itself what happens if plugins changed.
pub(crate) fn load_with(
    path: &Path,
    overrides: &[String],
    changed: Option<ChangedPolicy>,
    registry: &Registry,
    device: &Device,
) -> Result<(Experiment, Model, State)> {
    let run = RunFolder::new(path);
    if !run.config().is_file() {
        return Err(CheckpointError::NotARun { path: path.to_path_buf(), missing: "config.toml" }.into());
    }
    let mut experiment = Experiment::read(Document::load(&run.config(), overrides)?, registry)?;
    experiment.folder = Some(path.to_path_buf());
    let mut model = Model::new(&experiment, registry, device)?;
    let weights = weights_of(path)?;
    let state = checkpoint::read_state(weights.parent().unwrap_or(path))?;
    same_plugins(path, &state, &model, changed.unwrap_or(experiment.plugins.changed))?;
    model.restore(&state.fitted)?;
    checkpoint::load_parameters(&weights, &model.parameters().all())?;
    Ok((experiment, model, state))
}

/// The file of a run's weights: of the newest checkpoint, the moving average where the run kept one.
///
/// # Errors
/// If there is no complete checkpoint.
pub fn weights_of(run: &Path) -> Result<PathBuf> {
    let folder = checkpoint::latest(&RunFolder::new(run).checkpoints())
        .ok_or_else(|| CheckpointError::NoCheckpoint { path: run.to_path_buf() })?;
    let average = folder.join("average.safetensors");
    Ok(if average.is_file() { average } else { folder.join("model.safetensors") })
}
