//! The modality `spectrum`: rows with a wavelength grid each -> flux on one grid.

use crate::augment::augment;
use crate::config::{Channel, Normalise, Spacing, SpectrumConfig, WavelengthUnit};
use crate::continuum::Smoother;
use crate::level::Level;
use crate::read::{Read, columns};
use crate::resample::{Grid, Resampled, keep, resample};
use crate::sketch;
use panchroma_core::data::DataError;
use panchroma_core::sketch::Sketch;
use panchroma_core::{
    Array, ArrayField, Arrays, ArraysSpec, Column, Descriptor, Error, Modality, ModalityContext, Mode, PrepareContext,
    Result, Rows, Section, ValueType, Values,
};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A spectrum of any wavelength grid and any unit of flux.
///
/// Arrays (`C` channels, `L` samples): `flux` `[B, C, L]` f32, what the configured channels say, 0 where
/// not valid; `ivar` `[B, C, L]` f64 (of fluxes in cgs it is beyond f32), the inverse variance of each, 0 where the data gives none;
/// `wavelength` `[B, L]` f64 in Angstrom, the same for every object unless `grid = "own"`, and then NaN behind the object's last sample;
/// `lsf_sigma` `[B, L]` f32 in Angstrom, 0 where unknown; `valid` `[B, L]`; with `scale_token` also `scale` `[B, 2]` f32. With
/// `wavelength_unit = "other"`, `wavelength` is without unit: where the sample is between `wavelength_min` (0) and `wavelength_max` (1).
///
/// A sample is bad if its flag is true (the Multimodal Universe flags `and_mask != 0` or no inverse variance,
/// and pads with flagged samples of wavelength -1), if its flux is not finite, or if it has no inverse variance above 0
/// while some other sample of the spectrum has one.
#[derive(Debug, Clone)]
pub struct Spectrum {
    name: String,
    config: SpectrumConfig,
    grid: Grid,
    smoother: Smoother,
    /// Mean and standard deviation of log10 of the scale, over the training split.
    scale: Option<(f64, f64)>,
}

/// One spectrum on its grid.
struct Row<'a> {
    spectrum: Resampled,
    /// `[L]` Angstrom; with `grid = "own"` of the samples that there are.
    wavelength: Cow<'a, [f64]>,
    /// As many, Angstrom, 0 where unknown; or empty.
    lsf: Vec<f32>,
}

inventory::submit! { Descriptor::<dyn Modality> {
    name: "spectrum",
    summary: "flux against wavelength, resampled onto one grid, as colour and as lines",
    origin: env!("CARGO_PKG_NAME"),
    example: "wavelength_min = 3600\nwavelength_max = 9000\nsamples = 512\n",
    schema: || schemars::schema_for!(SpectrumConfig),
    build: |section, context| Ok(Box::new(Spectrum::build(section, context)?)),
} }

impl Spectrum {
    /// Builds it from its table.
    ///
    /// # Errors
    /// If a key is unknown or a value out of its range.
    pub fn build(section: &Section, context: &ModalityContext<'_>) -> Result<Self> {
        let config = SpectrumConfig::read(section)?;
        let grid = Grid::new(config.wavelength_min, config.wavelength_max, config.samples, config.grid);
        let smoother = smoother(&config, &grid.centres);
        Ok(Self { name: context.name.into(), config, grid, smoother, scale: None })
    }

