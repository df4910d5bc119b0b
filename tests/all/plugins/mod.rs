//! Plugins in shared libraries, by the command line: the examples in training, and what goes wrong.

mod changed; // files that are not those of the checkpoint, and paths
mod examples; // trained, resumed, embedded
mod isolated; // crashes, hangs, and the same numbers
mod tools; // list, check, new, docs

use crate::support::ROOT;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{ArrayRef, Float64Array, LargeListArray, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

/// Objects of the catalogue that is made up.
const OBJECTS: usize = 120;

/// Runs a compiler, which must succeed.
fn compile(command: &mut Command) {
    let output = command.output().expect("a compiler");
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
}

/// A library of one C or C++ file, as a plugin's README says; `macros` are for the one that breaks rules.
fn library(folder: &Path, source: &str, macros: &[&str]) -> PathBuf {
    let source = Path::new(ROOT).join(source);
    let stem = source.file_stem().expect("a name").to_string_lossy().into_owned();
    let out = folder.join(format!("lib{stem}.so"));
    let (compiler, standard) =
        if source.extension().is_some_and(|e| e == "c") { ("cc", "-std=c99") } else { ("c++", "-std=c++17") };
    let mut command = Command::new(compiler);
    command.args([standard, "-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror", "-I"]);
    command.arg(Path::new(ROOT).join("plugins/abi")).args(macros.iter().map(|m| format!("-D{m}")));
    compile(command.arg("-o").arg(&out).arg(source).arg("-lm"));
    out
}

/// The Rust example, built outside of the workspace.
fn rust_example(folder: &Path) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("projects");
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    command.args(["build", "--offline", "--locked"]).env("CARGO_TARGET_DIR", &target);
    compile(command.current_dir(Path::new(ROOT).join("plugins/examples/rust-dynamic")));
    let name = format!("{}panchroma_events{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let out = folder.join(&name);
    fs::copy(target.join("debug").join(name), &out).expect("built");
    out
}

/// A number in 0..1 that depends on its arguments alone.
fn noise(object: usize, place: usize) -> f64 {
    ((object * 7919 + place * 104_729 + object * place * 31) % 10_007) as f64 / 10_007.0
}

fn lists_f32(value: impl Fn(usize, usize) -> f64, length: impl Fn(usize) -> usize, every: usize) -> ArrayRef {
    let list = |object: usize| {
        // Some objects lack the measurement.
        (object % every != every - 1)
            .then(|| (0..length(object)).map(|i| Some(value(object, i) as f32)).collect::<Vec<_>>())
    };
    Arc::new(LargeListArray::from_iter_primitive::<Float32Type, _, _>((0..OBJECTS).map(list)))
}

fn lists_f64(value: impl Fn(usize, usize) -> f64, length: impl Fn(usize) -> usize, every: usize) -> ArrayRef {
    let list = |object: usize| {
        (object % every != every - 1).then(|| (0..length(object)).map(|i| Some(value(object, i))).collect::<Vec<_>>())
    };
    Arc::new(LargeListArray::from_iter_primitive::<Float64Type, _, _>((0..OBJECTS).map(list)))
}

/// A catalogue with what the examples read, all of it driven by one hidden number per object.
fn catalogue(folder: &Path) -> PathBuf {
    let hidden = |object: usize| noise(object, 1);
    let number = |f: &dyn Fn(f64) -> f64| -> ArrayRef {
        Arc::new((0..OBJECTS).map(|i| Some(f(hidden(i)) + 0.02 * noise(i, 5))).collect::<Float64Array>())
    };
    let seen = |object: usize| 8 + object % 7;
    let photons = |object: usize| 20 + (60.0 * hidden(object)) as usize;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("object_id", Arc::new((0..OBJECTS).map(|i| Some(format!("o{i:03}"))).collect::<StringArray>())),
        ("brightness", number(&|h| 18.0 - 3.0 * h)),
        ("colour", number(&|h| 0.3 + h * h)),
        ("luminosity_distance", number(&|h| 100.0 + 900.0 * h)),
        ("log_flux", number(&|h| -13.5 + h)),
        ("polarimetry.time", lists_f64(|o, i| 59_000.0 + 10.0 * i as f64 + noise(o, i), seen, 10)),
        ("polarimetry.q", lists_f32(|o, i| 0.1 * hidden(o) + 0.01 * noise(o, 10 + i), seen, 10)),
        ("polarimetry.u", lists_f32(|o, i| 0.05 - 0.1 * hidden(o) + 0.01 * noise(o, 30 + i), seen, 10)),
        ("polarimetry.sigma", lists_f32(|_, _| 0.01, seen, 10)),
        ("strain.H1", lists_f32(|o, i| (0.1 * i as f64 * (1.0 + hidden(o))).sin() + noise(o, i), |_| 300, 12)),
        ("strain.L1", lists_f32(|o, i| (0.1 * i as f64 * (1.0 + hidden(o))).cos() + noise(o, 7 + i), |_| 300, 12)),
        ("time", lists_f64(|o, i| i as f64 * (5.0 - 3.0 * hidden(o)) + noise(o, i), photons, 9)),
        ("energy", lists_f64(|o, i| 0.5 + 6.0 * noise(o, 3 * i) * (0.3 + hidden(o)), photons, 9)),
        // What the plugin that breaks rules reads.
        ("value", lists_f32(|o, i| 2.0 * hidden(o) - 1.0 + 0.1 * noise(o, i), |o| 2 + o % 5, 11)),
    ];
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).expect("a batch");
    let data = folder.join("data");
    fs::create_dir(&data).expect("created");
    let file = File::create(data.join("part.parquet")).expect("created");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
    data
}

