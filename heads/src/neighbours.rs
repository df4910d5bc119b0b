//! Kind `neighbours`: a number or class from the training objects that are nearest.
//!
//! Exact: every object is compared with every training object. Features are used as they are, since
//! the question is whether distances in the learned space mean something.

use crate::features::{check, check_width};
use nalgebra::DMatrix;
use panchroma_core::reexport::serde_json::{Value, json};
use panchroma_core::{Descriptor, Fitted, Predictions, Probe, ProbeContext, ProbeTarget, Result, Section};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// How far two objects are from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Length of the difference.
    #[default]
    Euclidean,
    /// 1 - cosine of the angle between the two.
    Cosine,
}

/// How much each neighbour counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Weights {
    /// All the same.
    #[default]
    Uniform,
    /// By 1 / distance.
    Distance,
}

/// `[probe.NAME]` with `kind = "neighbours"`.
#[derive(Debug, Clone, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NeighboursConfig {
    /// Number of nearest training objects; all of them if there are fewer. Default 16; 1 to 100.
    #[serde(default = "default_k")]
    pub k: usize,
    /// How much each neighbour counts: `uniform` (default) or `distance` (by 1 / distance).
    #[serde(default)]
    pub weights: Weights,
    /// `euclidean` (default) or `cosine`.
    #[serde(default)]
    pub metric: Metric,
}

fn default_k() -> usize {
    16
}

inventory::submit! {
    Descriptor::<dyn Probe> {
        name: "neighbours",
        summary: "mean number or most frequent class of the nearest training objects",
        origin: env!("CARGO_PKG_NAME"),
        example: "k = 16\nweights = \"distance\"\nmetric = \"cosine\"\n",
        schema: || schemars::schema_for!(NeighboursConfig),
        build: |section, context| Ok(Box::new(Neighbours::new(section, context)?)),
    }
}

/// The probe of kind `neighbours`.
pub struct Neighbours {
    name: String,
    config: NeighboursConfig,
}

impl Neighbours {
    /// Reads the table.
    ///
    /// # Errors
    /// A config error at the key that caused it.
    pub fn new(section: &Section, context: &ProbeContext<'_>) -> Result<Self> {
        let config: NeighboursConfig = section.read()?;
        if config.k == 0 {
            return Err(section.reject("k", "must be at least 1"));
        }
        Ok(Self { name: context.name.into(), config })
    }
}

impl Probe for Neighbours {
    fn fit(&self, features: &[f32], width: usize, target: &ProbeTarget) -> Result<Box<dyn Fitted>> {
        check(&self.name, features, width, target, 1)?;
        let rows = target.len();
        let mut centre = vec![0.0; width];
        if self.config.metric == Metric::Euclidean {
            for row in features.chunks_exact(width) {
                for (centre, x) in centre.iter_mut().zip(row) {
                    *centre += f64::from(*x) / rows as f64;
                }
            }
        }
        let mut fitted = FittedNeighbours {
            name: self.name.clone(),
            config: NeighboursConfig { k: self.config.k.min(rows), ..self.config.clone() },
            centre,
            points: DMatrix::zeros(width, 0),
            squares: Vec::new(),
            target: target.clone(),
        };
        fitted.points = fitted.placed(features);
        fitted.squares = fitted.points.column_iter().map(|x| x.norm_squared()).collect();
        Ok(Box::new(fitted))
    }
}

struct FittedNeighbours {
    name: String,
    config: NeighboursConfig,
    /// `[D]`: subtracted for Euclidean distances, which does not change them but keeps their digits.
    centre: Vec<f64>,
    /// Training objects, `[D, N]`.
    points: DMatrix<f64>,
    /// Their squared lengths, `[N]`.
    squares: Vec<f64>,
    target: ProbeTarget,
}

/// Number of distances that a thread holds at once (8 bytes each).
const DISTANCES: usize = 1 << 21;

