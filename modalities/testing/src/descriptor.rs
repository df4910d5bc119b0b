//! What a plugin registers must be true: its example is a complete table that builds, and the
//! schema describes every field to the user.

use panchroma_core::registry::Entry;
use panchroma_core::{
    ArraysSpec, Kind, Modality, ModalityContext, Registry, Result, Section, Tokenizer, TokenizerContext,
};
use serde_json::Value;

/// Checks what the modality `name` registers, and builds its example.
///
/// # Panics
/// With what is wrong.
#[must_use]
pub fn modality_descriptor(name: &str) -> Box<dyn Modality> {
    let registry = Registry::linked().unwrap_or_else(|e| panic!("{e}"));
    let entry = registry.modalities.get(name).unwrap_or_else(|| panic!("no modality `{name}` is registered"));
    check(name, entry, |section| registry.modalities.build(section, &ModalityContext { name: "example" }))
}

/// Checks what the tokenizer `name` registers, and builds its example for `arrays`.
///
/// # Panics
/// With what is wrong.
#[must_use]
pub fn tokenizer_descriptor(name: &str, arrays: &ArraysSpec) -> Box<dyn Tokenizer> {
    let registry = Registry::linked().unwrap_or_else(|e| panic!("{e}"));
    let entry = registry.tokenizers.get(name).unwrap_or_else(|| panic!("no tokenizer `{name}` is registered"));
    let context = TokenizerContext {
        modality: "example",
        arrays,
        parameters: &panchroma_core::Parameters::new(0, &candle_core::Device::Cpu),
    };
    check(name, entry, |section| registry.tokenizers.build(section, &context))
}

fn check<T: Kind + ?Sized>(name: &str, entry: &Entry<T>, build: impl Fn(&Section) -> Result<Box<T>>) -> Box<T> {
    let what = format!("{} `{name}`", T::KIND);
    assert!(!entry.summary.trim().is_empty() && !entry.summary.contains('\n'), "{what}: the summary is one line");
    assert!(!entry.origin.is_empty(), "{what}: no origin");
    described(&what, entry.schema.as_value());
    let parse = |text: &str| {
        Section::from_toml(&format!("{}.example", T::KIND), text).unwrap_or_else(|e| panic!("{what}: example: {e}"))
    };
    let head = format!("kind = \"{name}\"\n");
    let wrong = parse(&format!("{head}no_such_key = 1\n{}", entry.example));
    assert!(build(&wrong).is_err(), "{what}: accepts an unknown key");
    build(&parse(&format!("{head}{}", entry.example))).unwrap_or_else(|e| panic!("{what}: example: {e}"))
}

/// Every property, at any depth, has a description.
fn described(what: &str, schema: &Value) {
    assert_eq!(schema["type"], "object", "{what}: the schema is an object");
    let mut open = vec![("schema".to_owned(), schema)];
    while let Some((path, at)) = open.pop() {
        let (Value::Object(_) | Value::Array(_)) = at else { continue };
        if let Some(Value::Object(properties)) = at.get("properties") {
            for (key, value) in properties {
                let text = value.get("description").and_then(Value::as_str).unwrap_or_default();
                assert!(!text.trim().is_empty(), "{what}: {path}: `{key}` has no description");
            }
        }
        match at {
            Value::Object(map) => open.extend(map.iter().map(|(k, v)| (format!("{path}.{k}"), v))),
            Value::Array(list) => open.extend(list.iter().enumerate().map(|(i, v)| (format!("{path}.{i}"), v))),
            _ => {}
        }
    }
}
