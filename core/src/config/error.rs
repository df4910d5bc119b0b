//! What can be wrong with a config. Each variant holds the place that the message points at.

use super::nearest::{did_you_mean, nearest, suggestion};
use super::place::Place;
use std::path::PathBuf;

/// A fault in a config file or a `--set`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A config file, or one that it extends, can't be read.
    #[error("can't read the config `{}`", path.display())]
    MissingFile {
        /// The file.
        path: PathBuf,
        /// The `extends` that names it, if any.
        from: Option<Place>,
        /// Files beside it with similar names.
        nearest: Vec<String>,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not TOML.
    #[error("not valid TOML: {message}")]
    Syntax {
        /// What the parser said.
        message: String,
        /// Where.
        place: Place,
    },
    /// A key that nothing reads.
    #[error("unknown key `{key}` {}", within(table))]
    UnknownKey {
        /// The key.
        key: String,
        /// Dotted path of its table; empty for the top level.
        table: String,
        /// The keys that the table may have.
        known: Vec<String>,
        /// The key in the file.
        place: Place,
    },
    /// A `kind` that no plugin has.
    #[error("unknown {kind} `{name}` {}", within(table))]
    UnknownKind {
        /// Which sort of plugin: `modality`, `tokenizer`, `trunk`, `head`, `probe`.
        kind: &'static str,
        /// What the user wrote.
        name: String,
        /// Dotted path of the table.
        table: String,
        /// The plugins that there are.
        known: Vec<String>,
        /// The value of `kind`.
        place: Place,
    },
    /// A key that must be there and isn't.
    #[error("{}", missing(key, table))]
    MissingKey {
        /// The key.
        key: String,
        /// Dotted path of the table.
        table: String,
        /// The header of the table.
        place: Place,
    },
    /// A value of the wrong type, or a number that does not fit into it.
    #[error("expected {expected} for `{key}`, got {found}")]
    WrongType {
        /// For example `an integer`.
        expected: String,
        /// For example ``a string `"12"` ``.
        found: String,
        /// Dotted path of the key.
        key: String,
        /// The value.
        place: Place,
    },
    /// A word that is not one of the words the key takes.
    #[error("unknown value `{value}` for `{key}`")]
    UnknownValue {
        /// What the user wrote.
        value: String,
        /// Dotted path of the key.
        key: String,
        /// The words that it takes.
        known: Vec<String>,
        /// The value.
        place: Place,
    },
    /// A value of the right type that can't be used: out of range, or against another key.
    #[error("invalid {}: {reason}", if path.is_empty() { "config".into() } else { format!("`{path}`") })]
    Rejected {
        /// Dotted path of the key or table.
        path: String,
        /// Why.
        reason: String,
        /// The value, or the header of the table.
        place: Place,
    },
    /// A value names something, for example a modality, that the config does not have.
    #[error("no {what} is called `{name}`")]
    UnknownReference {
        /// What it should name, for example `modality`.
        what: String,
        /// The name.
        name: String,
        /// The names that there are.
        known: Vec<String>,
        /// The value.
        place: Place,
    },
    /// A file that extends itself, perhaps by way of others.
    #[error("`extends` goes in a circle: {}", chain.join(" -> "))]
    Cycle {
        /// The files, the first again as the last.
        chain: Vec<String>,
        /// The `extends` that closes the circle.
        place: Place,
    },
    /// A `--set` of something that the config does not have.
    #[error("no {} for `--set {path}`", if table.is_empty() { "such key".into() } else { format!("table [{table}]") })]
    UnknownOverride {
        /// The whole path that was to be set.
        path: String,
        /// The table on it that is missing.
        table: String,
        /// Paths that could be meant.
        known: Vec<String>,
        /// The part of the path that is missing.
        place: Place,
    },
    /// A `--set` that can't be understood.
    #[error("invalid `--set {text}`: {reason}")]
    BadOverride {
        /// The argument.
        text: String,
        /// Why.
        reason: String,
        /// The part that is wrong.
        place: Place,
    },
}

