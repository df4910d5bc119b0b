//! The shortest complete plugin of each kind, and a training that uses nothing else: what a third
//! party has to write, and proof that core needs no plugin of ours.

use arrow_array::{ArrayRef, Float32Array, RecordBatch, StringArray};
use candle_core::{DType, Device, Tensor};
use panchroma_core::config::Document;
use panchroma_core::train::{Event, Observer, TrainOptions, train};
use panchroma_core::{
    Array, ArrayField, Arrays, ArraysSpec, Batch, Column, Coordinate, Decay, Descriptor, Encoding, Experiment,
    Features, Fitted, Forward, Head, HeadContext, HeadOutput, Init, Modality, ModalityContext, Pooled, Predictions,
    PrepareContext, Probe, ProbeContext, ProbeTarget, Registry, Result, Rows, Section, TokenKind, TokenSet, TokenSpec,
    TokenValues, Tokenizer, TokenizerContext, Tokens, Trunk, TrunkContext, ValueType, Values, View,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One number per object.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CountConfig {
    /// Column of the number.
    column: String,
}

struct Count {
    column: String,
    mean: f64,
}

impl Modality for Count {
    fn columns(&self) -> Vec<Column> {
        vec![Column::number(&self.column)]
    }
    fn spec(&self) -> ArraysSpec {
        let field = ArrayField { name: "count", axes: &["L"], unit: "photon".into(), values: ValueType::F32 };
        ArraysSpec { fields: vec![field], valid_axes: &["L"], sizes: vec![("L", 1)], labels: Vec::new() }
    }
    fn fit(&mut self, rows: &mut dyn Iterator<Item = Result<Rows>>) -> Result<()> {
        let mut all = Vec::new();
        for rows in rows {
            all.extend(rows?.numbers(&self.column)?.into_iter().flatten());
        }
        self.mean = all.iter().sum::<f64>() / all.len().max(1) as f64;
        Ok(())
    }
    fn fitted(&self) -> serde_json::Value {
        self.mean.into()
    }
    fn restore(&mut self, fitted: &serde_json::Value) -> Result<()> {
        self.mean = fitted.as_f64().unwrap_or(0.0);
        Ok(())
    }
    fn prepare(&self, rows: &Rows, _context: &PrepareContext<'_>) -> Result<Arrays> {
        let counts = rows.numbers(&self.column)?;
        let present: Vec<bool> = counts.iter().map(Option::is_some).collect();
        let valid = Array::new(&[rows.len(), 1], Values::U8(present.iter().map(|p| u8::from(*p)).collect()))?;
        let values = counts.iter().map(|c| c.map_or(0.0, |c| (c - self.mean) as f32)).collect();
        let fields = BTreeMap::from([("count".into(), Array::f32(&[rows.len(), 1], values)?)]);
        Ok(Arrays { present, valid, fields })
    }
}

struct AsItIs;

impl Tokenizer for AsItIs {
    fn spec(&self) -> TokenSpec {
        let coordinates = vec![Coordinate {
            name: "column".into(),
            unit: "".into(),
            encoding: Encoding::Category { size: 1 },
            metadata: false,
        }];
        TokenSpec { kind: TokenKind::Patches { width: 1 }, max_tokens: 1, coordinates }
    }
    fn tokenize(&self, arrays: &Arrays, _context: &Forward) -> Result<Tokens> {
        let (_, values) = arrays.f32("count")?;
        let (_, valid) = arrays.valid()?;
        let b = arrays.len();
        Ok(Tokens {
            values: TokenValues::Patches(Tensor::from_slice(values, (b, 1, 1), &Device::Cpu)?),
            valid: Tensor::from_slice(valid, (b, 1), &Device::Cpu)?,
            coordinates: Tensor::zeros((b, 1, 1), DType::F32, &Device::Cpu)?,
            weights: None,
            present: arrays.present.clone(),
        })
    }
}

/// No layer at all: the mean over an object's tokens.
struct MeanTrunk;

impl Trunk for MeanTrunk {
    fn width(&self) -> usize {
        4
    }
    fn forward(&self, tokens: &TokenSet, view: View, _context: &Forward) -> Result<Features> {
        let mut modality = BTreeMap::new();
        for segment in &tokens.segments {
            let pooled = Pooled::scattered(segment, &segment.embedded.mean(1)?, tokens.batch)?;
            modality.insert(segment.modality.clone(), pooled);
        }
        let joint = Pooled::mean(modality.values(), tokens.batch)?.expect("the test's batches are not empty");
        Ok(Features { view, modality, joint, tokens: tokens.clone(), targets: Vec::new() })
    }
    fn flops(&self, _batch: usize, _tokens: &[usize], _view: View) -> f64 {
        0.0
    }
}

/// Predicts a column from the joint vector.
struct Guess {
    weight: Tensor,
    detached: bool,
}

impl Head for Guess {
    fn columns(&self) -> Vec<Column> {
        vec![Column::number("energy")]
    }
    fn view(&self) -> View {
        View::Joint
    }
    fn flops(&self, batch: usize) -> f64 {
        8.0 * batch as f64
    }
    fn forward(&self, features: &Features, batch: &Batch, _context: &Forward) -> Result<HeadOutput> {
        let truth: Vec<f32> = batch.rows.numbers("energy")?.into_iter().map(|v| v.unwrap_or(0.0) as f32).collect();
        let vectors = if self.detached { features.joint.vectors.detach() } else { features.joint.vectors.clone() };
        let predicted = vectors.matmul(&self.weight)?.squeeze(1)?;
        let loss = (predicted - Tensor::new(truth, &Device::Cpu)?)?.sqr()?.mean_all()?;
        Ok(HeadOutput { loss: Some(loss), ..HeadOutput::default() })
    }
}

/// Answers with the mean of what it was fitted on.
struct MeanProbe;
struct FittedMean(f64, usize);

impl Probe for MeanProbe {
    fn fit(&self, _features: &[f32], width: usize, target: &ProbeTarget) -> Result<Box<dyn Fitted>> {
        let ProbeTarget::Numbers(v) = target else { unreachable!("the test asks for numbers") };
        Ok(Box::new(FittedMean(v.iter().sum::<f64>() / v.len() as f64, width)))
    }
}

impl Fitted for FittedMean {
    fn predict(&self, features: &[f32]) -> Result<Predictions> {
        Ok(Predictions::Numbers(vec![self.0; features.len() / self.1]))
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GuessConfig {
    /// Cut the gradient, to see that the guard notices.
    #[serde(default)]
    detached: bool,
}

panchroma_core::reexport::inventory::submit! { Descriptor::<dyn Modality> {
    name: "toy_count", summary: "a toy modality", origin: "contracts", example: "column = \"n\"\n",
    schema: || schemars::schema_for!(CountConfig),
    build: |section: &Section, _: &ModalityContext<'_>| {
        let CountConfig { column } = section.read()?;
        Ok(Box::new(Count { column, mean: 0.0 }))
    },
} }
panchroma_core::reexport::inventory::submit! { Descriptor::<dyn Tokenizer> {
    name: "toy_as_it_is", summary: "a toy tokenizer", origin: "contracts", example: "",
    schema: || schemars::schema_for!(Nothing),
    build: |section: &Section, _: &TokenizerContext<'_>| section.read::<Nothing>().map(|_| Box::new(AsItIs) as _),
} }
panchroma_core::reexport::inventory::submit! { Descriptor::<dyn Trunk> {
    name: "toy_mean", summary: "a toy trunk", origin: "contracts", example: "",
    schema: || schemars::schema_for!(Nothing),
    build: |section: &Section, _: &TrunkContext<'_>| section.read::<Nothing>().map(|_| Box::new(MeanTrunk) as _),
} }
panchroma_core::reexport::inventory::submit! { Descriptor::<dyn Head> {
    name: "toy_guess", summary: "a toy head", origin: "contracts", example: "",
    schema: || schemars::schema_for!(GuessConfig),
    build: |section: &Section, context: &HeadContext<'_>| {
        let GuessConfig { detached } = section.read()?;
        let weight = context.parameters.get("weight", &[context.width, 1], Init::fan_in(4), Decay::Yes)?;
        Ok(Box::new(Guess { weight, detached }))
    },
} }
panchroma_core::reexport::inventory::submit! { Descriptor::<dyn Probe> {
    name: "toy_constant", summary: "a toy probe", origin: "contracts", example: "",
    schema: || schemars::schema_for!(Nothing),
    build: |section: &Section, _: &ProbeContext<'_>| section.read::<Nothing>().map(|_| Box::new(MeanProbe) as _),
} }

/// 40 objects; every fourth lacks its count; energy is twice the count.
fn data(folder: &std::path::Path) {
    let ids = StringArray::from_iter_values((0..40).map(|i| format!("o{i}")));
    let counts: Float32Array = (0..40).map(|i| (i % 4 != 3).then_some(i as f32 / 10.0)).collect();
    let energy: Float32Array = (0..40).map(|i| Some(i as f32 / 5.0)).collect();
    let columns: Vec<(&str, ArrayRef)> =
        vec![("object_id", Arc::new(ids)), ("n", Arc::new(counts)), ("energy", Arc::new(energy))];
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).expect("columns");
    let file = std::fs::File::create(folder.join("part.parquet")).expect("a file");
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
}

