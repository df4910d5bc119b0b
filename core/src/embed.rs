//! From tokens to a set of vectors of the model's width: learned projection or table, plus
//! encodings of the physical coordinates. Owned by the core, so that a tokenizer needs no weights.
//!
//! There is no index position anywhere: what tells tokens apart is where and when they were
//! measured. The bias of a projection is the modality's own vector.

use crate::{
    Decay, Encoding, Init, Layer, Parameters, Result, Segment, TokenKind, TokenSpec, TokenValues, Tokens, ops,
};
use candle_core::{DType, Device, Tensor};
use std::sync::Arc;

/// Embeds the tokens of one modality.
#[derive(Clone, Debug)]
pub struct Embed {
    modality: String,
    values: Values,
    coordinates: Vec<CoordinateEmbed>,
    /// Type of number of what comes out.
    activations: DType,
}

#[derive(Clone, Debug)]
enum Values {
    Patches { weight: Tensor, bias: Tensor, layer: Option<SharedLayer> },
    Codes { table: Tensor, modality: Tensor },
}

/// A layer of a tokenizer.
#[derive(Clone)]
struct SharedLayer(Arc<dyn Layer>);

impl std::fmt::Debug for SharedLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a layer to {} values", self.0.outputs())
    }
}

#[derive(Clone, Debug)]
enum CoordinateEmbed {
    /// `frequencies` `[F]` in radians per unit, or per decade if `log`; `weight` `[D, 2F]`.
    Fourier { frequencies: Tensor, weight: Tensor, log: bool },
    /// `[size, D]`.
    Category { table: Tensor, size: usize },
}

impl Embed {
    /// Makes the parameters for the tokens of `modality`.
    ///
    /// # Errors
    /// If a parameter exists already.
    pub fn new(modality: &str, spec: &TokenSpec, width: usize, parameters: &Parameters) -> Result<Self> {
        Self::with_layer(modality, spec, None, width, parameters)
    }

