//! The tokenizer `source_codes`: lists of sources as one sequence of codes, source by source and field by field.

use crate::codec::{Compression, ScalarCodec, SourceField, SourcesCodec};
use crate::quantile::Sample;
use candle_core::{Device, Tensor};
use panchroma_core::{
    Array, Arrays, Coordinate, Descriptor, Encoding, Error, Forward, Result, Section, TokenKind, TokenSpec,
    TokenValues, Tokenizer, TokenizerContext, Tokens, Values,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

/// Keys of `[modality.NAME.tokenizer]` with `kind = "source_codes"`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceCodesConfig {
    /// Codes of each field that is not in `whole`: its bins hold equally many values of the training split. 2 to 65536, default 1024.
    #[serde(default = "codes")]
    pub codes: usize,
    /// Fields that count something from 0, such as pixels, with how many there are: `{ x = 96, y = 96 }`. What is behind the point is dropped.
    /// A source with a number outside is left out. Default none.
    #[serde(default)]
    pub whole: BTreeMap<String, usize>,
}

fn codes() -> usize {
    1024
}

/// Codes of arrays with `values` `[L, F]`: token `l F + f` is field f of source l. Every field has a range of codes of its own; what a code is
/// decoded to is the pixel, or the median of the training values in its bin. Tokens know the number of their source and field.
#[derive(Clone, Debug)]
pub struct SourceCodes {
    config: SourceCodesConfig,
    sources: usize,
    names: Vec<String>,
    /// `None` before it is fitted.
    codec: Option<SourcesCodec>,
}

impl SourceCodes {
    /// From its table.
    ///
    /// # Errors
    /// If a key is unknown or out of range, or the modality has no lists of sources.
    pub fn new(section: &Section, context: &TokenizerContext<'_>) -> Result<Self> {
        let config: SourceCodesConfig = section.read()?;
        let arrays = context.arrays;
        let fits =
            arrays.fields.iter().any(|f| f.name == "values" && f.axes == ["L", "F"]) && arrays.valid_axes == ["L"];
        let (Some(sources), Some(fields), true) = (arrays.size("L"), arrays.size("F"), fits) else {
            let reason =
                format!("`source_codes` needs a modality of kind `sources`, which `{}` is not", context.modality);
            return Err(section.reject("kind", reason));
        };
        let names = arrays.labels("F").to_vec();
        if names.len() != fields {
            return Err(section.reject("kind", format!("`source_codes` needs names for all of {fields} fields")));
        }
        if !(2..=65_536).contains(&config.codes) {
            return Err(section.reject("codes", format!("expected 2 to 65536 codes, got {}", config.codes)));
        }
        if let Some(other) = config.whole.keys().find(|key| !names.contains(key)) {
            return Err(section.reject("whole", format!("`{other}` is none of the fields {names:?}")));
        }
        if let Some((name, size)) = config.whole.iter().find(|(_, size)| !(1..=1 << 24).contains(*size)) {
            return Err(section.reject("whole", format!("expected 1 to {} for `{name}`, got {size}", 1 << 24)));
        }
        let mut this = Self { config, sources, names, codec: None };
        if !this.fits() {
            this.codec = Some(this.codec(vec![Vec::new(); fields])?);
        }
        Ok(this)
    }

    fn size(&self, name: &String) -> usize {
        self.config.whole.get(name).copied().unwrap_or(self.config.codes)
    }

    fn vocabulary(&self) -> usize {
        self.names.iter().map(|name| self.size(name)).sum()
    }

    /// With these values of each field in the training split.
    fn codec(&self, samples: Vec<Vec<f32>>) -> Result<SourcesCodec> {
        let field = |(name, sample): (&String, Vec<f32>)| {
            let field = match self.config.whole.get(name) {
                Some(size) => SourceField::Whole { size: *size },
                None if sample.is_empty() => {
                    return Err(self.wrong(format!("field `{name}` has no value in the training split")));
                }
                None => SourceField::Scalar(ScalarCodec::fitted(Compression::None, &sample, self.config.codes)?),
            };
            Ok((name.clone(), field))
        };
        let fields = self.names.iter().zip(samples).map(field).collect::<Result<_>>()?;
        SourcesCodec::new(fields, self.vocabulary() as u32)
    }

    fn wrong(&self, reason: String) -> Error {
        Error::Plugin { kind: "tokenizer", name: "source_codes".into(), reason }
    }

    /// The values of all valid sources, each with its place.
    fn read<'a>(&self, arrays: &'a Arrays) -> Result<impl Iterator<Item = (usize, &'a [f32])>> {
        let (b, l, f) = (arrays.len(), self.sources, self.names.len());
        let (valid_shape, valid) = arrays.valid()?;
        let (shape, values) = arrays.f32("values")?;
        for (field, expected, found) in [("valid", &[b, l][..], valid_shape), ("values", &[b, l, f], shape)] {
            if found != expected {
                return Err(Error::Shape {
                    part: format!("tokenizer `source_codes`, field `{field}`"),
                    expected: format!("{expected:?}"),
                    found: format!("{found:?}"),
                });
            }
        }
        Ok(values.chunks_exact(f).zip(valid).enumerate().filter(|(_, (_, v))| **v == 1).map(|(at, (own, _))| (at, own)))
    }
}

