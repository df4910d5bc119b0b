//! The transformer(s) between tokens and heads.
//!
//! Legend of shapes: `B` batch, `T` tokens, `D` width, `H` heads, `K` width of a head.

mod attention;
mod block;
mod encoder;
mod encoder_decoder;
mod fused;
mod hidden;
mod packed;
mod pool;
#[cfg(test)]
mod tests;
mod towers;

pub use block::{Block, Norm};
pub use encoder::{Encoder, EncoderConfig};
pub use encoder_decoder::{Encoded, EncoderDecoder, EncoderDecoderConfig, EncoderPool, Nonlinearity};
pub use fused::{Fused, FusedConfig};
pub use pool::{Pool, PoolKind};
pub use towers::{Towers, TowersConfig};

use crate::{Error, Features, Forward, Masks, Parameters, Result, Section, TokenSet, TokenSpec, View};

/// What a trunk may know while it is built.
#[derive(Debug)]
pub struct TrunkContext<'a> {
    /// The user's names of the modalities and what their tokens look like, in the config's order.
    pub modalities: &'a [(String, TokenSpec)],
    /// Where the trunk makes its parameters.
    pub parameters: &'a Parameters,
}

/// What a trunk may know of heads that mask tokens, once they are built.
#[derive(Debug)]
pub struct MaskContext<'a> {
    /// The table `[trunk]`.
    pub section: &'a Section,
    /// As [`TrunkContext::parameters`].
    pub parameters: &'a Parameters,
    /// Whether no head does anything else, so that none trains what [`Trunk::predict`] does not use.
    pub alone: bool,
}

/// Turns embedded tokens into features.
///
/// # Contract
/// * Tokens with `valid = 0` may hold anything and influence nothing.
/// * Under [`View::Isolated`] what a modality gives does not depend on any other modality.
/// * An object without a modality gets zeros and `present = false` there.
pub trait Trunk: Send + Sync {
    /// Width D of embedded tokens and of features.
    fn width(&self) -> usize;

    /// Tokens -> features.
    ///
    /// # Errors
    /// If a segment is not of the trunk's width, or names a modality that it was not built for.
    fn forward(&self, tokens: &TokenSet, view: View, context: &Forward) -> Result<Features>;

    /// Makes what [`Self::predict`] alone needs; called once, if a head masks tokens.
    ///
    /// # Errors
    /// If the trunk's table does not go with that, or a parameter exists already.
    fn expect_masks(&mut self, context: &MaskContext<'_>) -> Result<()> {
        let _ = context;
        Ok(())
    }

    /// What is at the places that `masks` asks for, given the tokens that it gives: features of [`View::Masked`]. Segments have
    /// [`crate::Segment::place`].
    ///
    /// # Errors
    /// As [`Self::forward`]; [`Error::Shape`] if this trunk can't do that.
    fn predict(&self, tokens: &TokenSet, masks: &Masks, context: &Forward) -> Result<Features> {
        let _ = (tokens, masks, context);
        Err(Error::Shape {
            part: "trunk".into(),
            expected: "one that predicts masked tokens, such as `encoder_decoder`".into(),
            found: "one that does not".into(),
        })
    }

    /// Floating-point operations of one forward pass for `batch` objects with `tokens` tokens per
    /// modality (in the order of [`TrunkContext::modalities`]), for the plan. Under [`View::Masked`], `tokens` are the numbers of
    /// those that are given and of those that are asked for.
    fn flops(&self, batch: usize, tokens: &[usize], view: View) -> f64;
}