impl FittedNeighbours {
    /// Features as columns, in which Euclidean distance orders as the metric does: cosine distance is
    /// half of the squared distance of vectors of unit length.
    fn placed(&self, features: &[f32]) -> DMatrix<f64> {
        let width = self.centre.len();
        let values = features.iter().zip(self.centre.iter().cycle()).map(|(x, c)| f64::from(*x) - c);
        let mut points = DMatrix::from_iterator(width, features.len() / width, values);
        if self.config.metric == Metric::Cosine {
            for mut point in points.column_iter_mut() {
                let length = point.norm();
                // A zero vector has no direction: it stays, equally far from all.
                if length > 0.0 {
                    point /= length;
                }
            }
        }
        points
    }

    /// Nearest training objects and how much they count, for each column of `queries`.
    fn nearest(&self, queries: &DMatrix<f64>) -> Vec<Vec<(usize, f64)>> {
        let products = self.points.tr_mul(queries);
        let one = |(query, products): (nalgebra::DVectorView<'_, f64>, nalgebra::DVectorView<'_, f64>)| {
            // Squared distance less that of the query, which is the same for all.
            let terms = products.iter().zip(&self.squares).enumerate();
            let mut order: Vec<(f64, usize)> =
                terms.map(|(i, (product, square))| (square - 2.0 * product, i)).collect();
            let k = self.config.k;
            let by = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
            if k < order.len() {
                order.select_nth_unstable_by(k - 1, by);
                order.truncate(k);
            }
            order.sort_unstable_by(by);
            let distances = order.iter().map(|(_, i)| (*i, self.distance(&query, *i))).collect();
            self.weighted(distances)
        };
        queries.column_iter().zip(products.column_iter()).map(one).collect()
    }

    /// From the difference itself, so that equal objects have distance 0.
    fn distance(&self, query: &nalgebra::DVectorView<'_, f64>, point: usize) -> f64 {
        let square = (query - self.points.column(point)).norm_squared();
        match self.config.metric {
            Metric::Euclidean => square.sqrt(),
            Metric::Cosine => square / 2.0,
        }
    }

    fn weighted(&self, distances: Vec<(usize, f64)>) -> Vec<(usize, f64)> {
        if self.config.weights == Weights::Uniform {
            return distances.into_iter().map(|(i, _)| (i, 1.0)).collect();
        }
        // An object at distance 0 is the same object: others do not count beside it.
        if distances.iter().any(|(_, d)| *d == 0.0) {
            return distances.into_iter().map(|(i, d)| (i, f64::from(u8::from(d == 0.0)))).collect();
        }
        distances.into_iter().map(|(i, d)| (i, 1.0 / d)).collect()
    }
}

impl Fitted for FittedNeighbours {
    fn predict(&self, features: &[f32]) -> Result<Predictions> {
        let width = self.centre.len();
        check_width(&self.name, features, width)?;
        let block = (DISTANCES / self.points.ncols().max(1)).clamp(1, 256);
        let nearest: Vec<Vec<(usize, f64)>> =
            features.par_chunks(block * width).flat_map_iter(|rows| self.nearest(&self.placed(rows))).collect();
        let total = |near: &[(usize, f64)]| near.iter().map(|(_, weight)| weight).sum::<f64>();
        Ok(match &self.target {
            ProbeTarget::Numbers(numbers) => {
                let sum = |near: &[(usize, f64)]| -> f64 {
                    near.iter().filter_map(|(i, weight)| numbers.get(*i).map(|n| n * weight)).sum()
                };
                Predictions::Numbers(nearest.iter().map(|near| sum(near) / total(near)).collect())
            }
            ProbeTarget::Classes { labels, names } => {
                let classes = names.len();
                let mut probabilities = vec![0.0; nearest.len() * classes];
                for (near, row) in nearest.iter().zip(probabilities.chunks_mut(classes.max(1))) {
                    let total = total(near);
                    for (i, weight) in near {
                        if let Some(p) = labels.get(*i).and_then(|label| row.get_mut(*label)) {
                            *p += weight / total;
                        }
                    }
                }
                Predictions::Classes { probabilities, classes }
            }
        })
    }

    fn chosen(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([("k".to_owned(), json!(self.config.k))])
    }
}

#[cfg(test)]
mod tests;
