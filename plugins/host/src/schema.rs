//! A component's JSON schema, held against the table of the config before any of its code runs.

use jsonschema::JsonType as PrimitiveType;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use panchroma_core::config::Fault;
use panchroma_core::{Result, Section};
use serde_json::Value;

/// A schema that was compiled.
#[derive(Debug)]
pub(crate) struct ConfigSchema {
    text: Value,
    validator: Validator,
}

impl ConfigSchema {
    /// Compiles what a component carries.
    ///
    /// # Errors
    /// If it is no JSON, no schema, or not one of an object.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let schema: Value = serde_json::from_str(text).map_err(|e| format!("its schema is not JSON: {e}"))?;
        if schema.get("type").and_then(Value::as_str) != Some("object") {
            return Err("its schema must have `\"type\": \"object\"`".into());
        }
        let validator = jsonschema::validator_for(&schema).map_err(|e| format!("its schema is wrong: {e}"))?;
        Ok(Self { text: schema, validator })
    }

    /// The table as JSON, if it fits.
    ///
    /// # Errors
    /// A config error at the innermost value that is wrong.
    pub(crate) fn read(&self, section: &Section) -> Result<Value> {
        let config: Value = section.read()?;
        // The shortest way into the table first: an unknown key of a table says more than what it lacks.
        let mut faults: Vec<ValidationError<'_>> = self.validator.iter_errors(&config).collect();
        faults.sort_by_key(|fault| rank(&fault.kind));
        match faults.into_iter().next() {
            None => Ok(config),
            Some(fault) => Err(self.fault(section, &fault)),
        }
    }

    fn fault(&self, section: &Section, error: &ValidationError<'_>) -> panchroma_core::Error {
        let path: Vec<String> = error
            .instance_path
            .as_str()
            .split('/')
            .skip(1)
            .map(|step| step.replace("~1", "/").replace("~0", "~"))
            .collect();
        let fault = match &error.kind {
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                let known = self.properties(error.schema_path.as_str());
                Fault::UnknownKey { key: unexpected.first().cloned().unwrap_or_default(), known }
            }
            ValidationErrorKind::Required { property } => {
                Fault::MissingKey(property.as_str().map_or_else(|| property.to_string(), str::to_owned))
            }
            ValidationErrorKind::Type { kind } => Fault::WrongType { expected: words(kind) },
            ValidationErrorKind::Enum { options } if error.instance.is_string() => {
                let known = options.as_array().into_iter().flatten().filter_map(Value::as_str);
                Fault::UnknownValue { known: known.map(str::to_owned).collect() }
            }
            ValidationErrorKind::Minimum { limit } => Fault::Rejected(format!("must be {limit} or more")),
            ValidationErrorKind::Maximum { limit } => Fault::Rejected(format!("must be {limit} or less")),
            ValidationErrorKind::ExclusiveMinimum { limit } => Fault::Rejected(format!("must be above {limit}")),
            ValidationErrorKind::ExclusiveMaximum { limit } => Fault::Rejected(format!("must be below {limit}")),
            ValidationErrorKind::MinItems { limit } => Fault::Rejected(format!("must have {limit} items or more")),
            ValidationErrorKind::MaxItems { limit } => Fault::Rejected(format!("must have {limit} items or fewer")),
            ValidationErrorKind::Pattern { pattern } => Fault::Rejected(format!("must match `{pattern}`")),
            _ => Fault::Rejected(error.to_string()),
        };
        section.fault(&path, fault)
    }

    /// The properties of the schema in which the keyword at `path` stands.
    fn properties(&self, path: &str) -> Vec<String> {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let properties =
            self.text.pointer(parent).and_then(|schema| schema.get("properties")).and_then(Value::as_object);
        properties.map(|p| p.keys().cloned().collect()).unwrap_or_default()
    }
}

