//! Tokens of some objects, of which some are known and others asked for.

use super::GenerateError;
use crate::{
    Batch, Encoding, Error, Forward, Masks, Model, Result, Rows, TokenKind, TokenMask, TokenSpec, TokenValues, Tokens,
};
use candle_core::{DType, Device, Tensor};
use std::collections::BTreeMap;

/// What is known and what is asked for, one row per object and sample.
pub(crate) struct Canvas {
    rows: Rows,
    tokens: BTreeMap<String, Tokens>,
    masks: Masks,
}

/// What a model says at the places that were asked for.
pub(crate) struct Predicted {
    /// Row of the canvas and number of the token of each, rows in order, tokens ascending.
    pub(crate) places: Vec<(u32, u32)>,
    /// Size of the vocabulary, or width of a patch.
    pub(crate) width: usize,
    /// `[K, width]` row-major: logits of codes, or values.
    pub(crate) values: Vec<f32>,
}

impl Canvas {
    /// The objects `objects` of `batch`, of which one may come several times, with their tokens of the modalities `given`.
    pub(crate) fn new(batch: &Batch, objects: &[usize], given: &[String]) -> Result<Self> {
        let mut this = Self { rows: batch.rows.take(objects)?, tokens: BTreeMap::new(), masks: Masks::default() };
        for name in given {
            let Some(own) = batch.tokens.get(name) else { continue };
            let own = take(own, objects)?;
            let (_, t) = own.valid.dims2()?;
            let input: Vec<bool> = own.valid.flatten_all()?.to_vec1::<u8>()?.into_iter().map(|v| v == 1).collect();
            let target = vec![false; input.len()];
            this.masks.modality.insert(name.clone(), TokenMask { tokens: t, input, target });
            this.tokens.insert(name.clone(), own);
        }
        Ok(this)
    }

    /// Rows of the canvas.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Puts tokens of a modality there of which nothing is known but where they stand: numbered ones (those of most codecs and of
    /// tables) by their numbers, others where `like`, the objects' own tokens, stand. What metadata would say is unknown.
    ///
    /// # Errors
    /// [`GenerateError::Unplaced`] if they are not numbered, and an object has none.
    pub(crate) fn prepare(&mut self, name: &str, spec: &TokenSpec, like: Option<&Tokens>) -> Result<()> {
        let b = self.len();
        let places = match numbered(spec) {
            true => None,
            false => {
                let missing = like.map_or(Some(0), |like| like.present.iter().position(|present| !present));
                if let Some(row) = missing {
                    let object = self.rows.ids().get(row).cloned().unwrap_or_default();
                    return Err(GenerateError::Unplaced { modality: name.into(), object }.into());
                }
                like
            }
        };
        let (t, valid) = match places {
            Some(like) => (like.valid.dim(1)?, like.valid.clone()),
            None => (spec.max_tokens, Tensor::ones((b, spec.max_tokens), DType::U8, &Device::Cpu)?),
        };
        let mut coordinates = match places {
            Some(like) => like.coordinates.flatten_all()?.to_vec1::<f32>()?,
            None => (0..b * t).flat_map(|at| std::iter::repeat_n((at % t) as f32, spec.coordinates.len())).collect(),
        };
        let c = spec.coordinates.len();
        for (i, _) in spec.coordinates.iter().enumerate().filter(|(_, coordinate)| coordinate.metadata) {
            coordinates.iter_mut().skip(i).step_by(c.max(1)).for_each(|value| *value = f32::NAN);
        }
        let values = match spec.kind {
            TokenKind::Codes { .. } => TokenValues::Codes(Tensor::zeros((b, t), DType::U32, &Device::Cpu)?),
            TokenKind::Patches { width } => {
                TokenValues::Patches(Tensor::zeros((b, t, width), DType::F32, &Device::Cpu)?)
            }
        };
        let coordinates = Tensor::from_vec(coordinates, (b, t, c), &Device::Cpu)?;
        self.tokens.insert(name.into(), Tokens { values, valid, coordinates, weights: None, present: vec![true; b] });
        self.masks.modality.insert(name.into(), TokenMask::none(b, t));
        Ok(())
    }

    /// Tokens of `name` per row, and which of them there are.
    pub(crate) fn valid(&self, name: &str) -> Result<(usize, Vec<bool>)> {
        let tokens = self.of(name)?;
        let valid = tokens.valid.flatten_all()?.to_vec1::<u8>()?.into_iter().map(|v| v == 1).collect();
        Ok((tokens.valid.dim(1)?, valid))
    }

    /// The tokens of `name` as they are so far.
    pub(crate) fn of(&self, name: &str) -> Result<&Tokens> {
        self.tokens.get(name).ok_or_else(|| Error::Shape {
            part: "what is generated".into(),
            expected: format!("tokens of `{name}`"),
            found: "none".into(),
        })
    }

    /// Asks for those tokens of `name` for which `asked` `[B * T]` says so, and for nothing else.
    pub(crate) fn ask(&mut self, name: &str, asked: Vec<bool>) {
        for (own, mask) in &mut self.masks.modality {
            if own == name {
                mask.target.clone_from(&asked);
            } else {
                mask.target.fill(false);
            }
        }
    }

    /// Makes codes known: what they are `[B * T]`, and which are known so far.
    pub(crate) fn know_codes(&mut self, name: &str, codes: &[u32], known: &[bool]) -> Result<()> {
        let (b, t) = self.of(name)?.valid.dims2()?;
        let codes = TokenValues::Codes(Tensor::from_slice(codes, (b, t), &Device::Cpu)?);
        self.know(name, codes, known);
        Ok(())
    }

