//! Wrong data: exit code 3, file and column and who reads it, and no output. Bad values are no errors.

use super::refused;
use crate::support::{ROOT, fails, succeeds};
use arrow_array::types::Float32Type;
use arrow_array::{ArrayRef, Float64Array, ListArray, RecordBatch, StringArray, StructArray};
use insta::assert_snapshot;
use parquet::arrow::ArrowWriter;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

const OBJECTS: usize = 40;

const CONFIG: &str = r#"
[data]
split = { train = 0.7, test = 0.3 }
[modality.host]
kind = "table"
columns = { a = {}, b = {} }
tokenizer = { kind = "columns" }
[modality.spectrum]
kind = "spectrum"
wavelength_min = 4000.0
wavelength_max = 4190.0
samples = 16
tokenizer = { kind = "slices", width = 4 }
[trunk]
kind = "towers"
width = 8
depth = 1
heads = 2
[head.align]
kind = "contrastive"
dimensions = 4
[train]
batch = 8
max_steps = 2
[evaluate]
resamples = 20
[probe.b]
kind = "ridge"
target = "b"
"#;

/// One Parquet file in a folder of its own, and a config for it.
struct Catalogue {
    folder: TempDir,
    columns: Vec<(&'static str, ArrayRef)>,
}

impl Catalogue {
    /// Objects with two numbers and a spectrum each, all of them good.
    fn good() -> Self {
        let spectra: Vec<_> = (0..OBJECTS).map(|i| Some(flux(i, 20))).collect();
        let folder = tempfile::tempdir().expect("a folder");
        let mut this = Self { folder, columns: Vec::new() };
        this.column("object_id", Arc::new(StringArray::from_iter_values((0..OBJECTS).map(|i| format!("object {i}")))));
        this.numbers("a", |i| Some(i as f64));
        this.numbers("b", |i| Some((i as f64).sin()));
        this.spectrum(spectra);
        this
    }

    /// Adds or replaces a column.
    fn column(&mut self, name: &'static str, array: ArrayRef) {
        self.columns.retain(|(other, _)| *other != name);
        self.columns.push((name, array));
    }

    fn numbers(&mut self, name: &'static str, value: impl Fn(usize) -> Option<f64>) {
        self.column(name, Arc::new((0..OBJECTS).map(value).collect::<Float64Array>()));
    }

    fn texts(&mut self, name: &'static str, value: impl Fn(usize) -> Option<&'static str>) {
        self.column(name, Arc::new((0..OBJECTS).map(value).collect::<StringArray>()));
    }

    fn spectrum(&mut self, flux: Vec<Option<Vec<Option<f32>>>>) {
        let wavelength = |flux: &Vec<_>| (0..flux.len()).map(|i| Some(4000.0 + 10.0 * i as f32)).collect::<Vec<_>>();
        let wavelengths = flux.iter().map(|flux| flux.as_ref().map(wavelength));
        let wavelength: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(wavelengths));
        let flux: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(flux));
        let fields = StructArray::try_from(vec![("flux", flux), ("lambda", wavelength)]).expect("a struct");
        self.column("spectrum", Arc::new(fields));
    }

    /// Writes the file; gives the config.
    fn write(&self, rows: usize) -> PathBuf {
        let batch = RecordBatch::try_from_iter(self.columns.clone()).expect("a batch").slice(0, rows);
        let data = self.folder.path().join("data");
        fs::create_dir_all(&data).expect("a folder");
        let file = File::create(data.join("x.parquet")).expect("a file");
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
        writer.write(&batch).expect("written");
        writer.close().expect("closed");
        let config = self.folder.path().join("my.toml");
        let text = CONFIG.replace("[data]", &format!("[run]\nname = \"x\"\n[data]\npath = {data:?}"));
        fs::write(&config, text).expect("written");
        config
    }

    /// Training on it must fail with `code`.
    fn refused(&self, code: i32, settings: &[&str]) -> String {
        refused(code, &self.write(OBJECTS), settings, &[(self.folder.path(), "FOLDER")])
    }

    /// Training on it must work, and give finite numbers.
    fn trains(&self) {
        let config = self.write(OBJECTS).display().to_string();
        let run = self.folder.path().join("run");
        let output = format!("run.output={:?}", run.display().to_string());
        succeeds(&["train", &config, "--set", &output]);
        let log = fs::read_to_string(run.join("log.jsonl")).expect("a log");
        let losses: Vec<f64> = log
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["loss"].as_f64())
            .collect();
        assert_eq!(losses.len(), 2, "{log}");
        assert!(losses.iter().all(|loss| loss.is_finite()), "{log}");
    }
}

