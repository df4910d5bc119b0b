//! A tree back to TOML that reads as the same tree: what a run keeps as its resolved config.

use super::node::{Entry, Node, Value};
use std::fmt::Write as _;

/// The document: keys in the order of the file, but plain keys of a table before its sub-tables,
/// since TOML has no other way to say it.
pub(crate) fn document(root: &Node) -> String {
    let mut out = String::new();
    body(&mut out, "", root.entries());
    out
}

/// A dotted path with `key` added, quoted where TOML needs it.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { quoted_key(key) } else { format!("{path}.{}", quoted_key(key)) }
}

/// A value on one line.
pub(crate) fn inline(node: &Node) -> String {
    match &node.value {
        Value::Text(text) => string(text),
        Value::Integer(number) => number.to_string(),
        // The shortest digits that read back as the same bits; `NaN` is `nan` in TOML.
        Value::Number(number) => format!("{number:?}").to_lowercase(),
        Value::Flag(flag) => flag.to_string(),
        Value::Date(date) => date.to_string(),
        Value::List(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Table(entries) if entries.is_empty() => "{}".into(),
        Value::Table(entries) => {
            let pairs: Vec<String> =
                entries.iter().map(|e| format!("{} = {}", quoted_key(&e.key), inline(&e.node))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
    }
}

fn body(out: &mut String, path: &str, entries: &[Entry]) {
    // Writing to a string can't fail, so the results are dropped.
    for entry in entries.iter().filter(|e| !has_header(&e.node)) {
        let _ = writeln!(out, "{} = {}", quoted_key(&entry.key), inline(&entry.node));
    }
    for entry in entries.iter().filter(|e| has_header(&e.node)) {
        let path = join(path, &entry.key);
        match &entry.node.value {
            Value::List(items) => {
                for item in items {
                    header(out, &format!("[[{path}]]"));
                    body(out, &path, item.entries());
                }
            }
            _ => {
                let inner = entry.node.entries();
                // A table of tables only is implied by the headers of those.
                if inner.is_empty() || inner.iter().any(|e| !has_header(&e.node)) {
                    header(out, &format!("[{path}]"));
                }
                body(out, &path, inner);
            }
        }
    }
}

fn header(out: &mut String, text: &str) {
    let gap = if out.is_empty() { "" } else { "\n" };
    let _ = writeln!(out, "{gap}{text}");
}

/// Tables, and lists of nothing but tables, get headers of their own.
fn has_header(node: &Node) -> bool {
    match &node.value {
        Value::Table(_) => true,
        Value::List(items) => !items.is_empty() && items.iter().all(Node::is_table),
        _ => false,
    }
}

fn quoted_key(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { key.into() } else { string(key) }
}

fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