/// A place with data, a library, and a config that trains the library's modality beside a table of two columns.
struct Place {
    folder: TempDir,
    config: PathBuf,
    library: PathBuf,
}

impl Place {
    /// `own` are the tables of the plugin's modality and of heads; `steps` in all, a checkpoint in the middle.
    fn new(build: impl FnOnce(&Path) -> PathBuf, own: &str, steps: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (library, data) = (build(folder.path()), catalogue(folder.path()));
        let config = folder.path().join("plugin.toml");
        let middle = steps / 2;
        let text = format!(
            r#"[run]
name = "plugin"
output = {output:?}
[data]
path = {data:?}
threads = 2
[plugins]
paths = [{library:?}]
[modality.table]
kind = "table"
columns = {{ brightness = {{}}, colour = {{}} }}
tokenizer = {{ kind = "columns" }}
{own}
[trunk]
kind = "fused"
width = 16
depth = 1
heads = 2
[train]
batch = 16
max_steps = {steps}
warmup_steps = 1
learning_rate = 3e-3
checkpoint_every = {middle}
evaluate_every = 1000
[evaluate]
resamples = 10
"#,
            output = folder.path().join("run"),
        );
        fs::write(&config, text).expect("written");
        Self { folder, config, library }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `train CONFIG` into the folder `run`, with more arguments.
    fn arguments(&self, run: &str, more: &[&str]) -> Vec<String> {
        let set = format!("run.output={:?}", self.path(run));
        let own = ["train".to_owned(), self.config.display().to_string(), "--set".into(), set];
        own.into_iter().chain(more.iter().map(|a| (*a).to_owned())).collect()
    }

    fn train(&self, run: &str, more: &[&str]) -> String {
        let arguments = self.arguments(run, more);
        crate::support::succeeds(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn fails(&self, code: i32, run: &str, more: &[&str]) -> String {
        let arguments = self.arguments(run, more);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        crate::support::fails(code, &arguments, &[(self.folder.path(), "HERE")])
    }
}

/// The plugin that breaks rules, as its config says.
fn faulty(keys: &str, steps: usize) -> Place {
    let own = format!("[modality.own]\nkind = \"faulty\"\ntokenizer = {{ kind = \"faulty_codec\" }}\n{keys}\n{ALIGN}");
    Place::new(|folder| library(folder, "plugins/host/tests/faulty/faulty.c", &[]), &own, steps)
}

/// A head that every modality trains with.
const ALIGN: &str = "[head.align]\nkind = \"contrastive\"\ndimensions = 8\n";
