//! What lookup-free quantization is trained with besides the reconstruction, and how well codes are used.

use super::rows_of;
use candle_core::{D, DType, Device, Result, Tensor, bail};

const OP: &str = "lfq_terms";

/// Terms of a loss, scalars, differentiable in the latent values. In nats where they are entropies.
#[derive(Clone, Debug)]
pub struct LfqTerms {
    /// Mean over rows of the entropy of each row's distribution over codes: small where the sign of every dimension is clear.
    pub sample_entropy: Tensor,
    /// Entropy of the mean distribution over codes: large where all codes are used. Its weight is what keeps codes from dying; a codebook
    /// without entries has none that could be set anew.
    pub batch_entropy: Tensor,
    /// Mean square of the distance to the quantized values, through which no gradient flows.
    pub commitment: Tensor,
}

/// Entropies and commitment of [`super::lfq`]. A row's distribution over the 2^N codes `c` is `softmax(2 s z · c)` with the sharpness `s`: each
/// dimension is a coin by itself, positive with probability `σ(4 s z_d)`.
///
/// Shapes: `z` `[.., N]` f32 with N from 1 to 20, any strides.
///
/// # Errors
/// For more than 20 dimensions (the mean distribution has 2^N numbers), without rows, or for another type of number.
///
/// Source: Yu et al. 2023, section 3.2, eq. 4 and 5; the sharpness is 1 / temperature.
pub fn lfq_terms(z: &Tensor, sharpness: f64) -> Result<LfqTerms> {
    let width = z.dims().last().copied().unwrap_or(0);
    let rows = rows_of(OP, z, width)?.elem_count();
    if width > 20 || rows == 0 {
        bail!("{OP}: expected `z` of shape [rows, up to 20], got {:?}", z.dims());
    }
    let z = z.reshape((rows, width))?;
    let logits = (&z * (4.0 * sharpness))?;
    // Entropy of a coin with logit l: ln(1 + e^-|l|) + |l| e^-|l| / (1 + e^-|l|).
    let size = logits.abs()?;
    let rare = size.neg()?.exp()?;
    let above = (&rare + 1.0)?;
    let entropies = (above.log()? + ((&size * &rare)? / &above)?)?;
    let sample_entropy = entropies.sum(D::Minus1)?.mean_all()?;
    // σ(l), without an exponential that could overflow.
    let positive = (((logits * 0.5)?.tanh()? + 1.0)? * 0.5)?;
    // The mean over rows of a product of coins is a product of matrices: codes of the first half of the dimensions against the others.
    let half = width.div_ceil(2);
    let first = joint(&positive.narrow(1, 0, half)?)?;
    let mean = if half < width {
        (first.t()?.contiguous()?.matmul(&joint(&positive.narrow(1, half, width - half)?)?)? / rows as f64)?
    } else {
        first.mean(0)?
    };
    let batch_entropy = (&mean * (&mean + f64::from(f32::MIN_POSITIVE))?.log()?)?.sum_all()?.neg()?;
    let quantized = super::lfq(&z.detach())?.values;
    let commitment = (z - quantized)?.sqr()?.mean_all()?;
    Ok(LfqTerms { sample_entropy, batch_entropy, commitment })
}

/// `[rows, N]` probabilities of coins -> `[rows, 2^N]` of their outcomes.
fn joint(positive: &Tensor) -> Result<Tensor> {
    let (rows, width) = positive.dims2()?;
    let mut joint = Tensor::ones((rows, 1), DType::F32, positive.device())?;
    for coin in 0..width {
        let own = positive.narrow(1, coin, 1)?;
        joint = Tensor::cat(&[joint.broadcast_mul(&(1.0 - &own)?)?, joint.broadcast_mul(&own)?], 1)?;
    }
    Ok(joint)
}

/// How many codes a batch uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Share of the vocabulary that occurs.
    pub used: f64,
    /// Exponential of the entropy of the codes' frequencies: as many codes as if all were equally frequent.
    pub perplexity: f64,
}

/// Counts codes; those out of the vocabulary are left out.
///
/// Shapes: `codes` of any shape, u32.
///
/// # Errors
/// For another type of number.
pub fn usage(codes: &Tensor, vocabulary: usize) -> Result<Usage> {
    let codes: Vec<u32> = codes.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?;
    let mut counts = vec![0_u64; vocabulary];
    for code in codes {
        if let Some(count) = counts.get_mut(code as usize) {
            *count += 1;
        }
    }
    let all = counts.iter().sum::<u64>().max(1) as f64;
    let shares = || counts.iter().filter(|count| **count > 0).map(|count| *count as f64 / all);
    let used = shares().count() as f64 / vocabulary.max(1) as f64;
    Ok(Usage { used, perplexity: shares().map(|share| -share * share.ln()).sum::<f64>().exp() })
}
