//! How fast a config trains and embeds on this machine: real batches of real data, nothing is written.

use super::session::Feed;
use super::trainer::groups;
use super::{AdamW, TrainError};
use crate::data::{Catalogue, Position, Split};
use crate::ops::{self, Gradients};
use crate::{Batch, Experiment, Forward, Mode, Model, Registry, Result, View};
use candle_core::{DType, Device, Tensor};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Objects of the training split that scalers learn from: enough for numbers that make sense.
const FITTED: usize = 4096;

/// Batches without anything to learn from that are passed over.
const EMPTY: usize = 100;

/// What is measured, while it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeasureStage {
    /// Scalers learn from the data.
    Fitting,
    /// Training steps.
    Training,
    /// Embedding.
    Embedding,
}

/// Medians of the seconds of a training step and of its parts.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct StepSeconds {
    /// All of it.
    pub step: f64,
    /// Until the loader had the next batch.
    pub wait: f64,
    /// From batch to loss.
    pub forward: f64,
    /// From loss to gradients.
    pub backward: f64,
    /// Norm, clipping and the step of the optimizer.
    pub optimizer: f64,
}

/// What [`measure`] found.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Trainable numbers.
    pub parameters: usize,
    /// Steps measured.
    pub steps: usize,
    /// Objects per step.
    pub objects: f64,
    /// Tokens per step, of all modalities, padding not counted.
    pub tokens: f64,
    /// Medians.
    pub seconds: StepSeconds,
    /// Tokens per second of training.
    pub tokens_per_second: f64,
    /// Floating-point operations of a step, forward and backward, for the tokens that were there.
    pub flops: f64,
    /// Of training.
    pub flops_per_second: f64,
    /// Of matrix products alone: in f32 on all threads of this machine, or on a GPU in what the model computes in.
    pub product_flops_per_second: f64,
    /// The former over the latter.
    pub share_of_products: f64,
    /// Whether codecs were trained: what is called embedding is then tokenizing.
    pub codec: bool,
    /// Objects per second of embedding, in the isolated view, without reading.
    pub embed_objects_per_second: f64,
    /// Tokens per second of embedding.
    pub embed_tokens_per_second: f64,
    /// The most memory that the process had, bytes.
    pub peak_memory_bytes: Option<u64>,
}

/// Takes `steps` training steps of the config, after two that don't count, and embeds as many batches.
///
/// # Errors
/// If the config or its data is wrong, or no batch has anything to learn from.
pub fn measure(
    experiment: &Experiment,
    registry: &Registry,
    device: &Device,
    steps: usize,
    progress: &mut dyn FnMut(MeasureStage, usize, usize),
) -> Result<Measured> {
    ops::keep_large_buffers();
    experiment.train.precision.require_on(device, experiment)?;
    let mut model = Model::new(experiment, registry, device)?;
    let columns = model.columns(&experiment.evaluate.columns(&experiment.probes));
    let catalogue = Arc::new(Catalogue::open(&experiment.data, &columns)?);
    let rows = catalogue.split(Split::Train)?;
    progress(MeasureStage::Fitting, 0, 1);
    let some = rows.get(..FITTED.min(rows.len())).unwrap_or_default();
    model.fit(|| some.chunks(1024).map(|chunk| catalogue.read(chunk))).map_err(|error| catalogue.locate(error))?;
    let feed = Feed { experiment, catalogue: catalogue.clone(), model: Arc::new(model), rows };
    run(&feed, steps, progress).map_err(|error| catalogue.locate(error))
}

