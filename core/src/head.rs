//! What turns features into a loss and predictions.

use crate::{Batch, Column, Features, Forward, Masking, Parameters, Result, TokenSpec, View};
use candle_core::Tensor;
use std::collections::BTreeMap;

/// What a head may know while it is built.
#[derive(Debug)]
pub struct HeadContext<'a> {
    /// The user's name, from `[head.NAME]`.
    pub name: &'a str,
    /// The user's names of the modalities, in the config's order.
    pub modalities: &'a [String],
    /// What the tokens of each look like, in the same order.
    pub tokens: &'a [(String, TokenSpec)],
    /// Width D of the trunk's vectors.
    pub width: usize,
    /// Where the head makes its parameters; already below the head's own name.
    pub parameters: &'a Parameters,
}

/// Predictions of this name, with a modality's name behind it, are vectors `[B, E]` of unit length
/// in a space that the modalities share: retrieval and `panchroma embed` use them.
pub const EMBEDDING: &str = "embedding.";

/// Predictions of this name, with that of a measure behind it, are `[B, 2]` f32: for each object a sum and by what it is to be divided,
/// both 0 where there is nothing to measure. The measure of any number of objects is the sum of the former over the sum of the latter.
/// Codecs give them in evaluation: `NAME` of what they reconstruct, and `NAME.BASELINE` of simpler guesses, such as `error.constant`.
pub const SUMS: &str = "sums.";

/// What a head gives for one batch.
#[derive(Clone, Debug, Default)]
pub struct HeadOutput {
    /// Scalar f32, differentiable; `None` if the batch had nothing to learn from.
    pub loss: Option<Tensor>,
    /// Named scalars for the log; tensors, so that nobody waits for a device before they are read.
    pub metrics: BTreeMap<String, Tensor>,
    /// Named predictions, `[B, ..]`; for example the projected embeddings of each modality.
    pub predictions: BTreeMap<String, Tensor>,
}

/// Turns features into a loss and predictions. Pre-training heads (contrastive, masked) and
/// downstream heads (regression, classification) are the same trait.
pub trait Head: Send + Sync {
    /// Columns that the head reads from [`Batch::rows`], for example its target.
    fn columns(&self) -> Vec<Column> {
        Vec::new()
    }

    /// Which view of the tokens it needs.
    fn view(&self) -> View;

    /// Which tokens are given and asked for, for heads with [`View::Masked`].
    fn masking(&self) -> Option<&Masking> {
        None
    }

    /// Floating-point operations of one forward pass for `batch` objects, for the plan.
    fn flops(&self, batch: usize) -> f64;

    /// Features -> loss, metrics, predictions. An object that lacks a modality never counts as
    /// zeros: it is left out of the sum.
    ///
    /// # Errors
    /// If shapes disagree or the target has a wrong type.
    fn forward(&self, features: &Features, batch: &Batch, context: &Forward) -> Result<HeadOutput>;
}
