//! Training: the loop, and everything that a run leaves behind.

mod before;
pub mod checkpoint;
mod config;
mod ema;
mod error;
mod events;
mod guard;
mod log;
mod measure;
mod optimizer;
mod run;
mod scalars;
mod schedule;
mod session;
mod trainer;

pub use config::{GroupConfig, Precision, TrainConfig};
pub use error::{CheckpointError, TrainError};
pub use events::EventWriter;
pub use guard::check_gradients;
pub use log::RunLog;
pub use measure::{MeasureStage, Measured, StepSeconds, measure};
pub use optimizer::{AdamW, Group, StepReport};
pub(crate) use run::load_with;
pub use run::{RunFolder, load_run, weights_of};
pub use schedule::{Schedule, ScheduleKind};
pub use trainer::{Event, Observer, Outcome, TrainOptions, train};
