//! The files of a fixture, and how a tensor is held against its tolerance.

use crate::config::unfit;
use candle_core::{DType, Tensor};
use panchroma_core::train::checkpoint::read_tensors;
use panchroma_core::{Error, Result};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A published folder with inputs and what the Python package makes of them.
pub struct Fixture {
    /// Where it is.
    pub folder: PathBuf,
    /// `fixture.json`.
    pub about: Value,
    /// By name.
    pub inputs: BTreeMap<String, Tensor>,
    /// By name.
    pub expected: BTreeMap<String, Tensor>,
}

/// What is held against a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Measure {
    /// The share of entries that are equal, at least.
    Equal,
    /// The greatest difference in units of the root mean square of what is expected, at most.
    OverRms,
    /// The greatest difference of an entry in units of what is expected of it, at most.
    Relative,
}

/// One tensor and how far off it is.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The tensor.
    pub name: String,
    /// Of what is expected.
    pub shape: Vec<usize>,
    /// Greatest difference; none if nothing was computed.
    pub max: Option<f64>,
    /// Mean difference.
    pub mean: Option<f64>,
    pub(super) measure: Measure,
    /// What is held against `limit`.
    pub value: Option<f64>,
    /// Of the tolerance.
    pub limit: f64,
    /// Whether it is within.
    pub pass: bool,
    /// Why it failed, or what the reference does otherwise than we do.
    pub note: String,
}

impl Fixture {
    /// Reads the files.
    ///
    /// # Errors
    /// If one can't be read.
    pub fn open(folder: &Path) -> Result<Self> {
        let file = folder.join("fixture.json");
        let text = std::fs::read_to_string(&file).map_err(Error::io("read", &file))?;
        Ok(Self {
            folder: folder.to_path_buf(),
            about: serde_json::from_str(&text).map_err(|e| unfit(&file, &e.to_string()))?,
            inputs: read_tensors(&folder.join("inputs.safetensors"))?,
            expected: read_tensors(&folder.join("expected.safetensors"))?,
        })
    }

    /// The input `name`.
    ///
    /// # Errors
    /// If there is none.
    pub fn input(&self, name: &str) -> Result<&Tensor> {
        let file = self.folder.join("inputs.safetensors");
        self.inputs.get(name).ok_or_else(|| unfit(&file, &format!("no tensor `{name}`")))
    }

    /// Names of inputs in the order in which they were made, which `fixture.json` keeps and a file of tensors does not.
    pub(super) fn input_names(&self) -> Vec<&str> {
        let listed = self.about.get("shapes").and_then(Value::as_object);
        let listed = listed.into_iter().flat_map(|shapes| shapes.keys()).filter(|name| self.inputs.contains_key(*name));
        let mut names: Vec<&str> = listed.map(String::as_str).collect();
        names.extend(
            self.inputs
                .keys()
                .map(String::as_str)
                .filter(|name| self.about.get("shapes").is_none_or(|shapes| shapes.get(*name).is_none())),
        );
        names
    }

    /// The tolerance of a tensor; where none is given, that of the package's own fixtures.
    fn tolerance(&self, name: &str, expected: &Tensor) -> (Measure, f64, bool) {
        let own = self.about.get("tolerances").and_then(|all| all.get(name));
        let key = |key: &str| own.and_then(|own| own.get(key)).and_then(Value::as_f64);
        for (measure, name) in
            [(Measure::Equal, "min_equal"), (Measure::OverRms, "max_over_rms"), (Measure::Relative, "max_relative")]
        {
            if let Some(limit) = key(name) {
                return (measure, limit, true);
            }
        }
        let (measure, limit) = match () {
            () if expected.dtype().is_int() => (Measure::Equal, 0.999),
            () if expected.elem_count() == 1 => (Measure::Relative, 1e-5),
            () => (Measure::OverRms, 2e-4),
        };
        (measure, limit, false)
    }

    /// Holds what was computed against what is expected.
    ///
    /// # Errors
    /// If the numbers can't be read.
    pub(super) fn compare(&self, name: &str, expected: &Tensor, found: &Tensor, note: String) -> Result<Comparison> {
        let mut row = self.failed(name, expected, note);
        if found.dims() != expected.dims() {
            row.note = format!("computed has shape {:?}", found.dims());
            return Ok(row);
        }
        let numbers = |t: &Tensor| Ok::<_, Error>(t.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?);
        let (found, expected) = (numbers(found)?, numbers(expected)?);
        let pairs = || expected.iter().zip(&found);
        // The reference has NaN and infinities of its own, which must be there too.
        let off = |(a, b): (&f64, &f64)| if a == b || (a.is_nan() && b.is_nan()) { 0.0 } else { (a - b).abs() };
        let greatest = |values: &mut dyn Iterator<Item = f64>| {
            values.fold(0.0_f64, |most, value| if value.is_nan() { f64::INFINITY } else { most.max(value) })
        };
        let count = expected.len().max(1) as f64;
        let max = greatest(&mut pairs().map(off));
        let value = match row.measure {
            Measure::Equal => pairs().filter(|pair| off(*pair) == 0.0).count() as f64 / count,
            Measure::OverRms => {
                let finite: Vec<f64> = expected.iter().copied().filter(|x| x.is_finite()).collect();
                let rms = (finite.iter().map(|x| x * x).sum::<f64>() / finite.len().max(1) as f64).sqrt();
                if max == 0.0 { 0.0 } else { max / rms }
            }
            Measure::Relative => {
                greatest(&mut pairs().map(|pair| if off(pair) == 0.0 { 0.0 } else { off(pair) / pair.0.abs() }))
            }
        };
        row.pass = match row.measure {
            Measure::Equal => value >= row.limit,
            Measure::OverRms | Measure::Relative => value <= row.limit,
        };
        row.max = Some(max);
        row.mean = Some(pairs().map(off).sum::<f64>() / count);
        row.value = Some(value);
        Ok(row)
    }

    /// A tensor that was not computed.
    pub(super) fn failed(&self, name: &str, expected: &Tensor, reason: String) -> Comparison {
        let (measure, limit, given) = self.tolerance(name, expected);
        let without = if given { "" } else { "no tolerance in fixture.json" };
        let notes: Vec<&str> = [reason.as_str(), without].into_iter().filter(|note| !note.is_empty()).collect();
        Comparison {
            name: name.into(),
            shape: expected.dims().to_vec(),
            max: None,
            mean: None,
            measure,
            value: None,
            limit,
            pass: false,
            note: notes.join("; "),
        }
    }
}
