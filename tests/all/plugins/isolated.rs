//! Plugins in child processes.

use super::{ALIGN, Place, faulty, library, rust_example};
use crate::runs::assert_same;
use std::fs;

#[test]
fn the_numbers_are_the_same_in_a_child_process() {
    let own = format!(
        "[modality.own]\nkind = \"polarimetry\"\nlongest = 16\ntokenizer = {{ kind = \"polarimetry_codes\" }}\n{ALIGN}"
    );
    let place = Place::new(|folder| library(folder, "plugins/examples/c/polarimetry.c", &[]), &own, 6);
    place.train("here", &[]);
    place.train("outside", &["--set", "plugins.isolate=true"]);
    place.train("named", &["--set", "plugins.isolate=[\"polarimetry\"]"]);
    for run in ["outside", "named"] {
        assert_same(&place.path("here"), &place.path(run));
    }
}

#[test]
fn what_a_modality_learns_reaches_every_child_process() {
    let own = format!("[modality.own]\nkind = \"faulty\"\ntokenizer = {{ kind = \"faulty_codec\" }}\n{ALIGN}");
    let build = |folder: &std::path::Path| library(folder, "plugins/host/tests/faulty/faulty.c", &["FITS"]);
    let place = Place::new(build, &own, 6);
    let isolate = ["--set", "plugins.isolate=true"];
    place.train("here", &[]);
    place.train("outside", &isolate);
    place.train("parts", &[&isolate[..], &["--max-steps", "3"]].concat());
    place.train("parts", &[&isolate[..], &["--resume"]].concat());
    for run in ["outside", "parts"] {
        assert_same(&place.path("here"), &place.path(run));
    }
    let state = fs::read_to_string(crate::runs::checkpoint(&place.path("here")).join("state.json")).expect("a state");
    assert!(state.contains("\"mean\""), "{state}");
}

#[test]
fn a_crash_names_plugin_component_and_what_ended_it() {
    let place = faulty("", 4);
    for (fault, said) in [
        ("crash", "its process was ended by signal 11"),
        ("abort", "its process was ended by signal 6"),
        ("exit", "its process ended by itself, with exit code 0"),
    ] {
        let set = format!("modality.own.fault=\"{fault}\"");
        let error = place.fails(6, "run", &["--set", "plugins.isolate=true", "--set", &set]);
        // Every object does it: none is to blame.
        assert!(error.contains("plugin `faulty`, modality `faulty`, run: its process"), "{fault}: {error}");
        assert!(error.contains(said), "{fault}: {error}");
    }
    assert!(!place.path("run").exists());
}

#[test]
fn a_plugin_that_hangs_is_stopped() {
    let place = faulty("fault = \"sleep\"\nsleep_s = 3600\n", 4);
    let error = place.fails(6, "run", &["--set", "plugins.isolate=true", "--set", "plugins.time_limit=3"]);
    assert!(error.contains("it took longer than 3 s (`plugins.time_limit`)"), "{error}");
}

#[test]
fn training_goes_on_without_the_object_that_crashes_if_the_config_says_so() {
    // One object makes the plugin write to a null pointer: that whose first value is above a threshold.
    let place = faulty("fault = \"crash_above\"\n", 4);
    let isolate = ["--set", "plugins.isolate=true"];
    let error = place.fails(6, "run", &isolate);
    assert!(error.contains("object `o"), "{error}");
    // What was trained until then is not lost.
    place.train("run", &[&isolate[..], &["--resume", "--set", "data.bad_rows=\"absent\""]].concat());
    let log = fs::read_to_string(place.path("run").join("log.jsonl")).expect("a log");
    assert!(log.contains("signal 11") && log.contains("bad_row"), "{log}");
}

#[test]
fn a_panic_that_names_no_row_is_found_in_this_process_too() {
    let place = faulty("fault = \"fails_above\"\n", 4);
    let error = place.fails(6, "run", &[]);
    assert!(error.contains("run, object `o") && error.contains("a panic or an exception: a value above"), "{error}");
    place.train("run", &["--resume", "--set", "data.bad_rows=\"absent\""]);
}

#[test]
fn a_plugin_that_ends_this_process_is_no_success() {
    let place = faulty("fault = \"exit\"\n", 2);
    let error = place.fails(6, "run", &[]);
    assert!(error.contains("a plugin ended this process by `exit` in its function `run`"), "{error}");
}

#[test]
fn a_name_that_no_plugin_has_isolates_nothing_and_is_refused() {
    let place = faulty("", 2);
    let error = place.fails(2, "run", &["--set", "plugins.isolate=[\"fualty\"]"]);
    assert!(
        error.contains("no plugin of `plugins.isolate` is called `fualty`") && error.contains("did you mean `faulty`?"),
        "{error}"
    );
}

#[test]
fn what_learns_with_the_model_cant_be_isolated() {
    let own = "[modality.own]\nkind = \"events\"\n[modality.own.tokenizer]\nkind = \"event_windows\"\n\
               [head.flux]\nkind = \"log_flux\"\n";
    let place = Place::new(rust_example, own, 4);
    let error = place.fails(2, "run", &["--set", "plugins.isolate=true"]);
    assert!(error.contains("learns with the model and can't run in a child process"), "{error}");
}

#[test]
fn no_shared_memory_is_left_behind() {
    let place = faulty("", 2);
    place.train("run", &["--set", "plugins.isolate=true"]);
    let left = || {
        let files = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
        files.filter(|file| file.file_name().to_string_lossy().starts_with("panchroma-")).count()
    };
    // Other tests have files there for the moment in which a child starts.
    let empty = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        left() == 0
    });
    assert!(empty, "{} files", left());
}
