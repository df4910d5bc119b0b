//! From a config to a trained and evaluated model: what is opened, checked and restored around the loop.

use super::before::Before;
use super::checkpoint;
use super::ema::Ema;
use super::run::{Existing, same_plugins};
use super::session::{Feed, Session, restore};
use super::{AdamW, CheckpointError, Group, RunFolder, RunLog, TrainError, check_gradients};
use crate::data::{Catalogue, Position, Split};
use crate::evaluate::Evaluation;
use crate::model::BadRow;
use crate::{Error, Experiment, Model, Registry, Result, ops};
use candle_core::Device;
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// How to train, besides what the config says.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// Go on with the run in the output folder.
    pub resume: bool,
    /// Replace the run in the output folder.
    pub overwrite: bool,
    /// Where to compute.
    pub device: Device,
    /// Stop early after this many steps in all; the schedule stays that of the config.
    pub max_steps: Option<u64>,
    /// Stop early after this long.
    pub max_time: Option<Duration>,
    /// Set by a signal handler: write a checkpoint and stop.
    pub stop: Arc<AtomicBool>,
}

/// What happens, for whoever shows it.
#[derive(Debug)]
pub enum Event<'a> {
    /// A measurement was left out, with `bad_rows = "absent"`.
    BadRow(BadRow),
    /// Scalers and the like learn from the training split, which may take several passes.
    Fitting {
        /// Objects read in this pass.
        done: usize,
        /// Objects in all.
        total: usize,
    },
    /// Parameters of which no object that was looked at shows what they read: they learn once one does.
    Untried(Vec<String>),
    /// The data is open and the model built.
    Ready {
        /// Trainable numbers.
        parameters: usize,
        /// Objects in the training split.
        objects: usize,
        /// Step to go on from.
        step: u64,
        /// Steps in all.
        steps: u64,
    },
    /// A step was taken.
    Step {
        /// Steps so far.
        step: u64,
        /// Loss of its batch.
        loss: f64,
        /// Seconds that it took.
        seconds: f64,
    },
    /// An evaluation in between.
    Evaluated {
        /// Steps so far.
        step: u64,
        /// Names and values.
        values: &'a Map<String, Value>,
    },
    /// A checkpoint was written.
    Checkpoint {
        /// Steps so far.
        step: u64,
    },
    /// The final evaluation embeds objects.
    Evaluating {
        /// Objects so far.
        done: usize,
        /// Objects in all.
        total: usize,
    },
}

/// Shows what happens.
pub trait Observer {
    /// Called from the training thread.
    fn on(&mut self, event: Event<'_>);
}

/// What a training ended with.
pub struct Outcome {
    /// Where everything is.
    pub run: RunFolder,
    /// Steps taken in all.
    pub steps: u64,
    /// Seconds from the first step of this process to its last.
    pub seconds: f64,
    /// Seconds from the start of this call to the end of its first step.
    pub first_step_seconds: f64,
    /// What the model is worth.
    pub evaluation: Evaluation,
}

/// Trains what the config says and evaluates it.
///
/// # Errors
/// Anything from a wrong config to a full disk; then the newest checkpoint is complete, and
/// resuming from it gives what an undisturbed run would have given, to the bit.
pub fn train(
    experiment: &Experiment,
    registry: &Registry,
    options: &TrainOptions,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    let started = Instant::now();
    ops::keep_large_buffers();
    experiment.train.precision.require_on(&options.device, experiment)?;
    let model = Model::new(experiment, registry, &options.device)?;
    let columns = model.columns(&experiment.evaluate.columns(&experiment.probes));
    let catalogue = Arc::new(Catalogue::open(&experiment.data, &columns)?);
    let training = Training { experiment, registry, options, started, catalogue: Arc::clone(&catalogue) };
    training.run(model, observer).map_err(|error| catalogue.locate(error))
}

/// A training whose data is open.
struct Training<'a> {
    experiment: &'a Experiment,
    registry: &'a Registry,
    options: &'a TrainOptions,
    started: Instant,
    catalogue: Arc<Catalogue>,
}

