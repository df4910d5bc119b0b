//! The valid tokens of a batch, one after the other, so that nothing is computed on padding.

use crate::Result;
use crate::ops::{self, Sequences};
use candle_core::{Device, Tensor};

/// Where the valid tokens of a batch are.
pub(super) struct Packed {
    sequences: Sequences,
    batch: usize,
    tokens: usize,
    /// Places of the valid tokens in the batch, on the CPU; none where all are valid.
    places: Option<Tensor>,
}

impl Packed {
    /// From `valid` `[B, T]` u8, on the CPU.
    pub(super) fn new(valid: &Tensor) -> Result<Self> {
        let (batch, tokens) = valid.dims2()?;
        let flags = valid.flatten_all()?.to_vec1::<u8>()?;
        let lengths = flags.chunks(tokens.max(1)).map(|row| row.iter().filter(|flag| **flag != 0).count());
        let sequences = if tokens == 0 { Sequences::new(vec![0; batch]) } else { Sequences::new(lengths) };
        let places = if sequences.rows() == batch * tokens {
            None
        } else {
            let valid_places = (0u32..).zip(&flags).filter(|(_, flag)| **flag != 0).map(|(place, _)| place);
            Some(Tensor::new(valid_places.collect::<Vec<u32>>(), &Device::Cpu)?)
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
            Some(places) => ops::gather(&flat, places)?,
            None => flat,
        })
    }

    /// `[M, D]` -> `[B, T, D]`, with zeros where there is no valid token.
    pub(super) fn unpack(&self, x: &Tensor) -> Result<Tensor> {
        let width = x.dim(1)?;
        let flat = match &self.places {
            Some(places) => ops::scatter(x, places, self.batch * self.tokens)?,
            None => x.clone(),
        };
        Ok(flat.reshape((self.batch, self.tokens, width))?)
    }
}
