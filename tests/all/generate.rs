//! A small masked run, and all that is done with it: predictions measured, posteriors, samples, embeddings of a subset.

use crate::support::{ROOT, fails, succeeds};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, UInt32Type};
use arrow_array::{Array, RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const CONFIG: &str = r#"
[run]
name = "masked"
seed = 1

[data]
split = { train = 0.7, validation = 0.0, test = 0.3 }

[modality.lightcurve]
kind = "time_series"
max_observations = 16
tokenizer = { kind = "observations" }

[modality.spectrum]
kind = "spectrum"
wavelength_min = 3700.0
wavelength_max = 8000.0
samples = 64
tokenizer = { kind = "slices", width = 16 }

[modality.z]
kind = "table"
tokenizer = { kind = "quantile_codes", codes = 16 }
columns = { redshift = { scale = "none" } }

[modality.more]
kind = "table"
tokenizer = { kind = "grid_codes", codes = 8 }
columns = { ebv = { scale = "none" }, peak_mag = { scale = "none" } }

[trunk]
kind = "encoder_decoder"
width = 16
encoder_depth = 1
decoder_depth = 1
heads = 2

[head.masked]
kind = "masked"

[train]
batch = 32
max_steps = 8

[evaluate]
resamples = 20

[predict.redshift]
target = "z"
given = [["lightcurve"], ["lightcurve", "spectrum"]]
baseline = { kind = "ridge" }
"#;

/// A trained run.
fn trained() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let (config, run) = (folder.path().join("masked.toml"), folder.path().join("run"));
    fs::write(&config, CONFIG).expect("written");
    let data = Path::new(ROOT).join("data/supernovae");
    let (output, data) = (format!("run.output={run:?}"), format!("data.path={data:?}"));
    succeeds(&["train", &config.display().to_string(), "--set", &output, "--set", &data]);
    (folder, run)
}

fn read(path: &Path) -> RecordBatch {
    let file = fs::File::open(path).expect("a file");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet").with_batch_size(1 << 20);
    let mut reader = reader.build().expect("a reader");
    let batch = reader.next().expect("rows").expect("rows");
    assert!(reader.next().is_none());
    batch
}