    /// The same, of patches that go through `layer` first.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_layer(
        modality: &str,
        spec: &TokenSpec,
        layer: Option<Arc<dyn Layer>>,
        width: usize,
        parameters: &Parameters,
    ) -> Result<Self> {
        let values = match spec.kind {
            TokenKind::Patches { width: patch } => {
                let patch = layer.as_ref().map_or(patch, |layer| layer.outputs());
                Values::Patches {
                    weight: parameters.get("values.weight", &[width, patch], Init::fan_in(patch), Decay::Yes)?,
                    bias: parameters.get("values.bias", &[width], Init::Zeros, Decay::No)?,
                    layer: layer.map(SharedLayer),
                }
            }
            TokenKind::Codes { vocabulary } => Values::Codes {
                table: parameters.get("codes", &[vocabulary, width], Init::Normal { std: 1.0 }, Decay::No)?,
                modality: parameters.get("modality", &[width], Init::Normal { std: 0.02 }, Decay::No)?,
            },
        };
        let coordinates = spec
            .coordinates
            .iter()
            .map(|coordinate| {
                let p = parameters.pp(&coordinate.name);
                let fourier = |shortest: f64, longest: f64, frequencies: usize, log: bool| -> Result<CoordinateEmbed> {
                    let steps = frequencies.saturating_sub(1).max(1) as f64;
                    let radians: Vec<f32> = (0..frequencies)
                        .map(|i| {
                            let period = shortest * (longest / shortest).powf(i as f64 / steps);
                            (std::f64::consts::TAU / period) as f32
                        })
                        .collect();
                    let fan_in = Init::fan_in(frequencies);
                    Ok(CoordinateEmbed::Fourier {
                        frequencies: Tensor::from_vec(radians, frequencies, parameters.device())?,
                        weight: p.get("weight", &[width, 2 * frequencies], fan_in, Decay::Yes)?,
                        log,
                    })
                };
                Ok(match coordinate.encoding {
                    Encoding::Fourier { shortest, longest, frequencies } => {
                        fourier(shortest, longest, frequencies, false)?
                    }
                    Encoding::Log { smallest, largest, frequencies } => {
                        // Four times the range, so that its two ends don't look alike; down to a tenth of a
                        // decade, or a tenth of the range if that is narrower.
                        let range = (largest / smallest).log10().abs().max(1e-3);
                        fourier(0.1 * range.min(1.0), 4.0 * range, frequencies, true)?
                    }
                    Encoding::Category { size } => CoordinateEmbed::Category {
                        table: p.get("table", &[size, width], Init::Normal { std: 1.0 }, Decay::No)?,
                        size,
                    },
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { modality: modality.into(), values, coordinates, activations: parameters.activations() })
    }

    /// Embeds the objects that have the modality; `None` if no object has.
    ///
    /// # Errors
    /// If a code or category is out of range, or shapes disagree.
    pub fn forward(&self, tokens: &Tokens, device: &Device) -> Result<Option<Segment>> {
        self.embed(tokens, device, false)
    }

    /// The same with [`Segment::place`].
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_with_places(&self, tokens: &Tokens, device: &Device) -> Result<Option<Segment>> {
        self.embed(tokens, device, true)
    }

    fn embed(&self, tokens: &Tokens, device: &Device, places: bool) -> Result<Option<Segment>> {
        let rows: Vec<u32> = (0u32..).zip(&tokens.present).filter(|(_, p)| **p).map(|(i, _)| i).collect();
        let t = tokens.valid.dim(1)?;
        if rows.is_empty() || t == 0 {
            return Ok(None);
        }
        let all = rows.len() == tokens.len();
        let index = Tensor::new(rows.as_slice(), &Device::Cpu)?;
        let own = |x: &Tensor| -> Result<Tensor> {
            Ok(if all { x.clone() } else { x.contiguous()?.index_select(&index, 0)? })
        };
        let n = rows.len();
        let mut x = match (&self.values, &tokens.values) {
            (Values::Patches { weight, bias, layer }, TokenValues::Patches(v)) => {
                let mut patches = own(v)?.to_device(device)?;
                if let Some(SharedLayer(layer)) = layer {
                    patches = layer.forward(&patches.flatten_to(1)?)?.reshape((n, t, ()))?;
                }
                ops::linear(&patches.to_dtype(self.activations)?, weight, Some(bias))?
            }
            (Values::Codes { table, modality }, TokenValues::Codes(codes)) => {
                let codes = own(codes)?;
                let x = ops::gather(table, &codes.flatten_all()?)?.reshape((n, t, ()))?.broadcast_add(modality)?;
                x.to_dtype(self.activations)?
            }
            _ => {
                return Err(crate::Error::Shape {
                    part: format!("tokens of `{}`", self.modality),
                    expected: "the kind that the tokenizer's spec says".into(),
                    found: "the other kind".into(),
                });
            }
        };
        let own_vector = match &self.values {
            Values::Patches { bias, .. } => bias,
            Values::Codes { modality, .. } => modality,
        };
        let mut place = if places {
            Some(own_vector.to_dtype(self.activations)?.broadcast_as((n, t, own_vector.dim(0)?))?.contiguous()?)
        } else {
            None
        };
        for (i, coordinate) in self.coordinates.iter().enumerate() {
            let values = own(&tokens.coordinates.narrow(2, i, 1)?)?;
            let encoded = coordinate.forward(&values, self.activations)?;
            x = (x + &encoded)?;
            place = place.map(|place| place + &encoded).transpose()?;
        }
        Ok(Some(Segment { modality: self.modality.clone(), rows, embedded: x, place, valid: own(&tokens.valid)? }))
    }
}

impl CoordinateEmbed {
    /// Whether a coordinate says anything.
    fn knows(&self, value: f32) -> bool {
        match self {
            Self::Fourier { log: false, .. } => value.is_finite(),
            Self::Fourier { log: true, .. } => value.is_finite() && value > 0.0,
            Self::Category { size, .. } => value >= 0.0 && value < *size as f32,
        }
    }

    /// `[N, T, 1]` on the CPU -> `[N, T, D]` in `activations` on the parameters' device.
    fn forward(&self, values: &Tensor, activations: DType) -> Result<Tensor> {
        let (n, t, _) = values.dims3()?;
        let mut values = values.flatten_all()?.to_vec1::<f32>()?;
        // 1 where the coordinate is known. A place that is unknown computes with 0, since NaN times 0 is NaN.
        let mut known = vec![1f32; values.len()];
        for (value, known) in values.iter_mut().zip(&mut known) {
            if !self.knows(*value) {
                (*value, *known) = (0.0, 0.0);
            } else if matches!(self, Self::Fourier { log: true, .. }) {
                *value = value.log10();
            }
        }
        let all = known.iter().all(|k| *k == 1.0);
        let x = match self {
            Self::Fourier { frequencies, weight, .. } => {
                let values = Tensor::from_vec(values, n * t, frequencies.device())?;
                ops::linear(&ops::fourier(&values, frequencies)?.to_dtype(activations)?, weight, None)?
            }
            Self::Category { table, .. } => {
                let index: Vec<u32> = values.into_iter().map(|v| v as u32).collect();
                ops::gather(table, &Tensor::from_vec(index, n * t, &Device::Cpu)?)?.to_dtype(activations)?
            }
        };
        let x = if all {
            x
        } else {
            x.broadcast_mul(&Tensor::from_vec(known, (n * t, 1), x.device())?.to_dtype(activations)?)?
        };
        Ok(x.reshape((n, t, ()))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Coordinate;
    use crate::tokens::scatter_rows;

    #[test]
    fn an_unknown_coordinate_adds_nothing() -> Result<()> {
        let log = Encoding::Log { smallest: 0.1, largest: 10.0, frequencies: 4 };
        for (encoding, unknown) in [
            (Encoding::Fourier { shortest: 1.0, longest: 100.0, frequencies: 4 }, f32::NAN),
            (log, f32::NAN),
            (log, -1.0),
            (Encoding::Category { size: 3 }, 3.0),
            (Encoding::Category { size: 3 }, f32::NAN),
        ] {
            let tokens = |coordinate: f32| -> Result<Vec<f32>> {
                let p = Parameters::new(1, &Device::Cpu);
                let spec = TokenSpec {
                    coordinates: vec![Coordinate { name: "c".into(), unit: "".into(), encoding, metadata: false }],
                    ..spec()
                };
                let tokens = Tokens {
                    values: TokenValues::Patches(Tensor::zeros((1, 1, 2), DType::F32, &Device::Cpu)?),
                    valid: Tensor::ones((1, 1), DType::U8, &Device::Cpu)?,
                    coordinates: Tensor::new(&[[[coordinate]]], &Device::Cpu)?,
                    weights: None,
                    present: vec![true],
                };
                let segment = Embed::new("a", &spec, 8, &p)?.forward(&tokens, &Device::Cpu)?.expect("present");
                Ok(segment.embedded.flatten_all()?.to_vec1()?)
            };
            assert_eq!(tokens(unknown)?, [0.0; 8], "{encoding:?} at {unknown}");
            assert_ne!(tokens(2.0)?, [0.0; 8], "{encoding:?} at 2");
        }
        Ok(())
    }

    fn spec() -> TokenSpec {
        let encoding = Encoding::Fourier { shortest: 1.0, longest: 100.0, frequencies: 4 };
        let coordinates = vec![Coordinate { name: "time".into(), unit: "day".into(), encoding, metadata: false }];
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
