//! What a catalogue knows about how an object was measured, as coordinates of its tokens: survey, seeing, place on
//! the sky.
//!
//! `[modality.NAME.metadata.KEY]` names a column and an encoder; every token of the object gets the value, beside the
//! coordinates that the tokenizer gives. In training each is dropped at random, so that a model can be used where it is
//! unknown: what is missing, or a category that training never saw, adds nothing to a token.

mod keys;

pub use keys::{KEYS, ModalityKeys, Positions};

use keys::dropout;

use crate::data::DataError;
use crate::sphere;
use crate::{Column, Coordinate, Encoding, Error, Mode, PrepareContext, Result, Rows, Section, TokenSpec, Tokens};
use candle_core::{Device, Tensor};
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Values of a number that are enough to say where it lies: any place among them will do, and a pass over all objects takes long.
const ENOUGH: usize = 4096;

/// Periods of a coordinate of a place on the unit sphere: from a degree to four times its range.
const SPHERE: Encoding = Encoding::Fourier { shortest: 0.02, longest: 8.0, frequencies: 8 };

/// Keys of `[modality.NAME.metadata.KEY]`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetadataConfig {
    /// How the value goes into the model: `fourier` (a number; give `shortest` and `longest`), `log` (a positive number whose
    /// ratios matter; give `smallest` and `largest`), `categorical` (text, whole numbers or flags), or `sphere` (right ascension
    /// and declination in degrees).
    pub encoder: Encoder,
    /// The column; default KEY.
    #[serde(default)]
    pub column: Option<String>,
    /// With `sphere`: the two columns; default `["ra", "dec"]`.
    #[serde(default)]
    pub columns: Option<[String; 2]>,
    /// With `fourier`: the smallest difference that matters, in the column's unit.
    #[serde(default)]
    pub shortest: Option<f64>,
    /// With `fourier`: about four times the range of the values.
    #[serde(default)]
    pub longest: Option<f64>,
    /// With `log`: smallest value to expect, above 0.
    #[serde(default)]
    pub smallest: Option<f64>,
    /// With `log`: largest value to expect.
    #[serde(default)]
    pub largest: Option<f64>,
    /// Number of periods, 1 to 64; default 8.
    #[serde(default = "eight")]
    pub frequencies: usize,
    /// With `categorical`: the most frequent texts of the training split are told apart, up to this many, 1 to 4096;
    /// default 64. Others are unknown.
    #[serde(default = "most")]
    pub categories: usize,
}

/// How a value goes into the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encoder {
    /// Sines and cosines of the number, from the median of the training split on: dates may be far from 0.
    Fourier,
    /// Sines and cosines of its logarithm.
    Log,
    /// A learned vector per text; an empty one is unknown.
    Categorical,
    /// A place on the sky; a declination outside -90 to 90, or a right ascension outside -360 to 360, such as -999, is unknown.
    Sphere,
}

fn eight() -> usize {
    8
}
fn most() -> usize {
    64
}

/// Where the numbers of one key come from.
#[derive(Clone, Debug)]
enum Source {
    Number {
        column: String,
        /// Taken off before single precision: days since 4713 BC have no minutes there. 0 before it is known.
        origin: f64,
    },
    /// The texts in the order of their numbers; empty before they are known.
    Category {
        column: String,
        most: usize,
        texts: Vec<String>,
    },
    Sphere([String; 2]),
}

#[derive(Clone, Debug)]
struct Entry {
    key: String,
    source: Source,
    encoding: Encoding,
}

impl Entry {
    /// Whether the training split says something of it. Of a logarithm nothing may be taken off.
    fn learns(&self) -> bool {
        match self.source {
            Source::Category { .. } => true,
            Source::Number { .. } => matches!(self.encoding, Encoding::Fourier { .. }),
            Source::Sphere(_) => false,
        }
    }

    /// Number of coordinates.
    fn width(&self) -> usize {
        if matches!(self.source, Source::Sphere(_)) { 3 } else { 1 }
    }
}

