//! Tokens that are given or asked for.

use crate::modalities::AionKind;
use candle_core::{Device, Tensor};
use panchroma_core::{Result, TokenMask, Tokens};

/// Most kinds whose orders are tried where the reference draws one.
const MOST_ORDERED: usize = 4;

/// Tokens of one kind, and which of them take part.
pub(super) struct Part {
    pub(super) kind: &'static AionKind,
    /// `[B, T]` u32.
    pub(super) codes: Tensor,
    pub(super) mask: TokenMask,
}

impl Part {
    /// B and T.
    pub(super) fn size(&self) -> Result<(usize, usize)> {
        Ok(self.codes.dims2()?)
    }

    /// As our tokenizers give them. Tokens of a sequence are counted among those that are given.
    pub(super) fn tokens(&self) -> Result<Tokens> {
        let (batch, count) = self.size()?;
        let tokens = Tokens::codes(self.codes.clone(), vec![true; batch])?;
        if !self.kind.is_sequence() {
            return Ok(tokens);
        }
        let mut places = Vec::with_capacity(batch * count);
        for own in self.mask.input.chunks(count.max(1)) {
            let mut next = 0_u32;
            for given in own {
                places.push(next as f32);
                next += u32::from(*given);
            }
        }
        Ok(Tokens { coordinates: Tensor::from_vec(places, (batch, count, 1), &Device::Cpu)?, ..tokens })
    }
}

/// Gives the first `most` of the tokens that are given, of each object.
pub(super) fn keep(parts: &mut [Part], most: usize) -> Result<()> {
    let Some(first) = parts.first() else { return Ok(()) };
    let (batch, _) = first.size()?;
    for object in 0..batch {
        let mut left = most;
        for part in parts.iter_mut() {
            let tokens = part.mask.tokens;
            for input in part.mask.input.iter_mut().skip(object * tokens).take(tokens) {
                *input &= left > 0;
                left -= usize::from(*input);
            }
        }
    }
    Ok(())
}

/// All orders of so many things; of many, the given one alone.
pub(super) fn orders(count: usize) -> Vec<Vec<usize>> {
    if count > MOST_ORDERED {
        return vec![(0..count).collect()];
    }
    let mut all = vec![Vec::new()];
    for next in 0..count {
        let insert = |order: Vec<usize>| {
            (0..=order.len()).map(move |place| {
                let mut order = order.clone();
                order.insert(place, next);
                order
            })
        };
        all = all.into_iter().flat_map(insert).collect();
    }
    all
}
