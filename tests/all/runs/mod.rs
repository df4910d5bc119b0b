//! What a run does to its folder: same bits, resume, interruption, damage, full disks, and that it learns.

mod codecs; // codecs, alone and in other runs
mod damage; // checkpoints that can't be used, and what is said about them
mod determinism; // same seed, same bits
mod disk; // no room for a checkpoint
mod interrupt; // signals
mod learning; // better than chance, and what happens when it goes wrong
mod resume; // a run in parts equals one in a whole

use crate::support::{ROOT, command, fails};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Some hundred objects and a model of some thousand parameters: a run takes a fraction of a second. Everything that
/// draws random numbers while training is on. 129 objects train, so an epoch is four batches.
const CONFIG: &str = r#"
[run]
name = "tiny"
seed = 1

[data]
split = { train = 0.8, validation = 0.1, test = 0.1 }

[modality.lightcurve]
kind = "time_series"
max_observations = 16
drop_fraction = 0.3
noise = 0.5
tokenizer = { kind = "observations" }

[modality.spectrum]
kind = "spectrum"
wavelength_min = 3700.0
wavelength_max = 8000.0
samples = 64
noise = 0.1
mask_fraction = 0.2
tokenizer = { kind = "slices", width = 16 }

[modality.host]
kind = "table"
tokenizer = { kind = "columns" }
columns = { ebv = { scale = "log" }, peak_mag = {} }

[trunk]
kind = "towers"
width = 16
depth = 1
heads = 2
drop_path = 0.2

[head.align]
kind = "contrastive"
dimensions = 8

[train]
batch = 32
max_steps = 6
warmup_steps = 2
checkpoint_every = 2
evaluate_every = 3
"#;

/// A config with data of its own, in a folder that goes when this does.
struct Place {
    folder: TempDir,
    config: PathBuf,
}

impl Place {
    fn new() -> Self {
        Self::of(CONFIG)
    }

    /// With another config than the usual one.
    fn of(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("created");
        for name in ["Npix=5.parquet", "Npix=7.parquet"] {
            let from = Path::new(ROOT).join("data/supernovae/dataset/Norder=0/Dir=0").join(name);
            fs::copy(from, data.join(name)).expect("copied");
        }
        let config = folder.path().join("tiny.toml");
        let text = text.replace("[data]\n", &format!("[data]\npath = {data:?}\n"));
        fs::write(&config, text).expect("written");
        Self { folder, config }
    }

    /// The run folder called `name`.
    fn run(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `train CONFIG --set run.output=RUN` and `more`, not yet started.
    fn command(&self, run: &str, more: &[&str]) -> std::process::Command {
        let output = format!("run.output={:?}", self.run(run));
        let config = self.config.display().to_string();
        let mut command = command(&["train", &config, "--set", &output]);
        command.args(more);
        command
    }

    /// Trains in the folder `run`, which must succeed.
    fn train(&self, run: &str, more: &[&str]) {
        let output = self.command(run, more).output().expect("the command starts");
        assert!(output.status.success(), "{run}, {more:?}:\n{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Trains in the folder `run`, which must fail with `code` and change no file of the folder; gives the message
    /// with the temporary folder called `HERE`.
    fn refuses(&self, code: i32, run: &str, more: &[&str]) -> String {
        let before = files(&self.run(run));
        let output = format!("run.output={:?}", self.run(run));
        let config = self.config.display().to_string();
        let arguments = [&["train", config.as_str(), "--set", &output], more].concat();
        let text = fails(code, &arguments, &[(self.folder.path(), "HERE")]);
        let after = files(&self.run(run));
        assert!(before.keys().eq(after.keys()), "before {:?}, after {:?}", before.keys(), after.keys());
        assert!(before == after, "the failed command changed a file");
        text
    }
}

/// Every file below `folder`, by its path in it.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let name = path.strip_prefix(root).expect("below the root").to_path_buf();
                found.insert(name, fs::read(&path).expect("readable"));
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, folder, &mut found);
    found
}

/// The checkpoint that `latest` names.
pub(crate) fn checkpoint(run: &Path) -> PathBuf {
    let checkpoints = run.join("checkpoints");
    checkpoints.join(fs::read_to_string(checkpoints.join("latest")).expect("`latest`"))
}

/// The log without what a clock says, and without TensorBoard's copy.
fn log(run: &Path) -> Vec<Map<String, Value>> {
    let text = fs::read_to_string(run.join("log.jsonl")).expect("a log");
    let line = |line: &str| -> Map<String, Value> {
        let mut values: Map<String, Value> = serde_json::from_str(line).expect("a line of JSON");
        values.remove("seconds");
        values
    };
    text.lines().map(line).collect()
}

/// The loss of each step in the order of the log.
pub(crate) fn losses(run: &Path) -> Vec<(u64, f64)> {
    let loss = |line: &Map<String, Value>| Some((line.get("step")?.as_u64()?, line.get("loss")?.as_f64()?));
    log(run).iter().filter_map(loss).collect()
}

/// Fails unless both runs ended with the same checkpoint to the bit, the same log, and the same best step.
pub(crate) fn assert_same(a: &Path, b: &Path) {
    let (one, two) = (files(&checkpoint(a)), files(&checkpoint(b)));
    assert!(one.len() >= 3 && one.keys().eq(two.keys()), "{:?} and {:?}", one.keys(), two.keys());
    for (name, bytes) in &one {
        assert!(*bytes == two[name], "{} of {} and {} differ", name.display(), a.display(), b.display());
    }
    assert_eq!(log(a), log(b));
    let best = |run: &Path| fs::read_to_string(run.join("checkpoints/best")).ok();
    assert_eq!(best(a), best(b));
}
