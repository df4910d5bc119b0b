//! `panchroma plugins list`.

use super::registry::PluginArgs;
use super::{JsonArgs, print, print_json};
use clap::{Args, Subcommand};
use comfy_table::{ContentArrangement, Table, presets};
use panchroma_core::registry::Catalogue;
use panchroma_core::{Kind, Result};
use serde::Serialize;

/// Commands below `plugins`.
#[derive(Subcommand)]
pub(super) enum PluginsCommand {
    /// List every plugin: kind, name, what it is, where it comes from, the keys of its config
    List(ListArgs),
    /// What a run starts in a child process for `plugins.isolate`
    #[command(hide = true)]
    Serve,
}

/// Arguments of `plugins list`.
#[derive(Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    plugins: PluginArgs,
    #[command(flatten)]
    json: JsonArgs,
}

impl PluginsCommand {
    pub(super) fn json(&self) -> bool {
        match self {
            Self::List(args) => args.json.json,
            Self::Serve => false,
        }
    }
}

#[derive(Serialize)]
struct Row {
    kind: &'static str,
    name: String,
    summary: String,
    origin: String,
    keys: Vec<String>,
}

pub(super) fn run(command: &PluginsCommand) -> Result<()> {
    let args = match command {
        PluginsCommand::List(args) => args,
        PluginsCommand::Serve => return panchroma_host::serve(),
    };
    let registry = args.plugins.registry()?;
    let mut rows = Vec::new();
    collect(&registry.modalities, &mut rows);
    collect(&registry.tokenizers, &mut rows);
    collect(&registry.trunks, &mut rows);
    collect(&registry.heads, &mut rows);
    collect(&registry.probes, &mut rows);
    if args.json.json {
        return print_json(&rows);
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["kind", "name", "what it is", "from"]);
    for row in &rows {
        table.add_row([row.kind, &row.name, &row.summary, &row.origin]);
    }
    print(&format!("{}\n\n`panchroma docs NAME` explains one.\n", table.trim_fmt()))
}

fn collect<T: Kind + ?Sized>(catalogue: &Catalogue<T>, rows: &mut Vec<Row>) {
    for (name, entry) in catalogue.iter() {
        let keys = entry.schema.get("properties").and_then(serde_json::Value::as_object);
        rows.push(Row {
            kind: T::KIND,
            name: name.to_owned(),
            summary: entry.summary.clone(),
            origin: entry.origin.clone(),
            keys: keys.map(|k| k.keys().cloned().collect()).unwrap_or_default(),
        });
    }
}
