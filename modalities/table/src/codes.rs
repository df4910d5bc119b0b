//! The tokenizers `quantile_codes` and `grid_codes`: one token per column, the code of its value.

use crate::codec::{Compression, Function, ScalarCodec};
use crate::quantile::Sample;
use candle_core::{DType, Device, Tensor};
use panchroma_core::{
    Array, Arrays, Bins, Coordinate, Descriptor, Encoding, Error, Forward, Result, Section, TokenKind, TokenSpec,
    TokenValues, Tokenizer, TokenizerContext, Tokens, Values,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

/// Keys of `[modality.NAME.tokenizer]` with `kind = "quantile_codes"`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuantileCodesConfig {
    /// Codes of each column: its bins hold equally many values of the training split. 2 to 65536, default 1024.
    #[serde(default = "codes")]
    pub codes: usize,
    /// Codes of the logarithm, and everything below this, in the column's unit, counts as this. Above 0, default none: no logarithm. It
    /// changes little but between the extremes of few values.
    #[serde(default)]
    pub log_from: Option<f64>,
    /// Functions that values go through before they are binned, one after the other, by the names of PyTorch, such as `["arcsinh"]`.
    #[serde(default)]
    pub compress: Vec<Function>,
    /// As many functions that undo those, in the same order, such as `["sinh"]`.
    #[serde(default)]
    pub decompress: Vec<Function>,
}

/// Keys of `[modality.NAME.tokenizer]` with `kind = "grid_codes"`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GridCodesConfig {
    /// Codes of each column, at equal steps. 2 to 65536, default 1024.
    #[serde(default = "codes")]
    pub codes: usize,
    /// Steps are equal in the value, `linear` (default), or in its logarithm, `log`.
    #[serde(default)]
    pub spacing: GridSpacing,
    /// First value of the grid, which stands for all below too, in the unit of the columns; with `log` above 0. Default: the smallest value of
    /// the column in the training split.
    #[serde(default)]
    pub from: Option<f64>,
    /// Last value of the grid, which stands for all above too. Default: the largest value of the column in the training split.
    #[serde(default)]
    pub to: Option<f64>,
}

/// Where the steps of a grid are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GridSpacing {
    /// In the value.
    #[default]
    Linear,
    /// In its logarithm.
    Log,
}

fn codes() -> usize {
    1024
}

/// How bins are made.
#[derive(Clone, Debug)]
enum Rule {
    Quantiles(Compression),
    Grid { spacing: GridSpacing, from: Option<f32>, to: Option<f32> },
}

/// Codes of the columns of a table: token `c` is column `c`, all vocabularies of one size; a missing value is a token that is not valid.
///
/// Needs columns of one number each: kinds `number` and `flag`. With `scale = "none"` codes stand for values in the unit of the column, else
/// for scaled ones. A code is decoded to the middle of its bin: of quantiles the median of the training values in it, the geometric mean of a
/// logarithmic grid.
#[derive(Clone, Debug)]
pub struct Codes {
    kind: &'static str,
    size: usize,
    rule: Rule,
    /// Names of the columns.
    names: Vec<String>,
    /// One per column; empty before they are fitted.
    codecs: Vec<ScalarCodec>,
    /// Whether these came out of a checkpoint though the config alone would have given some: codes made elsewhere.
    given: bool,
    /// Whether the modality says how large errors are.
    errors: bool,
}

impl Codes {
    /// From the table of `quantile_codes`.
    ///
    /// # Errors
    /// If a key is unknown or out of range, or the modality has columns of several features.
    pub fn quantiles(section: &Section, context: &TokenizerContext<'_>) -> Result<Self> {
        let config: QuantileCodesConfig = section.read()?;
        let compression = match config.log_from {
            Some(_) if !config.compress.is_empty() => {
                return Err(section.reject("log_from", "expected `log_from` or `compress`, got both"));
            }
            Some(from) if !(from > 0.0 && from.is_finite()) => {
                return Err(section.reject("log_from", format!("expected a number above 0, got {from}")));
            }
            Some(from) => Compression::log(from.ln()),
            None if config.compress.is_empty() && config.decompress.is_empty() => Compression::None,
            None => Compression::Functions { compress: config.compress, decompress: config.decompress },
        };
        compression.check().map_err(|error| section.reject("decompress", error.to_string()))?;
        Self::new(("quantile_codes", config.codes, Rule::Quantiles(compression)), section, context)
    }

