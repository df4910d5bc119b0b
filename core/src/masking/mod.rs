//! Which tokens masked training gives and which it asks for, drawn per object.

use crate::masks::{Masks, TokenMask};
use crate::random::Random;
use crate::{Result, Section, TokenSpec, Tokens};
use candle_core::DType;
use rand::Rng;
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `[head.NAME.masking]`: how many tokens go in, and how many are to be predicted.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaskingConfig {
    /// Fewest and most tokens of an object that the encoder is given.
    #[serde(default = "default_inputs")]
    pub inputs: [usize; 2],
    /// Fewest and most tokens of an object that are to be predicted.
    #[serde(default = "default_targets")]
    pub targets: [usize; 2],
}

fn default_inputs() -> [usize; 2] {
    [1, 256]
}
fn default_targets() -> [usize; 2] {
    [1, 128]
}

/// Draws [`Masks`].
#[derive(Clone, Debug)]
pub struct Masking {
    config: MaskingConfig,
    /// Modalities whose tokens may be asked for.
    targets: Vec<String>,
}

impl Masking {
    /// Reads and checks the table; `modalities` are all of the config with what their tokens look like, `targets` those that may
    /// be asked for.
    ///
    /// # Errors
    /// If a value is out of range.
    pub fn read(section: &Section, modalities: &[(String, TokenSpec)], targets: &[String]) -> Result<Self> {
        let config: MaskingConfig = section.read_plain()?;
        let _ = modalities;
        for (key, [fewest, most]) in [("inputs", config.inputs), ("targets", config.targets)] {
            if fewest > most || most == 0 {
                return Err(section.reject(key, "must be the fewest and the most, the second at least 1"));
            }
        }
        Ok(Self { config, targets: targets.to_vec() })
    }

    /// Tokens per object that are given and asked for on average, for the plan.
    #[must_use]
    pub fn budgets(&self) -> (usize, usize) {
        let mean = |[fewest, most]: [usize; 2]| fewest.midpoint(most);
        (mean(self.config.inputs), mean(self.config.targets))
    }

    /// Draws for each object from its own stream, `random(id)`; only tokens that are valid take part, and none is both given
    /// and asked for.
    ///
    /// # Errors
    /// If `tokens` break their contract.
    pub fn draw(
        &self,
        tokens: &BTreeMap<String, Tokens>,
        ids: &[String],
        random: &dyn Fn(&str) -> Random,
    ) -> Result<Masks> {
        let mut masks = Masks::default();
        let mut valid = BTreeMap::new();
        for (name, own) in tokens {
            let (batch, t) = own.valid.dims2()?;
            masks.modality.insert(name.clone(), TokenMask::none(batch, t));
            valid.insert(name.as_str(), own.valid.to_dtype(DType::U8)?.flatten_all()?.to_vec1::<u8>()?);
        }
        for (row, id) in ids.iter().enumerate() {
            let mut random = random(id);
            let mut places: Vec<(&str, usize)> = Vec::new();
            for (name, valid) in &valid {
                let t = masks.modality.get(*name).map_or(0, |m| m.tokens);
                places.extend((row * t..(row + 1) * t).filter(|i| valid.get(*i) == Some(&1)).map(|i| (*name, i)));
            }
            places.shuffle(&mut random);
            let inputs = random.random_range(self.config.inputs[0]..=self.config.inputs[1]);
            let asked = random.random_range(self.config.targets[0]..=self.config.targets[1]);
            // At least one token is left to ask for.
            let inputs = inputs.min(places.len().saturating_sub(1));
            let (given, rest) = places.split_at(inputs);
            for (name, i) in given {
                if let Some(mask) = masks.modality.get_mut(*name) {
                    mask.input[*i] = true;
                }
            }
            let allowed = rest.iter().filter(|(name, _)| self.targets.iter().any(|t| t == name));
            for (name, i) in allowed.take(asked) {
                if let Some(mask) = masks.modality.get_mut(*name) {
                    mask.target[*i] = true;
                }
            }
        }
        Ok(masks)
    }
}
