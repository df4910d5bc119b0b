//! A plugin's table, looked at as the host looks at it.

use crate::border::memory::text;
use crate::border::plugin::{Parts, Table};
use crate::{Error, Result};
use panchroma_abi as abi;
use std::ffi::{c_char, c_void};

/// Whether the host would take the plugin: `check(panchroma_parts())` in a test beside [`plugin!`](crate::plugin). Gives
/// the names of its components.
///
/// # Errors
/// What is wrong with it.
pub fn check(parts: Parts) -> Result<Vec<String>> {
    unsafe extern "C" fn nothing(_: *const c_char) -> *const c_void {
        std::ptr::null()
    }
    let table = Table::new(parts, nothing)?;
    let mut names: Vec<(u32, String)> = Vec::new();
    for component in table.components() {
        // SAFETY: texts live as long as the table.
        let (name, summary, schema) = unsafe {
            (
                text(component.name, "the name")?,
                text(component.summary, "the summary")?,
                text(component.schema, "schema")?,
            )
        };
        if summary.is_empty() || summary.contains('\n') {
            return Err(Error::failed(format!("`{name}`: the summary is one line")));
        }
        let schema: serde_json::Value = serde_json::from_str(schema)?;
        let undocumented = schema.get("properties").and_then(|p| p.as_object()).and_then(|properties| {
            properties.iter().find(|(_, p)| p.get("description").is_none()).map(|(key, _)| key.clone())
        });
        if let Some(key) = undocumented {
            return Err(Error::failed(format!("`{name}`: key `{key}` has no doc comment, which is the user's manual")));
        }
        // SAFETY: as above.
        if let Some(key) = unknown(unsafe { text(component.example, "the example") }?, &schema) {
            return Err(Error::failed(format!("`{name}`: its example has the key `{key}`, which its config hasn't")));
        }
        let named = (component.kind, name.to_owned());
        if names.contains(&named) {
            return Err(Error::failed(format!("two components of one kind are called `{name}`")));
        }
        names.push(named);
    }
    if names.is_empty() {
        return Err(Error::failed(format!("a plugin without components, of version {:#x}", abi::ABI)));
    }
    Ok(names.into_iter().map(|(_, name)| name).collect())
}

/// A key of an example that the schema doesn't know; keys of tables in it are not looked at.
fn unknown(example: &str, schema: &serde_json::Value) -> Option<String> {
    let lines = example.lines().map(str::trim).take_while(|line| !line.starts_with('['));
    let keys = lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    let known = |key: &str| schema.get("properties").is_some_and(|p| p.get(key).is_some());
    keys.map(|(key, _)| key.trim())
        .filter(|key| key.chars().all(|c| c.is_alphanumeric() || c == '_'))
        .find_map(|key| (!known(key)).then(|| key.to_owned()))
}
