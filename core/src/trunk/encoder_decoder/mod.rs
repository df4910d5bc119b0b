//! Trunk `encoder_decoder`: an encoder over the tokens that are given, and a decoder that asks it for the others.
//!
//! What is asked for enters the decoder as one learned vector plus where it stands (coordinates and modality), sees the
//! encoded tokens by cross-attention, and comes out as a vector from which a head predicts the token. Nothing is computed for
//! tokens that are neither given nor asked for.
//!
//! Source: 4M (Mizrahi et al. 2023, section 2), as AION-1 (Parker, Lanusse et al. 2025, section 4) uses it.

mod blocks;
mod config;
mod pack;
#[cfg(test)]
mod tests;

pub use config::{EncoderDecoderConfig, EncoderPool, Nonlinearity};

use super::attention::Query;
use super::towers::empty;
use super::{Trunk, TrunkContext};
use crate::ops::stack::{Branch, Context, stack_with_context};
use crate::ops::{self, Keep, Mask, Sequences};
use crate::tokens::scatter_rows;
use crate::{
    Decay, Descriptor, Error, Features, Forward, Init, Masks, Mode, Pooled, Result, Section, Segment, Targets,
    TokenMask, TokenSet, View,
};
use blocks::{Builder, Norm, with_mask};
use candle_core::{DType, Device, Tensor};
use pack::{Back, Chosen, sequences};
use rand::Rng;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Encoder and decoder over the tokens of all modalities.
pub struct EncoderDecoder {
    config: EncoderDecoderConfig,
    encoder: Arc<[Branch]>,
    encoder_norm: Norm,
    /// What the decoder sees of an encoded token, before its place is added again: weight and bias.
    context: [Tensor; 2],
    decoder: Arc<[Branch]>,
    /// The same with equal weights among the targets.
    uniform: Arc<[Branch]>,
    decoder_norm: Norm,
    /// `[D]`: what is asked for, but for its place.
    mask_token: Tensor,
    /// `[R, D]`.
    registers: Option<Tensor>,
    /// What the decoder adds to a modality's own vector, if it doesn't share it with the encoder.
    modality: BTreeMap<String, Tensor>,
    pool: Option<Query>,
    /// Prefix of its parameters, for random streams.
    name: String,
}

/// Encoded tokens, one object's behind the other's.
pub struct Encoded {
    /// `[M, D]`: behind the last norm of the encoder.
    pub rows: Tensor,
    /// `[M, D]`: what the decoder attends to, mapped and with its place.
    pub context: Tensor,
    /// Rows of each object; registers are first. With padding, those that are keys.
    pub sequences: Sequences,
    chosen: Chosen,
}

inventory::submit! {
    Descriptor::<dyn Trunk> {
        name: "encoder_decoder",
        summary: "an encoder over the tokens that are given and a decoder that predicts others, as in 4M and AION-1",
        origin: env!("CARGO_PKG_NAME"),
        example: "width = 128\nencoder_depth = 3\ndecoder_depth = 2\nheads = 4\n",
        schema: || schemars::schema_for!(EncoderDecoderConfig),
        build: |section: &Section, context: &TrunkContext<'_>| Ok(Box::new(EncoderDecoder::new(section, context)?)),
    }
}

impl EncoderDecoder {
    /// Makes the parameters.
    ///
    /// # Errors
    /// If the config is wrong.
    pub fn new(section: &Section, context: &TrunkContext<'_>) -> Result<Self> {
        let config = EncoderDecoderConfig::read(section)?;
        let (width, p) = (config.width, context.parameters);
        let own_mask = if config.decoder_causal { Mask::Causal } else { Mask::Full };
        let decoder = Builder::decoder(&config, &p.pp("decoder"), &own_mask)?;
        let small = Init::Normal { std: 0.02 };
        let registers = match config.registers {
            0 => None,
            count => Some(p.get("registers", &[count, width], small, Decay::No)?),
        };
        let apart = context.modalities.iter().filter(|_| !config.share_modality_embeddings);
        let decoder_modality = p.pp("decoder_modality");
        let modality =
            apart.map(|(name, _)| Ok((name.clone(), decoder_modality.get(name, &[width], Init::Zeros, Decay::No)?)));
        let map = p.pp("context");
        Ok(Self {
            encoder: Builder::encoder(&config, &p.pp("encoder"))?.into(),
            encoder_norm: Norm::new(width, config.norm_bias, &p.pp("encoder_norm"))?,
            context: [
                map.get("weight", &[width, width], Init::fan_in(width), Decay::Yes)?,
                map.get("bias", &[width], Init::Zeros, Decay::No)?,
            ],
            uniform: with_mask(&decoder, &Mask::Uniform).into(),
            decoder: decoder.into(),
            decoder_norm: Norm::new(width, config.norm_bias, &p.pp("decoder_norm"))?,
            mask_token: p.get("mask_token", &[width], small, Decay::No)?,
            registers,
            modality: modality.collect::<Result<_>>()?,
            pool: match config.pool {
                EncoderPool::Attentive => Some(Query::new(width, config.heads, &p.pp("pool"))?),
                EncoderPool::Mean | EncoderPool::Registers => None,
            },
            name: p.name().to_owned(),
            config,
        })
    }

