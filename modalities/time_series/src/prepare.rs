//! Rows -> arrays: reads the lists of each object, makes the features of each observation.

use crate::config::TimeSeriesConfig;
use crate::curve::{Curve, Observation};
use crate::scaler::{Collector, Scaler};
use panchroma_core::bands::wavelength_angstrom;
use panchroma_core::data::DataError;
use panchroma_core::{
    Array, ArrayField, Arrays, ArraysSpec, Column, Descriptor, Error, Modality, ModalityContext, Mode, PrepareContext,
    Result, Rows, Section, Values,
};
use serde_json::Value;
use std::collections::BTreeMap;

/// The F features of an observation, in their order in the field `values`.
///
/// The first five are scaled to mean 0 and deviation 1 on the training split; the last two are
/// flags of 0 or 1. Without a known error, `error` and `significance` are 0 and so is `has_error`.
pub const FEATURES: [&str; 7] = [
    // asinh(flux / softening): brightness as seen from here.
    "brightness",
    // flux / scale of the object: the shape of the curve.
    "relative_flux",
    // log10(scale of the object): the same for all its observations.
    "object_scale",
    // log10(error / scale of the object).
    "error",
    // asinh(flux / error).
    "significance",
    "has_error",
    "known_band",
];

/// The features that a [`Scaler`] changes are the first so many.
const SCALED: usize = 5;

/// Relative fluxes and scaled features beyond this are cut: one wild point must not rule a batch.
const LIMIT: f64 = 10.0;

/// The modality `time_series`.
///
/// Arrays: `time` `[B, L]` (days since the object's origin), `values` `[B, L, F]` (see
/// [`FEATURES`]), `wavelength` `[B, L]` (natural logarithm of Angstrom, 0 if unknown), valid
/// `[B, L]`; f32, observations in the order of time, padded to the longest of the batch.
#[derive(Clone, Debug)]
pub struct TimeSeries {
    name: String,
    config: TimeSeriesConfig,
    scaler: Option<Scaler>,
}

impl TimeSeries {
    /// From its table.
    ///
    /// # Errors
    /// If a key is unknown, of the wrong type, or out of range.
    pub fn new(section: &Section, context: &ModalityContext<'_>) -> Result<Self> {
        Ok(Self { name: context.name.into(), config: TimeSeriesConfig::read(section)?, scaler: None })
    }

    fn path(&self, field: &str) -> String {
        format!("{}.{field}", self.config.column)
    }

    /// The usable observations of each object; `None` where there are too few.
    fn curves(&self, rows: &Rows) -> Result<Vec<Option<Curve>>> {
        let config = &self.config;
        let paths = [&config.time, &config.flux, &config.flux_err, &config.band].map(|field| self.path(field));
        let [time_path, flux_path, error_path, band_path] = &paths;
        let times = rows.ragged_f64(time_path)?;
        let fluxes = rows.ragged_f64(flux_path)?;
        let errors = if config.flux_err.is_empty() { None } else { Some(rows.ragged_f64(error_path)?) };
        let bands = if config.band.is_empty() { None } else { Some(rows.ragged_text(band_path)?) };
        let origins = match &config.origin_column {
            Some(column) => rows.numbers(column)?,
            None => vec![None; rows.len()],
        };
        // A survey has few bands and many observations: look each name up once.
        let mut wavelengths: BTreeMap<String, Option<f64>> = BTreeMap::new();
        let mut curves = Vec::with_capacity(rows.len());
        for (i, (object, origin)) in rows.ids().iter().zip(origins).enumerate() {
            let has = |present: &[bool]| present.get(i).copied().unwrap_or(false);
            if !has(&times.present) || !has(&fluxes.present) {
                curves.push(None);
                continue;
            }
            let (time, flux) = (times.row(i), fluxes.row(i));
            let error = errors.as_ref().filter(|e| has(&e.present)).map(|e| e.row(i));
            let band = bands.as_ref().filter(|b| has(&b.present)).map(|b| b.row(i));
            let lengths = [
                (flux_path, Some(flux.len())),
                (error_path, error.map(<[f64]>::len)),
                (band_path, band.map(<[String]>::len)),
            ];
            for (path, length) in lengths {
                if let Some(length) = length.filter(|l| *l != time.len()) {
                    return Err(bad_length(object, path, time_path, time.len(), length));
                }
            }
            let mut observations = Vec::with_capacity(time.len());
            for (at, (&time, &flux)) in time.iter().zip(flux).enumerate() {
                let name = band.and_then(|b| b.get(at)).map_or("", String::as_str);
                let wavelength = match wavelengths.get(name) {
                    Some(known) => *known,
                    None => {
                        let found = wavelength_angstrom(name, &config.bands);
                        wavelengths.insert(name.to_owned(), found);
                        found
                    }
                };
                let error = error.and_then(|e| e.get(at)).copied();
                observations.push(Observation { days: time * config.time_unit_days, flux, error, wavelength });
            }
            let origin = origin.map(|o| o * config.time_unit_days).filter(|o| o.is_finite());
            curves.push(Curve::new(config, observations, origin));
        }
        Ok(curves)
    }

    /// The features of one observation before scaling; `None` where unknown.
    fn features(&self, observation: &Observation, scale: f64) -> [Option<f64>; SCALED] {
        [
            Some((observation.flux / self.config.flux_softening).asinh()),
            Some((observation.flux / scale).clamp(-LIMIT, LIMIT)),
            Some(scale.log10()),
            observation.error.map(|error| (error / scale).log10()),
            observation.significance().map(f64::asinh),
        ]
    }
}

