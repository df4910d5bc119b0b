//! The modality `sources`: for each object a list of sources, such as all that was detected in its image, with a few numbers each.

use panchroma_core::data::DataError;
use panchroma_core::{
    Array, ArrayField, Arrays, ArraysSpec, Column, Descriptor, Modality, ModalityContext, PrepareContext, Result, Rows,
    Section, ValueType, Values,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Keys of `[modality.NAME]` with `kind = "sources"`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourcesConfig {
    /// Struct column that holds the lists; default `sources`. `""`: the fields are columns themselves, each with one list per object.
    #[serde(default = "sources")]
    pub column: String,
    /// Fields, one list of numbers each, all of one length, for example `["x", "y", "e1", "e2", "r"]`: at least one.
    pub fields: Vec<String>,
    /// Sources that an object may have; of more, the first are kept. 1 to 4096, default 20.
    #[serde(default = "twenty")]
    pub max_sources: usize,
    /// Field by which sources are put in order before they are cut, from large to small; it need not be one of `fields`. Default none: as they
    /// are in the data.
    #[serde(default)]
    pub brightest_by: Option<String>,
}

fn sources() -> String {
    "sources".into()
}

fn twenty() -> usize {
    20
}

/// Lists of sources.
///
/// Arrays: `values` `[B, L, F]` f32 for up to L sources of F fields, as they are in the data; valid `[B, L]`. A source that lacks a finite number in
/// a field is left out, and an object without a source is absent.
#[derive(Clone, Debug)]
pub struct Sources {
    config: SourcesConfig,
}

impl Sources {
    /// From its table.
    ///
    /// # Errors
    /// If a key is unknown or out of range.
    pub fn new(section: &Section, _context: &ModalityContext<'_>) -> Result<Self> {
        let config: SourcesConfig = section.read()?;
        let twice = (1..config.fields.len()).find(|i| config.fields[..*i].contains(&config.fields[*i]));
        if config.fields.is_empty() || twice.is_some() {
            return Err(section.reject("fields", "expected at least one name, each once"));
        }
        if !(1..=4096).contains(&config.max_sources) {
            return Err(section.reject("max_sources", format!("expected 1 to 4096, got {}", config.max_sources)));
        }
        Ok(Self { config })
    }

    fn path(&self, field: &str) -> String {
        if self.config.column.is_empty() { field.into() } else { format!("{}.{field}", self.config.column) }
    }
}

impl Modality for Sources {
    fn columns(&self) -> Vec<Column> {
        let order = self.config.brightest_by.iter().filter(|field| !self.config.fields.contains(field));
        self.config.fields.iter().chain(order).map(|field| Column::number(self.path(field)).list()).collect()
    }

    fn spec(&self) -> ArraysSpec {
        ArraysSpec {
            fields: vec![ArrayField { name: "values", axes: &["L", "F"], unit: String::new(), values: ValueType::F32 }],
            valid_axes: &["L"],
            sizes: vec![("L", self.config.max_sources), ("F", self.config.fields.len())],
            labels: vec![("F", self.config.fields.clone())],
        }
    }

    fn prepare(&self, rows: &Rows, _context: &PrepareContext<'_>) -> Result<Arrays> {
        let (b, l, f) = (rows.len(), self.config.max_sources, self.config.fields.len());
        let lists =
            self.config.fields.iter().map(|field| rows.ragged_f64(&self.path(field))).collect::<Result<Vec<_>>>()?;
        let order = self.config.brightest_by.as_ref().map(|field| rows.ragged_f64(&self.path(field))).transpose()?;
        let mut values = vec![0.0; b * l * f];
        let mut valid = vec![0; b * l];
        for (row, object) in rows.ids().iter().enumerate() {
            let own: Vec<&[f64]> = lists.iter().map(|list| list.row(row)).collect();
            let count = own.first().map_or(0, |list| list.len());
            let names = self.config.fields.iter().chain(self.config.brightest_by.as_ref());
            let ordered = order.as_ref().map(|order| order.row(row));
            if let Some((name, list)) =
                names.zip(own.iter().chain(ordered.iter())).find(|(_, list)| list.len() != count)
            {
                let reason =
                    format!("expected as many values as `{}` has, {count}, got {}", self.config.fields[0], list.len());
                return Err(DataError::BadValue { object: object.clone(), column: self.path(name), reason }.into());
            }
            let finite = |source: &usize| own.iter().all(|list| (list[*source] as f32).is_finite());
            let mut kept: Vec<usize> = (0..count).filter(finite).collect();
            if let Some(order) = ordered {
                // What has no number is last.
                let key = |source: usize| if order[source].is_nan() { f64::NEG_INFINITY } else { order[source] };
                kept.sort_by(|a, b| key(*b).total_cmp(&key(*a)));
            }
            for (place, source) in kept.into_iter().take(l).enumerate() {
                let at = row * l + place;
                valid[at] = 1;
                let to = &mut values[at * f..(at + 1) * f];
                to.iter_mut().zip(&own).for_each(|(to, list)| *to = list[source] as f32);
            }
        }
        let present = valid.chunks(l).map(|row| row.contains(&1)).collect();
        let fields = BTreeMap::from([("values".to_owned(), Array::f32(&[b, l, f], values)?)]);
        Ok(Arrays { present, valid: Array::new(&[b, l], Values::U8(valid))?, fields })
    }
}

inventory::submit! {
    Descriptor::<dyn Modality> {
        name: "sources",
        summary: "a list of sources per object, such as all that was detected in its image, with a few numbers each",
        origin: env!("CARGO_PKG_NAME"),
        example: "fields = [\"x\", \"y\", \"e1\", \"e2\", \"r\"]\nbrightest_by = \"flux\"\nmax_sources = 20\n",
        schema: || schemars::schema_for!(SourcesConfig),
        build: |section, context| Ok(Box::new(Sources::new(section, context)?)),
    }
}
