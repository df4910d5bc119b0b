//! The training loop.

use super::checkpoint::{self, State};
use super::ema::Ema;
use super::run::Existing;
use super::{AdamW, CheckpointError, Group, RunFolder, RunLog, TrainError, check_gradients};
use crate::data::{Catalogue, Loader, LoaderPlan, Position, Split};
use crate::evaluate::{Embeddings, EvaluateContext, Evaluation, evaluate, retrieval_share};
use crate::{Batch, Error, Experiment, Forward, Mode, Model, Parameter, Registry, Result, Rows, ops};
use candle_core::{Device, Tensor};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    let mut model = Model::new(experiment, registry, &options.device)?;
    let columns = model.columns(&experiment.evaluate.columns(&experiment.probes));
    let catalogue = Arc::new(Catalogue::open(&experiment.data, &columns)?);
    let rows = catalogue.split(Split::Train)?;
    let run = RunFolder::new(&experiment.run.folder());
    let existing = match (options.resume, options.overwrite) {
        (true, _) => Existing::Resume,
        (_, true) => Existing::Overwrite,
        _ => Existing::Refuse,
    };
    run.prepare(experiment, existing)?;
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
            model.restore(&state.fitted)?;
        }
        None => model.fit(|| rows.chunks(FIT_ROWS).map(|chunk| catalogue.read(chunk)))?,
    }
    let config = &experiment.train;
    let groups = groups(experiment);
    let frozen = |name: &str| groups.iter().find(|g| g.holds(name)).is_some_and(|g| g.learning_rate == 0.0);
    let parameters = model.parameters().all();
    let mut session = Session {
        optimizer: AdamW::new(parameters.clone(), groups.clone(), config.betas, config.epsilon),
        ema: if config.ema > 0.0 { Some(Ema::new(config.ema, &parameters)?) } else { None },
        model: Arc::new(model),
        log: RunLog::open(run.path(), resumed.as_ref().map_or(0, |(state, _)| state.step))?,
        step: 0,
        position: Position::default(),
        best: None,
        parameters,
        catalogue,
        experiment,
        run,
    };
    if let Some((state, folder)) = &resumed {
        session.resume(state, folder)?;
    } else {
        let mut batches = session.loader(&rows, Mode::Evaluate, Position::default(), Some(1))?.map(|b| b.map(|(_, b)| b));
        check_gradients(&session.model, &frozen, &mut batches)?;
    }
    let numbers = session.parameters.iter().map(|(_, p)| p.var.as_tensor().elem_count()).sum();
    observer.on(Event::Ready { parameters: numbers, objects: rows.len(), step: session.step, steps: config.max_steps });
    let training = Instant::now();
    let first_step_seconds = session.steps(&rows, options, started, observer)?;
    let seconds = training.elapsed().as_secs_f64();
    let evaluation = session.evaluate(registry, options, observer)?;
    Ok(Outcome { steps: session.step, seconds, first_step_seconds, evaluation, run: session.run })
}

/// Rows read at once while scalers are fitted.
const FIT_ROWS: usize = 1024;

/// Batches in a row that may have nothing to learn from.
const PATIENCE: usize = 1000;

fn groups(experiment: &Experiment) -> Vec<Group> {
    let config = &experiment.train;
    let own = config.group.iter().map(|g| Group {
        prefix: g.prefix.clone(),
        learning_rate: g.learning_rate,
        weight_decay: g.weight_decay.unwrap_or(config.weight_decay),
    });
    let rest = Group { prefix: String::new(), learning_rate: 1.0, weight_decay: config.weight_decay };
    own.chain([rest]).collect()
}

/// Everything that lasts from step to step.
struct Session<'a> {
    experiment: &'a Experiment,
    model: Arc<Model>,
    parameters: Vec<(String, Parameter)>,
    catalogue: Arc<Catalogue>,
    optimizer: AdamW,
    ema: Option<Ema>,
    run: RunFolder,
    log: RunLog,
    step: u64,
    position: Position,
    best: Option<f64>,
}

