//! Tokens, before embedding ([`Tokens`]) and after ([`TokenSet`]), and what describes them.
//!
//! Legend of shapes: `B` batch, `T` tokens, `P` patch width, `C` coordinates, `D` model width.

use crate::random::{self, Random};
use crate::{Mode, Result, ops};
use candle_core::{DType, Device, Tensor};
use rand::Rng;
use rand_distr::StandardNormal;
use std::borrow::Cow;

/// Whether tokens are values or codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Patches of `width` real values, embedded by a linear map.
    Patches {
        /// P.
        width: usize,
    },
    /// Codes in `0..vocabulary`, embedded by a table.
    Codes {
        /// Number of different codes.
        vocabulary: usize,
    },
}

/// How a physical coordinate goes into the model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Encoding {
    /// Sine and cosine at `frequencies` periods, spaced evenly in logarithm from `shortest` to
    /// `longest`, both in the coordinate's unit.
    Fourier {
        /// Shortest period that is told apart.
        shortest: f64,
        /// Longest period: about four times the range of the coordinate.
        longest: f64,
        /// Number of periods.
        frequencies: usize,
    },
    /// Like `Fourier`, of the decimal logarithm: for quantities whose ratios matter, such as a seeing or
    /// a pixel scale. Values from `smallest` to `largest` are told apart; 0 and below are unknown.
    Log {
        /// Smallest value to expect, above 0.
        smallest: f64,
        /// Largest value to expect.
        largest: f64,
        /// Number of periods.
        frequencies: usize,
    },
    /// One learned vector per integer in `0..size`; other numbers are unknown.
    Category {
        /// Number of categories.
        size: usize,
    },
}

/// One physical coordinate of tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Coordinate {
    /// Name, for example `time`.
    pub name: Cow<'static, str>,
    /// Unit of the numbers in [`Tokens::coordinates`].
    pub unit: Cow<'static, str>,
    /// How it is encoded.
    pub encoding: Encoding,
    /// Whether it says how the measurement was made (seeing, pixel scale, survey) rather than where the
    /// token stands (time, wavelength, place): such coordinates are dropped at random in training and
    /// may be unknown.
    pub metadata: bool,
}

/// What a tokenizer gives, known before any data is read.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenSpec {
    /// Values or codes.
    pub kind: TokenKind,
    /// Largest T.
    pub max_tokens: usize,
    /// The C coordinates.
    pub coordinates: Vec<Coordinate>,
}

/// Tokens per object that [`TokenSpec::made_up`] gives, at most.
const MADE_UP: usize = 4;

/// Name of the coordinate that numbers the tokens of an object, where they have no other.
pub const INDEX: &str = "index";

impl Coordinate {
    /// The number of a token among `tokens`.
    pub(crate) fn index(tokens: usize) -> Self {
        Self { name: INDEX.into(), unit: "".into(), encoding: Encoding::Category { size: tokens }, metadata: false }
    }
}

/// `[B, T, 1]`: the number of each token.
pub(crate) fn numbered(batch: usize, tokens: usize) -> Result<Tensor> {
    let index = Tensor::arange(0f32, tokens as f32, &Device::Cpu)?.reshape((1, tokens, 1))?;
    Ok(index.broadcast_as((batch, tokens, 1))?.contiguous()?)
}

impl TokenSpec {
    /// Of `tokens` codes each time, told apart by their number alone, as those of most codecs are.
    #[must_use]
    pub fn codes(vocabulary: usize, tokens: usize) -> Self {
        let coordinates = vec![Coordinate::index(tokens)];
        Self { kind: TokenKind::Codes { vocabulary }, max_tokens: tokens, coordinates }
    }

