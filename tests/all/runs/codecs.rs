//! Codecs: a run of their own, and other runs that use them.

use super::{Place, assert_same, files};
use crate::support::{fails, succeeds};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// A codec of light curves, as small as it can be.
const CODEC: &str = r#"
[run]
name = "codec"
seed = 1

[data]
split = { train = 0.8, validation = 0.1, test = 0.1 }

[modality.lightcurve]
kind = "time_series"
max_observations = 16
drop_fraction = 0.3
noise = 0.5

[modality.lightcurve.tokenizer]
kind = "curve_codec"
codes = 4
levels = [4, 3]
width = 16
heads = 2
depth = 1
decoder_depth = 1

[train]
batch = 32
max_steps = 6
warmup_steps = 2
checkpoint_every = 2
evaluate_every = 3
"#;

/// A model on the codes of the run `CODEC`.
const MODEL: &str = r#"
[run]
name = "model"
seed = 1

[data]
split = { train = 0.8, validation = 0.1, test = 0.1 }

[modality.curve]
codec = "CODEC"

[modality.host]
kind = "table"
tokenizer = { kind = "columns" }
columns = { ebv = { scale = "log" }, peak_mag = {} }

[trunk]
kind = "towers"
width = 16
depth = 1
heads = 2

[head.align]
kind = "contrastive"
dimensions = 8

[train]
batch = 32
max_steps = 4
warmup_steps = 2
checkpoint_every = 2
evaluate_every = 3
"#;

