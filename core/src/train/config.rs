//! `[train]`: how long, how fast, how often.

use super::schedule::{Schedule, ScheduleKind};
use crate::{Experiment, Result, Section};
use candle_core::{DType, Device};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `[train]`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Objects per batch. A contrastive head compares the objects of a batch with one another, so
    /// more is better up to some thousands.
    pub batch: usize,
    /// Optimizer steps in all.
    pub max_steps: u64,
    /// Highest learning rate. 1e-5 to 1e-2.
    #[serde(default = "default_learning_rate")]
    pub learning_rate: f64,
    /// Steps over which the rate rises from zero to its peak.
    #[serde(default)]
    pub warmup_steps: u64,
    /// Shape of the rate after that: `cosine`, `constant` or `wsd` (stable, then a fifth of decay).
    #[serde(default)]
    pub schedule: ScheduleKind,
    /// Rate at the end as a share of the peak.
    #[serde(default)]
    pub final_learning_rate: f64,
    /// Decoupled weight decay of matrices; biases, norms and scales never decay.
    #[serde(default = "default_weight_decay")]
    pub weight_decay: f64,
    /// Decay rates of AdamW's two moments.
    #[serde(default = "default_betas")]
    pub betas: [f64; 2],
    /// Added to AdamW's denominator.
    #[serde(default = "default_epsilon")]
    pub epsilon: f64,
    /// Largest norm of all gradients together; 0 switches clipping off.
    #[serde(default = "default_clip_norm")]
    pub clip_norm: f64,
    /// Numbers that activations and matrix products are computed in: `f32` or, on a CUDA device alone, `bf16`, which takes
    /// half of the memory and a fraction of the time. Parameters, optimizer and losses are f32 either way.
    #[serde(default)]
    pub precision: Precision,
    /// Batches whose gradients are averaged for one step.
    #[serde(default = "default_one")]
    pub accumulate: usize,
    /// Decay of the moving average of the weights that evaluation and later use take, for example
    /// 0.999; 0 switches it off.
    #[serde(default)]
    pub ema: f64,
    /// Steps between checkpoints; 0 for one at the end alone.
    #[serde(default = "default_checkpoint_every")]
    pub checkpoint_every: u64,
    /// Checkpoints kept; older ones are removed.
    #[serde(default = "default_keep")]
    pub keep_checkpoints: usize,
    /// Steps between evaluations of the loss and of retrieval; 0 for none before the end.
    #[serde(default = "default_evaluate_every")]
    pub evaluate_every: u64,
    /// Steps between measurements of all probes, which embed the whole training split each time; 0
    /// for none before the end.
    #[serde(default)]
    pub probe_every: u64,
    /// Run whose weights, scalers and codes this one starts from, to train it further on other data: the run of an imported model, or one
    /// of before. What both have under the same name must be of one shape; what the other lacks starts anew. Default: all starts
    /// anew.
    #[serde(default)]
    pub from: Option<PathBuf>,
    /// Parameters with a rate or decay of their own, by the beginning of their names.
    #[serde(default)]
    pub group: Vec<GroupConfig>,
}

/// What activations and matrix products are computed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits with the range of 32; sums within an operation are in f32.
    Bf16,
}

impl Precision {
    /// The type of activations on `device`: other devices than those of CUDA compute in f32, so that a model that was trained
    /// in bf16 can be used on them.
    #[must_use]
    pub fn activations(self, device: &Device) -> DType {
        if self == Self::Bf16 && device.is_cuda() { DType::BF16 } else { DType::F32 }
    }

    /// Refuses to train in bf16 where there is no such training.
    pub(super) fn require_on(self, device: &Device, experiment: &Experiment) -> Result<()> {
        if self == Self::F32 || device.is_cuda() {
            return Ok(());
        }
        let root = experiment.root();
        let table = root.section("train")?.unwrap_or(root);
        Err(table
            .reject("precision", "must be \"f32\" on the CPU: bf16 needs a CUDA device, such as `--device cuda:0`"))
    }
}

/// One `[[train.group]]`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupConfig {
    /// Beginning of the parameters' names, for example `trunk.spectrum`.
    pub prefix: String,
    /// Their learning rate as a multiple of `train.learning_rate`; 0 freezes them.
    #[serde(default = "default_factor")]
    pub learning_rate: f64,
    /// Their weight decay. Default: `train.weight_decay`.
    #[serde(default)]
    pub weight_decay: Option<f64>,
}

fn default_learning_rate() -> f64 {
    5e-4
}
fn default_weight_decay() -> f64 {
    0.05
}
fn default_betas() -> [f64; 2] {
    [0.9, 0.999]
}
fn default_epsilon() -> f64 {
    1e-8
}
fn default_clip_norm() -> f64 {
    1.0
}
fn default_one() -> usize {
    1
}
fn default_factor() -> f64 {
    1.0
}
fn default_checkpoint_every() -> u64 {
    500
}
fn default_keep() -> usize {
    2
}
fn default_evaluate_every() -> u64 {
    100
}

impl TrainConfig {
    /// Reads and checks `[train]`.
    ///
    /// # Errors
    /// If a value is out of range or two disagree.
    pub fn read(section: &Section) -> Result<Self> {
        let config: Self = section.read_plain()?;
        let above_zero = |key: &str, value: f64| -> Result<()> {
            if value.is_finite() && value > 0.0 { Ok(()) } else { Err(section.reject(key, "must be above 0")) }
        };
        let share = |key: &str, value: f64| -> Result<()> {
            if (0.0..1.0).contains(&value) {
                Ok(())
            } else {
                Err(section.reject(key, "must be at least 0 and below 1"))
            }
        };
        let not_negative = |key: &str, value: f64| -> Result<()> {
            if value.is_finite() && value >= 0.0 { Ok(()) } else { Err(section.reject(key, "must not be negative")) }
        };
        if config.batch == 0 {
            return Err(section.reject("batch", "must be at least 1"));
        }
        if config.max_steps == 0 {
            return Err(section.reject("max_steps", "must be at least 1"));
        }
        above_zero("learning_rate", config.learning_rate)?;
        above_zero("epsilon", config.epsilon)?;
        if !(0.0..=1.0).contains(&config.final_learning_rate) {
            return Err(section.reject("final_learning_rate", "must be between 0 and 1: it is a share of the peak"));
        }
        if config.warmup_steps >= config.max_steps {
            let reason = format!("must be below max_steps, which is {}", config.max_steps);
            return Err(section.reject("warmup_steps", reason));
        }
        not_negative("weight_decay", config.weight_decay)?;
        not_negative("clip_norm", config.clip_norm)?;
        share("ema", config.ema)?;
        for beta in config.betas {
            share("betas", beta)?;
        }
        if config.accumulate == 0 {
            return Err(section.reject("accumulate", "must be at least 1"));
        }
        if config.keep_checkpoints == 0 {
            return Err(section.reject("keep_checkpoints", "must be at least 1"));
        }
        for group in &config.group {
            not_negative("group", group.learning_rate)?;
            not_negative("group", group.weight_decay.unwrap_or(0.0))?;
        }
        Ok(config)
    }

    /// The learning rate over the run.
    #[must_use]
    pub fn schedule(&self) -> Schedule {
        Schedule {
            kind: self.schedule,
            peak: self.learning_rate,
            final_share: self.final_learning_rate,
            warmup: self.warmup_steps,
            steps: self.max_steps,
        }
    }
}