    /// A few random tokens for each of `objects` objects, at random coordinates that are all known.
    ///
    /// # Errors
    /// If a tensor can't be made.
    pub(crate) fn made_up(&self, objects: usize, random: &mut Random) -> Result<Tokens> {
        let t = self.max_tokens.min(MADE_UP);
        let values = match self.kind {
            TokenKind::Patches { width } => {
                let values: Vec<f32> = (0..objects * t * width).map(|_| random.sample(StandardNormal)).collect();
                TokenValues::Patches(Tensor::from_vec(values, (objects, t, width), &Device::Cpu)?)
            }
            TokenKind::Codes { vocabulary } => {
                let code = |_| (vocabulary as f64 * random.random::<f64>()) as u32;
                let codes: Vec<u32> = (0..objects * t).map(code).collect();
                TokenValues::Codes(Tensor::from_vec(codes, (objects, t), &Device::Cpu)?)
            }
        };
        let mut coordinates = Vec::with_capacity(objects * t * self.coordinates.len());
        for coordinate in (0..objects * t).flat_map(|_| &self.coordinates) {
            let share: f64 = random.random();
            let value = match coordinate.encoding {
                Encoding::Fourier { longest, .. } => longest * share,
                Encoding::Log { smallest, largest, .. } => smallest * (largest / smallest).powf(share),
                Encoding::Category { size } => (size as f64 * share).floor(),
            };
            coordinates.push(value as f32);
        }
        Ok(Tokens {
            values,
            valid: Tensor::ones((objects, t), DType::U8, &Device::Cpu)?,
            coordinates: Tensor::from_vec(coordinates, (objects, t, self.coordinates.len()), &Device::Cpu)?,
            weights: None,
            present: vec![true; objects],
        })
    }
}

/// The values of tokens.
#[derive(Clone, Debug)]
pub enum TokenValues {
    /// `[B, T, P]` f32.
    Patches(Tensor),
    /// `[B, T]` u32.
    Codes(Tensor),
}

/// Tokens of one modality for a batch of objects.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// What they say; finite also where `valid` is 0, since 0 times NaN is NaN.
    pub values: TokenValues,
    /// `[B, T]` u8: 0 for padding and for tokens without one measured value.
    pub valid: Tensor,
    /// `[B, T, C]` f32, in the units of the [`TokenSpec`]. NaN is unknown, and so is a category that is
    /// out of range: an unknown coordinate adds nothing to its token.
    pub coordinates: Tensor,
    /// f32 inverse variance, relative, of the shape of `values`, where the instrument gives it.
    pub weights: Option<Tensor>,
    /// `[B]`: whether the object has this modality.
    pub present: Vec<bool>,
}

impl Tokens {
    /// Codes `[B, T]` u32 of the objects that are `present`, with the coordinate of [`TokenSpec::codes`].
    ///
    /// # Errors
    /// If `codes` has another shape or type.
    pub fn codes(codes: Tensor, present: Vec<bool>) -> Result<Self> {
        let (batch, tokens) = codes.dims2()?;
        let valid: Vec<u8> = present.iter().flat_map(|p| std::iter::repeat_n(u8::from(*p), tokens)).collect();
        Ok(Self {
            values: TokenValues::Codes(codes),
            valid: Tensor::from_vec(valid, (batch, tokens), &Device::Cpu)?,
            coordinates: numbered(batch, tokens)?,
            weights: None,
            present,
        })
    }

