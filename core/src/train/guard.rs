//! The dead-gradient guard: before step 1, every trainable parameter must get a gradient.
//!
//! Several operations of the libraries below have no backward and say nothing about it: the loss
//! still falls, because the rest learns, and days go by. One backward finds them all.
//!
//! A parameter may also get none because no object that was tried has what it reads: a rare modality, metadata that few objects have.
//! That is told from the other by trying again with random tokens in place of the objects' own, of which nothing is missing.

use super::TrainError;
use crate::ops::Gradients;
use crate::{Batch, Forward, Model, Result};
use candle_core::Tensor;
use std::collections::BTreeSet;

/// Batches that are tried until each parameter had its chance: a batch may hold no object with
/// some modality.
const BATCHES: usize = 8;

/// Batches that are looked through for one on which a head gives a loss, if others do: few objects may have its label.
const SEARCHED: usize = 256;

/// Runs forward and backward on up to eight batches and checks that every parameter of `model` that trains (`frozen` says which don't)
/// gets a gradient that is not exactly zero. Those that don't are tried again on tokens that are made up; what is not in the tokens, such
/// as a label, can't be made up.
///
/// Gives the parameters that got a gradient on no real batch, and are not dead as far as can be said.
///
/// # Errors
/// [`TrainError::DeadGradient`] that names the parameter, or [`TrainError::NothingToLearn`].
pub fn check_gradients(
    model: &Model,
    frozen: &dyn Fn(&str) -> bool,
    batches: &mut dyn Iterator<Item = Result<Batch>>,
) -> Result<Vec<String>> {
    let parameters = model.parameters().all();
    let names = parameters.iter().map(|(name, _)| name.as_str()).enumerate();
    let mut check = Check {
        model,
        gradients: Gradients::new(&parameters)?,
        missing: names.filter(|(_, name)| !frozen(name)).collect(),
        zero: BTreeSet::new(),
        silent: model.heads().into_iter().collect(),
    };
    // The first batch, and each on which a head gave its first loss.
    let mut kept = Vec::new();
    let (mut seen, mut size) = (0, 0);
    // Tokens can be made up, measurements of which a codec learns can't: what is rare in them has to be found.
    let tried = if model.is_codec() { SEARCHED } else { BATCHES };
    for batch in batches.take(SEARCHED) {
        let batch = batch?;
        seen += 1;
        size = size.max(batch.len());
        let silent = check.silent.len();
        let loss = check.forward(&batch)?;
        let news = check.silent.len() < silent;
        if let Some(loss) = loss.filter(|_| seen <= tried || news) {
            check.backward(&loss)?;
        }
        if check.missing.is_empty() {
            return Ok(Vec::new());
        }
        if kept.is_empty() || news {
            kept.push(batch);
        }
        if seen >= tried && (check.silent.is_empty() || check.silent.len() == model.heads().len()) {
            break;
        }
    }
    if check.silent.len() == model.heads().len() {
        return Err(TrainError::NothingToLearn { batches: seen, batch: size }.into());
    }
    let rare = check.missing.iter().map(|(_, name)| (*name).to_owned()).collect();
    for batch in kept {
        if let Some(loss) = check.forward(&model.made_up(batch)?)? {
            check.backward(&loss)?;
        }
    }
    match check.missing.first() {
        // As long as a head is silent, any parameter may be one that it alone reads.
        Some((_, name)) if check.silent.is_empty() => Err(TrainError::DeadGradient {
            parameter: (*name).to_owned(),
            what: if check.zero.contains(name) { "a gradient of exactly zero" } else { "no gradient" },
            heads: model.learning_tables(),
        }
        .into()),
        _ => Ok(rare),
    }
}

/// What got no gradient so far.
struct Check<'a> {
    model: &'a Model,
    gradients: Gradients,
    /// Numbers and names, in their order.
    missing: Vec<(usize, &'a str)>,
    /// Those that got one of exactly zero.
    zero: BTreeSet<&'a str>,
    /// Heads that gave no loss so far.
    silent: BTreeSet<String>,
}

impl Check<'_> {
    /// The loss of a batch.
    fn forward(&mut self, batch: &Batch) -> Result<Option<Tensor>> {
        let output = self.model.forward(batch, &Forward::evaluate())?;
        self.silent
            .retain(|head| !output.heads.iter().any(|(name, output)| name == head.as_str() && output.loss.is_some()));
        Ok(output.loss)
    }

    fn backward(&mut self, loss: &Tensor) -> Result<()> {
        self.gradients.clear();
        self.gradients.backward(loss)?;
        let mut missing = Vec::new();
        for (number, name) in std::mem::take(&mut self.missing) {
            if let Some(gradient) = self.gradients.to_host(number)? {
                if gradient.iter().any(|value| value.abs() > 0.0) {
                    continue;
                }
                self.zero.insert(name);
            }
            missing.push((number, name));
        }
        self.missing = missing;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