/// 4,000 objects, of which one has a count beside that of all.
fn rare(folder: &std::path::Path) {
    let ids = StringArray::from_iter_values((0..4000).map(|i| format!("o{i}")));
    let counts: Float32Array = (0..4000).map(|i| Some(i as f32 / 1000.0)).collect();
    let rare: Float32Array = (0..4000).map(|i| (i % 2000 == 1234).then_some(i as f32)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("object_id", Arc::new(ids)),
        ("n", Arc::new(counts.clone())),
        ("energy", Arc::new(counts)),
        ("rare", Arc::new(rare)),
    ];
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).expect("columns");
    let file = std::fs::File::create(folder.join("part.parquet")).expect("a file");
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
}

/// The log of two steps on [`rare`] with `more` in the config.
fn rarely(more: &str) -> Result<String> {
    let folder = tempfile::tempdir().expect("a folder");
    rare(folder.path());
    let registry = Registry::linked().expect("no two plugins of one name");
    let detached = more.contains("detached");
    let text = config(folder.path(), detached).to_toml().replace("max_steps = 200", "max_steps = 2");
    let text = format!("{text}\n{}", more.replace("detached", ""));
    let experiment = Experiment::read(Document::parse("toy.toml", &text)?, &registry)?;
    let options = TrainOptions {
        resume: false,
        overwrite: false,
        device: Device::Cpu,
        max_steps: None,
        max_time: None,
        stop: Arc::default(),
    };
    train(&experiment, &registry, &options, &mut Losses::default())?;
    Ok(std::fs::read_to_string(folder.path().join("run/log.jsonl")).expect("a log"))
}

