//! What an object holds, in the form in which it is drawn: planes of pixels, and samples along an axis.

use super::leaves::{leaves, list, numbers, texts};
use super::object::Object;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use std::collections::BTreeMap;

/// One measurement of an object: a struct column.
#[derive(Clone, Debug, PartialEq)]
pub enum Measured {
    /// An image of one or more planes.
    Planes {
        /// The column.
        name: String,
        /// In the file's order.
        planes: Vec<Pixels>,
    },
    /// Samples along time, wavelength, or whatever the axis is.
    Samples {
        /// The column.
        name: String,
        /// The field along which they lie; `index` if the column has none.
        axis: String,
        /// The field that is drawn.
        value: String,
        /// By band or channel; one without a name if there are none.
        groups: Vec<(String, Vec<Sampled>)>,
    },
}

/// One plane of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Pixels {
    /// Band, or whatever tells planes apart.
    pub label: String,
    /// Pixels in a line.
    pub width: usize,
    /// Line after line; NaN where flagged or missing.
    pub values: Vec<f32>,
}

/// One sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampled {
    /// Place on the axis.
    pub at: f64,
    /// Value.
    pub value: f64,
    /// Its standard deviation; 0 if unknown.
    pub error: f64,
}

/// Names that the axis of samples goes by, and fields of errors as such or as inverse variance.
const AXES: [&str; 7] = ["time", "lambda", "wavelength", "phase", "frequency", "energy", "x"];
const ERRORS: [&str; 3] = ["flux_err", "error", "value_err"];
const VALUES: [&str; 4] = ["flux", "value", "signal", "y"];
const GROUPS: [&str; 3] = ["band", "channel", "view"];

impl Object {
    /// What it measured, and its plain columns as text. What it lacks is left out.
    #[must_use]
    pub fn measured(&self) -> (Vec<Measured>, Vec<(String, String)>) {
        let (mut measured, mut facts) = (Vec::new(), Vec::new());
        for (field, column) in self.row.schema().fields().iter().zip(self.row.columns()) {
            if column.is_null(0) {
                continue;
            }
            let name = field.name();
            match column.data_type() {
                DataType::Struct(_) => measured.extend(structure(name, column)),
                _ if list(column).is_some() => measured.extend(alone(name, column)),
                _ => {
                    if let Some(Some(text)) = texts(column).and_then(|t| t.into_iter().next()) {
                        facts.push((name.clone(), text));
                    }
                }
            }
        }
        (measured, facts)
    }
}

fn structure(name: &str, column: &ArrayRef) -> Option<Measured> {
    let fields: BTreeMap<&str, &ArrayRef> = match column.data_type() {
        DataType::Struct(names) => names.iter().map(|f| f.name().as_str()).zip(column.as_struct().columns()).collect(),
        _ => return None,
    };
    let value = VALUES.into_iter().find(|v| fields.contains_key(v))?;
    let of = |name: &str| fields.get(name).and_then(|array| flat(array)).filter(|v| !v.is_empty());
    // What tells samples apart is whatever differs most between them.
    let groups = GROUPS
        .into_iter()
        .filter_map(|g| fields.get(g).and_then(|array| words(array)))
        .max_by_key(|names| names.iter().collect::<std::collections::BTreeSet<_>>().len());
    if let Some(planes) = planes(fields.get(value)?, groups.as_deref(), fields.get("mask").copied()) {
        return (!planes.is_empty()).then(|| Measured::Planes { name: name.into(), planes });
    }
    let values = of(value)?;
    let axis = AXES.into_iter().find(|a| fields.contains_key(a));
    let at = axis.and_then(of).unwrap_or_else(|| (0..values.len()).map(|i| i as f64).collect());
    let errors = ERRORS.into_iter().find_map(of).or_else(|| {
        let sigma = |v: f64| if v > 0.0 { v.sqrt().recip() } else { f64::NAN };
        Some(of("ivar")?.into_iter().map(sigma).collect())
    });
    let flags = of("mask").unwrap_or_default();
    let mut by_group: Vec<(String, Vec<Sampled>)> = Vec::new();
    for (i, (&at, &value)) in at.iter().zip(&values).enumerate() {
        if flags.get(i).is_some_and(|f| *f != 0.0) || !at.is_finite() || !value.is_finite() {
            continue;
        }
        let group = groups.as_ref().and_then(|g| g.get(i)).map_or("", String::as_str);
        let error = errors.as_ref().and_then(|e| e.get(i)).copied().filter(|e| e.is_finite()).unwrap_or(0.0);
        let sample = Sampled { at, value, error };
        match by_group.iter_mut().find(|(name, _)| name == group) {
            Some((_, samples)) => samples.push(sample),
            None => by_group.push((group.into(), vec![sample])),
        }
    }
    let axis = axis.unwrap_or("index").to_owned();
    (!by_group.is_empty()).then(|| Measured::Samples { name: name.into(), axis, value: value.into(), groups: by_group })
}

