//! That training learns something, and what it says when it can't.

use super::{Place, checkpoint, files, log, losses};
use crate::support::{small, succeeds};
use insta::assert_snapshot;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The share of held-out objects whose other modality is among the ten nearest, and what chance gives.
fn top10(run: &Path, from: &str, to: &str) -> (f64, f64) {
    let results: Value = serde_json::from_slice(&fs::read(run.join("results.json")).expect("results")).expect("JSON");
    let found = results["retrieval"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|r| r["from"] == from && r["to"] == to && r["group"].is_null());
    let found = found.expect("the direction");
    (found["top10"]["value"].as_f64().expect("a number"), found["chance10"].as_f64().expect("a number"))
}

#[test]
fn probes_in_between_are_logged_and_change_no_bit() {
    let place = Place::new();
    let mut text = fs::read_to_string(&place.config).expect("a config");
    text += "[probe.redshift]\nkind = \"ridge\"\ntarget = \"redshift\"\ntransform = \"log10\"\n";
    fs::write(&place.config, text).expect("written");
    place.train("without", &["--set", "train.ema=0.9"]);
    place.train("with", &["--set", "train.ema=0.9", "--set", "train.probe_every=2"]);
    let measured: Vec<u64> = log(&place.run("with"))
        .iter()
        .filter(|line| line.get("probe.redshift.lightcurve").is_some_and(Value::is_f64))
        .filter_map(|line| line.get("step")?.as_u64())
        .collect();
    assert_eq!(measured, [2, 4], "the last step is measured by the evaluation at the end");
    assert!(files(&checkpoint(&place.run("with"))) == files(&checkpoint(&place.run("without"))));
}

#[test]
fn retrieval_of_held_out_objects_beats_chance() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = small(folder.path()).display().to_string();
    // Small, and no noisier than what these few steps can learn from, whatever the quick start does.
    let settings = [
        "modality.spectrum.samples=128",
        "modality.lightcurve.noise=0.5",
        "modality.spectrum.noise=0.05",
        "trunk.width=32",
        "trunk.drop_path=0.0",
        "head.align.dimensions=32",
        "train.batch=128",
        "train.max_steps=150",
        "train.warmup_steps=10",
        "train.learning_rate=3e-3",
        "train.evaluate_every=0",
        "train.checkpoint_every=0",
    ];
    let set = settings.iter().flat_map(|s| ["--set", s]);
    succeeds(&["train", config.as_str()].into_iter().chain(set).collect::<Vec<_>>());
    let run = folder.path().join("run");
    // Between a light curve and the table, which share the brightness, five times chance; between light curve and
    // spectrum, which share type and age, twice.
    for (from, to, times) in [
        ("lightcurve", "host", 5.0),
        ("host", "lightcurve", 5.0),
        ("lightcurve", "spectrum", 2.0),
        ("spectrum", "lightcurve", 2.0),
    ] {
        let (share, chance) = top10(&run, from, to);
        assert!(share > times * chance, "{from} to {to}: {share}, chance {chance}");
    }
    let losses: Vec<f64> = losses(&run).into_iter().map(|(_, loss)| loss).collect();
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (first, last) = (mean(&losses[..10]), mean(&losses[140..]));
    assert!(last < first - 0.5, "the loss went from {first} to {last}");
}

#[test]
fn a_loss_that_is_not_finite_ends_the_run_and_spares_the_checkpoint() {
    let place = Place::new();
    // The first step makes weights of 1e30, whose products overflow.
    let wild = ["--set", "train.learning_rate=1e30", "--set", "train.checkpoint_every=1"];
    place.train("before", &[&wild[..], &["--max-steps", "1"]].concat());
    let output = place.command("run", &wild).output().expect("the command starts");
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(5), "{text}");
    assert_snapshot!(text, @"
    training 15761 parameters on 129 objects for 6 steps
    error: the loss is not finite at step 2, in the batch of SN2005el, LSQ12ca, PS1-14xw
    hint: lower `train.learning_rate` or set `train.clip_norm`; the last checkpoint is untouched
    ");
    assert!(files(&checkpoint(&place.run("run"))) == files(&checkpoint(&place.run("before"))));
    assert!(!place.run("run").join("results.json").exists());
    // Nor does going on help.
    let output = place.command("run", &[&wild[..], &["--resume"]].concat()).output().expect("the command starts");
    assert_eq!(output.status.code(), Some(5));
}
