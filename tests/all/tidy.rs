//! House rules that a machine can check. Each exception stands in a list here with its reason.

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Longest file, tests excluded: over that it holds two ideas.
const LINES: usize = 400;

/// Files that may be longer, each with its reason.
const LONG: &[(&str, &str)] = &[];

fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for folder in ["core", "heads", "modalities", "plugins", "src", "tests"] {
        walk(&Path::new(ROOT).join(folder), &mut found);
    }
    assert!(found.len() > 50, "the walk lost its way: {} files", found.len());
    found.sort();
    let name = |p: &PathBuf| p.strip_prefix(ROOT).expect("below the root").to_string_lossy().replace('\\', "/");
    found.iter().map(|p| (name(p), fs::read_to_string(p).expect("readable"))).collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        // What a crate of its own was built to is not ours.
        if path.is_dir() && !path.ends_with("target") {
            walk(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn is_test(name: &str) -> bool {
    name.contains("/tests/") || name.starts_with("tests/") || name.ends_with("tests.rs")
}

/// The part of a file before its unit tests.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

fn check(rule: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn files_hold_one_idea() {
    let long = |name: &str| LONG.iter().any(|(n, _)| *n == name);
    let lines = |name: &str, text: &str| (!is_test(name) && !long(name)).then(|| code(text).lines().count());
    let broken = sources()
        .iter()
        .filter_map(|(name, text)| lines(name, text).filter(|n| *n > LINES).map(|n| format!("{name}: {n} lines")))
        .collect();
    check("over 400 lines: split the file", broken);
}

#[test]
fn every_file_says_what_it_is_for() {
    let broken = sources().into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(name, _)| name).collect();
    check("no `//!` at the top", broken);
}

#[test]
fn no_file_is_a_grab_bag() {
    let bags = ["utils.rs", "util.rs", "common.rs", "misc.rs", "base.rs", "helpers.rs"];
    let broken = sources()
        .into_iter()
        .map(|(name, _)| name)
        .filter(|n| bags.iter().any(|b| n.ends_with(&format!("/{b}"))))
        .collect();
    check("name the file after what a reader looks for", broken);
}

#[test]
fn no_test_is_skipped_and_no_lint_silenced_without_a_reason() {
    let mut broken = Vec::new();
    for (name, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_start();
            let skipped = line.starts_with("#[ignore") || line.starts_with("#[should_panic");
            let silenced = line.starts_with("#[allow(") || line.starts_with("#![allow(");
            if skipped || silenced && !line.contains("reason") {
                broken.push(format!("{name}:{}: {line}", number + 1));
            }
        }
    }
    check("use `#[expect(.., reason = ..)]`, and no ignored or should_panic tests", broken);
}

#[test]
fn nothing_a_user_reaches_can_panic() {
    let mut broken = Vec::new();
    for (name, text) in sources() {
        if is_test(&name)
            || name.starts_with("modalities/testing/")
            || name.ends_with("check.rs") && name.contains("ops")
        {
            continue;
        }
        for (number, line) in code(&text).lines().enumerate() {
            let line = line.trim_start();
            let calls = [".unwrap()", ".expect(", "panic!(", "unreachable!(", "todo!(", "unimplemented!("];
            if !line.starts_with("//") && calls.iter().any(|c| line.contains(c)) {
                broken.push(format!("{name}:{}: {line}", number + 1));
            }
        }
    }
    check("give an error instead", broken);
}

#[test]
fn core_names_no_modality_head_or_probe() {
    let names = [
        "time_series",
        "spectrum",
        "contrastive",
        "infonce",
        "ridge",
        "logistic",
        "lightcurve",
        "supernova",
        "panchroma_heads",
        "panchroma_image",
        "panchroma_table",
    ];
    let mut broken = Vec::new();
    // An operation is named after its formula, which may also be what a head is named after.
    let in_core = |n: &str| n.starts_with("core/src/") && !n.starts_with("core/src/ops/") && !is_test(n);
    for (name, text) in sources().into_iter().filter(|(n, _)| in_core(n)) {
        for (number, line) in code(&text).lines().enumerate() {
            let comment = line.trim_start().starts_with("//");
            if !comment && names.iter().any(|n| line.contains(&format!("\"{n}")) || line.contains(&format!("{n}::"))) {
                broken.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    check("core must not know its plugins", broken);
}

/// Where `unsafe` may stand: kernels, and the border to shared libraries.
const UNSAFE: &[&str] = &["core/src/ops/", "plugins/abi/", "plugins/host/", "plugins/sdk/", "tests/all/tidy.rs"];

#[test]
fn unsafe_code_is_in_the_ops_and_at_the_border_alone() {
    let mut broken = Vec::new();
    for (name, text) in sources().into_iter().filter(|(n, _)| !UNSAFE.iter().any(|u| n.starts_with(u))) {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_start();
            if !line.starts_with("//")
                && (line.contains("unsafe {") || line.contains("unsafe fn") || line.contains("unsafe impl"))
            {
                broken.push(format!("{name}:{}: {line}", number + 1));
            }
        }
    }
    check("unsafe code where none is allowed", broken);
}

/// Folders of `ops` that are no ops: how kernels are launched, and the emulation they are tested on.
const NO_OPS: &[&str] = &["emulation", "gpu"];

#[test]
fn every_op_has_tests_and_a_derivation() {
    let mut broken = Vec::new();
    let folders = fs::read_dir(Path::new(ROOT).join("core/src/ops")).expect("ops").flatten();
    for entry in folders.filter(|e| e.path().is_dir() && !NO_OPS.iter().any(|name| e.file_name() == *name)) {
        for file in ["mod.rs", "cpu.rs", "tests.rs", "README.md"] {
            if !entry.path().join(file).is_file() {
                broken.push(format!("{}: no {file}", entry.path().display()));
            }
        }
    }
    check("an op is a folder with mod.rs, cpu.rs, tests.rs, README.md", broken);
}

#[test]
fn crates_import_only_what_the_architecture_allows() {
    let allowed: &[(&str, &[&str])] = &[
        // Itself: its tests switch a feature on.
        ("core", &["panchroma-core"]),
        ("heads", &["panchroma-core"]),
        (
            "plugins/aion",
            &["panchroma-core", "panchroma-heads", "panchroma-image", "panchroma-spectrum", "panchroma-table"],
        ),
        ("plugins/abi", &[]),
        ("plugins/sdk", &["panchroma-abi"]),
        ("plugins/host", &["panchroma-abi", "panchroma-core", "panchroma-heads", "panchroma-table"]),
        ("plugins/examples/rust-inprocess", &["panchroma-core", "panchroma", "panchroma-testing"]),
        ("modalities/testing", &["panchroma-core"]),
        ("modalities/generic", &["panchroma-core", "panchroma-testing"]),
        ("modalities/image", &["panchroma-core", "panchroma-testing"]),
        ("modalities/spectrum", &["panchroma-core", "panchroma-testing"]),
        ("modalities/table", &["panchroma-core", "panchroma-testing"]),
        ("modalities/time_series", &["panchroma-core", "panchroma-testing"]),
    ];
    let mut broken = Vec::new();
    for (folder, may) in allowed {
        let manifest = fs::read_to_string(Path::new(ROOT).join(folder).join("Cargo.toml")).expect("a manifest");
        let dependencies = manifest.split("[dependencies]").nth(1).expect("dependencies");
        for line in dependencies.lines().filter(|l| l.starts_with("panchroma")) {
            let name = line.split(['.', ' ', '=']).next().unwrap_or("");
            if !may.contains(&name) {
                broken.push(format!("{folder} imports {name}"));
            }
        }
    }
    check("an edge between crates that ARCHITECTURE.md does not have", broken);
}

/// Name and version of every package of a lock.
fn locked(path: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(Path::new(ROOT).join(path)).expect("a lock");
    let value = |block: &str, key: &str| {
        let line = block.lines().find_map(|l| l.strip_prefix(&format!("{key} = ")).map(str::to_owned));
        line.unwrap_or_default().replace('"', "")
    };
    text.split("[[package]]").skip(1).map(|block| (value(block, "name"), value(block, "version"))).collect()
}

#[test]
fn an_example_outside_the_workspace_builds_what_the_workspace_builds() {
    let (own, example) = (locked("Cargo.lock"), locked("plugins/examples/rust-inprocess/Cargo.lock"));
    let known = |package: &&(String, String)| package.0 == "panchroma-visibilities" || own.contains(package);
    let broken = example.iter().filter(|p| !known(p)).map(|(name, version)| format!("{name} {version}")).collect();
    check("of another version than in Cargo.lock: copy that to the example, and build it with `--offline`", broken);
}