/// A column of lists that is no struct: planes, or values by index.
fn alone(name: &str, column: &ArrayRef) -> Option<Measured> {
    if let Some(planes) = planes(column, None, None) {
        return (!planes.is_empty()).then(|| Measured::Planes { name: name.into(), planes });
    }
    let samples = flat(column)?.into_iter().enumerate().filter(|(_, v)| v.is_finite());
    let samples: Vec<Sampled> = samples.map(|(i, value)| Sampled { at: i as f64, value, error: 0.0 }).collect();
    let groups = vec![(String::new(), samples)];
    Some(Measured::Samples { name: name.into(), axis: "index".into(), value: name.into(), groups })
}

/// All numbers of row 0, however deeply they are nested.
fn flat(array: &ArrayRef) -> Option<Vec<f64>> {
    let batch = RecordBatch::try_from_iter([("x", array.slice(0, 1))]).ok()?;
    numbers(&leaves(&batch).into_iter().next()?.values)
}

fn words(array: &ArrayRef) -> Option<Vec<String>> {
    let batch = RecordBatch::try_from_iter([("x", array.slice(0, 1))]).ok()?;
    Some(texts(&leaves(&batch).into_iter().next()?.values)?.into_iter().map(Option::unwrap_or_default).collect())
}

/// Elements of list 0.
fn first(array: &ArrayRef) -> Option<ArrayRef> {
    let (offsets, inner) = list(array)?;
    let (from, to) = (*offsets.first()?, *offsets.get(1)?);
    Some(inner.slice(from, to.saturating_sub(from)))
}

/// `[H][W]` or `[C][H][W]`; `None` if the column isn't as deep.
fn planes(array: &ArrayRef, labels: Option<&[String]>, mask: Option<&ArrayRef>) -> Option<Vec<Pixels>> {
    let outer = first(array)?;
    let (_, inner) = list(&outer)?;
    let count = if list(&inner).is_some() { outer.len() } else { 1 };
    let mask = mask.filter(|m| !m.is_null(0)).and_then(first);
    let part = |of: &ArrayRef, i: usize| {
        if count == 1 && list(&inner).is_none() { Some(of.clone()) } else { first(&of.slice(i, 1)) }
    };
    let mut all = Vec::new();
    for i in 0..count {
        let lines = part(&outer, i)?;
        let flags = mask.as_ref().filter(|m| i < m.len() || count == 1).and_then(|m| part(m, i));
        let height = lines.len();
        let mut values: Vec<f32> = flat_lines(&lines)?;
        let width = values.len().checked_div(height).unwrap_or(0);
        if width == 0 || width * height != values.len() {
            continue;
        }
        if let Some(flags) = flags.and_then(|f| flat_lines(&f)).filter(|f| f.len() == values.len()) {
            values.iter_mut().zip(flags).filter(|(_, flag)| *flag != 0.0).for_each(|(v, _)| *v = f32::NAN);
        }
        let label = labels.and_then(|l| l.get(i)).cloned().unwrap_or_default();
        all.push(Pixels { label, width, values });
    }
    Some(all)
}

/// The pixels of lines.
fn flat_lines(lines: &ArrayRef) -> Option<Vec<f32>> {
    let (offsets, inner) = list(lines)?;
    let (from, to) = (*offsets.first()?, *offsets.last()?);
    Some(numbers(&inner.slice(from, to.saturating_sub(from)))?.into_iter().map(|v| v as f32).collect())
}
