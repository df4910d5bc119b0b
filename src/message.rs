//! One look for all messages: what and where, the user's line with a caret, the causes, a hint.
//!
//! ```text
//! error: unknown key `pixel` in [modality.sdss]
//!   --> galaxies.toml:14:1
//!    |
//! 14 | pixel = 3
//!    | ^^^^^
//! hint: did you mean `pixels`?
//! ```

use annotate_snippets::renderer::{AnsiColor, Effects};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use panchroma_core::Error;
use panchroma_core::config::Place;
use panchroma_core::data::DataError;
use serde_json::{Value, json};
use std::ops::Range;
use std::path::Path;

/// The message for people, without a line break at its end.
#[must_use]
pub(crate) fn render(error: &Error, color: bool) -> String {
    let title = Level::ERROR.primary_title(error.to_string());
    let group = match error.place() {
        None => Group::with_title(title),
        Some(place) => title.element(
            Snippet::source(place.source.text.as_str())
                .path(place.source.name.as_str())
                .annotation(AnnotationKind::Primary.span(first_line(place))),
        ),
    };
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut text = renderer.render(&[group]);
    for cause in causes(error) {
        push_line(&mut text, "caused by", &cause, color);
    }
    if let Some(hint) = error.hint() {
        push_line(&mut text, "hint", &hint, color);
    }
    text
}

/// The same for programs: `{"error": {message, file, line, column, object, data_column, row, causes, hint, exit_code}}`.
///
/// What is not known is null. `line` and `column` are of a config and count from 1; `object`, `data_column` and `row`, which
/// counts from 0, are of data.
#[must_use]
pub(crate) fn as_json(error: &Error) -> Value {
    let place = error.place();
    let data = InData::of(error);
    let file = data.file.map(|file| file.display().to_string());
    json!({ "error": {
        "message": error.to_string(),
        "file": place.map(|p| p.source.name.clone()).or(file),
        "line": place.map(Place::line),
        "column": place.map(Place::column),
        "object": data.object,
        "data_column": data.column,
        "row": data.row,
        "causes": causes(error),
        "hint": error.hint(),
        "exit_code": error.exit_code(),
    }})
}

/// Where in the data an error is.
#[derive(Default)]
struct InData<'a> {
    file: Option<&'a Path>,
    object: Option<&'a str>,
    column: Option<&'a str>,
    row: Option<usize>,
}

impl<'a> InData<'a> {
    fn of(error: &'a Error) -> Self {
        match error {
            Error::Data(data) => Self::of_data(data),
            Error::Foreign(plugin) => Self { object: plugin.object(), ..Self::default() },
            Error::Io { path, .. } => Self { file: Some(path), ..Self::default() },
            _ => Self::default(),
        }
    }

    fn of_data(error: &'a DataError) -> Self {
        let none = Self::default();
        match error {
            DataError::BadValue { object, column, .. } => Self { object: Some(object), column: Some(column), ..none },
            DataError::BadRow { file, value, .. } => Self { file: Some(file), ..Self::of_data(value) },
            DataError::BadPosition { file, row, object, column, .. } => {
                Self { file: Some(file), object: Some(object), column: Some(column), row: Some(*row) }
            }
            DataError::NullId { file, column, row } => {
                Self { file: Some(file), column: Some(column), row: Some(*row), ..none }
            }
            DataError::DuplicateId { id, first, .. } => Self { file: Some(first), object: Some(id), ..none },
            DataError::ColumnMissing { file, column, .. } => Self { file: Some(file), column: Some(column), ..none },
            DataError::ColumnType { file, column, .. } => Self { file: file.as_deref(), column: Some(column), ..none },
            DataError::NoPosition { object, column } => Self { object: Some(object), column: Some(column), ..none },
            DataError::AllMissing { column, .. } => Self { column: Some(column), ..none },
            DataError::Source { file, .. } => Self { file: Some(file), ..none },
            DataError::Missing { path, .. }
            | DataError::Remote { path, .. }
            | DataError::NotWritable { path }
            | DataError::NoParquet { path }
            | DataError::NoRows { path }
            | DataError::RowCount { path, .. }
            | DataError::Unreadable { path, .. }
            | DataError::Exists { path }
            | DataError::Busy { path }
            | DataError::Unsound { path, .. } => Self { file: Some(path), ..none },
            _ => none,
        }
    }
}

/// What the place marks of the line that it starts in: a table of many lines would hide the message.
fn first_line(place: &Place) -> Range<usize> {
    let Range { start, end } = place.span;
    let marked = place.source.text.get(start..end).unwrap_or_default();
    start..start + marked.lines().next().unwrap_or_default().len()
}

/// The chain of causes, outermost first. A cause that says what the one before it said is left out.
fn causes(error: &Error) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    let mut said = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let text = cause.to_string();
        if text != said {
            causes.push(text.clone());
        }
        said = text;
        next = cause.source();
    }
    causes
}

/// Adds `word: text` on a line of its own; further lines of the text are indented.
fn push_line(out: &mut String, word: &str, text: &str, color: bool) {
    let style = if color { AnsiColor::BrightCyan.on_default().effects(Effects::BOLD) } else { Default::default() };
    // What comes from files and libraries must not steer the terminal.
    let plain: String = text.trim_end().chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    let indented = plain.replace('\n', "\n  ");
    out.push_str(&format!("\n{style}{word}{style:#}: {indented}"));
}

#[cfg(test)]
mod tests;
