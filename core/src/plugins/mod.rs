//! Plugins in shared libraries, as far as the framework has to know of them: `[plugins]` of a config, which library a
//! kind comes from, and what can go wrong there. What finds and loads them is a crate of its own.

mod error;
mod raised;

pub use error::{PluginCall, PluginError};
pub use raised::{raise, raised};

use crate::config::Document;
use crate::{Result, Section};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// `[plugins]`: where shared libraries are, and how far they are trusted.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PluginsConfig {
    /// Libraries, their manifests, or folders of them, by their whole path. Searched before those in PANCHROMA_PLUGIN_PATH; nothing
    /// else is.
    #[serde(default)]
    pub paths: Vec<PathBuf>,
    /// If not empty, only these libraries are loaded: name of the plugin, and sha256 of its file.
    #[serde(default)]
    pub allow: Vec<Allowed>,
    /// Run plugins in child processes, so that one that crashes or hangs becomes an error: `true`, or a list of names of plugins.
    /// Heads and tokenizers with parameters can't be isolated.
    #[serde(default)]
    pub isolate: Isolate,
    /// Seconds that a call of an isolated plugin may take, for one batch.
    #[serde(default = "default_time_limit")]
    pub time_limit: f64,
    /// What happens to a value that a plugin calls valid and that is NaN or infinite.
    #[serde(default)]
    pub not_finite: NotFinitePolicy,
    /// What happens if a plugin's version or file is not that of the checkpoint.
    #[serde(default)]
    pub changed: ChangedPolicy,
}

fn default_time_limit() -> f64 {
    60.0
}

/// One entry of the allow-list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    /// Name of the plugin.
    pub name: String,
    /// SHA-256 of the library's file, 64 hexadecimal digits; `panchroma plugins list` prints it.
    pub sha256: String,
}

/// Which plugins run in child processes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Isolate {
    /// All or none.
    All(bool),
    /// Those of these names.
    Only(Vec<String>),
}

impl Default for Isolate {
    fn default() -> Self {
        Self::All(false)
    }
}

impl Isolate {
    /// Whether the plugin `name` is among them.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::All(all) => *all,
            Self::Only(names) => names.iter().any(|n| n == name),
        }
    }
}

/// What happens to a value that should be finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotFinitePolicy {
    /// An error that names plugin, field and object.
    #[default]
    Error,
    /// It counts as not measured.
    Invalid,
}

/// What happens if a plugin is not the one that a checkpoint was made with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangedPolicy {
    /// An error that says what changed.
    #[default]
    Error,
    /// The new one is used.
    Accept,
}

impl PluginsConfig {
    /// `[plugins]` of a config, checked; the defaults if there is none.
    ///
    /// # Errors
    /// A config error at the key that caused it.
    pub fn of(document: &Document) -> Result<Self> {
        match document.root().section("plugins")? {
            None => Ok(Self { time_limit: default_time_limit(), ..Self::default() }),
            Some(section) => Self::read(&section),
        }
    }

    fn read(section: &Section) -> Result<Self> {
        let config: Self = section.read_plain()?;
        if let Some(path) = config.paths.iter().find(|path| !path.is_absolute()) {
            let reason = format!(
                "`{}` must be a whole path, from `/`: a relative one would depend on the folder where the command runs",
                path.display()
            );
            return Err(section.reject("paths", reason));
        }
        for (number, path) in config.paths.iter().enumerate() {
            if config.paths.iter().take(number).any(|other| other == path) {
                return Err(section.reject("paths", format!("must not have `{}` twice", path.display())));
            }
        }
        for allowed in &config.allow {
            if allowed.sha256.len() != 64 || !allowed.sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
                let reason = format!("`sha256` of `{}` must have 64 hexadecimal digits", allowed.name);
                return Err(section.reject("allow", reason));
            }
        }
        if !(config.time_limit > 0.0 && config.time_limit <= 86_400.0) {
            return Err(section.reject("time_limit", "must be above 0 and at most 86400 seconds"));
        }
        Ok(config)
    }

    /// The time that an isolated call may take.
    #[must_use]
    pub fn limit(&self) -> Duration {
        Duration::from_secs_f64(self.time_limit.clamp(0.001, 86_400.0))
    }
}

/// A shared library that plugins come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Library {
    /// Name of the plugin.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SPDX expression of its licence.
    pub license: String,
    /// Who answers for it.
    pub publisher: String,
    /// The file.
    pub path: PathBuf,
    /// Of the file.
    pub sha256: String,
}

/// What a checkpoint remembers of a [`Library`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryId {
    /// Its version.
    pub version: String,
    /// Of its file.
    pub sha256: String,
}

impl From<&Library> for LibraryId {
    fn from(library: &Library) -> Self {
        Self { version: library.version.clone(), sha256: library.sha256.clone() }
    }
}

impl std::fmt::Display for LibraryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (sha256 {})", self.version, self.sha256.get(..12).unwrap_or(&self.sha256))
    }
}