/// What is told first: a misspelt key must not be reported as a missing one.
fn rank(kind: &ValidationErrorKind) -> u8 {
    match kind {
        ValidationErrorKind::AdditionalProperties { .. } | ValidationErrorKind::UnevaluatedProperties { .. } => 0,
        ValidationErrorKind::Required { .. } => 2,
        _ => 1,
    }
}

fn words(kind: &TypeKind) -> String {
    let word = |kind: PrimitiveType| match kind {
        PrimitiveType::Array => "a list",
        PrimitiveType::Boolean => "true or false",
        PrimitiveType::Integer => "an integer",
        PrimitiveType::Null => "nothing",
        PrimitiveType::Number => "a number",
        PrimitiveType::Object => "a table",
        PrimitiveType::String => "a string",
    };
    match kind {
        TypeKind::Single(kind) => word(*kind).into(),
        TypeKind::Multiple(kinds) => {
            let words: Vec<&str> = kinds.iter().map(word).filter(|w| *w != "nothing").collect();
            words.join(" or ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{ "type": "object", "additionalProperties": false, "required": ["column"], "properties": {
        "column": { "type": "string" },
        "longest": { "type": "integer", "minimum": 1, "maximum": 64 },
        "mode": { "enum": ["fast", "slow"] },
        "bands": { "type": "array", "items": { "type": "object", "properties": { "name": { "type": "string" } },
            "required": ["name"], "additionalProperties": false } } } }"#;

    fn said(toml: &str) -> (String, String, Option<String>) {
        let section = Section::from_toml("modality.x", toml).unwrap();
        let error = ConfigSchema::parse(SCHEMA).unwrap().read(&section).unwrap_err();
        let place = error.place().unwrap();
        (error.to_string(), place.source.text[place.span.clone()].to_owned(), error.hint())
    }

    #[test]
    fn every_fault_points_at_its_place() {
        let (text, place, hint) = said("kind = \"x\"\ncolum = \"flux\"\n");
        assert_eq!((text.as_str(), place.as_str()), ("unknown key `colum` in [modality.x]", "colum"));
        assert_eq!(hint.as_deref(), Some("did you mean `column`?"));
        assert_eq!(said("longest = 3\n").0, "missing key `column` in [modality.x]");
        let (text, place, _) = said("column = \"flux\"\nlongest = \"3\"\n");
        assert_eq!(
            (text.as_str(), place.as_str()),
            ("expected an integer for `modality.x.longest`, got a string `\"3\"`", "\"3\"")
        );
        assert_eq!(said("column = \"flux\"\nlongest = 65\n").0, "invalid `modality.x.longest`: must be 64 or less");
        let (text, place, hint) = said("column = \"flux\"\nmode = \"fats\"\n");
        assert_eq!((text.as_str(), place.as_str()), ("unknown value `fats` for `modality.x.mode`", "\"fats\""));
        assert_eq!(hint.as_deref(), Some("did you mean `fast`?"));
        let (text, place, _) = said("column = \"flux\"\nbands = [{ name = \"g\" }, { name = 3 }]\n");
        assert_eq!(
            (text.as_str(), place.as_str()),
            ("expected a string for `modality.x.bands.1.name`, got an integer `3`", "3")
        );
        let (text, ..) = said("column = \"flux\"\nbands = [{ name = \"g\", nam = 1 }]\n");
        assert_eq!(text, "unknown key `nam` in [modality.x.bands.0]");
    }

    #[test]
    fn what_fits_is_given_as_json_without_kind() {
        let section = Section::from_toml("modality.x", "kind = \"x\"\ncolumn = \"flux\"\nlongest = 64\n").unwrap();
        let config = ConfigSchema::parse(SCHEMA).unwrap().read(&section).unwrap();
        assert_eq!(config.to_string(), r#"{"column":"flux","longest":64}"#);
    }

    #[test]
    fn schemas_that_are_none_are_refused() {
        for (text, part) in [("{", "not JSON"), ("{}", "object"), (r#"{"type":"object","properties":3}"#, "wrong")] {
            assert!(ConfigSchema::parse(text).unwrap_err().contains(part), "{text}");
        }
    }
}
