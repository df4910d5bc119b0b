//! Predictions of a masked model against what is known without it: the marginal distribution of the target, and a linear model of the
//! given tokens.
//!
//! All distributions are histograms over the same bins, so that their log-likelihoods can be compared. That of the marginal has a number of
//! made-up objects in each bin that makes objects of the training split most probable when each is left out. That of the baseline is normal
//! around its prediction, as wide as it errs on a fifth of the training split that it was not fitted on, mixed with the marginal.

use super::EvaluateConfig;
use super::inputs::Inputs;
use super::marginal::{marginal, normal};
use super::predict_task::PredictTask;
use super::results::{BaselineResult, Evaluation, PosteriorExample, Prediction, PredictionResult};
use crate::data::Catalogue;
use crate::generate::{Posterior, scalar_logits, scalar_truth};
use crate::metrics::{self, Interval};
use crate::{Batch, Bins, Mode, Model, Predictions, ProbeTarget, Result};
use std::collections::BTreeMap;

/// Objects of the training split that marginals and baselines are fitted on, at most.
const FITTED: usize = 20_000;

/// Share of the marginal in the baseline's distribution, so that no value is impossible.
const MIXED: f64 = 0.02;

/// Posteriors that are drawn.
const EXAMPLES: usize = 4;

/// What predictions are measured with.
pub(super) struct Measure<'a> {
    pub(super) model: &'a Model,
    pub(super) catalogue: &'a Catalogue,
    pub(super) train: &'a [u32],
    pub(super) held: &'a [u32],
    pub(super) groups: Option<&'a [Option<String>]>,
    pub(super) config: &'a EvaluateConfig,
    pub(super) seed: u64,
}

/// Number of objects that [`measure`] reads of `train` and `held`.
pub(super) fn objects(train: usize, held: usize) -> usize {
    train.min(FITTED) + held
}

/// The true code and value of each object of a split, where it is known, and the numbers for the baseline.
struct Known {
    /// Per task.
    truth: Vec<Vec<Option<(usize, f64)>>>,
    /// Per modality.
    inputs: BTreeMap<String, Inputs>,
}

/// One task with what it needs of the model.
struct Ready<'a> {
    task: &'a PredictTask,
    token: usize,
    raw: Bins,
    bins: Bins,
}

/// Logits of held-out objects, by task and set.
type Logits = BTreeMap<(usize, usize), (Vec<usize>, Vec<f32>)>;

/// Measures all `tasks`; `progress` gets the number of objects done.
///
/// # Errors
/// If the data can't be read or the model fails.
pub(super) fn measure(
    tasks: &[PredictTask],
    with: &Measure<'_>,
    into: &mut Evaluation,
    progress: &mut dyn FnMut(usize),
) -> Result<()> {
    let mut ready = Vec::new();
    for task in tasks {
        match task.bins(with.model) {
            Ok((token, raw, bins)) => ready.push(Ready { task, token, raw, bins }),
            Err(error) => into.results.notes.push(format!("[predict.{}] can't be measured: {error}", task.name())),
        }
    }
    if ready.is_empty() {
        return Ok(());
    }
    let step = with.train.len().div_ceil(FITTED).max(1);
    let some: Vec<u32> = with.train.iter().copied().step_by(step).collect();
    let mut train = Known::new(&ready, with.model);
    let mut held = Known::new(&ready, with.model);
    for (number, chunk) in some.chunks(with.config.batch).enumerate() {
        let batch = with.model.prepare(with.catalogue.read(chunk)?, Mode::Evaluate, 0)?;
        train.add(&ready, &batch)?;
        progress(number * with.config.batch + chunk.len());
    }
    let mut logits = Logits::new();
    for (number, chunk) in with.held.chunks(with.config.batch).enumerate() {
        let batch = with.model.prepare(with.catalogue.read(chunk)?, Mode::Evaluate, 0)?;
        let before = number * with.config.batch;
        held.add(&ready, &batch)?;
        for (t, own) in ready.iter().enumerate() {
            for (s, given) in own.task.given().iter().enumerate() {
                let objects: Vec<usize> = (0..batch.len()).filter(|i| held.usable(t, before + i, given)).collect();
                let (found, values) = logits.entry((t, s)).or_default();
                if !objects.is_empty() {
                    let place = (own.task.target(), own.token);
                    values.extend(scalar_logits(with.model, &batch, &objects, given, place)?.0);
                    found.extend(objects.iter().map(|i| before + i));
                }
            }
        }
        progress(some.len() + before + chunk.len());
    }
    for (name, inputs) in &mut train.inputs {
        if let Some(other) = held.inputs.get_mut(name) {
            inputs.agree(other);
        }
    }
    for (t, own) in ready.iter().enumerate() {
        for (s, given) in own.task.given().iter().enumerate() {
            let (objects, logits) = logits.remove(&(t, s)).unwrap_or_default();
            let set = Set { ready: own, number: t, given, train: &train, held: &held };
            set.measure(&objects, &logits, with, into)?;
        }
    }
    Ok(())
}

