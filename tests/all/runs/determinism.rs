//! Same seed, same bits: on two runs, and for any number of threads.

use super::{Place, assert_same, checkpoint, files, losses};
use crate::support::{small, succeeds};
use serde_json::Value;
use std::fs;
use std::path::Path;

#[test]
fn the_seed_alone_decides() {
    let place = Place::new();
    place.train("one", &[]);
    place.train("two", &[]);
    assert_same(&place.run("one"), &place.run("two"));
    assert_eq!(losses(&place.run("one")).len(), 6);
    place.train("other", &["--set", "run.seed=2"]);
    let (one, other) = (files(&checkpoint(&place.run("one"))), files(&checkpoint(&place.run("other"))));
    assert_ne!(one[Path::new("model.safetensors")], other[Path::new("model.safetensors")]);
    assert_ne!(losses(&place.run("one")), losses(&place.run("other")));
}

#[test]
fn loader_threads_and_prefetch_change_no_bit() {
    let place = Place::new();
    for threads in ["1", "2", "4"] {
        let threads_set = format!("data.threads={threads}");
        let prefetch = format!("data.prefetch={}", if threads == "2" { 1 } else { 8 });
        place.train(threads, &["--set", &threads_set, "--set", &prefetch]);
        assert_same(&place.run("1"), &place.run(threads));
    }
}

#[test]
fn compute_threads_change_no_bit() {
    // As large as the quick start: small products take one thread anyway.
    let large = [
        "modality.lightcurve.max_observations=64",
        "modality.spectrum.samples=512",
        "trunk.width=128",
        "trunk.heads=4",
        "head.align.dimensions=128",
        "train.batch=128",
        "train.max_steps=3",
    ];
    let place = Place::new();
    for trunk in ["towers", "fused"] {
        let kind = format!("trunk.kind={trunk:?}");
        let set: Vec<&str> = large.iter().copied().chain([kind.as_str()]).flat_map(|s| ["--set", s]).collect();
        let run = |threads: &str| format!("{trunk}-{threads}");
        for threads in ["1", "2", "3"] {
            let output = place.command(&run(threads), &set).env("RAYON_NUM_THREADS", threads).output();
            assert!(output.expect("the command starts").status.success());
            assert_same(&place.run(&run("1")), &place.run(&run(threads)));
        }
    }
}

#[test]
fn the_config_in_a_run_repeats_it_results_included() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = small(folder.path());
    let (first, second) = (folder.path().join("run"), folder.path().join("again"));
    succeeds(&["train", &config.display().to_string()]);
    let saved = first.join("config.toml").display().to_string();
    succeeds(&["train", &saved, "--set", &format!("run.output={second:?}")]);
    assert_same(&first, &second);
    let results = |run: &Path| -> Value {
        let bytes = fs::read(run.join("results.json")).expect("results");
        serde_json::from_slice(&bytes).expect("JSON")
    };
    for part in ["retrieval", "probes", "verdict"] {
        assert_eq!(results(&first)[part], results(&second)[part], "{part}");
    }
    assert!(results(&first)["probes"].as_array().is_some_and(|probes| !probes.is_empty()));
}
