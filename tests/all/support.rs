//! Starting the command, and small data to start it on.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The root of the repository: commands run there, as the README says.
pub(crate) const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A command with `arguments`, not yet started.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_panchroma"));
    command.args(arguments).current_dir(ROOT).env("NO_COLOR", "1").env("RAYON_NUM_THREADS", "2");
    command
}

/// Runs the command to its end.
pub(crate) fn panchroma(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the command starts")
}

/// Runs the command, which must succeed; gives its standard output.
pub(crate) fn succeeds(arguments: &[&str]) -> String {
    let output = panchroma(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?} failed:\n{errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Runs the command, which must fail with `code`; gives its standard error with `hidden` paths
/// replaced by their names.
pub(crate) fn fails(code: i32, arguments: &[&str], hidden: &[(&Path, &str)]) -> String {
    let output = panchroma(arguments);
    let mut text = String::from_utf8(output.stderr).expect("UTF-8");
    for (path, name) in hidden {
        text = text.replace(&path.display().to_string(), name);
    }
    assert_eq!(output.status.code(), Some(code), "{arguments:?} said:\n{text}");
    assert!(!text.contains("panicked"), "{text}");
    text
}

/// A config that trains in seconds: the quick start with small everything.
pub(crate) fn small(folder: &Path) -> PathBuf {
    let path = folder.join("small.toml");
    let quickstart = Path::new(ROOT).join("configs/quickstart.toml");
    let text = format!(
        r#"extends = {quickstart:?}
[run]
name = "small"
output = {output:?}
[modality.lightcurve]
max_observations = 16
[modality.spectrum]
samples = 64
[trunk]
width = 16
depth = 1
heads = 2
[head.align]
dimensions = 8
[train]
batch = 32
max_steps = 6
warmup_steps = 2
checkpoint_every = 2
evaluate_every = 3
[evaluate]
resamples = 20
"#,
        output = folder.join("run"),
    );
    std::fs::write(&path, text).expect("written");
    path
}
