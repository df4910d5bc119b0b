//! What a trunk makes of tokens.

use crate::tokens::scatter_rows;
use crate::{Result, Segment, TokenSet};
use candle_core::Tensor;
use std::collections::BTreeMap;

/// What the tokens of one modality may see of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum View {
    /// Nothing: each modality is encoded as if it were alone. Contrastive training needs this, or
    /// the answer leaks.
    Isolated,
    /// Everything.
    Joint,
    /// The tokens that the head's [`crate::Masking`] gives, to predict those that it asks for.
    Masked,
}

/// One vector per object.
#[derive(Clone, Debug)]
pub struct Pooled {
    /// `[B, D]`; rows of absent objects are zero.
    pub vectors: Tensor,
    /// `[B]`.
    pub present: Vec<bool>,
}

impl Pooled {
    /// Puts one vector per object of `segment`, `[N, D]`, into `[B, D]`.
    ///
    /// # Errors
    /// If `vectors` does not have N rows.
    pub fn scattered(segment: &Segment, vectors: &Tensor, batch: usize) -> Result<Self> {
        let mut present = vec![false; batch];
        for row in &segment.rows {
            present[*row as usize] = true;
        }
        Ok(Self { vectors: scatter_rows(vectors, &segment.rows, batch)?, present })
    }

    /// The mean over those of `parts` that an object has; `None` if there is no part.
    ///
    /// # Errors
    /// If widths disagree.
    pub fn mean<'a>(parts: impl Iterator<Item = &'a Self>, batch: usize) -> Result<Option<Self>> {
        let mut sum: Option<Tensor> = None;
        let mut count = vec![0f32; batch];
        for part in parts {
            for (count, present) in count.iter_mut().zip(&part.present) {
                *count += f32::from(u8::from(*present));
            }
            sum = Some(match sum {
                None => part.vectors.clone(),
                Some(sum) => (sum + &part.vectors)?,
            });
        }
        let Some(sum) = sum else { return Ok(None) };
        let present = count.iter().map(|c| *c > 0.0).collect();
        let weights: Vec<f32> = count.iter().map(|c| 1.0 / c.max(1.0)).collect();
        let weights = Tensor::new(weights, sum.device())?.unsqueeze(1)?;
        Ok(Some(Self { vectors: sum.broadcast_mul(&weights)?, present }))
    }

    /// The same with zeros where an object is absent.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn masked(self) -> Result<Self> {
        let mask: Vec<f32> = self.present.iter().map(|p| f32::from(u8::from(*p))).collect();
        let mask = Tensor::new(mask, self.vectors.device())?.unsqueeze(1)?;
        Ok(Self { vectors: self.vectors.broadcast_mul(&mask)?, present: self.present })
    }

    /// Rows of the batch that are present.
    #[must_use]
    pub fn rows(&self) -> Vec<u32> {
        (0u32..).zip(&self.present).filter(|(_, p)| **p).map(|(i, _)| i).collect()
    }
}

/// What a trunk predicts at the places of one modality that were asked for.
#[derive(Clone, Debug)]
pub struct Targets {
    /// The user's name of the modality.
    pub modality: String,
    /// Row of the batch and number of the token of each, objects in order, tokens ascending; K of them.
    pub places: Vec<(u32, u32)>,
    /// `[K, D]` f32.
    pub vectors: Tensor,
}

/// The trunk's answer for one [`View`].
#[derive(Clone, Debug)]
pub struct Features {
    /// Which view this is.
    pub view: View,
    /// One vector per object and modality.
    pub modality: BTreeMap<String, Pooled>,
    /// One vector per object over all its modalities.
    pub joint: Pooled,
    /// The encoded tokens.
    pub tokens: TokenSet,
    /// Under [`View::Masked`], what was asked for; a modality of which nothing was asked is left out.
    pub targets: Vec<Targets>,
}
