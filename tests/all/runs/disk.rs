//! No room for a checkpoint: the file is named, the one before stays, and the run can go on.
#![cfg(unix)]

use super::{Place, assert_same, checkpoint, files};
use insta::assert_snapshot;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Resumes the run `run` where no file may become larger than 20 or 40 KiB (shells count differently); a model has
/// 69 KiB, the log 3 KiB. `signal` says whether the system ends who tries, or gives an error as a full disk does.
fn resumed_without_room(place: &Place, run: &str, signal: bool) -> Output {
    let full = place.command(run, &["--resume"]);
    let trap = if signal { "" } else { "trap '' XFSZ; " };
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("{trap}ulimit -f 40; exec \"$0\" \"$@\""))
        .arg(full.get_program())
        .args(full.get_args());
    command.envs(full.get_envs().filter_map(|(key, value)| Some((key, value?))));
    command.current_dir(full.get_current_dir().expect("set")).output().expect("sh starts")
}

/// Every file of the checkpoints.
fn saved(run: &Path) -> Vec<PathBuf> {
    files(run).into_keys().filter(|name| name.starts_with("checkpoints")).collect()
}

#[test]
fn a_checkpoint_that_does_not_fit_leaves_the_one_before() {
    let place = Place::new();
    place.train("whole", &[]);
    place.train("run", &["--max-steps", "2"]);
    let run = place.run("run");
    let (before, kept) = (saved(&run), files(&checkpoint(&run)));
    let output = resumed_without_room(&place, "run", false);
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{text}");
    let text = text.replace(&place.folder.path().display().to_string(), "HERE");
    assert_snapshot!(text, @"
    training 15761 parameters on 129 objects for 6 steps, from step 2
    error: can't write `HERE/run/checkpoints/.step-000003.partial/model.safetensors`
    caused by: File too large (os error 27)
    hint: a limit on the size of files is in the way: see `ulimit -f`; `train` goes on with `--resume`
    ");
    assert_eq!(saved(&run), before);
    assert!(files(&checkpoint(&run)) == kept);
    place.train("run", &["--resume"]);
    assert_same(&place.run("whole"), &run);
}

#[test]
fn a_process_that_ends_while_it_writes_leaves_the_one_before() {
    let place = Place::new();
    place.train("whole", &[]);
    place.train("run", &["--max-steps", "2"]);
    let run = place.run("run");
    let kept = files(&checkpoint(&run));
    let output = resumed_without_room(&place, "run", true);
    assert!(output.status.signal().is_some(), "{:?}", output.status);
    assert!(files(&checkpoint(&run)) == kept);
    assert!(run.join("checkpoints/.step-000003.partial").exists());
    place.train("run", &["--resume"]);
    assert_same(&place.run("whole"), &run);
    assert!(!fs::read_dir(run.join("checkpoints")).unwrap().flatten().any(|e| e.path().extension().is_some()));
}

#[test]
fn a_folder_that_can_not_be_made_is_named() {
    let place = Place::new();
    // Where a file is in the way; unlike missing permission, this also stops an administrator.
    let text = place.refuses(1, "tiny.toml/run", &[]);
    assert_snapshot!(text, @"
    error: can't create `HERE/tiny.toml/run/checkpoints`
    caused by: Not a directory (os error 20)
    ");
}