impl Known {
    fn new(ready: &[Ready<'_>], model: &Model) -> Self {
        let baselines = ready.iter().filter(|own| own.task.baseline().is_some());
        let names = baselines.flat_map(|own| own.task.given().iter().flatten());
        let inputs = names.filter_map(|name| {
            let spec = model.token_spec(name)?;
            Some((name.clone(), Inputs::new(spec, model.bins(name))))
        });
        // Whether an object has a modality is asked of `present`, also where there is no baseline.
        let others = ready.iter().flat_map(|own| own.task.given().iter().flatten());
        let mut inputs: BTreeMap<String, Inputs> = inputs.collect();
        for name in others {
            if let Some(spec) = model.token_spec(name) {
                inputs.entry(name.clone()).or_insert_with(|| Inputs::new(spec, model.bins(name)));
            }
        }
        Self { truth: vec![Vec::new(); ready.len()], inputs }
    }

    fn add(&mut self, ready: &[Ready<'_>], batch: &Batch) -> Result<()> {
        for (own, truth) in ready.iter().zip(&mut self.truth) {
            truth.extend(own.truth(batch)?);
        }
        for (name, inputs) in &mut self.inputs {
            if let Some(tokens) = batch.tokens.get(name) {
                inputs.extend(tokens)?;
            }
        }
        Ok(())
    }

    /// Whether an object has a known target of the task and all of `given`.
    fn usable(&self, task: usize, object: usize, given: &[String]) -> bool {
        let known = self.truth.get(task).and_then(|own| own.get(object)).is_some_and(Option::is_some);
        let has = |name: &String| self.inputs.get(name).and_then(|i| i.present.get(object)).copied().unwrap_or(false);
        known && given.iter().all(has)
    }

    fn all_usable(&self, task: usize, given: &[String]) -> Vec<usize> {
        let count = self.truth.get(task).map_or(0, Vec::len);
        (0..count).filter(|object| self.usable(task, *object, given)).collect()
    }

    fn truth(&self, task: usize, object: usize) -> (usize, f64) {
        self.truth.get(task).and_then(|own| own.get(object)).copied().flatten().unwrap_or((0, f64::NAN))
    }

    /// Numbers about the given tokens of the objects.
    fn features(&self, given: &[String], objects: &[usize]) -> (Vec<f32>, usize) {
        let mut rows = vec![Vec::new(); objects.len()];
        let mut width = 0;
        for inputs in given.iter().filter_map(|name| self.inputs.get(name)) {
            let (own, more) = inputs.gather(objects);
            rows.iter_mut().zip(own).for_each(|(row, own)| row.extend(own));
            width += more;
        }
        (rows.concat(), width)
    }
}

impl Ready<'_> {
    /// Code and value of each object, the latter as it is measured.
    fn truth(&self, batch: &Batch) -> Result<Vec<Option<(usize, f64)>>> {
        let known = scalar_truth(batch, (self.task.target(), self.token), &self.raw)?;
        Ok(known.into_iter().map(|known| known.and_then(|(code, x)| Some((code, self.task.transform(x)?)))).collect())
    }
}

/// One task from one set of modalities.
struct Set<'a> {
    ready: &'a Ready<'a>,
    number: usize,
    given: &'a [String],
    train: &'a Known,
    held: &'a Known,
}

