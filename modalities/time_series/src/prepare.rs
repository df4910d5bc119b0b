//! Rows -> arrays: reads the lists of each object, makes the features of each observation.

use crate::axes::UNKNOWN;
use crate::config::TimeSeriesConfig;
use crate::curve::{Curve, Observation};
use crate::scaler::{Collector, Scaler};
use crate::sketch;
use crate::weights::{errors, relative};
use panchroma_core::bands::wavelength_angstrom;
use panchroma_core::data::{DataError, Ragged};
use panchroma_core::sketch::Sketch;
use panchroma_core::{
    Array, ArrayField, Arrays, ArraysSpec, Column, Descriptor, Error, Modality, ModalityContext, Mode, PrepareContext,
    Result, Rows, Section, ValueType, Values,
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

/// One more, if the config names a field of limits: whether nothing was seen.
pub const LIMIT_FEATURE: &str = "is_limit";

/// The features that a [`Scaler`] changes are the first so many.
const SCALED: usize = 5;

/// Relative fluxes and scaled features beyond this are cut: one wild point must not rule a batch.
const LIMIT: f64 = 10.0;

/// The modality `time_series`.
///
/// Arrays: `time` `[B, L]` (days since the object's origin), `values` `[B, L, F]` (see
/// [`FEATURES`] and [`LIMIT_FEATURE`]), `weight` `[B, L, F]` (their inverse variances over the mean of the object; 1 where no error is
/// known or there is none), `error` `[B, L]` (standard error of the first of them, 0 where none is known), with bands `wavelength` `[B, L]` (natural logarithm of Angstrom), with channels `channel` `[B, L]`, with
/// periods `phase` `[B, L]` (0 to below 1), valid `[B, L]`; f32, observations in the order of time, padded to the longest of the batch.
/// A wavelength, channel or phase of -1000 is unknown.
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
        if self.config.column.is_empty() { field.into() } else { format!("{}.{field}", self.config.column) }
    }

    /// The usable observations of each object; `None` where there are too few.
    fn curves(&self, rows: &Rows) -> Result<Vec<Option<Curve>>> {
        let config = &self.config;
        let numbers = |field: &str| match field.is_empty() {
            true => Ok(None),
            false => rows.ragged_f64(&self.path(field)).map(Some),
        };
        let column = |name: &Option<String>| match name {
            Some(name) => rows.numbers(name),
            None => Ok(vec![None; rows.len()]),
        };
        let fluxes = rows.ragged_f64(&self.path(&config.flux))?;
        let lists = [config.time.as_str(), &config.flux_err, config.limit.as_deref().unwrap_or_default()];
        let [times, errors, limits] = [numbers(lists[0])?, numbers(lists[1])?, numbers(lists[2])?];
        let bands = if config.band.is_empty() { None } else { Some(rows.ragged_text(&self.path(&config.band))?) };
        let (origins, periods) = (column(&config.origin_column)?, column(&config.period_column)?);
        let mut known = Bands { config, seen: BTreeMap::new() };
        let mut curves = Vec::with_capacity(rows.len());
        for (i, (object, (origin, period))) in rows.ids().iter().zip(origins.into_iter().zip(periods)).enumerate() {
            let has = |present: &[bool]| present.get(i).copied().unwrap_or(false);
            if !has(&fluxes.present) || times.as_ref().is_some_and(|times| !has(&times.present)) {
                curves.push(None);
                continue;
            }
            let flux = fluxes.row(i);
            let (time, error, limit) = (row(&times, i), row(&errors, i), row(&limits, i));
            let band = bands.as_ref().filter(|b| has(&b.present)).map(|b| b.row(i));
            let lengths = [
                (lists[0], time.map(<[f64]>::len)),
                (lists[1], error.map(<[f64]>::len)),
                (lists[2], limit.map(<[f64]>::len)),
                (&config.band, band.map(<[String]>::len)),
            ];
            for (field, length) in lengths {
                if let Some(length) = length.filter(|l| *l != flux.len()) {
                    let reason =
                        format!("expected {} values as in `{}`, got {length}", flux.len(), self.path(&config.flux));
                    return Err(self.bad(object, field, reason));
                }
            }
            let mut observations = Vec::with_capacity(flux.len());
            for (at, &flux) in flux.iter().enumerate() {
                let name = band.and_then(|b| b.get(at)).map_or("", String::as_str);
                let band = known.find(name).map_err(|reason| self.bad(object, &config.band, reason))?;
                let value = |list: Option<&[f64]>| list.and_then(|l| l.get(at)).copied();
                let time = value(time).unwrap_or_else(|| at as f64 * config.cadence.unwrap_or(1.0));
                let limit = value(limit).filter(|l| !flux.is_finite() && l.is_finite() && *l > 0.0);
                observations.push(Observation {
                    days: time * config.time_unit_days,
                    flux: if limit.is_some() { 0.0 } else { flux },
                    error: limit.map(|l| l / config.limit_sigma).or_else(|| value(error)),
                    wavelength: band.wavelength,
                    channel: band.channel,
                    limit: limit.is_some(),
                });
            }
            let days = |time: Option<f64>| time.map(|t| t * config.time_unit_days).filter(|t| t.is_finite());
            let curve = Curve::new(config, observations, days(origin));
            let period = days(period).filter(|p| *p > 0.0);
            curves.push(curve.map(|curve| Curve { period, ..curve }));
        }
        Ok(curves)
    }

    fn bad(&self, object: &str, field: &str, reason: String) -> Error {
        DataError::BadValue { object: object.into(), column: self.path(field), reason }.into()
    }

    /// F.
    fn width(&self) -> usize {
        FEATURES.len() + usize::from(self.config.limit.is_some())
    }

    /// Weights of the features that have an error, by the place of the feature; one per observation. All others weigh 1.
    fn weights(&self, observations: &[Observation]) -> [(usize, Vec<f32>); 3] {
        let errors: Vec<_> = observations.iter().map(|o| errors(o, self.config.flux_softening)).collect();
        let of = |which: usize| relative(&errors.iter().map(|e| e.map(|e| e[which])).collect::<Vec<_>>());
        // Brightness, relative flux, significance.
        [(0, of(0)), (1, of(1)), (4, of(2))]
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

/// The values of row `i`, if it has any list.
fn row(list: &Option<Ragged<f64>>, i: usize) -> Option<&[f64]> {
    list.as_ref().filter(|l| l.present.get(i).copied().unwrap_or(false)).map(|l| l.row(i))
}

/// What is known of a band.
#[derive(Clone, Copy)]
struct Band {
    wavelength: Option<f64>,
    channel: Option<usize>,
}

/// A survey has few bands and many observations: each name is looked up once.
struct Bands<'a> {
    config: &'a TimeSeriesConfig,
    seen: BTreeMap<String, Band>,
}

