//! A catalogue of simulated pairs as one Parquet file.
//!
//! Columns: `object_id`; the lists `u`, `v` (kilo-wavelengths), `real`, `imaginary` (millijansky), `weight` (of 1 over its square); what
//! a survey with one dish knows, `survey_flux` (millijansky) and `declination` (degrees); the truth, `flux_ratio` and `separation`
//! (arcseconds).
//!
//! Every tenth object lacks visibilities, every seventh has one that is flagged, of every ninth the ratio is unknown.

use crate::sources::{Component, baselines, visibility};
use panchroma_core::random::{Random, stream};
use panchroma_core::reexport::arrow_array::types::Float32Type;
use panchroma_core::reexport::arrow_array::{ArrayRef, Float64Array, ListArray, RecordBatch, StringArray};
use panchroma_core::reexport::rand::Rng;
use parquet::arrow::ArrowWriter;
use std::error::Error;
use std::f64::consts::TAU;
use std::path::Path;
use std::sync::Arc;

/// The lists of an object.
const LISTS: [&str; 5] = ["u", "v", "real", "imaginary", "weight"];

/// What is written of an object.
struct Object {
    lists: Option<[Vec<Option<f32>>; 5]>,
    survey_flux: f64,
    declination: f64,
    flux_ratio: Option<f64>,
    separation: f64,
}

/// A number drawn evenly from `low` to `high`.
fn between(random: &mut Random, low: f64, high: f64) -> f64 {
    low + (high - low) * random.random::<f64>()
}

/// The same of its logarithm.
fn log_between(random: &mut Random, low: f64, high: f64) -> f64 {
    between(random, low.ln(), high.ln()).exp()
}

/// A number of the normal distribution, by Box and Muller.
fn normal(random: &mut Random) -> f64 {
    let (a, b): (f64, f64) = (random.random(), random.random());
    (-2.0 * (1.0 - a).ln()).sqrt() * (TAU * b).cos()
}

/// Object number `i`, the same whatever else is drawn.
fn object(i: usize) -> Object {
    let random = &mut stream(1, "simulate", &[&i.to_le_bytes()]);
    let (flux, flux_ratio) = (log_between(random, 5.0, 100.0), log_between(random, 0.05, 1.0));
    let (separation, angle) = (log_between(random, 0.4, 3.0), between(random, 0.0, TAU));
    let brighter = flux / (1.0 + flux_ratio);
    let centre = [0, 1].map(|_| 0.2 * normal(random));
    let widths = [0, 1].map(|_| log_between(random, 0.02, 0.5));
    let components = [
        Component { flux: brighter, place: centre, width: widths[0] },
        Component {
            flux: brighter * flux_ratio,
            place: [centre[0] + separation * angle.sin(), centre[1] + separation * angle.cos()],
            width: widths[1],
        },
    ];
    let declination = between(random, 0.0, 1.2);
    let hour_angles: Vec<f64> = (0..2 + i % 3).map(|_| between(random, -1.0, 1.0)).collect();
    let noise = log_between(random, 0.1, 1.0);
    let mut lists: [Vec<Option<f32>>; 5] = Default::default();
    for [u, v] in baselines(&hour_angles, declination) {
        let [re, im] = visibility(&components, [u, v]).map(|x| x + noise * normal(random));
        let values = [u / 1000.0, v / 1000.0, re, im, 1.0 / (noise * noise)];
        for (list, value) in lists.iter_mut().zip(values) {
            list.push(Some(value as f32));
        }
    }
    if i % 7 == 3 {
        for (list, flagged) in lists.iter_mut().skip(2).zip([None, None, Some(0.0)]) {
            list[0] = flagged;
        }
    }
    Object {
        lists: (i % 10 != 4).then_some(lists),
        survey_flux: flux * (0.05 * normal(random)).exp(),
        declination: declination.to_degrees(),
        flux_ratio: (i % 9 != 5).then_some(flux_ratio),
        separation,
    }
}

/// Writes a catalogue of `count` objects to `file`.
///
/// # Errors
/// If the file can't be written.
pub fn write(file: &Path, count: usize) -> Result<(), Box<dyn Error>> {
    let objects: Vec<Object> = (0..count).map(object).collect();
    let ids: ArrayRef = Arc::new(StringArray::from_iter_values((0..count).map(|i| format!("pair{i:04}"))));
    let mut columns = vec![("object_id", ids)];
    for (which, name) in LISTS.into_iter().enumerate() {
        let lists = objects.iter().map(|o| o.lists.as_ref().map(|lists| lists[which].clone()));
        columns.push((name, Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(lists))));
    }
    let number =
        |read: fn(&Object) -> Option<f64>| -> ArrayRef { Arc::new(objects.iter().map(read).collect::<Float64Array>()) };
    columns.push(("survey_flux", number(|o| Some(o.survey_flux))));
    columns.push(("declination", number(|o| Some(o.declination))));
    columns.push(("flux_ratio", number(|o| o.flux_ratio)));
    columns.push(("separation", number(|o| Some(o.separation))));
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true)))?;
    let mut writer = ArrowWriter::try_new(std::fs::File::create(file)?, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}
