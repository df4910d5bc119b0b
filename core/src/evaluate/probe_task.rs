//! One `[probe.NAME]`: what to predict from which features, and how well that works.

use super::results::{Confusion, Evaluation, ProbeResult, Regression};
use super::{EmbeddingTable, Embeddings, EvaluateConfig};
use crate::data::Column;
use crate::metrics::{self, Interval};
use crate::{Predictions, Probe, ProbeContext, ProbeTarget, Registry, Result, Rows, Section};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is done to a number before it is predicted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// Nothing.
    #[default]
    None,
    /// Its decimal logarithm; objects with values of 0 and below are left out.
    Log10,
}

/// Which vectors a probe reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// The trunk's pooled vectors.
    #[default]
    Trunk,
    /// The vectors in the space that modalities share, which a contrastive head makes.
    Shared,
}

/// The keys of `[probe.NAME]` that belong to every kind of probe.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeKeys {
    /// Column to predict: a number, or text for classes.
    pub target: String,
    /// What is done to a number before it is predicted: `none` or `log10`.
    #[serde(default)]
    pub transform: Transform,
    /// Predict classes rather than numbers. Default: classes if `positive` is given.
    #[serde(default)]
    pub classes: Option<bool>,
    /// Classes that count as yes, all others as no.
    #[serde(default)]
    pub positive: Vec<String>,
    /// Modalities to predict from; `joint` is the vector over all. Default: each, then `joint`.
    #[serde(default)]
    pub from: Vec<String>,
    /// Which vectors: `trunk` or `shared`.
    #[serde(default)]
    pub space: Space,
    /// Only objects that have all of these modalities, in training and held out, so that the rows of
    /// different modalities speak of the same objects. Default: any object.
    #[serde(default)]
    pub require: Vec<String>,
}

/// Their names, so that the probe's own config does not see them.
pub(crate) const PROBE_KEYS: [&str; 7] = ["target", "transform", "classes", "positive", "from", "space", "require"];

/// One probe of the config.
pub struct ProbeTask {
    name: String,
    keys: ProbeKeys,
    probe: Box<dyn Probe>,
}

/// The name of the vector over all modalities.
const JOINT: &str = "joint";

/// Everything that a probe is measured with.
pub(super) struct Measure<'a> {
    pub(super) train: &'a Embeddings,
    pub(super) held: &'a Embeddings,
    /// Of the training and the held-out split.
    pub(super) untrained: Option<&'a (Embeddings, Embeddings)>,
    pub(super) train_rows: &'a Rows,
    pub(super) held_rows: &'a Rows,
    pub(super) groups: Option<&'a [Option<String>]>,
    pub(super) config: &'a EvaluateConfig,
    pub(super) seed: u64,
}

impl ProbeTask {
    /// Reads `[probe.NAME]` and builds its probe.
    ///
    /// # Errors
    /// A config error at the key that caused it.
    pub fn read(name: String, section: &Section, modalities: &[String], registry: &Registry) -> Result<Self> {
        // First, so that a misspelt `target` is not reported as a missing one.
        let probe = registry.probes.build(&section.without(&PROBE_KEYS), &ProbeContext { name: &name })?;
        let others: Vec<&str> = section.keys().filter(|k| !PROBE_KEYS.contains(k)).collect();
        let mut keys: ProbeKeys = section.without(&others).read()?;
        let mut known = modalities.to_vec();
        known.push(JOINT.into());
        for from in &keys.from {
            if !known.contains(from) {
                return Err(section.unknown_reference("from", "modality", from, &known));
            }
        }
        for name in &keys.require {
            if !modalities.contains(name) {
                return Err(section.unknown_reference("require", "modality", name, modalities));
            }
        }
        if keys.from.is_empty() {
            keys.from = known;
        }
        if keys.classes == Some(false) && !keys.positive.is_empty() {
            return Err(section.reject("classes", "is false, but `positive` names classes"));
        }
        Ok(Self { name, keys, probe })
    }

    fn is_classes(&self) -> bool {
        self.keys.classes.unwrap_or(!self.keys.positive.is_empty())
    }

    /// The column that it predicts.
    #[must_use]
    pub fn column(&self) -> Column {
        let column =
            if self.is_classes() { Column::text(&self.keys.target) } else { Column::number(&self.keys.target) };
        column.read_by(format!("[probe.{}]", self.name))
    }

    fn quantity(&self) -> String {
        match self.keys.transform {
            Transform::None => self.keys.target.clone(),
            Transform::Log10 => format!("log10 {}", self.keys.target),
        }
    }

    /// The target of each row; `names` collects the classes of the training split.
    fn targets(&self, rows: &Rows) -> Result<Vec<Option<Target>>> {
        if self.is_classes() {
            let texts = rows.texts(&self.keys.target)?;
            let name = |text: String| match self.keys.positive.as_slice() {
                [] => text,
                positive if positive.contains(&text) => positive.join(" or "),
                _ => "other".into(),
            };
            return Ok(texts.into_iter().map(|t| t.map(|t| Target::Class(name(t)))).collect());
        }
        let numbers = rows.numbers(&self.keys.target)?;
        Ok(numbers
            .into_iter()
            .map(|n| match (self.keys.transform, n) {
                (Transform::Log10, Some(n)) if n > 0.0 => Some(Target::Number(n.log10())),
                (Transform::None, Some(n)) => Some(Target::Number(n)),
                _ => None,
            })
            .collect())
    }

