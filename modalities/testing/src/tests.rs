//! The suite must notice what it is for: a toy plugin that breaks one promise at a time.

use crate::{Case, Objects, conformance};
use arrow_schema::{DataType, Field};
use candle_core::{Device, Tensor};
use panchroma_core::reexport::{inventory, schemars};
use panchroma_core::{
    Array, ArrayField, Arrays, ArraysSpec, Column, Descriptor, Forward, Modality, Mode, PrepareContext, Result, Rows,
    TokenKind, TokenSpec, TokenValues, Tokenizer, Tokens, ValueType, Values,
};
use serde_json::json;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};

/// One number per object; breaks the promise called `flaw`.
struct Toy {
    flaw: String,
    calls: AtomicU32,
}

impl Modality for Toy {
    fn columns(&self) -> Vec<Column> {
        vec![Column::number("x")]
    }

    fn spec(&self) -> ArraysSpec {
        ArraysSpec {
            fields: vec![ArrayField { name: "x", axes: &["L"], unit: String::new(), values: ValueType::F32 }],
            valid_axes: &["L"],
            sizes: vec![("L", 1)],
            labels: Vec::new(),
        }
    }

    fn prepare(&self, rows: &Rows, context: &PrepareContext<'_>) -> Result<Arrays> {
        let numbers = rows.numbers("x")?;
        let mean = numbers.iter().flatten().sum::<f64>() / numbers.len().max(1) as f64;
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        let value = |number: &Option<f64>| match self.flaw.as_str() {
            "looks at others" => number.unwrap_or(0.0) - mean,
            "random" if context.mode == Mode::Train => f64::from(calls),
            "not finite" => number.map_or(0.0, |_| f64::NAN),
            _ => number.unwrap_or(0.0),
        };
        let mask = |number: &Option<f64>| u8::from(number.is_some() || self.flaw == "unmasked");
        let x = Array::f32(&[rows.len(), 1], numbers.iter().map(|n| value(n) as f32).collect())?;
        let valid = Array::new(&[rows.len(), 1], Values::U8(numbers.iter().map(mask).collect()))?;
        let present = numbers.iter().map(Option::is_some).collect();
        Ok(Arrays { present, valid, fields: BTreeMap::from([("x".to_owned(), x)]) })
    }
}

/// One token per object; breaks the promise called `flaw`.
struct ToyTokenizer {
    flaw: String,
}

impl Tokenizer for ToyTokenizer {
    fn spec(&self) -> TokenSpec {
        TokenSpec { kind: TokenKind::Patches { width: 1 }, max_tokens: 1, coordinates: vec![] }
    }

    fn tokenize(&self, arrays: &Arrays, _: &Forward) -> Result<Tokens> {
        let b = arrays.len();
        let (x, valid) = (arrays.f32("x")?.1.to_vec(), arrays.valid()?.1.to_vec());
        let valid = match self.flaw.as_str() {
            "always valid" => arrays.present.iter().map(|p| u8::from(*p)).collect(),
            _ => valid,
        };
        let x = match self.flaw.as_str() {
            "masked values leak" => vec![x.iter().sum(); b],
            _ => x,
        };
        Ok(Tokens {
            values: TokenValues::Patches(Tensor::from_vec(x, (b, 1, 1), &Device::Cpu)?),
            valid: Tensor::from_vec(valid, (b, 1), &Device::Cpu)?,
            coordinates: Tensor::zeros((b, 1, 0), candle_core::DType::F32, &Device::Cpu)?,
            weights: None,
            present: arrays.present.clone(),
        })
    }
}

inventory::submit! {
    Descriptor::<dyn Modality> {
        name: "toy",
        summary: "one number per object",
        origin: env!("CARGO_PKG_NAME"),
        example: "flaw = \"\"",
        schema: schemars::Schema::default,
        build: |section, _| {
            Ok(Box::new(Toy { flaw: section.get("flaw")?.unwrap_or_default(), calls: AtomicU32::new(0) }))
        },
    }
}

inventory::submit! {
    Descriptor::<dyn Tokenizer> {
        name: "toy",
        summary: "one token per object",
        origin: env!("CARGO_PKG_NAME"),
        example: "flaw = \"\"",
        schema: schemars::Schema::default,
        build: |section, _| Ok(Box::new(ToyTokenizer { flaw: section.get("flaw")?.unwrap_or_default() })),
    }
}

/// What the suite says about a toy; none if it is content.
fn verdict(modality_flaw: &str, tokenizer_flaw: &str) -> Option<String> {
    let list = json!([{"object_id": "a", "x": 1.0}, {"object_id": "none"}, {"object_id": "b", "x": 2.5}]);
    let objects = Objects::new(&list, vec![Field::new("x", DataType::Float64, true)]);
    let [modality, tokenizer] = [modality_flaw, tokenizer_flaw].map(|f| format!("kind = \"toy\"\nflaw = \"{f}\""));
    let case =
        Case { modality: &modality, tokenizer: &tokenizer, objects: &objects, measured: &["x"], reconstruction: None };
    let panic = catch_unwind(AssertUnwindSafe(|| conformance(&case))).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    Some(text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default())
}

#[test]
fn a_sound_plugin_passes() {
    assert_eq!(verdict("", ""), None);
}

#[test]
fn each_broken_promise_is_noticed() {
    for (modality, tokenizer, said) in [
        ("looks at others", "", "without the absent objects"),
        ("random", "", "Train"),
        ("not finite", "", "not finite"),
        ("unmasked", "", "no valid value where the modality is absent"),
        ("", "always valid", "without one valid value"),
        ("", "masked values leak", "alone in the batch"),
    ] {
        let text = verdict(modality, tokenizer).unwrap_or_else(|| panic!("`{modality}{tokenizer}` passed"));
        assert!(text.contains(said), "`{modality}{tokenizer}`: {text}");
    }
}
