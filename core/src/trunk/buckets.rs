//! Objects of similar numbers of tokens together, so that little is computed on padding.
//!
//! A batch is as wide as its longest object. Which objects share a batch is part of what a contrastive loss means, so they
//! are not sorted when they are loaded; inside the encoder each object is alone with its own tokens, and the batch can be cut
//! into narrower ones there without changing a result.

use crate::Result;
use candle_core::Tensor;

/// A part ends where objects have less than this share of its longest one's tokens.
const SIMILAR: f64 = 0.75;

/// A part has at least this many tokens: matrix products of fewer rows are not worth it.
const ENOUGH: usize = 512;

/// Cutting must save this share of all tokens, as copying them there and back has its cost too.
const WORTH: f64 = 0.15;

/// How to cut a batch.
pub(super) struct Buckets {
    parts: Vec<Part>,
    /// For each place `[B x T]` of the batch, its token among those of all parts.
    back: Tensor,
}

struct Part {
    /// Places of its objects in the batch.
    objects: Vec<usize>,
    /// `[b x L]`: places in the batch.
    tokens: Tensor,
    /// `[b, L]`.
    valid: Tensor,
}

impl Buckets {
    /// Cuts a batch by `valid` `[B, T]`; none if nothing is won.
    pub(super) fn new(valid: &Tensor) -> Result<Option<Self>> {
        let (b, t) = valid.dims2()?;
        let places: Vec<Vec<usize>> = valid
            .to_vec2::<u8>()?
            .iter()
            .map(|row| row.iter().enumerate().filter(|(_, valid)| **valid != 0).map(|(at, _)| at).collect())
            .collect();
        let mut order: Vec<usize> = (0..b).collect();
        order.sort_by_key(|&object| std::cmp::Reverse(places.get(object).map_or(0, Vec::len)));
        let lengths: Vec<usize> = order.iter().map(|&o| places.get(o).map_or(0, Vec::len).max(1)).collect();
        let widths = cut(&lengths);
        let cost: usize = widths.iter().map(|(count, width)| count * width).sum();
        if cost as f64 > (1.0 - WORTH) * (b * t) as f64 {
            return Ok(None);
        }
        let device = valid.device();
        // Places without a value take any token: what they hold has no influence.
        let mut back = vec![0u32; b * t];
        let (mut parts, mut next, mut rest) = (Vec::new(), 0u32, order.into_iter());
        for (count, width) in widths {
            let (mut tokens, mut flags) = (Vec::with_capacity(count * width), Vec::with_capacity(count * width));
            let objects: Vec<usize> = rest.by_ref().take(count).collect();
            for &object in &objects {
                let own = places.get(object).map_or(&[][..], Vec::as_slice);
                for slot in 0..width {
                    let place = object * t + own.get(slot).copied().unwrap_or(0);
                    tokens.push(place as u32);
                    flags.push(u8::from(slot < own.len()));
                    if let Some(entry) = back.get_mut(place).filter(|_| slot < own.len()) {
                        *entry = next;
                    }
                    next += 1;
                }
            }
            let tokens = Tensor::from_vec(tokens, count * width, device)?;
            parts.push(Part { objects, tokens, valid: Tensor::from_vec(flags, (count, width), device)? });
        }
        Ok(Some(Self { parts, back: Tensor::from_vec(back, b * t, device)? }))
    }

    /// Runs `encode` on each part of `x` `[B, T, D]`, and puts the results in their places. It is given the tokens, which of them
    /// are valid, and the places of the objects in the batch.
    pub(super) fn apply(
        &self,
        x: &Tensor,
        encode: impl Fn(Tensor, &Tensor, &[usize]) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let (b, t, d) = x.dims3()?;
        let flat = x.reshape((b * t, d))?;
        let mut done = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let (count, width) = part.valid.dims2()?;
            let own = flat.index_select(&part.tokens, 0)?.reshape((count, width, d))?;
            done.push(encode(own, &part.valid, &part.objects)?.reshape((count * width, d))?);
        }
        Ok(Tensor::cat(&done, 0)?.index_select(&self.back, 0)?.reshape((b, t, d))?)
    }
}

