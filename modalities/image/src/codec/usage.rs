//! How much of a codebook is used.
//!
//! A finite scalar quantizer has no codes that die: its codebook is a grid that isn't learned, and every one is within reach of the encoder.
//! Use can still be poor, which is what these numbers are for.

use candle_core::{DType, Device, Tensor};
use panchroma_core::Result;
use std::collections::BTreeMap;

/// `codebook_usage`: share of the vocabulary that occurs among `codes`; `perplexity`: the exponential of the entropy of how often, the
/// number of codes that would be used if all of them were used alike. Scalars f32.
pub(super) fn usage(codes: &Tensor, vocabulary: usize) -> Result<BTreeMap<String, Tensor>> {
    let codes = codes.to_device(&Device::Cpu)?.to_dtype(DType::U32)?.flatten_all()?.to_vec1::<u32>()?;
    let mut counts = BTreeMap::<u32, f64>::new();
    codes.iter().for_each(|code| *counts.entry(*code).or_default() += 1.0);
    let total = (codes.len() as f64).max(1.0);
    let entropy: f64 = counts.values().map(|count| count / total).map(|share| -share * share.ln()).sum();
    let scalar = |value: f64| Tensor::new(value as f32, &Device::Cpu);
    Ok(BTreeMap::from([
        ("codebook_usage".to_owned(), scalar(counts.len() as f64 / vocabulary as f64)?),
        ("perplexity".to_owned(), scalar(entropy.exp())?),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_is_that_of_the_codes() -> Result<()> {
        let of = |codes: &[u32]| -> Result<(f32, f32)> {
            let found = usage(&Tensor::new(codes, &Device::Cpu)?, 8)?;
            Ok((found["codebook_usage"].to_scalar()?, found["perplexity"].to_scalar()?))
        };
        assert_eq!(of(&[5, 5, 5])?, (0.125, 1.0));
        let (share, perplexity) = of(&[0, 1, 2, 3])?;
        assert_eq!(share, 0.5);
        assert!((perplexity - 4.0).abs() < 1e-5);
        // Entropy of 3/4 and 1/4 by hand: 0.5623 nat.
        assert!((of(&[1, 1, 1, 7])?.1 - 1.7548).abs() < 1e-3);
        Ok(())
    }
}
