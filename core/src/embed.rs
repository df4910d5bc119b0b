//! From tokens to a set of vectors of the model's width: learned projection or table, plus
//! encodings of the physical coordinates. Owned by the core, so that a tokenizer needs no weights.
//!
//! There is no index position anywhere: what tells tokens apart is where and when they were
//! measured. The bias of a projection is the modality's own vector.

use crate::{Decay, Encoding, Init, Parameters, Result, Segment, TokenKind, TokenSpec, TokenValues, Tokens, ops};
use candle_core::{DType, Device, Tensor};

/// Embeds the tokens of one modality.
#[derive(Clone, Debug)]
pub struct Embed {
    modality: String,
    values: Values,
    coordinates: Vec<CoordinateEmbed>,
}

#[derive(Clone, Debug)]
enum Values {
    Patches { weight: Tensor, bias: Tensor },
    Codes { table: Tensor, modality: Tensor },
}

#[derive(Clone, Debug)]
enum CoordinateEmbed {
    /// `frequencies` `[F]` in radians per unit; `weight` `[D, 2F]`.
    Fourier { frequencies: Tensor, weight: Tensor },
    /// `[size, D]`.
    Category { table: Tensor, size: usize },
}

impl Embed {
    /// Makes the parameters for the tokens of `modality`.
    ///
    /// # Errors
    /// If a parameter exists already.
    pub fn new(modality: &str, spec: &TokenSpec, width: usize, parameters: &Parameters) -> Result<Self> {
        let values = match spec.kind {
            TokenKind::Patches { width: patch } => Values::Patches {
                weight: parameters.get("values.weight", &[width, patch], Init::fan_in(patch), Decay::Yes)?,
                bias: parameters.get("values.bias", &[width], Init::Zeros, Decay::No)?,
            },
            TokenKind::Codes { vocabulary } => Values::Codes {
                table: parameters.get("codes", &[vocabulary, width], Init::Normal { std: 1.0 }, Decay::No)?,
                modality: parameters.get("modality", &[width], Init::Normal { std: 0.02 }, Decay::No)?,
            },
        };
        let coordinates = spec
            .coordinates
            .iter()
            .map(|coordinate| {
                let p = parameters.pp(coordinate.name);
                Ok(match coordinate.encoding {
                    Encoding::Fourier { shortest, longest, frequencies } => {
                        let steps = frequencies.saturating_sub(1).max(1) as f64;
                        let radians: Vec<f32> = (0..frequencies)
                            .map(|i| {
                                let period = shortest * (longest / shortest).powf(i as f64 / steps);
                                (std::f64::consts::TAU / period) as f32
                            })
                            .collect();
                        CoordinateEmbed::Fourier {
                            frequencies: Tensor::from_vec(radians, (1, frequencies), parameters.device())?,
                            weight: p.get(
                                "weight",
                                &[width, 2 * frequencies],
                                Init::fan_in(frequencies),
                                Decay::Yes,
                            )?,
                        }
                    }
                    Encoding::Category { size } => CoordinateEmbed::Category {
                        table: p.get("table", &[size, width], Init::Normal { std: 1.0 }, Decay::No)?,
                        size,
                    },
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { modality: modality.into(), values, coordinates })
    }

    /// Embeds the objects that have the modality; `None` if no object has.
    ///
    /// # Errors
    /// If a code or category is out of range, or shapes disagree.
    pub fn forward(&self, tokens: &Tokens, device: &Device) -> Result<Option<Segment>> {
        let rows: Vec<u32> = (0u32..).zip(&tokens.present).filter(|(_, p)| **p).map(|(i, _)| i).collect();
        let t = tokens.valid.dim(1)?;
        if rows.is_empty() || t == 0 {
            return Ok(None);
        }
        let all = rows.len() == tokens.len();
        let index = Tensor::new(rows.as_slice(), &Device::Cpu)?;
        let own = |x: &Tensor| -> Result<Tensor> {
            let x = if all { x.clone() } else { x.contiguous()?.index_select(&index, 0)? };
            Ok(x.to_device(device)?)
        };
        let n = rows.len();
        let mut x = match (&self.values, &tokens.values) {
            (Values::Patches { weight, bias }, TokenValues::Patches(v)) => ops::linear(&own(v)?, weight, Some(bias))?,
            (Values::Codes { table, modality }, TokenValues::Codes(codes)) => {
                let codes = own(codes)?;
                table.index_select(&codes.flatten_all()?, 0)?.reshape((n, t, ()))?.broadcast_add(modality)?
            }
            _ => {
                return Err(crate::Error::Shape {
                    part: format!("tokens of `{}`", self.modality),
                    expected: "the kind that the tokenizer's spec says".into(),
                    found: "the other kind".into(),
                });
            }
        };
        for (i, coordinate) in self.coordinates.iter().enumerate() {
            let values = own(&tokens.coordinates.narrow(2, i, 1)?)?.contiguous()?;
            x = (x + coordinate.forward(&values)?)?;
        }
        Ok(Some(Segment { modality: self.modality.clone(), rows, embedded: x, valid: own(&tokens.valid)? }))
    }
}

impl CoordinateEmbed {
    /// `[N, T, 1]` -> `[N, T, D]`.
    fn forward(&self, values: &Tensor) -> Result<Tensor> {
        let (n, t, _) = values.dims3()?;
        match self {
            Self::Fourier { frequencies, weight } => {
                let angles = values.reshape((n * t, 1))?.matmul(frequencies)?;
                let waves = Tensor::cat(&[angles.sin()?, angles.cos()?], 1)?;
                Ok(ops::linear(&waves, weight, None)?.reshape((n, t, ()))?)
            }
            Self::Category { table, size } => {
                let last = size.saturating_sub(1) as f32;
                let index = values.flatten_all()?.clamp(0f32, last)?.to_dtype(DType::U32)?;
                Ok(table.index_select(&index, 0)?.reshape((n, t, ()))?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Coordinate;
    use crate::tokens::scatter_rows;

    fn spec() -> TokenSpec {
        let encoding = Encoding::Fourier { shortest: 1.0, longest: 100.0, frequencies: 4 };
        let coordinates = vec![Coordinate { name: "time", unit: "day", encoding }];
        TokenSpec { kind: TokenKind::Patches { width: 2 }, max_tokens: 3, coordinates }
    }

    #[test]
    fn absent_objects_are_left_out_and_rows_say_which_stay() -> Result<()> {
        let p = Parameters::new(1, &Device::Cpu);
        let embed = Embed::new("a", &spec(), 8, &p)?;
        let tokens = Tokens {
            values: TokenValues::Patches(Tensor::rand(0f32, 1., (3, 2, 2), &Device::Cpu)?),
            valid: Tensor::ones((3, 2), DType::U8, &Device::Cpu)?,
            coordinates: Tensor::rand(0f32, 1., (3, 2, 1), &Device::Cpu)?,
            weights: None,
            present: vec![true, false, true],
        };
        let segment = embed.forward(&tokens, &Device::Cpu)?.expect("two objects are present");
        assert_eq!(segment.rows, [0, 2]);
        assert_eq!(segment.embedded.dims(), [2, 2, 8]);
        let back = scatter_rows(&segment.embedded, &segment.rows, 3)?;
        assert_eq!(back.get(1)?.abs()?.sum_all()?.to_scalar::<f32>()?, 0.0);
        assert_eq!(back.get(2)?.to_vec2::<f32>()?, segment.embedded.get(1)?.to_vec2::<f32>()?);
        Ok(())
    }

    #[test]
    fn tokens_at_different_times_embed_differently() -> Result<()> {
        let p = Parameters::new(1, &Device::Cpu);
        let embed = Embed::new("a", &spec(), 8, &p)?;
        let tokens = Tokens {
            values: TokenValues::Patches(Tensor::ones((1, 2, 2), DType::F32, &Device::Cpu)?),
            valid: Tensor::ones((1, 2), DType::U8, &Device::Cpu)?,
            coordinates: Tensor::new(&[[[0f32], [3.0]]], &Device::Cpu)?,
            weights: None,
            present: vec![true],
        };
        let x = embed.forward(&tokens, &Device::Cpu)?.expect("present").embedded.squeeze(0)?.to_vec2::<f32>()?;
        assert_ne!(x[0], x[1]);
        Ok(())
    }
}
