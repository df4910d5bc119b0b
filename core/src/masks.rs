//! Which tokens of a batch a model is given, and which it is to predict.

use crate::{Error, Result};
use std::collections::BTreeMap;

/// For the tokens of one modality, `[B, T]` row-major: whether each goes in, and whether it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenMask {
    /// T.
    pub tokens: usize,
    /// `[B * T]`: given to the encoder.
    pub input: Vec<bool>,
    /// `[B * T]`: to be predicted.
    pub target: Vec<bool>,
}

impl TokenMask {
    /// Nothing given, nothing asked.
    #[must_use]
    pub fn none(batch: usize, tokens: usize) -> Self {
        Self { tokens, input: vec![false; batch * tokens], target: vec![false; batch * tokens] }
    }

    /// Row and token number of each target, objects in order, tokens ascending.
    #[must_use]
    pub fn targets(&self) -> Vec<(u32, u32)> {
        let flagged = self.target.iter().enumerate().filter(|(_, target)| **target);
        flagged.map(|(i, _)| ((i / self.tokens) as u32, (i % self.tokens) as u32)).collect()
    }
}

/// The masks of all modalities of a batch, by the users' names. A modality without an entry is not given and not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masks {
    /// By modality.
    pub modality: BTreeMap<String, TokenMask>,
    /// Whether targets see each other with equal weights instead of by what they are, as inference with the reference
    /// implementation of AION-1 has it; training never does.
    pub uniform: bool,
}

impl Masks {
    /// The mask of `modality`, which must be for `batch` objects of `tokens` tokens.
    ///
    /// # Errors
    /// [`Error::Shape`] if it is for others.
    pub fn of(&self, modality: &str, batch: usize, tokens: usize) -> Result<Option<&TokenMask>> {
        let Some(mask) = self.modality.get(modality) else { return Ok(None) };
        if mask.tokens == tokens && [&mask.input, &mask.target].iter().all(|flags| flags.len() == batch * tokens) {
            return Ok(Some(mask));
        }
        Err(Error::Shape {
            part: format!("mask of `{modality}`"),
            expected: format!("{batch} objects of {tokens} tokens"),
            found: format!("{} flags for {} tokens each", mask.input.len(), mask.tokens),
        })
    }

    /// Number of tokens that are given, and number of those that are asked for.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        let count = |flags: &[bool]| flags.iter().filter(|flag| **flag).count();
        self.modality.values().fold((0, 0), |(i, t), m| (i + count(&m.input), t + count(&m.target)))
    }
}
