//! Mean and standard deviation of each feature, learned from the training split.

use panchroma_core::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Makes features of order one; flags (see `count`) pass unchanged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scaler {
    /// Names of the features, so that a checkpoint says what its numbers are.
    features: Vec<String>,
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl Scaler {
    /// `(value - mean) / deviation` of feature `index`.
    pub(crate) fn scale(&self, index: usize, value: f64) -> f64 {
        match (self.mean.get(index), self.deviation.get(index)) {
            (Some(mean), Some(deviation)) => (value - mean) / deviation,
            _ => value,
        }
    }

    /// Turns [`Self::scale`] back.
    pub(crate) fn unscale(&self, index: usize, value: f64) -> f64 {
        match (self.mean.get(index), self.deviation.get(index)) {
            (Some(mean), Some(deviation)) => value * deviation + mean,
            _ => value,
        }
    }

    /// Turns [`Self::scale_error`] back.
    pub(crate) fn unscale_error(&self, index: usize, error: f64) -> f64 {
        self.deviation.get(index).map_or(error, |deviation| error * deviation)
    }

    /// `error / deviation` of feature `index`: what the scaling makes of an error.
    pub(crate) fn scale_error(&self, index: usize, error: f64) -> f64 {
        self.deviation.get(index).map_or(error, |deviation| error / deviation)
    }

    /// For the checkpoint; exact, since JSON numbers are written so that they read back the same.
    pub(crate) fn to_json(&self) -> Value {
        serde_json::json!({ "features": self.features, "mean": self.mean, "deviation": self.deviation })
    }

    /// Reads what [`Self::to_json`] wrote for the features called `names`.
    ///
    /// # Errors
    /// [`Error::Plugin`] if it is something else.
    pub(crate) fn from_json(value: &Value, names: &[&str], modality: &str) -> Result<Self> {
        let wrong = |reason: String| Error::Plugin { kind: "modality", name: modality.into(), reason };
        let scaler: Self = serde_json::from_value(value.clone())
            .map_err(|e| wrong(format!("what the checkpoint says about its scaler can't be read: {e}")))?;
        let numbers = scaler.mean.iter().chain(&scaler.deviation).all(|x| x.is_finite());
        let lengths = scaler.mean.len() == names.len() && scaler.deviation.len() == names.len();
        if scaler.features != names || !lengths || !numbers || scaler.deviation.iter().any(|d| *d <= 0.0) {
            let reason = format!("the scaler in the checkpoint is for other features: expected {names:?}, got {value}");
            return Err(wrong(reason));
        }
        Ok(scaler)
    }
}

/// Collects means and variances in one pass (Welford 1962), so that no data is kept.
#[derive(Clone, Debug)]
pub(crate) struct Collector {
    count: Vec<u64>,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Collector {
    pub(crate) fn new(features: usize) -> Self {
        Self { count: vec![0; features], mean: vec![0.0; features], squares: vec![0.0; features] }
    }

    pub(crate) fn add(&mut self, index: usize, value: f64) {
        let slots = (self.count.get_mut(index), self.mean.get_mut(index), self.squares.get_mut(index));
        if let (Some(count), Some(mean), Some(squares)) = slots {
            *count += 1;
            let before = value - *mean;
            *mean += before / *count as f64;
            *squares += before * (value - *mean);
        }
    }

    /// Whether nothing was added to any feature.
    pub(crate) fn is_empty(&self) -> bool {
        self.count.iter().all(|c| *c == 0)
    }

    /// The scaler; a constant or unseen feature keeps its unit.
    pub(crate) fn finish(&self, names: &[&str]) -> Scaler {
        let spread = |(squares, count): (&f64, &u64)| (squares / (*count).max(1) as f64).sqrt();
        let deviation = self.squares.iter().zip(&self.count).map(spread);
        Scaler {
            features: names.iter().map(|n| (*n).to_owned()).collect(),
            mean: self.mean.clone(),
            deviation: deviation.map(|d| if d > 1e-9 { d } else { 1.0 }).collect(),
        }
    }
}