    pub(super) fn measure(&self, with: &Measure<'_>, into: &mut Evaluation) -> Result<()> {
        let train_targets = self.targets(with.train_rows)?;
        let held_targets = self.targets(with.held_rows)?;
        for from in &self.keys.from {
            let Some(train) = self.table(with.train, from) else { continue };
            let usable = |all: &Embeddings, table: &EmbeddingTable, targets: &[Option<Target>]| -> Vec<usize> {
                let required: Vec<&EmbeddingTable> =
                    self.keys.require.iter().filter_map(|m| all.trunk.get(m)).collect();
                let has = |i: &usize| table.present[*i] && required.iter().all(|t| t.present[*i]);
                (0..targets.len()).filter(|i| has(i) && targets[*i].is_some()).collect()
            };
            let train_index = usable(with.train, train, &train_targets);
            let Some(held) = self.table(with.held, from) else { continue };
            let target = joined(&train_targets, &train_index);
            let held_index: Vec<usize> = usable(with.held, held, &held_targets)
                .into_iter()
                .filter(|i| target.knows(held_targets[*i].as_ref()))
                .collect();
            if train_index.is_empty() || held_index.len() < 2 {
                // Not an error: the model is trained, and everything else can be measured.
                into.results.notes.push(format!(
                    "[probe.{}] can't be measured from `{from}`: {} objects of the train split and {} of the held-out split \
                     have it and a usable `{}`; it needs 1 and 2",
                    self.name,
                    train_index.len(),
                    held_index.len(),
                    self.keys.target
                ));
                continue;
            }
            let truth = target.same_classes(&joined(&held_targets, &held_index));
            let run = |train: Option<&EmbeddingTable>, held: Option<&EmbeddingTable>| -> Result<_> {
                let (Some(train), Some(held)) = (train, held) else { return Ok(None) };
                let fitted = self.probe.fit(&train.gather(&train_index), train.width, &target)?;
                Ok(Some((fitted.predict(&held.gather(&held_index))?, fitted.chosen())))
            };
            let Some((predicted, chosen)) = run(Some(train), Some(held))? else { continue };
            let untrained = match with.untrained {
                Some((train, held)) => run(self.table(train, from), self.table(held, from))?,
                None => None,
            };
            let constant = Score::constant(&target, &truth);
            let score = Score::new(&truth, &predicted);
            let untrained = untrained.map(|(p, _)| Score::new(&truth, &p));
            let mut parts: BTreeMap<Option<String>, Vec<usize>> = BTreeMap::new();
            parts.insert(None, (0..held_index.len()).collect());
            for (place, i) in held_index.iter().enumerate() {
                if let Some(Some(group)) = with.groups.and_then(|g| g.get(*i)) {
                    parts.entry(Some(group.clone())).or_default().push(place);
                }
            }
            for (group, objects) in parts.into_iter().filter(|(_, objects)| score.says_something(objects)) {
                into.results.probes.push(ProbeResult {
                    name: self.name.clone(),
                    from: from.clone(),
                    metric: score.metric().into(),
                    train: train_index.len(),
                    held_out: objects.len(),
                    trained: score.interval(&objects, with),
                    untrained: untrained
                        .as_ref()
                        .map_or(Interval { value: f64::NAN, low: f64::NAN, high: f64::NAN }, |s| {
                            s.interval(&objects, with)
                        }),
                    constant: constant.value(&objects),
                    chosen: chosen.clone(),
                    group,
                });
            }
            score.draw(&self.name, from, &self.quantity(), into);
        }
        Ok(())
    }