fn flux(object: usize, samples: usize) -> Vec<Option<f32>> {
    (0..samples).map(|i| Some(1.0 + ((object * 7 + i) as f32).sin())).collect()
}

/// The quick start with `settings`, whose data must be wrong.
fn quickstart(settings: &[&str]) -> String {
    refused(3, Path::new("configs/quickstart.toml"), settings, &[])
}

/// A copy of the bundled supernovae, for damage; gives the folder and its first file.
fn supernovae() -> (TempDir, PathBuf) {
    fn copy(from: &Path, to: &Path, files: &mut Vec<PathBuf>) {
        fs::create_dir_all(to).expect("a folder");
        for entry in fs::read_dir(from).expect("a folder") {
            let path = entry.expect("an entry").path();
            let copied = to.join(path.file_name().expect("a name"));
            if path.is_dir() {
                copy(&path, &copied, files);
            } else {
                fs::copy(&path, &copied).expect("copied");
                files.push(copied);
            }
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = Vec::new();
    copy(&Path::new(ROOT).join("data/supernovae"), &folder.path().join("data"), &mut files);
    let tiles = folder.path().join("data/dataset/Norder=0");
    files.retain(|file| file.extension().is_some_and(|ending| ending == "parquet") && file.starts_with(&tiles));
    let first = files.into_iter().min().expect("a tile");
    (folder, first)
}

fn damaged(folder: &TempDir) -> String {
    let path = format!("data.path={:?}", folder.path().join("data").display().to_string());
    refused(3, Path::new("configs/quickstart.toml"), &[&path], &[(folder.path(), "FOLDER")])
}

#[test]
fn a_missing_folder_offers_the_one_beside_it() {
    assert_snapshot!(quickstart(&["data.path=data/supernova"]), @"
    error: `data/supernova` doesn't exist
    hint: did you mean `data/supernovae`?
    ");
    assert_snapshot!(quickstart(&["data.path=nowhere/else"]), @"
    error: `nowhere/else` doesn't exist
    hint: check the path; it is relative to the folder where the command runs
    ");
}

#[test]
fn a_folder_without_parquet_says_what_is_expected() {
    assert_snapshot!(quickstart(&["data.path=configs"]), @"
    error: no Parquet file below `configs`
    hint: a catalogue is a HATS folder, a folder of `.parquet` files, or one such file; `panchroma data ingest` makes one of FITS, HDF5, CSV and ECSV
    ");
}

#[test]
fn files_without_rows_are_an_error() {
    let catalogue = Catalogue::good();
    assert_snapshot!(refused(3, &catalogue.write(0), &[], &[(catalogue.folder.path(), "FOLDER")]), @"
    error: the Parquet files below `FOLDER/data` hold no object
    hint: the files have columns but no rows: check what wrote them
    ");
}

#[test]
fn a_missing_column_names_the_file_the_reader_and_the_nearest() {
    assert_snapshot!(quickstart(&["modality.spectrum.column=spectra"]), @"
    error: `data/supernovae/dataset/Norder=0/Dir=0/Npix=0.parquet` has no column `spectra.flux`, which [modality.spectrum] reads
    hint: did you mean `lightcurve.flux` or `spectrum.flux`?
    ");
    assert_snapshot!(quickstart(&["modality.host.columns.qqqqqq={}"]), @"
    error: `data/supernovae/dataset/Norder=0/Dir=0/Npix=0.parquet` has no column `qqqqqq`, which [modality.host] reads
    hint: name another column in [modality.host]
    ");
    assert_snapshot!(quickstart(&["evaluate.group_by=catalog"]), @"
    error: `data/supernovae/dataset/Norder=0/Dir=0/Npix=0.parquet` has no column `catalog`, which [evaluate] reads
    hint: did you mean `catalogue`?
    ");
    assert_snapshot!(quickstart(&["probe.redshift.target=redshft"]), @"
    error: `data/supernovae/dataset/Norder=0/Dir=0/Npix=0.parquet` has no column `redshft`, which [probe.redshift] reads
    hint: did you mean `redshift`?
    ");
    assert_snapshot!(quickstart(&["data.id=object"]), @"
    error: `data/supernovae/dataset/Norder=0/Dir=0/Npix=0.parquet` has no column `object`, which [data] reads
    hint: did you mean `object_id`?
    ");
}

#[test]
fn a_column_of_the_wrong_type_says_both_types() {
    assert_snapshot!(quickstart(&["modality.host.columns.type={}"]), @"
    error: column `type` of `data/supernovae/dataset/Norder=0/Dir=0/Npix=0.parquet`, which [modality.host] reads: expected a number, got text
    hint: name another column in [modality.host]
    ");
    assert_snapshot!(quickstart(&["modality.host.columns.spectrum={}"]), @"
    error: column `spectrum` of `data/supernovae/dataset/Norder=0/Dir=0/Npix=0.parquet`, which [modality.host] reads: expected a number, got a struct of `flux`, `ivar`, `lsf_sigma`, `lambda`, `mask`
    hint: name another column in [modality.host]
    ");
    assert_snapshot!(quickstart(&["modality.spectrum.column=references"]), @"
    error: `data/supernovae/dataset/Norder=0/Dir=0/Npix=0.parquet` has no column `references.flux`, which [modality.spectrum] reads
    hint: did you mean `lightcurve.flux`, `spectrum.flux` or `references`?
    ");
    assert_snapshot!(quickstart(&["data.id=ebv"]), @"
    error: column `ebv` of `data/supernovae/dataset/Norder=0/Dir=0/Npix=0.parquet`, which [data] reads: expected text or whole numbers, got f32 numbers
    hint: name another column in [data]
    ");
}

#[test]
fn a_column_that_two_read_as_different_types_is_found_before_training() {
    // `type` is a text as label and a number as target.
    assert_snapshot!(quickstart(&["probe.redshift.target=type"]), @"
    error: column `type` of `data/supernovae/dataset/Norder=0/Dir=0/Npix=0.parquet`, which [probe.redshift] reads: expected a number, got text
    hint: name another column in [probe.redshift]
    ");
    assert_snapshot!(Catalogue::good().refused(3, &["probe.b.positive=[\"x\"]"]), @"
    error: column `b` of `FOLDER/data/x.parquet`, which [probe.b] reads: expected text, got f64 numbers
    hint: name another column in [probe.b]
    ");
}

#[test]
fn an_empty_split_says_its_fraction() {
    assert_snapshot!(quickstart(&["data.split={test = 1.0}"]), @"
    error: the train split has no object: its fraction is 0, of 2771 objects
    hint: raise its fraction in [data.split]
    ");
}

#[test]
fn a_column_without_any_value_is_an_error() {
    let mut catalogue = Catalogue::good();
    catalogue.numbers("a", |i| (i % 2 == 0).then_some(f64::NAN));
    assert_snapshot!(catalogue.refused(3, &[]), @"
    error: column `a` of [modality.host] has no value in the training split
    hint: check the column's name and its values, or leave it out
    ");
    let mut catalogue = Catalogue::good();
    catalogue.spectrum(vec![None; OBJECTS]);
    assert_snapshot!(catalogue.refused(3, &["modality.spectrum.channels=[\"scale\"]"]), @"
    error: column `spectrum.flux` of [modality.spectrum] has no value in the training split
    hint: check the column's name and its values, or leave it out
    ");
}

#[test]
fn objects_need_names_of_their_own() {
    let mut catalogue = Catalogue::good();
    catalogue.texts("object_id", |_| Some("SN 1987A"));
    assert_snapshot!(catalogue.refused(3, &[]), @"
    error: two objects are called `SN 1987A`: both in `FOLDER/data/x.parquet`
    hint: names must be unique; `id` in [data], or `--id`, says in which column they are
    ");
    let mut catalogue = Catalogue::good();
    catalogue.texts("object_id", |_| None);
    assert_snapshot!(catalogue.refused(3, &[]), @"
    error: row 0 of `FOLDER/data/x.parquet` has no `object_id`
    hint: every object needs a name; `id` in [data], or `--id`, says in which column
    ");
    let catalogue = Catalogue::good();
    catalogue.write(OBJECTS);
    let data = catalogue.folder.path().join("data");
    fs::copy(data.join("x.parquet"), data.join("y.parquet")).expect("copied");
    assert_snapshot!(catalogue.refused(3, &[]), @"
    error: two objects are called `object 0`: one in `FOLDER/data/x.parquet`, one in `FOLDER/data/y.parquet`
    hint: is a copy of the catalogue, or a margin of it, in the same folder?
    ");
}

#[test]
fn a_file_that_is_cut_short_is_named() {
    let (folder, file) = supernovae();
    let length = fs::metadata(&file).expect("a file").len();
    OpenOptions::new().write(true).open(&file).expect("a file").set_len(length / 2).expect("cut");
    assert_snapshot!(damaged(&folder), @"
    error: `FOLDER/data/dataset/Norder=0/Dir=0/Npix=0.parquet` can't be read as Parquet
    caused by: Parquet error: Invalid Parquet file. Corrupt footer
    hint: the file may be cut short: copy it again, or take it out of the folder
    ");
    fs::write(&file, "").expect("written");
    assert_snapshot!(damaged(&folder), @"
    error: `FOLDER/data/dataset/Norder=0/Dir=0/Npix=0.parquet` can't be read as Parquet
    caused by: EOF: Parquet file too small. Size is 0 but need 8
    hint: the file may be cut short: copy it again, or take it out of the folder
    ");
}

#[test]
fn a_file_whose_middle_is_damaged_is_named() {
    let (folder, file) = supernovae();
    let mut bytes = fs::read(&file).expect("a file");
    // Everything but the magic at the start and the footer at the end.
    let end = bytes.len() * 9 / 10;
    bytes[4..end].fill(0xff);
    fs::write(&file, bytes).expect("written");
    let text = damaged(&folder);
    let start = "error: `FOLDER/data/dataset/Norder=0/Dir=0/Npix=0.parquet` can't be read as Parquet\n";
    assert!(text.starts_with(start), "{text}");
}

#[test]
fn a_file_that_is_missing_from_a_catalogue_is_noticed() {
    let (folder, file) = supernovae();
    fs::remove_file(file).expect("removed");
    assert_snapshot!(damaged(&folder), @"
    error: the catalogue `FOLDER/data` says that it has 2771 objects, its files hold 2634
    hint: a file is missing, doubled or of another version: copy the catalogue again
    ");
}

#[test]
fn values_that_are_not_finite_are_masked() {
    let mut catalogue = Catalogue::good();
    let bad = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300];
    catalogue.numbers("a", |i| if i % 3 == 0 { bad.get(i / 3 % 5).copied() } else { Some(i as f64) });
    catalogue.numbers("b", |i| if i % 7 == 0 { None } else { Some((i as f64).sin()) });
    let spectrum = |i: usize| match i % 5 {
        0 => None,
        1 => Some(vec![Some(f32::NAN); 20]),
        2 => Some((0..20).map(|k| if k % 2 == 0 { None } else { Some(1.0 + k as f32) }).collect()),
        3 => Some((0..20).map(|k| Some(if k == 7 { f32::INFINITY } else { 1.0 + k as f32 })).collect()),
        _ => Some(flux(i, if i.is_multiple_of(2) { 20 } else { 0 })),
    };
    catalogue.spectrum((0..OBJECTS).map(spectrum).collect());
    catalogue.trains();
}

#[test]
fn a_probe_with_too_few_objects_is_a_note_beside_the_results() {
    let catalogue = Catalogue::good();
    let config = catalogue.write(OBJECTS).display().to_string();
    let run = catalogue.folder.path().join("run");
    let output = format!("run.output={:?}", run.display().to_string());
    let split = "data.split={train = 0.97, test = 0.03}";
    let text = succeeds(&["train", &config, "--set", &output, "--set", split]);
    let note = "[probe.b] can't be measured from `host`: 39 objects of the train split and 1 of the held-out split have it \
                and a usable `b`; it needs 1 and 2";
    assert!(text.contains(&format!("\nnote: {note}\n")), "{text}");
    let results = fs::read_to_string(run.join("results.json")).expect("results");
    let results: serde_json::Value = serde_json::from_str(&results).expect("JSON");
    assert_eq!(results["notes"][0], note);
    assert!(run.join("report.html").is_file());
}

#[test]
fn a_batch_too_small_to_compare_anything_leaves_no_run() {
    assert_snapshot!(Catalogue::good().refused(5, &["train.batch=1"]), @"
    error: nothing gives a loss: looked at 8 batches of 1 objects
    hint: a head that compares modalities needs objects that have two of them in one batch: raise `train.batch`, or see `panchroma check` for what the data holds
    ");
}

#[test]
fn objects_that_make_no_sense_stop_the_run_or_count_as_missing() {
    let mut catalogue = Catalogue::good();
    // The wavelengths of two objects go back and forth.
    let wavelength = |i: usize| {
        let at = |k: usize| 4000.0 + 10.0 * (if i % 19 == 3 && k == 9 { 3 } else { k }) as f32;
        Some((0..20).map(|k| Some(at(k))).collect::<Vec<_>>())
    };
    let wavelengths = ListArray::from_iter_primitive::<Float32Type, _, _>((0..OBJECTS).map(wavelength));
    let fluxes = ListArray::from_iter_primitive::<Float32Type, _, _>((0..OBJECTS).map(|i| Some(flux(i, 20))));
    let fields: Vec<(&str, ArrayRef)> = vec![("flux", Arc::new(fluxes)), ("lambda", Arc::new(wavelengths))];
    catalogue.column("spectrum", Arc::new(StructArray::try_from(fields).expect("a struct")));
    let text = catalogue.refused(3, &[]);
    assert!(text.contains("column `spectrum.lambda`: expected ascending wavelengths"), "{text}");
    assert!(text.contains("bad_rows = \"absent\""), "{text}");

    let config = catalogue.write(OBJECTS).display().to_string();
    let run = catalogue.folder.path().join("run");
    let output = format!("run.output={:?}", run.display().to_string());
    succeeds(&["train", &config, "--set", &output, "--set", "data.bad_rows=\"absent\"", "--set", "train.max_steps=8"]);
    let log = fs::read_to_string(run.join("log.jsonl")).expect("a log");
    let bad: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["bad_row"].clone())
        .filter(|bad| !bad.is_null())
        .collect();
    // Each once, whether training or the evaluation came across it.
    let mut objects: Vec<&str> = bad.iter().filter_map(|row| row["object"].as_str()).collect();
    objects.sort_unstable();
    assert_eq!(objects, ["object 22", "object 3"], "{log}");
    assert!(bad.iter().all(|row| row["modality"] == "spectrum"), "{log}");
    // `check` knows all of them beforehand.
    let absent = "data.bad_rows=\"absent\"";
    let checked = succeeds(&["check", &config, "--set", absent]);
    assert!(
        checked.contains("left out: spectrum of `object 22`, column `spectrum.lambda`: expected ascending"),
        "{checked}"
    );
    assert!(!checked.contains("no problem found"), "{checked}");
    // Each object keeps its row.
    let out = catalogue.folder.path().join("e.parquet").display().to_string();
    let said: serde_json::Value =
        serde_json::from_str(&succeeds(&["embed", &run.display().to_string(), "--out", &out, "--json"])).expect("JSON");
    assert_eq!((said["objects"].as_u64(), said["with"]["spectrum"].as_u64()), (Some(40), Some(38)), "{said}");
}

#[test]
fn an_object_of_the_test_split_that_makes_no_sense_loses_no_training() {
    let mut catalogue = Catalogue::good();
    catalogue.write(OBJECTS);
    let held_out = held_out(&catalogue.folder.path().join("data"))[0];
    let length = |i: usize| if i == held_out { 1 } else { 20 };
    let wavelengths =
        (0..OBJECTS).map(|i| Some((0..20).map(|k| Some(4000.0 + 10.0 * (k % length(i)) as f32)).collect::<Vec<_>>()));
    let wavelengths = ListArray::from_iter_primitive::<Float32Type, _, _>(wavelengths);
    let fluxes = ListArray::from_iter_primitive::<Float32Type, _, _>((0..OBJECTS).map(|i| Some(flux(i, 20))));
    let fields: Vec<(&str, ArrayRef)> = vec![("flux", Arc::new(fluxes)), ("lambda", Arc::new(wavelengths))];
    catalogue.column("spectrum", Arc::new(StructArray::try_from(fields).expect("a struct")));
    let run = catalogue.folder.path().join("run");
    let output = format!("run.output={:?}", run.display().to_string());
    let config = catalogue.write(OBJECTS).display().to_string();
    let text = fails(5, &["train", &config, "--set", &output], &[]);
    assert!(text.contains("error: the model is trained, but can't be measured"), "{text}");
    assert!(
        text.contains(&format!("caused by: object `object {held_out}`, column `spectrum.lambda`: expected ascending")),
        "{text}"
    );
    assert!(text.contains("x.parquet` (row group 0)"), "{text}");
    assert!(!run.join("results.json").exists());
    succeeds(&["train", &config, "--set", &output, "--set", "data.bad_rows=\"absent\"", "--resume"]);
    assert!(run.join("results.json").is_file());
    let log = fs::read_to_string(run.join("log.jsonl")).expect("a log");
    assert_eq!(log.matches("\"loss\"").count(), 2, "no step was taken again: {log}");
}

/// Numbers of the objects in the test split.
fn held_out(data: &Path) -> Vec<usize> {
    let mut config = panchroma_core::data::DataConfig::at(data);
    config.split = panchroma_core::data::Fractions { train: 0.7, validation: 0.0, test: 0.3 };
    let catalogue = panchroma_core::data::Catalogue::open(&config, &[]).expect("a catalogue");
    let rows = catalogue.split(panchroma_core::data::Split::Test).expect("objects");
    rows.iter().map(|row| *row as usize).collect()
}

#[test]
fn scalers_see_the_training_split_alone() {
    let fitted = |outlier: Option<f64>| {
        let mut catalogue = Catalogue::good();
        catalogue.write(OBJECTS);
        let held_out = held_out(&catalogue.folder.path().join("data"));
        catalogue.numbers("a", |i| Some(if held_out.contains(&i) { outlier.unwrap_or(i as f64) } else { i as f64 }));
        let config = catalogue.write(OBJECTS).display().to_string();
        let run = catalogue.folder.path().join("run");
        succeeds(&["train", &config, "--set", &format!("run.output={:?}", run.display().to_string())]);
        let state = fs::read(run.join("checkpoints/step-000002/state.json")).expect("a checkpoint");
        serde_json::from_slice::<serde_json::Value>(&state).expect("JSON")["fitted"]["host"].clone()
    };
    let plain = fitted(None);
    assert!(plain.is_object(), "{plain}");
    assert_eq!(plain, fitted(Some(1e9)));
}

#[test]
fn another_catalogue_takes_the_place_of_all_that_a_run_read() {
    let catalogue = Catalogue::good();
    let mut more = Catalogue::good();
    more.column("object_id", Arc::new(StringArray::from_iter_values((0..OBJECTS).map(|i| format!("more {i}")))));
    more.write(OBJECTS);
    let config = catalogue.write(OBJECTS).display().to_string();
    let (run, out) = (catalogue.folder.path().join("run"), catalogue.folder.path().join("e.parquet"));
    let output = format!("run.output={:?}", run.display().to_string());
    let other = more.folder.path().join("data").display().to_string();
    succeeds(&["train", &config, "--set", &output, "--set", &format!("data.also=[{other:?}]")]);
    let (run, out) = (run.display().to_string(), out.display().to_string());
    let said = succeeds(&["embed", &run, "--out", &out, "--json", "--data", &other]);
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said["objects"].as_u64(), Some(OBJECTS as u64), "{said}");
}
