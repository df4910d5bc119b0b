//! Every file in `configs/` is checked, trains two steps and can be used afterwards.

use crate::support::{ROOT, fails, succeeds};
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What makes any config small enough for a test.
const SMALL: [&str; 4] = ["train.batch=16", "evaluate.resamples=20", "trunk.depth=1", "trunk.width=16"];

fn configs() -> Vec<PathBuf> {
    fn below(folder: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            // Mappings of survey files are no runs; those of AION have another trunk, and catalogues that are not bundled.
            if path.is_dir() && !path.ends_with("configs/ingest") && !path.ends_with("configs/aion") {
                below(&path, into);
            } else if path.extension().is_some_and(|ending| ending == "toml") {
                into.push(path);
            }
        }
    }
    let mut found = Vec::new();
    below(&Path::new(ROOT).join("configs"), &mut found);
    found.sort();
    assert!(!found.is_empty(), "no config");
    found
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn with_settings<'a>(command: &[&'a str], settings: &'a [String]) -> Vec<&'a str> {
    let set = settings.iter().flat_map(|value| ["--set", value.as_str()]);
    command.iter().copied().chain(set).collect()
}

#[test]
fn every_config_is_checked_trains_and_leaves_a_run_that_works() {
    for config in configs() {
        let folder = tempfile::tempdir().expect("a folder");
        let run = folder.path().join("run");
        let (config, run_name) = (config.display().to_string(), run.display().to_string());
        // A codec is trained without a trunk.
        let codec = config.contains("configs/codecs/");
        let small = SMALL.iter().filter(|set| !codec || !set.starts_with("trunk."));
        // An encoder-decoder has two depths.
        let depth = if fs::read_to_string(&config).expect("a config").contains("\"encoder_decoder\"") {
            "trunk.encoder_depth="
        } else {
            "trunk.depth="
        };
        let mut settings: Vec<String> = small.map(|s| s.replace("trunk.depth=", depth)).collect();
        settings.push(format!("run.output={run_name:?}"));

        let plan: Value = json(&succeeds(&with_settings(&["check", &config, "--json"], &settings)));
        assert!(!run.exists(), "{config}: `check` wrote something");

        succeeds(&with_settings(&["train", &config, "--max-steps", "2"], &settings));
        for name in ["config.toml", "log.jsonl", "results.json", "report.html"] {
            let bytes = fs::metadata(run.join(name)).map(|m| m.len()).unwrap_or(0);
            assert!(bytes > 0, "{config}: no {name}");
        }
        let checkpoint = run.join("checkpoints/step-000002");
        assert!(checkpoint.join("model.safetensors").is_file(), "{config}: no checkpoint");
        let results = json(&fs::read_to_string(run.join("results.json")).expect("a file"));
        assert_eq!(results["steps"], 2, "{config}");

        let out = folder.path().join("embeddings.parquet");
        if codec {
            let codecs = results["codecs"].as_array().expect("a list");
            assert!(!codecs.is_empty(), "{config}: no codec is measured");
            for measured in codecs {
                let codes = &measured["codes"];
                assert!(codes["perplexity"].as_f64().expect("a number") >= 1.0, "{config}: {codes}");
                assert!(codes["usage"].as_f64().expect("a number") > 0.0, "{config}: {codes}");
                assert!(measured["loss"].as_f64().expect("a number").is_finite(), "{config}: {measured}");
            }
            let text = fails(4, &["embed", &run_name, "--out", &out.display().to_string()], &[]);
            assert!(text.contains("trained a codec") && text.contains("codec = "), "{config}: {text}");
            continue;
        }
        let said = json(&succeeds(&["embed", &run_name, "--out", &out.display().to_string(), "--json"]));
        let file = SerializedFileReader::new(fs::File::open(&out).expect("a file")).expect("Parquet");
        assert_eq!(said["objects"], file.metadata().file_metadata().num_rows(), "{config}");
        let splits = plan["splits"].as_object().expect("splits").values();
        let objects: u64 = splits.map(|split| split["objects"].as_u64().expect("a count")).sum();
        assert_eq!(said["objects"], objects, "{config}: `embed` leaves objects out");

        if config.ends_with("quickstart.toml") {
            let again = json(&succeeds(&["probe", &run_name, "--json"]));
            for part in ["retrieval", "probes"] {
                let measured = again[part].as_array().expect("a list");
                assert!(!measured.is_empty(), "{config}: no {part}");
                assert_eq!(again[part], results[part], "{config}: `probe` measures otherwise than `train`");
            }
            // A catalogue that has light curves and nothing else of what the model knows.
            let out = out.display().to_string();
            let said = json(&succeeds(&["embed", &run_name, "--out", &out, "--data", "data/ztf_alerts", "--json"]));
            assert_eq!(said["objects"], 309);
            assert_eq!(said["with"], serde_json::json!({ "lightcurve": 309 }));
            let nowhere = folder.path().join("nowhere");
            let out = nowhere.join("embeddings.parquet").display().to_string();
            let text = fails(1, &["embed", &run_name, "--out", &out], &[(&nowhere, "NOWHERE")]);
            assert!(text.starts_with("error: can't write to `NOWHERE`\ncaused by: "), "{text}");
        }
    }
}

#[test]
fn the_tiny_aion_is_checked_trains_and_embeds() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run").display().to_string();
    let output = format!("run.output={run:?}");
    let small = ["train.batch=16", "trunk.width=16", "trunk.encoder_depth=1", "trunk.decoder_depth=1"];
    let settings: Vec<String> = small.iter().map(|s| (*s).to_owned()).chain([output]).collect();
    succeeds(&with_settings(&["check", "configs/aion/tiny.toml"], &settings));
    succeeds(&with_settings(&["train", "configs/aion/tiny.toml", "--max-steps", "2"], &settings));
    let out = folder.path().join("embeddings.parquet").display().to_string();
    let said = json(&succeeds(&["embed", &run, "--out", &out, "--json"]));
    assert!(said["with"]["spectrum"].as_u64().expect("a count") > 0);
    // A second run goes on from the first: the weights of step 2 are where it begins.
    let second = folder.path().join("second").display().to_string();
    let mut more: Vec<String> = small.iter().map(|s| (*s).to_owned()).collect();
    more.extend([format!("run.output={second:?}"), format!("train.from={run:?}"), "train.learning_rate=1e-12".into()]);
    succeeds(&with_settings(&["train", "configs/aion/tiny.toml", "--max-steps", "1"], &more));
    let weights = |run: &str, step: u32| {
        let path = Path::new(run).join(format!("checkpoints/step-{step:06}/model.safetensors"));
        candle_core::safetensors::load(path, &candle_core::Device::Cpu).expect("a checkpoint")
    };
    let (before, after) = (weights(&run, 2), weights(&second, 1));
    assert_eq!(before.len(), after.len());
    for (name, tensor) in BTreeMap::from_iter(before) {
        let off = (&tensor - &after[&name]).and_then(|d| d.abs()?.max_all()?.to_scalar::<f32>()).expect("a number");
        assert!(off < 1e-6, "{name}: {off}");
    }
    let third = format!("run.output={:?}", folder.path().join("third").display().to_string());
    let text = fails(
        4,
        &with_settings(&["train", "configs/aion/tiny.toml"], &["train.from=\"no/such/run\"".into(), third]),
        &[],
    );
    assert!(text.contains("no/such/run"), "{text}");
}
