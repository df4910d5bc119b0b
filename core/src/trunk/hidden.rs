//! Masked tokens for trunks that encode what is asked for together with what is given: in place of what a hidden token says there is
//! a learned vector, with the vectors of its place, as in BERT (Devlin et al. 2019) and SimMIM (Xie et al. 2022).

use super::{MaskContext, PoolKind};
use crate::features::Targets;
use crate::{Decay, Error, Features, Init, Masks, Result, Segment, TokenMask, TokenSet, View, ops};
use candle_core::{Device, Tensor};

/// The vector that stands for what is not said, for trunks whose heads mask tokens.
#[derive(Debug, Default)]
pub(super) struct Hidden {
    /// `[D]`.
    mask: Option<Tensor>,
}

impl Hidden {
    /// Makes the vector.
    pub(super) fn new(context: &MaskContext<'_>, width: usize, pool: PoolKind) -> Result<Self> {
        if context.alone && pool != PoolKind::Plain {
            let reason = "must be `plain` here: no other head trains a pool, as heads that mask tokens use none";
            return Err(context.section.reject("pool", reason));
        }
        let mask = context.parameters.get("mask", &[width], Init::Normal { std: 0.02 }, Decay::No)?;
        Ok(Self { mask: Some(mask) })
    }

    /// Features of [`View::Masked`], by way of `encode`, which encodes all tokens that are given or asked for.
    pub(super) fn predict(
        &self,
        tokens: &TokenSet,
        masks: &Masks,
        encode: impl FnOnce(&TokenSet) -> Result<Features>,
    ) -> Result<Features> {
        let mut segments = Vec::new();
        let mut asked = Vec::new();
        for segment in &tokens.segments {
            let count = segment.embedded.dim(1)?;
            let Some(mask) = masks.of(&segment.modality, tokens.batch, count)? else { continue };
            if let Some(hidden) = self.hide(segment, mask)? {
                segments.push(hidden);
                asked.push(mask.targets());
            }
        }
        let features = encode(&TokenSet { batch: tokens.batch, segments })?;
        let mut targets = Vec::new();
        for (segment, places) in features.tokens.segments.iter().zip(asked) {
            if !places.is_empty() {
                targets.push(vectors_at(segment, places)?);
            }
        }
        Ok(Features { view: View::Masked, targets, ..features })
    }

    /// The segment with what is asked for hidden, and of what is neither given nor asked for nothing; objects without any of both are
    /// left out.
    fn hide(&self, segment: &Segment, mask: &TokenMask) -> Result<Option<Segment>> {
        let lacks = |what: &str| Error::Shape {
            part: format!("tokens of `{}` for a masked head", segment.modality),
            expected: what.into(),
            found: "none".into(),
        };
        let vector = self.mask.as_ref().ok_or_else(|| lacks("a trunk that was built for masked heads"))?;
        let place = segment.place.as_ref().ok_or_else(|| lacks("vectors of places"))?;
        let seen = |row: &u32| {
            let own = *row as usize * mask.tokens..(*row as usize + 1) * mask.tokens;
            mask.input[own.clone()].contains(&true) || mask.target[own].contains(&true)
        };
        let kept: Vec<u32> = (0u32..).zip(&segment.rows).filter(|(_, row)| seen(row)).map(|(n, _)| n).collect();
        if kept.is_empty() {
            return Ok(None);
        }
        let rows: Vec<u32> = kept.iter().map(|n| segment.rows[*n as usize]).collect();
        let those = |x: &Tensor| -> Result<Tensor> {
            if kept.len() == segment.rows.len() {
                return Ok(x.clone());
            }
            Ok(ops::gather(x, &Tensor::new(kept.as_slice(), &Device::Cpu)?)?)
        };
        let (embedded, place) = (those(&segment.embedded)?, those(place)?);
        let flags = |which: &[bool]| -> Vec<f32> {
            let of = |row: &u32| &which[*row as usize * mask.tokens..(*row as usize + 1) * mask.tokens];
            rows.iter().flat_map(of).map(|flag| f32::from(u8::from(*flag))).collect()
        };
        let (input, target) = (flags(&mask.input), flags(&mask.target));
        let valid: Vec<u8> = input.iter().zip(&target).map(|(a, b)| u8::from(a + b > 0.0)).collect();
        let shape = (rows.len(), mask.tokens);
        let times = |x: &Tensor, flags: Vec<f32>| -> Result<Tensor> {
            let flags = Tensor::from_vec(flags, (shape.0, shape.1, 1), x.device())?.to_dtype(x.dtype())?;
            Ok(x.broadcast_mul(&flags)?)
        };
        let hidden = times(&place.broadcast_add(&vector.to_dtype(place.dtype())?)?, target)?;
        Ok(Some(Segment {
            modality: segment.modality.clone(),
            embedded: (times(&embedded, input)? + hidden)?,
            place: None,
            valid: Tensor::from_vec(valid, shape, &Device::Cpu)?,
            rows,
        }))
    }
}

/// Encoded vectors at `places`, rows of the batch and numbers of tokens.
fn vectors_at(segment: &Segment, places: Vec<(u32, u32)>) -> Result<Targets> {
    let (n, t, width) = segment.embedded.dims3()?;
    let flat: Option<Vec<u32>> = places
        .iter()
        .map(|(row, token)| Some(segment.rows.binary_search(row).ok()? as u32 * t as u32 + token))
        .collect();
    let flat = flat.ok_or_else(|| Error::Shape {
        part: format!("mask of `{}`", segment.modality),
        expected: "targets in objects that have it".into(),
        found: "one that has not".into(),
    })?;
    let vectors = ops::gather(&segment.embedded.reshape((n * t, width))?, &Tensor::new(flat, &Device::Cpu)?)?;
    Ok(Targets { modality: segment.modality.clone(), places, vectors })
}