    /// From the table of `grid_codes`.
    ///
    /// # Errors
    /// If a key is unknown or out of range, or the modality has columns of several features.
    pub fn grid(section: &Section, context: &TokenizerContext<'_>) -> Result<Self> {
        let config: GridCodesConfig = section.read()?;
        for (key, value) in [("from", config.from), ("to", config.to)] {
            let Some(value) = value else { continue };
            if !(value as f32).is_finite() || config.spacing == GridSpacing::Log && value <= 0.0 {
                return Err(section.reject(key, format!("expected a number (with `log` above 0), got {value}")));
            }
        }
        if let (Some(from), Some(to)) = (config.from, config.to)
            && from >= to
        {
            return Err(section.reject("to", format!("expected more than `from` = {from}, got {to}")));
        }
        let end = |value: Option<f64>| value.map(|value| value as f32);
        let rule = Rule::Grid { spacing: config.spacing, from: end(config.from), to: end(config.to) };
        Self::new(("grid_codes", config.codes, rule), section, context)
    }

    fn new(
        (kind, size, rule): (&'static str, usize, Rule),
        section: &Section,
        context: &TokenizerContext<'_>,
    ) -> Result<Self> {
        if !(2..=65_536).contains(&size) {
            return Err(section.reject("codes", format!("expected 2 to 65536 codes, got {size}")));
        }
        let arrays = context.arrays;
        let has = |name: &str, axes: &[&str]| arrays.fields.iter().any(|f| f.name == name && f.axes == axes);
        let (columns, width) = match (arrays.size("C"), arrays.size("P")) {
            (Some(columns), Some(width)) if has("values", &["C", "P"]) && arrays.valid_axes == ["C"] => {
                (columns, width)
            }
            _ => {
                let reason = format!("`{kind}` needs a modality of kind `table`, which `{}` is not", context.modality);
                return Err(section.reject("kind", reason));
            }
        };
        if columns != width {
            let reason = format!(
                "`{kind}` needs columns of one number each, of kind `number` or `flag`: the {columns} columns of \
                 `{}` have {width} features",
                context.modality
            );
            return Err(section.reject("kind", reason));
        }
        let named = |column: usize| match arrays.labels("C").get(column) {
            Some(name) => name.clone(),
            None => format!("column {column}"),
        };
        let errors = has("error", &["C"]);
        let mut codes = Self {
            kind,
            size,
            rule,
            names: (0..columns).map(named).collect(),
            codecs: Vec::new(),
            given: false,
            errors,
        };
        if !codes.fits() {
            codes.codecs = (0..columns).map(|_| codes.codec(&[])).collect::<Result<_>>()?;
        }
        Ok(codes)
    }

    /// The codec of each column; none before they are fitted.
    #[must_use]
    pub fn codecs(&self) -> &[ScalarCodec] {
        &self.codecs
    }

    /// What [`Tokenizer::restore`] takes, for codecs that were made elsewhere: names of columns in ascending order, and the codec of each.
    #[must_use]
    pub fn fitted_of<'a>(columns: impl Iterator<Item = (&'a str, &'a ScalarCodec)>) -> Value {
        let columns: Vec<Value> = columns.map(|(name, codec)| json!({ "name": name, "codec": codec })).collect();
        json!({ "columns": columns })
    }

    /// The codec of a column with these values in the training split.
    fn codec(&self, sample: &[f32]) -> Result<ScalarCodec> {
        match &self.rule {
            Rule::Quantiles(compression) => ScalarCodec::fitted(compression.clone(), sample, self.size),
            Rule::Grid { spacing, from, to } => {
                let log = *spacing == GridSpacing::Log;
                let usable = || sample.iter().copied().filter(|x| !log || *x > 0.0);
                let from = from.or_else(|| usable().reduce(f32::min)).unwrap_or(1.0);
                let to = to.or_else(|| usable().reduce(f32::max)).unwrap_or(from);
                // A constant column has bins all the same.
                let to = if to > from { to } else { from + from.abs().max(1.0) };
                let compression = if log { Compression::log(f64::from(from).ln()) } else { Compression::None };
                ScalarCodec::grid(compression, (from, to), self.size)
            }
        }
    }

