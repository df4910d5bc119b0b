//! What the command line itself says: unknown words, JSON, lists, schema, completions.

use super::setting;
use crate::support::{fails, succeeds};
use insta::assert_snapshot;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Every plugin that comes with Panchroma, by kind.
fn expected() -> BTreeMap<&'static str, Vec<&'static str>> {
    BTreeMap::from([
        ("modality", vec!["image", "sources", "spectrum", "table", "time_series"]),
        (
            "tokenizer",
            vec![
                "columns",
                "curve_codec",
                "field_codec",
                "grid_codes",
                "image_codec",
                "observations",
                "patches",
                "quantile_codes",
                "slices",
                "source_codes",
                "spectrum_codec",
                "time_patches",
                "windows",
            ],
        ),
        ("trunk", vec!["encoder_decoder", "fused", "towers"]),
        ("head", vec!["classification", "contrastive", "masked", "regression"]),
        ("probe", vec!["logistic", "neighbours", "ridge"]),
    ])
}

#[test]
fn docs_of_an_unknown_name_offer_the_nearest_or_all() {
    assert_snapshot!(fails(2, &["docs", "spectrumm"], &[]), @"
    error: no table or plugin is called `spectrumm`
    hint: did you mean `spectrum`?
    ");
    assert_snapshot!(fails(2, &["docs", "qqqqqq"], &[]), @"
    error: no table or plugin is called `qqqqqq`
    hint: known names: run, data, image, sources, spectrum, table, time_series, modality, columns, curve_codec, field_codec, grid_codes, image_codec, observations, patches, quantile_codes, slices, source_codes, spectrum_codec, time_patches, windows, encoder_decoder, fused, towers, classification, contrastive, masked, regression, plugins, train, evaluate, probe, logistic, neighbours, ridge, predict, ingest
    ");
}

#[test]
fn an_unknown_command_offers_the_nearest() {
    assert_snapshot!(fails(2, &["trian", "configs/quickstart.toml"], &[]), @"
    error: unrecognized subcommand 'trian'

      tip: a similar subcommand exists: 'train'

    Usage: panchroma <COMMAND>

    For more information, try '--help'.
    ");
    assert_snapshot!(fails(2, &["train", "configs/quickstart.toml", "--resume", "--overwrite"], &[]), @"
    error: the argument '--resume' cannot be used with '--overwrite'

    Usage: panchroma train --resume <CONFIG>

    For more information, try '--help'.
    ");
    assert_snapshot!(fails(2, &["train", "configs/quickstart.toml", "--device", "gpu"], &[]), @"
    error: invalid value 'gpu' for '--device <DEVICE>': expected `cpu`, `cuda:N` with a number N from 0, or `auto`

    For more information, try '--help'.
    ");
}

/// A build with CUDA looks for a device, and what it says depends on the machine.
#[cfg(not(feature = "cuda"))]
#[test]
fn without_cuda_a_cuda_device_is_refused_and_auto_takes_the_processor() {
    let message = fails(2, &["train", "configs/quickstart.toml", "--device", "cuda:1"], &[]);
    assert_snapshot!(message, @"
    error: device `cuda:1` was asked for, but this panchroma was built without CUDA
    hint: build it with `cargo build --release --features cuda` (docs/cuda.md says what that needs), or use `--device cpu`
    ");
    // The device comes first: no run is needed to learn that there is none.
    for command in [&["embed", "nowhere", "--out", "x.parquet"][..], &["probe", "nowhere"]] {
        assert!(fails(2, &[command, &["--device", "cuda"]].concat(), &[]).contains("device `cuda:0` was asked for"));
    }
    assert_snapshot!(fails(4, &["probe", "configs", "--device", "auto"], &[]), @"
    device: cpu (no CUDA: this panchroma was built without CUDA)
    error: `configs` is not a run: it has no `config.toml`
    hint: give the folder that `panchroma train` wrote, for example `runs/quickstart`
    ");
}

#[test]
fn a_folder_that_is_no_run_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("x.parquet").display().to_string();
    assert_snapshot!(fails(4, &["embed", "configs", "--out", &out], &[]), @"
    error: `configs` is not a run: it has no `config.toml`
    hint: give the folder that `panchroma train` wrote, for example `runs/quickstart`
    ");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
    assert_snapshot!(fails(4, &["probe", "nowhere"], &[]), @"
    error: `nowhere` is not a run: it has no `config.toml`
    hint: give the folder that `panchroma train` wrote, for example `runs/quickstart`
    ");
}

#[test]
fn an_error_for_machines_is_one_json_object_on_standard_error() {
    let arguments = ["check", "configs/quickstart.toml", "--set", "train.bacth=3", "--json"];
    let said: Value = serde_json::from_str(&fails(2, &arguments, &[])).expect("JSON");
    let expected = json!({ "error": {
        "message": "unknown key `bacth` in [train]",
        "file": "--set",
        "line": 1,
        "column": 7,
        "object": null,
        "data_column": null,
        "row": null,
        "causes": [],
        "hint": "did you mean `batch`?",
        "exit_code": 2,
    }});
    assert_eq!(said, expected);
    let said: Value = serde_json::from_str(&fails(2, &["check", "nowhere/x.toml", "--json"], &[])).expect("JSON");
    assert_eq!(said["error"]["line"], Value::Null);
    assert_eq!(said["error"]["causes"], json!(["No such file or directory (os error 2)"]));
}

#[test]
fn control_characters_of_the_user_do_not_reach_the_terminal() {
    let text = setting(&["train.batch=\u{1b}[31mred"]);
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn the_list_of_plugins_has_all_of_them() {
    assert_snapshot!(succeeds(&["plugins", "list"]), @"
     kind       name             what it is                                                                                                         from
     modality   image            planes of pixels, cut to one size, background subtracted and scaled by asinh                                       panchroma-image
     modality   sources          a list of sources per object, such as all that was detected in its image, with a few numbers each                  panchroma-table
     modality   spectrum         flux against wavelength, resampled onto one grid, as colour and as lines                                           panchroma-spectrum
     modality   table            columns of the catalogue: numbers, flags, classes and angles, any of them missing                                  panchroma-table
     modality   time_series      irregular series of fluxes in many bands with errors, such as light curves                                         panchroma-time-series
     tokenizer  columns          one token per column of a table                                                                                    panchroma-table
     tokenizer  curve_codec      a few codes for a whole irregular series in many bands, and back: a codec that is trained                          panchroma-time-series
     tokenizer  field_codec      a code for each square of a map of one value per pixel, and back: a codec that is trained                          panchroma-image
     tokenizer  grid_codes       one token per column of a table: which step of a linear or logarithmic grid it lies in                             panchroma-table
     tokenizer  image_codec      a code for each square of an image, of any of the bands that it knows, and back: a codec that is trained           panchroma-image
     tokenizer  observations     one token per observation of a time series, with time and wavelength as coordinates                                panchroma-time-series
     tokenizer  patches          squares of an image at their place, over all channels or one by one                                                panchroma-image
     tokenizer  quantile_codes   one token per column of a table: which quantile of the training values it lies in                                  panchroma-table
     tokenizer  slices           windows of a spectrum at their wavelength, overlapping or not                                                      panchroma-spectrum
     tokenizer  source_codes     lists of sources as one sequence of codes, one per source and field                                                panchroma-table
     tokenizer  spectrum_codec   spectra as codes: a normalisation, and pieces of a grid of wavelengths that instruments share; trained on its own  panchroma-spectrum
     tokenizer  time_patches     one token per stretch of consecutive observations, for long series                                                 panchroma-time-series
     tokenizer  windows          the arrays of any modality, cut into patches along the first axis of a field                                       panchroma-generic
     trunk      encoder_decoder  an encoder over the tokens that are given and a decoder that predicts others, as in 4M and AION-1                  panchroma-core
     trunk      fused            one encoder over the tokens of all modalities                                                                      panchroma-core
     trunk      towers           an encoder per modality, as in CLIP and AstroCLIP                                                                  panchroma-core
     head       classification   predicts a class from the vector over all modalities, trained with the trunk                                       panchroma-heads
     head       contrastive      brings modalities of one object together in a shared space (InfoNCE or sigmoid loss)                               panchroma-heads
     head       masked           predicts hidden tokens: codes by cross entropy, patches by weighted squared error                                  panchroma-heads
     head       regression       predicts a number from the vector over all modalities, trained with the trunk                                      panchroma-heads
     probe      logistic         multinomial logistic regression, its strength chosen by cross-validation                                           panchroma-heads
     probe      neighbours       mean number or most frequent class of the nearest training objects                                                 panchroma-heads
     probe      ridge            exact ridge regression, its strength chosen by leaving one object out                                              panchroma-heads

    `panchroma docs NAME` explains one.
    ");
    let listed: Value = serde_json::from_str(&succeeds(&["plugins", "list", "--json"])).expect("JSON");
    assert_eq!(listed["libraries"], serde_json::json!([]));
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for row in listed["plugins"].as_array().expect("a list") {
        let text = |key: &str| row[key].as_str().expect("text");
        found.entry(text("kind")).or_default().push(text("name"));
        assert!(!text("summary").is_empty() && text("origin").starts_with("panchroma"), "{row}");
        assert!(row["keys"].is_array(), "{row}");
    }
    assert_eq!(found, expected());
}

#[test]
fn the_schema_knows_every_kind() {
    let schema: Value = serde_json::from_str(&succeeds(&["schema"])).expect("JSON");
    let tables = &schema["properties"];
    let kinds = |choices: &Value| -> Vec<String> {
        let choices = choices["anyOf"].as_array().expect("choices").iter();
        // A modality may also be one with a codec of another run, which has no kind.
        let plugins = choices.filter(|c| c["properties"].get("codec").is_none());
        plugins.map(|c| c["properties"]["kind"]["const"].as_str().expect("a kind").to_owned()).collect()
    };
    let modality = &tables["modality"]["additionalProperties"];
    let tokenizer = &modality["anyOf"][0]["properties"]["tokenizer"];
    let found = [
        ("modality", modality),
        ("tokenizer", tokenizer),
        ("trunk", &tables["trunk"]),
        ("head", &tables["head"]["additionalProperties"]),
        ("probe", &tables["probe"]["additionalProperties"]),
    ];
    for (kind, choices) in found {
        assert_eq!(kinds(choices), expected()[kind], "{kind}");
    }
    assert!(tables["train"]["properties"]["batch"]["description"].is_string());
    let of_codec = modality["anyOf"].as_array().expect("choices").last().expect("a choice");
    assert_eq!(of_codec["required"], json!(["codec"]));
    for key in ["codec", "part", "metadata"] {
        assert!(of_codec["properties"][key]["description"].is_string(), "{of_codec}");
    }
    assert!(!schema.to_string().contains("$ref"), "a reference would lead nowhere");
}

#[test]
fn each_shell_gets_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(succeeds(&["completions", shell]).contains("max-steps"), "{shell}");
    }
}
