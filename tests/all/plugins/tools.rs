//! `plugins list`, `check` and `new`, and `docs` of what a library brings.

use super::{compile, library};
use crate::support::{ROOT, fails, succeeds};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

const FAULTY: &str = "plugins/host/tests/faulty/faulty.c";

#[test]
fn a_library_is_listed_by_its_manifest_and_explained_by_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    library(folder.path(), "plugins/examples/c/polarimetry.c", &[]);
    fs::copy(Path::new(ROOT).join("plugins/examples/c/polarimetry.toml"), folder.path().join("polarimetry.toml"))
        .expect("copied");
    let path = folder.path().display().to_string();
    for (load, keys) in [(false, Value::Null), (true, serde_json::json!(["longest", "debias", "columns"]))] {
        let more: &[&str] = if load { &["--load"] } else { &[] };
        let listed = succeeds(&[&["plugins", "list", "--json", "--plugin", &path], more].concat());
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        let plugins = listed["plugins"].as_array().expect("a list");
        let own = plugins.iter().find(|p| p["name"] == "polarimetry").expect("listed");
        assert_eq!((own["kind"].as_str(), own["origin"].as_str()), (Some("modality"), Some("polarimetry 0.1.0")));
        assert_eq!(own["keys"], keys, "{own}");
        assert!(plugins.iter().any(|p| p["name"] == "spectrum" && p["origin"] == "panchroma-spectrum"));
        assert_eq!(listed["libraries"][0]["loaded"], load);
        assert_eq!(listed["libraries"][0]["sha256"].as_str().map(str::len), Some(64));
    }
    let docs = succeeds(&["docs", "polarimetry", "--plugin", &path]);
    assert!(docs.contains("## modality `polarimetry`") && docs.contains("- `debias` (boolean"), "{docs}");
    let schema = succeeds(&["schema", "--plugin", &path]);
    assert!(schema.contains("polarimetry_codes"));
}

#[test]
fn a_library_that_cant_be_loaded_is_listed_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    library(folder.path(), FAULTY, &["MAJOR=9"]);
    let text = succeeds(&["plugins", "list", "--plugin", &folder.path().display().to_string()]);
    assert!(text.contains("can't be used: ") && text.contains("interface 9."), "{text}");
}

#[test]
fn what_is_wrong_in_the_environment_is_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let gone = folder.path().join("gone");
    let mut command = crate::support::command(&["plugins", "list"]);
    let output = command.env("PANCHROMA_PLUGIN_PATH", &gone).output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("named by PANCHROMA_PLUGIN_PATH"), "{text}");
}

#[test]
fn what_a_plugin_prints_is_not_among_the_results() {
    let place = super::faulty("fault = \"prints\"\n", 2);
    let printed = place.train("run", &["--json"]);
    serde_json::from_str::<Value>(&printed).expect("JSON and nothing else");
}

#[test]
fn the_examples_keep_every_promise() {
    let folder = tempfile::tempdir().expect("a folder");
    let built = [
        library(folder.path(), "plugins/examples/c/polarimetry.c", &[]),
        library(folder.path(), "plugins/examples/cpp/gravitational_waves.cpp", &[]),
        super::rust_example(folder.path()),
    ];
    for path in built {
        let checked = succeeds(&["plugins", "check", &path.display().to_string(), "--json"]);
        let checked: Value = serde_json::from_str(&checked).expect("JSON");
        assert_eq!(checked[0]["failed"], 0, "{checked}");
        assert!(checked[0]["passed"].as_u64().is_some_and(|n| n >= 15), "{checked}");
    }
}