    /// Encodes what `masks` give, or all valid tokens without; each object's tokens behind its registers.
    ///
    /// With `pad`, each object is filled up to so many tokens with zeros, which see its tokens and which nobody sees: what the
    /// reference computes at its padding.
    ///
    /// # Errors
    /// If nothing is given, or an object has more tokens than `pad`.
    pub fn encode(
        &self,
        tokens: &TokenSet,
        masks: Option<&Masks>,
        pad: Option<usize>,
        context: &Forward,
    ) -> Result<Encoded> {
        let chosen = Chosen::new(tokens, masks, |mask: &TokenMask| &mask.input)?;
        let registers = self.config.registers;
        let mut x = chosen
            .gather(tokens, self.registers_in(tokens)?.as_ref(), |s| Some(s.embedded.clone()))?
            .ok_or_else(empty)?;
        let nowhere = self.registers_in(tokens)?.map(|r| r.zeros_like()).transpose()?;
        let mut place = chosen.gather(tokens, nowhere.as_ref(), |s| s.place.clone())?;
        let lengths = chosen.lengths();
        let mut sequences = sequences(&lengths, registers);
        if let Some(pad) = pad {
            let rows = padded(&lengths, registers, pad)?;
            let fill = |x: &Tensor| Ok::<_, Error>(ops::scatter(x, &rows, lengths.len() * (pad + registers))?);
            x = fill(&x)?;
            place = place.as_ref().map(fill).transpose()?;
            sequences = Sequences::with_keys(lengths.iter().map(|keys| (pad + registers, keys + registers)))?;
        }
        let scales = self.scales("encoder", &self.encoder, sequences.len(), context);
        let rows = ops::stack(&x, &self.encoder, &sequences, scales, self.keep(context))?;
        let rows = self.encoder_norm.forward(&rows)?;
        let [weight, bias] = &self.context;
        let context = match place {
            Some(place) => (ops::linear(&rows, weight, Some(bias))? + place)?,
            None => rows.clone(),
        };
        Ok(Encoded { rows, context, sequences, chosen })
    }

    /// Register tokens in the type of the embedded ones.
    fn registers_in(&self, tokens: &TokenSet) -> Result<Option<Tensor>> {
        let number = tokens.segments.first().map_or(DType::F32, |s| s.embedded.dtype());
        Ok(self.registers.as_ref().map(|r| r.to_dtype(number)).transpose()?)
    }

    /// Where what is asked for stands, in the order of objects, as the decoder knows it.
    fn queries(&self, tokens: &TokenSet, asked: &Chosen) -> Result<Option<Tensor>> {
        let mut places = Vec::with_capacity(tokens.segments.len());
        for segment in &tokens.segments {
            let place = segment.place.as_ref().ok_or_else(|| Error::Shape {
                part: "trunk `encoder_decoder`".into(),
                expected: "tokens with their places".into(),
                found: "tokens without".into(),
            })?;
            let own = self.modality.get(&segment.modality);
            places.push(match own {
                Some(own) => place.broadcast_add(&own.to_dtype(place.dtype())?)?,
                None => place.clone(),
            });
        }
        let place = asked.gather(tokens, None, |segment| {
            tokens.segments.iter().position(|s| s.modality == segment.modality).and_then(|i| places.get(i).cloned())
        })?;
        Ok(place.map(|place| place.broadcast_add(&self.mask_token.to_dtype(place.dtype())?)).transpose()?)
    }

