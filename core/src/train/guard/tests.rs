//! What is rare is told from what is dead.

use super::*;
use crate::config::Document;
use crate::{
    Array, ArrayField, Arrays, ArraysSpec, Column, Decay, Descriptor, Experiment, Features, Head, HeadContext,
    HeadOutput, Init, Modality, ModalityContext, PrepareContext, Registry, Section, TokenKind, TokenSpec, TokenValues,
    Tokenizer, TokenizerContext, Tokens, ValueType, Values, View,
};
use crate::{Mode, Rows};
use arrow_array::{ArrayRef, Float64Array, RecordBatch};
use candle_core::Device;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A number per object, and a token of it.
struct Number(String);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NumberConfig {
    /// Column.
    column: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl Modality for Number {
    fn columns(&self) -> Vec<Column> {
        vec![Column::number(&self.0)]
    }
    fn spec(&self) -> ArraysSpec {
        let fields = vec![ArrayField { name: "x", axes: &["L"], unit: String::new(), values: ValueType::F32 }];
        ArraysSpec { fields, valid_axes: &["L"], sizes: vec![("L", 1)], labels: Vec::new() }
    }
    fn prepare(&self, rows: &Rows, _context: &PrepareContext<'_>) -> Result<Arrays> {
        let numbers = rows.numbers(&self.0)?;
        let present: Vec<bool> = numbers.iter().map(Option::is_some).collect();
        let shape = [rows.len(), 1];
        let valid = Array::new(&shape, Values::U8(present.iter().map(|p| u8::from(*p)).collect()))?;
        let values = Array::f32(&shape, numbers.iter().map(|v| v.unwrap_or(0.0) as f32).collect())?;
        Ok(Arrays { present, valid, fields: BTreeMap::from([("x".to_owned(), values)]) })
    }
}

struct AsItIs;

impl Tokenizer for AsItIs {
    fn spec(&self) -> TokenSpec {
        TokenSpec { kind: TokenKind::Patches { width: 1 }, max_tokens: 1, coordinates: Vec::new() }
    }
    fn tokenize(&self, arrays: &Arrays, _context: &Forward) -> Result<Tokens> {
        let b = arrays.len();
        let tensor = |values: &[f32]| Tensor::from_slice(values, (b, 1, 1), &Device::Cpu);
        Ok(Tokens {
            values: TokenValues::Patches(tensor(arrays.f32("x")?.1)?),
            valid: Tensor::from_slice(arrays.valid()?.1, (b, 1), &Device::Cpu)?,
            coordinates: Tensor::zeros((b, 1, 0), candle_core::DType::F32, &Device::Cpu)?,
            weights: None,
            present: arrays.present.clone(),
        })
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LabelConfig {
    /// Column of what is predicted.
    target: String,
    /// A modality that it has no eyes for.
    #[serde(default)]
    blind: String,
}

/// Predicts a number from the mean of the modalities' vectors.
struct Label {
    config: LabelConfig,
    weight: Tensor,
}

impl Head for Label {
    fn columns(&self) -> Vec<Column> {
        vec![Column::number(&self.config.target)]
    }
    fn view(&self) -> View {
        View::Isolated
    }
    fn flops(&self, _batch: usize) -> f64 {
        0.0
    }
    fn forward(&self, features: &Features, batch: &Batch, _context: &Forward) -> Result<HeadOutput> {
        let truth = batch.rows.numbers(&self.config.target)?;
        let rows: Vec<u32> = (0u32..).zip(&truth).filter(|(_, t)| t.is_some()).map(|(i, _)| i).collect();
        let seen = features.modality.iter().filter(|(name, _)| **name != self.config.blind);
        let mut sum = Tensor::zeros_like(&features.joint.vectors)?;
        for (_, pooled) in seen {
            sum = (sum + &pooled.vectors)?;
        }
        if rows.is_empty() {
            return Ok(HeadOutput::default());
        }
        let rows = Tensor::new(rows, &Device::Cpu)?;
        let loss = (sum.matmul(&self.weight)?.squeeze(1)?.index_select(&rows, 0)? - 1.0)?.sqr()?.mean_all()?;
        Ok(HeadOutput { loss: Some(loss), ..HeadOutput::default() })
    }
}

inventory::submit! { Descriptor::<dyn Modality> {
    name: "guard_number", summary: "a number", origin: "test", example: "column = \"x\"\n",
    schema: || schemars::schema_for!(NumberConfig),
    build: |section: &Section, _: &ModalityContext<'_>| section.read().map(|c: NumberConfig| Box::new(Number(c.column)) as _),
} }
inventory::submit! { Descriptor::<dyn Tokenizer> {
    name: "guard_token", summary: "a token", origin: "test", example: "",
    schema: || schemars::schema_for!(Nothing),
    build: |section: &Section, _: &TokenizerContext<'_>| section.read().map(|_: Nothing| Box::new(AsItIs) as _),
} }
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CodecConfig {
    /// Whether it has a parameter that it does nothing with.
    #[serde(default)]
    idle: bool,
}

/// A codec of a number: one parameter for those below 1.6, another for those above.
struct Halves {
    low: Tensor,
    high: Tensor,
}

impl Tokenizer for Halves {
    fn spec(&self) -> TokenSpec {
        TokenSpec::codes(2, 1)
    }
    fn tokenize(&self, arrays: &Arrays, _context: &Forward) -> Result<Tokens> {
        let codes: Vec<u32> = arrays.f32("x")?.1.iter().map(|x| u32::from(*x > 1.6)).collect();
        Tokens::codes(Tensor::from_vec(codes, (arrays.len(), 1), &Device::Cpu)?, arrays.present.clone())
    }
    fn learns(&self) -> bool {
        true
    }
    fn learn(&self, arrays: &Arrays, _context: &Forward) -> Result<HeadOutput> {
        let x = arrays.f32("x")?.1;
        let high: Vec<f32> = x.iter().map(|x| f32::from(u8::from(*x > 1.6))).collect();
        let high = Tensor::new(high, &Device::Cpu)?;
        let told = (high.broadcast_mul(&self.high)? + high.affine(-1.0, 1.0)?.broadcast_mul(&self.low)?)?;
        let loss = (told - Tensor::new(x, &Device::Cpu)?)?.sqr()?.mean_all()?;
        Ok(HeadOutput { loss: Some(loss), ..HeadOutput::default() })
    }
}

inventory::submit! { Descriptor::<dyn Tokenizer> {
    name: "guard_codec", summary: "a codec", origin: "test", example: "",
    schema: || schemars::schema_for!(CodecConfig),
    build: |section: &Section, context: &TokenizerContext<'_>| {
        let CodecConfig { idle } = section.read()?;
        let make = |name: &str| context.parameters.get(name, &[1], Init::Constant(0.3), Decay::No);
        if idle {
            make("idle")?;
        }
        Ok(Box::new(Halves { low: make("low")?, high: make("high")? }))
    },
} }
inventory::submit! { Descriptor::<dyn Head> {
    name: "guard_label", summary: "a label", origin: "test", example: "target = \"y\"\n",
    schema: || schemars::schema_for!(LabelConfig),
    build: |section: &Section, context: &HeadContext<'_>| {
        let weight = context.parameters.get("weight", &[context.width, 1], Init::fan_in(8), Decay::Yes)?;
        Ok(Box::new(Label { config: section.read()?, weight }))
    },
} }

/// What the guard says of 2,000 objects in batches of 64, of which each has `a` and `often`, number 1,500 has `b` and `known`, and number
/// 1,700 has `seldom`.
fn guard(heads: &str) -> Result<Vec<String>> {
    guarded(&format!(
        "[run]\nname = \"guard\"\n[data]\npath = \"none\"\n\
         [modality.a]\nkind = \"guard_number\"\ncolumn = \"a\"\ntokenizer = {{ kind = \"guard_token\" }}\n\
         [modality.a.metadata.known]\nencoder = \"log\"\nsmallest = 1\nlargest = 100\n\
         [modality.b]\nkind = \"guard_number\"\ncolumn = \"b\"\ntokenizer = {{ kind = \"guard_token\" }}\n\
         [trunk]\nkind = \"fused\"\nwidth = 8\ndepth = 1\nheads = 1\npool = \"mean\"\n\
         [train]\nbatch = 64\nmax_steps = 1\n{heads}"
    ))
}

/// What the guard says of a codec of `a`, on the same objects.
fn guard_codec(tokenizer: &str) -> Result<Vec<String>> {
    guarded(&format!(
        "[run]\nname = \"guard\"\n[data]\npath = \"none\"\n[train]\nbatch = 64\nmax_steps = 1\n\
         [modality.a]\nkind = \"guard_number\"\ncolumn = \"a\"\ntokenizer = {{ kind = \"guard_codec\"{tokenizer} }}\n"
    ))
}

fn guarded(text: &str) -> Result<Vec<String>> {
    let registry = Registry::linked()?;
    let experiment = Experiment::read(Document::parse("guard.toml", text)?, &registry)?;
    let model = Model::new(&experiment, &registry, &Device::Cpu)?;
    let column = |value: fn(usize) -> Option<f64>| Arc::new((0..2000).map(value).collect::<Float64Array>()) as ArrayRef;
    let one = |i: usize| (i == 1500).then_some(2.0);
    let columns = RecordBatch::try_from_iter([
        ("a", column(|i| Some(i as f64 / 1000.0))),
        ("b", column(one)),
        ("known", column(one)),
        ("often", column(|_| Some(1.0))),
        ("seldom", column(|i| (i == 1700).then_some(1.0))),
        ("never", column(|_| None)),
    ]);
    let rows = Rows::new((0..2000).map(|i| format!("o{i}")).collect(), columns.expect("columns of one length"))?;
    let batch = |start: usize| {
        let own: Vec<usize> = (start..2000.min(start + 64)).collect();
        model.prepare(rows.take(&own)?, Mode::Evaluate, 0)
    };
    check_gradients(&model, &|_| false, &mut (0..2000).step_by(64).map(batch))
}

const OFTEN: &str = "[head.often]\nkind = \"guard_label\"\ntarget = \"often\"\n";

/// Parameters that read `b` or `known`, and get no gradient from the first 512 objects.
const RARE: [&str; 3] = ["embed.a.metadata.known.weight", "embed.b.values.bias", "embed.b.values.weight"];

#[test]
fn what_one_object_of_2000_has_stops_nothing_and_is_named() {
    assert_eq!(guard(OFTEN).expect("alive"), RARE);
}

#[test]
fn what_a_codec_sees_late_is_no_dead_parameter() {
    // Numbers above 1.6 come first in batch 26.
    assert_eq!(guard_codec("").expect("alive"), Vec::<String>::new());
    let error = guard_codec(", idle = true").expect_err("dead").to_string();
    assert_eq!(error, "parameter `codec.a.idle` gets no gradient from [modality.a.tokenizer]");
}

#[test]
fn what_no_head_looks_at_is_dead_however_rare() {
    let error = guard(&format!("{OFTEN}blind = \"b\"\n")).expect_err("dead").to_string();
    assert_eq!(error, "parameter `embed.b.values.bias` gets no gradient from [head.often]");
}

#[test]
fn a_head_may_have_few_labels() {
    // Object 1,700 is in batch 27, behind the first eight; it has neither `b` nor `known`.
    let seldom = OFTEN.replace("often", "seldom");
    assert_eq!(guard(&format!("{OFTEN}{seldom}")).expect("alive"), RARE);
    // What neither head looks at is dead all the same.
    let blind = [OFTEN, &seldom].map(|head| format!("{head}blind = \"b\"\n")).concat();
    let error = guard(&blind).expect_err("dead").to_string();
    assert_eq!(error, "parameter `embed.b.values.bias` gets no gradient from [head.often], [head.seldom]");
}

#[test]
fn of_a_head_without_any_label_nothing_is_known() {
    let never = OFTEN.replace("often", "never");
    let mut expected = RARE.to_vec();
    expected.push("head.never.weight");
    assert_eq!(guard(&format!("{OFTEN}{never}")).expect("not dead"), expected);
    let error = guard(&never).expect_err("nothing to learn").to_string();
    assert_eq!(error, "nothing gives a loss: looked at 8 batches of 64 objects");
}
