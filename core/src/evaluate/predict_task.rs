//! One `[predict.NAME]`: a scalar that a masked model predicts from other modalities, as a histogram.

use super::Transform;
use crate::generate::GenerateError;
use crate::model::Model;
use crate::{Bins, Probe, ProbeContext, Registry, Result, Section, TokenKind, TokenSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// `[predict.NAME]`: how well a run with a masked head knows a scalar from other modalities, on held-out objects.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PredictKeys {
    /// Modality to predict; its tokens are codes of scalars.
    pub target: String,
    /// Column of that modality, if it has several.
    #[serde(default)]
    pub column: Option<String>,
    /// What is given: lists of modalities, each measured by itself on the objects that have all of them. Default: every other modality
    /// alone, then all together.
    #[serde(default)]
    pub given: Vec<Vec<String>>,
    /// What is done to the values of the codes before they are measured: `none` or `log10`.
    #[serde(default)]
    pub transform: Transform,
    /// A kind of probe with its keys, such as `{ kind = "ridge" }`: fitted on plain numbers about the given tokens (means, deviations, values
    /// on a grid) of the training split, it says what a model without hidden layers would know. Default: no such comparison.
    #[serde(default)]
    pub baseline: Option<BTreeMap<String, Value>>,
}

/// The key that is a table of its own.
const BASELINE: &str = "baseline";

/// One prediction of the config.
pub struct PredictTask {
    name: String,
    keys: PredictKeys,
    section: Section,
    baseline: Option<(String, Box<dyn Probe>)>,
}

impl PredictTask {
    /// Reads `[predict.NAME]`.
    ///
    /// # Errors
    /// A config error at the key that caused it.
    pub fn read(name: String, section: &Section, modalities: &[String], registry: &Registry) -> Result<Self> {
        let mut keys: PredictKeys = section.without(&[BASELINE]).read_plain()?;
        if !modalities.contains(&keys.target) {
            return Err(section.unknown_reference("target", "modality", &keys.target, modalities));
        }
        if let Some(stranger) = keys.given.iter().flatten().find(|given| !modalities.contains(given)) {
            return Err(section.unknown_reference("given", "modality", stranger, modalities));
        }
        if keys.given.iter().any(Vec::is_empty) {
            return Err(section.reject("given", "must be lists of at least one modality each"));
        }
        if keys.given.iter().flatten().any(|given| *given == keys.target) {
            return Err(section.reject("given", format!("must not give `{}`, which is to be predicted", keys.target)));
        }
        let others: Vec<String> = modalities.iter().filter(|name| **name != keys.target).cloned().collect();
        if others.is_empty() {
            return Err(section.reject("target", "must be one of two modalities at least: there is nothing to give"));
        }
        if keys.given.is_empty() {
            keys.given = others.iter().map(|name| vec![name.clone()]).collect();
            if others.len() > 1 {
                keys.given.push(others);
            }
        }
        let baseline = match section.section(BASELINE)? {
            Some(table) => Some((table.kind()?, registry.probes.build(&table, &ProbeContext { name: &name })?)),
            None => None,
        };
        Ok(Self { name, keys, section: section.clone(), baseline })
    }

    /// Refuses a target that can't be predicted, before there is any data.
    ///
    /// # Errors
    /// A config error at `target`.
    pub(crate) fn check(&self, tokens: &TokenSpec, masked: bool) -> Result<()> {
        if !masked {
            return Err(self.section.reject("", "needs a head that predicts hidden tokens, of kind `masked`"));
        }
        match tokens.kind {
            TokenKind::Codes { .. } => Ok(()),
            TokenKind::Patches { .. } => Err(self.section.reject(
                "target",
                "must be a modality whose tokens are codes, by a tokenizer such as `quantile_codes` or `grid_codes`",
            )),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The modality that is predicted.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.keys.target
    }

    pub(super) fn given(&self) -> &[Vec<String>] {
        &self.keys.given
    }

    pub(super) fn baseline(&self) -> Option<(&str, &dyn Probe)> {
        self.baseline.as_ref().map(|(kind, probe)| (kind.as_str(), probe.as_ref()))
    }

    /// Number of the token that is predicted, and its bins as they are and as they are measured.
    pub(super) fn bins(&self, model: &Model) -> Result<(usize, Bins, Bins)> {
        let (token, bins) = scalar(model, &self.keys.target, self.keys.column.as_deref())?;
        let measured = self.transformed(&bins);
        Ok((token, bins, measured))
    }

    /// The same bins of the transformed quantity. What has no logarithm counts as the smallest that has.
    fn transformed(&self, bins: &Bins) -> Bins {
        match self.keys.transform {
            Transform::None => bins.clone(),
            Transform::Log10 => {
                let all = bins.edges.iter().chain(&bins.centres).copied();
                let least = all.filter(|x| *x > 0.0).fold(f64::INFINITY, f64::min);
                let log = |values: &[f64]| values.iter().map(|x| x.max(least).log10()).collect();
                Bins {
                    name: format!("log10 {}", bins.name),
                    unit: bins.unit.clone(),
                    centres: log(&bins.centres),
                    edges: log(&bins.edges),
                }
            }
        }
    }

    /// A value as it is measured; none if it has no logarithm.
    pub(super) fn transform(&self, value: f64) -> Option<f64> {
        match self.keys.transform {
            Transform::None => Some(value),
            Transform::Log10 if value > 0.0 => Some(value.log10()),
            Transform::Log10 => None,
        }
    }
}

/// The token and the bins of a scalar: of the column `column` of the modality `target`, which may be left out if there is one.
///
/// # Errors
/// [`GenerateError::NotScalar`] or [`GenerateError::Column`].
pub fn scalar(model: &Model, target: &str, column: Option<&str>) -> Result<(usize, Bins)> {
    let all = model.bins(target);
    if all.is_empty() {
        let scalars = model.modalities().filter(|name| !model.bins(name).is_empty()).map(str::to_owned).collect();
        return Err(GenerateError::NotScalar { modality: target.into(), scalars }.into());
    }
    let found = match column {
        Some(column) => all.iter().position(|bins| bins.name == column),
        None if all.len() == 1 => Some(0),
        None => None,
    };
    let bins = found.and_then(|token| Some((token, all.get(token)?.clone())));
    bins.ok_or_else(|| {
        let known = all.iter().map(|bins| bins.name.clone()).collect();
        let column = column.unwrap_or_default().to_owned();
        GenerateError::Column { modality: target.into(), column, known }.into()
    })
}
