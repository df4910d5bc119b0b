//! `panchroma schema`: one JSON schema of a config, for editors.

use super::print_json;
use super::registry::PluginArgs;
use clap::Args;
use panchroma_core::data::DataConfig;
use panchroma_core::evaluate::{EvaluateConfig, PredictKeys, ProbeKeys};
use panchroma_core::metadata::ModalityKeys;
use panchroma_core::reexport::schemars::{JsonSchema, schema_for};
use panchroma_core::registry::Catalogue;
use panchroma_core::train::TrainConfig;
use panchroma_core::{Kind, PluginsConfig, Registry, Result, RunConfig};
use serde_json::{Map, Value, json};

/// Arguments of `schema`.
#[derive(Args)]
pub(super) struct SchemaArgs {
    #[command(flatten)]
    plugins: PluginArgs,
}

pub(super) fn run(args: &SchemaArgs) -> Result<()> {
    print_json(&config_schema(&args.plugins.registry()?))
}

/// The schema of a whole config with the plugins of `registry`.
fn config_schema(registry: &Registry) -> Value {
    let mut own = inline::<ModalityKeys>()["properties"].take();
    own["tokenizer"] = any_of(&registry.tokenizers, &json!({}));
    let mut of_codec = own.clone();
    for (keys, others) in [(&mut own, ["codec", "part", "codes"].as_slice()), (&mut of_codec, &["tokenizer"])] {
        if let Some(keys) = keys.as_object_mut() {
            keys.retain(|key, _| !others.contains(&key.as_str()));
        }
    }
    let mut modality = any_of(&registry.modalities, &own);
    if let Some(choices) = modality["anyOf"].as_array_mut() {
        choices.push(json!({
            "description": "a modality with its codec from another run",
            "type": "object",
            "additionalProperties": false,
            "required": ["codec"],
            "properties": of_codec,
        }));
    }
    let weight = json!({ "type": "number", "default": 1.0, "description": "Weight of this head in the loss." });
    let head = any_of(&registry.heads, &json!({ "weight": weight }));
    let probe_keys = inline::<ProbeKeys>();
    let probe = any_of(&registry.probes, probe_keys.get("properties").unwrap_or(&Value::Null));
    let mut predict = inline::<PredictKeys>();
    predict["properties"]["baseline"] = any_of(&registry.probes, &json!({}));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Panchroma config",
        "type": "object",
        "additionalProperties": false,
        "required": ["run", "data", "modality", "train"],
        "properties": {
            "extends": {
                "description": "Files whose values this one changes, relative to this file; later ones win.",
                "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }]
            },
            "run": inline::<RunConfig>(),
            "data": inline::<DataConfig>(),
            "modality": { "type": "object", "additionalProperties": modality },
            "trunk": any_of(&registry.trunks, &json!({})),
            "head": { "type": "object", "additionalProperties": head },
            "plugins": inline::<PluginsConfig>(),
            "train": inline::<TrainConfig>(),
            "evaluate": inline::<EvaluateConfig>(),
            "probe": { "type": "object", "additionalProperties": probe },
            "predict": { "type": "object", "additionalProperties": predict },
        }
    })
}

/// The schema of `T` without references.
pub(super) fn inline<T: JsonSchema>() -> Value {
    resolved(&schema_for!(T).to_value())
}

/// `schema` with each `$ref` replaced by what it names.
pub(super) fn resolved(schema: &Value) -> Value {
    let definitions = schema.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut schema = resolve(schema, &definitions);
    if let Some(object) = schema.as_object_mut() {
        for key in ["$defs", "$schema", "title"] {
            object.remove(key);
        }
    }
    schema
}

fn resolve(value: &Value, definitions: &Map<String, Value>) -> Value {
    match value {
        Value::Object(object) => {
            let name = object.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/$defs/"));
            let mut merged = Map::new();
            if let Some(Value::Object(found)) = name.and_then(|n| definitions.get(n)).map(|v| resolve(v, definitions)) {
                merged.extend(found);
            }
            for (key, value) in object.iter().filter(|(key, _)| *key != "$ref") {
                merged.insert(key.clone(), resolve(value, definitions));
            }
            Value::Object(merged)
        }
        Value::Array(items) => items.iter().map(|v| resolve(v, definitions)).collect(),
        other => other.clone(),
    }
}

/// A table that is one of the plugins of a kind, chosen by its key `kind`, with the framework's own
/// keys beside the plugin's.
fn any_of<T: Kind + ?Sized>(catalogue: &Catalogue<T>, framework: &Value) -> Value {
    let choices: Vec<Value> = catalogue
        .iter()
        .map(|(name, entry)| {
            let mut schema = resolved(&entry.schema.clone().to_value());
            if let Some(object) = schema.as_object_mut() {
                object.insert("description".into(), entry.summary.clone().into());
                let properties = object.entry("properties").or_insert_with(|| json!({}));
                if let (Some(properties), Some(framework)) = (properties.as_object_mut(), framework.as_object()) {
                    properties.extend(framework.clone());
                    properties.insert("kind".into(), json!({ "const": name }));
                }
                let required = object.entry("required").or_insert_with(|| json!([]));
                if let Some(required) = required.as_array_mut() {
                    required.push("kind".into());
                }
            }
            schema
        })
        .collect();
    json!({ "anyOf": choices })
}