    /// Makes values known, `[B * T * P]`.
    pub(crate) fn know_patches(&mut self, name: &str, values: Vec<f32>, width: usize, known: &[bool]) -> Result<()> {
        let (b, t) = self.of(name)?.valid.dims2()?;
        let values = TokenValues::Patches(Tensor::from_vec(values, (b, t, width), &Device::Cpu)?);
        self.know(name, values, known);
        Ok(())
    }

    fn know(&mut self, name: &str, values: TokenValues, known: &[bool]) {
        if let (Some(tokens), Some(mask)) = (self.tokens.get_mut(name), self.masks.modality.get_mut(name)) {
            tokens.values = values;
            mask.input = known.to_vec();
        }
    }

    /// What the masked heads say at the places that are asked for. With `guidance` other than 1, every row is computed a second time
    /// with no token of the modalities `condition`, and logits become `without + guidance * (with - without)`: Ho and Salimans 2022,
    /// as 4M does it for modalities (Mizrahi et al. 2023, section 4).
    pub(crate) fn predict(&self, model: &Model, name: &str, condition: &[String], guidance: f64) -> Result<Predicted> {
        let guided = guidance != 1.0;
        let (batch, masks) = if guided { self.doubled(condition)? } else { (self.batch(), self.masks.clone()) };
        let places = self.masks.modality.get(name).map(TokenMask::targets).unwrap_or_default();
        let outputs = model.predict(&batch, &masks, &Forward::evaluate())?;
        let found = outputs.into_iter().find_map(|(_, output)| {
            let mut predictions = output.predictions;
            let codes = predictions.remove(&format!("logits.{name}"));
            codes.or_else(|| predictions.remove(&format!("patches.{name}")))
        });
        let found = found.ok_or_else(|| GenerateError::NotPredicted { modality: name.into() })?;
        let (count, width) = found.dims2()?;
        let expected = if guided { 2 * places.len() } else { places.len() };
        if count != expected {
            return Err(Error::Shape {
                part: format!("predictions of `{name}`"),
                expected: format!("{expected} tokens"),
                found: count.to_string(),
            });
        }
        let mut values = found.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        if guided {
            // The second half of the rows comes behind the first.
            let without = values.split_off(places.len() * width);
            for (with, without) in values.iter_mut().zip(without) {
                *with = without + guidance as f32 * (*with - without);
            }
        }
        Ok(Predicted { places, width, values })
    }

    fn batch(&self) -> Batch {
        Batch { rows: self.rows.clone(), arrays: BTreeMap::new(), tokens: self.tokens.clone(), masks: BTreeMap::new() }
    }

    /// Every row twice: the second time without tokens of the modalities `condition`.
    fn doubled(&self, condition: &[String]) -> Result<(Batch, Masks)> {
        let objects: Vec<usize> = (0..self.len()).chain(0..self.len()).collect();
        let tokens = self.tokens.iter().map(|(name, own)| Ok((name.clone(), take(own, &objects)?)));
        let batch = Batch {
            rows: self.rows.take(&objects)?,
            arrays: BTreeMap::new(),
            tokens: tokens.collect::<Result<_>>()?,
            masks: BTreeMap::new(),
        };
        let twice = |flags: &[bool]| [flags, flags].concat();
        let modality = self.masks.modality.iter().map(|(name, mask)| {
            let mut input = twice(&mask.input);
            if condition.contains(name) {
                let half = mask.input.len();
                input.iter_mut().skip(half).for_each(|flag| *flag = false);
            }
            (name.clone(), TokenMask { tokens: mask.tokens, input, target: twice(&mask.target) })
        });
        Ok((batch, Masks { modality: modality.collect(), ..self.masks.clone() }))
    }
}

/// Whether tokens are told apart by their numbers alone, so that they have places without a measurement.
pub(crate) fn numbered(spec: &TokenSpec) -> bool {
    let mut places = spec.coordinates.iter().filter(|coordinate| !coordinate.metadata);
    match (places.next(), places.next()) {
        (None, _) => spec.max_tokens == 1,
        (Some(only), None) => only.encoding == Encoding::Category { size: spec.max_tokens },
        _ => false,
    }
}

/// Rows of `tokens`, of which one may come several times.
pub(crate) fn take(tokens: &Tokens, rows: &[usize]) -> Result<Tokens> {
    let index = Tensor::from_vec(rows.iter().map(|row| *row as u32).collect::<Vec<_>>(), rows.len(), &Device::Cpu)?;
    let pick = |x: &Tensor| -> Result<Tensor> { Ok(x.contiguous()?.index_select(&index, 0)?) };
    let (b, t, c) = tokens.coordinates.dims3()?;
    // An index on an empty tensor is an error of candle's.
    let coordinates = match b * t * c {
        0 => Tensor::zeros((rows.len(), t, c), DType::F32, &Device::Cpu)?,
        _ => pick(&tokens.coordinates)?,
    };
    Ok(Tokens {
        values: match &tokens.values {
            TokenValues::Patches(values) => TokenValues::Patches(pick(values)?),
            TokenValues::Codes(codes) => TokenValues::Codes(pick(codes)?),
        },
        valid: pick(&tokens.valid)?,
        coordinates,
        weights: tokens.weights.as_ref().map(pick).transpose()?,
        present: rows.iter().map(|row| tokens.present.get(*row).copied().unwrap_or(false)).collect(),
    })
}
