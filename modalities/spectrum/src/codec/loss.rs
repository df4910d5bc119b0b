//! What the codec is trained with.

use super::SpectrumCodec;
use super::prepare::{Observed, Prepared};
use candle_core::{Device, Tensor};
use panchroma_core::ops::quantize;
use panchroma_core::{Error, Mode, Result};
use std::collections::BTreeMap;

/// A loss and what it is made of.
#[derive(Debug)]
pub struct CodecLoss {
    /// Scalar, differentiable in the codec's parameters.
    pub loss: Tensor,
    /// Scalars by name.
    pub metrics: BTreeMap<String, Tensor>,
    /// In evaluation: what is measured of each spectrum, by name, as a sum and its divisor. `error` is the weighted mean square of what is left,
    /// in units of the normalisation, `chi2` the mean of its square over the measured variance; `.constant` of the best constant in place of
    /// what the codec says.
    pub sums: BTreeMap<&'static str, Vec<[f32; 2]>>,
}

impl SpectrumCodec {
    /// The loss of the codec's own training: squares of what is left, weighted by inverse variance, on the latent grid; LFQ's entropies
    /// and commitment; with a second channel, the cross-entropy of the mask. `None` without a spectrum. The batch entropy counts as what it lacks of
    /// its largest value, so that no term is below 0.
    ///
    /// Metrics: `reconstruction` (the weighted mean square, in units of the normalisation), `chi2` (mean over samples of the square over the
    /// measured variance), `sample_entropy`, `batch_entropy`, `commitment`, `codes_used` (share of all codes of the spectrum in this batch),
    /// `perplexity`, and `mask`.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn loss(&self, spectra: &[Observed<'_>], mode: Mode) -> Result<Option<CodecLoss>> {
        let prepared = self.prepare(spectra)?;
        if prepared.is_empty() {
            return Ok(None);
        }
        let (config, shape) = (&self.config, (prepared.len(), self.grid.len()));
        let tensor = |values: Vec<f32>| Ok::<_, Error>(Tensor::from_vec(values, shape, &self.device)?);
        let target = tensor(prepared.iter().flat_map(Prepared::targets).collect())?;
        let weights = tensor(prepared.iter().flat_map(|p| p.weights(config.error_floor)).collect())?;
        let inverse = tensor(prepared.iter().flat_map(Prepared::inverse_variances).collect())?;
        let unknown: Vec<f32> = prepared.iter().flat_map(Prepared::unknown).collect();
        let known = unknown.iter().filter(|unknown| **unknown == 0.0).count().max(1) as f64;

        let latent = self.network.encode(&self.input(&prepared)?)?;
        let terms = quantize::lfq_terms(&latent, config.sharpness)?;
        let quantized = quantize::lfq(&latent)?;
        let usage = quantize::usage(&quantized.codes, 1 << config.code_bits)?;
        let out = self.network.decode(&quantized.values)?;
        let told = out.narrow(2, 0, 1)?.squeeze(2)?;
        let squares = (&told - target)?.sqr()?;
        let reconstruction = ((&squares * weights)?.sum_all()? / known)?;
        let chi2 = ((squares.detach() * inverse)?.sum_all()? / known)?;
        let most = config.code_bits as f64 * std::f64::consts::LN_2;
        let unused = (terms.batch_entropy.neg()? + most)?;
        let entropy = (&terms.sample_entropy + (unused * config.diversity)?)?;
        let aside = ((entropy * config.entropy_weight)? + (&terms.commitment * config.commitment_weight)?)?;
        let mut loss = (&reconstruction + aside)?;
        let scalar = |x: f64| Tensor::new(x as f32, &Device::Cpu);
        let mut metrics = BTreeMap::from([
            ("reconstruction".to_owned(), reconstruction.detach()),
            ("chi2".to_owned(), chi2),
            ("sample_entropy".to_owned(), terms.sample_entropy.detach()),
            ("batch_entropy".to_owned(), terms.batch_entropy.detach()),
            ("commitment".to_owned(), terms.commitment.detach()),
            ("codes_used".to_owned(), scalar(usage.used)?),
            ("perplexity".to_owned(), scalar(usage.perplexity)?),
        ]);
        if out.dim(2)? == 2 {
            let mask = binary_cross_entropy(&out.narrow(2, 1, 1)?.squeeze(2)?, &tensor(unknown)?)?;
            metrics.insert("mask".to_owned(), mask.detach());
            loss = (loss + mask)?;
        }
        let sums = match mode {
            Mode::Evaluate => measured(&prepared, config.error_floor, &told.to_device(&Device::Cpu)?.to_vec2()?),
            Mode::Train => BTreeMap::new(),
        };
        Ok(Some(CodecLoss { loss, metrics, sums }))
    }
}

/// Sums and divisors of each spectrum, for what the network `told` and for its best constant.
fn measured(prepared: &[Prepared], floor: f64, told: &[Vec<f32>]) -> BTreeMap<&'static str, Vec<[f32; 2]>> {
    let mut sums: BTreeMap<&'static str, Vec<[f32; 2]>> = BTreeMap::new();
    for (prepared, told) in prepared.iter().zip(told) {
        let (target, weights) = (prepared.targets().collect::<Vec<f32>>(), prepared.weights(floor));
        let inverse: Vec<f32> = prepared.inverse_variances().collect();
        let mean = |values: &[f32], weights: &[f32]| {
            let sum = values.iter().zip(weights).map(|(x, w)| f64::from(x * w)).sum::<f64>();
            (sum / weights.iter().map(|w| f64::from(*w)).sum::<f64>().max(f64::MIN_POSITIVE)) as f32
        };
        let constant = vec![mean(&target, &weights); target.len()];
        for (names, told) in [(["error", "chi2"], told), (["error.constant", "chi2.constant"], &constant)] {
            let mut own = [[0.0_f64; 2]; 2];
            for (((told, target), weight), inverse) in told.iter().zip(&target).zip(&weights).zip(&inverse) {
                let square = f64::from(told - target).powi(2);
                own[0][0] += square * f64::from(*weight);
                own[0][1] += f64::from(*weight);
                own[1][0] += square * f64::from(*inverse);
                own[1][1] += f64::from(u8::from(*inverse > 0.0));
            }
            for (name, own) in names.into_iter().zip(own) {
                sums.entry(name).or_default().push(own.map(|x| x as f32));
            }
        }
    }
    sums
}

/// Mean of `max(l, 0) - l y + ln(1 + e^-|l|)`.
fn binary_cross_entropy(logits: &Tensor, target: &Tensor) -> Result<Tensor> {
    let softened = (logits.abs()?.neg()?.exp()? + 1.0)?.log()?;
    Ok(((logits.relu()? - (logits * target)?)? + softened)?.mean_all()?)
}