    fn wrong(&self, reason: String) -> Error {
        Error::Plugin { kind: "tokenizer", name: self.kind.into(), reason }
    }

    fn shape(&self, field: &str, expected: &[usize], found: &[usize]) -> Error {
        Error::Shape {
            part: format!("tokenizer `{}`, field `{field}`", self.kind),
            expected: format!("{expected:?}"),
            found: format!("{found:?}"),
        }
    }

    /// The values `[B, C]` and which of them are valid.
    fn read<'a>(&self, arrays: &'a Arrays) -> Result<(impl Fn(usize) -> f32 + 'a, &'a [u8])> {
        let (b, c) = (arrays.len(), self.names.len());
        let (valid_shape, valid) = arrays.valid()?;
        let (shape, values) = arrays.f32("values")?;
        if valid_shape != [b, c] {
            return Err(self.shape("valid", &[b, c], valid_shape));
        }
        if shape != [b, c, c] {
            return Err(self.shape("values", &[b, c, c], shape));
        }
        // A column has its number in a slot of its own.
        Ok((move |at| values[at * c + at % c], valid))
    }
}

impl Tokenizer for Codes {
    fn spec(&self) -> TokenSpec {
        let encoding = Encoding::Category { size: self.names.len() };
        let coordinates = vec![Coordinate { name: "column".into(), unit: "".into(), encoding, metadata: false }];
        TokenSpec { kind: TokenKind::Codes { vocabulary: self.size }, max_tokens: self.names.len(), coordinates }
    }

    fn fits(&self) -> bool {
        !matches!(self.rule, Rule::Grid { from: Some(_), to: Some(_), .. })
    }

    fn fit(&mut self, arrays: &mut dyn Iterator<Item = Result<Arrays>>) -> Result<()> {
        let mut samples = vec![Sample::new(); self.names.len()];
        for arrays in arrays {
            let arrays = arrays?;
            let (value, valid) = self.read(&arrays)?;
            for (at, _) in valid.iter().enumerate().filter(|(_, valid)| **valid == 1) {
                samples[at % self.names.len()].add(f64::from(value(at)));
            }
        }
        let mut codecs = Vec::with_capacity(samples.len());
        for (name, sample) in self.names.iter().zip(samples) {
            let values: Vec<f32> = sample.into_values().into_iter().map(|x| x as f32).collect();
            if values.is_empty() {
                return Err(self.wrong(format!("column `{name}` has no value in the training split")));
            }
            codecs.push(self.codec(&values)?);
        }
        self.codecs = codecs;
        Ok(())
    }

    fn fitted(&self) -> Value {
        if (!self.fits() && !self.given) || self.codecs.is_empty() {
            return Value::Null;
        }
        Self::fitted_of(self.names.iter().map(String::as_str).zip(&self.codecs))
    }

    fn restore(&mut self, fitted: &Value) -> Result<()> {
        if !self.fits() && fitted.is_null() {
            return Ok(());
        }
        let columns = fitted.get("columns").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let names: Vec<&str> = columns.iter().filter_map(|column| column.get("name")?.as_str()).collect();
        if names != self.names {
            return Err(self.wrong(format!("the checkpoint has codes of {names:?}, the config of {:?}", self.names)));
        }
        let read = |column: &Value| {
            let codec = column.get("codec").cloned().unwrap_or_default();
            let codec: ScalarCodec = serde_json::from_value(codec)
                .map_err(|error| self.wrong(format!("the checkpoint's codes can't be read: {error}")))?;
            if codec.vocabulary() != self.size {
                let (found, expected) = (codec.vocabulary(), self.size);
                return Err(self.wrong(format!("the checkpoint has {found} codes, the config {expected}")));
            }
            Ok(codec)
        };
        self.codecs = columns.iter().map(read).collect::<Result<_>>()?;
        self.given = !self.fits();
        Ok(())
    }

