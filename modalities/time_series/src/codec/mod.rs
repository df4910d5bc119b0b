//! A codec for irregular series in many bands: any number of observations → a few codes → the brightness at any time in any band.
//!
//! Nothing is put on a grid on the way in: observations go to a transformer as they were made, and as many learned vectors as there are
//! codes collect what they say (as the latent array of Perceiver does, Jaegle et al. 2021, arXiv:2103.03206, here in the same blocks as the
//! observations). Each is rounded by finite scalar quantization (Mentzer et al. 2023, arXiv:2309.15505). The decoder is a function
//! of time and wavelength that looks at the codes alone, so that a series can be asked for anywhere; in training it is also asked for
//! observations that the encoder did not see, as neural processes are (Garnelo et al. 2018, arXiv:1807.01613).

mod batch;
mod config;
mod cross;
mod grid;
mod measure;
mod network;
#[cfg(test)]
mod tests;

pub use config::CurveCodecConfig;

use crate::axes::UNKNOWN;
use crate::tokenizer::Observations;
use crate::{FEATURES, LIMIT_FEATURE};
use batch::{Observed, any_share};
use candle_core::{Device, Tensor};
use grid::{Grid, Seen};
use measure::Sums;
use network::{Latent, Network};
use panchroma_core::metrics::CodeCounts;
use panchroma_core::ops::quantize::{fsq, fsq_values};
use panchroma_core::{
    Array, Arrays, Descriptor, Error, Forward, HeadOutput, Mode, Result, Section, TokenSpec, TokenValues, Tokenizer,
    TokenizerContext, Tokens, Values,
};
use serde_json::Value;
use std::collections::BTreeMap;

const NAME: &str = "curve_codec";

/// How much each of the first features counts in the loss: brightness, relative flux, and the scale of the object, which is the same for
/// all its observations. The others say how an observation was made: they are not told again.
const SHARES: [f32; 3] = [1.0, 0.5, 0.2];

/// The tokenizer `curve_codec`.
pub struct CurveCodec {
    config: CurveCodecConfig,
    observations: Observations,
    network: Network,
    grid: Option<Grid>,
    device: Device,
}

impl CurveCodec {
    /// From its table, for the arrays of a time series.
    ///
    /// # Errors
    /// If a key is unknown or out of range, or the modality has other arrays.
    pub fn new(section: &Section, context: &TokenizerContext<'_>) -> Result<Self> {
        let config = CurveCodecConfig::read(section)?;
        let observations = Observations::with(config.axes(), section, context)?;
        let spec = observations.spec();
        if ![FEATURES.len(), FEATURES.len() + 1].contains(&observations.axes.width) {
            let reason = format!("expected the features {FEATURES:?} and perhaps `{LIMIT_FEATURE}`");
            return Err(section.reject("kind", reason));
        }
        let network = Network::new(&config, &spec, spec.coordinates.clone(), SHARES.len(), context.parameters)?;
        Ok(Self { config, observations, network, grid: None, device: context.parameters.device().clone() })
    }