fn results(run: &Path) -> Value {
    let text = fs::read_to_string(run.join("results.json")).expect("a file");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn a_codec_in_parts_equals_one_in_a_whole() {
    let place = Place::of(CODEC);
    let average = ["--set", "train.ema=0.9"];
    place.train("whole", &average);
    place.train("parts", &[&average[..], &["--max-steps", "3"]].concat());
    place.train("parts", &[&average[..], &["--resume"]].concat());
    assert_same(&place.run("whole"), &place.run("parts"));
}

#[test]
fn what_a_codec_is_worth_is_measured_and_drawn() {
    let place = Place::of(CODEC);
    place.train("run", &[]);
    let run = place.run("run");
    let results = results(&run);
    let codec = &results["codecs"][0];
    assert_eq!(codec["modality"], "lightcurve");
    assert_eq!(codec["codes"]["vocabulary"], 12);
    let objects = codec["objects"].as_u64().expect("a number");
    assert_eq!(codec["codes"]["tokens"], 4 * objects);
    let measures = codec["measures"].as_array().expect("a list");
    let names: Vec<&str> = measures.iter().filter_map(|m| m["name"].as_str()).collect();
    assert_eq!(names, ["chi2", "error", "held_back.chi2", "held_back.error"]);
    for measure in measures {
        let constant = measure["baselines"]["constant"]["value"].as_f64().expect("a number");
        let value = measure["value"]["value"].as_f64().expect("a number");
        let r2 = measure["r2"]["value"].as_f64().expect("a number");
        assert!((r2 - (1.0 - value / constant)).abs() < 1e-9, "{measure}");
        assert!(value > 0.0 && constant > 0.0, "{measure}");
        assert_eq!(
            measure["baselines"].get("linear").is_some(),
            names[2..].contains(&measure["name"].as_str().unwrap())
        );
    }
    let page = fs::read_to_string(run.join("report.html")).expect("a file");
    assert!(page.contains("Held-out objects and their codes") && page.contains("reconstructed from the codes"));
    assert!(page.contains("days") || page.contains("[day]"));
    let log = fs::read_to_string(run.join("log.jsonl")).expect("a file");
    for key in ["\"evaluation.loss\"", "\"codec.lightcurve.perplexity\"", "\"codec.lightcurve.codebook_usage\""] {
        assert!(log.contains(key), "no {key} in {log}");
    }
    // The page can be made again.
    fs::remove_file(run.join("report.html")).expect("removed");
    succeeds(&["report", &run.display().to_string()]);
    assert_eq!(fs::read_to_string(run.join("report.html")).expect("a file"), page);
}

#[test]
fn commands_that_need_vectors_say_what_to_do_with_a_codec() {
    let place = Place::of(CODEC);
    let config = place.config.display().to_string();
    let checked: Value = serde_json::from_str(&succeeds(&["check", &config, "--json"])).expect("JSON");
    assert_eq!(checked["codecs"][0], "lightcurve");
    let train = &checked["splits"]["train"];
    assert!(train["with"]["lightcurve"].as_u64().expect("a number") > 0, "{train}");
    assert!(succeeds(&["check", &config]).contains("trains the codec of lightcurve"));
    let said = succeeds(&["bench", &config, "--steps", "1"]);
    assert!(said.contains("tokenizing") && !said.contains("GFLOP"), "{said}");
    place.train("run", &["--max-steps", "1"]);
    let run = place.run("run").display().to_string();
    let out = place.run("vectors.parquet").display().to_string();
    for arguments in [&["probe", run.as_str()][..], &["embed", &run, "--out", &out]] {
        let text = fails(4, arguments, &[(place.folder.path(), "HERE")]);
        assert!(text.contains("`HERE/run` trained a codec") && text.contains("codec = \"HERE/run\""), "{text}");
    }
    let text = place.refuses(2, "other", &["--set", "probe.z.kind=\"ridge\"", "--set", "probe.z.target=\"redshift\""]);
    assert!(text.contains("[probe.z] needs a [trunk]"), "{text}");
    let text = place.refuses(2, "other", &["--set", "trunk.kind=\"towers\""]);
    assert!(text.contains("is a codec, which is trained alone") && text.contains("codec = \"RUN\""), "{text}");
}

#[test]
fn other_runs_use_a_codec_and_keep_it() {
    let codec = Place::of(CODEC);
    codec.train("codec", &[]);
    codec.train("again", &["--set", "run.seed=2"]);
    let text = MODEL.replace("\"CODEC\"", &format!("{:?}", codec.run("codec")));
    let place = Place::of(&text);
    place.train("whole", &[]);
    place.train("run", &["--max-steps", "2"]);
    let run = place.run("run");
    let kept = run.join("codecs/curve");
    assert_eq!(fs::read_dir(kept.join("checkpoints")).expect("a folder").count(), 1);
    let out = place.run("vectors.parquet").display().to_string();
    let embed = |run: &Path| {
        let said = succeeds(&["embed", &run.display().to_string(), "--out", &out, "--json"]);
        let said: Value = serde_json::from_str(&said).expect("JSON");
        assert!(said["with"]["curve"].as_u64().expect("a number") > 0, "{said}");
        fs::read(&out).expect("a file")
    };
    let before = embed(&run);
    // Neither the codec's run nor the place of this one is needed any more.
    fs::rename(codec.run("codec"), codec.run("elsewhere")).expect("moved");
    let moved = place.run("moved");
    fs::rename(&run, &moved).expect("moved");
    assert_eq!(embed(&moved), before);
    fs::rename(&moved, &run).expect("moved");
    place.train("run", &["--resume"]);
    assert_same(&place.run("whole"), &run);
    // Another codec in its place.
    fs::rename(codec.run("again"), codec.run("codec")).expect("moved");
    let text = place.refuses(4, "run", &["--resume"]);
    assert!(text.contains("the codec of `curve`") && text.contains("not the one"), "{text}");
    assert!(!files(&kept).is_empty());
}

#[test]
fn a_codec_that_is_none_is_an_error_at_its_key() {
    let codec = Place::of(CODEC);
    codec.train("codec", &["--max-steps", "1"]);
    let place = Place::of(&MODEL.replace("\"CODEC\"", &format!("{:?}", codec.run("codec"))));
    let text = place.refuses(2, "run", &["--set", "modality.curve.part=\"lightcurv\""]);
    assert!(text.contains("lightcurv") && text.contains("`lightcurve`"), "{text}");
    let text = place.refuses(2, "run", &["--set", "modality.curve.tokenizer={ kind = \"observations\" }"]);
    assert!(text.contains("tokenizer"), "{text}");
    let text = place.refuses(2, "run", &["--set", "modality.curve.codec=\"no/such/run\""]);
    assert!(text.contains("must be the folder of a trained codec") && text.contains("no/such/run"), "{text}");
    place.train("run", &["--set", "modality.curve.part=\"lightcurve\"", "--max-steps", "1"]);
}
