//! The dead-gradient guard: before step 1, every trainable parameter must get a gradient.
//!
//! Several operations of the libraries below have no backward and say nothing about it: the loss
//! still falls, because the rest learns, and days go by. One backward finds them all.

use super::TrainError;
use crate::{Batch, Forward, Model, Result};
use candle_core::backprop::GradStore;
use std::collections::BTreeSet;

/// Batches that are tried until each parameter had its chance: a batch may hold no object with
/// some modality.
const BATCHES: usize = 8;

/// Runs forward and backward on up to eight batches and checks that every parameter of `model`
/// that trains (`frozen` says which don't) gets a gradient that is not exactly zero.
///
/// # Errors
/// [`TrainError::DeadGradient`] that names the parameter, or [`TrainError::NothingToLearn`].
pub fn check_gradients(
    model: &Model,
    frozen: &dyn Fn(&str) -> bool,
    batches: &mut dyn Iterator<Item = Result<Batch>>,
) -> Result<()> {
    let parameters = model.parameters().all();
    let mut missing: BTreeSet<&str> =
        parameters.iter().map(|(name, _)| name.as_str()).filter(|name| !frozen(name)).collect();
    let mut zero: BTreeSet<&str> = BTreeSet::new();
    let mut seen = 0;
    let mut learned = false;
    let mut size = 0;
    for batch in batches.take(BATCHES) {
        let batch = batch?;
        seen += 1;
        size = size.max(batch.len());
        let Some(loss) = model.forward(&batch, &Forward::evaluate())?.loss else { continue };
        learned = true;
        let gradients: GradStore = loss.backward()?;
        for (name, parameter) in &parameters {
            if !missing.contains(name.as_str()) {
                continue;
            }
            let Some(gradient) = gradients.get(parameter.var.as_tensor()) else { continue };
            if gradient.abs()?.max_all()?.to_scalar::<f32>()? > 0.0 {
                missing.remove(name.as_str());
                zero.remove(name.as_str());
            } else {
                zero.insert(name);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
    }
    if !learned {
        return Err(TrainError::NothingToLearn { batches: seen, batch: size }.into());
    }
    match missing.first() {
        None => Ok(()),
        Some(name) => Err(TrainError::DeadGradient {
            parameter: (*name).to_owned(),
            what: if zero.contains(name) { "a gradient of exactly zero" } else { "no gradient" },
            heads: model.heads().map(|h| format!("[head.{h}]")).collect(),
        }
        .into()),
    }
}