    fn observed<'a>(&self, arrays: &'a Arrays) -> Result<Observed<'a>> {
        let axes = &self.observations.axes;
        Ok(Observed { series: axes.series(arrays, NAME)?, width: axes.width, floor: self.config.floor })
    }

    /// What the decoder says at all places of the objects of a latent, `[N, L, outputs]`.
    fn tell(&self, rows: &[u32], values: &Tensor, tokens: &Tokens, mode: Mode) -> Result<Tensor> {
        let rows = Tensor::new(rows, &Device::Cpu)?;
        let coordinates = tokens.coordinates.index_select(&rows, 0)?;
        self.network.decode(values, &coordinates, mode)
    }

    /// Mean square over all outputs and observations, weighted.
    fn loss(&self, told: &Tensor, observed: &Observed<'_>, rows: &[u32]) -> Result<Tensor> {
        let truth = observed.truth(rows, SHARES.len())?;
        let total = f64::from(truth.weights.sum_all()?.to_scalar::<f32>()?) * f64::from(SHARES.iter().sum::<f32>());
        let weights = truth.weights.broadcast_mul(&Tensor::new(&[[SHARES]], &Device::Cpu)?)?.to_device(&self.device)?;
        let square = (told - truth.values.to_device(&self.device)?)?.sqr()?;
        Ok(((square * weights)?.sum_all()? / total.max(1e-12))?)
    }

    /// Sums for the results: all observations told from all, and, if the config holds some back, those from the others.
    fn sums(&self, observed: &Observed<'_>, tokens: &Tokens, context: &Forward) -> Result<BTreeMap<String, Tensor>> {
        let mut sums = Sums::new(tokens.len());
        let kept = match self.config.hold_back {
            0.0 => None,
            share => Some(observed.held_back(&mut context.random("curve_codec.measure"), |_| share)),
        };
        for kept in [None, kept.as_deref()].into_iter().take(1 + usize::from(kept.is_some())) {
            let given = kept.map_or_else(|| Ok(tokens.clone()), |kept| with_valid(tokens, kept.to_vec()))?;
            let Some(Latent { z, rows }) = self.network.encode(&given, Mode::Evaluate)? else { continue };
            let told = self.tell(&rows, &fsq(&z, &self.config.levels)?.values, tokens, Mode::Evaluate)?;
            let told = told.narrow(2, 0, 1)?.squeeze(2)?.to_device(&Device::Cpu)?.to_vec2::<f32>()?;
            for (row, told) in rows.iter().zip(&told) {
                let object = *row as usize;
                let all = measure::Seen::of(observed, object, told);
                let Some(kept) = kept else {
                    let all: Vec<_> = all.into_iter().map(|(_, seen)| seen).collect();
                    sums.reconstructed(object, &all);
                    continue;
                };
                let is_given = |place: usize| kept.get(object * observed.series.l + place) == Some(&1);
                let (given, asked): (Vec<_>, Vec<_>) = all.into_iter().partition(|(place, _)| is_given(*place));
                let [given, asked] = [given, asked].map(|own| own.into_iter().map(|(_, s)| s).collect::<Vec<_>>());
                sums.held_back(object, &given, &asked);
            }
        }
        sums.finish()
    }

    /// Codes of each object, 0 where it has no observation, and whether it has any.
    fn codes(&self, tokens: &Tokens) -> Result<(Tensor, Vec<bool>)> {
        let (objects, codes) = (tokens.len(), self.config.codes);
        let mut all = vec![0u32; objects * codes];
        let mut any = vec![false; objects];
        if let Some(Latent { z, rows }) = self.network.encode(tokens, Mode::Evaluate)? {
            let own = fsq(&z.detach(), &self.config.levels)?.codes.to_device(&Device::Cpu)?.to_vec2::<u32>()?;
            for (row, own) in rows.iter().zip(own) {
                let row = *row as usize;
                any[row] = true;
                all[row * codes..(row + 1) * codes].copy_from_slice(&own);
            }
        }
        Ok((Tensor::from_vec(all, (objects, codes), &Device::Cpu)?, any))
    }

    /// Arrays without values at the places of the grid, for `objects` objects.
    fn on_grid(&self, objects: usize) -> Result<Arrays> {
        let axes = &self.observations.axes;
        let grid = self.grid.as_ref().ok_or_else(|| Error::Plugin {
            kind: "tokenizer",
            name: NAME.into(),
            reason: "was used before its grid was fitted or restored".into(),
        })?;
        let places = grid.places(axes.most);
        let (l, f) = (places.len(), axes.width);
        let each = |of: &dyn Fn(&(f32, grid::Band)) -> f32| {
            Array::f32(&[objects, l], places.iter().map(of).collect::<Vec<f32>>().repeat(objects))
        };
        let mut fields = BTreeMap::from([
            ("time".to_owned(), each(&|place| place.0)?),
            ("values".to_owned(), Array::f32(&[objects, l, f], vec![0.0; objects * l * f])?),
        ]);
        for name in axes.more() {
            let own = match name {
                "wavelength" => each(&|place| place.1.wavelength)?,
                "channel" => each(&|place| place.1.channel)?,
                _ => each(&|_| UNKNOWN)?,
            };
            fields.insert(name.to_owned(), own);
        }
        self.complete(&mut fields, objects, l)?;
        let valid = Array::new(&[objects, l], Values::U8(vec![1; objects * l]))?;
        Ok(Arrays { present: vec![true; objects], valid, fields })
    }

    /// What is told again has no errors.
    fn complete(&self, fields: &mut BTreeMap<String, Array>, objects: usize, l: usize) -> Result<()> {
        let axes = &self.observations.axes;
        if axes.error {
            fields.insert("error".to_owned(), Array::f32(&[objects, l], vec![0.0; objects * l])?);
        }
        if axes.weight {
            let all = vec![1.0; objects * l * axes.width];
            fields.insert("weight".to_owned(), Array::f32(&[objects, l, axes.width], all)?);
        }
        Ok(())
    }
}