const RARE_MODALITY: &str =
    "[modality.seldom]\nkind = \"toy_count\"\ncolumn = \"rare\"\ntokenizer = { kind = \"toy_as_it_is\" }\n";
const RARE_METADATA: &str = "[modality.counts.metadata.rare]\nencoder = \"fourier\"\nshortest = 1\nlongest = 10000\n";

#[test]
fn what_few_objects_have_stops_no_training() {
    for rare in [RARE_MODALITY, RARE_METADATA] {
        let log = rarely(rare).expect("trains");
        // Not among the first 512 objects, as a rule, which is worth a line.
        assert!(log.contains("\"untried\":[\"embed."), "{log}");
    }
    // What no object has is named.
    let log = rarely(&RARE_METADATA.replace("metadata.rare]", "metadata.never]\ncolumn = \"rare_never\""))
        .expect_err("no column");
    assert!(log.to_string().contains("rare_never"), "{log}");
}

#[test]
fn what_few_objects_have_must_get_a_gradient_all_the_same() {
    let error = rarely(&format!("{RARE_MODALITY}detached")).expect_err("dead").to_string();
    assert!(error.contains("gets no gradient from [head.energy]"), "{error}");
}

fn config(folder: &std::path::Path, detached: bool) -> Document {
    let text = format!(
        r#"
[run]
name = "toy"
output = {output:?}
[data]
path = {data:?}
split = {{ train = 0.7, validation = 0.0, test = 0.3 }}
[modality.counts]
kind = "toy_count"
column = "n"
tokenizer = {{ kind = "toy_as_it_is" }}
[trunk]
kind = "toy_mean"
[head.energy]
kind = "toy_guess"
detached = {detached}
[train]
batch = 16
max_steps = 200
learning_rate = 0.05
[probe.energy]
kind = "toy_constant"
target = "energy"
from = ["counts"]
"#,
        output = folder.join("run"),
        data = folder.join("part.parquet"),
    );
    Document::parse("toy.toml", &text).expect("a config")
}

/// Keeps the losses.
#[derive(Default)]
struct Losses(Vec<f64>);

impl Observer for Losses {
    fn on(&mut self, event: Event<'_>) {
        if let Event::Step { loss, .. } = event {
            self.0.push(loss);
        }
    }
}

fn run(detached: bool) -> (Result<panchroma_core::train::Outcome>, Vec<f64>) {
    let folder = tempfile::tempdir().expect("a folder");
    data(folder.path());
    let registry = Registry::linked().expect("no two plugins of one name");
    let experiment = Experiment::read(config(folder.path(), detached), &registry).expect("a config");
    let options = TrainOptions {
        resume: false,
        overwrite: false,
        device: Device::Cpu,
        max_steps: None,
        max_time: None,
        stop: Arc::default(),
    };
    let mut losses = Losses::default();
    let outcome = train(&experiment, &registry, &options, &mut losses);
    (outcome, losses.0)
}

#[test]
fn a_model_of_toy_plugins_learns() {
    let (outcome, losses) = run(false);
    let outcome = outcome.expect("trained");
    assert_eq!(outcome.steps, 200);
    let (first, last) = (losses[0], losses[losses.len() - 10..].iter().sum::<f64>() / 10.0);
    assert!(last < 0.2 * first, "loss went from {first} to {last}");
    let probe = &outcome.evaluation.results.probes[0];
    // The toy probe is the constant, so it can't beat it.
    assert!((probe.trained.value - probe.constant).abs() < 1e-9);
}

#[test]
fn a_parameter_without_gradient_stops_training_before_the_first_step() {
    let (outcome, losses) = run(true);
    let error = outcome.err().map(|e| (e.to_string(), e.exit_code())).expect("training does not begin");
    assert_eq!(error.0, "parameter `embed.counts.column.table` gets no gradient from [head.energy]");
    assert!(losses.is_empty());
    assert_eq!(error.1, 5);
}

#[test]
fn every_toy_plugin_is_found_by_its_name() {
    let registry = Registry::linked().expect("no two plugins of one name");
    assert!(registry.modalities.get("toy_count").is_some());
    assert!(registry.tokenizers.get("toy_as_it_is").is_some());
    assert!(registry.trunks.get("toy_mean").is_some());
    assert!(registry.heads.get("toy_guess").is_some());
    assert!(registry.probes.get("toy_constant").is_some());
}
