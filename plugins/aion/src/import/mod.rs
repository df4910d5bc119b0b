//! A published folder becomes a run folder, which every command can use.
//!
//! Networks of codecs become runs of their own in `codecs/NAME`, as those of a codec that was trained here; quantiles and grids of
//! numbers go into the checkpoint, as those that a training has learned. Tokens are told apart by their number (`positions =
//! "index"`), with the published table of places.

mod parts;

use crate::config::unfit;
use crate::modalities::AionKind;
use crate::model::{AionModel, HEAD};
use candle_core::{Device, Tensor};
use panchroma_core::config::Document;
use panchroma_core::train::checkpoint::{self, State, VERSION, write_atomically};
use panchroma_core::train::{CheckpointError, RunFolder, load_run};
use panchroma_core::{Error, Experiment, Model, Parameter, Registry, Result};
use parts::{Own, Part, toml_text};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What to import, and where to.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// The published folder.
    pub from: PathBuf,
    /// The run folder to make.
    pub out: PathBuf,
    /// The catalogue that the run's config names.
    pub data: PathBuf,
    /// Leave out modalities whose codec is missing, instead of refusing.
    pub partial: bool,
}

/// A modality that was left out, and why.
#[derive(Clone, Debug, Serialize)]
pub struct LeftOut {
    /// Its name.
    pub modality: String,
    /// Why.
    pub reason: String,
}

/// What was imported.
#[derive(Clone, Debug, Serialize)]
pub struct Imported {
    /// The run folder.
    pub run: PathBuf,
    /// Modalities with their codecs.
    pub modalities: Vec<String>,
    /// Those of the transformer that the run does not have.
    pub left_out: Vec<LeftOut>,
    /// Numbers of the transformer.
    pub parameters: usize,
}

/// Imports a published folder.
///
/// # Errors
/// If a file can't be read, or does not fit its config; if a codec is missing, unless `partial`; if `out` exists.
pub fn import(options: &ImportOptions, registry: &Registry) -> Result<Imported> {
    let ImportOptions { from, out, data, partial } = options;
    if out.exists() {
        return Err(CheckpointError::RunExists { path: out.clone() }.into());
    }
    let published = AionModel::read(from, &Device::Cpu)?;
    let (parts, left_out) = read_parts(&published, from, *partial)?;
    let temporary = out.with_extension("partial");
    let _ = fs::remove_dir_all(&temporary);
    let written = Writing { published: &published, parts: &parts, folder: &temporary, out, data, registry }.write();
    if let Err(error) = written {
        let _ = fs::remove_dir_all(&temporary);
        return Err(error);
    }
    fs::rename(&temporary, out).map_err(Error::io("create", out))?;
    let (_, model, _) = load_run(out, &[], registry, &Device::Cpu)?;
    let numbers = model.parameters().all().iter().map(|(_, p)| p.var.elem_count()).sum();
    let modalities = parts.iter().map(|part| part.kind.name().to_owned()).collect();
    Ok(Imported { run: out.clone(), modalities, left_out, parameters: numbers })
}

/// The codecs of all kinds, and those kinds that go without.
fn read_parts(published: &AionModel, from: &Path, partial: bool) -> Result<(Vec<Part>, Vec<LeftOut>)> {
    let (mut parts, mut left_out, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for (kind, _) in &published.embed {
        let folder = from.join("codecs").join(kind.codec);
        let leave = |reason: String| LeftOut { modality: kind.name().into(), reason };
        if kind.is_sequence() {
            left_out.push(leave("is a sequence, whose tokens are counted among those that are given".into()));
        } else if folder.is_dir() {
            parts.push(Part::read(kind, &folder)?);
        } else {
            let reason = format!("has no codec `{}`", folder.display());
            missing.push(folder);
            left_out.push(leave(reason));
        }
    }
    match missing.first() {
        Some(first) if !partial => {
            let names: Vec<String> =
                missing.iter().filter_map(|folder| Some(folder.file_name()?.to_string_lossy().into_owned())).collect();
            let reason = format!(
                "codecs are missing: {}; `--partial` leaves out the modalities that need them",
                names.join(", ")
            );
            Err(unfit(first, &reason))
        }
        _ if parts.is_empty() => Err(unfit(from, "no modality has a codec")),
        _ => Ok((parts, left_out)),
    }
}

/// What goes into the run folder.
struct Writing<'a> {
    published: &'a AionModel,
    parts: &'a [Part],
    /// Where it is written.
    folder: &'a Path,
    /// Where it will be.
    out: &'a Path,
    data: &'a Path,
    registry: &'a Registry,
}

