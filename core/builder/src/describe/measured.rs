//! What an object holds, in the form in which it is drawn: planes of pixels, and samples along an axis.

use super::leaves::{ascending, leaves, list, numbers, texts};
use super::object::Object;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field};

/// One measurement of an object: a column of lists, or a struct of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Measured {
    /// An image of one or more planes.
    Planes {
        /// The column.
        name: String,
        /// Unit of the pixels' values, if the catalogue says.
        unit: Option<String>,
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
        /// How many samples are not among them, since they are flagged or not finite.
        left_out: usize,
    },
    /// What can't be drawn.
    Undrawn {
        /// The column.
        name: String,
        /// Why, for example "it holds no numbers".
        reason: String,
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
    /// Width of a pixel on the sky, with its unit, if the catalogue says.
    pub scale: Option<(f64, String)>,
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
const AXES: [&str; 9] = ["time", "lambda", "wavelength", "phase", "frequency", "energy", "x", "t", "mjd"];
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
            if is_absent(column) {
                continue;
            }
            let name = field.name();
            let quantity = |field: &Field, path: &str, name: &str| Quantity {
                name: name.into(),
                unit: self.units.get(path).or_else(|| field.metadata().get("unit")).filter(|u| !u.is_empty()).cloned(),
            };
            let plain = |quantity: Quantity, column: &ArrayRef| {
                let unit = quantity.unit.map(|unit| format!(" {unit}")).unwrap_or_default();
                fact(column).map(|text| (quantity.name, text + &unit))
            };
            match column.data_type() {
                DataType::Struct(fields) => {
                    let columns = column.as_struct().columns();
                    let lists = columns.iter().any(|c| list(c).is_some());
                    let fields = fields.iter().zip(columns).map(|(field, array)| {
                        let path = format!("{name}.{}", field.name());
                        (quantity(field, &path, if lists { field.name() } else { &path }), array)
                    });
                    if lists {
                        measured.extend(structure(name, &fields.collect::<Vec<_>>()));
                    } else {
                        facts.extend(fields.filter_map(|(field, array)| plain(field, array)));
                    }
                }
                _ if list(column).is_some() => measured.extend(alone(&quantity(field, name, name), column)),
                _ => facts.extend(plain(quantity(field, name, name), column)),
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

fn structure(name: &str, fields: &Fields<'_>) -> Vec<Measured> {
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
    });
    let Some(value) = value else { return vec![undrawn(name, "none of its fields holds values")] };
    // What tells samples apart is whatever differs most between them.
    let groups = fields
        .iter()
        .filter_map(|(_, array)| words(array))
        .max_by_key(|names| names.iter().collect::<std::collections::BTreeSet<_>>().len());
    if let Some(found) = planes(value.1, groups.as_deref(), named(fields, &["mask"]).map(|f| f.1)) {
        let scale = named(fields, &["scale"]).and_then(|f| Some((of(f)?, f.0.unit.as_deref().unwrap_or("arcsec"))));
        return pictures(name, value.0.unit.clone(), found, scale);
    }
    let Some(values) = of(value) else { return vec![undrawn(name, "it holds no numbers")] };
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
    samples(name, axis.unwrap_or_else(index), value.0.clone(), by_group, values.len())
}

/// The axis of samples that have none.
fn index() -> Quantity {
    Quantity { name: "index".into(), unit: None }
}

fn undrawn(name: &str, reason: impl Into<String>) -> Measured {
    Measured::Undrawn { name: name.into(), reason: reason.into() }
}

/// Groups that hold samples, of `all` that there were.
fn samples(
    name: &str,
    axis: Quantity,
    value: Quantity,
    groups: Vec<(String, Vec<Sampled>)>,
    all: usize,
) -> Vec<Measured> {
    if groups.is_empty() {
        return vec![undrawn(name, "every sample is flagged or not finite")];
    }
    let left_out = all - groups.iter().map(|(_, samples)| samples.len()).sum::<usize>();
    vec![Measured::Samples { name: name.into(), axis, value, groups, left_out }]
}

