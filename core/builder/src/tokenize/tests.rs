//! Toy codecs, one that is trained and one with coordinates, and what comes of their codes.

use super::*;
use crate::describe::{Checks, Table, validate};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt8Type, UInt16Type};
use arrow_array::{Array as _, ArrayRef, Float32Array, Float64Array, Int64Array, ListArray, StringArray};
use arrow_schema::{DataType, Field};
use panchroma_core::config::Document;
use panchroma_core::reexport::candle_core::{D, DType, Device, Tensor};
use panchroma_core::reexport::{inventory, schemars, serde_json};
use panchroma_core::train::{Event, Observer, TrainOptions, load_run, train};
use panchroma_core::{
    Array, ArrayField, Arrays, ArraysSpec, Batch, Coordinate, Decay, Descriptor, Encoding, Experiment, Features,
    Forward, Head, HeadContext, HeadOutput, Init, Modality, ModalityContext, Pooled, PrepareContext, Registry, Rows,
    Section, TokenSet, TokenSpec, TokenValues, Tokenizer, TokenizerContext, Tokens, Trunk, TrunkContext, ValueType,
    Values, View,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// Values of an object.
const LENGTH: usize = 4;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CodecConfig {
    /// Number of codes.
    levels: usize,
    /// Whether codes are at times and not numbered.
    #[serde(default)]
    times: bool,
}

/// Lists of up to four numbers; NaN is not measured.
struct Numbers {
    scale: f64,
}

impl Modality for Numbers {
    fn columns(&self) -> Vec<Column> {
        vec![Column::number("toy.flux").list()]
    }
    fn spec(&self) -> ArraysSpec {
        let field = ArrayField { name: "flux", axes: &["L"], unit: String::new(), values: ValueType::F32 };
        ArraysSpec { fields: vec![field], valid_axes: &["L"], sizes: vec![("L", LENGTH)], labels: Vec::new() }
    }
    fn fit(&mut self, rows: &mut dyn Iterator<Item = Result<Rows>>) -> Result<()> {
        for rows in rows {
            let values = rows?.ragged_f64("toy.flux")?.values;
            self.scale = values.iter().filter(|v| v.is_finite()).fold(self.scale, |most, v| most.max(*v));
        }
        Ok(())
    }
    fn fitted(&self) -> serde_json::Value {
        self.scale.into()
    }
    fn restore(&mut self, fitted: &serde_json::Value) -> Result<()> {
        self.scale = fitted.as_f64().unwrap_or(1.0);
        Ok(())
    }
    fn prepare(&self, rows: &Rows, _: &PrepareContext<'_>) -> Result<Arrays> {
        let lists = rows.ragged_f64("toy.flux")?;
        let at = |row: usize, place: usize| lists.row(row).get(place).copied().unwrap_or(f64::NAN);
        let all: Vec<f64> = (0..rows.len() * LENGTH).map(|i| at(i / LENGTH, i % LENGTH)).collect();
        let shape = [rows.len(), LENGTH];
        let valid = all.iter().map(|v| u8::from(v.is_finite())).collect();
        let flux = all.iter().map(|v| if v.is_finite() { (v / self.scale) as f32 } else { 0.0 }).collect();
        let fields = BTreeMap::from([("flux".to_owned(), Array::f32(&shape, flux)?)]);
        Ok(Arrays { present: lists.present, valid: Array::new(&shape, Values::U8(valid))?, fields })
    }
}

/// Rounds values times a learned gain.
struct Rounded {
    config: CodecConfig,
    gain: Tensor,
}

impl Tokenizer for Rounded {
    fn spec(&self) -> TokenSpec {
        let plain = TokenSpec::codes(self.config.levels, LENGTH);
        if !self.config.times {
            return plain;
        }
        let encoding = Encoding::Fourier { shortest: 1.0, longest: 100.0, frequencies: 3 };
        let time = Coordinate { name: "time".into(), unit: "day".into(), encoding, metadata: false };
        TokenSpec { coordinates: vec![time], ..plain }
    }
    fn tokenize(&self, arrays: &Arrays, _: &Forward) -> Result<Tokens> {
        let (_, flux) = arrays.f32("flux")?;
        let (_, valid) = arrays.valid()?;
        let gain = self.gain.to_vec1::<f32>()?[0];
        let most = (self.config.levels - 1) as f32;
        let codes: Vec<u32> = flux.iter().map(|v| (v * gain * most).round().clamp(0.0, most) as u32).collect();
        let shape = (arrays.len(), LENGTH);
        let tokens = Tokens::codes(Tensor::from_vec(codes, shape, &Device::Cpu)?, arrays.present.clone())?;
        let coordinates = if self.config.times { tokens.coordinates.affine(7.5, 0.25)? } else { tokens.coordinates };
        Ok(Tokens { valid: Tensor::from_slice(valid, shape, &Device::Cpu)?, coordinates, ..tokens })
    }
    fn learn(&self, arrays: &Arrays, _: &Forward) -> Result<HeadOutput> {
        let (shape, flux) = arrays.f32("flux")?;
        let flux = Tensor::from_slice(flux, shape, &Device::Cpu)?;
        let loss = (flux.broadcast_mul(&self.gain)? - 0.5)?.sqr()?.mean_all()?;
        Ok(HeadOutput { loss: Some(loss), ..HeadOutput::default() })
    }
    fn learns(&self) -> bool {
        true
    }
}

/// The mean over all tokens.
struct MeanTrunk;

impl Trunk for MeanTrunk {
    fn width(&self) -> usize {
        8
    }
    fn forward(&self, tokens: &TokenSet, view: View, _: &Forward) -> Result<Features> {
        let mut modality = BTreeMap::new();
        for segment in &tokens.segments {
            let valid = segment.valid.to_dtype(DType::F32)?.unsqueeze(D::Minus1)?;
            let mean = segment.embedded.broadcast_mul(&valid)?.sum(1)?;
            modality.insert(segment.modality.clone(), Pooled::scattered(segment, &mean, tokens.batch)?);
        }
        let joint = Pooled::mean(modality.values(), tokens.batch)?.expect("no batch is empty");
        Ok(Features { view, modality, joint, tokens: tokens.clone(), targets: Vec::new() })
    }
    fn flops(&self, _: usize, _: &[usize], _: View) -> f64 {
        0.0
    }
}

/// Predicts the column `energy`.
struct Energy(Tensor);

impl Head for Energy {
    fn columns(&self) -> Vec<Column> {
        vec![Column::number("energy")]
    }
    fn view(&self) -> View {
        View::Joint
    }
    fn flops(&self, _: usize) -> f64 {
        0.0
    }
    fn forward(&self, features: &Features, batch: &Batch, _: &Forward) -> Result<HeadOutput> {
        let truth: Vec<f32> = batch.rows.numbers("energy")?.into_iter().map(|v| v.unwrap_or(0.0) as f32).collect();
        let guess = features.joint.vectors.matmul(&self.0)?.squeeze(1)?;
        let loss = (guess - Tensor::new(truth, &Device::Cpu)?)?.sqr()?.mean_all()?;
        Ok(HeadOutput { loss: Some(loss), ..HeadOutput::default() })
    }
}

inventory::submit! { Descriptor::<dyn Modality> {
    name: "numbers", summary: "numbers", origin: "tests", example: "",
    schema: || schemars::schema_for!(Nothing),
    build: |s: &Section, _: &ModalityContext<'_>| s.read::<Nothing>().map(|_| Box::new(Numbers { scale: 1.0 }) as _),
} }
inventory::submit! { Descriptor::<dyn Tokenizer> {
    name: "rounded", summary: "a codec", origin: "tests", example: "levels = 8",
    schema: || schemars::schema_for!(CodecConfig),
    build: |section: &Section, context: &TokenizerContext<'_>| {
        let gain = context.parameters.get("gain", &[1], Init::Ones, Decay::No)?;
        Ok(Box::new(Rounded { config: section.read()?, gain }))
    },
} }
inventory::submit! { Descriptor::<dyn Trunk> {
    name: "toy_mean", summary: "a trunk", origin: "tests", example: "",
    schema: || schemars::schema_for!(Nothing),
    build: |s: &Section, _: &TrunkContext<'_>| s.read::<Nothing>().map(|_| Box::new(MeanTrunk) as _),
} }
inventory::submit! { Descriptor::<dyn Head> {
    name: "toy_energy", summary: "a head", origin: "tests", example: "",
    schema: || schemars::schema_for!(Nothing),
    build: |s: &Section, context: &HeadContext<'_>| {
        let _: Nothing = s.read()?;
        Ok(Box::new(Energy(context.parameters.get("weight", &[context.width, 1], Init::fan_in(8), Decay::Yes)?)))
    },
} }

