//! From latent values to codes and the values that codes stand for, with straight-through gradients: of what is rounded,
//! the backward pass takes the value before.
//!
//! Axes: `M` rows (all leading axes together), `N` latent dimensions.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod entropy;
#[cfg(test)]
mod tests;

pub use entropy::{LfqTerms, Usage, lfq_terms, usage};

use super::slices::{indices, require_f32, values, with_values};
use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, bail};

const FSQ: &str = "fsq";
const LFQ: &str = "lfq";
const QUANTILE: &str = "quantile";

/// What a quantizer gives.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// What the codes stand for, differentiable in the latent values.
    pub values: Tensor,
    /// u32.
    pub codes: Tensor,
}

/// Finite scalar quantization: dimension `d` is squeezed to `levels[d]` values in [-1, 1].
///
/// Shapes: `z` `[.., N]` f32 on the CPU, any strides → values `[.., N]`, codes `[..]`: numbers of mixed radix in which the
/// first dimension counts least. The gradient is that of the squeezed value before it is rounded.
///
/// # Errors
/// If `levels` don't fit the last axis, one is below 2, there are more than 2³² codes, or for another type of number or
/// another device.
///
/// Source: Mentzer et al. 2023, eq. 1 and listing 1.
pub fn fsq(z: &Tensor, levels: &[u32]) -> Result<Quantized> {
    let codes_of = rows_of(FSQ, z, levels.len())?;
    if let Some(dimension) = levels.iter().position(|levels| *levels < 2) {
        bail!("{FSQ}: expected at least 2 levels, got {} for dimension {dimension}", levels[dimension]);
    }
    if levels.iter().try_fold(1_u32, |product, levels| product.checked_mul(*levels)).is_none() {
        bail!("{FSQ}: expected at most 2^32 codes, got levels {levels:?}");
    }
    #[cfg(feature = "cuda")]
    if z.device().is_cuda() {
        return cuda::quantize(z, codes_of, cuda::Kind::Fsq(levels));
    }
    let levels = cpu::Levels::new(levels);
    let values = z.contiguous()?.apply_op1(Quantizer::Fsq(levels.clone()))?;
    let codes = with_values(FSQ, [&values], |[values]| cpu::fsq_codes(values, &levels))?;
    Ok(Quantized { codes: Tensor::from_vec(codes, codes_of, z.device())?, values })
}

/// The values in [-1, 1] that codes of [`fsq`] stand for.
///
/// Shapes: `codes` `[..]` u32 on the CPU, any strides → `[.., N]` f32.
///
/// # Errors
/// If a code is out of the vocabulary, `levels` make no sense, or for another type of number or another device.
pub fn fsq_values(codes: &Tensor, levels: &[u32]) -> Result<Tensor> {
    let vocabulary = levels.iter().try_fold(1_u32, |product, levels| product.checked_mul(*levels));
    let Some(vocabulary) = vocabulary.filter(|_| !levels.is_empty() && levels.iter().all(|levels| *levels >= 2)) else {
        bail!("{FSQ}: expected levels of at least 2 and at most 2^32 codes, got levels {levels:?}");
    };
    let mut dims = codes.dims().to_vec();
    dims.push(levels.len());
    let codes = indices(FSQ, "codes", &codes.flatten_all()?, None)?;
    if let Some(code) = codes.iter().find(|code| **code >= vocabulary) {
        bail!("{FSQ}: expected codes below {vocabulary}, got {code}");
    }
    Tensor::from_vec(cpu::fsq_values(&codes, levels), dims, &Device::Cpu)
}

