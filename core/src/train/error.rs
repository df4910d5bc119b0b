//! What can go wrong with a run folder, a checkpoint, or training itself.

use std::path::PathBuf;

/// A run folder or checkpoint is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The output folder holds a run already.
    #[error("`{}` holds another run", path.display())]
    RunExists {
        /// The folder.
        path: PathBuf,
    },
    /// The folder is not a run.
    #[error("`{}` is not a run: it has no `{missing}`", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// What a run would have.
        missing: &'static str,
    },
    /// `--resume` where nothing was begun.
    #[error("there is no run to go on with in `{}`", path.display())]
    NothingToResume {
        /// The folder.
        path: PathBuf,
    },
    /// There is no checkpoint to go on from.
    #[error("`{}` has no complete checkpoint", path.display())]
    NoCheckpoint {
        /// The run folder.
        path: PathBuf,
    },
    /// A file can't be read as what it should be.
    #[error("`{}` can't be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
    /// A checkpoint in a form that this version doesn't know.
    #[error("`{}` was written by Panchroma {written_by} in layout {version}; this one reads layout {expected}", path.display())]
    OtherLayout {
        /// The file.
        path: PathBuf,
        /// Version of Panchroma that wrote it.
        written_by: String,
        /// Its layout.
        version: u32,
        /// The layout that can be read.
        expected: u32,
    },
    /// A tensor that the model has is not in the file.
    #[error("`{}` has no tensor `{name}`", path.display())]
    MissingTensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A tensor in the file that the model doesn't have.
    #[error("`{}` has a tensor `{name}` that the model doesn't have", path.display())]
    ExtraTensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A tensor of another shape.
    #[error("`{}`: tensor `{name}` should have shape {expected:?}, has {found:?}", path.display())]
    TensorShape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Of the model.
        expected: Vec<usize>,
        /// In the file.
        found: Vec<usize>,
    },
    /// The run was made from another config.
    #[error("the run in `{}` was made with another config: `{key}` was {was}, is {is}", path.display())]
    OtherConfig {
        /// The run folder.
        path: PathBuf,
        /// First key that differs.
        key: String,
        /// Value in the run.
        was: String,
        /// Value now.
        is: String,
    },
    /// A run of codecs, where vectors are asked for.
    #[error("the run in `{}` trained a codec, which has codes and no embeddings", path.display())]
    OnlyCodec {
        /// The run folder.
        path: PathBuf,
    },
    /// A modality's codec is not the one that the model was trained with.
    #[error("the codec of `{modality}` in `{}` is not the one that the run was trained with", path.display())]
    OtherCodec {
        /// The modality.
        modality: String,
        /// The codec's run.
        path: PathBuf,
    },
    /// A plugin is not the one that the run was made with.
    #[error("the plugin `{plugin}` is not the one that the run in `{}` was made with: it was {was}, is {is}", path.display())]
    OtherPlugin {
        /// The run folder.
        path: PathBuf,
        /// Name of the plugin.
        plugin: String,
        /// Version and hash in the checkpoint.
        was: String,
        /// Those of the file now.
        is: String,
    },
    /// The data changed since the checkpoint.
    #[error("the data in `{}` changed since the run in `{}` was made", data.display(), path.display())]
    OtherData {
        /// The run folder.
        path: PathBuf,
        /// The data folder.
        data: PathBuf,
    },
}

impl CheckpointError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::RunExists { .. } => {
                "go on with it by `--resume`, replace it by `--overwrite`, or choose another folder by `--set run.output=DIR`".into()
            }
            Self::NotARun { .. } => "give the folder that `panchroma train` wrote, for example `runs/quickstart`".into(),
            Self::NothingToResume { .. } => {
                "leave out `--resume` to begin one, or name the run's folder by `--set run.output=DIR`".into()
            }
            Self::NoCheckpoint { path } => {
                format!("let it go on: `panchroma train {} --resume`", path.join("config.toml").display())
            }
            Self::Unreadable { path, .. } => match path.parent() {
                Some(folder) if folder.parent().is_some_and(|p| p.ends_with("checkpoints")) => format!(
                    "the file is damaged: remove `{}` and use `--resume` to go on from the checkpoint before",
                    folder.display()
                ),
                _ => "the file is damaged: write it again by `panchroma train RUN/config.toml --resume`".into(),
            },
            Self::OtherLayout { written_by, .. } => format!("use Panchroma {written_by} for this run"),
            Self::MissingTensor { .. } | Self::ExtraTensor { .. } | Self::TensorShape { .. } => {
                "the checkpoint belongs to another model: use the `config.toml` of its own run".into()
            }
            Self::OtherConfig { .. } => {
                "resume with the run's own config (`panchroma train RUN/config.toml --resume`), or start a new run by `--set run.output=DIR`".into()
            }
            Self::OnlyCodec { path } => format!(
                "`panchroma tokenize {0}` writes its codes; vectors need a model on them, of a config with a [trunk] that has `codec = \"{0}\"` in the table of the modality",
                path.display()
            ),
            Self::OtherCodec { .. } => {
                "name the codec that it was trained with, or start a new run by `--set run.output=DIR`".into()
            }
            Self::OtherPlugin { .. } => {
                "put the old file back, or, if you know that it gives the same, go on by `--set plugins.changed=\"accept\"`".into()
            }
            Self::OtherData { .. } => "start a new run by `--set run.output=DIR`, or put the data back".into(),
        })
    }
}

/// Training can't go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The loss or a gradient is NaN or infinite.
    #[error("{what} is not finite at step {step}, in the batch of {}", objects.join(", "))]
    NotFinite {
        /// `loss` or `gradient`.
        what: &'static str,
        /// Number of the step, from 1 as in the log.
        step: u64,
        /// The first objects of the batch.
        objects: Vec<String>,
    },
    /// A trainable parameter gets no gradient.
    #[error("parameter `{parameter}` gets {what} from {}", heads.join(", "))]
    DeadGradient {
        /// Its name.
        parameter: String,
        /// `no gradient`, or `a gradient of exactly zero`.
        what: &'static str,
        /// The heads and codecs, as tables of the config.
        heads: Vec<String>,
    },
    /// All steps were taken, and what the model is worth can't be measured.
    #[error("the model is trained, but can't be measured")]
    NotMeasured {
        /// Why.
        #[source]
        source: Box<crate::Error>,
    },
    /// No batch gave a loss.
    #[error("nothing gives a loss: looked at {batches} batches of {batch} objects")]
    NothingToLearn {
        /// How many batches were looked at.
        batches: usize,
        /// Their size.
        batch: usize,
    },
}

impl TrainError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotFinite { .. } => {
                "lower `train.learning_rate` or set `train.clip_norm`; the last checkpoint is untouched".into()
            }
            Self::NotMeasured { source } => {
                let cause = source.hint().map(|hint| format!("{hint}. ")).unwrap_or_default();
                format!("{cause}nothing is lost: the same command with `--resume` takes no further step and measures again")
            }
            Self::DeadGradient { .. } => {
                "nothing would train it: remove the part that it belongs to, or add a head that uses it; a plugin's operation may lack a backward".into()
            }
            Self::NothingToLearn { .. } => {
                "a head that compares modalities needs objects that have two of them in one batch: raise `train.batch`, or see `panchroma check` for what the data holds".into()
            }
        })
    }
}