const OBJECTS: usize = 300;

fn flux(i: usize) -> Option<Vec<Option<f32>>> {
    let value = |place: usize| (i + place * i) as f32 / 1000.0;
    match i % 5 {
        0 => None,
        // Present without one value.
        1 if i.is_multiple_of(3) => Some(vec![]),
        2 => Some(vec![None, Some(value(1)), None]),
        _ => Some((0..LENGTH).map(|place| Some(value(place))).collect()),
    }
}

/// A catalogue in a few tiles, or, without places, a folder of files.
fn catalogue(out: &Path, places: bool) {
    let list = ListArray::from_iter_primitive::<Float32Type, _, _>((0..OBJECTS).map(flux));
    let list = arrow_cast::cast(&list, &crate::files::nest::list_of(DataType::Float32)).expect("lists");
    let inner = Field::new("flux", list.data_type().clone(), true);
    let toy = arrow_array::StructArray::from(vec![(Arc::new(inner), list)]);
    let names: StringArray = (0..OBJECTS).map(|i| Some(format!("object {i}"))).collect();
    let mut columns: Vec<(&str, ArrayRef)> = vec![("object_id", Arc::new(names))];
    if places {
        columns.push(("ra", Arc::new((0..OBJECTS).map(|i| Some(i as f64 * 1.1)).collect::<Float64Array>())));
        columns.push(("dec", Arc::new((0..OBJECTS).map(|i| Some(40.0 - i as f64 / 4.0)).collect::<Float64Array>())));
    }
    columns.push(("energy", Arc::new((0..OBJECTS).map(|i| Some(i as f32 / 100.0)).collect::<Float32Array>())));
    columns.push(("count", Arc::new((0..OBJECTS).map(|i| (i % 7 != 0).then_some(i as i64)).collect::<Int64Array>())));
    columns.push(("toy", Arc::new(toy)));
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).expect("one");
    let scratch = Scratch::open(out).expect("a folder");
    let mut pieces = Pieces::new("object_id", vec![]);
    pieces.push(Piece::write(&scratch.path().join("piece"), &batch, "object_id").expect("a piece"));
    let units = BTreeMap::from([("toy.flux".to_owned(), "Jy".to_owned()), ("energy".to_owned(), "erg".to_owned())]);
    let layout = Layout { name: "toy".into(), rows_per_tile: 40, units, ..Layout::default() };
    assemble(out, &scratch, &pieces, &layout, &mut |_, _| true).expect("assembled");
    scratch.remove().expect("removed");
}

