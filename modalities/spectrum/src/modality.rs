//! The modality `spectrum`: rows with a wavelength grid each -> flux on one grid.

use crate::augment::augment;
use crate::config::{Channel, Normalise, SpectrumConfig};
use crate::continuum::Smoother;
use crate::resample::{Grid, Resampled, Sample, resample};
use panchroma_core::data::DataError;
use panchroma_core::{
    Array, ArrayField, Arrays, ArraysSpec, Column, Descriptor, Error, Modality, ModalityContext, Mode, PrepareContext,
    Result, Rows, Section, Values,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A spectrum of any wavelength grid and any unit of flux.
///
/// Arrays (`C` channels, `L` samples): `flux` `[B, C, L]` f32, what the configured channels say, 0 where
/// not valid; `ivar` `[B, C, L]` f32, the inverse variance of each, 0 where the data gives none;
/// `wavelength` `[B, L]` f64 in Angstrom, the same for every object; `valid` `[B, L]`.
///
/// A sample is bad if its flag is true (the Multimodal Universe flags `and_mask != 0` or no inverse variance,
/// and pads with flagged samples of wavelength -1), if its flux is not finite, or if its inverse variance
/// is 0 while most of the spectrum has one.
#[derive(Debug, Clone)]
pub struct Spectrum {
    name: String,
    config: SpectrumConfig,
    grid: Grid,
    smoother: Smoother,
    /// Mean and standard deviation of log10 of the scale, over the training split.
    scale: Option<(f64, f64)>,
}

inventory::submit! { Descriptor::<dyn Modality> {
    name: "spectrum",
    summary: "flux against wavelength, resampled onto one grid, as colour and as lines",
    origin: env!("CARGO_PKG_NAME"),
    example: "wavelength_min = 3600\nwavelength_max = 9000\nsamples = 512\n",
    schema: || schemars::schema_for!(SpectrumConfig),
    build: |section, context| Ok(Box::new(Spectrum::build(section, context)?)),
} }

/// The columns of one batch, read once.
struct Read {
    wavelength: panchroma_core::data::Ragged<f64>,
    flux: panchroma_core::data::Ragged<f64>,
    ivar: panchroma_core::data::Ragged<f64>,
    mask: panchroma_core::data::Ragged<bool>,
}

impl Spectrum {
    /// Builds it from its table.
    ///
    /// # Errors
    /// If a key is unknown or a value out of its range.
    pub fn build(section: &Section, context: &ModalityContext<'_>) -> Result<Self> {
        let config = SpectrumConfig::read(section)?;
        let grid = Grid::new(config.wavelength_min, config.wavelength_max, config.samples, config.grid);
        let smoother = Smoother::new(&grid.centres, config.continuum_width);
        Ok(Self { name: context.name.into(), config, grid, smoother, scale: None })
    }

    fn path(&self, field: &str) -> String {
        if self.config.column.is_empty() { field.into() } else { format!("{}.{field}", self.config.column) }
    }

    fn read(&self, rows: &Rows) -> Result<Read> {
        Ok(Read {
            wavelength: rows.ragged_f64(&self.path(&self.config.wavelength))?,
            flux: rows.ragged_f64(&self.path(&self.config.flux))?,
            ivar: rows.ragged_f64(&self.path(&self.config.ivar))?,
            mask: rows.ragged_flags(&self.path(&self.config.mask))?,
        })
    }

    /// The spectrum of row `i` on the grid; `None` if it has none, or too little of it lies there.
    fn resampled(&self, read: &Read, i: usize, object: &str) -> Result<Option<Resampled>> {
        let samples = self.samples(read, i, object)?;
        let resampled = resample(&samples, &self.grid, self.config.max_gap);
        let covered = resampled.valid.iter().filter(|v| **v).count();
        let needed = (self.config.min_coverage * self.grid.len() as f64).max(1.0);
        Ok((covered as f64 >= needed).then_some(resampled))
    }

    /// What was measured, in the order of wavelength.
    fn samples(&self, read: &Read, i: usize, object: &str) -> Result<Vec<Sample>> {
        let (wavelength, flux) = (read.wavelength.row(i), read.flux.row(i));
        let (ivar, mask) = (read.ivar.row(i), read.mask.row(i));
        let bad = |field: &str, reason: String| -> Error {
            DataError::BadValue { object: object.into(), column: self.path(field), reason }.into()
        };
        let optional = [(&self.config.ivar, ivar.len()), (&self.config.mask, mask.len())];
        let lengths = std::iter::once((&self.config.wavelength, wavelength.len()))
            .chain(optional.into_iter().filter(|(_, length)| *length > 0));
        for (field, length) in lengths {
            if length != flux.len() {
                let reason =
                    format!("expected as many values as `{}` has, {}, got {length}", self.config.flux, flux.len());
                return Err(bad(field, reason));
            }
        }
        let plain = |k: usize| flux[k].is_finite() && !mask.get(k).copied().unwrap_or(false);
        let measured = |k: usize| ivar.get(k).is_some_and(|v| *v > 0.0 && v.is_finite());
        let usable = (0..flux.len()).filter(|k| plain(*k)).count();
        let known = 2 * (0..flux.len()).filter(|k| plain(*k) && measured(*k)).count() >= usable.max(1);
        let mut samples: Vec<Sample> = Vec::with_capacity(flux.len());
        for (k, &at) in wavelength.iter().enumerate() {
            let good = plain(k) && (!known || measured(k));
            let positive = at.is_finite() && at > 0.0;
            if !positive {
                // Padding is flagged; anything else of such a wavelength is a mistake.
                if !good {
                    continue;
                }
                let reason = format!("expected a positive wavelength in Angstrom, got {at} at sample {k}");
                return Err(bad(&self.config.wavelength, reason));
            }
            if let Some(last) = samples.last().filter(|last| at <= last.wavelength) {
                let reason =
                    format!("expected ascending wavelengths, got {at} after {} at sample {k}", last.wavelength);
                return Err(bad(&self.config.wavelength, reason));
            }
            let variance = if known && good { 1.0 / ivar[k] } else { 0.0 };
            samples.push(Sample { wavelength: at, flux: flux[k], variance, good });
        }
        Ok(samples)
    }

    /// Writes the channels `[C, L]` of one object.
    fn channels(&self, spectrum: &Resampled, typical: f64, flux: &mut [f32], ivar: &mut [f32]) {
        let length = self.grid.len();
        let scale = if self.config.normalise == Normalise::None { 1.0 } else { typical };
        // Where the continuum vanishes its ratio is noise; a twentieth of the typical flux bounds it.
        let continuum: Vec<f64> = if self.config.channels.contains(&Channel::Continuum) {
            let smooth = self.smoother.continuum(&spectrum.flux, &spectrum.valid);
            smooth.into_iter().map(|c| c.max(0.05 * typical)).collect()
        } else {
            Vec::new()
        };
        let (mean, deviation) = self.scale.unwrap_or((0.0, 1.0));
        let brightness = (typical.log10() - mean) / deviation;
        let clip = self.config.clip;
        let outputs = flux.chunks_mut(length).zip(ivar.chunks_mut(length));
        for (channel, (flux, ivar)) in self.config.channels.iter().zip(outputs) {
            for l in (0..length).filter(|l| spectrum.valid[*l]) {
                let (value, unit) = match channel {
                    Channel::Normalised => (spectrum.flux[l] / scale, scale),
                    Channel::Continuum => {
                        let c = continuum.get(l).copied().unwrap_or(1.0);
                        (spectrum.flux[l] / c - 1.0, c)
                    }
                    Channel::Scale => (brightness, 0.0),
                };
                flux[l] = value.clamp(-clip, clip) as f32;
                ivar[l] = (spectrum.ivar[l] * unit * unit).min(1e30) as f32;
            }
        }
    }

    /// Typical absolute flux, positive: what `normalise` says, else the median.
    fn typical(&self, spectrum: &Resampled) -> f64 {
        let mut sizes: Vec<f64> =
            spectrum.flux.iter().zip(&spectrum.valid).filter(|(_, v)| **v).map(|(f, _)| f.abs()).collect();
        let mean = sizes.iter().sum::<f64>() / sizes.len().max(1) as f64;
        let middle = sizes.len() / 2;
        let median = if sizes.is_empty() { 0.0 } else { *sizes.select_nth_unstable_by(middle, f64::total_cmp).1 };
        let wanted = if self.config.normalise == Normalise::Mean { mean } else { median };
        // A spectrum that is mostly exactly 0 has no median; one of nothing but 0 stays as it is.
        [wanted, mean].into_iter().find(|s| *s > 0.0 && s.is_finite()).unwrap_or(1.0)
    }
}

impl Modality for Spectrum {
    fn columns(&self) -> Vec<Column> {
        vec![
            Column::number(self.path(&self.config.wavelength)).list(),
            Column::number(self.path(&self.config.flux)).list(),
            Column::number(self.path(&self.config.ivar)).list().optional(),
            Column::flag(self.path(&self.config.mask)).list().optional(),
        ]
    }

    fn spec(&self) -> ArraysSpec {
        ArraysSpec {
            fields: vec![
                ArrayField { name: "flux", axes: &["C", "L"], unit: String::new() },
                ArrayField { name: "ivar", axes: &["C", "L"], unit: String::new() },
                ArrayField { name: "wavelength", axes: &["L"], unit: "Angstrom".into() },
            ],
            valid_axes: &["L"],
            sizes: vec![("C", self.config.channels.len()), ("L", self.grid.len())],
        }
    }

    fn fit(&mut self, rows: &mut dyn Iterator<Item = Result<Rows>>) -> Result<()> {
        if !self.config.channels.contains(&Channel::Scale) {
            return Ok(());
        }
        let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
        for rows in rows {
            let rows = rows?;
            let read = self.read(&rows)?;
            for (i, object) in rows.ids().iter().enumerate() {
                if let Some(spectrum) = self.resampled(&read, i, object)? {
                    let size = self.typical(&spectrum).log10();
                    (count, sum, squares) = (count + 1.0, sum + size, squares + size * size);
                }
            }
        }
        if count == 0.0 {
            let column = self.path(&self.config.flux);
            return Err(DataError::AllMissing { column, modality: Some(self.name.clone()) }.into());
        }
        let mean = sum / count;
        let deviation = (squares / count - mean * mean).max(0.0).sqrt();
        self.scale = Some((mean, if deviation > 1e-6 { deviation } else { 1.0 }));
        Ok(())
    }

    fn fitted(&self) -> Value {
        self.scale.map_or(Value::Null, |(mean, deviation)| json!({ "scale": { "mean": mean, "deviation": deviation } }))
    }

    fn restore(&mut self, fitted: &Value) -> Result<()> {
        let number = |key: &str| fitted.pointer(&format!("/scale/{key}")).and_then(Value::as_f64);
        self.scale = match (fitted, number("mean"), number("deviation")) {
            (Value::Null, _, _) => None,
            (_, Some(mean), Some(deviation)) if mean.is_finite() && deviation > 0.0 => Some((mean, deviation)),
            _ => {
                return Err(Error::Plugin {
                    kind: "modality",
                    name: self.name.clone(),
                    reason: format!("expected `scale` with `mean` and a positive `deviation`, got {fitted}"),
                });
            }
        };
        Ok(())
    }

    fn prepare(&self, rows: &Rows, context: &PrepareContext<'_>) -> Result<Arrays> {
        let (batch, length, width) = (rows.len(), self.grid.len(), self.config.channels.len());
        let read = self.read(rows)?;
        let mut present = vec![false; batch];
        let mut valid = vec![0u8; batch * length];
        let mut flux = vec![0f32; batch * width * length];
        let mut ivar = flux.clone();
        for (i, object) in rows.ids().iter().enumerate() {
            let Some(mut spectrum) = self.resampled(&read, i, object)? else { continue };
            if context.mode == Mode::Train {
                let typical = self.typical(&spectrum);
                let places = (spectrum.flux.as_mut_slice(), spectrum.valid.as_mut_slice());
                augment(places, typical, &self.config, context, object);
            }
            let typical = self.typical(&spectrum);
            present[i] = true;
            for (to, from) in valid[i * length..(i + 1) * length].iter_mut().zip(&spectrum.valid) {
                *to = u8::from(*from);
            }
            let own = i * width * length..(i + 1) * width * length;
            self.channels(&spectrum, typical, &mut flux[own.clone()], &mut ivar[own]);
        }
        let wavelength = self.grid.centres.iter().copied().cycle().take(batch * length).collect();
        let fields = BTreeMap::from([
            ("flux".to_owned(), Array::f32(&[batch, width, length], flux)?),
            ("ivar".to_owned(), Array::f32(&[batch, width, length], ivar)?),
            ("wavelength".to_owned(), Array::new(&[batch, length], Values::F64(wavelength))?),
        ]);
        Ok(Arrays { present, valid: Array::new(&[batch, length], Values::U8(valid))?, fields })
    }
}
