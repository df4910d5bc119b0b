//! One token per observation: its features as the patch, its time and wavelength as coordinates.
//!
//! Irregular sampling needs no grid this way: the model gets the time of each observation as sines
//! and cosines of many periods, as in attention networks for light curves (Donoso-Oliva et al. 2023,
//! A&A 670, A54, section 3.2; there the periods are of the position encoding, here of days).

use crate::axes::{Axes, AxesConfig, UNKNOWN};
use candle_core::{Device, Tensor};
use panchroma_core::{
    Array, Arrays, Descriptor, Forward, Result, Section, TokenKind, TokenSpec, TokenValues, Tokenizer,
    TokenizerContext, Tokens, Values,
};
use std::collections::BTreeMap;

/// The tokenizer `observations`. The weights of a token are those of its features.
#[derive(Clone, Debug)]
pub struct Observations {
    pub(crate) axes: Axes,
}

impl Observations {
    /// From its table, for arrays with fields `time` `[L]` and `values` `[L, F]`.
    ///
    /// # Errors
    /// If a key is unknown or out of range, or the modality has other arrays.
    pub fn new(section: &Section, context: &TokenizerContext<'_>) -> Result<Self> {
        Self::with(section.read()?, section, context)
    }

    /// The same for a config that is part of another table.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn with(axes: AxesConfig, section: &Section, context: &TokenizerContext<'_>) -> Result<Self> {
        Ok(Self { axes: Axes::new(axes, section, context)? })
    }
}

impl Tokenizer for Observations {
    fn spec(&self) -> TokenSpec {
        TokenSpec {
            kind: TokenKind::Patches { width: self.axes.width },
            max_tokens: self.axes.most,
            coordinates: self.axes.coordinates(),
        }
    }

    fn tokenize(&self, arrays: &Arrays, _context: &Forward) -> Result<Tokens> {
        let series = self.axes.series(arrays, "observations")?;
        let (b, t, width) = (series.b, series.l, self.axes.width);
        let axes = self.axes.coordinates().len();
        let mut patches = vec![0f32; b * t * width];
        let mut weights = patches.clone();
        let mut coordinates = vec![0f32; b * t * axes];
        for (at, _) in series.valid.iter().enumerate().filter(|(_, v)| **v != 0) {
            let place = at * width..(at + 1) * width;
            patches[place.clone()].copy_from_slice(&series.values[place.clone()]);
            series.weigh(at, &mut weights[place]);
            let own = std::iter::once(series.time[at]).chain(series.more(at));
            for (to, from) in coordinates[at * axes..(at + 1) * axes].iter_mut().zip(own) {
                *to = from;
            }
        }
        Ok(Tokens {
            values: TokenValues::Patches(Tensor::from_vec(patches, (b, t, width), &Device::Cpu)?),
            valid: Tensor::from_vec(series.valid.to_vec(), (b, t), &Device::Cpu)?,
            coordinates: Tensor::from_vec(coordinates, (b, t, axes), &Device::Cpu)?,
            weights: Some(Tensor::from_vec(weights, (b, t, width), &Device::Cpu)?),
            present: arrays.present.clone(),
        })
    }

    fn reconstruct(&self, tokens: &Tokens, _like: Option<&Arrays>, _context: &Forward) -> Result<Option<Arrays>> {
        tokens.check("observations", &self.spec())?;
        let TokenValues::Patches(values) = &tokens.values else { return Ok(None) };
        let flat = |tensor: &Tensor| tensor.flatten_all().and_then(|t| t.to_vec1::<f32>());
        let (b, t) = tokens.valid.dims2()?;
        let coordinates = flat(&tokens.coordinates)?;
        let axes = self.axes.coordinates().len();
        let mut fields = BTreeMap::from([("values".to_owned(), Array::f32(&[b, t, self.axes.width], flat(values)?)?)]);
        for (which, name) in std::iter::once("time").chain(self.axes.more()).enumerate() {
            let own = coordinates.iter().skip(which).step_by(axes).map(|v| if v.is_nan() { UNKNOWN } else { *v });
            fields.insert(name.to_owned(), Array::f32(&[b, t], own.collect())?);
        }
        if self.axes.weight {
            let weight = tokens.weights.as_ref().map_or_else(|| Ok(vec![1.0; b * t * self.axes.width]), flat)?;
            fields.insert("weight".to_owned(), Array::f32(&[b, t, self.axes.width], weight)?);
        }
        if self.axes.error {
            // The tokens say nothing of it that could be turned back.
            fields.insert("error".to_owned(), Array::f32(&[b, t], vec![0.0; b * t])?);
        }
        let valid = tokens.valid.flatten_all()?.to_vec1::<u8>()?;
        let valid = Array::new(&[b, t], Values::U8(valid))?;
        Ok(Some(Arrays { present: tokens.present.clone(), valid, fields }))
    }
}

inventory::submit! {
    Descriptor::<dyn Tokenizer> {
        name: "observations",
        summary: "one token per observation of a time series, with time and wavelength as coordinates",
        origin: env!("CARGO_PKG_NAME"),
        example: "shortest_days = 1.0\nlongest_days = 1000.0\nfrequencies = 16\n",
        schema: || schemars::schema_for!(AxesConfig),
        build: |section, context| Ok(Box::new(Observations::new(section, context)?)),
    }
}