/// Keeps the losses.
#[derive(Default)]
struct Losses(Vec<u64>);

impl Observer for Losses {
    fn on(&mut self, event: Event<'_>) {
        if let Event::Step { loss, .. } = event {
            self.0.push(loss.to_bits());
        }
    }
}

struct Place {
    folder: tempfile::TempDir,
    registry: Registry,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), registry: Registry::linked().expect("plugins") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn experiment(&self, run: &str, data: &str, modality: &str, more: &str) -> Result<Experiment> {
        let text = format!(
            "[run]\nname = \"{run}\"\noutput = {:?}\n[data]\npath = {:?}\n[modality.toy]\n{modality}\n{more}\
             [train]\nbatch = 16\nmax_steps = 12\nlearning_rate = 0.01\n",
            self.path(run),
            self.path(data)
        );
        Experiment::read(Document::parse("toy.toml", &text)?, &self.registry)
    }

    fn train(&self, experiment: &Experiment) -> Result<Vec<u64>> {
        let options = TrainOptions {
            resume: false,
            overwrite: false,
            device: Device::Cpu,
            max_steps: None,
            max_time: None,
            stop: Arc::default(),
        };
        let mut losses = Losses::default();
        train(experiment, &self.registry, &options, &mut losses)?;
        Ok(losses.0)
    }

    /// Trains a codec.
    fn codec(&self, run: &str, tokenizer: &str) {
        let modality = format!("kind = \"numbers\"\ntokenizer = {{ kind = \"rounded\", {tokenizer} }}");
        let experiment = self.experiment(run, "data", &modality, "").expect("a config");
        self.train(&experiment).expect("trained");
    }

    fn model(&self, run: &str) -> Arc<Model> {
        Arc::new(load_run(&self.path(run), &[], &self.registry, &Device::Cpu).expect("a run").1)
    }

    fn data(&self, name: &str) -> DataConfig {
        let modality = "kind = \"numbers\"\ntokenizer = { kind = \"rounded\", levels = 8 }";
        self.experiment("none", name, modality, "").expect("a config").data
    }

    fn tokenize(&self, run: &str, out: &str, keep: Keep) -> Result<Report> {
        let stop = AtomicBool::new(false);
        tokenize(&self.model(run), &self.data("data"), &settings(keep), &self.path(out), &stop, &mut |_| {})
    }

    /// All rows of a catalogue.
    fn rows(&self, name: &str) -> RecordBatch {
        let table = Table::open(&self.path(name)).expect("a catalogue");
        let batches: Vec<RecordBatch> = table
            .files
            .iter()
            .flat_map(|file| Table::batches(file, None).expect("a file"))
            .map(|batch| batch.expect("rows").1)
            .collect();
        arrow_select::concat::concat_batches(&batches[0].schema(), &batches).expect("of one schema")
    }
}