fn numbers(batch: &RecordBatch, name: &str) -> Vec<Option<f64>> {
    let column = batch.column_by_name(name).expect(name);
    column.as_primitive::<Float64Type>().iter().collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn a_masked_run_is_measured_and_used() {
    let (folder, run) = trained();
    let name = run.display().to_string();
    measured(&run);
    posteriors(folder.path(), &name);
    samples(folder.path(), &name);
    subsets(folder.path(), &name);
    mistakes(folder.path(), &name);
}

fn measured(run: &Path) {
    let results = json(&fs::read_to_string(run.join("results.json")).expect("a file"));
    let predictions = results["predictions"].as_array().expect("a list");
    let given: Vec<&Value> = predictions.iter().map(|p| &p["given"]).collect();
    assert_eq!(given, [&json(r#"["lightcurve"]"#), &json(r#"["lightcurve", "spectrum"]"#)]);
    for prediction in predictions {
        let part = |key: &str| prediction[key]["value"].as_f64().unwrap_or(f64::NAN);
        let gain = part("log_likelihood") - prediction["marginal"].as_f64().expect("a number");
        assert!((part("gain") - gain).abs() < 1e-9);
        assert!((0.0..=1.0).contains(&part("coverage68")) && part("coverage68") <= part("coverage95"));
        assert!(prediction["baseline"]["r2"]["value"].is_number() && prediction["baseline"]["kind"] == "ridge");
        // A line through means of fluxes knows something of the redshift.
        assert!(prediction["baseline"]["r2"]["value"].as_f64().expect("a number") > 0.1, "{prediction}");
        assert_eq!(prediction["quantity"], "redshift");
    }
    assert!(results["verdict"].as_str().expect("a sentence").contains("the redshift of a held-out object"));
    let page = fs::read_to_string(run.join("report.html")).expect("a page");
    assert!(page.contains("<section id=\"predictions\">"));
    for text in ["redshift from lightcurve and spectrum", "Calibration: redshift", "Posteriors: redshift"] {
        assert!(page.contains(text), "no `{text}`");
    }
    let again = json(&succeeds(&["probe", &run.display().to_string(), "--json"]));
    assert_eq!(again["predictions"], results["predictions"]);
}

fn posteriors(folder: &Path, run: &str) {
    let (out, page) = (folder.join("z.parquet"), folder.join("z.html"));
    let (file, html) = (out.display().to_string(), page.display().to_string());
    let ask = ["generate", run, "--given", "lightcurve,spectrum", "--likelihood", "z", "--out", &file];
    let said = json(&succeeds(&[&ask[..], &["--report", &html, "--json"]].concat()));
    let batch = read(&out);
    assert_eq!(said["objects"], batch.num_rows());
    let schema = batch.schema();
    let edges = &schema.field_with_name("z.redshift.posterior").expect("a column").metadata()["edges"];
    let edges: Vec<f64> = serde_json::from_str(edges).expect("numbers");
    assert_eq!(edges.len(), 17);
    let posterior = batch.column_by_name("z.redshift.posterior").expect("a column").as_list::<i32>();
    let (mean, low, high) =
        (numbers(&batch, "z.redshift.mean"), numbers(&batch, "z.redshift.low95"), numbers(&batch, "z.redshift.high95"));
    let truth = numbers(&batch, "z.redshift.true");
    for row in 0..batch.num_rows() {
        let own = posterior.value(row);
        let own = own.as_primitive::<arrow_array::types::Float32Type>();
        assert!((own.values().iter().sum::<f32>() - 1.0).abs() < 1e-4);
        let [Some(mean), Some(low), Some(high)] = [mean[row], low[row], high[row]] else { unreachable!("a number") };
        assert!(edges[0] <= low && low < mean && mean < high && high <= edges[16]);
    }
    assert!(truth.iter().flatten().count() > 50 && said["truth"]["r2"].is_number());
    assert!(fs::read_to_string(page).expect("a page").contains("<section id=\"predictions\">"));
    // One column of several.
    let one = succeeds(&["generate", run, "--given", "z", "--likelihood", "more.ebv", "--out", &file, "--limit", "9"]);
    assert!(one.contains("posteriors of") && read(&out).column_by_name("more.ebv.mean").is_some(), "{one}");
}

fn samples(folder: &Path, run: &str) {
    let out = folder.join("samples.parquet");
    let file = out.display().to_string();
    let ask = |more: &[&str]| {
        let ask = ["generate", run, "--given", "lightcurve", "--out", &file, "--samples", "3"];
        succeeds(&[&ask[..], more].concat());
        read(&out)
    };
    let drawn = |batch: &RecordBatch| -> Vec<(String, u32, Option<f64>)> {
        let ids = batch.column_by_name("object_id").expect("a column").as_string::<i32>();
        let samples = batch.column_by_name("sample").expect("a column").as_primitive::<UInt32Type>();
        let z = numbers(batch, "z.redshift");
        (0..batch.num_rows()).map(|i| (ids.value(i).to_owned(), samples.value(i), z[i])).collect()
    };
    let all = ask(&["--predict", "more,z", "--schedule", "roar", "--steps", "2", "--limit", "40"]);
    assert!(all.num_rows() > 30 && all.num_rows() % 3 == 0);
    assert!(numbers(&all, "more.peak_mag").iter().all(Option::is_some));
    let all = drawn(&all);
    assert_eq!(all.iter().map(|row| row.1).take(4).collect::<Vec<_>>(), [0, 1, 2, 0]);
    assert!(all.windows(2).any(|pair| pair[0].0 == pair[1].0 && pair[0].2 != pair[1].2), "samples differ");
    // An object's samples do not depend on the others.
    let id = all[6].0.clone();
    let one = ask(&["--predict", "more,z", "--schedule", "roar", "--steps", "2", "--object", &id]);
    assert_eq!(drawn(&one), all[6..9]);
    // Values are predicted at an object's own places.
    let spectra = ask(&["--predict", "spectrum", "--limit", "40", "--guidance", "1.5"]);
    let patches = spectra.column_by_name("spectrum.patches").expect("a column").as_list::<i32>();
    assert_eq!(patches.value(0).len() % 16, 0);
}

fn subsets(folder: &Path, run: &str) {
    let out = folder.join("embeddings.parquet");
    let file = out.display().to_string();
    succeeds(&["embed", run, "--out", &file, "--given", "spectrum,z", "--split", "test"]);
    let subset = read(&out);
    let schema = subset.schema();
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["object_id", "trunk.spectrum", "trunk.z", "joint"]);
    succeeds(&["embed", run, "--out", &file, "--split", "test", "--pool", "mean"]);
    let all = read(&out);
    assert_ne!(all.column_by_name("joint").expect("a column"), subset.column_by_name("joint").expect("a column"));
    assert_eq!(
        all.column_by_name("trunk.spectrum").expect("a column"),
        subset.column_by_name("trunk.spectrum").expect("a column")
    );
    let text = fails(2, &["embed", run, "--out", &file, "--given", "spectra"], &[]);
    assert!(text.contains("no modality of the run is called `spectra`") && text.contains("`spectrum`"), "{text}");
    let text = fails(2, &["embed", run, "--out", &file, "--pool", "registers"], &[]);
    assert!(text.contains("registers"), "{text}");
}

fn mistakes(folder: &Path, run: &str) {
    let out = folder.join("none.parquet");
    let file = out.display().to_string();
    let base = ["generate", run, "--out", &file];
    for (code, more, said) in [
        (2, &["--given", "lightcurv", "--predict", "z"][..], "did you mean `lightcurve`?"),
        (2, &["--predict", "z"], "no modality is given"),
        (2, &["--given", "z", "--predict", "z"], "`z` is named twice"),
        (2, &["--given", "z", "--likelihood", "z"], "`z` is named twice"),
        (2, &["--given", "z", "--likelihood", "spectrum"], "modalities of scalars: z, more"),
        (2, &["--given", "z", "--likelihood", "more"], "name one of its columns: ebv, peak_mag"),
        (2, &["--given", "z", "--predict", "spectrum", "--schedule", "maskgit"], "take the schedule `one_step`"),
        (2, &["--given", "z", "--predict", "more", "--top-p", "0"], "`top-p` must be above 0 and at most 1"),
        (2, &["--given", "z", "--predict", "more", "--object", "nobody"], "no object `nobody`"),
        (2, &["--given", "z"], "--predict"),
    ] {
        let text = fails(code, &[&base[..], more].concat(), &[]);
        assert!(text.contains(said), "{more:?}: {text}");
        assert!(!out.exists());
    }
}