    /// The spectrum of row `i` on the grid; `None` if it has none, or too little of it lies there.
    fn row(&self, read: &Read<'_>, i: usize, object: &str) -> Result<Option<Row<'_>>> {
        let samples = read.samples(i, object)?;
        let range = (self.config.wavelength_min, self.config.wavelength_max);
        let (spectrum, wavelength) = match self.config.grid {
            Spacing::Own => match keep(&samples, range, self.config.samples) {
                Some((spectrum, own)) => (spectrum, Cow::Owned(own)),
                None => {
                    let most = samples.iter().filter(|s| (range.0..=range.1).contains(&s.wavelength)).count();
                    let reason = format!(
                        "{most} samples lie between `wavelength_min` and `wavelength_max`, more than `samples` = {}: set \
                         `samples` to at least that, or a common `grid`",
                        self.config.samples
                    );
                    return Err(read.bad(object, &self.config.wavelength, reason));
                }
            },
            _ => (resample(&samples, &self.grid, self.config.max_gap), Cow::Borrowed(self.grid.centres.as_slice())),
        };
        let covered = spectrum.valid.iter().filter(|v| **v).count();
        // Of samples as measured all that there are cover the object.
        let all =
            if self.config.grid == Spacing::Own { 0.0 } else { self.config.min_coverage * self.grid.len() as f64 };
        if (covered as f64) < all.max(1.0) {
            return Ok(None);
        }
        let lsf = read.lsf_sigma(i, object, &wavelength)?;
        Ok(Some(Row { spectrum, wavelength, lsf }))
    }

    /// Writes the channels `[C, L]` of one object.
    fn channels(&self, row: &Row<'_>, level: Level, flux: &mut [f32], ivar: &mut [f64]) {
        let (length, spectrum) = (self.grid.len(), &row.spectrum);
        let (centre, scale) =
            if self.config.normalise == Normalise::None { (0.0, 1.0) } else { (level.centre, level.scale) };
        // Where the continuum vanishes its ratio is noise; a twentieth of the typical flux bounds it.
        let continuum: Vec<f64> = if self.config.channels.contains(&Channel::Continuum) {
            let smooth = match self.config.grid {
                Spacing::Own => {
                    // Without the places behind the last sample.
                    let end = row.wavelength.len();
                    smoother(&self.config, &row.wavelength).continuum(&spectrum.flux[..end], &spectrum.valid[..end])
                }
                _ => self.smoother.continuum(&spectrum.flux, &spectrum.valid),
            };
            // What was divided by is a typical flux, unless a middle was taken away first.
            let typical = match self.config.normalise {
                Normalise::Standard | Normalise::Robust => Level::of(spectrum, Normalise::Median).scale,
                _ => level.scale,
            };
            smooth.into_iter().map(|c| c.max(0.05 * typical)).collect()
        } else {
            Vec::new()
        };
        let brightness = self.brightness(level);
        let clip = self.config.clip;
        let outputs = flux.chunks_mut(length).zip(ivar.chunks_mut(length));
        for (channel, (flux, ivar)) in self.config.channels.iter().zip(outputs) {
            for l in (0..length).filter(|l| spectrum.valid[*l]) {
                let (value, unit) = match channel {
                    Channel::Normalised => ((spectrum.flux[l] - centre) / scale, scale),
                    Channel::Continuum => {
                        let c = continuum.get(l).copied().unwrap_or(1.0);
                        (spectrum.flux[l] / c - 1.0, c)
                    }
                    Channel::Scale => (brightness, 0.0),
                };
                flux[l] = value.clamp(-clip, clip) as f32;
                // Finite also when summed over an object.
                ivar[l] = (spectrum.ivar[l] * unit * unit).min(1e300);
            }
        }
    }

    /// log10 of the scale, standardised over the training split.
    fn brightness(&self, level: Level) -> f64 {
        let (mean, deviation) = self.scale.unwrap_or((0.0, 1.0));
        (level.scale.log10() - mean) / deviation
    }
}

fn smoother(config: &SpectrumConfig, wavelength: &[f64]) -> Smoother {
    let places: Vec<f64> = wavelength.iter().map(|w| config.place(*w)).collect();
    Smoother::new(&places, config.continuum_width)
}

impl Modality for Spectrum {
    fn columns(&self) -> Vec<Column> {
        columns(&self.config)
    }

    fn spec(&self) -> ArraysSpec {
        let field = |name, axes, unit: &str| ArrayField { name, axes, unit: unit.into(), values: ValueType::F32 };
        let angstrom = if self.config.wavelength_unit == WavelengthUnit::Other { "" } else { "Angstrom" };
        let mut fields = vec![
            field("flux", &["C", "L"], ""),
            field("ivar", &["C", "L"], "").of(ValueType::F64),
            field("wavelength", &["L"], angstrom).of(ValueType::F64),
            field("lsf_sigma", &["L"], angstrom),
        ];
        let mut sizes = vec![("C", self.config.channels.len()), ("L", self.grid.len())];
        if self.config.scale_token {
            fields.push(field("scale", &["S"], ""));
            sizes.push(("S", 2));
        }
        let channels = self.config.channels.iter().map(|channel| channel.name().to_owned()).collect();
        ArraysSpec { fields, valid_axes: &["L"], sizes, labels: vec![("C", channels)] }
    }