    fn tokenize(&self, arrays: &Arrays, _context: &Forward) -> Result<Tokens> {
        let (b, c) = (arrays.len(), self.names.len());
        if self.codecs.len() != c {
            return Err(self.wrong("was used before its codes were fitted or restored".into()));
        }
        let (value, valid) = self.read(arrays)?;
        let code = |at: usize| if valid[at] == 1 { self.codecs[at % c].code(value(at)) } else { 0 };
        let codes: Vec<u32> = (0..b * c).map(code).collect();
        let columns: Vec<f32> = (0..b * c).map(|at| (at % c) as f32).collect();
        Ok(Tokens {
            values: TokenValues::Codes(Tensor::from_vec(codes, (b, c), &Device::Cpu)?),
            valid: Tensor::from_vec(valid.to_vec(), (b, c), &Device::Cpu)?,
            coordinates: Tensor::from_vec(columns, (b, c, 1), &Device::Cpu)?,
            weights: None,
            present: arrays.present.clone(),
        })
    }

    fn reconstruct(&self, tokens: &Tokens, _like: Option<&Arrays>, _context: &Forward) -> Result<Option<Arrays>> {
        tokens.check(self.kind, &self.spec())?;
        let TokenValues::Codes(codes) = &tokens.values else { return Ok(None) };
        let (b, c) = (tokens.len(), self.names.len());
        let codes = codes.flatten_all()?.to_dtype(DType::U32)?.to_vec1::<u32>()?;
        let valid = tokens.valid.flatten_all()?.to_vec1::<u8>()?;
        let mut values = vec![0.0; b * c * c];
        for (at, (code, _)) in codes.iter().zip(&valid).enumerate().filter(|(_, (_, valid))| **valid == 1) {
            let value = self.codecs.get(at % c).and_then(|codec| codec.value(*code));
            values[at * c + at % c] =
                value.ok_or_else(|| self.wrong(format!("code {code} is not in its vocabulary of {}", self.size)))?;
        }
        let mut fields = BTreeMap::from([("values".to_owned(), Array::f32(&[b, c, c], values)?)]);
        if self.errors {
            // Codes do not say how well a value was measured.
            fields.insert("error".to_owned(), Array::f32(&[b, c], vec![0.0; b * c])?);
        }
        let valid = Array::new(&[b, c], Values::U8(valid))?;
        Ok(Some(Arrays { present: tokens.present.clone(), valid, fields }))
    }

    fn bins(&self) -> Vec<Bins> {
        let of = |(name, codec): (&String, &ScalarCodec)| Bins {
            name: name.clone(),
            unit: String::new(),
            centres: codec.values().iter().map(|x| f64::from(*x)).collect(),
            edges: self.with_width(codec.edges().into_iter().map(f64::from).collect()),
        };
        self.names.iter().zip(&self.codecs).map(of).collect()
    }
}

impl Codes {
    /// Edges of which the first bin, which holds all below the first value of a logarithmic grid, is as wide as the next: a density needs
    /// a width.
    fn with_width(&self, mut edges: Vec<f64>) -> Vec<f64> {
        if let (Rule::Grid { spacing: GridSpacing::Log, .. }, [first, second, third, ..]) =
            (&self.rule, edges.as_mut_slice())
            && *first >= *second
        {
            *first = *second * (*second / *third);
        }
        edges
    }
}

inventory::submit! {
    Descriptor::<dyn Tokenizer> {
        name: "quantile_codes",
        summary: "one token per column of a table: which quantile of the training values it lies in",
        origin: env!("CARGO_PKG_NAME"),
        example: "codes = 1024",
        schema: || schemars::schema_for!(QuantileCodesConfig),
        build: |section, context| Ok(Box::new(Codes::quantiles(section, context)?)),
    }
}

inventory::submit! {
    Descriptor::<dyn Tokenizer> {
        name: "grid_codes",
        summary: "one token per column of a table: which step of a linear or logarithmic grid it lies in",
        origin: env!("CARGO_PKG_NAME"),
        example: "codes = 256\nspacing = \"log\"\nfrom = 0.001",
        schema: || schemars::schema_for!(GridCodesConfig),
        build: |section, context| Ok(Box::new(Codes::grid(section, context)?)),
    }
}
