//! The dead-gradient guard: before step 1, every trainable parameter must get a gradient.
//!
//! Several operations of the libraries below have no backward and say nothing about it: the loss
//! still falls, because the rest learns, and days go by. One backward finds them all.

use super::TrainError;
use crate::{Batch, Forward, Mode, Model, Result, Rows};
use candle_core::backprop::GradStore;
use std::collections::{BTreeMap, BTreeSet};

/// Batches that are tried until each parameter had its chance: a batch may hold no object with
/// some modality.
const BATCHES: usize = 8;

/// Batches more that are looked through for objects with what is rare.
const SEARCHED: usize = 256;

/// Objects that are kept of each rare thing.
const EXAMPLES: usize = 8;

/// Runs forward and backward on up to eight batches and checks that every parameter of `model` that trains (`frozen` says which don't)
/// gets a gradient that is not exactly zero. Where one doesn't, further batches are searched for objects that show what it reads (a rare
/// modality, metadata that few objects have), and these are tried together.
///
/// Gives the parameters of which no object showed what they read: nothing is known of them.
///
/// # Errors
/// [`TrainError::DeadGradient`] that names the parameter, or [`TrainError::NothingToLearn`].
pub fn check_gradients(
    model: &Model,
    frozen: &dyn Fn(&str) -> bool,
    mut batches: &mut dyn Iterator<Item = Result<Batch>>,
) -> Result<Vec<String>> {
    let parameters = model.parameters().all();
    let names = parameters.iter().map(|(name, _)| name.as_str());
    let mut check = Check { model, missing: names.filter(|name| !frozen(name)).collect(), zero: BTreeSet::new() };
    let mut examples = Examples::default();
    let (mut seen, mut size, mut learned) = (0, 0, false);
    for batch in (&mut batches).take(BATCHES) {
        let batch = batch?;
        seen += 1;
        size = size.max(batch.len());
        examples.look(model, &batch)?;
        learned |= check.batch(&batch, &parameters)?;
        if check.missing.is_empty() {
            return Ok(Vec::new());
        }
    }
    if !learned {
        return Err(TrainError::NothingToLearn { batches: seen, batch: size }.into());
    }
    for batch in batches.take(SEARCHED) {
        examples.look(model, &batch?)?;
        if examples.complete(model) {
            break;
        }
    }
    if let Some(rows) = examples.rows()? {
        check.batch(&model.prepare(rows, Mode::Evaluate, 0)?, &parameters)?;
    }
    // Of what no object shows, nothing can be said.
    let unseen: Vec<String> = model.showable().into_iter().filter(|name| !examples.found.contains_key(name)).collect();
    let untried = |parameter: &str| unseen.iter().any(|name| reads(parameter, name));
    let (untried, dead): (Vec<&str>, Vec<&str>) = check.missing.iter().partition(|name| untried(name));
    match dead.first() {
        None => Ok(untried.into_iter().map(str::to_owned).collect()),
        Some(name) => Err(TrainError::DeadGradient {
            parameter: (*name).to_owned(),
            what: if check.zero.contains(name) { "a gradient of exactly zero" } else { "no gradient" },
            heads: model.heads().map(|h| format!("[head.{h}]")).collect(),
        }
        .into()),
    }
}

/// Whether a parameter reads what goes by `name`: a modality, which is a part of its own name, or a coordinate, which it begins with.
fn reads(parameter: &str, name: &str) -> bool {
    match parameter.strip_prefix(name) {
        Some(rest) if rest.is_empty() || rest.starts_with('.') => true,
        _ => parameter.split('.').any(|part| part == name),
    }
}

/// Parameters that got no gradient so far.
struct Check<'a> {
    model: &'a Model,
    missing: BTreeSet<&'a str>,
    /// Those that got one of exactly zero.
    zero: BTreeSet<&'a str>,
}

impl<'a> Check<'a> {
    /// Tries a batch; whether it gave a loss.
    fn batch(&mut self, batch: &Batch, parameters: &'a [(String, crate::Parameter)]) -> Result<bool> {
        let Some(loss) = self.model.forward(batch, &Forward::evaluate())?.loss else { return Ok(false) };
        let gradients: GradStore = loss.backward()?;
        for (name, parameter) in parameters {
            if !self.missing.contains(name.as_str()) {
                continue;
            }
            let Some(gradient) = gradients.get(parameter.var.as_tensor()) else { continue };
            if gradient.abs()?.max_all()?.to_scalar::<f32>()? > 0.0 {
                self.missing.remove(name.as_str());
                self.zero.remove(name.as_str());
            } else {
                self.zero.insert(name);
            }
        }
        Ok(true)
    }
}

/// Some objects that show each thing, those with the most things first.
#[derive(Default)]
struct Examples {
    found: BTreeMap<String, Vec<(usize, Rows)>>,
}

impl Examples {
    fn look(&mut self, model: &Model, batch: &Batch) -> Result<()> {
        for (row, shown) in model.shown(batch)?.into_iter().enumerate() {
            let count = shown.len();
            for name in shown {
                let own = self.found.entry(name).or_default();
                // An object with other modalities, too, says more: of one alone a contrast learns nothing.
                let poorest = own.iter().enumerate().min_by_key(|(_, (shows, _))| *shows).map(|(i, (n, _))| (i, *n));
                match poorest {
                    Some((place, least)) if own.len() >= EXAMPLES && count > least => {
                        own[place] = (count, batch.rows.take(&[row])?);
                    }
                    _ if own.len() >= EXAMPLES => {}
                    _ => own.push((count, batch.rows.take(&[row])?)),
                }
            }
        }
        Ok(())
    }

    fn complete(&self, model: &Model) -> bool {
        model.showable().iter().all(|name| self.found.get(name).is_some_and(|own| own.len() >= EXAMPLES))
    }

    /// All of them, each once.
    fn rows(&self) -> Result<Option<Rows>> {
        let mut known = BTreeSet::new();
        let all = self.found.values().flatten().map(|(_, rows)| rows);
        let once: Vec<Rows> = all.filter(|rows| known.insert(rows.ids().to_vec())).cloned().collect();
        if once.is_empty() { Ok(None) } else { Rows::concat(&once).map(Some) }
    }
}