impl Writing<'_> {
    fn write(&self) -> Result<()> {
        for part in self.parts {
            if let Own::Run { modality, fitted, parameters } = &part.own {
                let name = part.kind.name();
                let run = RunFolder::new(&self.folder.join("codecs").join(name));
                let text = self.codec_config(name, modality);
                let tensors: Vec<(String, Tensor)> =
                    parameters.all().into_iter().map(|(name, p)| (name, p.var.as_tensor().clone())).collect();
                save(&run, &text, BTreeMap::from([(name.to_owned(), fitted.clone())]), &tensors)?;
            }
        }
        let run = RunFolder::new(self.folder);
        fs::create_dir_all(self.folder).map_err(Error::io("create", self.folder))?;
        let text = self.config();
        write_atomically(&run.config(), text.as_bytes())?;
        let mut experiment = Experiment::read(Document::load(&run.config(), &[])?, self.registry)?;
        experiment.folder = Some(self.folder.to_path_buf());
        let mut model = Model::new(&experiment, self.registry, &Device::Cpu)?;
        let mut fitted = model.fitted();
        for part in self.parts {
            if let Own::Inline { fitted: own, codes, .. } = &part.own {
                fitted.insert(part.kind.name().into(), own.clone());
                fitted.insert(format!("{}.tokenizer", part.kind.name()), codes.clone());
            }
        }
        model.restore(&fitted)?;
        let known: BTreeMap<String, Parameter> = self.published.parameters.all().into_iter().collect();
        let tensors = model.parameters().all().into_iter().map(|(name, parameter)| {
            let part = || format!("parameter `{name}`");
            let from = known.get(&name).ok_or_else(|| Error::Shape {
                part: part(),
                expected: "one of the published transformer".into(),
                found: "none".into(),
            })?;
            let (theirs, ours) = (from.var.dims(), parameter.var.dims());
            let of_codes = name.ends_with(".codes") || name.starts_with("head.");
            if of_codes && theirs.get(1) == ours.get(1) && theirs.first() > ours.first() {
                // The transformer knows a code more than the codec of redshifts ever gives: it was never trained.
                return Ok((name, from.var.narrow(0, 0, ours[0])?.contiguous()?));
            }
            if theirs != ours {
                return Err(Error::Shape {
                    part: part(),
                    expected: format!("{theirs:?} by the transformer"),
                    found: format!("{ours:?} by its codec"),
                });
            }
            Ok((name, from.var.as_tensor().clone()))
        });
        let tensors = tensors.collect::<Result<Vec<_>>>()?;
        save(&run, &text, fitted, &tensors)
    }

    fn data(&self) -> String {
        format!("[data]\npath = {}\nbad_rows = \"absent\"\n", toml_text(&self.data.display().to_string()))
    }

    /// The config of a codec's run.
    fn codec_config(&self, name: &str, modality: &str) -> String {
        format!(
            "# A codec of AION-1, as published. It is trained; to use it in another model: `codec = \"THIS FOLDER\"`.\n\n[run]\nname = \
             \"aion_{name}\"\n\n{}\n{modality}\n[train]\nbatch = 16\nmax_steps = 1\n",
            self.data()
        )
    }

    /// The config of the model.
    fn config(&self) -> String {
        let name = self.out.file_name().map_or_else(|| "aion".into(), |name| name.to_string_lossy().into_owned());
        let mut text = format!(
            "# AION-1 (Parker, Lanusse et al. 2025, arXiv:2510.17960), imported from its published weights: see docs/aion.md.\n# Columns are \
             those of the Multimodal Universe; set them to those of your catalogue. To train it further, copy\n# this file, name another run, \
             and say `from = {}` in [train].\n\n[run]\nname = {}\n\n{}",
            toml_text(&self.out.display().to_string()),
            toml_text(name.trim_start_matches('.')),
            self.data()
        );
        for part in self.parts {
            text.push_str(&format!("\n{}", part.table(self.out)));
        }
        let config = &self.published.config;
        let names = |keep: &dyn Fn(&AionKind) -> bool| -> String {
            let kept = self.parts.iter().map(|part| part.kind).filter(|kind| keep(kind));
            format!("{:?}", kept.map(AionKind::name).collect::<Vec<_>>())
        };
        text.push_str(&format!(
            "\n[trunk]\n{}\n[head.{HEAD}]\nkind = \"masked\"\ntargets = {}\nloss = \"logit\"\n\n[head.{HEAD}.masking]\nscheme = \
             \"aion\"\ninputs = [1, 256]\ntargets = [1, 128]\ninputs_from = {}\n\n[train]\nbatch = 64\nmax_steps = 1000\nlearning_rate = \
             1e-4\nwarmup_steps = 100\n",
            config.trunk(),
            names(&|kind| config.decodes(kind)),
            names(&|kind| config.encodes(kind)),
        ));
        text
    }
}

/// Writes config and checkpoint.
fn save(run: &RunFolder, config: &str, fitted: BTreeMap<String, Value>, tensors: &[(String, Tensor)]) -> Result<()> {
    let checkpoints = run.checkpoints();
    fs::create_dir_all(&checkpoints).map_err(Error::io("create", &checkpoints))?;
    write_atomically(&run.config(), config.as_bytes())?;
    let state = State {
        version: VERSION,
        written_by: env!("CARGO_PKG_VERSION").into(),
        plugins: BTreeMap::new(),
        step: 0,
        position: Default::default(),
        fitted,
        data_fingerprint: String::new(),
        best: None,
    };
    checkpoint::write(&checkpoints, &state, tensors, None, &BTreeMap::new()).map(|_| ())
}
