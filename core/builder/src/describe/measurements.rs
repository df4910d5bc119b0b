//! Checks of measurements: struct columns of lists, such as the flux, noise and flags of a spectrum.

use super::findings::Report;
use super::leaves::{Leaf, ascending, numbers};
use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_cast::cast;
use arrow_schema::DataType;
use panchroma_core::bands::wavelength_angstrom;
use std::collections::{BTreeMap, HashMap};

/// A field with more different texts holds no bands.
const MOST_BANDS: usize = 100;

/// What must be known of all objects before something can be said.
#[derive(Default)]
pub(super) struct Measurements {
    /// By column of flags: the first file that has it, flagged values, and all.
    flags: BTreeMap<String, (String, u64, u64)>,
    /// By column of bands: whether a band's wavelength is known.
    bands: BTreeMap<String, HashMap<String, bool>>,
}

/// Fields of one struct column: those that are lists, by name.
type Fields<'a> = [(&'a str, &'a Leaf)];

impl Measurements {
    /// Checks one batch; `object(row)` is the name of an object.
    pub(super) fn check<'a>(&mut self, leaves: &[Leaf], report: &mut Report, object: &impl Fn(usize) -> &'a str) {
        let mut columns: BTreeMap<&str, Vec<(&str, &Leaf)>> = BTreeMap::new();
        for leaf in leaves.iter().filter(|leaf| !leaf.levels.is_empty()) {
            if let Some((column, field)) = leaf.path.split_once('.') {
                columns.entry(column).or_default().push((field, leaf));
            }
        }
        for fields in columns.values() {
            shapes(fields, report, object);
            let mask = fields.iter().find(|(field, _)| *field == "mask").and_then(|(_, mask)| numbers(&mask.values));
            for (field, leaf) in fields {
                match *field {
                    "band" => self.bands(leaf, report, object),
                    "mask" => self.flags(leaf, mask.as_deref(), report, object),
                    _ => values(field, leaf, mask.as_deref(), report, object),
                }
            }
        }
    }

    /// Says what shows in all objects only.
    pub(super) fn finish(self, report: &mut Report) {
        for (column, (file, flagged, all)) in self.flags {
            if 2 * flagged > all {
                report.file = file;
                let share = 100.0 * flagged as f64 / all as f64;
                report.odd(
                    &column,
                    &format!("flags {share:.0} % of the samples: if it marks the good ones, a config has to say so"),
                    None,
                );
            }
        }
    }

    fn flags<'a>(
        &mut self,
        leaf: &Leaf,
        mask: Option<&[f64]>,
        report: &mut Report,
        object: &impl Fn(usize) -> &'a str,
    ) {
        let Some(mask) = mask else { return };
        let file = &report.file;
        let total = self.flags.entry(leaf.path.clone()).or_insert_with(|| (file.clone(), 0, 0));
        total.1 += mask.iter().filter(|flag| **flag != 0.0).count() as u64;
        total.2 += mask.len() as u64;
        for (row, own) in rows(leaf, mask) {
            if own.iter().all(|flag| *flag != 0.0) {
                report.odd(&leaf.path, "flags all samples of an object", Some(object(row)));
            }
        }
    }

    fn bands<'a>(&mut self, leaf: &Leaf, report: &mut Report, object: &impl Fn(usize) -> &'a str) {
        let Ok(texts) = cast(&leaf.values, &DataType::LargeUtf8) else { return };
        let texts = texts.as_string::<i64>();
        let known = self.bands.entry(leaf.path.clone()).or_default();
        for row in 0..leaf.present.len() {
            let mut said: Vec<&str> = Vec::new();
            let own = leaf.range(row, leaf.levels.len()).filter(|i| texts.is_valid(*i));
            for band in own.map(|i| texts.value(i)) {
                if !known.contains_key(band) {
                    known.insert(band.into(), wavelength_angstrom(band, &BTreeMap::new()).is_some());
                }
                if known.len() > MOST_BANDS {
                    return;
                }
                if known.get(band) == Some(&false) && !said.contains(&band) {
                    said.push(band);
                    let problem = match band.trim() {
                        "" => "names no band for some samples".into(),
                        _ => format!("names `{band}`, whose wavelength is not known: a config can say it in `bands`"),
                    };
                    report.odd(&leaf.path, &problem, Some(object(row)));
                }
            }
        }
    }
}

/// Each row that has the leaf, and its values.
fn rows<'a>(leaf: &'a Leaf, values: &'a [f64]) -> impl Iterator<Item = (usize, &'a [f64])> {
    let own = |row| values.get(leaf.range(row, leaf.levels.len())).filter(|own| !own.is_empty());
    (0..leaf.present.len()).filter_map(move |row| Some((row, own(row)?)))
}