impl ConfigError {
    /// What the user can do about it, if anything is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::MissingFile { from: Some(_), .. } => {
                Some("paths in `extends` are relative to the file that they stand in".into())
            }
            Self::MissingFile { nearest, .. } => did_you_mean(nearest)
                .or_else(|| Some("the path is relative to the folder where the command runs".into())),
            Self::UnknownKey { key, known, table, .. } => {
                suggestion(key, "keys", known).or_else(|| Some(manual(table)))
            }
            Self::UnknownKind { kind, name, known, .. } => {
                let list = || format!("`panchroma plugins list` shows every {kind}");
                let near = did_you_mean(&nearest(name, known));
                let hint = || suggestion(name, "kinds", known).unwrap_or_else(list);
                let library = "; one of a shared library needs it in `[plugins] paths`";
                Some(near.unwrap_or_else(|| match *kind {
                    "trunk" | "probe" => hint(),
                    _ => hint() + library,
                }))
            }
            Self::UnknownValue { value, known, .. } => suggestion(value, "values", known),
            Self::UnknownReference { name, known, .. } => suggestion(name, "names", known),
            Self::UnknownOverride { path, known, .. } => suggestion(path, "paths", known),
            Self::MissingKey { key, .. } if key == "kind" => {
                Some("`kind` says which plugin reads the table; `panchroma plugins list` shows them".into())
            }
            Self::MissingKey { key, .. } if key == "tokenizer" => {
                Some("write `tokenizer = { kind = \"NAME\" }`; `panchroma plugins list` shows the tokenizers".into())
            }
            Self::MissingKey { table, .. } => Some(manual(table)),
            Self::WrongType { expected, found, key, .. } if expected == "a table" && key.ends_with(".tokenizer") => {
                quoted(found).map(|name| format!("write `tokenizer = {{ kind = {name} }}`"))
            }
            Self::WrongType { expected, found, .. } if !expected.contains("string") => unquoted(found),
            Self::BadOverride { .. } => {
                Some("write `--set TABLE.KEY=VALUE`, for example `--set train.batch=128`".into())
            }
            Self::Cycle { .. } => Some("leave out one `extends` of the circle".into()),
            _ => None,
        }
    }

    /// Where in the user's text.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::MissingFile { from, .. } => from.as_ref(),
            Self::Syntax { place, .. }
            | Self::UnknownKey { place, .. }
            | Self::UnknownKind { place, .. }
            | Self::MissingKey { place, .. }
            | Self::WrongType { place, .. }
            | Self::UnknownValue { place, .. }
            | Self::Rejected { place, .. }
            | Self::UnknownReference { place, .. }
            | Self::Cycle { place, .. }
            | Self::UnknownOverride { place, .. }
            | Self::BadOverride { place, .. } => Some(place),
        }
    }
}

fn missing(key: &str, table: &str) -> String {
    // At the top level stand tables alone.
    if table.is_empty() { format!("the table [{key}] is missing") } else { format!("missing key `{key}` in [{table}]") }
}

/// Where the keys of a table are explained.
fn manual(table: &str) -> String {
    match table.split('.').next() {
        None | Some("") => "`panchroma docs` explains every table".into(),
        Some(name @ ("run" | "data" | "train" | "evaluate" | "plugins")) => {
            format!("`panchroma docs {name}` explains its keys")
        }
        Some(_) => "`panchroma docs KIND`, with the table's `kind`, explains its keys".into(),
    }
}

fn within(table: &str) -> String {
    if table.is_empty() { "at the top level".into() } else { format!("in [{table}]") }
}

/// The string that was found, with its quotes.
fn quoted(found: &str) -> Option<&str> {
    found.strip_prefix("a string `")?.strip_suffix('`')
}

/// A number or a flag in quotes is the most common wrong type.
fn unquoted(found: &str) -> Option<String> {
    let inside = quoted(found)?.strip_prefix('"')?.strip_suffix('"')?;
    let plain = inside.parse::<f64>().is_ok() || inside == "true" || inside == "false";
    plain.then(|| format!("write `{inside}` without quotes"))
}