    /// Number of objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.present.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    /// The same tokens on another device.
    ///
    /// # Errors
    /// If the device refuses.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        Ok(Self {
            values: match &self.values {
                TokenValues::Patches(t) => TokenValues::Patches(t.to_device(device)?),
                TokenValues::Codes(t) => TokenValues::Codes(t.to_device(device)?),
            },
            valid: self.valid.to_device(device)?,
            coordinates: self.coordinates.to_device(device)?,
            weights: self.weights.as_ref().map(|w| w.to_device(device)).transpose()?,
            present: self.present.clone(),
        })
    }

    /// Checks shapes and types against `spec`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] that names `tokenizer`.
    pub fn check(&self, tokenizer: &str, spec: &TokenSpec) -> Result<()> {
        let wrong = |what: &str, expected: String, found: &Tensor| crate::Error::Shape {
            part: format!("tokenizer of `{tokenizer}`, {what}"),
            expected,
            found: format!("{:?} {:?}", found.dtype(), found.dims()),
        };
        let b = self.len();
        let t = self.valid.dims().get(1).copied().unwrap_or(0);
        if self.valid.dims() != [b, t] || self.valid.dtype() != DType::U8 || t > spec.max_tokens {
            return Err(wrong("valid", format!("U8 [{b}, T <= {}]", spec.max_tokens), &self.valid));
        }
        let c = spec.coordinates.len();
        if self.coordinates.dims() != [b, t, c] || self.coordinates.dtype() != DType::F32 {
            return Err(wrong("coordinates", format!("F32 [{b}, {t}, {c}]"), &self.coordinates));
        }
        if let (Some(weights), TokenValues::Patches(values) | TokenValues::Codes(values)) =
            (&self.weights, &self.values)
            && (weights.dims() != values.dims() || weights.dtype() != DType::F32)
        {
            return Err(wrong("weights", format!("F32 {:?}", values.dims()), weights));
        }
        match (&self.values, spec.kind) {
            (TokenValues::Patches(v), TokenKind::Patches { width }) => {
                if v.dims() != [b, t, width] || v.dtype() != DType::F32 {
                    return Err(wrong("values", format!("F32 [{b}, {t}, {width}]"), v));
                }
            }
            (TokenValues::Codes(v), TokenKind::Codes { .. }) => {
                if v.dims() != [b, t] || v.dtype() != DType::U32 {
                    return Err(wrong("values", format!("U32 [{b}, {t}]"), v));
                }
            }
            (TokenValues::Patches(v) | TokenValues::Codes(v), kind) => {
                return Err(wrong("values", format!("{kind:?}"), v));
            }
        }
        Ok(())
    }
}

/// What a forward pass may depend on besides its inputs.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// Training (drop-out) or not.
    pub mode: Mode,
    /// The run's seed.
    pub seed: u64,
    /// Optimizer steps taken so far.
    pub step: u64,
}

impl Forward {
    /// For use after training: nothing is drawn.
    #[must_use]
    pub fn evaluate() -> Self {
        Self { mode: Mode::Evaluate, seed: 0, step: 0 }
    }

    /// A random stream for one purpose in this step.
    #[must_use]
    pub fn random(&self, purpose: &str) -> Random {
        random::stream(self.seed, purpose, &[&self.step.to_le_bytes()])
    }
}

/// Embedded tokens of one modality, for those objects of the batch that have it: an absent modality
/// costs nothing.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The user's name of the modality.
    pub modality: String,
    /// `[N]`: which rows of the batch these are, ascending.
    pub rows: Vec<u32>,
    /// `[N, T, D]`: what the tokens say and where they stand.
    pub embedded: Tensor,
    /// `[N, T, D]`: where they stand alone, with the modality's own vector; only where a head masks tokens.
    pub place: Option<Tensor>,
    /// `[N, T]` u8, on the CPU whatever the device: what is computed at all is decided there.
    pub valid: Tensor,
}

/// Embedded tokens of all modalities, each in a segment of its own, in the config's order.
#[derive(Clone, Debug)]
pub struct TokenSet {
    /// B, the number of objects.
    pub batch: usize,
    /// One per modality; one that no object of the batch has is left out.
    pub segments: Vec<Segment>,
}

impl TokenSet {
    /// The segment of `modality`, if any object has it.
    #[must_use]
    pub fn segment(&self, modality: &str) -> Option<&Segment> {
        self.segments.iter().find(|s| s.modality == modality)
    }
}

