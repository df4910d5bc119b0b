//! What lasts from step to step, and the loop over them.

use super::checkpoint::{self, State};
use super::ema::Ema;
use super::scalars::Scalars;
use super::{AdamW, Event, Observer, RunFolder, RunLog, TrainError, TrainOptions};
use crate::data::{Catalogue, Loader, LoaderPlan, Position, Split};
use crate::evaluate::{Embeddings, EvaluateConfig, EvaluateContext, Evaluation, evaluate, retrieval_share};
use crate::ops::Gradients;
use crate::{Batch, Error, Experiment, Forward, Mode, Model, Parameter, Registry, Result, Rows};
use candle_core::{Device, Tensor};
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Batches in a row that may have nothing to learn from.
const PATIENCE: usize = 1000;

/// Where the batches of the training split come from.
pub(super) struct Feed<'a> {
    pub(super) experiment: &'a Experiment,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) model: Arc<Model>,
    /// The training split.
    pub(super) rows: Arc<[u32]>,
}

impl Feed<'_> {
    /// What the loop learns from: batches from `position` on, without end.
    pub(super) fn training(&self, position: Position) -> Result<Loader<Batch>> {
        self.loader(Mode::Train, self.experiment.train.batch, position, None)
    }

    /// What the dead-gradient guard looks at: one epoch of batches of at most `most` objects.
    pub(super) fn first(&self, most: usize) -> Result<Loader<Batch>> {
        self.loader(Mode::Evaluate, self.experiment.train.batch.min(most), Position::default(), Some(1))
    }

    fn loader(&self, mode: Mode, batch: usize, position: Position, epochs: Option<u64>) -> Result<Loader<Batch>> {
        let data = &self.experiment.data;
        let plan = LoaderPlan {
            catalogue: self.catalogue.clone(),
            rows: self.rows.clone(),
            batch,
            seed: self.experiment.run.seed,
            threads: data.threads,
            prefetch: data.prefetch,
            shard: (0, 1),
            position,
            epochs,
            shuffle: true,
        };
        let model = self.model.clone();
        Loader::start(plan, Arc::new(move |rows: Rows, position: Position| model.prepare(rows, mode, position.epoch)))
    }
}

/// Sets weights, moments and averages to those of the checkpoint in `folder`.
///
/// # Errors
/// If a file is missing, damaged, or of another model.
pub(super) fn restore(
    folder: &Path,
    step: u64,
    parameters: &[(String, Parameter)],
    optimizer: &mut AdamW,
    ema: Option<&mut Ema>,
) -> Result<()> {
    checkpoint::load_parameters(&folder.join("model.safetensors"), parameters)?;
    let moments: Vec<(String, Tensor)> = optimizer.state()?.into_iter().collect();
    let found = checkpoint::read_like(&folder.join("optimizer.safetensors"), &moments)?;
    optimizer.restore(&found.into_iter().collect(), step)?;
    if let Some(ema) = ema {
        let averages = checkpoint::read_like(&folder.join("average.safetensors"), ema.averages())?;
        ema.restore(averages);
    }
    Ok(())
}

/// A tensor for a file: no copy where it is on the CPU.
fn on_host(name: &str, tensor: &Tensor) -> Result<(String, Tensor)> {
    Ok((name.to_owned(), tensor.detach().to_device(&Device::Cpu)?))
}

/// Everything that lasts from step to step.
pub(super) struct Session<'a> {
    pub(super) feed: Feed<'a>,
    pub(super) parameters: Vec<(String, Parameter)>,
    pub(super) optimizer: AdamW,
    /// Of the step that is being taken.
    pub(super) gradients: Gradients,
    pub(super) ema: Option<Ema>,
    pub(super) run: RunFolder,
    pub(super) log: RunLog,
    /// Steps taken.
    pub(super) step: u64,
    /// Next batch to read.
    pub(super) position: Position,
    /// Lowest loss on the validation split so far.
    pub(super) best: Option<f64>,
    /// Step of the newest checkpoint.
    pub(super) saved: Option<u64>,
}