/// Lookup-free quantization: the sign of each dimension, 1 above 0 and -1 elsewhere.
///
/// Shapes: `z` `[.., N]` f32 on the CPU, any strides → values `[.., N]`, codes `[..]` with bit `d` set where dimension `d` is 1.
/// The gradient passes unchanged.
///
/// # Errors
/// For more than 32 dimensions, or for another type of number or another device.
///
/// Source: Yu et al. 2023, section 3.2.
pub fn lfq(z: &Tensor) -> Result<Quantized> {
    let width = z.dims().last().copied().unwrap_or(0);
    let codes_of = rows_of(LFQ, z, width)?;
    if width > 32 {
        bail!("{LFQ}: expected at most 32 dimensions, got {:?}", z.dims());
    }
    #[cfg(feature = "cuda")]
    if z.device().is_cuda() {
        return cuda::quantize(z, codes_of, cuda::Kind::Lfq);
    }
    let z = z.contiguous()?;
    let codes = with_values(LFQ, [&z], |[z]| cpu::lfq_codes(z, width))?;
    let codes = Tensor::from_vec(codes, codes_of, z.device())?;
    Ok(Quantized { values: z.apply_op1(Quantizer::Lfq)?, codes })
}

/// Bins between rising `edges`, which stand for their `centres`: values beyond the outer edges belong to the outer bins, NaN to
/// the first.
///
/// Shapes: `x` any shape, f32 on the CPU, any strides → values and codes of the same shape; `edges` one more than `centres`. The
/// gradient passes unchanged.
///
/// # Errors
/// If there is no bin, the edges don't rise, numbers don't fit, or for another type of number or another device.
pub fn quantile(x: &Tensor, edges: &[f32], centres: &[f32]) -> Result<Quantized> {
    require_f32(QUANTILE, "x", x)?;
    if centres.is_empty() || edges.len() != centres.len() + 1 {
        bail!("{QUANTILE}: expected one edge more than centres, got {} and {}", edges.len(), centres.len());
    }
    if let Some(at) = edges.windows(2).position(|pair| !matches!(pair, [a, b] if a <= b)) {
        bail!("{QUANTILE}: expected edges that rise, got {} after {} at {}", edges[at + 1], edges[at], at + 1);
    }
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return cuda::quantize(x, x.shape().clone(), cuda::Kind::Quantile(edges, centres));
    }
    let x = x.contiguous()?;
    let codes = with_values(QUANTILE, [&x], |[x]| cpu::quantile_codes(x, edges))?;
    let means = codes.iter().map(|code| centres.get(*code as usize).copied().unwrap_or(f32::NAN)).collect();
    let codes = Tensor::from_vec(codes, x.shape(), x.device())?;
    Ok(Quantized { values: x.apply_op1(Quantizer::Quantile(means))?, codes })
}

/// Checks the last axis, and gives the others.
fn rows_of(op: &'static str, z: &Tensor, width: usize) -> Result<Shape> {
    require_f32(op, "z", z)?;
    match z.dims() {
        [rows @ .., last] if *last == width && width > 0 => Ok(Shape::from(rows)),
        dims => bail!("{op}: expected `z` of shape [.., {}], got {dims:?}", width.max(1)),
    }
}

enum Quantizer {
    Fsq(cpu::Levels),
    Lfq,
    /// What each value became.
    Quantile(Vec<f32>),
}

impl CustomOp1 for Quantizer {
    fn name(&self) -> &'static str {
        match self {
            Self::Fsq(_) => FSQ,
            Self::Lfq => LFQ,
            Self::Quantile(_) => QUANTILE,
        }
    }

    fn cpu_fwd(&self, z: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let z = values(self.name(), z, layout)?;
        let quantized = match self {
            Self::Fsq(levels) => cpu::fsq(z, levels),
            Self::Lfq => cpu::signs(z),
            Self::Quantile(means) => means.clone(),
        };
        Ok((CpuStorage::F32(quantized), layout.shape().clone()))
    }

    fn bwd(&self, z: &Tensor, _values: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let Self::Fsq(levels) = self else { return Ok(Some(grad.clone())) };
        let dz = with_values(FSQ, [z, &grad.contiguous()?], |[z, dy]| cpu::fsq_backward(z, levels, dy))?;
        Tensor::from_vec(dz, z.shape(), z.device()).map(Some)
    }
}