/// The metadata of one modality.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    modality: String,
    dropout: f64,
    positions: Positions,
    entries: Vec<Entry>,
}

impl Metadata {
    /// Reads `metadata` and `metadata_dropout` of a modality's table.
    pub(crate) fn read(modality: &str, section: &Section) -> Result<Self> {
        let dropout = section.get("metadata_dropout")?.unwrap_or_else(dropout);
        if !(0.0..1.0).contains(&dropout) {
            return Err(section.reject("metadata_dropout", format!("expected 0 up to below 1, got {dropout}")));
        }
        let mut entries = Vec::new();
        for (key, table) in section.sections("metadata")? {
            let config: MetadataConfig = table.read_plain()?;
            entries.push(entry(key, &config, &table)?);
        }
        let positions = section.get("positions")?.unwrap_or_default();
        Ok(Self { modality: modality.into(), dropout, positions, entries })
    }

    /// The columns that it reads.
    pub(crate) fn columns(&self) -> Vec<Column> {
        let of = |entry: &Entry| match &entry.source {
            Source::Number { column, .. } => vec![Column::number(column)],
            Source::Category { column, .. } => vec![Column::label(column)],
            Source::Sphere(columns) => columns.iter().map(Column::number).collect(),
        };
        self.entries.iter().flat_map(of).collect()
    }

    /// The tokenizer's `spec` with coordinates for the metadata behind its own, or behind the number of each token.
    pub(crate) fn extend(&self, spec: &TokenSpec) -> TokenSpec {
        let mut spec = TokenSpec { coordinates: self.positions.coordinates(spec), ..spec.clone() };
        for entry in &self.entries {
            let axes: &[&str] = if entry.width() == 3 { &[".x", ".y", ".z"] } else { &[""] };
            spec.coordinates.extend(axes.iter().map(|axis| Coordinate {
                name: Cow::Owned(format!("metadata.{}{axis}", entry.key)),
                unit: "".into(),
                encoding: entry.encoding,
                metadata: true,
            }));
        }
        spec
    }

    /// Learns categories, and where numbers begin, from the training split.
    pub(crate) fn fit(&mut self, rows: &mut dyn Iterator<Item = Result<Rows>>) -> Result<()> {
        if self.entries.iter().all(|entry| !entry.learns()) {
            return Ok(());
        }
        let mut counts: Vec<BTreeMap<String, u64>> = vec![BTreeMap::new(); self.entries.len()];
        let mut values: Vec<Vec<f64>> = vec![Vec::new(); self.entries.len()];
        for rows in rows {
            let rows = rows?;
            for ((entry, counts), values) in self.entries.iter().zip(&mut counts).zip(&mut values) {
                match &entry.source {
                    Source::Category { column, .. } => {
                        for text in labels(&rows, column)?.into_iter().flatten() {
                            *counts.entry(text).or_default() += 1;
                        }
                    }
                    Source::Number { column, .. } if entry.learns() => {
                        let room = ENOUGH.saturating_sub(values.len());
                        values.extend(rows.numbers(column)?.into_iter().flatten().take(room));
                    }
                    Source::Number { .. } | Source::Sphere(_) => {}
                }
            }
            let knows = |(entry, values): (&Entry, &Vec<f64>)| match entry.source {
                Source::Category { .. } => false,
                _ => !entry.learns() || values.len() == ENOUGH,
            };
            if self.entries.iter().zip(&values).all(knows) {
                break;
            }
        }
        for ((entry, counts), mut values) in self.entries.iter_mut().zip(counts).zip(values) {
            if let Source::Number { origin, .. } = &mut entry.source {
                // The median: one -999 among dates must not move it, or they are coarse again.
                values.sort_by(f64::total_cmp);
                *origin = values.get(values.len() / 2).copied().unwrap_or(0.0);
            }
            let Source::Category { column, most, texts } = &mut entry.source else { continue };
            if counts.is_empty() {
                let modality = Some(self.modality.clone());
                return Err(DataError::AllMissing { column: column.clone(), modality }.into());
            }
            let mut counted: Vec<(String, u64)> = counts.into_iter().collect();
            counted.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            *texts = counted.into_iter().take(*most).map(|(text, _)| text).collect();
        }
        Ok(())
    }