fn settings(keep: Keep) -> Settings {
    Settings { modalities: vec!["toy".into()], keep, batch: 7, codec: "runs/codec".into() }
}

const TRUNK: &str = "[trunk]\nkind = \"toy_mean\"\n[head.energy]\nkind = \"toy_energy\"\n";

fn names(batch: &RecordBatch) -> Vec<String> {
    batch.column_by_name("object_id").expect("names").as_string::<i32>().iter().flatten().map(str::to_owned).collect()
}

#[test]
fn a_catalogue_of_codes_has_the_tiles_names_places_and_single_values_of_the_old_one() {
    let place = Place::new();
    catalogue(&place.path("data"), true);
    place.codec("codec", "levels = 300");
    let report = place.tokenize("codec", "out", Keep::Single(vec![])).expect("codes");
    assert_eq!((report.objects, report.resumed), (300, 0));
    assert_eq!((report.codes[0].column.as_str(), report.codes[0].values), ("toy_codes", "u16"));
    assert_eq!(report.codes[0].objects, 240);
    assert!(!crate::hats::partial(&place.path("out")).exists());
    let files = |name: &str| {
        let table = Table::open(&place.path(name)).expect("a catalogue");
        let files = table.files.iter().map(|f| f.strip_prefix(&table.root).expect("below").to_path_buf());
        files.collect::<Vec<_>>()
    };
    assert_eq!(files("out"), files("data"));
    assert!(files("out").len() > 3, "{:?}", files("out"));
    let (old, new) = (place.rows("data"), place.rows("out"));
    let columns: Vec<String> = new.schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(columns, ["object_id", "ra", "dec", "energy", "count", "toy_codes", "_healpix_29"]);
    for column in ["object_id", "ra", "dec", "energy", "count", "_healpix_29"] {
        assert_eq!(old.column_by_name(column), new.column_by_name(column), "{column}");
    }
    // Each list against the codec itself.
    let model = place.model("codec");
    let rows = Catalogue::open(&place.data("data"), &model.measured_columns("toy")).expect("open");
    let tokens = model.tokenize("toy", &rows.read(&(0..300).collect::<Vec<_>>()).expect("rows")).expect("codes");
    let TokenValues::Codes(codes) = &tokens.values else { panic!("codes") };
    let (codes, valid) = (codes.to_vec2::<u32>().expect("u32"), tokens.valid.to_vec2::<u8>().expect("u8"));
    let lists = new.column_by_name("toy_codes").expect("codes").as_list::<i32>();
    let mut different = std::collections::BTreeSet::new();
    for row in 0..300 {
        let number: usize = rows.ids()[row].trim_start_matches("object ").parse().expect("a number");
        assert_eq!(lists.is_null(row), flux(number).is_none(), "{number}");
        if lists.is_null(row) {
            continue;
        }
        let list = lists.value(row);
        let list = list.as_primitive::<UInt16Type>();
        let expected: Vec<Option<u16>> =
            (0..LENGTH).map(|i| (valid[row][i] == 1).then_some(codes[row][i] as u16)).collect();
        let length = expected.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        assert_eq!(list.iter().collect::<Vec<_>>(), expected[..length], "{number}");
        different.extend(list.iter().flatten());
    }
    assert!(different.len() > 20, "{different:?}");
    let notes = std::fs::read_to_string(place.path("out/panchroma.toml")).expect("notes");
    assert!(notes.contains("[codes.toy_codes]") && notes.contains(&report.codes[0].note.sha256), "{notes}");
    assert!(notes.contains("energy = \"erg\"") && !notes.contains("\"toy.flux\" = \"Jy\""), "{notes}");
    let found = validate(&place.path("out"), &Checks { id: "object_id".into() }, &mut |_, _| {}).expect("checked");
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn columns_are_kept_as_asked_and_a_misspelt_one_gets_the_nearest() {
    let place = Place::new();
    catalogue(&place.path("data"), true);
    place.codec("codec", "levels = 8");
    place.tokenize("codec", "all", Keep::All).expect("codes");
    let (old, new) = (place.rows("data"), place.rows("all"));
    assert_eq!(old.column_by_name("toy"), new.column_by_name("toy"));
    assert_eq!(names(&old), names(&new));
    place.tokenize("codec", "one", Keep::Single(vec!["toy".into()])).expect("codes");
    assert_eq!(old.column_by_name("toy"), place.rows("one").column_by_name("toy"));
    let error = place.tokenize("codec", "none", Keep::Single(vec!["toi".into()])).expect_err("no such column");
    assert!(error.to_string().contains("no column `toi`, which `--keep` reads"), "{error}");
    assert!(error.hint().expect("a hint").contains("toy"));
    assert!(!place.path("none").exists() && !crate::hats::partial(&place.path("none")).exists());
}

#[test]
fn objects_without_places_give_a_folder_in_their_order() {
    let place = Place::new();
    catalogue(&place.path("data"), false);
    place.codec("codec", "levels = 256");
    let report = place.tokenize("codec", "out", Keep::Single(vec![])).expect("codes");
    assert_eq!(report.codes[0].values, "u8");
    let new = place.rows("out");
    assert_eq!(names(&new), names(&place.rows("data")));
    assert!(!place.path("out/hats.properties").exists());
    let lists = new.column_by_name("toy_codes").expect("codes").as_list::<i32>();
    assert!(lists.values().as_primitive_opt::<UInt8Type>().is_some());
}

#[test]
fn an_interrupted_command_goes_on_and_ends_with_the_same_files() {
    let place = Place::new();
    catalogue(&place.path("data"), true);
    place.codec("codec", "levels = 300");
    place.tokenize("codec", "whole", Keep::All).expect("codes");
    let (stop, model, data) = (AtomicBool::new(false), place.model("codec"), place.data("data"));
    let part = |until: u64| {
        stop.store(false, Ordering::Relaxed);
        let mut seen = Vec::new();
        let report = tokenize(&model, &data, &settings(Keep::All), &place.path("out"), &stop, &mut |progress| {
            if let Progress::Tokenizing(done, total) = progress {
                seen.push(done);
                assert_eq!(total, 300);
                stop.store(done >= until, Ordering::Relaxed);
            }
        });
        (report, seen)
    };
    let (first, seen) = part(50);
    assert!(matches!(first, Err(Error::Interrupted)) && seen.last() == Some(&56), "{seen:?}");
    assert!(!place.path("out").exists());
    let (second, seen) = part(140);
    assert!(matches!(second, Err(Error::Interrupted)) && seen[0] == 56, "{seen:?}");
    // A machine that stopped: the last line of the journal is cut short, so that its piece is made again.
    let journal = crate::hats::partial(&place.path("out")).join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).expect("a journal");
    std::fs::write(&journal, &text[..text.len() - 20]).expect("cut");
    // Another codec does not go on with it.
    place.codec("other", "levels = 299");
    let other = place.tokenize("other", "out", Keep::All).expect_err("refused").to_string();
    assert!(other.contains("unfinished command with other data, codecs or columns"), "{other}");
    let (third, seen) = part(u64::MAX);
    assert_eq!((third.expect("done").resumed, seen[0]), (56, 56));
    assert_eq!(place.rows("out"), place.rows("whole"));
    let error = place.tokenize("codec", "out", Keep::All).expect_err("is there");
    assert_eq!((error.exit_code(), error.to_string().contains("exists")), (2, true));
}

