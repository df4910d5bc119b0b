//! `--set train.batch=128`: one value of a config, from the command line.
//!
//! The path must lead through tables that exist, so that a typing error can't make a new one. The
//! last key may be new: whoever reads the table rejects it if it is unknown.

use super::error::ConfigError;
use super::extends::EXTENDS;
use super::node::{Entry, Node, Value};
use super::parse;
use super::place::{Place, Source};
use super::write;
use std::sync::Arc;

/// Tables whose keys are names that users choose. `--set` may change what they hold, not add to them.
const NAMED: [&str; 4] = ["modality", "head", "probe", "predict"];

/// Tables that a file may leave out, and `--set` may begin.
const OPTIONAL: [&str; 2] = ["trunk", "evaluate"];

/// Sets what `text`, `path=value`, says. A value that is not TOML is a string.
pub(crate) fn apply(root: &mut Node, text: &str) -> Result<(), ConfigError> {
    let source = Arc::new(Source { name: "--set".into(), text: text.into() });
    let bad = |reason: &str, place: Option<&Place>| ConfigError::BadOverride {
        text: text.into(),
        reason: reason.into(),
        place: place.cloned().unwrap_or_else(|| Place::new(&source, 0..text.len())),
    };
    let Some(equals) = first_equals(text) else { return Err(bad("there is no `=`", None)) };
    let Some(parts) = parse::dotted_key(&source, equals) else {
        return Err(bad("what stands before `=` is not a path of keys", None));
    };
    let Some(((leaf, leaf_place), parents)) = parts.split_last() else { return Ok(()) };
    if parts.first().is_some_and(|(first, _)| first == EXTENDS) {
        return Err(bad("`extends` can't be set", Some(leaf_place)));
    }
    if parents.is_empty() && NAMED.contains(&leaf.as_str()) {
        return Err(bad("only the keys of its tables can be set", Some(leaf_place)));
    }
    let rest = text.get(equals + 1..).unwrap_or_default();
    let start = equals + 1 + (rest.len() - rest.trim_start().len());
    let place = Place::new(&source, start..start + rest.trim().len());
    let node = match parse::value(&source, start)? {
        Some(node) => node,
        None => Node { value: Value::Text(rest.trim().into()), place },
    };

    let missing = |at: usize, table: &Node| unknown(&parts, at, table);
    let mut target = root;
    for (at, (part, part_place)) in parents.iter().enumerate() {
        if at == 0
            && child(target, part).is_none()
            && OPTIONAL.contains(&part.as_str())
            && let Value::Table(entries) = &mut target.value
        {
            let node = Node { value: Value::Table(Vec::new()), place: part_place.clone() };
            entries.push(Entry { key: part.clone(), key_place: part_place.clone(), node });
        }
        // Looked at twice, since a mutable borrow that is returned early can't be used for the message.
        if child(target, part).is_none() {
            return Err(if matches!(target.value, Value::Table(_) | Value::List(_)) {
                missing(at, target)
            } else {
                bad("the path leads through a value that is not a table", Some(part_place))
            });
        }
        let Some(next) = child(target, part) else { return Ok(()) };
        target = next;
    }
    if let Some(old) = child(target, leaf) {
        *old = node;
        return Ok(());
    }
    let invents = matches!(parents, [(parent, _)] if NAMED.contains(&parent.as_str()));
    match &mut target.value {
        Value::Table(entries) if !invents => {
            entries.push(Entry { key: leaf.clone(), key_place: leaf_place.clone(), node });
            Ok(())
        }
        Value::Table(_) | Value::List(_) => Err(missing(parents.len(), target)),
        _ => Err(bad("the path leads through a value that is not a table", Some(leaf_place))),
    }
}

/// The first `=` that is not inside a quoted key.
fn first_equals(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, '=') => return Some(at),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
    }
    None
}

/// The value at a key of a table, or at an index of a list.
fn child<'a>(node: &'a mut Node, part: &str) -> Option<&'a mut Node> {
    match &mut node.value {
        Value::Table(entries) => entries.iter_mut().find(|e| e.key == part).map(|e| &mut e.node),
        Value::List(items) => items.get_mut(part.parse::<usize>().ok()?),
        _ => None,
    }
}

/// The error for a path whose part number `at` is not in `table`, with the paths that would be.
fn unknown(parts: &[(String, Place)], at: usize, table: &Node) -> ConfigError {
    let path = |names: &mut dyn Iterator<Item = &str>| names.fold(String::new(), |path, name| write::join(&path, name));
    let names = || parts.iter().map(|(name, _)| name.as_str());
    let siblings: Vec<String> = match &table.value {
        Value::List(items) => (0..items.len()).map(|index| index.to_string()).collect(),
        // Only a table can stand in the middle of a path.
        _ => table
            .entries()
            .iter()
            .filter(|e| e.node.is_table() || at + 1 == parts.len())
            .map(|e| e.key.clone())
            .collect(),
    };
    let near = super::nearest::nearest(names().nth(at).unwrap_or_default(), &siblings);
    // Where no name is near, what follows it would make all of them look alike.
    let (meant, end) = if near.is_empty() { (siblings, at) } else { (near, parts.len()) };
    let known = meant
        .iter()
        .map(|name| path(&mut names().take(at).chain([name.as_str()]).chain(names().take(end).skip(at + 1))))
        .collect();
    let place = parts.get(at).or(parts.last()).map(|(_, place)| place.clone());
    ConfigError::UnknownOverride {
        path: path(&mut names()),
        table: path(&mut names().take(at + 1)),
        known,
        place: place.unwrap_or_else(|| table.place.clone()),
    }
}
