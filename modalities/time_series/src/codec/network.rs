//! Both halves of the codec: observations → latent values, and latent values → brightness at times and bands that are asked for.
//!
//! Legend of shapes: `N` series, `T` observations or places that are asked for, `C` codes of a series, `S` latent dimensions, `D` width.

use super::CurveCodecConfig;
use super::cross::{Cross, Linear};
use candle_core::{DType, Device, Tensor};
use panchroma_core::embed::Embed;
use panchroma_core::ops::{self, Keep, Sequences, stack::Branch};
use panchroma_core::trunk::{Block, Norm};
use panchroma_core::{Coordinate, Decay, Init, Mode, Parameters, Result, TokenKind, TokenSpec, TokenValues, Tokens};
use std::sync::Arc;

/// Hidden layers of blocks are so many times as wide.
const HIDDEN: usize = 2;

/// Transformer blocks one after the other.
#[derive(Clone, Debug)]
struct Blocks {
    branches: Arc<[Branch]>,
    norm: Norm,
}

impl Blocks {
    fn new(config: &CurveCodecConfig, depth: usize, p: &Parameters) -> Result<Self> {
        let CurveCodecConfig { width, heads, .. } = *config;
        let block = |i| Block::new(width, heads, HIDDEN * width, depth, 0.0, &p.pp(format!("block{i:02}")));
        let blocks = (0..depth).map(block).collect::<Result<Vec<Block>>>()?;
        let branches = blocks.iter().flat_map(Block::branches).cloned().collect();
        Ok(Self { branches, norm: Norm::new(width, &p.pp("norm"))? })
    }

    /// `[M, D]`, the tokens of all `sequences` → `[M, D]`.
    fn forward(&self, x: &Tensor, sequences: &Sequences, mode: Mode) -> Result<Tensor> {
        let keep = match mode {
            Mode::Evaluate => Keep::Nothing,
            Mode::Train => Keep::All,
        };
        let scales = vec![None; self.branches.len()];
        self.norm.forward(&ops::stack(x, &self.branches, sequences, scales, keep)?)
    }
}

/// Encoder and decoder.
#[derive(Clone, Debug)]
pub(super) struct Network {
    codes: usize,
    device: Device,
    observations: Embed,
    /// `[C, D]`: what collects the series, one vector for each code.
    collectors: Tensor,
    encoder: Blocks,
    to_latent: Linear,
    from_latent: Linear,
    /// `[C, D]`: which code is which.
    places: Tensor,
    decoder: Blocks,
    asked: Embed,
    cross: Vec<Cross>,
    norm: Norm,
    output: Linear,
}

/// Latent values `[N, C, S]` of those objects that have any observation.
pub(super) struct Latent {
    pub(super) z: Tensor,
    /// `[N]`: which objects of the batch these are, ascending.
    pub(super) rows: Vec<u32>,
}

impl Network {
    /// For observations of `features` numbers at `coordinates`, of which `outputs` are told again.
    pub(super) fn new(
        config: &CurveCodecConfig,
        observations: &TokenSpec,
        coordinates: Vec<Coordinate>,
        outputs: usize,
        p: &Parameters,
    ) -> Result<Self> {
        let (width, codes, latent) = (config.width, config.codes, config.levels.len());
        // What is asked for says where it is and nothing else: one code for all.
        let kind = TokenKind::Codes { vocabulary: 1 };
        let asked = TokenSpec { kind, max_tokens: observations.max_tokens, coordinates };
        let (encoder, decoder) = (p.pp("encoder"), p.pp("decoder"));
        let vectors = |p: &Parameters, name| p.get(name, &[codes, width], Init::Normal { std: 1.0 }, Decay::No);
        Ok(Self {
            codes,
            device: p.device().clone(),
            observations: Embed::new("observations", observations, width, &encoder.pp("observations"))?,
            collectors: vectors(&encoder, "collectors")?,
            to_latent: Linear::new(&encoder.pp("latent"), [width, latent], 1.0)?,
            encoder: Blocks::new(config, config.depth, &encoder)?,
            from_latent: Linear::new(&decoder.pp("latent"), [latent, width], 1.0)?,
            places: vectors(&decoder, "places")?,
            decoder: Blocks::new(config, config.decoder_depth, &decoder)?,
            asked: Embed::new("asked", &asked, width, &decoder.pp("asked"))?,
            cross: (0..config.decoder_depth)
                .map(|i| Cross::new(config, HIDDEN * width, &decoder.pp(format!("cross{i:02}"))))
                .collect::<Result<_>>()?,
            norm: Norm::new(width, &decoder.pp("asked.norm"))?,
            output: Linear::new(&decoder.pp("output"), [width, outputs], 1.0)?,
        })
    }