impl Modality for TimeSeries {
    fn columns(&self) -> Vec<Column> {
        let config = &self.config;
        let mut columns =
            vec![Column::number(self.path(&config.time)).list(), Column::number(self.path(&config.flux)).list()];
        if !config.flux_err.is_empty() {
            columns.push(Column::number(self.path(&config.flux_err)).list());
        }
        if !config.band.is_empty() {
            columns.push(Column::text(self.path(&config.band)).list());
        }
        columns.extend(config.origin_column.iter().map(Column::number));
        columns
    }

    fn spec(&self) -> ArraysSpec {
        let field = |name, axes, unit: &str| ArrayField { name, axes, unit: unit.into() };
        ArraysSpec {
            fields: vec![
                field("time", &["L"], "day"),
                field("values", &["L", "F"], ""),
                field("wavelength", &["L"], "ln(Angstrom)"),
            ],
            valid_axes: &["L"],
            sizes: vec![("L", self.config.max_observations), ("F", FEATURES.len())],
        }
    }

    fn fit(&mut self, rows: &mut dyn Iterator<Item = Result<Rows>>) -> Result<()> {
        let mut collector = Collector::new(SCALED);
        let context = PrepareContext { mode: Mode::Evaluate, seed: 0, epoch: 0, modality: &self.name };
        for rows in rows {
            let rows = rows?;
            for (object, curve) in rows.ids().iter().zip(self.curves(&rows)?) {
                let Some(mut curve) = curve else { continue };
                // Thinned as in use, or the few objects with thousands of points would set the scale.
                curve.draw(&self.config, &context, object);
                for observation in &curve.observations {
                    for (index, value) in self.features(observation, curve.scale).into_iter().enumerate() {
                        if let Some(value) = value {
                            collector.add(index, value);
                        }
                    }
                }
            }
        }
        if collector.is_empty() {
            return Err(DataError::AllMissing {
                column: self.path(&self.config.flux),
                modality: Some(self.name.clone()),
            }
            .into());
        }
        self.scaler = Some(collector.finish(scaled_names()));
        Ok(())
    }

    fn fitted(&self) -> Value {
        self.scaler.as_ref().map_or(Value::Null, Scaler::to_json)
    }

    fn restore(&mut self, fitted: &Value) -> Result<()> {
        self.scaler = Some(Scaler::from_json(fitted, scaled_names(), &self.name)?);
        Ok(())
    }

    fn prepare(&self, rows: &Rows, context: &PrepareContext<'_>) -> Result<Arrays> {
        let scaler = self.scaler.as_ref().ok_or_else(|| Error::Plugin {
            kind: "modality",
            name: self.name.clone(),
            reason: "was used before its scaler was fitted or restored".into(),
        })?;
        let mut curves = self.curves(rows)?;
        for (object, curve) in rows.ids().iter().zip(&mut curves) {
            if let Some(curve) = curve {
                curve.draw(&self.config, context, object);
            }
        }
        // At least one place, so that a batch without any observation is still a batch of tokens.
        let longest = curves.iter().flatten().map(|c| c.observations.len()).max().unwrap_or(0).max(1);
        let (b, f) = (curves.len(), FEATURES.len());
        let mut valid = vec![0u8; b * longest];
        let mut time = vec![0f32; b * longest];
        let mut wavelength = vec![0f32; b * longest];
        let mut values = vec![0f32; b * longest * f];
        for (row, curve) in curves.iter().enumerate() {
            let Some(curve) = curve else { continue };
            for (at, observation) in curve.observations.iter().enumerate() {
                let place = row * longest + at;
                valid[place] = 1;
                time[place] = observation.days as f32;
                wavelength[place] = observation.wavelength.map_or(0.0, |angstrom| angstrom.ln() as f32);
                let out = &mut values[place * f..(place + 1) * f];
                for (index, value) in self.features(observation, curve.scale).into_iter().enumerate() {
                    let scaled = value.map_or(0.0, |v| scaler.scale(index, v).clamp(-LIMIT, LIMIT));
                    out[index] = scaled as f32;
                }
                out[SCALED] = f32::from(u8::from(observation.error.is_some()));
                out[SCALED + 1] = f32::from(u8::from(observation.wavelength.is_some()));
            }
        }
        let fields = BTreeMap::from([
            ("time".to_owned(), Array::f32(&[b, longest], time)?),
            ("values".to_owned(), Array::f32(&[b, longest, f], values)?),
            ("wavelength".to_owned(), Array::f32(&[b, longest], wavelength)?),
        ]);
        let present = curves.iter().map(Option::is_some).collect();
        Ok(Arrays { present, valid: Array::new(&[b, longest], Values::U8(valid))?, fields })
    }
}

fn scaled_names() -> &'static [&'static str] {
    FEATURES.get(..SCALED).unwrap_or_default()
}

fn bad_length(object: &str, path: &str, time_path: &str, expected: usize, found: usize) -> Error {
    DataError::BadValue {
        object: object.into(),
        column: path.into(),
        reason: format!("expected {expected} values as in `{time_path}`, got {found}"),
    }
    .into()
}

inventory::submit! {
    Descriptor::<dyn Modality> {
        name: "time_series",
        summary: "irregular series of fluxes in many bands with errors, such as light curves",
        origin: env!("CARGO_PKG_NAME"),
        example: r#"column = "lightcurve"      # struct of lists: time, flux, flux_err, band
max_observations = 128     # longer series are thinned
time_origin = "peak"       # or "first", "median"
flux_softening = 100.0     # in the data's unit: where linear turns to logarithmic
drop_fraction = 0.2        # augmentation, in training only
bands = { "UVOT:X" = 3500.0 }
"#,
        schema: || schemars::schema_for!(TimeSeriesConfig),
        build: |section, context| Ok(Box::new(TimeSeries::new(section, context)?)),
    }
}