    /// Vectors of what is asked for, in the order of objects.
    fn decode(
        &self,
        encoded: &Encoded,
        queries: &Tensor,
        asked: &Chosen,
        masks: &Masks,
        context: &Forward,
    ) -> Result<Tensor> {
        // A causal mask leaves each target something to see, so that the reference has nothing to be uniform about.
        let uniform = masks.uniform && !self.config.decoder_causal;
        let (sequences, of): (Vec<usize>, Vec<usize>) = if self.config.decoder_separate && !uniform {
            asked.by_modality().map(|(object, count)| (count, object)).unzip()
        } else {
            asked.lengths().into_iter().enumerate().map(|(object, count)| (count, object)).unzip()
        };
        let sequences = Sequences::new(sequences);
        let branches = if uniform { &self.uniform } else { &self.decoder };
        let seen = Context { rows: encoded.context.clone(), sequences: encoded.sequences.clone(), of };
        let scales = self.scales("decoder", branches, sequences.len(), context);
        let rows = stack_with_context(queries, branches, &sequences, &seen, scales, self.keep(context))?;
        self.decoder_norm.forward(&rows)
    }

    fn keep(&self, context: &Forward) -> Keep {
        match context.mode {
            Mode::Evaluate => Keep::Nothing,
            Mode::Train if self.config.recompute => Keep::Inputs,
            Mode::Train => Keep::All,
        }
    }

    /// What each branch is multiplied by for each sequence: whole branches of whole sequences are dropped.
    fn scales(&self, part: &str, branches: &[Branch], sequences: usize, context: &Forward) -> Vec<Option<Vec<f32>>> {
        let drop = self.config.drop_path;
        let keep = 1.0 - drop;
        (0..branches.len())
            .map(|branch| {
                if context.mode == Mode::Evaluate || drop == 0.0 {
                    return None;
                }
                let mut random = context.random(&format!("{}.{part}.{branch}", self.name));
                let draw = |_| if random.random_bool(keep) { (1.0 / keep) as f32 } else { 0.0 };
                Some((0..sequences).map(draw).collect())
            })
            .collect()
    }

    /// Encodes all valid tokens of `tokens` and makes one vector of each object, in f32.
    fn features(&self, tokens: &TokenSet, context: &Forward) -> Result<(Vec<Segment>, Pooled)> {
        let encoded = self.encode(tokens, None, None, context)?;
        let front = self.config.registers;
        let lengths = encoded.chosen.lengths();
        let rows = encoded.rows.to_dtype(DType::F32)?;
        let mut segments = Vec::with_capacity(tokens.segments.len());
        for Back { segment, rows: own, places, .. } in encoded.chosen.back(tokens, front)? {
            let segment = &tokens.segments[segment];
            let (n, t, d) = segment.embedded.dims3()?;
            let x = ops::gather(&rows, &Tensor::new(own, &Device::Cpu)?)?;
            let x = ops::scatter(&x, &Tensor::new(places, &Device::Cpu)?, n * t)?.reshape((n, t, d))?;
            segments.push(Segment { embedded: x, ..segment.clone() });
        }
        let present: Vec<bool> = lengths.iter().map(|length| *length > 0).collect();
        let vectors = self.pooled(&rows, &lengths)?;
        Ok((segments, Pooled { vectors, present }.masked()?))
    }

    /// One vector per object of its encoded rows `[M, D]`.
    fn pooled(&self, rows: &Tensor, lengths: &[usize]) -> Result<Tensor> {
        let front = self.config.registers;
        let longest = lengths.iter().max().copied().unwrap_or(0).max(1);
        // As many places as the longest object has tokens, without registers; or the registers alone.
        let (skip, width) = if self.config.pool == EncoderPool::Registers { (0, front) } else { (front, longest) };
        let mut from = Vec::new();
        let mut to = Vec::new();
        let mut valid = vec![0_u8; lengths.len() * width];
        let mut start = 0;
        for (object, length) in lengths.iter().enumerate() {
            let count = if self.config.pool == EncoderPool::Registers { front } else { *length };
            from.extend((start + skip) as u32..(start + skip + count) as u32);
            to.extend((object * width) as u32..(object * width + count) as u32);
            valid[object * width..object * width + count].fill(1);
            start += front + length;
        }
        let x = ops::gather(rows, &Tensor::new(from, &Device::Cpu)?)?;
        let x = ops::scatter(&x, &Tensor::new(to, &Device::Cpu)?, lengths.len() * width)?;
        let x = x.reshape((lengths.len(), width, self.config.width))?;
        let valid = Tensor::from_vec(valid, (lengths.len(), width), &Device::Cpu)?;
        match &self.pool {
            Some(query) => query.forward(&x, &valid),
            None => super::pool::mean(&x, &valid),
        }
    }
}