impl Bands<'_> {
    /// The reason, if the name says nothing and must.
    fn find(&mut self, name: &str) -> std::result::Result<Band, String> {
        if let Some(band) = self.seen.get(name) {
            return Ok(*band);
        }
        let band = Band {
            wavelength: wavelength_angstrom(name, &self.config.bands),
            channel: self.config.channels.iter().position(|c| c == name),
        };
        if self.config.strict_bands && band.wavelength.is_none() && band.channel.is_none() {
            return Err(format!(
                "the wavelength of band `{name}` is not known; say it with `bands = {{ {name:?} = 5000.0 }}` (Angstrom), name it in \
                 `channels`, or allow it with `strict_bands = false`"
            ));
        }
        self.seen.insert(name.to_owned(), band);
        Ok(band)
    }
}

impl Modality for TimeSeries {
    fn columns(&self) -> Vec<Column> {
        let config = &self.config;
        let mut columns = vec![Column::number(self.path(&config.flux)).list()];
        let lists = [Some(&config.time), Some(&config.flux_err), config.limit.as_ref()];
        let lists = lists.into_iter().flatten().filter(|field| !field.is_empty());
        columns.extend(lists.map(|field| Column::number(self.path(field)).list()));
        if !config.band.is_empty() {
            columns.push(Column::text(self.path(&config.band)).list());
        }
        columns.extend(config.origin_column.iter().chain(&config.period_column).map(Column::number));
        columns
    }