impl Segment {
    /// Puts `x` `[N, ..]`, one row per object of the segment, into `[B, ..]` with zeros elsewhere.
    ///
    /// # Errors
    /// If `x` does not have N rows.
    pub fn scatter(&self, x: &Tensor, batch: usize) -> Result<Tensor> {
        scatter_rows(x, &self.rows, batch)
    }
}

/// Puts row `i` of `x` `[N, ..]` at row `rows[i]` of a `[batch, ..]` tensor of zeros; `rows` ascend.
///
/// # Errors
/// If `x` does not have as many rows as `rows`, or one of them isn't below `batch`.
pub fn scatter_rows(x: &Tensor, rows: &[u32], batch: usize) -> Result<Tensor> {
    if rows.len() == batch && x.dim(0)? == batch {
        return Ok(x.clone());
    }
    if x.dtype().is_float() {
        return Ok(ops::scatter(x, &Tensor::new(rows, &Device::Cpu)?, batch)?);
    }
    let index = Tensor::new(rows, x.device())?;
    // Flags and codes have no gradient, and are small.
    let mut dims = x.dims().to_vec();
    dims[0] = batch;
    Ok(Tensor::zeros(dims, x.dtype(), x.device())?.index_add(&index, x, 0)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Parameters, embed::Embed};

    #[test]
    fn weights_have_the_shape_of_the_values() -> Result<()> {
        let spec = TokenSpec { kind: TokenKind::Patches { width: 4 }, max_tokens: 3, coordinates: Vec::new() };
        let (cpu, float) = (&Device::Cpu, DType::F32);
        let check = |weights: Tensor| {
            let tokens = Tokens {
                values: TokenValues::Patches(Tensor::zeros((2, 3, 4), float, cpu)?),
                valid: Tensor::zeros((2, 3), DType::U8, cpu)?,
                coordinates: Tensor::zeros((2, 3, 0), float, cpu)?,
                weights: Some(weights),
                present: vec![true; 2],
            };
            tokens.check("spectrum", &spec)
        };
        check(Tensor::zeros((2, 3, 4), float, cpu)?)?;
        for wrong in [Tensor::zeros((2, 3), float, cpu)?, Tensor::zeros((2, 3, 4), DType::F64, cpu)?] {
            let error = check(wrong).expect_err("refused").to_string();
            assert!(error.contains("tokenizer of `spectrum`, weights") && error.contains("F32 [2, 3, 4]"), "{error}");
        }
        Ok(())
    }

    #[test]
    fn of_tokens_that_are_made_up_nothing_is_missing() -> Result<()> {
        let encodings = [
            Encoding::Fourier { shortest: 1.0, longest: 100.0, frequencies: 4 },
            Encoding::Log { smallest: 0.1, largest: 10.0, frequencies: 4 },
            Encoding::Category { size: 3 },
        ];
        let named = encodings.into_iter().zip(["a", "b", "c"]);
        let coordinates: Vec<Coordinate> = named
            .map(|(encoding, name)| Coordinate { name: name.into(), unit: "".into(), encoding, metadata: true })
            .collect();
        for kind in [TokenKind::Patches { width: 2 }, TokenKind::Codes { vocabulary: 5 }] {
            let spec = TokenSpec { kind, max_tokens: 3, coordinates: coordinates.clone() };
            let tokens = spec.made_up(2, &mut random::stream(1, "test", &[]))?;
            tokens.check("test", &spec)?;
            assert_eq!(tokens.present, [true; 2]);
            let parameters = Parameters::new(1, &Device::Cpu);
            let segment = Embed::new("test", &spec, 8, &parameters)?.forward(&tokens, &Device::Cpu)?.expect("present");
            let gradients = segment.embedded.sqr()?.sum_all()?.backward()?;
            for (name, parameter) in parameters.all() {
                let gradient = gradients.get(parameter.var.as_tensor()).expect("a gradient");
                assert!(gradient.abs()?.max_all()?.to_scalar::<f32>()? > 0.0, "{name} for {kind:?}");
            }
        }
        Ok(())
    }
}
