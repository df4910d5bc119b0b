//! `panchroma tokenize` on the command line. What it writes is tested beside the code, with codecs of its own.

use crate::support::{ROOT, fails, succeeds};
use std::fs;
use std::path::Path;

#[test]
fn a_config_without_codes_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out").display().to_string();
    let error = fails(2, &["tokenize", "configs/quickstart.toml", "--out", &out], &[]);
    assert!(error.contains("invalid `modality`: has no tokenizer that gives codes"), "{error}");
    assert!(fails(2, &["tokenize", "configs/quickstar.toml", "--out", &out], &[]).contains("quickstart.toml"));
    let run = folder.path().join("run");
    fs::create_dir(&run).expect("made");
    assert!(fails(4, &["tokenize", &run.display().to_string(), "--out", &out], &[]).contains("is not a run"));
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
}

#[test]
fn the_help_says_how_training_reads_the_codes() {
    let help = succeeds(&["tokenize", "--help"]);
    for said in ["codes = \"spectrum_codes\"", "codec = \"runs/spectrum_codec\"", "--keep-all", "lsdb"] {
        assert!(help.contains(said), "`{said}` in {help}");
    }
}

/// A small codec of light curves after two steps of training, its run, and a place to work in.
fn codec() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let (config, run) = (folder.path().join("codec.toml"), folder.path().join("codec"));
    let text = format!(
        r#"[run]
name = "codec"
output = {run:?}
[data]
path = "data/supernovae"
[modality.lightcurve]
kind = "time_series"
max_observations = 12
[modality.lightcurve.tokenizer]
kind = "curve_codec"
codes = 4
levels = [5, 4]
width = 16
heads = 2
depth = 1
decoder_depth = 1
[train]
batch = 32
max_steps = 2
"#
    );
    fs::write(&config, text).expect("written");
    succeeds(&["train", &config.display().to_string()]);
    (folder, run.display().to_string())
}

/// A config that predicts the redshift from the codes in `data`.
fn from_codes(folder: &Path, name: &str, codec: &str, data: &str, codes: &str) -> String {
    let (config, run) = (folder.join(format!("{name}.toml")), folder.join(name));
    let text = format!(
        r#"[run]
name = "{name}"
output = {run:?}
[data]
path = {data:?}
[modality.lightcurve]
codec = {codec:?}
{codes}
[trunk]
kind = "fused"
width = 16
depth = 1
heads = 2
[head.redshift]
kind = "regression"
target = "redshift"
[train]
batch = 32
max_steps = 4
"#
    );
    fs::write(&config, text).expect("written");
    config.display().to_string()
}

#[test]
fn a_catalogue_of_codes_is_sound_and_trains_as_the_measurements_do() {
    let (folder, run) = codec();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let out = path("codes");
    let report = succeeds(&["tokenize", &run, "--out", &out, "--json", "--batch", "100"]);
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let codes = &report["codes"][0];
    assert_eq!((&codes["column"], &codes["values"]), (&"lightcurve_codes".into(), &"u8".into()));
    assert_eq!((&codes["vocabulary"], &codes["tokens"]), (&20.into(), &4.into()));
    assert_eq!(report["objects"], 2771);
    assert!(codes["objects"].as_u64().expect("a number") > 1000);
    succeeds(&["data", "validate", &out]);
    let stats = succeeds(&["data", "stats", &out]);
    assert!(stats.contains("lightcurve_codes") && stats.contains("redshift"), "{stats}");
    assert!(fails(2, &["tokenize", &run, "--out", &out], &[]).contains("exists"));
    let losses = |name: &str| {
        let log = fs::read_to_string(folder.path().join(name).join("log.jsonl")).expect("a log");
        let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        lines.filter_map(|line| line.get("loss").cloned()).collect::<Vec<_>>()
    };
    let column = "codes = \"lightcurve_codes\"";
    // The order of training follows the files, so both read the same.
    let all = path("all");
    succeeds(&["tokenize", &run, "--out", &all, "--keep-all"]);
    succeeds(&["data", "validate", &all]);
    succeeds(&["train", &from_codes(folder.path(), "stored", &run, &out, column)]);
    succeeds(&["train", &from_codes(folder.path(), "live", &run, &all, "")]);
    assert_eq!(losses("stored"), losses("live"));
    assert_eq!(losses("live").len(), 4);
    // The trained model has the codec, and embeds what was measured.
    let vectors = path("vectors.parquet");
    let set = ["--set", "modality.lightcurve.codes=\"\"", "--data", "data/supernovae"];
    succeeds(&[&["embed", &path("stored"), "--out", &vectors, "--split", "test"][..], &set[..]].concat());
    let again = path("again");
    succeeds(&["tokenize", &path("stored"), "--out", &again, "--data", "data/supernovae", "--keep", "spectrum"]);
    succeeds(&["check", &from_codes(folder.path(), "again", &run, &again, column)]);
    let error = fails(2, &["tokenize", &run, "--out", &path("x"), "--modality", "lightcurv"], &[]);
    assert!(error.contains("did you mean `lightcurve`?"), "{error}");
    let error = fails(3, &["tokenize", &run, "--out", &path("x"), "--keep", "spectrun"], &[]);
    assert!(error.contains("did you mean `spectrum`?"), "{error}");
}

#[test]
fn codes_of_another_codec_are_refused_with_both_in_the_message() {
    let (folder, run) = codec();
    let (_other, other) = codec();
    let set = ["--set", "run.seed=7", "--overwrite"];
    succeeds(&[&["train", &format!("{other}/config.toml")][..], &set[..]].concat());
    let out = folder.path().join("codes").display().to_string();
    succeeds(&["tokenize", &format!("{run}/config.toml"), "--out", &out]);
    let config = from_codes(folder.path(), "x", &other, &out, "codes = \"lightcurve_codes\"");
    for command in ["check", "train"] {
        let error = fails(3, &[command, &config], &[(Path::new(&run), "ONE"), (Path::new(&other), "OTHER")]);
        assert!(error.contains("column `lightcurve_codes`: the codec in `ONE` ("), "{error}");
        assert!(error.contains(") made it, but [modality.lightcurve] reads it with the codec in `OTHER` ("), "{error}");
        assert!(error.contains("hint: name that codec in `codec`"), "{error}");
    }
}

/// A limit on the size of files stands for a full disk: writing fails, with an error from the system.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_leaves_nothing_half_written_and_the_same_command_goes_on() {
    let (folder, run) = codec();
    let [whole, out] = ["whole", "out"].map(|name| folder.path().join(name));
    succeeds(&["tokenize", &run, "--out", &whole.display().to_string()]);
    let program = env!("CARGO_BIN_EXE_panchroma");
    let limited = format!("trap '' XFSZ; ulimit -f 100; exec {program} tokenize {run} --out {}", out.display());
    let output = std::process::Command::new("bash").args(["-c", &limited]).current_dir(ROOT).output().expect("bash");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("can't write `") && !said.contains("panicked"), "{said}");
    assert!(!out.exists(), "something stands there");
    succeeds(&["tokenize", &run, "--out", &out.display().to_string()]);
    let tiles = fs::read_to_string(whole.join("partition_info.csv")).expect("tiles");
    assert_eq!(fs::read_to_string(out.join("partition_info.csv")).expect("tiles"), tiles);
    for line in tiles.lines().skip(1) {
        let (order, pixel) = line.split_once(',').expect("a tile");
        let name = format!("dataset/Norder={order}/Dir=0/Npix={pixel}.parquet");
        assert_eq!(fs::read(out.join(&name)).expect("a tile"), fs::read(whole.join(&name)).expect("a tile"), "{name}");
    }
}