    /// Observations as tokens, of which those with `valid` = 1 are looked at; `None` if no object has one.
    pub(super) fn encode(&self, tokens: &Tokens, mode: Mode) -> Result<Option<Latent>> {
        let valid = tokens.valid.to_vec2::<u8>()?;
        let present = valid.iter().map(|row| row.contains(&1)).collect();
        let Some(segment) = self.observations.forward(&Tokens { present, ..tokens.clone() }, &self.device)? else {
            return Ok(None);
        };
        let (n, t, d) = segment.embedded.dims3()?;
        let collectors = self.collectors.to_dtype(segment.embedded.dtype())?;
        let table = Tensor::cat(&[&collectors, &segment.embedded.reshape((n * t, d))?], 0)?;
        // Each series: its collectors, then its observations.
        let codes = self.codes as u32;
        let mut index = Vec::new();
        let mut lengths = Vec::with_capacity(n);
        let mut collected = Vec::with_capacity(n * self.codes);
        for (number, row) in segment.valid.to_vec2::<u8>()?.iter().enumerate() {
            let start = index.len();
            collected.extend(start as u32..start as u32 + codes);
            index.extend(0..codes);
            let first = codes + (number * t) as u32;
            index.extend((first..).zip(row).filter(|(_, valid)| **valid == 1).map(|(at, _)| at));
            lengths.push(index.len() - start);
        }
        let rows = |index: Vec<u32>| Tensor::from_vec(index.clone(), index.len(), &Device::Cpu);
        let x = self.encoder.forward(&ops::gather(&table, &rows(index)?)?, &Sequences::new(lengths), mode)?;
        let z = self.to_latent.forward(&ops::gather(&x, &rows(collected)?)?)?.to_dtype(DType::F32)?;
        Ok(Some(Latent { z: z.reshape((n, self.codes, ()))?, rows: segment.rows }))
    }

    /// Values of codes `[N, C, S]`, and coordinates `[N, T, ..]` of what is asked for → `[N, T, outputs]` f32.
    pub(super) fn decode(&self, latent: &Tensor, coordinates: &Tensor, mode: Mode) -> Result<Tensor> {
        let (n, codes, _) = latent.dims3()?;
        let t = coordinates.dim(1)?;
        let asked = Tokens {
            values: TokenValues::Codes(Tensor::zeros((n, t), DType::U32, &Device::Cpu)?),
            valid: Tensor::ones((n, t), DType::U8, &Device::Cpu)?,
            coordinates: coordinates.clone(),
            weights: None,
            present: vec![true; n],
        };
        let Some(asked) = self.asked.forward(&asked, &self.device)? else {
            return Ok(Tensor::zeros((n, t, self.output.outputs()?), DType::F32, &self.device)?);
        };
        let number = asked.embedded.dtype();
        let x = self.from_latent.forward(&latent.to_device(&self.device)?.to_dtype(number)?)?;
        let x = x.broadcast_add(&self.places.to_dtype(number)?)?.reshape((n * codes, ()))?;
        let memory = self.decoder.forward(&x, &Sequences::new(vec![codes; n]), mode)?.reshape((n, codes, ()))?;
        let mut x = asked.embedded;
        for cross in &self.cross {
            x = cross.forward(&x, &memory)?;
        }
        Ok(self.output.forward(&self.norm.forward(&x)?)?.to_dtype(DType::F32)?)
    }
}
