//! The columns of a spectrum, and what of them is a sample.

use crate::config::{SpectrumConfig, WavelengthUnit};
use crate::resample::Sample;
use panchroma_core::data::{DataError, Ragged};
use panchroma_core::{Column, Error, Result, Rows};

/// The columns of one batch, read once.
pub(crate) struct Read<'a> {
    config: &'a SpectrumConfig,
    wavelength: Ragged<f64>,
    flux: Ragged<f64>,
    ivar: Ragged<f64>,
    mask: Ragged<bool>,
    lsf: Ragged<f32>,
}

/// What the modality asks the catalogue for.
pub(crate) fn columns(config: &SpectrumConfig) -> Vec<Column> {
    let path = |field: &String| config.path(field);
    let wanted = |field: &&String| !field.is_empty();
    let required = [&config.wavelength, &config.flux].map(|field| Column::number(path(field)).list());
    let numbers = [&config.ivar, &config.lsf_sigma].into_iter().filter(wanted).map(|f| Column::number(path(f)).list());
    let flags = [&config.mask].into_iter().filter(wanted).map(|f| Column::flag(path(f)).list());
    required.into_iter().chain(numbers.chain(flags).map(Column::optional)).collect()
}

impl<'a> Read<'a> {
    /// # Errors
    /// If a column has another type.
    pub(crate) fn new(config: &'a SpectrumConfig, rows: &Rows) -> Result<Self> {
        Ok(Self {
            config,
            wavelength: rows.ragged_f64(&config.path(&config.wavelength))?,
            flux: rows.ragged_f64(&config.path(&config.flux))?,
            ivar: match config.ivar.as_str() {
                "" => Ragged::absent(rows.len(), 1),
                field => rows.ragged_f64(&config.path(field))?,
            },
            mask: match config.mask.as_str() {
                "" => Ragged::absent(rows.len(), 1),
                field => rows.ragged_flags(&config.path(field))?,
            },
            lsf: match config.lsf_sigma.as_str() {
                "" => Ragged::absent(rows.len(), 1),
                field => rows.ragged_f32(&config.path(field))?,
            },
        })
    }

    pub(crate) fn bad(&self, object: &str, field: &str, reason: String) -> Error {
        DataError::BadValue { object: object.into(), column: self.config.path(field), reason }.into()
    }

    /// What was measured, in the order of wavelength.
    pub(crate) fn samples(&self, i: usize, object: &str) -> Result<Vec<Sample>> {
        let (wavelength, flux) = (self.wavelength.row(i), self.flux.row(i));
        let (ivar, mask) = (self.ivar.row(i), self.mask.row(i));
        let bad = |field: &str, reason: String| self.bad(object, field, reason);
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
        if let Some((k, wrong)) = ivar.iter().enumerate().find(|(_, v)| **v < 0.0) {
            let reason = format!("expected inverse variances of 0 and more, got {wrong} at sample {k}");
            return Err(bad(&self.config.ivar, reason));
        }
        let plain = |k: usize| flux[k].is_finite() && !mask.get(k).copied().unwrap_or(false);
        let measured = |k: usize| ivar.get(k).is_some_and(|v| *v > 0.0 && v.is_finite());
        // Catalogues write 0 everywhere where the source gives no errors.
        let known = (0..flux.len()).any(|k| plain(k) && measured(k));
        let mut samples: Vec<Sample> = Vec::with_capacity(flux.len());
        for (k, at) in wavelength.iter().map(|w| self.config.wavelength_unit.angstrom(*w)).enumerate() {
            let good = plain(k) && (!known || measured(k));
            let last = samples.last().map_or(f64::NEG_INFINITY, |last| last.wavelength);
            if !self.usable(at) || at <= last {
                // Padding is flagged; anything else of such a wavelength is a mistake.
                if !good {
                    continue;
                }
                let reason = match self.config.wavelength_unit {
                    _ if self.usable(at) => {
                        format!("expected ascending wavelengths, got {at} after {last} at sample {k}")
                    }
                    WavelengthUnit::Other => format!("expected a finite number, got {at} at sample {k}"),
                    _ => format!(
                        "expected a positive wavelength in Angstrom, got {at} at sample {k}; \
                         `wavelength_unit = \"other\"` takes any axis"
                    ),
                };
                return Err(bad(&self.config.wavelength, reason));
            }
            let variance = if known && good { 1.0 / ivar[k] } else { 0.0 };
            samples.push(Sample { wavelength: at, flux: flux[k], variance, good });
        }
        self.check_unit(&samples, object)?;
        Ok(samples)
    }

