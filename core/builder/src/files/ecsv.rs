//! The header of ECSV (Astropy Proposal for Enhancement 6): units and types of columns, as YAML in comments. astropy writes the
//! same YAML into Parquet.

use arrow_schema::DataType;
use std::collections::BTreeMap;

/// What a header says of a column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Declared {
    pub(super) unit: Option<String>,
    /// None if it says none, or one that is not known here.
    pub(super) data_type: Option<DataType>,
}

/// By column; empty if the comments are no such header.
pub(super) fn header(comments: &[String]) -> BTreeMap<String, Declared> {
    match comments.first().is_some_and(|line| line.contains("%ECSV")) {
        true => declared(comments.iter().map(String::as_str)),
        false => BTreeMap::new(),
    }
}

/// By column, from lines of the YAML.
pub(super) fn declared<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<String, Declared> {
    let mut found = BTreeMap::new();
    let mut name: Option<String> = None;
    for line in lines.map(|line| line.trim_start().trim_start_matches('#').trim()) {
        // A column on one line, or begun there with the rest on lines of its own.
        let begins = line.strip_prefix("- ");
        let inside = begins.unwrap_or(line).trim();
        let pairs: Vec<(&str, &str)> = match inside.strip_prefix('{') {
            Some(braced) => braced.trim_end_matches('}').split(", ").filter_map(pair).collect(),
            None => pair(inside).into_iter().collect(),
        };
        if begins.is_some() {
            name = pairs.iter().find(|(key, _)| *key == "name").map(|(_, value)| (*value).to_owned());
        }
        let Some(name) = &name else { continue };
        let own: &mut Declared = found.entry(name.clone()).or_default();
        for (key, value) in pairs {
            match key {
                "unit" if !value.is_empty() => own.unit = Some(value.to_owned()),
                "datatype" => own.data_type = data_type(value),
                _ => {}
            }
        }
    }
    found
}

fn pair(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.split_once(':')?;
    Some((key.trim(), value.trim().trim_matches(['\'', '"'])))
}

fn data_type(name: &str) -> Option<DataType> {
    Some(match name {
        "string" => DataType::Utf8,
        "bool" => DataType::Boolean,
        "uint64" => DataType::UInt64,
        "int8" | "int16" | "int32" | "int64" | "uint8" | "uint16" | "uint32" => DataType::Int64,
        "float16" | "float32" | "float64" | "float128" => DataType::Float64,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_on_one_line_and_on_several_are_read() {
        let header = "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: ra, unit: deg, datatype: float64}\n# - name: id\n#   datatype: string\n\
                      # - name: 'flux'\n#   unit: erg / (cm2 s)\n#   datatype: float32\n# meta: {a: 1}";
        let found = super::header(&header.lines().map(str::to_owned).collect::<Vec<_>>());
        let of = |name: &str| found.get(name).cloned().map(|d| (d.unit, d.data_type));
        assert_eq!(of("ra"), Some((Some("deg".into()), Some(DataType::Float64))));
        assert_eq!(of("id"), Some((None, Some(DataType::Utf8))));
        assert_eq!(of("flux"), Some((Some("erg / (cm2 s)".into()), Some(DataType::Float64))));
        assert!(super::header(&["# - {name: ra, unit: deg}".to_owned()]).is_empty());
    }
}
