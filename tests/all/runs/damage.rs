//! Checkpoints that can't be used, what is said about each, and that nothing is changed.

use super::{Place, assert_same, checkpoint, files};
use crate::support::fails;
use insta::assert_snapshot;
use panchroma_core::reexport::candle_core::{Device, Tensor, safetensors};
use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// A run of four steps, of six, in the folder `run`.
fn stopped() -> Place {
    let place = Place::new();
    place.train("run", &["--max-steps", "4"]);
    place
}

/// Changes the tensors of a file of the newest checkpoint.
fn rewrite(place: &Place, file: &str, change: impl FnOnce(&mut HashMap<String, Tensor>)) {
    let path = checkpoint(&place.run("run")).join(file);
    let mut tensors = safetensors::load(&path, &Device::Cpu).expect("tensors");
    change(&mut tensors);
    safetensors::save(&tensors, &path).expect("saved");
}

fn truncate(path: &Path) {
    let bytes = fs::read(path).expect("readable");
    fs::write(path, &bytes[..bytes.len() / 2]).expect("written");
}

#[test]
fn a_missing_tensor_is_named() {
    let place = stopped();
    rewrite(&place, "model.safetensors", |t| assert!(t.remove("trunk.host.norm.bias").is_some()));
    assert_snapshot!(place.refuses(4, "run", &["--resume"]), @"
    error: `HERE/run/checkpoints/step-000004/model.safetensors` has no tensor `trunk.host.norm.bias`
    hint: the checkpoint belongs to another model: use the `config.toml` of its own run
    ");
    let run = place.run("run").display().to_string();
    let hidden = [(place.folder.path(), "HERE")];
    assert_snapshot!(fails(4, &["probe", &run], &hidden), @"
    error: `HERE/run/checkpoints/step-000004/model.safetensors` has no tensor `trunk.host.norm.bias`
    hint: the checkpoint belongs to another model: use the `config.toml` of its own run
    ");
}

#[test]
fn a_tensor_too_many_is_named() {
    let place = stopped();
    rewrite(&place, "model.safetensors", |t| {
        let copy = t["trunk.host.norm.bias"].clone();
        t.insert("trunk.host.norm.offset".into(), copy);
    });
    assert_snapshot!(place.refuses(4, "run", &["--resume"]), @"
    error: `HERE/run/checkpoints/step-000004/model.safetensors` has a tensor `trunk.host.norm.offset` that the model doesn't have
    hint: the checkpoint belongs to another model: use the `config.toml` of its own run
    ");
}

#[test]
fn a_checkpoint_of_another_model_is_refused() {
    let place = stopped();
    place.train("wide", &["--set", "trunk.width=32", "--max-steps", "4"]);
    for file in ["model.safetensors", "optimizer.safetensors"] {
        let own = checkpoint(&place.run("run")).join(file);
        let kept = fs::read(&own).expect("readable");
        fs::copy(checkpoint(&place.run("wide")).join(file), &own).expect("copied");
        let text = place.refuses(4, "run", &["--resume"]);
        if file == "model.safetensors" {
            assert_snapshot!(text, @"
            error: `HERE/run/checkpoints/step-000004/model.safetensors`: tensor `embed.host.column.table` should have shape [2, 16], has [2, 32]
            hint: the checkpoint belongs to another model: use the `config.toml` of its own run
            ");
        } else {
            assert_snapshot!(text, @"
            error: `HERE/run/checkpoints/step-000004/optimizer.safetensors`: tensor `embed.host.column.table.first` should have shape [2, 16], has [2, 32]
            hint: the checkpoint belongs to another model: use the `config.toml` of its own run
            ");
        }
        fs::write(&own, kept).expect("written");
    }
    place.train("run", &["--resume"]);
}

#[test]
fn a_missing_moment_is_named() {
    let place = stopped();
    rewrite(&place, "optimizer.safetensors", |t| assert!(t.remove("trunk.host.norm.bias.second").is_some()));
    // With a setting that a resumed run may change: it must not get into the saved config now.
    assert_snapshot!(place.refuses(4, "run", &["--resume", "--set", "train.max_steps=9"]), @"
    error: `HERE/run/checkpoints/step-000004/optimizer.safetensors` has no tensor `trunk.host.norm.bias.second`
    hint: the checkpoint belongs to another model: use the `config.toml` of its own run
    ");
}

#[test]
fn truncated_and_missing_files_are_named_and_the_checkpoint_before_serves() {
    let place = stopped();
    place.train("whole", &[]);
    let newest = checkpoint(&place.run("run"));
    let kept = files(&newest);
    let restore = |name: &str| fs::write(newest.join(name), &kept[Path::new(name)]).expect("written");

    truncate(&newest.join("model.safetensors"));
    assert_snapshot!(place.refuses(4, "run", &["--resume"]), @"
    error: `HERE/run/checkpoints/step-000004/model.safetensors` can't be read: incomplete metadata, file not fully covered
    hint: the file is damaged: remove `HERE/run/checkpoints/step-000004` and use `--resume` to go on from the checkpoint before
    ");
    restore("model.safetensors");

    truncate(&newest.join("state.json"));
    assert_snapshot!(place.refuses(4, "run", &["--resume"]), @"
    error: `HERE/run/checkpoints/step-000004/state.json` can't be read: EOF while parsing a list at line 29 column 23
    hint: the file is damaged: remove `HERE/run/checkpoints/step-000004` and use `--resume` to go on from the checkpoint before
    ");
    restore("state.json");

    let text = String::from_utf8(kept[Path::new("state.json")].clone()).expect("UTF-8");
    fs::write(newest.join("state.json"), text.replace("\"version\": 1", "\"version\": 9")).expect("written");
    assert_snapshot!(place.refuses(4, "run", &["--resume"]), @"
    error: `HERE/run/checkpoints/step-000004/state.json` was written by Panchroma 0.1.0 in layout 9; this one reads layout 1
    hint: use Panchroma 0.1.0 for this run
    ");
    restore("state.json");

    fs::remove_file(newest.join("optimizer.safetensors")).expect("removed");
    assert_snapshot!(place.refuses(4, "run", &["--resume"]), @"
    error: `HERE/run/checkpoints/step-000004/optimizer.safetensors` can't be read: there is no such file
    hint: the file is damaged: remove `HERE/run/checkpoints/step-000004` and use `--resume` to go on from the checkpoint before
    ");

    // As the hint says; `latest` then names a folder that isn't there.
    fs::remove_dir_all(&newest).expect("removed");
    place.train("run", &["--resume"]);
    assert_same(&place.run("whole"), &place.run("run"));
}

#[test]
fn a_moving_average_that_is_gone_is_named() {
    let place = Place::new();
    let ema = ["--set", "train.ema=0.9"];
    place.train("run", &[&ema[..], &["--max-steps", "4"]].concat());
    fs::remove_file(checkpoint(&place.run("run")).join("average.safetensors")).expect("removed");
    assert_snapshot!(place.refuses(4, "run", &[&ema[..], &["--resume"]].concat()), @"
    error: `HERE/run/checkpoints/step-000004/average.safetensors` can't be read: there is no such file
    hint: the file is damaged: remove `HERE/run/checkpoints/step-000004` and use `--resume` to go on from the checkpoint before
    ");
}

#[test]
fn another_config_is_refused_at_the_key() {
    let place = stopped();
    assert_snapshot!(place.refuses(4, "run", &["--resume", "--set", "trunk.width=32"]), @"
    error: the run in `HERE/run` was made with another config: `trunk.width` was `16`, is `32`
    hint: resume with the run's own config (`panchroma train RUN/config.toml --resume`), or start a new run by `--set run.output=DIR`
    ");
    assert_snapshot!(place.refuses(4, "run", &["--resume", "--set", "train.ema=0.9"]), @"
    error: the run in `HERE/run` was made with another config: `train.ema` was not set, is `0.9`
    hint: resume with the run's own config (`panchroma train RUN/config.toml --resume`), or start a new run by `--set run.output=DIR`
    ");
    assert_snapshot!(place.refuses(4, "run", &["--resume", "--set", "data.split.train=0.7", "--set", "data.split.test=0.2"]), @"
    error: the run in `HERE/run` was made with another config: `data.split.test` was `0.1`, is `0.2`
    hint: resume with the run's own config (`panchroma train RUN/config.toml --resume`), or start a new run by `--set run.output=DIR`
    ");
}

#[test]
fn other_data_is_refused() {
    let place = stopped();
    fs::remove_file(place.run("data").join("Npix=7.parquet")).expect("removed");
    assert_snapshot!(place.refuses(4, "run", &["--resume"]), @"
    error: the data in `HERE/data` changed since the run in `HERE/run` was made
    hint: start a new run by `--set run.output=DIR`, or put the data back
    ");
}

#[test]
fn a_run_in_the_way_is_refused() {
    let place = stopped();
    assert_snapshot!(place.refuses(4, "run", &[]), @"
    error: `HERE/run` holds another run
    hint: go on with it by `--resume`, replace it by `--overwrite`, or choose another folder by `--set run.output=DIR`
    ");
}

#[test]
fn nothing_to_resume_is_said() {
    let place = Place::new();
    assert_snapshot!(place.refuses(4, "run", &["--resume"]), @"
    error: there is no run to go on with in `HERE/run`
    hint: leave out `--resume` to begin one, or name the run's folder by `--set run.output=DIR`
    ");
    assert!(!place.run("run").exists());
}

#[test]
fn a_run_without_checkpoint_can_not_be_probed() {
    let place = stopped();
    fs::remove_dir_all(place.run("run").join("checkpoints")).expect("removed");
    let run = place.run("run").display().to_string();
    let hidden = [(place.folder.path(), "HERE")];
    assert_snapshot!(fails(4, &["probe", &run], &hidden), @"
    error: `HERE/run` has no complete checkpoint
    hint: let it go on: `panchroma train HERE/run/config.toml --resume`
    ");
    let data = place.run("data").display().to_string();
    assert_snapshot!(fails(4, &["probe", &data], &hidden), @"
    error: `HERE/data` is not a run: it has no `config.toml`
    hint: give the folder that `panchroma train` wrote, for example `runs/quickstart`
    ");
}
