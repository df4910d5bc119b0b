//! Files that are not those of the checkpoint, paths that are refused, and configs that plugins refuse.

use super::{faulty, library};
use crate::runs::files;
use crate::support::{ROOT, command, fails, succeeds};
use std::fs;
use std::path::Path;

#[test]
fn a_file_that_changed_since_the_checkpoint_is_refused_and_nothing_is_lost() {
    let place = faulty("", 4);
    place.train("run", &["--max-steps", "2"]);
    let old = fs::read(&place.library).expect("a library");
    library(place.folder.path(), "plugins/host/tests/faulty/faulty.c", &["VERSION=\"0.2.0\""]);
    let before = files(&place.path("run"));
    let error = place.fails(4, "run", &["--resume"]);
    assert!(error.contains("the plugin `faulty` is not the one that the run in `HERE/run` was made with"), "{error}");
    assert!(error.contains("it was 0.1.0 (sha256 ") && error.contains("is 0.2.0 (sha256 "), "{error}");
    assert!(before == files(&place.path("run")));
    let (run, out) = (place.path("run").display().to_string(), place.path("v.parquet").display().to_string());
    fails(4, &["embed", &run, "--out", &out], &[]);
    place.train("run", &["--resume", "--max-steps", "3", "--set", "plugins.changed=\"accept\""]);
    // The old file is as good as ever.
    fs::write(&place.library, old).expect("written");
    place.train("again", &[]);
    succeeds(&["embed", &place.path("again").display().to_string(), "--out", &out]);
}

#[test]
fn relative_paths_and_the_current_folder_are_never_searched() {
    let place = faulty("", 2);
    let error = place.fails(2, "run", &["--set", "plugins.paths=[\"libfaulty.so\"]"]);
    assert!(error.contains("must be a whole path, from `/`"), "{error}");
    let error = place.fails(2, "run", &["--set", &format!("plugins.paths=[{0:?}, {0:?}]", place.library)]);
    assert!(error.contains("twice"), "{error}");
    // Planted where the command runs, and named by a relative path in the environment.
    let planted = place.folder.path();
    let config = place.config.display().to_string();
    let run = |variable: &str| {
        let mut command = command(&["train", &config, "--set", "plugins.paths=[]"]);
        let output = command.current_dir(planted).env("PANCHROMA_PLUGIN_PATH", variable).output().expect("it starts");
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(run("").contains("unknown modality `faulty`"), "{}", run(""));
    assert!(run(".").contains("PANCHROMA_PLUGIN_PATH has a relative path"), "{}", run("."));
    assert!(run("libfaulty.so").contains("has a relative path"));
    // By its whole path, the environment does name plugins.
    let mut command = command(&["train", &config, "--set", "plugins.paths=[]"]);
    let output = command.env("PANCHROMA_PLUGIN_PATH", planted).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_config_that_a_plugin_can_not_read_is_shown_with_its_line() {
    let place = faulty("limt = 3\n", 2);
    let config = place.config.display().to_string();
    let error = fails(2, &["check", &config], &[(place.folder.path(), "HERE")]);
    assert!(
        error.contains("unknown key `limt` in [modality.own]") && error.contains("did you mean `limit`?"),
        "{error}"
    );
    assert!(error.contains("HERE/plugin.toml:") && error.contains("limt = 3"), "{error}");
}

#[test]
fn what_is_no_plugin_is_said_to_be_none() {
    let place = faulty("", 2);
    for (file, said) in [
        (Path::new(ROOT).join("README.md"), "not a shared library"),
        (Path::new(env!("CARGO_BIN_EXE_panchroma")).to_path_buf(), "does not export `panchroma_plugin`"),
        (place.path("none.so"), "can't be read"),
    ] {
        let error = place.fails(2, "run", &["--set", &format!("plugins.paths=[{file:?}]")]);
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn errors_of_rows_name_the_object_for_people_and_machines() {
    let place = faulty("fault = \"error\"\n", 2);
    let error = place.fails(6, "run", &[]);
    assert!(error.contains("plugin `faulty`, modality `faulty`, run, object `o"), "{error}");
    let json = place.fails(6, "run", &["--json"]);
    let json: serde_json::Value = serde_json::from_str(json.lines().last().expect("a line")).expect("JSON");
    assert!(json["error"]["object"].as_str().is_some_and(|o| o.starts_with('o')), "{json}");
    assert_eq!(json["error"]["exit_code"], 6);
}
