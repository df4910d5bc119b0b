//! The table of kind `contrastive`.

use panchroma_core::{Result, Section};

/// How similarities become a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Cross entropy of picking the partner among all objects of the batch, in both directions.
    #[default]
    Infonce,
    /// One yes-or-no question per pair of objects of the batch.
    Sigmoid,
}

/// How a vector of the trunk gets into the shared space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProjectionKind {
    /// One matrix.
    Linear,
    /// A hidden layer as wide as the trunk, GELU, one matrix.
    #[default]
    Mlp,
}

/// `[head.NAME]` with `kind = "contrastive"`.
#[derive(Debug, Clone, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContrastiveConfig {
    /// Names of the modalities to bring together, at least two. Default: all.
    #[serde(default)]
    pub modalities: Option<Vec<String>>,
    /// Pairs of modalities that are compared, for example `[["image", "spectrum"]]`. Default: every pair.
    #[serde(default)]
    pub pairs: Option<Vec<[String; 2]>>,
    /// Dimensions of the shared space. Default 128; 32 to 1024.
    #[serde(default = "default_dimensions")]
    pub dimensions: usize,
    /// `infonce` (default): pick the partner among all objects of the batch. `sigmoid`: one yes-or-no question per
    /// pair of objects, which works with small batches too.
    #[serde(default)]
    pub loss: Loss,
    /// Temperature at the beginning: similarities are divided by it. Default 0.07 for `infonce`, 0.1 for `sigmoid`;
    /// 0.01 to 1.
    #[serde(default)]
    pub temperature: Option<f64>,
    /// Whether temperature (never below 0.01) and bias are trained. Default true.
    #[serde(default = "default_learn_temperature")]
    pub learn_temperature: bool,
    /// Bias at the beginning, for `sigmoid` only. Default -10: most pairs of objects are different ones.
    #[serde(default = "default_bias")]
    pub bias: f64,
    /// From the trunk into the shared space: `mlp` (default, one hidden layer) or `linear`.
    #[serde(default)]
    pub projection: ProjectionKind,
}

fn default_dimensions() -> usize {
    128
}
fn default_learn_temperature() -> bool {
    true
}
fn default_bias() -> f64 {
    -10.0
}

impl ContrastiveConfig {
    /// The temperature as given, or what the papers of the two losses began with.
    pub(super) fn initial_temperature(&self) -> f64 {
        self.temperature.unwrap_or(match self.loss {
            Loss::Infonce => 0.07,
            Loss::Sigmoid => 0.1,
        })
    }

    pub(super) fn check(&self, section: &Section) -> Result<()> {
        if self.dimensions == 0 {
            return Err(section.reject("dimensions", "must be at least 1"));
        }
        if !(0.01..=100.0).contains(&self.initial_temperature()) {
            return Err(section.reject("temperature", "must be between 0.01 and 100"));
        }
        if !self.bias.is_finite() {
            return Err(section.reject("bias", "must be finite"));
        }
        if self.loss == Loss::Infonce && section.contains("bias") {
            return Err(section.reject("bias", "is for `loss = \"sigmoid\"` only"));
        }
        Ok(())
    }

    /// The modalities, in the order of the experiment's config unless the table gives one.
    pub(super) fn modalities(&self, section: &Section, known: &[String]) -> Result<Vec<String>> {
        let names = self.modalities.clone().unwrap_or_else(|| known.to_vec());
        for (i, name) in names.iter().enumerate() {
            if !known.contains(name) {
                return Err(section.unknown_reference("modalities", "modality", name, known));
            }
            if names.iter().take(i).any(|other| other == name) {
                return Err(section.reject("modalities", format!("must name each modality once, got `{name}` twice")));
            }
        }
        if names.len() < 2 {
            return Err(section.reject("modalities", format!("must be at least two, got {}", names.len())));
        }
        Ok(names)
    }

    pub(super) fn pairs(&self, section: &Section, modalities: &[String]) -> Result<Vec<(String, String)>> {
        let Some(given) = &self.pairs else {
            let behind = |(i, a): (usize, &String)| {
                let a = a.clone();
                modalities.iter().skip(i + 1).map(move |b| (a.clone(), b.clone())).collect::<Vec<_>>()
            };
            return Ok(modalities.iter().enumerate().flat_map(behind).collect());
        };
        let mut pairs: Vec<(String, String)> = Vec::new();
        for [a, b] in given {
            if let Some(unknown) = [a, b].into_iter().find(|name| !modalities.contains(name)) {
                return Err(section.unknown_reference("pairs", "modality", unknown, modalities));
            }
            if a == b {
                return Err(section.reject("pairs", format!("must be of two different modalities, got `{a}` twice")));
            }
            if pairs.iter().any(|(c, d)| (c, d) == (a, b) || (d, c) == (a, b)) {
                return Err(section.reject("pairs", format!("must name each pair once, got `{a}` and `{b}` twice")));
            }
            pairs.push((a.clone(), b.clone()));
        }
        if pairs.is_empty() {
            return Err(section.reject("pairs", "must name at least one pair"));
        }
        Ok(pairs)
    }
}
