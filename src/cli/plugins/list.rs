//! `panchroma plugins list`: compiled-in plugins, and shared libraries with what they offer.

use crate::cli::registry::PluginArgs;
use crate::cli::{JsonArgs, print, print_json};
use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use panchroma_core::registry::Catalogue;
use panchroma_core::{Kind, PluginsConfig, Registry, Result};
use panchroma_host::{Candidate, Manifest};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Arguments of `plugins list`.
#[derive(Args)]
#[command(
    after_help = "A library whose manifest lists its components is not loaded; `--load` loads those, too, and shows their keys."
)]
pub(in crate::cli) struct ListArgs {
    #[command(flatten)]
    plugins: PluginArgs,
    /// Load libraries even if a manifest says what they offer
    #[arg(long)]
    load: bool,
    #[command(flatten)]
    json: JsonArgs,
}

impl ListArgs {
    pub(super) fn json(&self) -> bool {
        self.json.json
    }
}

#[derive(Serialize)]
struct Row {
    kind: String,
    name: String,
    summary: String,
    origin: String,
    /// None if the library was not loaded.
    keys: Option<Vec<String>>,
}

/// A shared library.
#[derive(Serialize)]
struct LibraryRow {
    plugin: String,
    version: String,
    license: String,
    publisher: String,
    /// Version of the interface, if a manifest says it.
    interface: Option<String>,
    file: PathBuf,
    sha256: String,
    loaded: bool,
    /// Why it can't be used.
    error: Option<String>,
}

#[derive(Serialize)]
struct Listed {
    plugins: Vec<Row>,
    libraries: Vec<LibraryRow>,
}

pub(super) fn run(args: &ListArgs) -> Result<()> {
    let mut listed = Listed { plugins: Vec::new(), libraries: Vec::new() };
    collect_all(&Registry::linked()?, false, &mut listed.plugins);
    let config = PluginsConfig { paths: args.plugins.paths()?, ..PluginsConfig::default() };
    for named in panchroma_host::named(&config) {
        // This is the command to find out what is wrong with one.
        let candidates = match named.candidates() {
            Ok(candidates) => candidates,
            Err(error) => {
                listed.libraries.push(LibraryRow { error: Some(error.to_string()), ..LibraryRow::at(&named.path) });
                continue;
            }
        };
        for candidate in candidates {
            match &candidate.manifest {
                Some(manifest) if !manifest.components.is_empty() && !args.load => {
                    unloaded(&candidate, manifest, &mut listed);
                }
                _ => loaded(&candidate, &mut listed)?,
            }
        }
    }
    conflicts(&mut listed.libraries);
    if args.json.json { print_json(&listed) } else { print(&show(&listed)) }
}

impl LibraryRow {
    /// Of which nothing is known yet.
    fn at(file: &Path) -> Self {
        Self {
            plugin: String::new(),
            version: String::new(),
            license: String::new(),
            publisher: String::new(),
            interface: None,
            file: file.to_path_buf(),
            sha256: String::new(),
            loaded: false,
            error: None,
        }
    }
}

/// Notes libraries of one name, of which a run takes none.
fn conflicts(libraries: &mut [LibraryRow]) {
    let all: Vec<(String, PathBuf)> = libraries.iter().map(|l| (l.plugin.clone(), l.file.clone())).collect();
    for (number, row) in libraries.iter_mut().enumerate().filter(|(_, row)| !row.plugin.is_empty()) {
        let other = all.iter().enumerate().find(|(n, (plugin, _))| *n != number && *plugin == row.plugin);
        if let (Some((_, (plugin, file))), None) = (other, &row.error) {
            row.error = Some(format!("`{}` is called `{plugin}`, too; a run takes one of them", file.display()));
        }
    }
}

