//! Projects outside of the workspace that authors begin with: each builds and passes its own tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const SDK: &str = env!("CARGO_MANIFEST_DIR");

/// Runs a project's tests with the crates that are at hand, all projects in one folder of builds.
fn passes(project: &Path, locked: bool) {
    let mut cargo = Command::new(env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    cargo.args(["test", "--offline"]).args(locked.then_some("--locked")).current_dir(project);
    cargo.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("projects"));
    let output = cargo.output().expect("cargo runs");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}:\n{text}", project.display());
}

#[test]
fn the_example_passes_its_tests() {
    passes(&Path::new(SDK).join("../examples/rust-dynamic"), true);
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        if entry.path().is_dir() {
            files(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

#[test]
fn a_new_project_passes_its_tests() {
    let (template, sdk) = (Path::new(SDK).join("template/rust"), format!("{{ path = {SDK:?} }}"));
    let project = Path::new(env!("CARGO_TARGET_TMPDIR")).join("zeta-scope");
    let mut found = Vec::new();
    files(&template, &mut found);
    assert_eq!(found.len(), 6, "{found:?}");
    for file in found {
        let mut text = fs::read_to_string(&file).unwrap();
        let words = [("name", "zeta-scope"), ("ident", "zeta_scope"), ("Type", "ZetaScope"), ("sdk", &sdk)];
        for (key, value) in words {
            text = text.replace(&format!("{{{{{key}}}}}"), value);
        }
        assert!(!text.contains("{{"), "{}: a placeholder is left", file.display());
        let to = file.strip_prefix(&template).unwrap().with_extension("");
        let to = if to == Path::new("manifest.toml") { PathBuf::from("zeta-scope.toml") } else { to };
        fs::create_dir_all(project.join(&to).parent().unwrap()).unwrap();
        fs::write(project.join(to), text).unwrap();
    }
    // The versions of crates that are at hand.
    fs::copy(Path::new(SDK).join("../../Cargo.lock"), project.join("Cargo.lock")).unwrap();
    passes(&project, false);
}
