//! Generation and predictions with toy plugins, of which everything is known: what is drawn, in which order, and how good a posterior is.

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use candle_core::{DType, Device, Tensor};
use panchroma_core::config::Document;
use panchroma_core::data::{Catalogue, Split};
use panchroma_core::evaluate::{EvaluateContext, Evaluation, evaluate};
use panchroma_core::generate::{Generated, Request, Sampling, Schedule, codes, scalar_logits, scalar_truth};
use panchroma_core::random;
use panchroma_core::{
    Array, ArrayField, Arrays, ArraysSpec, Batch, Bins, Column, Descriptor, Experiment, Features, Fitted, Forward,
    Head, HeadContext, HeadOutput, Masking, Masks, Modality, ModalityContext, Mode, Model, Pooled, Predictions,
    PrepareContext, Probe, ProbeContext, ProbeTarget, Registry, Result, Rows, Section, Targets, TokenKind, TokenSet,
    TokenSpec, TokenValues, Tokenizer, TokenizerContext, Tokens, Trunk, TrunkContext, ValueType, Values, View,
};
use rand::Rng;
use rand_distr::StandardNormal;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Spread of `z` around `x`.
const SIGMA: f64 = 3.0;

/// Codes of each scalar: whole numbers.
const CODES: usize = 64;

/// Tokens of `series`.
const LONG: usize = 5;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NumberConfig {
    column: String,
}

struct Number(String);

