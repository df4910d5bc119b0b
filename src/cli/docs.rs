//! `panchroma docs`: the manual of the config, from the same structs that read it.

use super::print;
use super::registry::PluginArgs;
use super::schema::{inline, resolved};
use clap::Args;
use panchroma_builder::ingest::Mapping;
use panchroma_core::data::DataConfig;
use panchroma_core::evaluate::{EvaluateConfig, PredictKeys, ProbeKeys};
use panchroma_core::metadata::ModalityKeys;
use panchroma_core::registry::Catalogue;
use panchroma_core::train::TrainConfig;
use panchroma_core::{Error, Kind, PluginsConfig, Registry, Result, RunConfig};
use serde_json::Value;
use std::fmt::Write;

/// Arguments of `docs`.
#[derive(Args)]
pub(super) struct DocsArgs {
    /// A table (`run`, `data`, `modality`, `plugins`, `train`, `evaluate`, `probe`, `predict`), a plugin's kind (`spectrum`, `contrastive`, ...)
    /// or `ingest`, the mapping of `panchroma data ingest`; all if left out
    name: Option<String>,
    #[command(flatten)]
    plugins: PluginArgs,
}

/// One chapter: what it is called, and its text.
struct Chapter {
    name: String,
    text: String,
}

pub(super) fn run(args: &DocsArgs) -> Result<()> {
    let chapters = chapters(&args.plugins.registry()?);
    let Some(name) = &args.name else {
        return print(&reference(&chapters));
    };
    let found: Vec<&str> = chapters.iter().filter(|c| &c.name == name).map(|c| c.text.as_str()).collect();
    if found.is_empty() {
        let known = chapters.iter().map(|c| c.name.clone()).collect();
        return Err(Error::UnknownName { what: "table or plugin", name: name.clone(), known });
    }
    print(&found.join("\n"))
}

