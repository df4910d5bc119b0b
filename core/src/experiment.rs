//! One experiment: the whole config as typed tables, checked before anything is built.

use crate::config::{Document, Section};
use crate::data::DataConfig;
use crate::evaluate::{EvaluateConfig, PredictTask, ProbeTask};
use crate::train::TrainConfig;
use crate::{PluginsConfig, Registry, Result};
use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `[run]`: what the run is called and where it goes.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Name of the run, for the report and the default output folder.
    pub name: String,
    /// Seed of everything random. Same seed, same data, same machine: same weights to the bit.
    #[serde(default)]
    pub seed: u64,
    /// Folder that the run writes. Default: `runs/NAME`.
    #[serde(default)]
    pub output: Option<PathBuf>,
}

impl RunConfig {
    /// The run's folder.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.output.clone().unwrap_or_else(|| PathBuf::from("runs").join(&self.name))
    }
}

/// Every table that a config may have, so that a typo in a table's name is an error.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the names of the fields count")]
struct Tables {
    run: IgnoredAny,
    data: IgnoredAny,
    modality: IgnoredAny,
    train: IgnoredAny,
    /// Not in a config that trains codecs.
    #[serde(default)]
    trunk: Option<IgnoredAny>,
    #[serde(default)]
    head: Option<IgnoredAny>,
    #[serde(default)]
    evaluate: Option<IgnoredAny>,
    #[serde(default)]
    probe: Option<IgnoredAny>,
    #[serde(default)]
    predict: Option<IgnoredAny>,
    #[serde(default)]
    plugins: Option<IgnoredAny>,
}

/// A config, read and checked as far as that goes without building plugins.
pub struct Experiment {
    /// The resolved document.
    pub document: Document,
    /// `[run]`.
    pub run: RunConfig,
    /// `[data]`.
    pub data: DataConfig,
    /// `[train]`.
    pub train: TrainConfig,
    /// `[evaluate]`.
    pub evaluate: EvaluateConfig,
    /// `[probe.*]`.
    pub probes: Vec<ProbeTask>,
    /// `[predict.*]`.
    pub predictions: Vec<PredictTask>,
    /// `[plugins]`.
    pub plugins: PluginsConfig,
    /// The run that it was read from, if it was.
    pub folder: Option<PathBuf>,
}

impl Experiment {
    /// Reads the tables of `document`.
    ///
    /// # Errors
    /// A config error at the key that caused it.
    pub fn read(document: Document, registry: &Registry) -> Result<Self> {
        let root = document.root();
        let _: Tables = root.read_plain()?;
        let table =
            |key: &str| -> Result<Section> { root.section(key)?.ok_or_else(|| root.reject(key, "must be a table")) };
        let run_table = table("run")?;
        let run: RunConfig = run_table.read_plain()?;
        if run.name.is_empty() || run.name.contains(['/', '\\']) || run.name.starts_with('.') {
            return Err(run_table.reject("name", "must be a plain name, usable as that of a folder"));
        }
        let modalities: Vec<String> = root.sections("modality")?.into_iter().map(|(name, _)| name).collect();
        if modalities.is_empty() {
            return Err(root.reject("modality", "must name at least one modality, as `[modality.NAME]`"));
        }
        let evaluate = match root.section("evaluate")? {
            Some(section) => EvaluateConfig::read(&section)?,
            None => EvaluateConfig::default(),
        };
        let probes = root
            .sections("probe")?
            .into_iter()
            .map(|(name, section)| ProbeTask::read(name, &section, &modalities, registry))
            .collect::<Result<_>>()?;
        let predictions = root
            .sections("predict")?
            .into_iter()
            .map(|(name, section)| PredictTask::read(name, &section, &modalities, registry))
            .collect::<Result<_>>()?;
        let data = DataConfig::read(&table("data")?)?;
        let train = TrainConfig::read(&table("train")?)?;
        let plugins = PluginsConfig::of(&document)?;
        Ok(Self { run, data, train, evaluate, probes, predictions, plugins, document, folder: None })
    }

    /// The whole config.
    #[must_use]
    pub fn root(&self) -> Section {
        self.document.root()
    }
}