impl Training<'_> {
    fn run(self, mut model: Model, observer: &mut dyn Observer) -> Result<Outcome> {
        let Self { experiment, registry, options, started, catalogue } = self;
        let rows = catalogue.split(Split::Train)?;
        let run = RunFolder::new(&experiment.run.folder());
        let existing = match (options.resume, options.overwrite) {
            (true, _) => Existing::Resume,
            (_, true) => Existing::Overwrite,
            _ => Existing::Refuse,
        };
        run.check(experiment, existing)?;
        let resumed = match checkpoint::latest(&run.checkpoints()) {
            Some(folder) if options.resume => Some((checkpoint::read_state(&folder)?, folder)),
            _ => None,
        };
        match &resumed {
            Some((state, _)) => {
                if state.data_fingerprint != catalogue.fingerprint() {
                    let (path, data) = (run.path().to_path_buf(), experiment.data.path.clone());
                    return Err(CheckpointError::OtherData { path, data }.into());
                }
                same_plugins(run.path(), state, &model, experiment.plugins.changed)?;
                model.restore(&state.fitted)?;
            }
            None => {
                let before = experiment.train.from.as_deref().map(Before::open).transpose()?;
                if before.as_ref().is_none_or(|before| !before.has_all(&model)) {
                    let observer = RefCell::new(&mut *observer);
                    let total = rows.len();
                    model.fit(|| {
                        rows.chunks(FIT_ROWS).enumerate().map(|(number, chunk)| {
                            observer.borrow_mut().on(Event::Fitting { done: number * FIT_ROWS, total });
                            catalogue.read(chunk)
                        })
                    })?;
                }
                if let Some(before) = before {
                    before.give(&mut model)?;
                }
            }
        }
        let config = &experiment.train;
        let groups = groups(experiment);
        let frozen = |name: &str| groups.iter().find(|g| g.holds(name)).is_some_and(|g| g.learning_rate == 0.0);
        let parameters = model.parameters().all();
        let feed = Feed { experiment, catalogue, model: Arc::new(model), rows };
        let mut optimizer = AdamW::new(parameters.clone(), groups.clone(), config.betas, config.epsilon);
        let mut ema = if config.ema > 0.0 { Some(Ema::new(config.ema, &parameters)?) } else { None };
        let untried = match &resumed {
            Some((state, folder)) => {
                restore(folder, state.step, &parameters, &mut optimizer, ema.as_mut())?;
                Vec::new()
            }
            None => {
                let batches = feed.first(GUARD_BATCH)?;
                check_gradients(&feed.model, &frozen, &mut batches.map(|batch| batch.map(|(_, batch)| batch)))?
            }
        };
        // Not before all that can be wrong with config, data and checkpoint is known: a run that can't start leaves no
        // folder, and one that can't go on stays as it is.
        run.prepare(experiment, existing)?;
        run.keep_codecs(&feed.model)?;
        let state = resumed.map(|(state, _)| state);
        let mut session = Session {
            log: RunLog::open(run.path(), state.as_ref().map_or(0, |s| s.step))?,
            step: state.as_ref().map_or(0, |s| s.step),
            position: state.as_ref().map_or_else(Position::default, |s| s.position),
            best: state.as_ref().and_then(|s| s.best),
            saved: state.as_ref().map(|s| s.step),
            feed,
            gradients: ops::Gradients::new(&parameters)?,
            parameters,
            optimizer,
            ema,
            run,
        };
        if !untried.is_empty() {
            session.log.write(session.step, &Map::from_iter([("untried".to_owned(), untried.clone().into())]))?;
            observer.on(Event::Untried(untried));
        }
        let numbers = session.parameters.iter().map(|(_, p)| p.var.as_tensor().elem_count()).sum();
        observer.on(Event::Ready {
            parameters: numbers,
            objects: session.feed.rows.len(),
            step: session.step,
            steps: config.max_steps,
        });
        let training = Instant::now();
        let first_step_seconds = session.steps(options, started, observer)?;
        let seconds = training.elapsed().as_secs_f64();
        let evaluation = session.evaluate(registry, options, observer).map_err(|error| match error {
            Error::Interrupted => error,
            error => TrainError::NotMeasured { source: Box::new(session.feed.catalogue.locate(error)) }.into(),
        })?;
        Ok(Outcome { steps: session.step, seconds, first_step_seconds, evaluation, run: session.run })
    }
}

/// Rows read at once while scalers are fitted.
const FIT_ROWS: usize = 1024;

/// Objects per batch of the dead-gradient guard: enough to hold every modality, few enough not to
/// be noticed.
const GUARD_BATCH: usize = 64;

pub(super) fn groups(experiment: &Experiment) -> Vec<Group> {
    let config = &experiment.train;
    let own = config.group.iter().map(|g| Group {
        prefix: g.prefix.clone(),
        learning_rate: g.learning_rate,
        weight_decay: g.weight_decay.unwrap_or(config.weight_decay),
    });
    let rest = Group { prefix: String::new(), learning_rate: 1.0, weight_decay: config.weight_decay };
    own.chain([rest]).collect()
}