    /// What was learned, for the checkpoint; `Null` if there are none.
    pub(crate) fn fitted(&self) -> Value {
        let of = |entry: &Entry| match &entry.source {
            Source::Category { texts, .. } => Some((entry.key.clone(), json!(texts))),
            Source::Number { origin, .. } if entry.learns() => Some((entry.key.clone(), json!(origin))),
            _ => None,
        };
        let found: serde_json::Map<String, Value> = self.entries.iter().filter_map(of).collect();
        if found.is_empty() { Value::Null } else { Value::Object(found) }
    }

    /// Takes back what [`Self::fitted`] gave.
    pub(crate) fn restore(&mut self, fitted: &Value) -> Result<()> {
        for entry in &mut self.entries {
            if let Source::Number { origin, .. } = &mut entry.source {
                // Checkpoints of before have none.
                *origin = fitted.get(&entry.key).and_then(Value::as_f64).filter(|o| o.is_finite()).unwrap_or(0.0);
            }
            let Source::Category { most, texts, .. } = &mut entry.source else { continue };
            let found = fitted.get(&entry.key).and_then(|v| serde_json::from_value::<Vec<String>>(v.clone()).ok());
            *texts = found.filter(|found| found.len() <= *most).ok_or_else(|| Error::Plugin {
                kind: "metadata",
                name: format!("{}.{}", self.modality, entry.key),
                reason: format!("expected up to {most} texts, got {fitted}"),
            })?;
        }
        Ok(())
    }

    /// Adds the metadata of `rows` to `tokens`, and in training drops some of it: of the tokenizer's own, too.
    pub(crate) fn add(
        &self,
        tokens: Tokens,
        rows: &Rows,
        spec: &TokenSpec,
        context: &PrepareContext<'_>,
    ) -> Result<Tokens> {
        let (b, t) = tokens.valid.dims2()?;
        let tokens = self.positions.tell(tokens)?;
        let own = tokens.coordinates.dim(2)?;
        let width = spec.coordinates.len();
        let droppable = spec.coordinates.iter().any(|c| c.metadata);
        let drops = context.mode == Mode::Train && self.dropout > 0.0 && droppable;
        if width == own && !drops {
            return Ok(tokens);
        }
        let given = tokens.coordinates.flatten_all()?.to_vec1::<f32>()?;
        let values = self.values(rows)?;
        let mut all = Vec::with_capacity(b * t * width);
        for row in 0..b {
            let mut keep = vec![true; width];
            if drops {
                let object = rows.ids().get(row).map(String::as_str).unwrap_or_default();
                let mut random = context.random(object, "metadata");
                // The three numbers of a place are known together or not at all.
                let mut last: Option<(&str, bool)> = None;
                for (keep, coordinate) in keep.iter_mut().zip(&spec.coordinates).filter(|(_, c)| c.metadata) {
                    let axes = [".x", ".y", ".z"];
                    let name =
                        axes.iter().find_map(|axis| coordinate.name.strip_suffix(axis)).unwrap_or(&coordinate.name);
                    *keep = match last {
                        Some((same, kept)) if same == name => kept,
                        _ => random.random::<f64>() >= self.dropout,
                    };
                    last = Some((name, *keep));
                }
            }
            for token in 0..t {
                let start = (row * t + token) * own;
                let here = given.get(start..start + own).unwrap_or_default().iter().copied();
                let object = values.iter().map(|column| column.get(row).copied().unwrap_or(f32::NAN));
                all.extend(here.chain(object).zip(&keep).map(|(value, keep)| if *keep { value } else { f32::NAN }));
            }
        }
        Ok(Tokens { coordinates: Tensor::from_vec(all, (b, t, width), &Device::Cpu)?, ..tokens })
    }