    fn fit(&mut self, rows: &mut dyn Iterator<Item = Result<Rows>>) -> Result<()> {
        if !self.config.channels.contains(&Channel::Scale) && !self.config.scale_token {
            return Ok(());
        }
        let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
        for rows in rows {
            let rows = rows?;
            let read = Read::new(&self.config, &rows)?;
            for (i, object) in rows.ids().iter().enumerate() {
                if let Some(row) = self.row(&read, i, object)? {
                    let size = Level::of(&row.spectrum, self.config.normalise).scale.log10();
                    (count, sum, squares) = (count + 1.0, sum + size, squares + size * size);
                }
            }
        }
        if count == 0.0 {
            let column = self.config.path(&self.config.flux);
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
        let read = Read::new(&self.config, rows)?;
        let mut present = vec![false; batch];
        let mut valid = vec![0u8; batch * length];
        let mut flux = vec![0f32; batch * width * length];
        let mut ivar = vec![0f64; batch * width * length];
        let mut lsf = vec![0f32; batch * length];
        let mut scale = vec![0f32; batch * 2];
        let told = |w: f64| match self.config.wavelength_unit {
            WavelengthUnit::Other => self.config.place(w),
            _ => w,
        };
        let of_grid = |w: &f64| if self.config.grid == Spacing::Own { f64::NAN } else { told(*w) };
        let mut wavelength: Vec<f64> = self.grid.centres.iter().map(of_grid).cycle().take(batch * length).collect();
        for (i, object) in rows.ids().iter().enumerate() {
            let Some(mut row) = self.row(&read, i, object)? else { continue };
            let normalise = self.config.normalise;
            if context.mode == Mode::Train {
                let typical = Level::of(&row.spectrum, normalise).scale;
                augment(&mut row.spectrum, &row.wavelength, typical, &self.config, context, object);
            }
            let level = Level::of(&row.spectrum, normalise);
            present[i] = true;
            let places = i * length..(i + 1) * length;
            for (to, from) in valid[places.clone()].iter_mut().zip(&row.spectrum.valid) {
                *to = u8::from(*from);
            }
            for (to, from) in wavelength[places.clone()].iter_mut().zip(row.wavelength.iter()) {
                *to = told(*from);
            }
            for (to, from) in lsf[places].iter_mut().zip(&row.lsf) {
                *to = *from;
            }
            let clip = self.config.clip;
            scale[2 * i] = self.brightness(level).clamp(-clip, clip) as f32;
            scale[2 * i + 1] = (level.centre / level.scale).clamp(-clip, clip) as f32;
            let own = i * width * length..(i + 1) * width * length;
            self.channels(&row, level, &mut flux[own.clone()], &mut ivar[own]);
        }
        let mut fields = BTreeMap::from([
            ("flux".to_owned(), Array::f32(&[batch, width, length], flux)?),
            ("ivar".to_owned(), Array::new(&[batch, width, length], Values::F64(ivar))?),
            ("wavelength".to_owned(), Array::new(&[batch, length], Values::F64(wavelength))?),
            ("lsf_sigma".to_owned(), Array::f32(&[batch, length], lsf)?),
        ]);
        if self.config.scale_token {
            fields.insert("scale".to_owned(), Array::f32(&[batch, 2], scale)?);
        }
        Ok(Arrays { present, valid: Array::new(&[batch, length], Values::U8(valid))?, fields })
    }

    fn sketch(&self, arrays: &Arrays, row: usize) -> Result<Option<Sketch>> {
        let angstrom = if self.config.wavelength_unit == WavelengthUnit::Other { "" } else { "Angstrom" };
        sketch::sketch(arrays, row, angstrom)
    }
}
