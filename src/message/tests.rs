//! The full text of messages.

use super::{as_json, render};
use panchroma_core::config::{ConfigError, Document};
use panchroma_core::data::DataError;
use panchroma_core::{Error, Section};
use std::path::Path;

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the errors of reading it matter")]
struct Sdss {
    pixels: u32,
    band: Option<String>,
}

fn section(text: &str) -> Section {
    Document::parse("galaxies.toml", text).unwrap().root().sections("modality").unwrap().remove(0).1
}

fn unknown_key() -> Error {
    section("seed = 1\n\n[modality.sdss]\nkind = \"image\"\npixel = 3\n").read::<Sdss>().unwrap_err()
}

#[test]
fn a_message_has_place_excerpt_caret_and_hint() {
    let expected = "\
error: unknown key `pixel` in [modality.sdss]
 --> galaxies.toml:5:1
  |
5 | pixel = 3
  | ^^^^^
hint: did you mean `pixels`?";
    assert_eq!(render(&unknown_key(), false), expected);
}

#[test]
fn the_caret_counts_characters_that_take_several_bytes() {
    let text = "[modality.sdss]\n\"bänd\" = 1\n";
    let expected = "\
error: unknown key `bänd` in [modality.sdss]
 --> galaxies.toml:2:1
  |
2 | \"bänd\" = 1
  | ^^^^^^
hint: did you mean `band`?";
    assert_eq!(render(&section(text).read::<Sdss>().unwrap_err(), false), expected);

    let text = "[modality]\n\"Größe\" = { pixels = 1, bänd = 2 }";
    // A bare key is ASCII: the parser stops at the `ä`, the 26th character and 28th byte of the line.
    let expected = "\
error: not valid TOML: invalid unquoted key, expected letters, numbers, `-`, `_`
 --> galaxies.toml:2:26
  |
2 | \"Größe\" = { pixels = 1, bänd = 2 }
  |                          ^";
    let error = Document::parse("galaxies.toml", text).unwrap_err();
    assert_eq!(render(&error, false), expected);
}

#[test]
fn only_the_first_line_of_a_long_value_is_marked() {
    let text = "[modality.sdss]\npixels = [\n  1,\n  2,\n]\n";
    let expected = "\
error: expected an integer for `modality.sdss.pixels`, got a list
 --> galaxies.toml:2:10
  |
2 | pixels = [
  |          ^";
    assert_eq!(render(&section(text).read::<Sdss>().unwrap_err(), false), expected);
}

#[test]
fn a_missing_key_at_the_top_level_of_an_empty_file_still_renders() {
    let error = Document::parse("empty.toml", "").unwrap().root().read::<Sdss>().unwrap_err();
    let expected = "\
error: the table [pixels] is missing
 --> empty.toml:1:1
  |
1 |
  | ^
hint: `panchroma docs` explains every table";
    assert_eq!(render(&error, false), expected);
}

#[test]
fn an_error_without_a_place_shows_its_causes() {
    let cause = std::io::Error::other("the disk\nis gone");
    let error = Error::io("read", Path::new("objects.parquet"))(cause);
    let expected = "\
error: can't read `objects.parquet`
caused by: the disk
  is gone";
    assert_eq!(render(&error, false), expected);
}

#[test]
fn a_missing_base_file_points_at_the_extends_that_names_it() {
    let error = Document::parse("galaxies.toml", "extends = [\"no_such_base.toml\"]").unwrap_err();
    let expected = "\
error: can't read the config `no_such_base.toml`
 --> galaxies.toml:1:12
  |
1 | extends = [\"no_such_base.toml\"]
  |            ^^^^^^^^^^^^^^^^^^^
caused by: No such file or directory (os error 2)
hint: paths in `extends` are relative to the file that they stand in";
    assert_eq!(render(&error, false), expected);
}

#[test]
fn color_adds_only_escapes() {
    let colored = render(&unknown_key(), true);
    let mut plain = String::new();
    let mut parts = colored.split('\u{1b}');
    plain.push_str(parts.next().unwrap());
    for part in parts {
        // An escape ends with its first letter; `]8;;` links don't occur without an id.
        let end = part.find(|c: char| c.is_ascii_alphabetic()).unwrap();
        plain.push_str(&part[end + 1..]);
    }
    assert_ne!(colored, plain);
    assert_eq!(plain, render(&unknown_key(), false));
}

#[test]
fn causes_can_not_steer_the_terminal() {
    let error = Error::io("read", Path::new("a"))(std::io::Error::other("\u{1b}[2Jgone"));
    assert_eq!(render(&error, false), "error: can't read `a`\ncaused by: [2Jgone");
}

#[test]
fn json_has_the_same_facts() {
    let expected = serde_json::json!({ "error": {
        "message": "unknown key `pixel` in [modality.sdss]",
        "file": "galaxies.toml",
        "line": 5,
        "column": 1,
        "object": null,
        "data_column": null,
        "row": null,
        "causes": [],
        "hint": "did you mean `pixels`?",
        "exit_code": 2,
    }});
    assert_eq!(as_json(&unknown_key()), expected);

    let error = Error::from(ConfigError::MissingFile {
        path: "a.toml".into(),
        from: None,
        nearest: Vec::new(),
        source: std::io::Error::other("gone"),
    });
    assert_eq!(as_json(&error)["error"]["line"], serde_json::Value::Null);
    assert_eq!(as_json(&error)["error"]["causes"], serde_json::json!(["gone"]));
}

#[test]
fn json_says_where_in_the_data_it_is() {
    let position = DataError::BadPosition {
        file: "a.csv".into(),
        row: 3,
        object: "x".into(),
        column: "ra".into(),
        reason: "expected 0 to 360 degrees, got NaN".into(),
    };
    let said = as_json(&position.into());
    let said = &said["error"];
    assert_eq!(said["message"], "`a.csv`, row 3: object `x`, column `ra`: expected 0 to 360 degrees, got NaN");
    assert_eq!([&said["file"], &said["object"], &said["data_column"]], ["a.csv", "x", "ra"]);
    assert_eq!((&said["row"], &said["column"], &said["exit_code"]), (&3.into(), &serde_json::Value::Null, &3.into()));
    // Of a part of an error, too.
    let value = DataError::BadValue { object: "x".into(), column: "flux".into(), reason: "is odd".into() };
    let row = DataError::BadRow { file: "b.parquet".into(), group: 0, value: Box::new(value) };
    let said = as_json(&row.into());
    assert_eq!([&said["error"]["file"], &said["error"]["data_column"]], ["b.parquet", "flux"]);
}

#[test]
fn what_is_there_already_is_the_command_lines_fault() {
    assert_eq!(Error::from(DataError::Exists { path: "out".into() }).exit_code(), 2);
    assert_eq!(Error::from(DataError::NoRows { path: "in".into() }).exit_code(), 3);
}
