//! Compiling `faulty.c` with this or that macro, and loading what comes out.

use panchroma_core::reexport::arrow_array::types::Float32Type;
use panchroma_core::reexport::arrow_array::{LargeListArray, RecordBatch};
use panchroma_core::{
    Modality, ModalityContext, Mode, Parameters, PluginsConfig, PrepareContext, Registry, Result, Rows, Section,
    Tokenizer, TokenizerContext,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tempfile::TempDir;

/// Where libraries are built, once per run of the tests.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| tempfile::tempdir().expect("a folder")).path()
}

/// `faulty.c` as a library, compiled with `macros` (`MAJOR=9`).
pub(crate) fn faulty(macros: &[&str]) -> PathBuf {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let name = macros.join("_").replace('=', "_").to_lowercase();
    let path = folder().join(format!("libfaulty_{name}.so"));
    built.entry(name).or_insert_with(|| {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new("cc");
        command.args(["-std=c99", "-shared", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror", "-I"]);
        command.arg(here.join("../abi")).args(macros.iter().map(|m| format!("-D{m}")));
        command.arg("-o").arg(&path).arg(here.join("tests/faulty/faulty.c"));
        let output = command.output().expect("a C compiler");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        path.clone()
    });
    path
}

/// A library of another file, compiled against the header in `header`.
pub(crate) fn compiled(source: &Path, header: &Path, name: &str) -> PathBuf {
    let path = folder().join(format!("lib{name}.so"));
    let mut command = Command::new("cc");
    command.args(["-std=c99", "-shared", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror", "-I"]);
    let output = command.arg(header).arg("-o").arg(&path).arg(source).arg("-lm").output().expect("a C compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    path
}

/// A config that names one library.
pub(crate) fn config(library: &Path) -> PluginsConfig {
    PluginsConfig { paths: vec![library.to_path_buf()], ..PluginsConfig::default() }
}

/// A registry with that library.
pub(crate) fn registry(config: &PluginsConfig) -> Result<Registry> {
    let mut registry = Registry::linked()?;
    panchroma_host::add(&mut registry, config)?;
    Ok(registry)
}

/// What loading says.
pub(crate) fn refusal(config: &PluginsConfig) -> String {
    registry(config).err().expect("refused").to_string()
}

/// The modality `faulty` with these keys.
pub(crate) fn modality(config: &PluginsConfig, keys: &str) -> Result<Box<dyn Modality>> {
    let section = Section::from_toml("modality.x", &format!("kind = \"faulty\"\n{keys}"))?;
    registry(config)?.modalities.build(&section, &ModalityContext { name: "x" })
}

/// The codec `faulty_codec` of the arrays of a modality.
pub(crate) fn codec(config: &PluginsConfig, modality: &dyn Modality, keys: &str) -> Result<Box<dyn Tokenizer>> {
    let section = Section::from_toml("modality.x.tokenizer", &format!("kind = \"faulty_codec\"\n{keys}"))?;
    let parameters = Parameters::new(0, &panchroma_core::reexport::candle_core::Device::Cpu);
    let arrays = modality.spec();
    let context = TokenizerContext { modality: "x", arrays: &arrays, parameters: &parameters };
    registry(config)?.tokenizers.build(&section, &context)
}

/// Three objects with a list `value`: `a` of two values, `b` of one, `c` without it.
pub(crate) fn rows() -> Rows {
    let lists = [Some(vec![Some(1.0), Some(2.0)]), Some(vec![Some(3.0)]), None];
    let lists = LargeListArray::from_iter_primitive::<Float32Type, _, _>(lists);
    let columns = RecordBatch::try_from_iter_with_nullable([("value", Arc::new(lists) as _, true)]).expect("a batch");
    Rows::new(["a", "b", "c"].map(String::from).to_vec(), columns).expect("rows")
}

pub(crate) fn context() -> PrepareContext<'static> {
    PrepareContext { mode: Mode::Train, seed: 1, epoch: 0, modality: "x" }
}