    fn spec(&self) -> ArraysSpec {
        let field = |name, axes, unit: &str| ArrayField { name, axes, unit: unit.into(), values: ValueType::F32 };
        let mut fields = vec![
            field("time", &["L"], "day"),
            field("values", &["L", "F"], ""),
            field("weight", &["L", "F"], ""),
            field("error", &["L"], ""),
        ];
        if !self.config.band.is_empty() {
            fields.push(field("wavelength", &["L"], "ln(Angstrom)"));
        }
        let mut sizes = vec![("L", self.config.max_observations), ("F", self.width())];
        if !self.config.channels.is_empty() {
            fields.push(field("channel", &["L"], ""));
            sizes.push(("channels", self.config.channels.len()));
        }
        if self.config.period_column.is_some() {
            fields.push(field("phase", &["L"], "period"));
        }
        ArraysSpec { fields, valid_axes: &["L"], sizes, labels: Vec::new() }
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
        let (b, f) = (curves.len(), self.width());
        let mut valid = vec![0u8; b * longest];
        let mut time = vec![0f32; b * longest];
        let mut wavelength = vec![UNKNOWN; b * longest];
        let mut channel = wavelength.clone();
        let mut phase = wavelength.clone();
        let mut values = vec![0f32; b * longest * f];
        let mut weight = values.clone();
        let mut error = time.clone();
        for (row, curve) in curves.iter().enumerate() {
            let Some(curve) = curve else { continue };
            let weights = self.weights(&curve.observations);
            for (at, observation) in curve.observations.iter().enumerate() {
                let place = row * longest + at;
                valid[place] = 1;
                time[place] = observation.days as f32;
                wavelength[place] = observation.wavelength.map_or(UNKNOWN, |angstrom| angstrom.ln() as f32);
                channel[place] = observation.channel.map_or(UNKNOWN, |c| c as f32);
                phase[place] = curve.phase(observation).unwrap_or(UNKNOWN);
                let own = errors(observation, self.config.flux_softening).map(|errors| errors[0]);
                error[place] = own.map_or(0.0, |error| scaler.scale_error(0, error) as f32);
                let own = &mut weight[place * f..(place + 1) * f];
                own.fill(1.0);
                for (feature, weights) in &weights {
                    own[*feature] = weights[at];
                }
                let out = &mut values[place * f..(place + 1) * f];
                for (index, value) in self.features(observation, curve.scale).into_iter().enumerate() {
                    let scaled = value.map_or(0.0, |v| scaler.scale(index, v).clamp(-LIMIT, LIMIT));
                    out[index] = scaled as f32;
                }
                out[SCALED] = f32::from(u8::from(observation.error.is_some()));
                out[SCALED + 1] = f32::from(u8::from(observation.wavelength.is_some()));
                if let Some(limit) = out.get_mut(FEATURES.len()) {
                    *limit = f32::from(u8::from(observation.limit));
                }
            }
        }
        let mut fields = BTreeMap::from([
            ("time".to_owned(), Array::f32(&[b, longest], time)?),
            ("values".to_owned(), Array::f32(&[b, longest, f], values)?),
            ("weight".to_owned(), Array::f32(&[b, longest, f], weight)?),
            ("error".to_owned(), Array::f32(&[b, longest], error)?),
        ]);
        if !self.config.band.is_empty() {
            fields.insert("wavelength".to_owned(), Array::f32(&[b, longest], wavelength)?);
        }
        if !self.config.channels.is_empty() {
            fields.insert("channel".to_owned(), Array::f32(&[b, longest], channel)?);
        }
        if self.config.period_column.is_some() {
            fields.insert("phase".to_owned(), Array::f32(&[b, longest], phase)?);
        }
        let present = curves.iter().map(Option::is_some).collect();
        Ok(Arrays { present, valid: Array::new(&[b, longest], Values::U8(valid))?, fields })
    }

    fn sketch(&self, arrays: &Arrays, row: usize) -> Result<Option<Sketch>> {
        self.scaler.as_ref().map_or(Ok(None), |scaler| sketch::sketch(&self.config, scaler, arrays, row))
    }

    fn closely(&self, arrays: &Arrays) -> Result<Option<Arrays>> {
        sketch::closely(arrays)
    }
}

fn scaled_names() -> &'static [&'static str] {
    FEATURES.get(..SCALED).unwrap_or_default()
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
