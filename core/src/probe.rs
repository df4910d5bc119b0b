//! What measures a learned embedding: a small model fitted on frozen features of the training
//! split and scored on a held-out one.

use crate::Result;
use serde_json::Value;
use std::collections::BTreeMap;

/// What a probe may know while it is built.
#[derive(Clone, Copy, Debug)]
pub struct ProbeContext<'a> {
    /// The user's name, from `[probe.NAME]`.
    pub name: &'a str,
}

/// What is to be predicted, for N objects.
#[derive(Clone, Debug, PartialEq)]
pub enum ProbeTarget {
    /// Real numbers.
    Numbers(Vec<f64>),
    /// Classes as indices into `names`.
    Classes {
        /// Class of each object.
        labels: Vec<usize>,
        /// Names of the classes.
        names: Vec<String>,
    },
}

impl ProbeTarget {
    /// Number of objects.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(v) => v.len(),
            Self::Classes { labels, .. } => labels.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a fitted probe says about N objects.
#[derive(Clone, Debug, PartialEq)]
pub enum Predictions {
    /// Real numbers.
    Numbers(Vec<f64>),
    /// Probabilities, row-major `[N, classes]`.
    Classes {
        /// Row-major `[N, classes]`.
        probabilities: Vec<f64>,
        /// Number of classes.
        classes: usize,
    },
}

/// A small model on frozen features.
///
/// Features are row-major `[N, D]` f32, one row per object.
pub trait Probe: Send + Sync {
    /// Fits on the training split.
    ///
    /// # Errors
    /// If there are too few objects, or the target is of the wrong type for this probe.
    fn fit(&self, features: &[f32], width: usize, target: &ProbeTarget) -> Result<Box<dyn Fitted>>;
}

/// A fitted probe.
pub trait Fitted: Send + Sync {
    /// Predicts for the rows of `features`, `[N, D]` with the width that it was fitted on.
    ///
    /// # Errors
    /// If the width differs.
    fn predict(&self, features: &[f32]) -> Result<Predictions>;

    /// What was chosen while fitting (for example the ridge's strength), for the results file.
    fn chosen(&self) -> BTreeMap<String, Value> {
        BTreeMap::new()
    }
}