impl Tokenizer for CurveCodec {
    fn spec(&self) -> TokenSpec {
        TokenSpec::codes(self.config.vocabulary(), self.config.codes)
    }

    fn fits(&self) -> bool {
        true
    }

    fn fit(&mut self, arrays: &mut dyn Iterator<Item = Result<Arrays>>) -> Result<()> {
        let mut seen = Seen::default();
        for arrays in arrays {
            let arrays = arrays?;
            let observed = self.observed(&arrays)?;
            for at in (0..observed.series.valid.len()).filter(|at| observed.series.valid[*at] == 1) {
                seen.add(observed.series.time[at], observed.known(at));
            }
        }
        self.grid = Some(seen.finish(NAME)?);
        Ok(())
    }

    fn fitted(&self) -> Value {
        serde_json::to_value(&self.grid).unwrap_or_default()
    }

    fn restore(&mut self, fitted: &Value) -> Result<()> {
        let grid: Grid = serde_json::from_value(fitted.clone()).map_err(|error| Error::Plugin {
            kind: "tokenizer",
            name: NAME.into(),
            reason: format!("what the checkpoint says about its times and bands can't be read: {error}"),
        })?;
        self.grid = Some(grid);
        Ok(())
    }

    fn tokenize(&self, arrays: &Arrays, context: &Forward) -> Result<Tokens> {
        let (codes, any) = self.codes(&self.observations.tokenize(arrays, context)?)?;
        // What is present and has no observation has no valid token.
        let tokens = Tokens::codes(codes, any)?;
        Ok(Tokens { present: arrays.present.clone(), ..tokens })
    }