impl Session<'_> {
    /// Takes all steps; gives the seconds from `started` to the end of the first.
    pub(super) fn steps(
        &mut self,
        options: &TrainOptions,
        started: Instant,
        observer: &mut dyn Observer,
    ) -> Result<f64> {
        let config = &self.feed.experiment.train;
        let last = config.max_steps.min(options.max_steps.unwrap_or(u64::MAX));
        let mut loader = self.feed.training(self.position)?;
        let mut first = None;
        while self.step < last {
            let before = Instant::now();
            let mut line = self.step(&mut loader)?;
            let seconds = before.elapsed().as_secs_f64();
            first.get_or_insert_with(|| started.elapsed().as_secs_f64());
            line.insert("seconds".into(), seconds.into());
            self.log.write(self.step, &line)?;
            self.log_bad_rows(observer)?;
            let loss = line.get("loss").and_then(Value::as_f64).unwrap_or(f64::NAN);
            observer.on(Event::Step { step: self.step, loss, seconds });
            let step = self.step;
            // Not `last`: a run that stops early and goes on later must do what an undisturbed one does.
            let every = |n: u64| n > 0 && step.is_multiple_of(n) && step < config.max_steps;
            if every(config.evaluate_every) {
                let better = self.evaluate_in_between(observer)?;
                if better {
                    self.write_checkpoint(observer)?;
                    let best = self.run.checkpoints().join("best");
                    checkpoint::write_atomically(&best, format!("step-{:06}", self.step).as_bytes())?;
                }
            }
            if every(config.probe_every) {
                self.probe_in_between(observer)?;
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

    /// Says what was left out since the last call.
    fn log_bad_rows(&mut self, observer: &mut dyn Observer) -> Result<()> {
        for bad in self.feed.model.new_bad_rows() {
            let row = serde_json::to_value(&bad).unwrap_or_default();
            self.log.write(self.step, &Map::from_iter([("bad_row".to_owned(), row)]))?;
            observer.on(Event::BadRow(bad));
        }
        Ok(())
    }

    /// One optimizer step; gives its line of the log.
    fn step(&mut self, loader: &mut Loader<Batch>) -> Result<Map<String, Value>> {
        let config = &self.feed.experiment.train;
        let context = Forward { mode: Mode::Train, seed: self.feed.experiment.run.seed, step: self.step };
        self.gradients.clear();
        let mut scalars = Scalars::default();
        let mut objects = Vec::new();
        let mut taken = 0;
        let mut empty = 0;
        while taken < config.accumulate {
            let (_, batch) = loader.next().ok_or(Error::Interrupted)??;
            self.position = Loader::position(loader);
            let output = self.feed.model.forward(&batch, &context)?;
            let Some(loss) = output.loss else {
                empty += 1;
                if empty >= PATIENCE {
                    return Err(TrainError::NothingToLearn { batches: empty, batch: config.batch }.into());
                }
                continue;
            };
            taken += 1;
            objects.extend(batch.rows.ids().iter().take(3).cloned());
            // On a GPU the host would wait here; there it is seen at the end of the step.
            if loss.device().is_cpu() && !loss.to_scalar::<f32>()?.is_finite() {
                return Err(TrainError::NotFinite { what: "the loss", step: self.step + 1, objects }.into());
            }
            let share = 1.0 / config.accumulate as f64;
            scalars.add("loss".into(), &loss, share)?;
            for (head, output) in &output.heads {
                for (name, metric) in &output.metrics {
                    scalars.add(format!("{head}.{name}"), metric, share)?;
                }
            }
            let loss = if config.accumulate > 1 { (loss * share)? } else { loss };
            self.gradients.backward(&loss)?;
        }
        let rate = config.schedule().rate(self.step);
        let clip = (config.clip_norm > 0.0).then_some(config.clip_norm);
        let report = self.optimizer.step(&self.gradients, rate, clip)?;
        let mut line = scalars.read()?;
        if line.get("loss").is_some_and(|loss| !loss.is_finite()) {
            return Err(TrainError::NotFinite { what: "the loss", step: self.step + 1, objects }.into());
        }
        if !report.gradient_norm.is_finite() {
            return Err(TrainError::NotFinite { what: "a gradient", step: self.step + 1, objects }.into());
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
        let split = self.held_out();
        // Without any held-out object there is nothing to evaluate.
        let Ok(rows) = self.feed.catalogue.split(split) else { return Ok(false) };
        self.swap()?;
        let mut sum = 0.0;
        let mut count = 0.0;
        for chunk in rows.chunks(self.feed.experiment.train.batch) {
            let batch = self.feed.model.prepare(self.feed.catalogue.read(chunk)?, Mode::Evaluate, 0)?;
            if let Some(loss) = self.feed.model.forward(&batch, &Forward::evaluate())?.loss {
                sum += f64::from(loss.to_scalar::<f32>()?) * chunk.len() as f64;
                count += chunk.len() as f64;
            }
        }
        let size = self.feed.experiment.evaluate.batch;
        // A codec has no vectors.
        let held = match self.feed.model.is_codec() {
            true => Embeddings::default(),
            false => Embeddings::new(&self.feed.model, &self.feed.catalogue, &rows, size, &mut |_| {})?,
        };
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
        let better = split == Split::Validation && loss.is_finite() && self.best.is_none_or(|best| loss < best);
        if better {
            self.best = Some(loss);
        }
        Ok(better)
    }

    /// The validation split, or the test split where there is none.
    fn held_out(&self) -> Split {
        match self.feed.catalogue.split(Split::Validation) {
            Ok(_) => Split::Validation,
            Err(_) => Split::Test,
        }
    }

    /// What the probes say of the model so far, on the same objects as the evaluation in between.
    fn probe_in_between(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let held_out = self.held_out();
        if self.feed.catalogue.split(held_out).is_err() || self.feed.model.is_codec() {
            return Ok(());
        }
        self.swap()?;
        let experiment = self.feed.experiment;
        // No groups and hardly any resamples: the log holds values alone.
        let config = EvaluateConfig { resamples: 10, batch: experiment.evaluate.batch, ..EvaluateConfig::default() };
        let evaluation = evaluate(EvaluateContext {
            model: &self.feed.model,
            untrained: None,
            held_out,
            catalogue: &self.feed.catalogue,
            config: &config,
            probes: &experiment.probes,
            predictions: &[],
            seed: experiment.run.seed,
            progress: &mut |_, _| {},
        })?;
        self.swap()?;
        let probes = evaluation.results.probes.into_iter();
        let values = probes.map(|p| (format!("probe.{}.{}", p.name, p.from), p.trained.value.into())).collect();
        self.log.write(self.step, &values)?;
        observer.on(Event::Evaluated { step: self.step, values: &values });
        Ok(())
    }

    fn swap(&mut self) -> Result<()> {
        match &mut self.ema {
            Some(ema) => ema.swap(&self.parameters),
            None => Ok(()),
        }
    }

    /// Writes a checkpoint of this step, unless there is one: evaluation, interval and end may fall together.
    fn write_checkpoint(&mut self, observer: &mut dyn Observer) -> Result<()> {
        if self.saved == Some(self.step) {
            return Ok(());
        }
        let state = State {
            version: checkpoint::VERSION,
            written_by: env!("CARGO_PKG_VERSION").into(),
            step: self.step,
            position: self.position,
            fitted: self.feed.model.fitted(),
            data_fingerprint: self.feed.catalogue.fingerprint(),
            plugins: self.feed.model.libraries().clone(),
            best: self.best,
        };
        let model: Vec<(String, Tensor)> =
            self.parameters.iter().map(|(name, p)| on_host(name, p.var.as_tensor())).collect::<Result<_>>()?;
        let average = self.ema.as_ref().map(|ema| ema.averages().iter().map(|(name, a)| on_host(name, a)));
        let average: Option<Vec<(String, Tensor)>> = average.map(Iterator::collect::<Result<_>>).transpose()?;
        let folder = self.run.checkpoints();
        checkpoint::write(&folder, &state, &model, average.as_deref(), &self.optimizer.state()?)?;
        self.saved = Some(self.step);
        checkpoint::prune(&folder, self.feed.experiment.train.keep_checkpoints)?;
        observer.on(Event::Checkpoint { step: self.step });
        Ok(())
    }

    /// Measures the trained model on the test split; nothing where there is none.
    pub(super) fn evaluate(
        &mut self,
        registry: &Registry,
        options: &TrainOptions,
        observer: &mut dyn Observer,
    ) -> Result<Evaluation> {
        if self.feed.catalogue.split(Split::Test).is_err() {
            return Ok(Evaluation::default());
        }
        self.swap()?;
        let mut untrained = Model::new(self.feed.experiment, registry, &options.device)?;
        untrained.restore(&self.feed.model.fitted())?;
        let evaluation = evaluate(EvaluateContext {
            model: &self.feed.model,
            untrained: Some(&untrained),
            held_out: Split::Test,
            catalogue: &self.feed.catalogue,
            config: &self.feed.experiment.evaluate,
            probes: &self.feed.experiment.probes,
            predictions: &self.feed.experiment.predictions,
            seed: self.feed.experiment.run.seed,
            progress: &mut |done, total| observer.on(Event::Evaluating { done, total }),
        })?;
        self.swap()?;
        self.log_bad_rows(observer)?;
        Ok(evaluation)
    }
}