    fn table<'a>(&self, embeddings: &'a Embeddings, from: &str) -> Option<&'a EmbeddingTable> {
        match (from, self.keys.space) {
            (JOINT, _) => Some(&embeddings.joint),
            (_, Space::Trunk) => embeddings.trunk.get(from),
            (_, Space::Shared) => embeddings.shared.get(from),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Target {
    Number(f64),
    Class(String),
}

/// The targets at `index`; classes are numbered in the order of their names.
fn joined(targets: &[Option<Target>], index: &[usize]) -> ProbeTarget {
    let mut numbers = Vec::new();
    let mut texts: Vec<&str> = Vec::new();
    for i in index {
        match &targets[*i] {
            Some(Target::Number(n)) => numbers.push(*n),
            Some(Target::Class(c)) => texts.push(c),
            None => {}
        }
    }
    if texts.is_empty() {
        return ProbeTarget::Numbers(numbers);
    }
    let mut names: Vec<String> = texts.iter().map(|t| (*t).to_owned()).collect();
    names.sort();
    names.dedup();
    let labels = texts.iter().filter_map(|t| names.iter().position(|n| n == t)).collect();
    ProbeTarget::Classes { labels, names }
}

impl ProbeTarget {
    /// Whether a held-out target is one that the training split had.
    fn knows(&self, target: Option<&Target>) -> bool {
        match (self, target) {
            (Self::Classes { names, .. }, Some(Target::Class(c))) => names.contains(c),
            (_, target) => target.is_some(),
        }
    }

    /// `held` with the classes numbered as in `self`.
    fn same_classes(&self, held: &Self) -> Self {
        match (self, held) {
            (Self::Classes { names, .. }, Self::Classes { labels, names: own }) => {
                let place: Vec<usize> = own.iter().map(|n| names.iter().position(|m| m == n).unwrap_or(0)).collect();
                Self::Classes { labels: labels.iter().map(|l| place[*l]).collect(), names: names.clone() }
            }
            (_, held) => held.clone(),
        }
    }
}

/// Truth and prediction side by side.
enum Score {
    Numbers { truth: Vec<f64>, predicted: Vec<f64> },
    Classes { truth: Vec<usize>, predicted: Vec<usize>, names: Vec<String> },
}

impl Score {
    fn new(truth: &ProbeTarget, predictions: &Predictions) -> Self {
        match (truth, predictions) {
            (ProbeTarget::Classes { labels, names }, Predictions::Classes { probabilities, classes }) => {
                let best = |row: &[f64]| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or(0);
                let predicted = probabilities.chunks(*classes).map(best).collect();
                Self::Classes { truth: labels.clone(), predicted, names: names.clone() }
            }
            (ProbeTarget::Numbers(truth), Predictions::Numbers(predicted)) => {
                Self::Numbers { truth: truth.clone(), predicted: predicted.clone() }
            }
            // A probe that answers with the other type predicts nothing.
            (ProbeTarget::Numbers(truth), _) => {
                Self::Numbers { truth: truth.clone(), predicted: vec![f64::NAN; truth.len()] }
            }
            (ProbeTarget::Classes { labels, names }, _) => {
                Self::Classes { truth: labels.clone(), predicted: vec![usize::MAX; labels.len()], names: names.clone() }
            }
        }
    }

    /// The training mean, or the most frequent training class, for every object.
    fn constant(train: &ProbeTarget, truth: &ProbeTarget) -> Self {
        match (train, truth) {
            (ProbeTarget::Classes { labels, names }, ProbeTarget::Classes { labels: truth, .. }) => {
                let count = |c: usize| labels.iter().filter(|l| **l == c).count();
                let most = (0..names.len()).max_by_key(|c| (count(*c), usize::MAX - c)).unwrap_or(0);
                Self::Classes { truth: truth.clone(), predicted: vec![most; truth.len()], names: names.clone() }
            }
            (ProbeTarget::Numbers(train), ProbeTarget::Numbers(truth)) => {
                let mean = train.iter().sum::<f64>() / train.len().max(1) as f64;
                Self::Numbers { truth: truth.clone(), predicted: vec![mean; truth.len()] }
            }
            (_, truth) => Self::new(truth, &Predictions::Numbers(Vec::new())),
        }
    }

    /// Whether a part of the objects is enough to measure on: at least ten, of more than one class.
    fn says_something(&self, objects: &[usize]) -> bool {
        let several = match self {
            Self::Numbers { .. } => true,
            Self::Classes { truth, .. } => objects.windows(2).any(|pair| truth[pair[0]] != truth[pair[1]]),
        };
        objects.len() >= 10 && several
    }

    fn metric(&self) -> &'static str {
        match self {
            Self::Numbers { .. } => "R2",
            Self::Classes { .. } => "balanced accuracy",
        }
    }

    fn value(&self, objects: &[usize]) -> f64 {
        match self {
            Self::Numbers { truth, predicted } => {
                let pick = |v: &[f64]| objects.iter().map(|i| v[*i]).collect::<Vec<_>>();
                metrics::r2(&pick(truth), &pick(predicted))
            }
            Self::Classes { truth, predicted, names } => {
                let pick = |v: &[usize]| objects.iter().map(|i| v[*i]).collect::<Vec<_>>();
                metrics::balanced_accuracy(&pick(truth), &pick(predicted), names.len())
            }
        }
    }

    fn interval(&self, objects: &[usize], with: &Measure<'_>) -> Interval {
        metrics::bootstrap(objects.len(), with.config.resamples, with.seed, |sample| {
            self.value(&sample.iter().map(|i| objects[*i]).collect::<Vec<_>>())
        })
    }

    fn draw(self, name: &str, from: &str, quantity: &str, into: &mut Evaluation) {
        match self {
            Self::Numbers { truth, predicted } => {
                let r2 = metrics::r2(&truth, &predicted);
                into.details.regressions.push(Regression {
                    name: name.into(),
                    from: from.into(),
                    quantity: quantity.into(),
                    truth,
                    predicted,
                    r2,
                });
            }
            Self::Classes { truth, predicted, names } => {
                let counts = metrics::confusion(&truth, &predicted, names.len());
                into.details.confusions.push(Confusion {
                    name: name.into(),
                    from: from.into(),
                    classes: names,
                    counts,
                });
            }
        }
    }
}
