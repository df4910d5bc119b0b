//! From arrays to tokens, and back where that is possible.
//!
//! A tokenizer never embeds: its output is also the target of masked training, and what a plugin
//! can return. Learned projections live in [`crate::embed`]. A discrete tokenizer that has parameters of
//! its own is a codec: it is trained in a stage of its own ([`Tokenizer::learn`]) and only used after that.

use crate::{Arrays, ArraysSpec, Forward, HeadOutput, Parameters, Result, TokenSpec, Tokens};
use candle_core::Tensor;
use serde_json::Value;
use std::sync::Arc;

/// What a tokenizer may know while it is built.
#[derive(Clone, Copy, Debug)]
pub struct TokenizerContext<'a> {
    /// The user's name of the modality.
    pub modality: &'a str,
    /// What the modality's arrays look like.
    pub arrays: &'a ArraysSpec,
    /// Where a codec makes its parameters; already below the modality's own name.
    pub parameters: &'a Parameters,
}

/// The values that the codes of a scalar stand for.
#[derive(Clone, Debug, PartialEq)]
pub struct Bins {
    /// Name of the quantity, for plots: a column of the table.
    pub name: String,
    /// Unit of the values.
    pub unit: String,
    /// The value that each code stands for, rising.
    pub centres: Vec<f64>,
    /// Borders between codes, one more than there are codes: the outer ones are the ends of what was seen.
    pub edges: Vec<f64>,
}

/// A differentiable map of the values of single tokens.
pub trait Layer: Send + Sync {
    /// Values per token that it gives.
    fn outputs(&self) -> usize;

    /// `[N, P]` f32, patches of N tokens -> `[N, outputs]`, differentiable in parameters and patches.
    ///
    /// # Errors
    /// If a tensor operation fails.
    fn forward(&self, patches: &Tensor) -> Result<Tensor>;
}

/// Turns arrays into tokens. `continuous` ones give patches of values, `discrete` ones codes.
///
/// # Contract
/// * The result fits [`Self::spec`].
/// * A token without one valid value has `valid = 0`; masked values never reach a valid token.
/// * Row `i` of the result depends on row `i` of the input alone.
pub trait Tokenizer: Send + Sync {
    /// Largest number of tokens, patch width or vocabulary, coordinates.
    fn spec(&self) -> TokenSpec;

    /// Learns what needs no gradient, such as quantiles, from the arrays of the training split; called after the modality was
    /// fitted. Tokenizers that learn nothing keep the default.
    ///
    /// # Errors
    /// If the data can't be read, or has no usable value.
    fn fit(&mut self, arrays: &mut dyn Iterator<Item = Result<Arrays>>) -> Result<()> {
        let _ = arrays;
        Ok(())
    }

    /// Whether [`Self::fit`] needs to see the data.
    fn fits(&self) -> bool {
        false
    }

    /// What [`Self::fit`] learned, for the checkpoint; `Null` if nothing.
    fn fitted(&self) -> Value {
        Value::Null
    }

    /// Takes back what [`Self::fitted`] gave.
    ///
    /// # Errors
    /// If `fitted` is not what this tokenizer writes.
    fn restore(&mut self, fitted: &Value) -> Result<()> {
        let _ = fitted;
        Ok(())
    }

    /// Arrays -> tokens, on the CPU; called from loader threads.
    ///
    /// # Errors
    /// If `arrays` is not what [`TokenizerContext::arrays`] said.
    fn tokenize(&self, arrays: &Arrays, context: &Forward) -> Result<Tokens>;

    /// Tokens -> arrays, up to what tokenizing lost; `None` if this tokenizer can't. `like` has what describes the
    /// measurement that is asked for, such as its wavelengths; without it, the tokenizer's own grid is taken.
    ///
    /// # Errors
    /// If `tokens` does not fit [`Self::spec`].
    fn reconstruct(&self, tokens: &Tokens, like: Option<&Arrays>, context: &Forward) -> Result<Option<Arrays>> {
        let _ = (tokens, like, context);
        Ok(None)
    }

    /// The loss and metrics of a codec's own training on these arrays, differentiable in its parameters; `None` if the batch had
    /// nothing to learn from. Called only if [`Self::learns`]. In evaluation nothing is drawn but from `context`, and predictions may hold
    /// [`crate::SUMS`], from which the results of a codec are made.
    ///
    /// # Errors
    /// If `arrays` is not what [`TokenizerContext::arrays`] said.
    fn learn(&self, arrays: &Arrays, context: &Forward) -> Result<HeadOutput> {
        let _ = (arrays, context);
        Ok(HeadOutput::default())
    }

    /// Whether this is a codec that is trained by gradient.
    fn learns(&self) -> bool {
        false
    }

    /// A map with parameters that the patches go through before they are embedded. Its parameters were made when this was built, from
    /// [`TokenizerContext::parameters`]. `None`, the default: patches are embedded as they are.
    fn layer(&self) -> Option<Arc<dyn Layer>> {
        None
    }

    /// What the codes of each token stand for, where each token is a scalar; empty elsewhere.
    fn bins(&self) -> Vec<Bins> {
        Vec::new()
    }
}