impl Set<'_> {
    fn measure(&self, objects: &[usize], logits: &[f32], with: &Measure<'_>, into: &mut Evaluation) -> Result<()> {
        let (task, bins) = (self.ready.task, &self.ready.bins);
        let train = self.train.all_usable(self.number, self.given);
        if train.len() < 10 || objects.len() < 2 {
            into.results.notes.push(format!(
                "[predict.{}] can't be measured from {:?}: {} objects of the train split and {} of the held-out split have them \
                 and the target; it needs 10 and 2",
                task.name(),
                self.given,
                train.len(),
                objects.len()
            ));
            return Ok(());
        }
        let width = bins.centres.len();
        let posteriors: Vec<Posterior<'_>> =
            logits.chunks(width).map(|own| Posterior::from_logits(bins, own)).collect();
        let codes: Vec<usize> = train.iter().map(|i| self.train.truth(self.number, *i).0).collect();
        let marginal = Posterior::new(bins, marginal(&codes, width));
        let baseline = match task.baseline() {
            Some(_) => Some(self.baseline(&train, objects, &marginal)?),
            None => None,
        };
        let truth: Vec<(usize, f64)> = objects.iter().map(|i| self.held.truth(self.number, *i)).collect();
        let scores = Scores::new(&truth, &posteriors, &marginal, baseline.as_ref());
        let mut parts: BTreeMap<Option<String>, Vec<usize>> = BTreeMap::new();
        parts.insert(None, (0..objects.len()).collect());
        for (place, object) in objects.iter().enumerate() {
            if let Some(Some(group)) = with.groups.and_then(|groups| groups.get(*object)) {
                parts.entry(Some(group.clone())).or_default().push(place);
            }
        }
        for (group, places) in parts.into_iter().filter(|(group, places)| group.is_none() || places.len() >= 10) {
            let result = PredictionResult {
                name: task.name().into(),
                quantity: bins.name.clone(),
                unit: bins.unit.clone(),
                given: self.given.to_vec(),
                group,
                train: train.len(),
                held_out: places.len(),
                log_likelihood: scores.mean(&places, with, |s, i| s.model[i]),
                marginal: places.iter().map(|i| scores.marginal[*i]).sum::<f64>() / places.len() as f64,
                gain: scores.mean(&places, with, |s, i| s.model[i] - s.marginal[i]),
                r2: scores.of(&places, with, metrics::r2, &scores.predicted),
                rmse: scores.of(&places, with, metrics::rmse, &scores.predicted),
                coverage68: scores.mean(&places, with, |s, i| s.inside(i, &s.central68)),
                coverage95: scores.mean(&places, with, |s, i| s.inside(i, &s.central95)),
                baseline: baseline.as_ref().map(|own| BaselineResult {
                    kind: task.baseline().map_or("", |(kind, _)| kind).into(),
                    features: own.features,
                    gain: scores.mean(&places, with, |s, i| s.baseline[i] - s.marginal[i]),
                    advantage: scores.mean(&places, with, |s, i| s.model[i] - s.baseline[i]),
                    r2: scores.of(&places, with, metrics::r2, &own.predicted),
                    rmse: scores.of(&places, with, metrics::rmse, &own.predicted),
                }),
            };
            into.results.predictions.push(result);
        }
        let number = |interval: &[(f64, f64)]| -> Vec<[f64; 2]> { interval.iter().map(|(a, b)| [*a, *b]).collect() };
        let examples = examples(&truth).into_iter().filter_map(|i| {
            let posterior = posteriors.get(i)?;
            Some(PosteriorExample {
                edges: bins.edges.clone(),
                probabilities: posterior.probabilities().to_vec(),
                truth: truth.get(i)?.1,
            })
        });
        into.details.predictions.push(Prediction {
            name: task.name().into(),
            quantity: bins.name.clone(),
            given: self.given.to_vec(),
            truth: scores.truth.clone(),
            predicted: scores.predicted.clone(),
            central68: number(&scores.central68),
            below: truth.iter().zip(&posteriors).map(|((code, value), p)| p.below(*code, *value)).collect(),
            r2: metrics::r2(&scores.truth, &scores.predicted),
            examples: examples.collect(),
        });
        Ok(())
    }

    /// Fits the baseline on the training split.
    fn baseline(&self, train: &[usize], objects: &[usize], marginal: &Posterior<'_>) -> Result<Baseline> {
        let Some((_, probe)) = self.ready.task.baseline() else { return Ok(Baseline::default()) };
        let bins = &self.ready.bins;
        let value = |i: &usize| self.train.truth(self.number, *i).1;
        let fit = |fitted: &[usize], asked: (Vec<f32>, usize)| -> Result<Vec<f64>> {
            let (features, width) = self.train.features(self.given, fitted);
            let target = ProbeTarget::Numbers(fitted.iter().map(value).collect());
            match probe.fit(&features, width, &target)?.predict(&asked.0)? {
                Predictions::Numbers(numbers) => Ok(numbers),
                Predictions::Classes { .. } => Ok(vec![f64::NAN; asked.0.len() / asked.1.max(1)]),
            }
        };
        let (kept, rest): (Vec<_>, Vec<_>) = train.iter().enumerate().partition(|(place, _)| place % 5 == 0);
        let of = |part: Vec<(usize, &usize)>| part.into_iter().map(|(_, i)| *i).collect::<Vec<usize>>();
        let (kept, rest) = (of(kept), of(rest));
        let left_out = fit(&rest, self.train.features(self.given, &kept))?;
        let deviation = metrics::rmse(&kept.iter().map(value).collect::<Vec<_>>(), &left_out);
        let asked = self.held.features(self.given, objects);
        let features = asked.1;
        let predicted = fit(train, asked)?;
        let log_densities = predicted.iter().zip(objects).map(|(mean, object)| {
            let (code, _) = self.held.truth(self.number, *object);
            let normal = normal(bins, *mean, deviation);
            let mixed = normal.iter().zip(marginal.probabilities()).map(|(n, m)| (1.0 - MIXED) * n + MIXED * m);
            Posterior::new(bins, mixed.collect()).log_density(code)
        });
        Ok(Baseline { features, log_densities: log_densities.collect(), predicted })
    }
}