/// Checks that the fields of one measurement have one shape.
fn shapes<'a>(fields: &Fields<'_>, report: &mut Report, object: &impl Fn(usize) -> &'a str) {
    let flux = fields.iter().find(|(field, _)| *field == "flux");
    // Without a field of that name, the others are compared with the one that is nested most.
    let Some((_, first)) = flux.or_else(|| fields.iter().rev().max_by_key(|(_, leaf)| leaf.levels.len())) else {
        return;
    };
    if first.levels.len() > 1 {
        planes(first, flux.is_some(), report, object);
    }
    for (_, leaf) in fields.iter().filter(|(_, leaf)| leaf.path != first.path) {
        let deep = leaf.levels.len().min(first.levels.len());
        for (row, has) in first.present.iter().zip(&leaf.present).enumerate() {
            match has {
                (true, true) if flux.is_some() && !(0..deep).all(|level| same(leaf, first, row, level)) => {
                    let what = if deep == 1 { "length" } else { "shape" };
                    let problem = format!("has another {what} than `{}`", first.path);
                    report.error(&leaf.path, &problem, Some(object(row)));
                }
                (true, false) => {
                    report.odd(&leaf.path, &format!("is missing where `{}` is there", first.path), Some(object(row)));
                }
                (false, true) => {
                    report.odd(&leaf.path, &format!("is there where `{}` is missing", first.path), Some(object(row)));
                }
                _ => {}
            }
        }
    }
}

/// Whether lists of a level are as long; one plane may stand for all.
fn same(leaf: &Leaf, first: &Leaf, row: usize, level: usize) -> bool {
    let images = leaf.levels.len() > 1 && leaf.levels.len() == first.levels.len();
    if images && leaf.lists(row, 0).eq([1]) {
        let own: Vec<usize> = leaf.lists(row, level).collect();
        return level == 0 || first.lists(row, level).zip(own.iter().cycle()).all(|(a, b)| a == *b);
    }
    leaf.lists(row, level).eq(first.lists(row, level))
}

/// Checks that planes are rectangles, and of one shape; what is no image for sure is only odd.
fn planes<'a>(leaf: &Leaf, image: bool, report: &mut Report, object: &impl Fn(usize) -> &'a str) {
    let deepest = leaf.levels.len() - 1;
    for (row, _) in leaf.present.iter().enumerate().filter(|(_, present)| **present) {
        let pixels: Vec<usize> = leaf.lists(row, deepest).collect();
        let mut rest = pixels.as_slice();
        let planes: Vec<&[usize]> = leaf
            .lists(row, deepest - 1)
            .map(|lines| {
                let (plane, others) = rest.split_at_checked(lines).unwrap_or((rest, &[]));
                rest = others;
                plane
            })
            .collect();
        if planes.iter().any(|plane| plane.windows(2).any(|w| w[0] != w[1])) {
            report.add(image, &leaf.path, "has lines of unequal length in a plane", Some(object(row)));
        } else if planes.windows(2).any(|w| w[0] != w[1]) {
            report.odd(&leaf.path, "has planes of unequal shape", Some(object(row)));
        }
    }
}

/// Checks the numbers of one field; a sample of which the mask is not 0 is flagged.
fn values<'a>(field: &str, leaf: &Leaf, mask: Option<&[f64]>, report: &mut Report, object: &impl Fn(usize) -> &'a str) {
    let axis = matches!(field, "lambda" | "wavelength" | "time");
    if !(axis && leaf.levels.len() == 1 || matches!(field, "flux" | "ivar" | "flux_err" | "error")) {
        return;
    }
    let Some(values) = numbers(&leaf.values) else { return };
    let mask = mask.filter(|mask| mask.len() == values.len());
    for (row, own) in rows(leaf, &values) {
        let good: Vec<f64>;
        let own = match mask.and_then(|mask| mask.get(leaf.range(row, leaf.levels.len()))) {
            // Padding is flagged, and has no wavelength.
            Some(flags) if axis => {
                good = own.iter().zip(flags).filter(|(_, flag)| **flag == 0.0).map(|(v, _)| *v).collect();
                good.as_slice()
            }
            _ => own,
        };
        let mut say = |error: bool, problem: &str| report.add(error, &leaf.path, problem, Some(object(row)));
        match field {
            "ivar" | "flux_err" | "error" if own.iter().any(|v| *v < 0.0) => say(true, "is negative"),
            "ivar" if own.iter().any(|v| v.is_infinite()) => say(true, "is infinite"),
            "ivar" if !own.iter().any(|v| *v > 0.0) => say(false, "is nowhere above 0: no sample can be used"),
            "lambda" | "wavelength" if own.iter().any(|v| !v.is_finite()) => say(true, "is not finite"),
            "lambda" | "wavelength" if own.iter().any(|v| *v <= 0.0) => say(true, "is not positive"),
            "lambda" | "wavelength" if !ascending(own) => say(true, "is neither ascending nor descending"),
            "flux" if own.iter().all(|v| !v.is_finite()) => say(false, "has no finite value"),
            "time" if own.iter().any(|v| !v.is_finite()) => say(false, "has values that are not finite"),
            _ => {}
        }
    }
}
