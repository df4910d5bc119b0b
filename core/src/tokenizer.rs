//! From arrays to tokens, and back where that is possible.
//!
//! A tokenizer never embeds: its output is also the target of masked training, and what a plugin
//! can return. Learned projections live in [`crate::embed`].

use crate::{Arrays, ArraysSpec, Forward, Result, TokenSpec, Tokens};

/// What a tokenizer may know while it is built.
#[derive(Clone, Copy, Debug)]
pub struct TokenizerContext<'a> {
    /// The user's name of the modality.
    pub modality: &'a str,
    /// What the modality's arrays look like.
    pub arrays: &'a ArraysSpec,
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

    /// Arrays -> tokens, on the CPU; called from loader threads.
    ///
    /// # Errors
    /// If `arrays` is not what [`TokenizerContext::arrays`] said.
    fn tokenize(&self, arrays: &Arrays, context: &Forward) -> Result<Tokens>;

    /// Tokens -> arrays, up to what tokenizing lost; `None` if this tokenizer can't.
    ///
    /// # Errors
    /// If `tokens` does not fit [`Self::spec`].
    fn reconstruct(&self, tokens: &Tokens, context: &Forward) -> Result<Option<Arrays>> {
        let _ = (tokens, context);
        Ok(None)
    }
}