fn run(feed: &Feed<'_>, steps: usize, progress: &mut dyn FnMut(MeasureStage, usize, usize)) -> Result<Measured> {
    let Feed { experiment, model, .. } = feed;
    let config = &experiment.train;
    let parameters = model.parameters().all();
    let mut optimizer = AdamW::new(parameters.clone(), groups(experiment), config.betas, config.epsilon);
    let mut gradients = Gradients::new(&parameters)?;
    let clip = (config.clip_norm > 0.0).then_some(config.clip_norm);
    let mut loader = feed.training(Position::default())?;
    let mut times: Vec<StepSeconds> = Vec::new();
    let mut batches: Vec<Batch> = Vec::new();
    let mut flops = Vec::new();
    let (mut objects, mut tokens, mut empty) = (0, 0, 0);
    while times.len() < steps + WARM {
        progress(MeasureStage::Training, times.len(), steps + WARM);
        let start = Instant::now();
        let Some(batch) = loader.next() else { break };
        let (_, batch) = batch?;
        let wait = start.elapsed();
        let context = Forward { mode: Mode::Train, seed: experiment.run.seed, step: times.len() as u64 };
        let loss = model.forward(&batch, &context)?.loss;
        // A GPU works behind the host: without waiting, all time would be the optimizer's, which reads the norm.
        let device = model.parameters().device();
        device.synchronize()?;
        let forward = start.elapsed() - wait;
        let Some(loss) = loss else {
            empty += 1;
            if empty > EMPTY {
                return Err(TrainError::NothingToLearn { batches: empty, batch: config.batch }.into());
            }
            continue;
        };
        gradients.clear();
        gradients.backward(&loss)?;
        drop(loss);
        device.synchronize()?;
        let backward = start.elapsed() - wait - forward;
        optimizer.step(&gradients, config.schedule().rate(times.len() as u64), clip)?;
        let step = start.elapsed();
        times.push(StepSeconds {
            step: step.as_secs_f64(),
            wait: wait.as_secs_f64(),
            forward: forward.as_secs_f64(),
            backward: backward.as_secs_f64(),
            optimizer: (step - wait - forward - backward).as_secs_f64(),
        });
        if times.len() > WARM {
            let own = count_tokens(model, &batch)?;
            objects += batch.len();
            tokens += own.values().sum::<usize>();
            flops.push(model.flops_of(batch.len(), &own));
            if batches.len() < steps.min(KEPT) {
                batches.push(batch);
            }
        }
    }
    let measured = times.get(WARM..).unwrap_or_default();
    let steps = measured.len().max(1);
    let seconds = StepSeconds {
        step: median(measured.iter().map(|s| s.step)),
        wait: median(measured.iter().map(|s| s.wait)),
        forward: median(measured.iter().map(|s| s.forward)),
        backward: median(measured.iter().map(|s| s.backward)),
        optimizer: median(measured.iter().map(|s| s.optimizer)),
    };
    let (embed_objects_per_second, embed_tokens_per_second) = embed(model, &batches, progress)?;
    let (tokens, flops) = (tokens as f64 / steps as f64, flops.iter().sum::<f64>() / steps as f64);
    let product_flops_per_second = match model.parameters().device() {
        Device::Cpu => ops::product_peak(Duration::from_millis(700)),
        device => products_on(device, config.precision.activations(device))?,
    };
    let flops_per_second = flops / seconds.step;
    Ok(Measured {
        parameters: parameters.iter().map(|(_, p)| p.var.as_tensor().elem_count()).sum(),
        steps,
        objects: objects as f64 / steps as f64,
        tokens,
        seconds,
        tokens_per_second: tokens / seconds.step,
        flops,
        flops_per_second,
        product_flops_per_second,
        share_of_products: flops_per_second / product_flops_per_second,
        codec: model.is_codec(),
        embed_objects_per_second,
        embed_tokens_per_second,
        peak_memory_bytes: ops::peak_memory_bytes(),
    })
}

/// Steps that don't count: buffers are made in them.
const WARM: usize = 2;

/// Batches kept for embedding.
const KEPT: usize = 8;

/// Objects and tokens per second.
fn embed(model: &Model, batches: &[Batch], progress: &mut dyn FnMut(MeasureStage, usize, usize)) -> Result<(f64, f64)> {
    let mut rates = Vec::new();
    for (number, batch) in batches.iter().enumerate() {
        progress(MeasureStage::Embedding, number, batches.len());
        let start = Instant::now();
        if model.is_codec() {
            for (name, arrays) in &batch.arrays {
                model.encode(name, arrays)?;
            }
        } else {
            model.features(batch, View::Isolated, &[], &Forward::evaluate())?;
        }
        model.parameters().device().synchronize()?;
        let seconds = start.elapsed().as_secs_f64();
        rates
            .push((batch.len() as f64 / seconds, count_tokens(model, batch)?.values().sum::<usize>() as f64 / seconds));
    }
    Ok((median(rates.iter().map(|r| r.0)), median(rates.iter().map(|r| r.1))))
}

/// Operations per second of large matrix products on another device than the CPU.
fn products_on(device: &Device, number: DType) -> Result<f64> {
    const SIDE: usize = 8192;
    let a = Tensor::ones((SIDE, SIDE), number, device)?;
    let mut rates = Vec::new();
    for _ in 0..8 {
        let start = Instant::now();
        a.matmul(&a)?;
        device.synchronize()?;
        rates.push(2.0 * (SIDE as f64).powi(3) / start.elapsed().as_secs_f64());
    }
    Ok(median(rates.into_iter()))
}

/// Valid tokens per modality; of codecs that learn, as many as each object gets.
fn count_tokens(model: &Model, batch: &Batch) -> Result<BTreeMap<String, usize>> {
    if model.is_codec() {
        let count = |name: &str| {
            let tokens = model.token_spec(name).map_or(0, |spec| spec.max_tokens);
            let present = batch.arrays.get(name).map_or(0, |arrays| arrays.present.iter().filter(|p| **p).count());
            (name.to_owned(), tokens * present)
        };
        return Ok(model.learning().map(count).collect());
    }
    let count = |(name, tokens): (&String, &crate::Tokens)| -> Result<(String, usize)> {
        let rows = tokens.valid.to_vec2::<u8>()?;
        let present = rows.iter().zip(&tokens.present).filter(|(_, present)| **present);
        let count = present.map(|(row, _)| row.iter().filter(|valid| **valid != 0).count()).sum();
        Ok((name.clone(), count))
    };
    batch.tokens.iter().map(count).collect()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