#[derive(Default)]
struct Baseline {
    features: usize,
    predicted: Vec<f64>,
    log_densities: Vec<f64>,
}

/// A few objects whose truths are spread over all.
fn examples(truth: &[(usize, f64)]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..truth.len()).collect();
    order.sort_by(|a, b| truth[*a].1.total_cmp(&truth[*b].1));
    let place = |k: usize| order.get(((2 * k + 1) * order.len()) / (2 * EXAMPLES)).copied();
    let mut found: Vec<usize> = (0..EXAMPLES).filter_map(place).collect();
    found.dedup();
    found
}

/// What is known of each held-out object.
struct Scores {
    truth: Vec<f64>,
    predicted: Vec<f64>,
    central68: Vec<(f64, f64)>,
    central95: Vec<(f64, f64)>,
    /// Log densities of the truth.
    model: Vec<f64>,
    marginal: Vec<f64>,
    baseline: Vec<f64>,
}

impl Scores {
    fn new(
        truth: &[(usize, f64)],
        posteriors: &[Posterior<'_>],
        marginal: &Posterior<'_>,
        baseline: Option<&Baseline>,
    ) -> Self {
        Self {
            truth: truth.iter().map(|(_, value)| *value).collect(),
            predicted: posteriors.iter().map(Posterior::mean).collect(),
            central68: posteriors.iter().map(|p| p.interval(0.6827)).collect(),
            central95: posteriors.iter().map(|p| p.interval(0.95)).collect(),
            model: truth.iter().zip(posteriors).map(|((code, _), p)| p.log_density(*code)).collect(),
            marginal: truth.iter().map(|(code, _)| marginal.log_density(*code)).collect(),
            baseline: baseline.map(|own| own.log_densities.clone()).unwrap_or_default(),
        }
    }

    /// Mean over objects, with its interval.
    fn mean(&self, places: &[usize], with: &Measure<'_>, value: impl Fn(&Self, usize) -> f64 + Sync) -> Interval {
        metrics::bootstrap(places.len(), with.config.resamples, with.seed, |sample| {
            sample.iter().map(|i| value(self, places[*i])).sum::<f64>() / sample.len() as f64
        })
    }

    fn of(
        &self,
        places: &[usize],
        with: &Measure<'_>,
        measure: impl Fn(&[f64], &[f64]) -> f64 + Sync,
        predicted: &[f64],
    ) -> Interval {
        metrics::bootstrap(places.len(), with.config.resamples, with.seed, |sample| {
            let pick = |values: &[f64]| sample.iter().map(|i| values[places[*i]]).collect::<Vec<_>>();
            measure(&pick(&self.truth), &pick(predicted))
        })
    }

    fn inside(&self, object: usize, intervals: &[(f64, f64)]) -> f64 {
        let (low, high) = intervals[object];
        f64::from(u8::from(self.truth[object] >= low && self.truth[object] <= high))
    }
}