#[test]
fn training_from_codes_has_the_losses_of_training_with_the_codec() {
    for tokenizer in ["levels = 300", "levels = 300, times = true"] {
        let place = Place::new();
        catalogue(&place.path("data"), true);
        place.codec("codec", tokenizer);
        place.tokenize("codec", "codes", Keep::Single(vec![])).expect("codes");
        let codec = format!("codec = {:?}", place.path("codec"));
        let live = place.experiment("live", "data", &codec, TRUNK).expect("a config");
        let live = place.train(&live).expect("trained");
        let stored = format!("{codec}\ncodes = \"toy_codes\"");
        let stored = place.experiment("stored", "codes", &stored, TRUNK).expect("a config");
        assert_eq!(place.train(&stored).expect("trained"), live, "{tokenizer}");
        assert!(live.len() == 12 && live[0] != live[11]);
        // The run has the codec, and takes measurements if told so.
        let run = place.path("stored");
        let set = ["modality.toy.codes=\"\"".to_owned(), format!("data.path={:?}", place.path("data"))];
        let (experiment, model, _) = load_run(&run, &set, &place.registry, &Device::Cpu).expect("a run");
        let catalogue = Catalogue::open(&experiment.data, &model.columns(&[])).expect("measurements");
        let batch = model.prepare(catalogue.read(&[3]).expect("a row"), panchroma_core::Mode::Evaluate, 0);
        assert!(batch.expect("prepared").arrays["toy"].fields.contains_key("flux"));
        // And its codec can be run on other objects.
        let again = tokenize(
            &Arc::new(model),
            &experiment.data,
            &settings(Keep::Single(vec![])),
            &place.path("again"),
            &AtomicBool::new(false),
            &mut |_| {},
        );
        assert_eq!(again.expect("codes").codes[0].note.sha256.len(), 64);
        assert_eq!(place.rows("again"), place.rows("codes"));
    }
}

