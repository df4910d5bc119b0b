//! The one error type of the framework: what went wrong, where, why, and what to do about it.
//!
//! Every part has an enum of its own (`config::ConfigError`, `data::DataError`, ...), whose
//! variants hold data; this one joins them. `Display` says what and where, [`Error::hint`] what to
//! do, and [`Error::place`] gives the excerpt of the config that the message points at.

use crate::config::{ConfigError, Place, suggestion};
use crate::data::DataError;
use crate::device::DeviceError;
use crate::generate::GenerateError;
use crate::plugins::PluginError;
use crate::train::{CheckpointError, TrainError};
use std::path::{Path, PathBuf};

/// Result with the framework's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Anything that can go wrong, by the part that noticed it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The config is wrong; carries the place in the user's file.
    #[error(transparent)]
    Config(#[from] Box<ConfigError>),
    /// The data is wrong.
    #[error(transparent)]
    Data(#[from] Box<DataError>),
    /// A checkpoint or run folder is wrong.
    #[error(transparent)]
    Checkpoint(#[from] Box<CheckpointError>),
    /// Training can't go on.
    #[error(transparent)]
    Train(#[from] Box<TrainError>),
    /// The device that was asked for can't be had.
    #[error(transparent)]
    Device(#[from] Box<DeviceError>),
    /// What is to be generated can't be.
    #[error(transparent)]
    Generate(#[from] Box<GenerateError>),
    /// A plugin of a shared library is at fault.
    #[error(transparent)]
    Foreign(#[from] Box<PluginError>),
    /// Two plugins claim one name.
    #[error("two plugins register the {kind} `{name}`: {first} and {second}")]
    DuplicatePlugin {
        /// Kind of plugin, for example `modality`.
        kind: &'static str,
        /// The name that both claim.
        name: String,
        /// Where the first comes from.
        first: String,
        /// Where the second comes from.
        second: String,
    },
    /// Two parts disagree about a shape.
    #[error("{part}: expected {expected}, got {found}")]
    Shape {
        /// Which plugin, tensor or config key.
        part: String,
        /// What was expected.
        expected: String,
        /// What was there.
        found: String,
    },
    /// A value that must be finite is not.
    #[error("{part}: {count} of {total} values are not finite, first for object `{object}`")]
    NotFinite {
        /// Which modality and field.
        part: String,
        /// How many are NaN or infinite.
        count: usize,
        /// How many there are.
        total: usize,
        /// First object that has one.
        object: String,
    },
    /// The command line names something that there isn't.
    #[error("no {what} is called `{name}`")]
    UnknownName {
        /// What it should name, for example `table or plugin`.
        what: &'static str,
        /// What the user wrote.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// A plugin failed in its own way.
    #[error("{kind} `{name}`: {reason}")]
    Plugin {
        /// Kind of plugin.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What it said.
        reason: String,
    },
    /// A file can't be read or written.
    #[error("can't {action} `{}`", path.display())]
    Io {
        /// `read`, `write`, `create`, ...
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A tensor operation failed: a fault of ours or a plugin's, or a device out of memory.
    #[error("tensor operation failed")]
    Tensor(#[from] candle_core::Error),
    /// The user asked a command to stop that can go on.
    #[error("{what} interrupted")]
    Stopped {
        /// What was stopped.
        what: &'static str,
        /// How to go on.
        resume: String,
    },
    /// The user asked to stop.
    #[error("interrupted; the run can go on with `--resume`")]
    Interrupted,
}

impl Error {
    /// An [`Error::Io`] at `path`, made for `map_err`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    /// What the user can do about it, if anything is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config(e) => e.hint(),
            Self::Data(e) => e.hint(),
            Self::Checkpoint(e) => e.hint(),
            Self::Train(e) => e.hint(),
            Self::Device(e) => Some(e.hint()),
            Self::Generate(e) => e.hint(),
            Self::Foreign(e) => e.hint(),
            Self::DuplicatePlugin { .. } => Some("leave one of the two out, or ask its author to rename it".into()),
            Self::UnknownName { name, known, .. } => {
                Some(suggestion(name, "names", known).unwrap_or_else(|| format!("known names: {}", known.join(", "))))
            }
            Self::Stopped { resume, .. } => Some(resume.clone()),
            Self::NotFinite { .. } => Some("mask such values in the data, or set them to null".into()),
            Self::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                    Some("free some space, then run the command again; `train` goes on with `--resume`".into())
                }
                std::io::ErrorKind::FileTooLarge => Some(
                    "a limit on the size of files is in the way: see `ulimit -f`; `train` goes on with `--resume`"
                        .into(),
                ),
                _ => None,
            },
            _ => None,
        }
    }

    /// The place in the config that the message is about.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Config(e) => e.place(),
            _ => None,
        }
    }

    /// Exit code of the command line: 2 config or command line, 3 data, 4 checkpoint or run folder, 5 training,
    /// 6 a plugin, 130 interrupted, 1 anything else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::DuplicatePlugin { .. } | Self::UnknownName { .. } => 2,
            Self::Data(e) if matches!(**e, DataError::Exists { .. }) => 2,
            Self::Device(e) if e.is_wrong_command() => 2,
            Self::Generate(e) if e.is_about_data() => 3,
            Self::Generate(e) if e.is_about_run() => 4,
            Self::Generate(_) => 2,
            Self::Data(_) | Self::NotFinite { .. } => 3,
            Self::Checkpoint(_) => 4,
            Self::Train(_) | Self::Shape { .. } => 5,
            Self::Foreign(e) if matches!(**e, PluginError::Load { .. }) => 2,
            Self::Foreign(_) => 6,
            Self::Interrupted | Self::Stopped { .. } => 130,
            _ => 1,
        }
    }
}

/// Shortens `map_err` for boxed part errors.
macro_rules! boxed {
    ($($part:ty => $variant:ident),* $(,)?) => { $(
        impl From<$part> for Error {
            fn from(part: $part) -> Self {
                Self::$variant(Box::new(part))
            }
        }
    )* };
}
boxed! { ConfigError => Config, DataError => Data, CheckpointError => Checkpoint, TrainError => Train, DeviceError => Device,
GenerateError => Generate, PluginError => Foreign }
