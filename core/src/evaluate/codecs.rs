//! What codecs are worth on held-out objects: what they lose, how they use their codes, and a few objects to look at.

use super::results::{CodecMeasure, CodecResult, Reconstruction};
use super::{EvaluateContext, Evaluation};
use crate::data::Catalogue;
use crate::head::SUMS;
use crate::metrics::{CodeCounts, bootstrap};
use crate::model::CODEC;
use crate::{Forward, HeadOutput, Mode, Model, Result, TokenKind, TokenValues};
use candle_core::Device;
use std::collections::BTreeMap;

/// Objects that are drawn, per codec.
const DRAWN: usize = 6;

/// A measure of this name has a share of explained variance: 1 less it over that of the best constant.
const CONSTANT: &str = "constant";

/// Measures the codecs of a model that trains nothing else.
pub(super) fn evaluate(context: EvaluateContext<'_>) -> Result<Evaluation> {
    let EvaluateContext { model, held_out, catalogue, config, seed, progress, .. } = context;
    let rows = catalogue.split(held_out)?;
    let mut codecs: BTreeMap<String, Measured> = BTreeMap::new();
    for name in model.learning() {
        codecs.insert(name.to_owned(), Measured::new(model, name));
    }
    let mut done = 0;
    for chunk in rows.chunks(config.batch.max(1)) {
        let batch = model.prepare(catalogue.read(chunk)?, Mode::Evaluate, 0)?;
        let output = model.forward(&batch, &Forward::evaluate())?;
        for (name, codec) in &mut codecs {
            let Some(arrays) = batch.arrays.get(name) else { continue };
            let present: Vec<bool> = arrays.present.clone();
            let own = output.heads.iter().find(|(head, _)| head.strip_prefix(CODEC) == Some(name.as_str()));
            if let Some((_, own)) = own {
                codec.add(own, &present)?;
            }
            if let Some(tokens) = model.encode(name, arrays)? {
                codec.count(&tokens.values, &tokens.valid)?;
            }
            codec.rows.extend(chunk.iter().zip(&present).filter(|(_, present)| **present).map(|(row, _)| *row));
        }
        done += chunk.len();
        progress(done, rows.len());
    }
    let mut evaluation = Evaluation::default();
    for (name, codec) in codecs {
        if codec.rows.is_empty() {
            evaluation.results.notes.push(format!("no held-out object has `{name}`: its codec is not measured"));
            continue;
        }
        let step = codec.rows.len().div_ceil(DRAWN).max(1);
        let drawn: Vec<u32> = codec.rows.iter().copied().step_by(step).collect();
        evaluation.details.reconstructions.extend(reconstructions(model, catalogue, &name, &drawn)?);
        evaluation.results.codecs.push(codec.finish(name, config.resamples, seed));
    }
    Ok(evaluation)
}

/// Sums over held-out objects of one codec.
struct Measured {
    loss: f64,
    objects: f64,
    metrics: BTreeMap<String, f64>,
    /// Per measure, of each object.
    sums: BTreeMap<String, Vec<[f64; 2]>>,
    seen: usize,
    counts: CodeCounts,
    /// Of the catalogue, of the objects that have the modality.
    rows: Vec<u32>,
}

impl Measured {
    fn new(model: &Model, modality: &str) -> Self {
        let vocabulary = match model.token_spec(modality).map(|spec| spec.kind) {
            Some(TokenKind::Codes { vocabulary }) => vocabulary,
            _ => 0,
        };
        let counts = CodeCounts::new(vocabulary);
        let (metrics, sums) = (BTreeMap::new(), BTreeMap::new());
        Self { loss: 0.0, objects: 0.0, metrics, sums, seen: 0, counts, rows: Vec::new() }
    }