    /// One column of numbers per coordinate; NaN where unknown.
    fn values(&self, rows: &Rows) -> Result<Vec<Vec<f32>>> {
        let mut columns = Vec::new();
        for entry in &self.entries {
            match &entry.source {
                Source::Number { column, origin } => {
                    let number = |v: Option<f64>| v.map_or(f32::NAN, |v| (v - origin) as f32);
                    columns.push(rows.numbers(column)?.into_iter().map(number).collect());
                }
                Source::Category { column, texts, .. } => {
                    let place = |text: Option<String>| text.and_then(|text| texts.iter().position(|t| *t == text));
                    let index =
                        labels(rows, column)?.into_iter().map(|text| place(text).map_or(f32::NAN, |i| i as f32));
                    columns.push(index.collect());
                }
                Source::Sphere([ra, dec]) => {
                    let (ra, dec) = (rows.numbers(ra)?, rows.numbers(dec)?);
                    let points = ra.into_iter().zip(dec).map(|(ra, dec)| {
                        let place = ra.zip(dec).and_then(|(ra, dec)| sphere::place(ra, dec));
                        place.map_or([f32::NAN; 3], |point| point.map(|v| v as f32))
                    });
                    let points: Vec<[f32; 3]> = points.collect();
                    columns.extend((0..3).map(|axis| points.iter().map(|p| p[axis]).collect()));
                }
            }
        }
        Ok(columns)
    }
}

/// Texts without blanks at their ends; an empty one is none.
fn labels(rows: &Rows, column: &str) -> Result<Vec<Option<String>>> {
    let texts = rows.labels(column)?.into_iter();
    Ok(texts.map(|text| text.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty())).collect())
}

fn entry(key: String, config: &MetadataConfig, table: &Section) -> Result<Entry> {
    let column = config.column.clone().unwrap_or_else(|| key.clone());
    if !(1..=64).contains(&config.frequencies) {
        return Err(table.reject("frequencies", format!("expected 1 to 64, got {}", config.frequencies)));
    }
    if !(1..=4096).contains(&config.categories) {
        return Err(table.reject("categories", format!("expected 1 to 4096, got {}", config.categories)));
    }
    let range = |low: (&str, Option<f64>), high: (&str, Option<f64>)| {
        let need = |(name, value): (&str, Option<f64>)| {
            let given = value.filter(|v| v.is_finite() && *v > 0.0);
            given.ok_or_else(|| table.reject(name, format!("expected a positive number for the encoder of `{key}`")))
        };
        let (a, b) = (need(low)?, need(high)?);
        if a < b { Ok((a, b)) } else { Err(table.reject(high.0, format!("must be above `{}`, {a}", low.0))) }
    };
    let frequencies = config.frequencies;
    let (source, encoding) = match config.encoder {
        Encoder::Fourier => {
            let (shortest, longest) = range(("shortest", config.shortest), ("longest", config.longest))?;
            (Source::Number { column, origin: 0.0 }, Encoding::Fourier { shortest, longest, frequencies })
        }
        Encoder::Log => {
            let (smallest, largest) = range(("smallest", config.smallest), ("largest", config.largest))?;
            (Source::Number { column, origin: 0.0 }, Encoding::Log { smallest, largest, frequencies })
        }
        Encoder::Categorical => {
            let most = config.categories;
            (Source::Category { column, most, texts: Vec::new() }, Encoding::Category { size: most })
        }
        Encoder::Sphere => {
            let columns = config.columns.clone().unwrap_or_else(|| ["ra".into(), "dec".into()]);
            (Source::Sphere(columns), SPHERE)
        }
    };
    Ok(Entry { key, source, encoding })
}

#[cfg(test)]
mod tests;