impl Tokenizer for SourceCodes {
    fn spec(&self) -> TokenSpec {
        let category = |name: &'static str, size| Coordinate {
            name: name.into(),
            unit: "".into(),
            encoding: Encoding::Category { size },
            metadata: false,
        };
        TokenSpec {
            kind: TokenKind::Codes { vocabulary: self.vocabulary() },
            max_tokens: self.sources * self.names.len(),
            coordinates: vec![category("source", self.sources), category("field", self.names.len())],
        }
    }

    fn fits(&self) -> bool {
        self.names.iter().any(|name| !self.config.whole.contains_key(name))
    }

    fn fit(&mut self, arrays: &mut dyn Iterator<Item = Result<Arrays>>) -> Result<()> {
        let mut samples = vec![Sample::new(); self.names.len()];
        for arrays in arrays {
            for (_, source) in self.read(&arrays?)? {
                samples.iter_mut().zip(source).for_each(|(sample, value)| sample.add(f64::from(*value)));
            }
        }
        let values = |sample: Sample| sample.into_values().into_iter().map(|x| x as f32).collect();
        self.codec = Some(self.codec(samples.into_iter().map(values).collect())?);
        Ok(())
    }

    fn fitted(&self) -> Value {
        match &self.codec {
            Some(codec) if self.fits() => serde_json::json!({ "sources": codec }),
            _ => Value::Null,
        }
    }

    fn restore(&mut self, fitted: &Value) -> Result<()> {
        if !self.fits() && fitted.is_null() {
            return Ok(());
        }
        let own = fitted.get("sources").cloned().unwrap_or_default();
        let codec: SourcesCodec = serde_json::from_value(own)
            .map_err(|error| self.wrong(format!("the checkpoint's codes can't be read: {error}")))?;
        let found: Vec<(&String, usize)> =
            codec.fields().iter().map(|(name, field)| (name, field.vocabulary())).collect();
        let expected: Vec<(&String, usize)> = self.names.iter().map(|name| (name, self.size(name))).collect();
        if found != expected {
            return Err(self.wrong(format!("the checkpoint has codes of {found:?}, the config of {expected:?}")));
        }
        self.codec = Some(codec);
        Ok(())
    }

    fn tokenize(&self, arrays: &Arrays, _context: &Forward) -> Result<Tokens> {
        let Some(codec) = &self.codec else {
            return Err(self.wrong("was used before its codes were fitted or restored".into()));
        };
        let (b, l, f) = (arrays.len(), self.sources, self.names.len());
        let (mut codes, mut valid) = (vec![0_u32; b * l * f], vec![0_u8; b * l * f]);
        for (at, source) in self.read(arrays)? {
            let one = |((_, field), value): (&(String, SourceField), &f32)| match field {
                // A pixel is where the position lies.
                SourceField::Whole { .. } => field.code(value.floor()),
                SourceField::Scalar(_) => field.code(*value),
            };
            let own: Option<Vec<u32>> = codec.fields().iter().zip(source).map(one).collect();
            let Some(own) = own else { continue };
            for ((to, code), offset) in codes[at * f..(at + 1) * f].iter_mut().zip(own).zip(codec.offsets()) {
                *to = code + offset;
            }
            valid[at * f..(at + 1) * f].fill(1);
        }
        let coordinates: Vec<f32> = (0..b * l * f).flat_map(|i| [(i / f % l) as f32, (i % f) as f32]).collect();
        Ok(Tokens {
            values: TokenValues::Codes(Tensor::from_vec(codes, (b, l * f), &Device::Cpu)?),
            valid: Tensor::from_vec(valid, (b, l * f), &Device::Cpu)?,
            coordinates: Tensor::from_vec(coordinates, (b, l * f, 2), &Device::Cpu)?,
            weights: None,
            present: arrays.present.clone(),
        })
    }

    /// A source is valid if all of its tokens are, and each is a code of its field.
    fn reconstruct(&self, tokens: &Tokens, _like: Option<&Arrays>, _context: &Forward) -> Result<Option<Arrays>> {
        tokens.check("source_codes", &self.spec())?;
        let (TokenValues::Codes(codes), Some(codec)) = (&tokens.values, &self.codec) else { return Ok(None) };
        let (b, l, f) = (tokens.len(), self.sources, self.names.len());
        let codes = codes.flatten_all()?.to_vec1::<u32>()?;
        let flags = tokens.valid.flatten_all()?.to_vec1::<u8>()?;
        let (mut values, mut valid) = (vec![0.0; b * l * f], vec![0_u8; b * l]);
        let offsets = codec.offsets();
        for (at, (codes, flags)) in codes.chunks_exact(f).zip(flags.chunks_exact(f)).enumerate() {
            let fields = codec.fields().iter().zip(codes).zip(&offsets);
            let own: Option<Vec<f32>> =
                fields.map(|(((_, field), code), offset)| field.value(code.checked_sub(*offset)?)).collect();
            if let Some(own) = own.filter(|_| !flags.contains(&0)) {
                values[at * f..(at + 1) * f].copy_from_slice(&own);
                valid[at] = 1;
            }
        }
        let fields = BTreeMap::from([("values".to_owned(), Array::f32(&[b, l, f], values)?)]);
        let valid = Array::new(&[b, l], Values::U8(valid))?;
        // What decodes to no source at all is absent.
        let present = tokens.present.clone();
        Ok(Some(Arrays { present, valid, fields }))
    }
}

inventory::submit! {
    Descriptor::<dyn Tokenizer> {
        name: "source_codes",
        summary: "lists of sources as one sequence of codes, one per source and field",
        origin: env!("CARGO_PKG_NAME"),
        example: "codes = 1024\nwhole = { x = 96, y = 96 }\n",
        schema: || schemars::schema_for!(SourceCodesConfig),
        build: |section, context| Ok(Box::new(SourceCodes::new(section, context)?)),
    }
}
