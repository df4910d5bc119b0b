//! The plugins that a command knows: those compiled in, and those of shared libraries that its config, the run that it
//! reads, or its user name.

use clap::Args;
use panchroma_core::config::Document;
use panchroma_core::train::RunFolder;
use panchroma_core::{Error, PluginsConfig, Registry, Result};
use std::path::{Path, PathBuf};

/// Plugins of a config.
pub(super) fn of(document: &Document) -> Result<Registry> {
    with(&PluginsConfig::of(document)?)
}

/// Plugins of the config of a run, changed by `set`. Where there is no run, whoever reads it says so.
pub(super) fn of_run(run: &Path, set: &[String]) -> Result<Registry> {
    let config = RunFolder::new(run).config();
    if config.is_file() { of(&Document::load(&config, set)?) } else { Registry::linked() }
}

fn with(config: &PluginsConfig) -> Result<Registry> {
    let mut registry = Registry::linked()?;
    let found = panchroma_host::candidates(config)?;
    if !found.is_empty() {
        super::keep_output();
    }
    panchroma_host::add_found(&mut registry, config, &found)?;
    Ok(registry)
}

/// Plugins for commands without a config.
#[derive(Args)]
pub(super) struct PluginArgs {
    /// Also a plugin that is not compiled in: a shared library, its manifest, or a folder of them; may be repeated. Those in
    /// PANCHROMA_PLUGIN_PATH are always there
    #[arg(long = "plugin", value_name = "PATH")]
    plugins: Vec<PathBuf>,
}

impl PluginArgs {
    /// The paths, whole: what a user types is relative to where that is typed.
    pub(super) fn paths(&self) -> Result<Vec<PathBuf>> {
        self.plugins.iter().map(|path| path.canonicalize().map_err(Error::io("read", path))).collect()
    }

    /// With everything that is compiled in.
    pub(super) fn registry(&self) -> Result<Registry> {
        with(&PluginsConfig { paths: self.paths()?, ..PluginsConfig::default() })
    }
}
