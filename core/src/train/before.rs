//! The run that a training starts from: `train.from`.

use super::checkpoint::{self, State};
use super::run::weights_of;
use crate::{Model, Result};
use std::path::{Path, PathBuf};

/// Another run's weights, and what its modalities had learned.
pub(super) struct Before {
    weights: PathBuf,
    state: State,
}

impl Before {
    /// Reads the newest checkpoint of `run`.
    pub(super) fn open(run: &Path) -> Result<Self> {
        let weights = weights_of(run)?;
        let state = checkpoint::read_state(weights.parent().unwrap_or(run))?;
        Ok(Self { weights, state })
    }

    /// Whether it knows every modality of `model`, so that nothing is to be learned from the data first.
    pub(super) fn has_all(&self, model: &Model) -> bool {
        model.modalities().all(|name| self.state.fitted.contains_key(name))
    }

    /// Gives `model` what it has of it.
    pub(super) fn give(self, model: &mut Model) -> Result<()> {
        let mut fitted = model.fitted();
        // What it knows of a modality that the model does not have is left.
        let known: Vec<String> = model.modalities().map(str::to_owned).collect();
        let own = |key: &String| known.iter().any(|name| key.split('.').next() == Some(name));
        fitted.extend(self.state.fitted.into_iter().filter(|(key, _)| own(key)));
        model.restore(&fitted)?;
        checkpoint::load_common(&self.weights, &model.parameters().all())
    }
}
