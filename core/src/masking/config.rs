//! `[head.NAME.masking]`: what a user may write.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many tokens of each modality are given and asked for, and which.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaskingConfig {
    /// How the tokens of an object are divided over its modalities: `dirichlet` (default), `uniform`, `aion` or `share`.
    #[serde(default)]
    pub scheme: Scheme,
    /// Fewest and most tokens of an object that the model is given; drawn evenly between the two for each object, but at most what
    /// leaves one token to ask for. Default `[1, 256]`. With 0 as the fewest, an object may be given nothing. Not for `share`.
    #[serde(default = "default_inputs")]
    pub inputs: [usize; 2],
    /// Fewest and most tokens of an object that are to be predicted; drawn evenly between the two (`aion`: by `beta`) for each
    /// object, but at most what was not given. Default `[1, 128]`. Not for `share`.
    #[serde(default = "default_targets")]
    pub targets: [usize; 2],
    /// Modalities whose tokens may be given. Default: all.
    #[serde(default)]
    pub inputs_from: Option<Vec<String>>,
    /// Modalities whose tokens may be asked for. Default: all that the head can predict.
    #[serde(default)]
    pub targets_from: Option<Vec<String>>,
    /// For `dirichlet`: which side takes its tokens first, so that the other has what is left: `either` (default: by lot, for
    /// each object), `inputs` or `targets`.
    #[serde(default)]
    pub first: First,
    /// For `dirichlet`: mixtures, `[[head.NAME.masking.mixture]]`, of which one is drawn for each object. Default: four, with an
    /// `alpha` of 0.01, 0.1, 1 and 10.
    #[serde(default)]
    pub mixture: Vec<MixtureConfig>,
    /// For `share`: least and greatest share of a modality's tokens that is asked for; the rest is given. Drawn for each object and
    /// modality. Default `[0.5, 0.5]`.
    #[serde(default = "default_share")]
    pub share: [f64; 2],
    /// For `aion`: the two numbers of the Beta distribution of the number of targets, as a share of what is possible. Default
    /// `[0.1, 1.0]`, which is mostly few: 9 % on average.
    #[serde(default = "default_beta")]
    pub beta: [f64; 2],
    /// Probability, 0 to 1, with which nothing of a modality is given, so that it can only be asked for: `{ image = 0.3 }`. Of the
    /// modalities of an object one always stays, unless 0 is the fewest of `inputs`. Default: none.
    #[serde(default)]
    pub hide: BTreeMap<String, f64>,
    /// Probability, 0 to 1, with which one modality of the object, drawn by lot, is all that is asked for, and nothing of it is
    /// given. Default 0.
    #[serde(default)]
    pub whole: f64,
    /// Modalities whose targets lie in spans of neighbouring tokens: `{ spectrum = { mean = 8 } }`. Default: none.
    #[serde(default)]
    pub spans: BTreeMap<String, SpanConfig>,
    /// Modalities whose targets lie in rectangles of a grid: `{ image = { mean = 16 } }`. Default: none.
    #[serde(default)]
    pub blocks: BTreeMap<String, BlockConfig>,
}

/// How budgets are divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// By shares of the modalities from a Dirichlet distribution, one for inputs and one for targets, as in 4M (Mizrahi et al. 2023).
    /// What a modality can't fill of its part stays unused, so that a large one does not take what is meant for the others.
    #[default]
    Dirichlet,
    /// Every token of the object is as likely as any other, whatever its modality.
    Uniform,
    /// As AION-1 (Parker et al. 2025): a modality by lot, as much of it as the budget holds, the rest of the budget from all others,
    /// every token as likely; then few targets more often than many.
    Aion,
    /// Everything is given but a share of each modality, which is asked for, as in masked autoencoders.
    Share,
}

/// Who takes tokens first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum First {
    /// By lot, so that a modality of one token is given as often as asked for.
    #[default]
    Either,
    /// Inputs, as in 4M.
    Inputs,
    /// Targets.
    Targets,
}

/// One Dirichlet distribution for inputs and one for targets.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MixtureConfig {
    /// How often it is drawn, against the others. Default 1.
    #[serde(default = "one")]
    pub weight: f64,
    /// Alpha of every modality that is not named below: near 0, one modality takes nearly all of a budget; 1, any division is as
    /// likely; large, all take the same. Default 1.
    #[serde(default = "one")]
    pub alpha: f64,
    /// Alpha by modality among what is given; 0: never given.
    #[serde(default)]
    pub inputs: BTreeMap<String, f64>,
    /// Alpha by modality among what is asked for; 0: never asked for.
    #[serde(default)]
    pub targets: BTreeMap<String, f64>,
}

/// Spans of neighbouring tokens.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpanConfig {
    /// Mean number of tokens of a span, at least 1.
    pub mean: f64,
    /// Coordinate along which tokens are neighbours, for example `time`. Default: the order of the tokens.
    #[serde(default)]
    pub along: Option<String>,
}

/// Rectangles of a grid.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockConfig {
    /// Mean number of cells of a rectangle, at least 1. The last rectangle of an object is cut to the number of its targets.
    pub mean: f64,
    /// Height over width of a rectangle: from this to one over this, even in logarithm. Above 0, at most 1; default 0.3.
    #[serde(default = "default_aspect")]
    pub aspect: f64,
    /// Lines and columns of the grid, whose cells the tokens fill line by line (and again, for tokens of another channel). Default:
    /// by the coordinates in `axes`.
    #[serde(default)]
    pub grid: Option<[usize; 2]>,
    /// Coordinates that say the line and the column of a token. Default `["y", "x"]`.
    #[serde(default = "default_axes")]
    pub axes: [String; 2],
}

fn default_inputs() -> [usize; 2] {
    [1, 256]
}
fn default_targets() -> [usize; 2] {
    [1, 128]
}
fn default_share() -> [f64; 2] {
    [0.5, 0.5]
}
fn default_beta() -> [f64; 2] {
    [0.1, 1.0]
}
fn default_aspect() -> f64 {
    0.3
}
fn default_axes() -> [String; 2] {
    ["y".into(), "x".into()]
}
fn one() -> f64 {
    1.0
}

impl Default for MaskingConfig {
    fn default() -> Self {
        Self {
            scheme: Scheme::default(),
            inputs: default_inputs(),
            targets: default_targets(),
            inputs_from: None,
            targets_from: None,
            first: First::default(),
            mixture: Vec::new(),
            share: default_share(),
            beta: default_beta(),
            hide: BTreeMap::new(),
            whole: 0.0,
            spans: BTreeMap::new(),
            blocks: BTreeMap::new(),
        }
    }
}
