//! `panchroma data show`: a look at one object.

use super::CatalogueArgs;
use crate::cli::{JsonArgs, print, print_json};
use crate::report::{ObjectPage, Picture};
use clap::Args;
use panchroma_builder::describe::{Measured, Table, find};
use panchroma_core::Result;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  panchroma data show data/supernovae ASASSN-14jg
  panchroma data show data/supernovae ASASSN-14jg --out object.html";

/// Longest name of a file that is made of an object's name, in bytes: no file system takes more than 255, and the
/// ending and that of the unfinished file come behind.
const LONGEST: usize = 200;

/// Arguments of `panchroma data show`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    catalogue: CatalogueArgs,
    /// Name of the object; behind `--` if it starts with `-`
    object: String,
    /// Column of the objects' names
    #[arg(long, default_value = "object_id")]
    id: String,
    /// Where to write: a name that ends in `.png` or `.html`, which may exist; default OBJECT.png
    #[arg(long, short, value_parser = drawable)]
    out: Option<PathBuf>,
    #[command(flatten)]
    pub(super) json: JsonArgs,
}

/// What a name of a file asks for.
fn picture(path: &Path) -> Option<Picture> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    match ending.as_str() {
        "png" => Some(Picture::Png),
        "html" => Some(Picture::Html),
        _ => None,
    }
}

fn drawable(text: &str) -> std::result::Result<PathBuf, String> {
    let path = PathBuf::from(text);
    picture(&path).map(|_| path).ok_or_else(|| "expected a name that ends in `.png` or `.html`".into())
}

pub(super) fn run(args: &ShowArgs) -> Result<()> {
    let table = Table::open(&args.catalogue.catalogue)?;
    let object = find(&table, &args.id, &args.object)?;
    let (measured, facts) = object.measured();
    let out = args.out.clone().unwrap_or_else(|| file_name(&object.id));
    let page = ObjectPage::new(&object.id, &measured, facts.clone());
    page.write(&out, picture(&out).unwrap_or(Picture::Png))?;
    if args.json.json {
        let columns: Map<String, Value> = facts.into_iter().map(|(name, value)| (name, value.into())).collect();
        let measured: Vec<Value> = measured.iter().map(summary).collect();
        return print_json(&json!({ "file": out, "measured": measured, "columns": columns }));
    }
    print(&format!("{}\n", out.display()))
}

/// A name of a file for an object, whose own may hold characters that no file's can.
fn file_name(id: &str) -> PathBuf {
    let plain = id.chars().map(|c| if c.is_alphanumeric() || "-_.+".contains(c) { c } else { '_' });
    let mut name = String::new();
    for c in plain {
        if name.len() + c.len_utf8() > LONGEST {
            break;
        }
        name.push(c);
    }
    PathBuf::from(if name.is_empty() { "object.png".into() } else { name + ".png" })
}

/// What a measurement consists of, without its values.
fn summary(measured: &Measured) -> Value {
    match measured {
        Measured::Planes { name, unit, planes } => {
            let planes = planes.iter().map(|plane| {
                let height = plane.values.len().checked_div(plane.width);
                let scale = plane.scale.as_ref().map(|(width, unit)| json!({ "width": width, "unit": unit }));
                json!({ "label": plane.label, "width": plane.width, "height": height, "pixel": scale })
            });
            json!({ "column": name, "kind": "planes", "unit": unit, "planes": planes.collect::<Vec<_>>() })
        }
        Measured::Samples { name, axis, value, groups, left_out } => {
            let groups = groups.iter().map(|(name, samples)| json!({ "name": name, "samples": samples.len() }));
            json!({
                "column": name,
                "kind": "samples",
                "axis": { "name": axis.name, "unit": axis.unit },
                "value": { "name": value.name, "unit": value.unit },
                "groups": groups.collect::<Vec<_>>(),
                "left_out": left_out,
            })
        }
        Measured::Undrawn { name, reason } => json!({ "column": name, "kind": "undrawn", "reason": reason }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_or_empty_name_still_gives_a_name_of_a_file() {
        // 3 bytes per letter: 66 of them are 198 bytes, 67 would be 201.
        assert_eq!(file_name(&"\u{5929}".repeat(100)), PathBuf::from("\u{5929}".repeat(66) + ".png"));
        assert_eq!(file_name("a/b c"), PathBuf::from("a_b_c.png"));
        assert_eq!(file_name(""), PathBuf::from("object.png"));
    }

    #[test]
    fn only_a_picture_or_a_page_can_be_asked_for() {
        assert_eq!(drawable("a.PNG"), Ok("a.PNG".into()));
        assert_eq!(drawable("a.html"), Ok("a.html".into()));
        let said = Err("expected a name that ends in `.png` or `.html`".to_owned());
        assert_eq!([drawable("x.jpg"), drawable("png")], [said.clone(), said]);
    }
}