/// The planes that can be drawn, and those that can't. `scale` is the width of a pixel, one or one per plane.
fn pictures(name: &str, unit: Option<String>, found: Found, scale: Option<(Vec<f64>, &str)>) -> Vec<Measured> {
    let Found { mut planes, ragged } = found;
    let even = planes.len();
    planes.retain(|(_, plane)| plane.values.iter().any(|v| v.is_finite()));
    let (blank, all) = (even - planes.len(), even + ragged);
    let mut measured = Vec::new();
    if blank > 0 {
        measured.push(undrawn(name, format!("every pixel of {} is flagged or not finite", of_all(blank, all))));
    }
    if ragged > 0 {
        measured.push(undrawn(name, format!("the lines of {} differ in length", of_all(ragged, all))));
    }
    if all == 0 {
        measured.push(undrawn(name, "it has no pixels"));
    }
    if let Some((scales, unit)) = scale {
        for (i, plane) in &mut planes {
            let own = if scales.len() == 1 { scales.first() } else { scales.get(*i) };
            plane.scale = own.filter(|s| **s > 0.0 && s.is_finite()).map(|s| (*s, unit.to_owned()));
        }
    }
    let planes: Vec<Pixels> = planes.into_iter().map(|(_, plane)| plane).collect();
    if !planes.is_empty() {
        measured.insert(0, Measured::Planes { name: name.into(), unit, planes });
    }
    measured
}

fn of_all(some: usize, all: usize) -> String {
    if all == 1 { "its plane".into() } else { format!("{some} of its {all} planes") }
}

/// A column of lists that is no struct: planes, or values by index.
fn alone(quantity: &Quantity, column: &ArrayRef) -> Vec<Measured> {
    let name = quantity.name.as_str();
    if let Some(found) = planes(column, None, None) {
        return pictures(name, quantity.unit.clone(), found, None);
    }
    let Some(values) = flat(column) else { return vec![undrawn(name, "it holds no numbers")] };
    let finite = values.iter().enumerate().filter(|(_, v)| v.is_finite());
    let drawn: Vec<Sampled> = finite.map(|(i, value)| Sampled { at: i as f64, value: *value, error: 0.0 }).collect();
    let groups = if drawn.is_empty() { Vec::new() } else { vec![(String::new(), drawn)] };
    samples(name, index(), quantity.clone(), groups, values.len())
}

/// Whether row 0 has nothing: null, or empty lists.
fn is_absent(column: &ArrayRef) -> bool {
    let batch = RecordBatch::try_from_iter([("x", column.slice(0, 1))]);
    batch.is_ok_and(|batch| leaves(&batch).iter().all(|leaf| !leaf.present.contains(&true)))
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

/// Planes of an image with their places among all, and how many have lines of unequal length.
struct Found {
    planes: Vec<(usize, Pixels)>,
    ragged: usize,
}

/// `[H][W]` or `[C][H][W]`; `None` if the column isn't as deep.
fn planes(array: &ArrayRef, labels: Option<&[String]>, mask: Option<&ArrayRef>) -> Option<Found> {
    let outer = first(array)?;
    let (_, inner) = list(&outer)?;
    let count = if list(&inner).is_some() { outer.len() } else { 1 };
    let mask = mask.filter(|m| !m.is_null(0)).and_then(first);
    let part = |of: &ArrayRef, i: usize| {
        if count == 1 && list(&inner).is_none() { Some(of.clone()) } else { first(&of.slice(i, 1)) }
    };
    let mut found = Found { planes: Vec::new(), ragged: 0 };
    for i in 0..count {
        let lines = part(&outer, i)?;
        let flags = mask.as_ref().filter(|m| i < m.len() || count == 1).and_then(|m| part(m, i));
        let mut values: Vec<f32> = flat_lines(&lines)?;
        let (offsets, _) = list(&lines)?;
        let mut widths = offsets.windows(2).map(|w| w[1].saturating_sub(w[0]));
        let width = widths.next().unwrap_or(0);
        // The plane of a band that was not observed.
        if values.is_empty() {
            continue;
        }
        if widths.any(|other| other != width) {
            found.ragged += 1;
            continue;
        }
        if let Some(flags) = flags.and_then(|f| flat_lines(&f)).filter(|f| f.len() == values.len()) {
            values.iter_mut().zip(flags).filter(|(_, flag)| *flag != 0.0).for_each(|(v, _)| *v = f32::NAN);
        }
        let label = labels.and_then(|l| l.get(i)).cloned().unwrap_or_default();
        found.planes.push((i, Pixels { label, width, scale: None, values }));
    }
    Some(found)
}

/// The pixels of lines.
fn flat_lines(lines: &ArrayRef) -> Option<Vec<f32>> {
    let (offsets, inner) = list(lines)?;
    let (from, to) = (*offsets.first()?, *offsets.last()?);
    Some(numbers(&inner.slice(from, to.saturating_sub(from)))?.into_iter().map(|v| v as f32).collect())
}
