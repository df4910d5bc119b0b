//! What can go wrong with a plugin of a shared library.

use std::path::PathBuf;

/// A fault of a shared library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// It can't be loaded, or isn't what it says.
    #[error("can't load the plugin `{}`: {reason}", path.display())]
    Load {
        /// The library, its manifest, or what should be one.
        path: PathBuf,
        /// Why.
        reason: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A call failed, or what it gave breaks a promise.
    #[error("{call}{}: {reason}", object.as_ref().map_or_else(String::new, |o| format!(", object `{o}`")))]
    Call {
        /// What was called.
        call: PluginCall,
        /// The object that it is about, if that is known.
        object: Option<String>,
        /// Number of its row in the batch.
        row: Option<usize>,
        /// What happened.
        reason: String,
        /// Whether it ended or hung the child process in which it ran.
        crash: bool,
    },
}

/// Where in a plugin something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginCall {
    /// The plugin.
    pub plugin: String,
    /// Its kind as users name it: `modality`, `tokenizer`, `head`.
    pub kind: &'static str,
    /// What users write after `kind =`.
    pub component: String,
    /// The function of the interface.
    pub function: &'static str,
}

impl std::fmt::Display for PluginCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "plugin `{}`, {} `{}`, {}", self.plugin, self.kind, self.component, self.function)
    }
}

impl PluginError {
    /// Names the object, where only the number of its row is known; `ids` are the batch's.
    #[must_use]
    pub fn of_rows(mut self, ids: &[String]) -> Self {
        if let Self::Call { object, row: Some(row), .. } = &mut self
            && object.is_none()
        {
            *object = ids.get(*row).cloned();
        }
        self
    }

    /// Says who named what can't be loaded.
    #[must_use]
    pub fn named_by(mut self, source: &str) -> Self {
        if let Self::Load { reason, .. } = &mut self {
            *reason = format!("{reason} (named by {source})");
        }
        self
    }

    /// The object that it is about.
    #[must_use]
    pub fn object(&self) -> Option<&str> {
        match self {
            Self::Load { .. } => None,
            Self::Call { object, .. } => object.as_deref(),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Load { hint, .. } => hint.clone(),
            Self::Call { object: Some(_), .. } => Some(
                "`data.bad_rows = \"absent\"` leaves out such objects and goes on; `panchroma plugins check FILE` tests the plugin"
                    .into(),
            ),
            Self::Call { crash: true, .. } => Some(
                "`panchroma plugins check FILE` tests the plugin; `train --resume` goes on from the last checkpoint".into(),
            ),
            Self::Call { .. } => Some(
                "if config and data are as they should be, it is the plugin: `panchroma plugins check FILE` tests it".into(),
            ),
        }
    }
}
