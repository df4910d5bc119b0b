//! A codec that was trained in a run of its own: `codec = "RUN"` in the table of a modality stands for the modality and the
//! tokenizer of that run, as they are after their training.

use super::Model;
use super::codes::{self, StoredCodes};
use super::part::Part;
use crate::metadata::{self, Metadata};
use crate::train::{CheckpointError, load_with, weights_of};
use crate::{Error, Experiment, Registry, Result, Section};
use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// The key in the table of a modality that names the run.
pub(super) const KEY: &str = "codec";

/// Below this are the parameters of the codecs of a model, by modality.
pub(super) const CODEC: &str = "codec";

/// The key that says which of the run's modalities is meant, if it has another name there.
const PART: &str = "part";

/// The folder of a run that holds copies of the codecs that it uses.
pub(crate) const FOLDER: &str = "codecs";

/// Where a codec comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trained {
    /// The run.
    pub(crate) run: PathBuf,
    /// Of its weights.
    sha256: String,
    /// Of its config, weights and all that it learned: the same wherever it is copied to.
    pub(super) identity: String,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    sha256: String,
}

impl Trained {
    /// Whether the run in `folder` has the same weights.
    pub(crate) fn is_in(&self, folder: &Path) -> bool {
        weights_of(folder).and_then(|weights| hash(&weights)).is_ok_and(|own| own == self.sha256)
    }

    pub(super) fn to_json(&self) -> Value {
        serde_json::json!(Kept { sha256: self.sha256.clone() })
    }

    /// Refuses a codec that is not the one that a checkpoint was trained with.
    pub(super) fn require_same(&self, modality: &str, kept: &Value) -> Result<()> {
        match serde_json::from_value::<Kept>(kept.clone()) {
            Ok(kept) if kept.sha256 == self.sha256 => Ok(()),
            _ => Err(CheckpointError::OtherCodec { modality: modality.into(), path: self.run.clone() }.into()),
        }
    }
}

/// The modality `name` with the codec that its table names.
///
/// # Errors
/// If that is no run, or has no such modality.
pub(super) fn part(
    name: &str,
    section: &Section,
    metadata: Metadata,
    experiment: &Experiment,
    registry: &Registry,
) -> Result<Part> {
    section.only(&[&[KEY, PART, codes::KEY][..], &metadata::KEYS[..]].concat())?;
    let path: PathBuf = section.get(KEY)?.unwrap_or_default();
    // A run keeps copies, so that it can be used wherever it is put.
    let copy = |run: &Path| Some(run.join(FOLDER).join(name)).filter(|copy| copy.is_dir());
    let run = match experiment.folder.as_deref().and_then(copy) {
        Some(copy) => copy,
        None if path.is_dir() => path,
        // A run goes on with its copy where the codec is gone.
        None => copy(&experiment.run.folder()).unwrap_or(path),
    };
    let (_, model, _) = load_with(&run, &[], Some(experiment.plugins.changed), registry, &Device::Cpu)
        .map_err(|error| section.reject(KEY, format!("must be the folder of a trained codec: {error}")))?;
    let sha256 = hash(&weights_of(&run)?)?;
    let asked: Option<String> = section.get(PART)?;
    let wanted = asked.clone().unwrap_or_else(|| name.to_owned());
    let known: Vec<String> = model.modalities().map(str::to_owned).collect();
    let place = match known.iter().position(|part| *part == wanted) {
        Some(place) => place,
        // With one modality there is no doubt which is meant.
        None if asked.is_none() && known.len() == 1 => 0,
        None => return Err(section.unknown_reference(PART, "modality of that run", &wanted, &known)),
    };
    let identity = model.identity(place)?;
    let Part { kinds, config, modality, tokenizer, .. } = model.into_parts().swap_remove(place);
    let part = Part::new(name, kinds, config, modality, tokenizer, metadata);
    let codes = StoredCodes::read(section, &part.tokens, &run, &identity)?;
    Ok(Part { trained: Some(Trained { run, sha256, identity }), codes, ..part })
}

impl Model {
    /// Hash of all that decides which codes the part at `place` gives.
    pub(super) fn identity(&self, place: usize) -> Result<String> {
        let Some(part) = self.parts.get(place) else { return Ok(String::new()) };
        if let Some(trained) = &part.trained {
            return Ok(trained.identity.clone());
        }
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        add(part.config.as_bytes());
        add(part.modality.fitted().to_string().as_bytes());
        add(part.tokenizer.fitted().to_string().as_bytes());
        // A plugin is as much of a codec as its weights.
        for (plugin, library) in &self.libraries {
            add(format!("{plugin} {} {}", library.version, library.sha256).as_bytes());
        }
        let prefix = format!("{CODEC}.{}.", part.name);
        for (name, parameter) in self.parameters.all() {
            let Some(name) = name.strip_prefix(&prefix) else { continue };
            let tensor = parameter.var.as_tensor().to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
            add(name.as_bytes());
            add(format!("{:?}", tensor.dims()).as_bytes());
            let values = tensor.flatten_all()?.to_vec1::<f32>()?;
            add(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
        }
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

fn hash(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    Ok(Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}
