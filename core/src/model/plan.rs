//! What a training will do and cost, known before it starts.

use super::Model;
use super::network::{NamedHead, Network};
use super::part::Part;
use crate::View;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// One modality of a [`Plan`].
#[derive(Clone, Debug, Serialize)]
pub struct ModalityPlan {
    /// The user's name.
    pub name: String,
    /// Kind of modality.
    pub kind: String,
    /// Largest number of tokens per object.
    pub tokens: usize,
    /// `patches of 12` or `codes of 1024`.
    pub values: String,
    /// Names and units of the coordinates.
    pub coordinates: Vec<String>,
}

/// One head of a [`Plan`].
#[derive(Clone, Debug, Serialize)]
pub struct HeadPlan {
    /// The user's name.
    pub name: String,
    /// Weight in the loss.
    pub weight: f64,
    /// Whether modalities see each other.
    pub view: String,
}

/// What a training will do and cost.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Per modality.
    pub modalities: Vec<ModalityPlan>,
    /// Per head.
    pub heads: Vec<HeadPlan>,
    /// Trainable parameters by part, for example `trunk.lightcurve`.
    pub parameters: BTreeMap<String, usize>,
    /// Objects per step.
    pub batch: usize,
    /// Floating-point operations per step, forward and backward, if every object has every token.
    pub flops_per_step: f64,
    /// Estimate of the memory for parameters, gradients and moments, bytes.
    pub parameter_bytes: f64,
    /// Estimate of the memory for activations, bytes.
    pub activation_bytes: f64,
}

impl Model {
    /// What training with batches of `batch` objects will cost.
    #[must_use]
    pub fn plan(&self, batch: usize) -> Plan {
        let tokens: Vec<usize> = self.parts.iter().map(|p| p.spec.max_tokens).collect();
        let mut parameters: BTreeMap<String, usize> = BTreeMap::new();
        let mut depth: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, parameter) in self.parameters.all() {
            let part: Vec<&str> = name.split('.').take(2).collect();
            let part = part.join(".");
            *parameters.entry(part.clone()).or_default() += parameter.var.as_tensor().elem_count();
            if let Some(block) = name.split('.').find(|p| p.starts_with("block")) {
                depth.entry(part).or_default().insert(block.to_owned());
            }
        }
        let total: usize = parameters.values().sum();
        let blocks = depth.values().map(BTreeSet::len).max().unwrap_or(1).max(1);
        // Measured: about 20 floats of each token's width are kept per block until backward.
        let kept = (batch * tokens.iter().sum::<usize>() * self.width() * blocks * 20 * 4) as f64;
        Plan {
            modalities: self.parts.iter().map(Part::plan).collect(),
            heads: self.network.iter().flat_map(|n| &n.heads).map(NamedHead::plan).collect(),
            parameters,
            batch,
            flops_per_step: self.flops(batch, &tokens),
            parameter_bytes: (total * 4 * 4) as f64,
            activation_bytes: kept * self.network.as_ref().map_or(0, |n| n.views().len()) as f64,
        }
    }
}

impl Model {
    fn width(&self) -> usize {
        self.network.as_ref().map_or(0, |n| n.trunk.width())
    }

    /// Floating-point operations of a step, forward and backward, for `batch` objects with so many tokens each per modality, in
    /// the config's order.
    fn flops(&self, batch: usize, tokens: &[usize]) -> f64 {
        // Backward does the work twice: once for inputs, once for weights.
        3.0 * self.network.as_ref().map_or(0.0, |network| network.flops(batch, tokens))
    }

    /// The same for a batch that holds `tokens` valid tokens in all per modality, taken as if objects shared them evenly.
    pub(crate) fn flops_of(&self, batch: usize, tokens: &BTreeMap<String, usize>) -> f64 {
        let own = |part: &Part| tokens.get(&part.name).copied().unwrap_or(0);
        let each: Vec<usize> = self.parts.iter().map(|part| own(part).div_ceil(batch.max(1))).collect();
        self.flops(batch, &each)
    }
}

impl Network {
    /// Of a forward pass.
    fn flops(&self, batch: usize, tokens: &[usize]) -> f64 {
        let plain = self.views().into_iter().filter(|view| *view != View::Masked);
        let trunk: f64 = plain.map(|view| self.trunk.flops(batch, tokens, view)).sum();
        let all: usize = tokens.iter().sum();
        let masked = self.heads.iter().filter_map(|h| h.head.masking()).map(|masking| {
            let (given, asked) = masking.budgets();
            self.trunk.flops(batch, &[given.min(all), asked.min(all)], View::Masked)
        });
        let heads: f64 = self.heads.iter().map(|h| h.head.flops(batch)).sum();
        trunk + masked.sum::<f64>() + heads
    }
}

impl Part {
    fn plan(&self) -> ModalityPlan {
        ModalityPlan {
            name: self.name.clone(),
            kind: self.kinds.modality.clone(),
            tokens: self.spec.max_tokens,
            values: match self.spec.kind {
                crate::TokenKind::Patches { width } => format!("patches of {width}"),
                crate::TokenKind::Codes { vocabulary } => format!("codes of {vocabulary}"),
            },
            coordinates: self
                .spec
                .coordinates
                .iter()
                .map(|c| if c.unit.is_empty() { c.name.to_string() } else { format!("{} ({})", c.name, c.unit) })
                .collect(),
        }
    }
}

impl NamedHead {
    fn plan(&self) -> HeadPlan {
        HeadPlan {
            name: self.name.clone(),
            weight: self.weight,
            view: format!("{:?}", self.head.view()).to_lowercase(),
        }
    }
}