impl Session<'_> {
    fn resume(&mut self, state: &State, folder: &std::path::Path) -> Result<()> {
        checkpoint::load_parameters(&folder.join("model.safetensors"), &self.parameters)?;
        self.optimizer.restore(&checkpoint::read_tensors(&folder.join("optimizer.safetensors"))?, state.step)?;
        if let Some(ema) = &mut self.ema {
            let path = folder.join("average.safetensors");
            let mut tensors = checkpoint::read_tensors(&path)?;
            let mut averages = Vec::new();
            for (name, _) in &self.parameters {
                let tensor = tensors
                    .remove(name)
                    .ok_or_else(|| CheckpointError::MissingTensor { path: path.clone(), name: name.clone() })?;
                averages.push((name.clone(), tensor));
            }
            ema.restore(averages);
        }
        self.step = state.step;
        self.position = state.position;
        self.best = state.best;
        Ok(())
    }

    fn loader(
        &self,
        rows: &Arc<[u32]>,
        mode: Mode,
        position: Position,
        epochs: Option<u64>,
    ) -> Result<Loader<Batch>> {
        let data = &self.experiment.data;
        let plan = LoaderPlan {
            catalogue: self.catalogue.clone(),
            rows: rows.clone(),
            batch: self.experiment.train.batch,
            seed: self.experiment.run.seed,
            threads: data.threads,
            prefetch: data.prefetch,
            position,
            epochs,
            shuffle: true,
        };
        let model = self.model.clone();
        Loader::start(plan, Arc::new(move |rows: Rows, position: Position| model.prepare(rows, mode, position.epoch)))
    }

    /// Takes all steps; gives the seconds from `started` to the end of the first.
    fn steps(
        &mut self,
        rows: &Arc<[u32]>,
        options: &TrainOptions,
        started: Instant,
        observer: &mut dyn Observer,
    ) -> Result<f64> {
        let config = &self.experiment.train;
        let last = config.max_steps.min(options.max_steps.unwrap_or(u64::MAX));
        let mut loader = self.loader(rows, Mode::Train, self.position, None)?;
        let mut first = None;
        while self.step < last {
            let before = Instant::now();
            let mut line = self.step(&mut loader)?;
            let seconds = before.elapsed().as_secs_f64();
            first.get_or_insert_with(|| started.elapsed().as_secs_f64());
            line.insert("seconds".into(), seconds.into());
            self.log.write(self.step, &line)?;
            let loss = line.get("loss").and_then(Value::as_f64).unwrap_or(f64::NAN);
            observer.on(Event::Step { step: self.step, loss, seconds });
            let step = self.step;
            let every = |n: u64| n > 0 && step.is_multiple_of(n) && step < last;
            if every(config.evaluate_every) {
                let better = self.evaluate_in_between(observer)?;
                if better {
                    self.write_checkpoint(observer)?;
                    let best = self.run.checkpoints().join("best");
                    checkpoint::write_atomically(&best, format!("step-{:06}", self.step).as_bytes())?;
                }
            }
            if every(config.checkpoint_every) {
                self.write_checkpoint(observer)?;
            }
            if options.stop.load(Ordering::Relaxed) {
                self.write_checkpoint(observer)?;
                return Err(Error::Interrupted);
            }
            if options.max_time.is_some_and(|most| started.elapsed() >= most) {
                break;
            }
        }
        self.write_checkpoint(observer)?;
        Ok(first.unwrap_or_default())
    }

    /// One optimizer step; gives its line of the log.
    fn step(&mut self, loader: &mut Loader<Batch>) -> Result<Map<String, Value>> {
        let config = &self.experiment.train;
        let context = Forward { mode: Mode::Train, seed: self.experiment.run.seed, step: self.step };
        let mut gradients: Option<Vec<Tensor>> = None;
        let mut line: BTreeMap<String, f64> = BTreeMap::new();
        let mut objects = Vec::new();
        let mut taken = 0;
        let mut empty = 0;
        while taken < config.accumulate {
            let (_, batch) = loader.next().ok_or(Error::Interrupted)??;
            self.position = Loader::position(loader);
            let output = self.model.forward(&batch, &context)?;
            let Some(loss) = output.loss else {
                empty += 1;
                if empty >= PATIENCE {
                    return Err(TrainError::NothingToLearn { batches: empty, batch: config.batch }.into());
                }
                continue;
            };
            taken += 1;
            objects.extend(batch.rows.ids().iter().take(3).cloned());
            let value = f64::from(loss.to_scalar::<f32>()?);
            if !value.is_finite() {
                return Err(TrainError::NotFinite { what: "the loss", step: self.step, objects }.into());
            }
            let share = 1.0 / config.accumulate as f64;
            *line.entry("loss".into()).or_default() += value * share;
            for (head, output) in &output.heads {
                for (name, metric) in &output.metrics {
                    let value = f64::from(metric.to_dtype(candle_core::DType::F32)?.to_scalar::<f32>()?);
                    *line.entry(format!("{head}.{name}")).or_default() += value * share;
                }
            }
            let loss = if config.accumulate > 1 { (loss * share)? } else { loss };
            let store = loss.backward()?;
            let mut own = Vec::with_capacity(self.parameters.len());
            for (_, parameter) in &self.parameters {
                // A batch in which no object has a modality gives its parameters no gradient.
                let tensor = parameter.var.as_tensor();
                own.push(store.get(tensor).cloned().map_or_else(|| tensor.zeros_like(), Ok)?);
            }
            gradients = Some(match gradients {
                None => own,
                Some(sum) => sum.iter().zip(&own).map(|(a, b)| a + b).collect::<candle_core::Result<_>>()?,
            });
        }
        let rate = config.schedule().rate(self.step);
        let clip = (config.clip_norm > 0.0).then_some(config.clip_norm);
        let report = self.optimizer.step(&gradients.unwrap_or_default(), rate, clip)?;
        if !report.gradient_norm.is_finite() {
            return Err(TrainError::NotFinite { what: "a gradient", step: self.step, objects }.into());
        }
        if let Some(ema) = &mut self.ema {
            ema.update(&self.parameters)?;
        }
        self.step += 1;
        line.insert("learning_rate".into(), rate);
        line.insert("gradient_norm".into(), report.gradient_norm);
        Ok(line.into_iter().map(|(k, v)| (k, v.into())).collect())
    }

    /// Loss and retrieval on the validation split, or on the test split where there is none; true
    /// if a validation loss is the lowest so far.
    fn evaluate_in_between(&mut self, observer: &mut dyn Observer) -> Result<bool> {
        let (split, selects) = match self.catalogue.split(Split::Validation) {
            Ok(_) => (Split::Validation, true),
            Err(_) => (Split::Test, false),
        };
        // Without any held-out object there is nothing to evaluate.
        let Ok(rows) = self.catalogue.split(split) else { return Ok(false) };
        self.swap()?;
        let mut sum = 0.0;
        let mut count = 0.0;
        for chunk in rows.chunks(self.experiment.train.batch) {
            let batch = self.model.prepare(self.catalogue.read(chunk)?, Mode::Evaluate, 0)?;
            if let Some(loss) = self.model.forward(&batch, &Forward::evaluate())?.loss {
                sum += f64::from(loss.to_scalar::<f32>()?) * chunk.len() as f64;
                count += chunk.len() as f64;
            }
        }
        let size = self.experiment.evaluate.batch;
        let held = Embeddings::new(&self.model, &self.catalogue, &rows, size, &mut |_| {})?;
        self.swap()?;
        let mut values = Map::new();
        let loss = sum / count;
        if count > 0.0 {
            values.insert("evaluation.loss".into(), loss.into());
        }
        for (direction, share) in retrieval_share(&held, 10) {
            values.insert(format!("evaluation.top10.{direction}"), share.into());
        }
        self.log.write(self.step, &values)?;
        observer.on(Event::Evaluated { step: self.step, values: &values });
        let better = selects && count > 0.0 && self.best.is_none_or(|best| loss < best);
        if better {
            self.best = Some(loss);
        }
        Ok(better)
    }

    fn swap(&mut self) -> Result<()> {
        match &mut self.ema {
            Some(ema) => ema.swap(&self.parameters),
            None => Ok(()),
        }
    }

    fn write_checkpoint(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let state = State {
            version: checkpoint::VERSION,
            written_by: env!("CARGO_PKG_VERSION").into(),
            step: self.step,
            position: self.position,
            fitted: self.model.fitted(),
            data_fingerprint: self.catalogue.fingerprint(),
            best: self.best,
        };
        let model: Vec<(String, Tensor)> =
            self.parameters.iter().map(|(name, p)| (name.clone(), p.var.as_tensor().clone())).collect();
        let average = self.ema.as_ref().map(Ema::averages);
        let folder = self.run.checkpoints();
        checkpoint::write(&folder, &state, &model, average, &self.optimizer.state()?)?;
        checkpoint::prune(&folder, self.experiment.train.keep_checkpoints)?;
        observer.on(Event::Checkpoint { step: self.step });
        Ok(())
    }

    fn evaluate(
        &mut self,
        registry: &Registry,
        options: &TrainOptions,
        observer: &mut dyn Observer,
    ) -> Result<Evaluation> {
        if self.catalogue.split(Split::Test).is_err() {
            return Ok(Evaluation::default());
        }
        self.swap()?;
        let mut untrained = Model::new(self.experiment, registry, &options.device)?;
        untrained.restore(&self.model.fitted())?;
        let evaluation = evaluate(EvaluateContext {
            model: &self.model,
            untrained: &untrained,
            catalogue: &self.catalogue,
            config: &self.experiment.evaluate,
            probes: &self.experiment.probes,
            seed: self.experiment.run.seed,
            progress: &mut |done, total| observer.on(Event::Evaluating { done, total }),
        })?;
        self.swap()?;
        Ok(evaluation)
    }
}