    fn add(&mut self, output: &HeadOutput, present: &[bool]) -> Result<()> {
        let before = self.seen;
        self.seen += present.len();
        let Some(loss) = &output.loss else { return Ok(()) };
        let objects = present.iter().filter(|p| **p).count() as f64;
        self.objects += objects;
        self.loss += f64::from(loss.to_scalar::<f32>()?) * objects;
        for (name, metric) in &output.metrics {
            *self.metrics.entry(name.clone()).or_default() += f64::from(metric.to_scalar::<f32>()?) * objects;
        }
        for (name, sums) in &output.predictions {
            let Some(name) = name.strip_prefix(SUMS) else { continue };
            let all = self.sums.entry(name.to_owned()).or_default();
            // A measure that appears first in a later batch had nothing to measure before.
            all.resize(before, [0.0; 2]);
            let own = sums.to_device(&Device::Cpu)?.to_vec2::<f32>()?;
            all.extend(own.iter().map(|own| [0, 1].map(|i| own.get(i).copied().map_or(0.0, f64::from))));
        }
        Ok(())
    }

    fn count(&mut self, values: &TokenValues, valid: &candle_core::Tensor) -> Result<()> {
        let TokenValues::Codes(codes) = values else { return Ok(()) };
        let (codes, valid) = (codes.flatten_all()?.to_vec1::<u32>()?, valid.flatten_all()?.to_vec1::<u8>()?);
        self.counts.add(codes.into_iter().zip(valid).filter(|(_, valid)| *valid == 1).map(|(code, _)| code));
        Ok(())
    }

    fn finish(self, modality: String, resamples: usize, seed: u64) -> CodecResult {
        let Self { loss, objects, metrics, sums, counts, rows, .. } = self;
        let ratio = |own: &[[f64; 2]], sample: &[usize]| {
            let total = |i: usize| sample.iter().filter_map(|at| own.get(*at)).map(|own| own[i]).sum::<f64>();
            total(0) / total(1)
        };
        let of = |own: &[[f64; 2]]| bootstrap(own.len(), resamples, seed, |sample| ratio(own, sample));
        let is_baseline = |name: &str| name.rsplit_once('.').is_some_and(|(before, _)| sums.contains_key(before));
        let measures = sums.iter().filter(|(name, _)| !is_baseline(name)).map(|(name, own)| {
            let prefix = format!("{name}.");
            let baselines = sums.iter().filter_map(|(other, sums)| Some((other.strip_prefix(&prefix)?, sums)));
            let constant = sums.get(&format!("{prefix}{CONSTANT}"));
            CodecMeasure {
                name: name.clone(),
                value: of(own),
                baselines: baselines.map(|(baseline, sums)| (baseline.to_owned(), of(sums))).collect(),
                r2: constant.map(|constant| {
                    bootstrap(own.len(), resamples, seed, |sample| 1.0 - ratio(own, sample) / ratio(constant, sample))
                }),
            }
        });
        CodecResult {
            modality,
            objects: rows.len(),
            loss: loss / objects,
            measures: measures.collect(),
            // The use of codes is that of all objects together, not the mean over batches.
            metrics: metrics
                .into_iter()
                .filter(|(name, _)| !["codebook_usage", "perplexity"].contains(&name.as_str()))
                .map(|(name, sum)| (name, sum / objects))
                .collect(),
            codes: counts.finish(),
        }
    }
}

/// What objects measured and what their codes say, where the modality can draw it and the codec can tell it.
fn reconstructions(model: &Model, catalogue: &Catalogue, name: &str, rows: &[u32]) -> Result<Vec<Reconstruction>> {
    let batch = model.prepare(catalogue.read(rows)?, Mode::Evaluate, 0)?;
    let Some(arrays) = batch.arrays.get(name) else { return Ok(Vec::new()) };
    let Some(tokens) = model.encode(name, arrays)? else { return Ok(Vec::new()) };
    let closely = model.closely(name, arrays)?;
    let Some(told) = model.reconstruct(name, &tokens, Some(closely.as_ref().unwrap_or(arrays)))? else {
        return Ok(Vec::new());
    };
    let mut all = Vec::new();
    for (row, object) in batch.rows.ids().iter().enumerate() {
        if let (Some(measured), Some(told)) = (model.sketch(name, arrays, row)?, model.sketch(name, &told, row)?) {
            all.push(Reconstruction { modality: name.to_owned(), object: object.clone(), measured, told });
        }
    }
    Ok(all)
}