/// Rows of objects of these lengths behind their registers in a batch that is filled up to `pad` tokens each.
fn padded(lengths: &[usize], registers: usize, pad: usize) -> Result<Tensor> {
    if let Some(length) = lengths.iter().find(|length| **length > pad) {
        return Err(Error::Shape {
            part: "trunk `encoder_decoder`".into(),
            expected: format!("at most {pad} tokens"),
            found: length.to_string(),
        });
    }
    let each = lengths.iter().enumerate();
    let rows = each.flat_map(|(object, length)| {
        let first = object * (pad + registers);
        first as u32..(first + registers + length) as u32
    });
    Ok(Tensor::new(rows.collect::<Vec<u32>>(), &Device::Cpu)?)
}

impl Trunk for EncoderDecoder {
    fn width(&self) -> usize {
        self.config.width
    }

    fn forward(&self, tokens: &TokenSet, view: View, context: &Forward) -> Result<Features> {
        let batch = tokens.batch;
        if tokens.segments.is_empty() {
            return Err(empty());
        }
        let mut modality = BTreeMap::new();
        let mut segments = Vec::new();
        if view == View::Isolated {
            for segment in &tokens.segments {
                let alone = TokenSet { batch, segments: vec![segment.clone()] };
                let (encoded, pooled) = self.features(&alone, context)?;
                segments.extend(encoded);
                modality.insert(segment.modality.clone(), pooled);
            }
            let joint = Pooled::mean(modality.values(), batch)?.ok_or_else(empty)?;
            return Ok(Features { view, modality, joint, tokens: TokenSet { batch, segments }, targets: Vec::new() });
        }
        let (segments, joint) = self.features(tokens, context)?;
        for segment in &segments {
            let own = super::pool::mean(&segment.embedded, &segment.valid)?;
            let mut present = vec![false; batch];
            for row in &segment.rows {
                present[*row as usize] = true;
            }
            modality.insert(
                segment.modality.clone(),
                Pooled { vectors: scatter_rows(&own, &segment.rows, batch)?, present },
            );
        }
        Ok(Features { view, modality, joint, tokens: TokenSet { batch, segments }, targets: Vec::new() })
    }

    fn predict(&self, tokens: &TokenSet, masks: &Masks, context: &Forward) -> Result<Features> {
        let batch = tokens.batch;
        let encoded = self.encode(tokens, Some(masks), None, context)?;
        let lengths = encoded.chosen.lengths();
        let present: Vec<bool> = lengths.iter().map(|length| *length > 0).collect();
        let asked = Chosen::new(tokens, Some(masks), |mask: &TokenMask| &mask.target)?;
        let mut targets = Vec::new();
        if let Some(queries) = self.queries(tokens, &asked)? {
            let rows = self.decode(&encoded, &queries, &asked, masks, context)?;
            for Back { segment, rows: own, tokens: places, .. } in asked.back(tokens, 0)? {
                let vectors = ops::gather(&rows, &Tensor::new(own, &Device::Cpu)?)?;
                targets.push(Targets { modality: tokens.segments[segment].modality.clone(), places, vectors });
            }
        }
        // What is predicted is all that is asked for; nobody reads vectors of whole objects here.
        let nothing = Tensor::zeros((batch, self.config.width), DType::F32, encoded.rows.device())?;
        let joint = Pooled { vectors: nothing, present };
        let tokens = TokenSet { batch, segments: Vec::new() };
        Ok(Features { view: View::Masked, modality: BTreeMap::new(), joint, tokens, targets })
    }

    fn flops(&self, batch: usize, tokens: &[usize], view: View) -> f64 {
        match (view, tokens) {
            (View::Masked, [given, asked]) => {
                self.config.encoder_flops(batch, *given) + self.config.decoder_flops(batch, *given, *asked)
            }
            (View::Isolated, tokens) => tokens.iter().map(|t| self.config.encoder_flops(batch, *t)).sum(),
            _ => self.config.encoder_flops(batch, tokens.iter().sum()),
        }
    }
}
