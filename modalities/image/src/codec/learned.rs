//! What training a codec on a batch gives.

use candle_core::{DType, Device, Tensor};
use panchroma_core::metrics::CodeCounts;
use panchroma_core::{Result, SUMS};
use std::collections::BTreeMap;

/// Loss, metrics, and what is measured of each object.
#[derive(Debug, Clone)]
pub struct Learned {
    /// Scalar, differentiable: the weighted mean square difference.
    pub loss: Tensor,
    /// Scalars f32: `codebook_usage`, the share of the codes that this batch has; `perplexity`, how many would do if all were used alike;
    /// `rms`, the root of the mean square difference without weights.
    pub metrics: BTreeMap<String, Tensor>,
    decoded: Tensor,
    truth: Tensor,
    weights: Tensor,
}

impl Learned {
    /// Of images or maps `[B, H, W, bands]`.
    pub(super) fn new(
        decoded: Tensor,
        truth: Tensor,
        weights: Tensor,
        codes: &Tensor,
        vocabulary: usize,
    ) -> Result<Self> {
        let square = (&decoded - &truth)?.sqr()?;
        // A batch of which nothing was measured has a loss of 0.
        let mean = |weights: &Tensor| -> Result<Tensor> {
            let total = weights.sum_all()?.maximum(1e-12)?;
            Ok((&square * weights)?.sum_all()?.div(&total)?)
        };
        let loss = mean(&weights)?;
        let measured = weights.gt(0f64)?.to_dtype(DType::F32)?;
        let mut counts = CodeCounts::new(vocabulary);
        counts.add(codes.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<u32>()?);
        let used = counts.finish();
        let scalar = |value: f64| Tensor::new(value as f32, &Device::Cpu);
        let metrics = BTreeMap::from([
            ("codebook_usage".to_owned(), scalar(used.usage)?),
            ("perplexity".to_owned(), scalar(used.perplexity)?),
            ("rms".to_owned(), mean(&measured)?.detach().sqrt()?),
        ]);
        Ok(Self { loss, metrics, decoded, truth, weights })
    }

    /// For each of `objects` objects, of which the batch holds those at `rows`: weighted square differences and weights, summed; `error` of what
    /// is decoded, and `error.constant` of the guess that every pixel is the mean of its object and band.
    pub(super) fn sums(&self, rows: &[usize], objects: usize) -> Result<BTreeMap<String, Tensor>> {
        let (_, height, width, bands) = self.truth.dims4()?;
        let host = |tensor: &Tensor| tensor.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>();
        let [decoded, truth, weights] = [host(&self.decoded)?, host(&self.truth)?, host(&self.weights)?];
        let mut sums = [vec![0f32; 2 * objects], vec![0f32; 2 * objects]];
        let each = height * width * bands;
        for (number, row) in rows.iter().enumerate() {
            let own = number * each..(number + 1) * each;
            let (mut told, mut constant, mut total) = (0.0, 0.0, 0.0);
            for band in 0..bands {
                let pixels = || own.clone().skip(band).step_by(bands);
                let weight = |at: usize| f64::from(weights[at]);
                let sum: f64 = pixels().map(weight).sum();
                let mean = pixels().map(|at| weight(at) * f64::from(truth[at])).sum::<f64>() / sum.max(1e-12);
                let off = |guess: f64, at: usize| weight(at) * (guess - f64::from(truth[at])).powi(2);
                told += pixels().map(|at| off(f64::from(decoded[at]), at)).sum::<f64>();
                constant += pixels().map(|at| off(mean, at)).sum::<f64>();
                total += sum;
            }
            for (sums, own) in sums.iter_mut().zip([told, constant]) {
                if let Some(place) = sums.get_mut(2 * row..2 * row + 2) {
                    place.copy_from_slice(&[own as f32, total as f32]);
                }
            }
        }
        let names = [format!("{SUMS}error"), format!("{SUMS}error.constant")];
        let tensor = |(name, sums)| Ok((name, Tensor::from_vec(sums, (objects, 2), &Device::Cpu)?));
        names.into_iter().zip(sums).map(tensor).collect()
    }
}