/// Everything on one page: what `docs/config-reference.md` holds.
fn reference(chapters: &[Chapter]) -> String {
    let mut text = String::from(
        "# Config reference\n\nMade by `panchroma docs`; a test compares it with the code.\n\n\
         A config is one TOML file. `extends = [\"other.toml\"]` takes over other files, whose values this one \
         changes; `--set train.batch=64` changes one value for one run. `[modality.NAME]`, `[head.NAME]` and \
         `[probe.NAME]` carry names of your choice; `kind` picks the plugin, the other keys are the plugin's.\n\n",
    );
    for chapter in chapters {
        text += &chapter.text;
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn chapters(registry: &Registry) -> Vec<Chapter> {
    let mut chapters =
        vec![table("run", "`[run]`", &inline::<RunConfig>()), table("data", "`[data]`", &inline::<DataConfig>())];
    // Its own keys are not all that it needs.
    let modality = "[modality.NAME]\ntokenizer = { kind = \"...\" }   # required: one of the tokenizers";
    plugins(&registry.modalities, modality, &mut chapters);
    chapters.push(table("modality", "`[modality.NAME]`, beside the keys of its kind", &inline::<ModalityKeys>()));
    plugins(&registry.tokenizers, "[modality.NAME.tokenizer]", &mut chapters);
    plugins(&registry.trunks, "[trunk]", &mut chapters);
    plugins(&registry.heads, "[head.NAME]", &mut chapters);
    chapters.push(table("plugins", "`[plugins]`", &inline::<PluginsConfig>()));
    chapters.push(table("train", "`[train]`", &inline::<TrainConfig>()));
    chapters.push(table("evaluate", "`[evaluate]`", &inline::<EvaluateConfig>()));
    chapters.push(table("probe", "`[probe.NAME]`, beside the keys of its kind", &inline::<ProbeKeys>()));
    plugins(&registry.probes, "[probe.NAME]", &mut chapters);
    chapters.push(table("predict", "`[predict.NAME]`", &inline::<PredictKeys>()));
    chapters.push(mapping(&inline::<Mapping>()));
    chapters
}

/// The file that `data ingest` reads: it is no config, but its keys are looked up in the same way.
fn mapping(schema: &Value) -> Chapter {
    let at = |path: &str| schema.pointer(path).unwrap_or(&Value::Null);
    let meaning =
        |table: &str| at(&format!("/properties/{table}/description")).as_str().unwrap_or("").replace('\n', " ");
    let text = format!(
        "## mapping of `panchroma data ingest`\n\n```toml\n{}\n```\n\n\
         `[source]`: {}\n\n{}\n`[column]`: {}\n\n`[measurement.NAME]`: {}\n\n\
         Each of `[column]` and of `[measurement.NAME]` is a table:\n\n{}",
        super::data::EXAMPLE,
        meaning("source"),
        keys(at("/properties/source")),
        meaning("column"),
        meaning("measurement"),
        keys(at("/properties/column/additionalProperties")),
    );
    Chapter { name: "ingest".into(), text }
}

fn table(name: &str, title: &str, schema: &Value) -> Chapter {
    Chapter { name: name.into(), text: format!("## {title}\n\n{}", keys(schema)) }
}

fn plugins<T: Kind + ?Sized>(catalogue: &Catalogue<T>, header: &str, chapters: &mut Vec<Chapter>) {
    for (name, entry) in catalogue.iter() {
        let text = format!(
            "## {} `{name}`\n\n{} (from `{}`).\n\n```toml\n{header}\nkind = \"{name}\"\n{}\n```\n\n{}",
            T::KIND,
            capitalized(&entry.summary),
            entry.origin,
            entry.example.trim_end(),
            keys(&resolved(&entry.schema.clone().to_value()))
        );
        chapters.push(Chapter { name: name.to_owned(), text });
    }
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// One list item per key: name, type, default, meaning.
fn keys(schema: &Value) -> String {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return String::from("It has no keys.\n");
    };
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let mut text = String::new();
    for (name, property) in properties {
        let default = match property.get("default") {
            _ if required.contains(&name.as_str()) => "required".into(),
            None | Some(Value::Null) => "optional".into(),
            Some(default) => format!("default `{default}`"),
        };
        let meaning = property.get("description").and_then(Value::as_str).unwrap_or("").replace('\n', " ");
        // Writing to a string can't fail.
        let _ = writeln!(text, "- `{name}` ({}, {default}): {meaning}", type_name(property));
        for choice in property.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
            if let (Some(value), Some(meaning)) = (choice.get("const"), choice.get("description")) {
                let meaning = meaning.as_str().unwrap_or("").replace('\n', " ");
                let _ = writeln!(text, "  - `{value}`: {meaning}");
            }
        }
        let tables = ["items", "additionalProperties"].iter().filter_map(|key| property.get(key));
        let choices = property.get("anyOf").and_then(Value::as_array).into_iter().flatten();
        let inner = tables.chain(choices).chain([property]).find(|p| p.get("properties").is_some());
        for line in inner.map(keys).unwrap_or_default().lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

fn type_name(property: &Value) -> String {
    match property.get("type") {
        Some(Value::String(name)) if name == "array" => {
            format!("list of {}", property.get("items").map_or_else(|| "values".into(), type_name))
        }
        Some(Value::String(name)) if name == "object" => "table".into(),
        Some(Value::String(name)) => name.clone(),
        Some(Value::Array(names)) => {
            let names: Vec<&str> = names.iter().filter_map(Value::as_str).filter(|n| *n != "null").collect();
            names.join(" or ")
        }
        _ if property.get("oneOf").is_some() || property.get("enum").is_some() => "choice".into(),
        _ => match property.get("anyOf").and_then(Value::as_array) {
            Some(choices) => {
                let mut names: Vec<String> = choices.iter().map(type_name).filter(|n| n != "null").collect();
                names.dedup();
                names.join(" or ")
            }
            None => "value".into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_a_mapping_is_explained() {
        let text = mapping(&inline::<Mapping>()).text;
        let keys = "files layout part group key first last replace with on_error from planes keyword file_name until \
                    constant start step along transform unit to type optional";
        for key in keys.split_whitespace() {
            let line = text.lines().map(str::trim_start).find(|line| line.starts_with(&format!("- `{key}` (")));
            let meaning = line.and_then(|line| line.split_once("): ")).map_or("", |(_, meaning)| meaning);
            assert!(!meaning.trim().is_empty(), "`{key}` in {text}");
        }
    }
}