/// How many objects each part has, and how wide it is, from lengths in falling order.
fn cut(lengths: &[usize]) -> Vec<(usize, usize)> {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    let mut left: usize = lengths.iter().sum();
    for &length in lengths {
        match parts.last_mut() {
            Some((count, width))
                if length as f64 >= SIMILAR * *width as f64 || *count * *width < ENOUGH || left < ENOUGH =>
            {
                *count += 1;
            }
            _ => parts.push((1, length)),
        }
        left -= length;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};
    use proptest::prelude::*;

    fn batch(lengths: &[usize], width: usize) -> Tensor {
        // Every other token is a hole, as far as there is room.
        let row = |length: usize| {
            let spread = length * 2 <= width;
            (0..width).map(move |at| u8::from(if spread { at % 2 == 0 && at / 2 < length } else { at < length }))
        };
        let flags: Vec<u8> = lengths.iter().flat_map(|l| row(*l)).collect();
        Tensor::from_vec(flags, (lengths.len(), width), &Device::Cpu).unwrap()
    }

    proptest! {
        #[test]
        fn every_valid_token_comes_back_to_its_place(lengths in prop::collection::vec(0usize..96, 1..64)) {
            let valid = batch(&lengths, 96);
            let (b, t) = valid.dims2().unwrap();
            let Some(buckets) = Buckets::new(&valid).unwrap() else { return Ok(()) };
            let x = Tensor::arange(0f32, (b * t) as f32, &Device::Cpu).unwrap().reshape((b, t, 1)).unwrap();
            let (x, seen) = (Var::from_tensor(&x).unwrap(), std::cell::RefCell::new(Vec::new()));
            let there = |x: Tensor, valid: &Tensor, objects: &[usize]| {
                assert_eq!(x.dim(0)?, objects.len());
                let firsts = x.narrow(1, 0, 1)?.flatten_all()?.to_vec1::<f32>()?;
                for (first, object) in firsts.iter().zip(objects) {
                    assert_eq!(*first as usize / t, *object, "a token of another object");
                }
                seen.borrow_mut().extend_from_slice(objects);
                assert_eq!(x.dims()[..2], *valid.dims());
                Ok((x * 2.0)?)
            };
            let y = buckets.apply(&x, there).unwrap();
            let mut seen = seen.into_inner();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..b).collect::<Vec<_>>());
            let weights = valid.to_dtype(candle_core::DType::F32).unwrap().unsqueeze(2).unwrap();
            let difference = ((&y - (x.as_tensor() * 2.0).unwrap()).unwrap() * &weights).unwrap();
            prop_assert_eq!(difference.abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap(), 0.0);
            let gradients = (&y * &weights).unwrap().sum_all().unwrap().backward().unwrap();
            let expected = (&weights * 2.0).unwrap();
            let off = (gradients.get(&x).unwrap() - expected).unwrap().abs().unwrap().sum_all().unwrap();
            prop_assert_eq!(off.to_scalar::<f32>().unwrap(), 0.0);
        }
    }

    #[test]
    fn padding_is_cut_only_where_it_is_worth_it() {
        assert!(Buckets::new(&batch(&[64; 64], 64)).unwrap().is_none());
        let short: Vec<usize> = (0..64).map(|i| if i % 4 == 0 { 64 } else { 12 }).collect();
        let buckets = Buckets::new(&batch(&short, 64)).unwrap().unwrap();
        let tokens: usize = buckets.parts.iter().map(|p| p.tokens.elem_count()).sum();
        assert_eq!((buckets.parts.len(), tokens), (2, 16 * 64 + 48 * 12));
    }
}
