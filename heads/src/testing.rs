//! What tests share: features and batches made by formula.

use candle_core::{Device, Tensor, Var};
use panchroma_core::reexport::arrow_array::{ArrayRef, RecordBatch};
use panchroma_core::{
    Batch, Features, Head, HeadContext, Parameters, Pooled, Probe, ProbeContext, Registry, Result, Rows, Section,
    TokenSet, TokenSpec, View,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A head of `kind`, with its parameters.
pub(crate) fn head(kind: &str, modalities: &[&str], width: usize, toml: &str) -> Result<(Box<dyn Head>, Parameters)> {
    let modalities: Vec<String> = modalities.iter().map(|m| (*m).to_owned()).collect();
    let parameters = Parameters::new(3, &Device::Cpu);
    let tokens: Vec<(String, TokenSpec)> = modalities.iter().map(|m| (m.clone(), TokenSpec::codes(4, 3))).collect();
    let context =
        HeadContext { name: "test", modalities: &modalities, tokens: &tokens, width, parameters: &parameters };
    let section = Section::from_toml("head.test", &format!("kind = \"{kind}\"\n{toml}"))?;
    Ok((Registry::linked()?.heads.build(&section, &context)?, parameters))
}

/// A probe of `kind`.
pub(crate) fn probe(kind: &str, toml: &str) -> Result<Box<dyn Probe>> {
    let section = Section::from_toml("probe.test", &format!("kind = \"{kind}\"\n{toml}"))?;
    Registry::linked()?.probes.build(&section, &ProbeContext { name: "test" })
}

/// Vectors `[B, D]` that are trainable, so that their gradient can be read, zero where absent.
pub(crate) fn vectors(present: &[bool], width: usize, phase: f64) -> Result<Var> {
    let value = |i: usize| if present[i / width] { ((i as f64) * 1.3 + phase).sin() as f32 } else { 0.0 };
    let values: Vec<f32> = (0..present.len() * width).map(value).collect();
    Ok(Var::from_tensor(&Tensor::from_vec(values, (present.len(), width), &Device::Cpu)?)?)
}

/// Features of `view` with one entry per modality; the joint vectors are those of the first.
pub(crate) fn features(view: View, modalities: &[(&str, &Var, &[bool])]) -> Features {
    let pooled = |(_, vectors, present): &(&str, &Var, &[bool])| Pooled {
        vectors: vectors.as_tensor().clone(),
        present: present.to_vec(),
    };
    Features {
        view,
        modality: modalities.iter().map(|m| (m.0.to_owned(), pooled(m))).collect(),
        joint: pooled(&modalities[0]),
        tokens: TokenSet { batch: modalities[0].2.len(), segments: Vec::new() },
        targets: Vec::new(),
    }
}

/// A batch of `n` objects with one column.
pub(crate) fn batch(n: usize, column: (&str, ArrayRef)) -> Result<Batch> {
    let columns = RecordBatch::try_from_iter([column]).map_err(|e| panchroma_core::Error::Plugin {
        kind: "test",
        name: "batch".into(),
        reason: e.to_string(),
    })?;
    let rows = Rows::new((0..n).map(|i| format!("object{i}")).collect(), columns)?;
    Ok(Batch { rows, arrays: BTreeMap::new(), tokens: BTreeMap::new(), masks: BTreeMap::new() })
}

/// A batch whose column no head reads.
pub(crate) fn plain_batch(n: usize) -> Result<Batch> {
    use panchroma_core::reexport::arrow_array::Float64Array;
    batch(n, ("unread", Arc::new(Float64Array::from(vec![0.0; n]))))
}

/// Training and held-out features, 60 and 6 rows of 5, and per training object a number and one of
/// three classes.
pub(crate) struct Example {
    pub(crate) train: Vec<f32>,
    pub(crate) held: Vec<f32>,
    pub(crate) numbers: Vec<f64>,
    pub(crate) classes: Vec<usize>,
}

pub(crate) const WIDTH: usize = 5;

/// The data of which scikit-learn's answers are kept in the tests of the probes.
pub(crate) fn example() -> Example {
    let feature = |i: usize, j: usize| {
        let (i, j) = (i as f64, j as f64);
        ((1.7 * i + 0.9 * j * j + 0.3 * i * j).sin() * (1.0 + j) + j) as f32
    };
    let rows = |rows: std::ops::Range<usize>| rows.flat_map(|i| (0..WIDTH).map(move |j| feature(i, j))).collect();
    let x = |i: usize, j: usize| f64::from(feature(i, j));
    let number = |i: usize| x(i, 0) - 0.5 * x(i, 1) + 0.2 * x(i, 4) + (i as f64 * 2.1).sin() + 3.0;
    let class = |i: usize| {
        let v = x(i, 0) + 0.4 * x(i, 2) + 0.6 * (i as f64 * 3.3).sin();
        usize::from(v >= 0.0) + usize::from(v >= 1.6)
    };
    Example {
        train: rows(0..60),
        held: rows(60..66),
        numbers: (0..60).map(number).collect(),
        classes: (0..60).map(class).collect(),
    }
}

/// Fails unless both are equal within `tolerance`.
pub(crate) fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance, "value {i}: {a} is not {b}");
    }
}

#[test]
fn every_example_builds_and_unknown_keys_are_refused() -> Result<()> {
    let registry = Registry::linked()?;
    let mut names = Vec::new();
    for (name, entry) in registry.heads.iter() {
        head(name, &["a", "b"], 8, &entry.example)?;
        assert!(head(name, &["a", "b"], 8, &format!("{}no_such_key = 1", entry.example)).is_err());
        names.push(name);
    }
    for (name, entry) in registry.probes.iter() {
        probe(name, &entry.example)?;
        assert!(probe(name, &format!("{}no_such_key = 1", entry.example)).is_err());
        names.push(name);
    }
    assert_eq!(names, ["classification", "contrastive", "masked", "regression", "logistic", "neighbours", "ridge"]);
    Ok(())
}