    /// Whether `at` can be a place on the axis.
    fn usable(&self, at: f64) -> bool {
        at.is_finite() && (at > 0.0 || self.config.wavelength_unit == WavelengthUnit::Other)
    }

    /// Refuses a spectrum that lies outside of the grid, but would lie inside it in another unit.
    fn check_unit(&self, samples: &[Sample], object: &str) -> Result<()> {
        let (from, to) = (self.config.wavelength_min, self.config.wavelength_max);
        let other = self.config.wavelength_unit == WavelengthUnit::Other;
        if other || samples.is_empty() || samples.iter().any(|s| (from..=to).contains(&s.wavelength)) {
            return Ok(());
        }
        let raw = |s: &Sample| match self.config.wavelength_unit {
            WavelengthUnit::Log10Angstrom => s.wavelength.log10(),
            unit => s.wavelength / unit.angstrom(1.0),
        };
        // All of it must fit: a spectrum from elsewhere may touch the grid by chance.
        let others = WavelengthUnit::ALL.into_iter().filter(|(unit, _)| *unit != self.config.wavelength_unit);
        let fits = |unit: WavelengthUnit| {
            let middle = samples.get(samples.len() / 2).map_or(0.0, |s| unit.angstrom(raw(s)));
            (from..=to).contains(&middle)
        };
        let Some((_, name)) = others.into_iter().find(|(unit, _)| fits(*unit)) else { return Ok(()) };
        let (first, last) = (samples.first().map_or(0.0, raw), samples.last().map_or(0.0, raw));
        let reason = format!(
            "wavelengths from {first} to {last} lie outside of `wavelength_min` to `wavelength_max`, but inside if they are in another \
             unit: is it `wavelength_unit = \"{name}\"`? (\"other\" if it is no wavelength)"
        );
        Err(self.bad(object, &self.config.wavelength, reason))
    }

    /// The line spread function's width at `wavelength` `[L]`, between the samples on straight lines; empty if row `i` has none.
    pub(crate) fn lsf_sigma(&self, i: usize, object: &str, wavelength: &[f64]) -> Result<Vec<f32>> {
        let (lsf, at) = (self.lsf.row(i), self.wavelength.row(i));
        if lsf.is_empty() {
            return Ok(Vec::new());
        }
        if lsf.len() != at.len() {
            let reason =
                format!("expected as many values as `{}` has, {}, got {}", self.config.wavelength, at.len(), lsf.len());
            return Err(self.bad(object, &self.config.lsf_sigma, reason));
        }
        let mut last = f64::NEG_INFINITY;
        let known: Vec<(f64, f64)> = at
            .iter()
            .zip(lsf)
            .map(|(w, s)| (self.config.wavelength_unit.angstrom(*w), f64::from(*s)))
            .filter(|(w, s)| {
                let known = self.usable(*w) && *w > last && s.is_finite() && *s > 0.0;
                last = if known { *w } else { last };
                known
            })
            .collect();
        let between = |w: f64| {
            let right = known.partition_point(|(x, _)| *x <= w);
            match (right.checked_sub(1).and_then(|left| known.get(left)), known.get(right)) {
                (Some((x0, y0)), Some((x1, y1))) => y0 + (y1 - y0) * (w - x0) / (x1 - x0),
                // Beyond the ends it is what it is there.
                (Some((_, y)), None) | (None, Some((_, y))) => *y,
                (None, None) => 0.0,
            }
        };
        Ok(wavelength.iter().map(|w| between(*w) as f32).collect())
    }
}