impl Modality for Number {
    fn columns(&self) -> Vec<Column> {
        vec![Column::number(&self.0)]
    }
    fn spec(&self) -> ArraysSpec {
        let field = ArrayField { name: "number", axes: &["L"], unit: String::new(), values: ValueType::F32 };
        ArraysSpec { fields: vec![field], valid_axes: &["L"], sizes: vec![("L", 1)], labels: Vec::new() }
    }
    fn prepare(&self, rows: &Rows, _context: &PrepareContext<'_>) -> Result<Arrays> {
        let numbers = rows.numbers(&self.0)?;
        let present: Vec<bool> = numbers.iter().map(Option::is_some).collect();
        let valid = Array::new(&[rows.len(), 1], Values::U8(present.iter().map(|p| u8::from(*p)).collect()))?;
        let values = numbers.iter().map(|c| c.unwrap_or(0.0) as f32).collect();
        let fields = BTreeMap::from([("number".into(), Array::f32(&[rows.len(), 1], values)?)]);
        Ok(Arrays { present, valid, fields })
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CodesConfig {
    #[serde(default)]
    name: String,
    #[serde(default)]
    long: bool,
    #[serde(default)]
    patches: bool,
}

/// The whole part of a number as a code, once or several times.
struct Whole {
    config: CodesConfig,
}

impl Whole {
    fn tokens(&self) -> usize {
        if self.config.long { LONG } else { 1 }
    }
}

impl Tokenizer for Whole {
    fn spec(&self) -> TokenSpec {
        let spec = TokenSpec::codes(CODES, self.tokens());
        if self.config.patches { TokenSpec { kind: TokenKind::Patches { width: 1 }, ..spec } } else { spec }
    }
    fn tokenize(&self, arrays: &Arrays, _context: &Forward) -> Result<Tokens> {
        let (_, numbers) = arrays.f32("number")?;
        let (b, t) = (arrays.len(), self.tokens());
        let all: Vec<u32> = numbers.iter().flat_map(|n| std::iter::repeat_n(*n as u32, t)).collect();
        let codes = Tensor::from_vec(all, (b, t), &Device::Cpu)?;
        let tokens = Tokens::codes(codes.clone(), arrays.present.clone())?;
        if !self.config.patches {
            return Ok(tokens);
        }
        Ok(Tokens { values: TokenValues::Patches(codes.to_dtype(DType::F32)?.unsqueeze(2)?), ..tokens })
    }
    fn bins(&self) -> Vec<Bins> {
        if self.config.name.is_empty() {
            return Vec::new();
        }
        vec![Bins {
            name: self.config.name.clone(),
            unit: "m".into(),
            centres: (0..CODES).map(|i| i as f64 + 0.5).collect(),
            edges: (0..=CODES).map(|i| i as f64).collect(),
        }]
    }
}

/// Says of each place that is asked for how many tokens its object is given, and its number.
struct Counting;

impl Trunk for Counting {
    fn width(&self) -> usize {
        2
    }
    fn forward(&self, tokens: &TokenSet, view: View, _context: &Forward) -> Result<Features> {
        let mut modality = BTreeMap::new();
        for segment in &tokens.segments {
            let pooled = Pooled::scattered(segment, &segment.embedded.mean(1)?, tokens.batch)?;
            modality.insert(segment.modality.clone(), pooled);
        }
        let joint = Pooled::mean(modality.values(), tokens.batch)?.expect("no batch is empty");
        Ok(Features { view, modality, joint, tokens: tokens.clone(), targets: Vec::new() })
    }
    fn predict(&self, tokens: &TokenSet, masks: &Masks, _context: &Forward) -> Result<Features> {
        let given = |row: u32| -> usize {
            let own = masks.modality.values().flat_map(|m| m.input.iter().skip(row as usize * m.tokens).take(m.tokens));
            own.filter(|input| **input).count()
        };
        let mut targets = Vec::new();
        for segment in &tokens.segments {
            let Some(mask) = masks.modality.get(&segment.modality) else { continue };
            let places = mask.targets();
            if !places.is_empty() {
                let vectors: Vec<f32> = places.iter().flat_map(|(r, t)| [given(*r) as f32, *t as f32]).collect();
                let vectors = Tensor::from_vec(vectors, (places.len(), 2), &Device::Cpu)?;
                targets.push(Targets { modality: segment.modality.clone(), places, vectors });
            }
        }
        let joint =
            Pooled { vectors: Tensor::zeros((tokens.batch, 2), DType::F32, &Device::Cpu)?, present: Vec::new() };
        let tokens = TokenSet { batch: tokens.batch, segments: Vec::new() };
        Ok(Features { view: View::Masked, modality: BTreeMap::new(), joint, tokens, targets })
    }
    fn flops(&self, _batch: usize, _tokens: &[usize], _view: View) -> f64 {
        0.0
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct KnowConfig {
    /// `count`: the code is the number of tokens that are given plus the token's own; `tilt`: logits are the former times [`TILT`];
    /// `normal`: around the column `x`, as `z` is.
    rule: String,
    #[serde(default)]
    only: Option<String>,
}

/// Logits of the first codes per token that is given, with `tilt`.
const TILT: [f32; 4] = [0.0, 0.7, -0.3, 0.2];

struct Know {
    config: KnowConfig,
    masking: Masking,
    patches: Vec<String>,
}

impl Head for Know {
    fn columns(&self) -> Vec<Column> {
        vec![Column::number("x")]
    }
    fn view(&self) -> View {
        View::Masked
    }
    fn masking(&self) -> Option<&Masking> {
        Some(&self.masking)
    }
    fn flops(&self, _batch: usize) -> f64 {
        0.0
    }
    fn forward(&self, features: &Features, batch: &Batch, _context: &Forward) -> Result<HeadOutput> {
        let mut output = HeadOutput::default();
        let x = batch.rows.numbers("x")?;
        for targets in features.targets.iter().filter(|t| self.config.only.as_ref().is_none_or(|o| *o == t.modality)) {
            let vectors = targets.vectors.to_vec2::<f32>()?;
            let mut logits = vec![-30.0_f32; vectors.len() * CODES];
            for (i, (vector, (row, _))) in vectors.iter().zip(&targets.places).enumerate() {
                let own = &mut logits[i * CODES..(i + 1) * CODES];
                match self.config.rule.as_str() {
                    "count" => own[(vector[0] + vector[1]) as usize % CODES] = 30.0,
                    "tilt" => own.iter_mut().zip(TILT).for_each(|(to, tilt)| *to = tilt * vector[0]),
                    _ => own.iter_mut().enumerate().for_each(|(k, to)| {
                        let off = k as f64 + 0.5 - x[*row as usize].unwrap_or(f64::NAN);
                        *to = (-0.5 * (off / SIGMA).powi(2)) as f32;
                    }),
                }
            }
            let name = &targets.modality;
            if self.patches.contains(name) {
                output.predictions.insert(format!("patches.{name}"), targets.vectors.narrow(1, 0, 1)?);
            } else {
                let logits = Tensor::from_vec(logits, (vectors.len(), CODES), &Device::Cpu)?;
                output.predictions.insert(format!("logits.{name}"), logits);
            }
        }
        Ok(output)
    }
}

/// The line through the first feature.
struct Line;
struct FittedLine {
    slope: f64,
    offset: f64,
    width: usize,
}

impl Probe for Line {
    fn fit(&self, features: &[f32], width: usize, target: &ProbeTarget) -> Result<Box<dyn Fitted>> {
        let ProbeTarget::Numbers(y) = target else { unreachable!("the test asks for numbers") };
        let x: Vec<f64> = features.chunks(width).map(|row| f64::from(row[0])).collect();
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let (mx, my) = (mean(&x), mean(y));
        let slope = x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum::<f64>()
            / x.iter().map(|x| (x - mx).powi(2)).sum::<f64>();
        Ok(Box::new(FittedLine { slope, offset: my - slope * mx, width }))
    }
}

impl Fitted for FittedLine {
    fn predict(&self, features: &[f32]) -> Result<Predictions> {
        let of = |row: &[f32]| self.offset + self.slope * f64::from(row[0]);
        Ok(Predictions::Numbers(features.chunks(self.width).map(of).collect()))
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

panchroma_core::reexport::inventory::submit! { Descriptor::<dyn Modality> {
    name: "toy_number", summary: "a toy modality", origin: "generate", example: "column = \"x\"\n",
    schema: || schemars::schema_for!(NumberConfig),
    build: |section: &Section, _: &ModalityContext<'_>| {
        Ok(Box::new(Number(section.read::<NumberConfig>()?.column)))
    },
} }
panchroma_core::reexport::inventory::submit! { Descriptor::<dyn Tokenizer> {
    name: "toy_whole", summary: "a toy tokenizer", origin: "generate", example: "",
    schema: || schemars::schema_for!(CodesConfig),
    build: |section: &Section, _: &TokenizerContext<'_>| Ok(Box::new(Whole { config: section.read()? })),
} }
panchroma_core::reexport::inventory::submit! { Descriptor::<dyn Trunk> {
    name: "toy_counting", summary: "a toy trunk", origin: "generate", example: "",
    schema: || schemars::schema_for!(Nothing),
    build: |section: &Section, _: &TrunkContext<'_>| section.read::<Nothing>().map(|_| Box::new(Counting) as _),
} }
panchroma_core::reexport::inventory::submit! { Descriptor::<dyn Head> {
    name: "toy_know", summary: "a toy head", origin: "generate", example: "rule = \"count\"\n",
    schema: || schemars::schema_for!(KnowConfig),
    build: |section: &Section, context: &HeadContext<'_>| {
        let masking = Masking::read(&Section::from_toml("masking", "")?, context.tokens, context.modalities)?;
        let patches = context.tokens.iter().filter(|(_, spec)| matches!(spec.kind, TokenKind::Patches { .. }));
        let patches = patches.map(|(name, _)| name.clone()).collect();
        Ok(Box::new(Know { config: section.read()?, masking, patches }))
    },
} }
panchroma_core::reexport::inventory::submit! { Descriptor::<dyn Probe> {
    name: "toy_line", summary: "a toy probe", origin: "generate", example: "",
    schema: || schemars::schema_for!(Nothing),
    build: |section: &Section, _: &ProbeContext<'_>| section.read::<Nothing>().map(|_| Box::new(Line) as _),
} }

/// Objects with `x` spread evenly and `z` normal around it; every tenth lacks its `x`.
fn data(folder: &Path, count: usize) {
    let mut random = random::stream(7, "data", &[]);
    let x: Vec<f64> = (0..count).map(|_| 12.0 + 40.0 * random.random::<f64>()).collect();
    let z: Float64Array = x.iter().map(|x| Some(x + SIGMA * random.sample::<f64, _>(StandardNormal))).collect();
    let x: Float64Array = x.iter().enumerate().map(|(i, x)| (i % 10 != 9).then_some(*x)).collect();
    let ids = StringArray::from_iter_values((0..count).map(|i| format!("o{i}")));
    let columns: Vec<(&str, ArrayRef)> = vec![("object_id", Arc::new(ids)), ("x", Arc::new(x)), ("z", Arc::new(z))];
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).expect("columns");
    let file = std::fs::File::create(folder.join("part.parquet")).expect("a file");
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
}

struct World {
    experiment: Experiment,
    catalogue: Catalogue,
    model: Model,
    _folder: tempfile::TempDir,
}

fn config(folder: &Path, rule: &str, more: &str) -> String {
    format!(
        r#"
[run]
name = "toy"
output = {output:?}
[data]
path = {data:?}
split = {{ train = 0.5, validation = 0.0, test = 0.5 }}
[modality.a]
kind = "toy_number"
column = "x"
tokenizer = {{ kind = "toy_whole", name = "x" }}
[modality.z]
kind = "toy_number"
column = "z"
tokenizer = {{ kind = "toy_whole", name = "z" }}
[modality.series]
kind = "toy_number"
column = "z"
tokenizer = {{ kind = "toy_whole", long = true }}
[modality.smooth]
kind = "toy_number"
column = "z"
tokenizer = {{ kind = "toy_whole", patches = true }}
[trunk]
kind = "toy_counting"
[head.know]
kind = "toy_know"
{rule}
[train]
batch = 16
max_steps = 1
[evaluate]
resamples = 50
{more}
"#,
        output = folder.join("run"),
        data = folder.join("part.parquet"),
    )
}

fn world(count: usize, rule: &str, more: &str) -> Result<World> {
    let folder = tempfile::tempdir().expect("a folder");
    data(folder.path(), count);
    let registry = Registry::linked()?;
    let experiment = Experiment::read(Document::parse("toy.toml", &config(folder.path(), rule, more))?, &registry)?;
    let mut model = Model::new(&experiment, &registry, &Device::Cpu)?;
    let catalogue = Catalogue::open(&experiment.data, &model.columns(&[]))?;
    let train = catalogue.split(Split::Train)?;
    model.fit(|| train.chunks(1024).map(|chunk| catalogue.read(chunk)))?;
    Ok(World { experiment, catalogue, model, _folder: folder })
}

impl World {
    fn batch(&self, rows: &[u32]) -> Result<Batch> {
        self.model.prepare(self.catalogue.read(rows)?, Mode::Evaluate, 0)
    }
}

fn request(targets: &[&str], schedule: Schedule) -> Request {
    Request {
        given: vec!["a".into()],
        targets: targets.iter().map(|t| (*t).to_owned()).collect(),
        schedule,
        sampling: Sampling::default(),
        guidance: 1.0,
        samples: 1,
        seed: 5,
    }
}

/// What was drawn of `series` by row, less the numbers of the tokens: how many tokens were given when each was drawn.
fn seen(generated: &Generated) -> Result<Vec<Vec<u32>>> {
    let rows = codes(&generated.tokens["series"])?;
    Ok(rows.into_iter().map(|row| row.iter().zip(0..).map(|(code, t)| code - t).collect()).collect())
}

#[test]
fn later_steps_are_given_what_earlier_ones_drew() -> Result<()> {
    let world = world(30, "rule = \"count\"", "")?;
    let batch = world.batch(&(0..30).collect::<Vec<_>>())?;
    let draw = |schedule| request(&["series"], schedule).draw(&world.model, &batch);
    let one = draw(Schedule::OneStep)?;
    // Every tenth object lacks what is given.
    assert_eq!(one.objects.len(), 27);
    assert!(!one.objects.contains(&9));
    assert!(seen(&one)?.iter().all(|row| *row == [1, 1, 1, 1, 1]));
    assert!(seen(&draw(Schedule::Autoregressive)?)?.iter().all(|row| *row == [1, 2, 3, 4, 5]));
    // Three steps of 2, 2 and 1 tokens, in an order that differs by object.
    let roar = seen(&draw(Schedule::Roar { steps: 3 })?)?;
    for row in &roar {
        let mut sorted = row.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [1, 1, 3, 3, 5]);
    }
    assert!(roar.iter().any(|row| *row != roar[0]));
    // Left after each step: 5 cos(π/6 k) = 4.3, 2.5, 0.
    for row in seen(&draw(Schedule::MaskGit { steps: 3 })?)? {
        let mut sorted = row;
        sorted.sort_unstable();
        assert_eq!(sorted, [1, 2, 2, 4, 4]);
    }
    Ok(())
}

#[test]
fn targets_are_given_those_before_them() -> Result<()> {
    let world = world(10, "rule = \"count\"", "")?;
    let batch = world.batch(&[0, 1])?;
    let generated = request(&["series", "smooth", "z"], Schedule::OneStep).draw(&world.model, &batch)?;
    assert_eq!(codes(&generated.tokens["z"])?, [[7], [7]], "one of `a`, five of `series` and one of `smooth`");
    let TokenValues::Patches(smooth) = &generated.tokens["smooth"].values else { panic!("values") };
    assert_eq!(smooth.flatten_all()?.to_vec1::<f32>()?, [6.0, 6.0]);
    Ok(())
}

#[test]
fn what_is_drawn_depends_on_object_sample_and_seed_alone() -> Result<()> {
    let world = world(30, "rule = \"tilt\"", "")?;
    let drawn = |rows: &[u32], samples, seed, schedule| -> Result<Vec<Vec<u32>>> {
        let request = Request { samples, seed, ..request(&["series", "z"], schedule) };
        let generated = request.draw(&world.model, &world.batch(rows)?)?;
        let (series, z) = (codes(&generated.tokens["series"])?, codes(&generated.tokens["z"])?);
        Ok(series.into_iter().zip(z).map(|(series, z)| [series, z].concat()).collect())
    };
    for schedule in [Schedule::OneStep, Schedule::Roar { steps: 2 }, Schedule::MaskGit { steps: 2 }] {
        let all = drawn(&[0, 1, 2, 3], 3, 5, schedule)?;
        assert_eq!(all.len(), 12);
        let fewer = drawn(&[3, 1], 2, 5, schedule)?;
        assert_eq!(fewer, [all[9].clone(), all[10].clone(), all[3].clone(), all[4].clone()]);
        assert_ne!(all, drawn(&[0, 1, 2, 3], 3, 6, schedule)?);
        assert!(all.iter().any(|row| *row != all[0]), "samples differ");
    }
    Ok(())
}

#[test]
fn guidance_exaggerates_what_is_due_to_the_given() -> Result<()> {
    let world = world(30, "rule = \"tilt\"", "")?;
    let batch = world.batch(&(0..9).collect::<Vec<_>>())?;
    for guidance in [0.0, 1.0, 3.0] {
        let request = Request { guidance, samples: 3000, ..request(&["z"], Schedule::OneStep) };
        let mut shares = [0.0; CODES];
        let drawn = codes(&request.draw(&world.model, &batch)?.tokens["z"])?;
        for row in &drawn {
            shares[row[0] as usize] += 1.0 / drawn.len() as f64;
        }
        // With one token given logits are those of the tilt, with none zero; the others are impossible.
        let weights = TILT.map(|tilt| (f64::from(tilt) * guidance).exp());
        for (share, weight) in shares.iter().zip(weights) {
            let expected = weight / weights.iter().sum::<f64>();
            // Four standard deviations of 27,000 draws.
            assert!((share - expected).abs() < 0.013, "{guidance}: {share} {expected}");
        }
    }
    Ok(())
}

#[test]
fn what_can_not_be_is_refused_with_what_would_be_accepted() -> Result<()> {
    let world = world(10, "rule = \"count\"\nonly = \"z\"", "")?;
    let plain = request(&["z"], Schedule::OneStep);
    let steps = Schedule::Roar { steps: 2 };
    let with = |change: &dyn Fn(&mut Request)| {
        let mut request = plain.clone();
        change(&mut request);
        request.check(&world.model).expect_err("refused")
    };
    for (error, message, hint, code) in [
        (with(&|r| r.given.clear()), "no modality is given", "a, z, series, smooth", 2),
        (with(&|r| r.targets.clear()), "no modality is asked for", "a, z, series, smooth", 2),
        (with(&|r| r.given = vec!["serie".into()]), "`serie`", "did you mean `series`?", 2),
        (with(&|r| r.targets = vec!["a".into()]), "`a` is named twice", "", 2),
        (with(&|r| (r.targets, r.schedule) = (vec!["smooth".into()], steps)), "`roar` needs codes", "`one_step`", 2),
        (with(&|r| r.schedule = Schedule::MaskGit { steps: 0 }), "`steps` must be at least 1", "", 2),
        (with(&|r| r.guidance = f64::NAN), "`guidance` must be 0 or more", "", 2),
        (with(&|r| r.samples = 0), "`samples` must be at least 1", "", 2),
    ] {
        assert!(error.to_string().contains(message), "{error}");
        assert!(error.hint().unwrap_or_default().contains(hint), "{error}: {:?}", error.hint());
        assert_eq!(error.exit_code(), code, "{error}");
    }
    let error = request(&["series"], Schedule::OneStep).draw(&world.model, &world.batch(&[0])?).expect_err("refused");
    assert!(error.to_string().contains("no head of the run predicts tokens of `series`"), "{error}");
    Ok(())
}

#[test]
fn logits_of_a_scalar_are_those_of_the_head_and_truths_those_of_the_rows() -> Result<()> {
    let world = world(30, "rule = \"normal\"", "")?;
    let batch = world.batch(&[0, 1, 2])?;
    let (logits, width) = scalar_logits(&world.model, &batch, &[2, 0], &["a".into()], ("z", 0))?;
    assert_eq!((width, logits.len()), (CODES, 2 * CODES));
    let x = batch.rows.numbers("x")?;
    for (row, own) in [2, 0].into_iter().zip(logits.chunks(CODES)) {
        let off = 20.5 - x[row].expect("known");
        assert!((f64::from(own[20]) + 0.5 * (off / SIGMA).powi(2)).abs() < 1e-4);
    }
    let z = batch.rows.numbers("z")?;
    let bins = world.model.bins("z").remove(0);
    for (known, z) in scalar_truth(&batch, ("z", 0), &bins)?.into_iter().zip(z) {
        let z = z.expect("known");
        assert_eq!(known, Some((z as usize, z)));
    }
    Ok(())
}

fn measured(more: &str) -> Result<Evaluation> {
    let World { experiment, catalogue, model, _folder } = world(8000, "rule = \"normal\"", more)?;
    evaluate(EvaluateContext {
        model: &model,
        untrained: None,
        held_out: Split::Test,
        catalogue: &catalogue,
        config: &experiment.evaluate,
        probes: &experiment.probes,
        predictions: &experiment.predictions,
        seed: 1,
        progress: &mut |done, total| assert!(done <= total),
    })
}

/// `x` is even over 40 and `z` normal around it, and so is the toy's posterior.
#[test]
fn a_right_posterior_is_calibrated_and_gains_what_it_knows() -> Result<()> {
    let evaluation = measured("[predict.z]\ntarget = \"z\"\ngiven = [[\"a\"]]\nbaseline = { kind = \"toy_line\" }\n")?;
    assert!(evaluation.results.notes.is_empty(), "{:?}", evaluation.results.notes);
    let found = &evaluation.results.predictions[0];
    // A tenth lacks `x`.
    assert!((3400..3800).contains(&found.held_out), "{}", found.held_out);
    // Entropy of the sum of both, by numbers: between that of 40 even and of a wider normal.
    let (even, normal) = (40f64.ln(), 0.5 * (std::f64::consts::TAU * std::f64::consts::E).ln() + SIGMA.ln());
    assert!((found.log_likelihood.value + normal).abs() < 0.06, "{:?}", found.log_likelihood);
    assert!((even - normal..even - normal + 0.2).contains(&found.gain.value), "{:?}", found.gain);
    assert!((found.gain.value - (found.log_likelihood.value - found.marginal)).abs() < 1e-9);
    assert!((found.coverage68.value - 0.6827).abs() < 0.035, "{:?}", found.coverage68);
    assert!((found.coverage95.value - 0.95).abs() < 0.02, "{:?}", found.coverage95);
    assert!((found.rmse.value - SIGMA).abs() < 0.15, "{:?}", found.rmse);
    let expected = 1.0 - SIGMA.powi(2) / (SIGMA.powi(2) + 1600.0 / 12.0);
    assert!((found.r2.value - expected).abs() < 0.01, "{:?}", found.r2);
    assert!(found.gain.low < found.gain.value && found.gain.value < found.gain.high);
    // The line knows as much, but for the width of the codes that it reads and what it is mixed with.
    let line = found.baseline.as_ref().expect("asked for");
    assert!((line.r2.value - expected).abs() < 0.01 && (line.advantage.value).abs() < 0.08, "{line:?}");
    assert!((line.gain.value + line.advantage.value - found.gain.value).abs() < 1e-9);
    let drawn = &evaluation.details.predictions[0];
    let tenth = drawn.below.iter().filter(|share| **share < 0.1).count() as f64 / drawn.below.len() as f64;
    assert!((tenth - 0.1).abs() < 0.02, "{tenth}");
    assert_eq!(drawn.examples.len(), 4);
    Ok(())
}

#[test]
fn predictions_are_given_each_other_modality_by_default_and_transformed_if_asked() -> Result<()> {
    let evaluation = measured("[predict.z]\ntarget = \"z\"\ntransform = \"log10\"\n")?;
    let given: Vec<Vec<String>> = evaluation.results.predictions.iter().map(|p| p.given.clone()).collect();
    assert_eq!(given.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1, 3]);
    let found = &evaluation.results.predictions[0];
    assert_eq!(found.quantity, "log10 z");
    assert!(found.r2.value > 0.8 && found.rmse.value < 0.2 && found.baseline.is_none(), "{found:?}");
    Ok(())
}

#[test]
fn wrong_predictions_point_at_their_keys() {
    for (toml, message) in [
        ("target = \"zz\"", "no modality is called `zz`"),
        ("target = \"z\"\ngiven = [[\"b\"]]", "no modality is called `b`"),
        ("target = \"z\"\ngiven = [[]]", "at least one"),
        ("target = \"z\"\ngiven = [[\"z\"]]", "must not give `z`"),
        ("target = \"smooth\"", "tokens are codes"),
        ("target = \"z\"\nbaseline = { kind = \"toy_lin\" }", "toy_lin"),
        ("target = \"z\"\ngivn = []", "givn"),
    ] {
        let error = world(10, "rule = \"count\"", &format!("[predict.z]\n{toml}\n")).err().expect("refused");
        assert!(error.to_string().contains(message), "{toml}: {error}");
        assert_eq!(error.exit_code(), 2);
        assert!(error.place().is_some(), "{toml}");
    }
}