    fn reconstruct(&self, tokens: &Tokens, like: Option<&Arrays>, _context: &Forward) -> Result<Option<Arrays>> {
        tokens.check(NAME, &self.spec())?;
        let objects = tokens.len();
        let wrong = |part: &str, expected: String, found: String| {
            Err(Error::Shape { part: format!("tokenizer `{NAME}`, {part}"), expected, found })
        };
        let own;
        let like = match like {
            Some(like) if like.len() == objects => like,
            Some(like) => return wrong("`like`", format!("{objects} objects"), like.len().to_string()),
            None => {
                own = self.on_grid(objects)?;
                &own
            }
        };
        let TokenValues::Codes(codes) = &tokens.values else { return Ok(None) };
        if codes.dims() != [objects, self.config.codes] {
            return wrong("codes", format!("{:?}", [objects, self.config.codes]), format!("{:?}", codes.dims()));
        }
        let vocabulary = self.config.vocabulary();
        let largest = codes.flatten_all()?.to_vec1::<u32>()?.into_iter().max().unwrap_or(0);
        if largest as usize >= vocabulary {
            return wrong("codes", format!("codes below {vocabulary}"), largest.to_string());
        }
        let values = fsq_values(codes, &self.config.levels)?;
        let asked = self.observations.tokenize(like, &Forward::evaluate())?;
        let told = self.network.decode(&values, &asked.coordinates, Mode::Evaluate)?.detach();
        let told = told.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
        // Only objects of which every code is known.
        let known: Vec<bool> = tokens.valid.to_vec2::<u8>()?.iter().map(|row| !row.contains(&0)).collect();
        let observed = self.observed(like)?;
        let (l, f) = (observed.series.l, observed.width);
        let mut valid = vec![0u8; objects * l];
        let mut values = vec![0f32; objects * l * f];
        for (object, place) in (0..objects).filter(|o| known[*o]).flat_map(|o| (0..l).map(move |place| (o, place))) {
            let Some(at) = observed.at(object, place) else { continue };
            valid[at] = 1;
            let out = &mut values[at * f..(at + 1) * f];
            out[..SHARES.len()].copy_from_slice(&told[at * SHARES.len()..(at + 1) * SHARES.len()]);
            // Whether the band is known is the last of the features that every series has.
            out[FEATURES.len() - 1] = f32::from(u8::from(observed.series.wavelength(at).is_some()));
        }
        let mut fields = like.fields.clone();
        fields.insert("values".to_owned(), Array::f32(&[objects, l, f], values)?);
        self.complete(&mut fields, objects, l)?;
        let valid = Array::new(&[objects, l], Values::U8(valid))?;
        Ok(Some(Arrays { present: tokens.present.clone(), valid, fields }))
    }

    fn learns(&self) -> bool {
        true
    }

    fn learn(&self, arrays: &Arrays, context: &Forward) -> Result<HeadOutput> {
        let observed = self.observed(arrays)?;
        let tokens = self.observations.tokenize(arrays, context)?;
        let kept = observed.held_back(&mut context.random("curve_codec.hold_back"), any_share(self.config.hold_back));
        let given = with_valid(&tokens, kept)?;
        let Some(Latent { z, rows }) = self.network.encode(&given, context.mode)? else {
            return Ok(HeadOutput::default());
        };
        let quantized = fsq(&z, &self.config.levels)?;
        let told = self.tell(&rows, &quantized.values, &tokens, context.mode)?;
        let loss = self.loss(&told, &observed, &rows)?;
        let mut counts = CodeCounts::new(self.config.vocabulary());
        counts.add(quantized.codes.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<u32>()?);
        let used = counts.finish();
        let scalar = |value: f64| Tensor::new(value as f32, &Device::Cpu);
        let metrics = BTreeMap::from([
            ("codebook_usage".to_owned(), scalar(used.usage)?),
            ("perplexity".to_owned(), scalar(used.perplexity)?),
        ]);
        let predictions = match context.mode {
            Mode::Train => BTreeMap::new(),
            Mode::Evaluate => self.sums(&observed, &tokens, context)?,
        };
        Ok(HeadOutput { loss: Some(loss), metrics, predictions })
    }
}

/// The same tokens, of which fewer are valid.
fn with_valid(tokens: &Tokens, valid: Vec<u8>) -> Result<Tokens> {
    Ok(Tokens { valid: Tensor::from_vec(valid, tokens.valid.shape(), &Device::Cpu)?, ..tokens.clone() })
}

inventory::submit! {
    Descriptor::<dyn Tokenizer> {
        name: NAME,
        summary: "a few codes for a whole irregular series in many bands, and back: a codec that is trained",
        origin: env!("CARGO_PKG_NAME"),
        example: "codes = 16                 # per series\nlevels = [8, 5, 5, 5]      # 1000 different codes\nwidth = 128\n",
        schema: || schemars::schema_for!(CurveCodecConfig),
        build: |section, context| Ok(Box::new(CurveCodec::new(section, context)?)),
    }
}
