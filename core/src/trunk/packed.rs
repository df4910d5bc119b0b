//! The valid tokens of a batch, one after the other, so that nothing is computed on padding.

use crate::Result;
use crate::ops::Sequences;
use candle_core::Tensor;

/// Where the valid tokens of a batch are.
pub(super) struct Packed {
    sequences: Sequences,
    batch: usize,
    tokens: usize,
    /// Places of the valid tokens in the batch, and for each place one more than its token's number, 0 if it has none; none
    /// where all are valid.
    places: Option<(Tensor, Tensor)>,
}

impl Packed {
    /// From `valid` `[B, T]` u8.
    pub(super) fn new(valid: &Tensor) -> Result<Self> {
        let (batch, tokens) = valid.dims2()?;
        let flags = valid.flatten_all()?.to_vec1::<u8>()?;
        let lengths = flags.chunks(tokens.max(1)).map(|row| row.iter().filter(|flag| **flag != 0).count());
        let sequences = if tokens == 0 { Sequences::new(vec![0; batch]) } else { Sequences::new(lengths) };
        let places = if sequences.rows() == batch * tokens {
            None
        } else {
            let mut count = 0;
            let mut numbers = Vec::with_capacity(flags.len());
            let mut places = Vec::with_capacity(sequences.rows());
            for (place, flag) in (0u32..).zip(&flags) {
                if *flag != 0 {
                    places.push(place);
                    count += 1;
                }
                numbers.push(if *flag != 0 { count } else { 0u32 });
            }
            let device = valid.device();
            Some((Tensor::new(places, device)?, Tensor::new(numbers, device)?))
        };
        Ok(Self { sequences, batch, tokens, places })
    }

    /// The tokens of each object.
    pub(super) fn sequences(&self) -> &Sequences {
        &self.sequences
    }

    /// `[B, T, D]` -> `[M, D]`.
    pub(super) fn pack(&self, x: &Tensor) -> Result<Tensor> {
        let flat = x.reshape((self.batch * self.tokens, x.dim(2)?))?;
        Ok(match &self.places {
            Some((places, _)) => flat.index_select(places, 0)?,
            None => flat,
        })
    }

    /// `[M, D]` -> `[B, T, D]`, with zeros where there is no valid token.
    pub(super) fn unpack(&self, x: &Tensor) -> Result<Tensor> {
        let width = x.dim(1)?;
        let flat = match &self.places {
            // Row 0 is what a place without a token gets.
            Some((_, numbers)) => {
                let nothing = Tensor::zeros((1, width), x.dtype(), x.device())?;
                Tensor::cat(&[&nothing, x], 0)?.index_select(numbers, 0)?
            }
            None => x.clone(),
        };
        Ok(flat.reshape((self.batch, self.tokens, width))?)
    }
}
