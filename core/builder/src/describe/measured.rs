//! What an object holds, in the form in which it is drawn: planes of pixels, and samples along an axis.

use super::leaves::{leaves, list, numbers, texts};
use super::object::Object;
use super::validate::ascending;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field};

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
        axis: Quantity,
        /// The field that is drawn.
        value: Quantity,
        /// By band or channel; one without a name if there are none.
        groups: Vec<(String, Vec<Sampled>)>,
    },
}

/// What an axis counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantity {
    /// Name of the field.
    pub name: String,
    /// Its unit, if the catalogue says.
    pub unit: Option<String>,
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

/// Names that the axis of samples goes by, values, and fields of errors as such. Other names are told apart by what the
/// fields hold.
const AXES: [&str; 7] = ["time", "lambda", "wavelength", "phase", "frequency", "energy", "x"];
const ERRORS: [&str; 3] = ["flux_err", "error", "value_err"];
const VALUES: [&str; 4] = ["flux", "value", "signal", "y"];
/// Neither values nor an axis.
const BESIDE: [&str; 7] = ["ivar", "mask", "lsf_sigma", "psf_fwhm", "scale", "limit", "flag"];

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
            let quantity = |field: &Field, path: &str, name: &str| Quantity {
                name: name.into(),
                unit: self.units.get(path).or_else(|| field.metadata().get("unit")).filter(|u| !u.is_empty()).cloned(),
            };
            match column.data_type() {
                DataType::Struct(fields) => {
                    let fields = fields.iter().zip(column.as_struct().columns()).map(|(field, array)| {
                        let path = format!("{name}.{}", field.name());
                        (quantity(field, &path, field.name()), array)
                    });
                    measured.extend(structure(name, &fields.collect::<Vec<_>>()));
                }
                _ if list(column).is_some() => measured.extend(alone(quantity(field, name, name), column)),
                _ => {
                    if let Some(text) = fact(column) {
                        let unit = quantity(field, name, name).unit.map(|unit| format!(" {unit}")).unwrap_or_default();
                        facts.push((name.clone(), text + &unit));
                    }
                }
            }
        }
        (measured, facts)
    }
}

/// A plain value as text; nine digits are more than is known of anything here.
fn fact(column: &ArrayRef) -> Option<String> {
    let text = texts(column)?.into_iter().next()?.filter(|text| !text.trim().is_empty())?;
    let number =
        numbers(column).filter(|_| *column.data_type() == DataType::Float64).and_then(|n| n.into_iter().next());
    let short = number.and_then(|v| format!("{v:.8e}").parse::<f64>().ok()).map(|v| v.to_string());
    Some(short.unwrap_or(text))
}

type Fields<'a> = [(Quantity, &'a ArrayRef)];

/// The first field of one of these names.
fn named<'a>(fields: &'a Fields<'_>, names: &[&str]) -> Option<&'a (Quantity, &'a ArrayRef)> {
    names.iter().find_map(|name| fields.iter().find(|(field, _)| field.name == *name))
}

fn structure(name: &str, fields: &Fields<'_>) -> Option<Measured> {
    let of = |field: &(Quantity, &ArrayRef)| flat(field.1).filter(|v| !v.is_empty());
    let free = |field: &&(Quantity, &ArrayRef)| {
        let name = field.0.name.as_str();
        !BESIDE.contains(&name) && !ERRORS.contains(&name) && words(field.1).is_none() && of(field).is_some()
    };
    // The axis is what goes one way only; the values are the first of the rest.
    let axis = named(fields, &AXES).or_else(|| {
        let one_way = |field: &&(Quantity, &ArrayRef)| {
            let flat = first(field.1).is_some_and(|values| list(&values).is_none());
            flat && !VALUES.contains(&field.0.name.as_str()) && of(field).is_some_and(|v| v.len() > 2 && ascending(&v))
        };
        fields.iter().filter(free).find(one_way)
    });
    let value = named(fields, &VALUES).or_else(|| {
        let other = |field: &&(Quantity, &ArrayRef)| axis.is_none_or(|axis| axis.0 != field.0);
        fields.iter().filter(free).find(other)
    })?;
    // What tells samples apart is whatever differs most between them.
    let groups = fields
        .iter()
        .filter_map(|(_, array)| words(array))
        .max_by_key(|names| names.iter().collect::<std::collections::BTreeSet<_>>().len());
    if let Some(planes) = planes(value.1, groups.as_deref(), named(fields, &["mask"]).map(|f| f.1)) {
        return (!planes.is_empty()).then(|| Measured::Planes { name: name.into(), planes });
    }
    let values = of(value)?;
    let places = axis.and_then(of).filter(|at| at.len() == values.len());
    let axis = axis.filter(|_| places.is_some()).map(|axis| axis.0.clone());
    let at = places.unwrap_or_else(|| (0..values.len()).map(|i| i as f64).collect());
    let errors = named(fields, &ERRORS).and_then(of).or_else(|| {
        let sigma = |v: f64| if v > 0.0 { v.sqrt().recip() } else { f64::NAN };
        Some(of(named(fields, &["ivar"])?)?.into_iter().map(sigma).collect())
    });
    let flags = named(fields, &["mask"]).and_then(of).unwrap_or_default();
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
    let axis = axis.unwrap_or_else(index);
    let value = value.0.clone();
    (!by_group.is_empty()).then(|| Measured::Samples { name: name.into(), axis, value, groups: by_group })
}

/// The axis of samples that have none.
fn index() -> Quantity {
    Quantity { name: "index".into(), unit: None }
}

/// A column of lists that is no struct: planes, or values by index.
fn alone(quantity: Quantity, column: &ArrayRef) -> Option<Measured> {
    let name = quantity.name.clone();
    if let Some(planes) = planes(column, None, None) {
        return (!planes.is_empty()).then_some(Measured::Planes { name, planes });
    }
    let samples = flat(column)?.into_iter().enumerate().filter(|(_, v)| v.is_finite());
    let samples: Vec<Sampled> = samples.map(|(i, value)| Sampled { at: i as f64, value, error: 0.0 }).collect();
    let groups = vec![(String::new(), samples)];
    Some(Measured::Samples { name, axis: index(), value: quantity, groups })
}

/// All numbers of row 0, however deeply they are nested.
fn flat(array: &ArrayRef) -> Option<Vec<f64>> {
    let batch = RecordBatch::try_from_iter([("x", array.slice(0, 1))]).ok()?;
    numbers(&leaves(&batch).into_iter().next()?.values)
}

/// All texts of row 0; none if the values are no texts.
fn words(array: &ArrayRef) -> Option<Vec<String>> {
    let batch = RecordBatch::try_from_iter([("x", array.slice(0, 1))]).ok()?;
    let values = leaves(&batch).into_iter().next()?.values;
    let is_text = matches!(
        values.data_type(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..)
    );
    Some(texts(&values).filter(|_| is_text)?.into_iter().map(Option::unwrap_or_default).collect())
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