#[test]
fn codes_of_another_codec_or_out_of_the_vocabulary_are_refused() {
    let place = Place::new();
    catalogue(&place.path("data"), true);
    place.codec("codec", "levels = 300");
    place.codec("other", "levels = 200");
    place.tokenize("codec", "codes", Keep::Single(vec![])).expect("codes");
    let read = |codec: &str, data: &str| {
        let modality = format!("codec = {:?}\ncodes = \"toy_codes\"", place.path(codec));
        let experiment = place.experiment("run", data, &modality, TRUNK).expect("a config");
        place.train(&experiment).expect_err("refused")
    };
    let error = read("other", "codes");
    let text = error.to_string();
    assert!(text.contains("column `toy_codes`: the codec in `runs/codec` ("), "{text}");
    assert!(text.contains("[modality.toy] reads it with the codec in `") && text.contains("other` ("), "{text}");
    assert_eq!(error.exit_code(), 3);
    // A catalogue that says nothing of its codes is read, but every code is looked at.
    std::fs::remove_file(place.path("codes/panchroma.toml")).expect("removed");
    let text = read("other", "codes").to_string();
    assert!(text.contains("column `toy_codes`: ") && text.contains("is not in the vocabulary of the codec, 0 to 199"));
    assert!(text.contains("object `object ") && text.contains("Npix="), "{text}");
    // Without a codec, codes mean nothing.
    let alone = "kind = \"numbers\"\ntokenizer = { kind = \"rounded\", levels = 8 }\ncodes = \"toy_codes\"";
    let alone = place.experiment("run", "codes", alone, TRUNK).expect("a config");
    let error = place.train(&alone).expect_err("refused").to_string();
    assert!(error.contains("codec = \"RUN\""), "{error}");
}
