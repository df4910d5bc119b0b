//! From the tokens of an object to one vector.

use super::attention::Query;
use super::block::Norm;
use crate::{Decay, Init, Parameters, Result};
use candle_core::{DType, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the tokens of an object become one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PoolKind {
    /// A learned query attends to all tokens. The default: a mean loses what few tokens carry
    /// once a modality with many tokens is added (AION-1, table 6: redshift R2 .91 against .995).
    #[default]
    Attentive,
    /// A learned token in front of the others.
    Class,
    /// The mean of the valid tokens.
    Mean,
    /// The mean of the valid tokens, scaled and shifted by nothing learned: for a trunk that only masked heads train.
    Plain,
}

/// Pools `[B, T, D]` to `[B, D]`.
#[derive(Clone, Debug)]
pub struct Pool {
    how: How,
    /// None in a pool without parameters.
    norm: Option<Norm>,
}

#[derive(Clone, Debug)]
enum How {
    Attentive(Box<Query>),
    Class(Tensor),
    Mean,
}

impl Pool {
    /// Makes the parameters.
    ///
    /// # Errors
    /// If a parameter exists already.
    pub fn new(kind: PoolKind, width: usize, heads: usize, parameters: &Parameters) -> Result<Self> {
        let how = match kind {
            PoolKind::Attentive => How::Attentive(Box::new(Query::new(width, heads, parameters)?)),
            PoolKind::Class => How::Class(parameters.get("class", &[width], Init::Normal { std: 0.02 }, Decay::No)?),
            PoolKind::Mean | PoolKind::Plain => How::Mean,
        };
        let norm = match kind {
            PoolKind::Plain => None,
            _ => Some(Norm::new(width, &parameters.pp("norm"))?),
        };
        Ok(Self { how, norm })
    }

    /// Puts the class token in front, where there is one.
    ///
    /// # Errors
    /// If shapes disagree.
    pub fn before(&self, x: &Tensor, valid: &Tensor) -> Result<(Tensor, Tensor)> {
        let How::Class(class) = &self.how else {
            return Ok((x.clone(), valid.clone()));
        };
        let (b, _, d) = x.dims3()?;
        let class = class.to_dtype(x.dtype())?.reshape((1, 1, d))?.broadcast_as((b, 1, d))?;
        let one = Tensor::ones((b, 1), DType::U8, valid.device())?;
        Ok((Tensor::cat(&[&class, x], 1)?, Tensor::cat(&[&one, valid], 1)?))
    }

    /// Encoded tokens `[B, T, D]` (with the class token where there is one) and `valid` `[B, T]` ->
    /// the tokens without the class token, and `[B, D]`.
    ///
    /// # Errors
    /// If shapes disagree.
    pub fn after(&self, x: &Tensor, valid: &Tensor) -> Result<(Tensor, Tensor)> {
        match &self.how {
            How::Attentive(query) => Ok((x.clone(), self.normed(query.forward(x, valid)?)?)),
            How::Class(_) => {
                let pooled = self.normed(x.narrow(1, 0, 1)?.squeeze(1)?)?;
                Ok((x.narrow(1, 1, x.dim(1)? - 1)?, pooled))
            }
            How::Mean => Ok((x.clone(), self.normed(mean(x, valid)?)?)),
        }
    }

    /// One vector for a part of an object's encoded tokens, `[B, T, D]` -> `[B, D]`. A class token
    /// belongs to all tokens, so there the part's mean is taken.
    ///
    /// # Errors
    /// If shapes disagree.
    pub fn subset(&self, x: &Tensor, valid: &Tensor) -> Result<Tensor> {
        let pooled = match &self.how {
            How::Attentive(query) => query.forward(x, valid)?,
            How::Class(_) | How::Mean => mean(x, valid)?,
        };
        self.normed(pooled)
    }

    fn normed(&self, pooled: Tensor) -> Result<Tensor> {
        match &self.norm {
            Some(norm) => norm.forward(&pooled),
            None => Ok(pooled),
        }
    }
}

/// Mean over the valid tokens.
pub(super) fn mean(x: &Tensor, valid: &Tensor) -> Result<Tensor> {
    let weights = valid.to_device(x.device())?.to_dtype(DType::F32)?.unsqueeze(2)?;
    let count = weights.sum(1)?.clamp(1f32, f32::MAX)?;
    let x = x.to_dtype(DType::F32)?;
    Ok(x.broadcast_mul(&weights)?.sum(1)?.broadcast_div(&count)?)
}