/// What a manifest says.
fn unloaded(candidate: &Candidate, manifest: &Manifest, listed: &mut Listed) {
    let facts = panchroma_host::facts(&candidate.library);
    listed.plugins.extend(manifest.components.iter().map(|offer| Row {
        // Codecs are named where tokenizers are.
        kind: if offer.kind == "codec" { "tokenizer".into() } else { offer.kind.clone() },
        name: offer.name.clone(),
        summary: offer.summary.clone(),
        origin: format!("{} {}", manifest.name, manifest.version),
        keys: None,
    }));
    listed.libraries.push(LibraryRow {
        plugin: manifest.name.clone(),
        version: manifest.version.clone(),
        license: manifest.license.clone(),
        publisher: manifest.publisher.clone(),
        interface: Some(manifest.abi.clone()),
        file: candidate.library.clone(),
        sha256: facts.as_ref().map(|f| f.sha256.clone()).unwrap_or_default(),
        loaded: false,
        error: facts.err().map(|error| error.to_string()),
    });
}

/// What a library says when it is loaded; one that can't be is listed with the reason.
fn loaded(candidate: &Candidate, listed: &mut Listed) -> Result<()> {
    let mut registry = Registry::linked()?;
    let one = PluginsConfig::default();
    let mut row = LibraryRow {
        interface: candidate.manifest.as_ref().map(|manifest| manifest.abi.clone()),
        sha256: panchroma_host::facts(&candidate.library).map(|f| f.sha256).unwrap_or_default(),
        ..LibraryRow::at(&candidate.library)
    };
    match panchroma_host::add_found(&mut registry, &one, std::slice::from_ref(candidate)) {
        Err(error) => row.error = Some(error.to_string()),
        Ok(libraries) => {
            row.loaded = true;
            for library in libraries {
                (row.plugin, row.version) = (library.name.clone(), library.version.clone());
                (row.license, row.publisher) = (library.license.clone(), library.publisher.clone());
            }
            collect_all(&registry, true, &mut listed.plugins);
        }
    }
    listed.libraries.push(row);
    Ok(())
}

fn collect_all(registry: &Registry, foreign: bool, rows: &mut Vec<Row>) {
    collect(&registry.modalities, foreign, rows);
    collect(&registry.tokenizers, foreign, rows);
    collect(&registry.trunks, foreign, rows);
    collect(&registry.heads, foreign, rows);
    collect(&registry.probes, foreign, rows);
}

fn collect<T: Kind + ?Sized>(catalogue: &Catalogue<T>, foreign: bool, rows: &mut Vec<Row>) {
    for (name, entry) in catalogue.iter().filter(|(_, entry)| entry.library.is_some() == foreign) {
        let keys = entry.schema.get("properties").and_then(serde_json::Value::as_object);
        rows.push(Row {
            kind: T::KIND.into(),
            name: name.to_owned(),
            summary: entry.summary.clone(),
            origin: entry.origin.clone(),
            keys: Some(keys.map(|k| k.keys().cloned().collect()).unwrap_or_default()),
        });
    }
}

fn show(listed: &Listed) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["kind", "name", "what it is", "from"]);
    for row in &listed.plugins {
        table.add_row([&row.kind, &row.name, &row.summary, &row.origin]);
    }
    let mut text = format!("{}\n\n`panchroma docs NAME` explains one.\n", table.trim_fmt());
    if listed.libraries.is_empty() {
        return text;
    }
    for row in &listed.libraries {
        let title = if row.plugin.is_empty() { String::new() } else { format!("{} {}: ", row.plugin, row.version) };
        text += &format!("\n{title}{}\n", row.file.display());
        if !row.license.is_empty() {
            let by = if row.publisher.is_empty() { String::new() } else { format!(", by {}", row.publisher) };
            let how = if row.loaded { "" } else { ", as its manifest says; not loaded" };
            text += &format!("  {}{by}{how}\n", row.license);
        }
        if !row.sha256.is_empty() {
            text += &format!("  sha256 {}\n", row.sha256);
        }
        if let Some(error) = &row.error {
            text += &format!("  can't be used: {error}\n");
        }
    }
    text
}
