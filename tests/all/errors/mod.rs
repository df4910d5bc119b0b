//! What a user does wrong, and the exact words that come back: what, where, why, how to mend it.

mod command;
mod config;
mod data;

use crate::support::{ROOT, fails};
use std::path::Path;

/// Runs `train CONFIG --set ...`, which must fail with `code` and leave no run; gives its words.
///
/// One step only, in case it does not fail.
fn refused(code: i32, config: &Path, settings: &[&str], hidden: &[(&Path, &str)]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let output = format!("run.output={:?}", run.display().to_string());
    let config = config.display().to_string();
    let mut arguments = vec!["train", &config, "--max-steps", "1", "--set", &output];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let text = fails(code, &arguments, hidden);
    assert!(text.ends_with('\n'), "the prompt would stand behind {text:?}");
    assert!(!run.exists(), "`{config}` with {settings:?} left a folder");
    text
}

/// The quick start with `settings`, which must be a wrong config.
fn setting(settings: &[&str]) -> String {
    refused(2, Path::new("configs/quickstart.toml"), settings, &[])
}

/// A config file with this text, which must be wrong; it is called `my.toml`.
fn file(text: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("my.toml");
    std::fs::write(&path, text).expect("written");
    refused(2, &path, &[], &[(&path, "my.toml"), (folder.path(), "FOLDER"), (Path::new(ROOT), "ROOT")])
}

/// The quick start with this text over it.
fn over(text: &str) -> String {
    file(&format!("extends = {:?}\n{text}", Path::new(ROOT).join("configs/quickstart.toml")))
}