#[test]
fn check_finds_each_promise_that_is_broken() {
    // A fault is built in as the one that an empty config has; the step that must find it.
    for (fault, step) in [
        ("nondeterministic", "same bits"),
        ("leak", "leaks"),
        ("nan", "plain rows"),
        ("overrun", "plain rows"),
        ("crash", "plain rows"),
        ("exit", "plain rows"),
        ("no_message", "plain rows"),
        ("too_many", "plain rows"),
        ("describe_fails", "describe"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = library(folder.path(), FAULTY, &[&format!("DEFAULT_FAULT={fault}")]).display().to_string();
        let text = String::from_utf8(crate::support::panchroma(&["plugins", "check", &path]).stdout).expect("UTF-8");
        let mut broken = text.lines().filter(|line| line.trim_start().starts_with("FAIL"));
        assert!(broken.any(|line| line.contains(step)), "{fault}: {text}");
        let said = fails(1, &["plugins", "check", &path], &[]);
        assert!(said.contains("of its promises"), "{said}");
    }
}

#[test]
fn check_stops_what_hangs() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = library(folder.path(), FAULTY, &["DEFAULT_FAULT=sleep", "DEFAULT_SLEEP=3600.0"]).display().to_string();
    let output = crate::support::panchroma(&["plugins", "check", &path, "--time-limit", "0.5"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("it took longer than 0.5 s"), "{text}");
}

#[test]
fn a_new_plugin_in_c_builds_and_passes_its_check() {
    let folder = tempfile::tempdir().expect("a folder");
    let project = folder.path().join("far-scope");
    let path = project.display().to_string();
    let said = succeeds(&["plugins", "new", "far-scope", "--lang", "c", "--path", &path]);
    assert!(said.contains("panchroma plugins check ."), "{said}");
    compile(Command::new("make").current_dir(&project));
    let checked = succeeds(&["plugins", "check", &path]);
    assert!(checked.contains("0 broken") && checked.contains("modality far_scope"), "{checked}");
    let error = fails(2, &["plugins", "new", "far-scope", "--path", &path], &[(folder.path(), "HERE")]);
    assert!(error.contains("`HERE/far-scope` is there already") || error.contains("HERE/far-scope"), "{error}");
    for (name, said) in [
        ("Far Scope", "small letters, digits and hyphens"),
        ("fn", "a word of the language"),
        ("float", "a word of the language"),
        ("test", "a word of the language"),
        ("time-series", "the modality `time_series` is compiled into Panchroma"),
    ] {
        let error = fails(2, &["plugins", "new", name], &[]);
        assert!(error.contains(said), "{name}: {error}");
    }
}

#[test]
fn a_new_plugin_in_rust_builds_and_passes_its_check() {
    let folder = tempfile::tempdir().expect("a folder");
    let project = folder.path().join("far-scope");
    let path = project.display().to_string();
    succeeds(&["plugins", "new", "far-scope", "--path", &path]);
    // The versions of crates that are at hand.
    fs::copy(Path::new(ROOT).join("Cargo.lock"), project.join("Cargo.lock")).expect("copied");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("projects");
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    compile(cargo.args(["build", "--offline"]).env("CARGO_TARGET_DIR", &target).current_dir(&project));
    let name = format!("{}far_scope{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let library = target.join("debug").join(name).display().to_string();
    let checked = succeeds(&["plugins", "check", &library]);
    assert!(checked.contains("0 broken") && checked.contains("modality far_scope"), "{checked}");
    // A panic of an author's code is an error with its text.
    let source = project.join("src/lib.rs");
    let text = fs::read_to_string(&source).expect("readable");
    let (before, after) = text.split_once("fn prepare(").expect("a function");
    let (signature, body) = after.split_once("{\n").expect("a body");
    let planted = "if rows.len() > 0 { panic!(\"planted in row {}\", rows.len()); }\n";
    fs::write(&source, format!("{before}fn prepare({signature}{{\n{planted}{body}")).expect("written");
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    compile(cargo.args(["build", "--offline"]).env("CARGO_TARGET_DIR", &target).current_dir(&project));
    let output = crate::support::panchroma(&["plugins", "check", &library]);
    let checked = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(checked.contains("caught a panic or an exception: planted in row 8"), "{checked}");
}
