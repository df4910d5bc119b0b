//! Chosen tokens of a batch, one behind the other: objects in order, within an object modalities in order, within a modality
//! tokens in order.

use crate::ops::{self, Sequences};
use crate::{Masks, Result, TokenMask, TokenSet};
use candle_core::{Device, Tensor};

/// Which tokens are chosen.
pub(super) struct Chosen {
    /// Per segment, the places `n * T + t` of its chosen tokens, ascending.
    places: Vec<Vec<u32>>,
    /// Per object and segment, how many.
    counts: Vec<Vec<usize>>,
}

/// What becomes of one of [`Chosen::gather`]'s rows.
pub(super) struct Order {
    /// For each row in the order of objects, its place in the order of segments.
    rows: Vec<u32>,
}

impl Chosen {
    /// Tokens of `tokens` for which `flags` says so, by its masks; all valid ones without.
    pub(super) fn new(tokens: &TokenSet, masks: Option<&Masks>, flags: fn(&TokenMask) -> &[bool]) -> Result<Self> {
        let mut places = Vec::with_capacity(tokens.segments.len());
        let mut counts = vec![vec![0; tokens.segments.len()]; tokens.batch];
        for (number, segment) in tokens.segments.iter().enumerate() {
            let t = segment.valid.dim(1)?;
            let valid = segment.valid.flatten_all()?.to_vec1::<u8>()?;
            let mask = match masks {
                Some(masks) => Some(masks.of(&segment.modality, tokens.batch, t)?.map(flags).unwrap_or_default()),
                None => None,
            };
            let mut own = Vec::new();
            for (n, &row) in segment.rows.iter().enumerate() {
                for token in 0..t {
                    let place = n * t + token;
                    let asked = mask.is_none_or(|m| m.get(row as usize * t + token).copied().unwrap_or(false));
                    if asked && valid.get(place) == Some(&1) {
                        own.push(place as u32);
                        if let Some(counts) = counts.get_mut(row as usize) {
                            counts[number] += 1;
                        }
                    }
                }
            }
            places.push(own);
        }
        Ok(Self { places, counts })
    }

    /// Chosen tokens of each object.
    pub(super) fn lengths(&self) -> Vec<usize> {
        self.counts.iter().map(|own| own.iter().sum()).collect()
    }

    /// Objects of each segment in which something was chosen, with how many: in the order of the rows.
    pub(super) fn by_modality(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let own = |(object, counts): (usize, &'_ Vec<usize>)| {
            counts.iter().map(move |count| (object, *count)).collect::<Vec<_>>()
        };
        self.counts.iter().enumerate().flat_map(own).filter(|(_, count)| *count > 0)
    }

    /// The rows of each segment in the order of segments, `[M, D]`.
    fn by_segment(&self, tokens: &TokenSet, of: impl Fn(&crate::Segment) -> Option<Tensor>) -> Result<Vec<Tensor>> {
        let mut rows = Vec::with_capacity(self.places.len());
        for (places, segment) in self.places.iter().zip(&tokens.segments) {
            let Some(x) = of(segment).filter(|_| !places.is_empty()) else { continue };
            let (n, t, d) = x.dims3()?;
            let x = x.reshape((n * t, d))?;
            rows.push(if places.len() == n * t {
                x
            } else {
                ops::gather(&x, &Tensor::new(places.as_slice(), &Device::Cpu)?)?
            });
        }
        Ok(rows)
    }

    /// Where each row in the order of objects comes from in the order of segments, behind `front` rows of which each object gets
    /// all first.
    pub(super) fn order(&self, front: usize) -> Order {
        let mut starts = Vec::with_capacity(self.places.len());
        let mut next = front;
        for places in &self.places {
            starts.push(next);
            next += places.len();
        }
        let mut rows = Vec::new();
        for counts in &self.counts {
            rows.extend(0..front as u32);
            for (start, count) in starts.iter_mut().zip(counts) {
                rows.extend(*start as u32..(*start + count) as u32);
                *start += count;
            }
        }
        Order { rows }
    }

    /// The chosen rows of `of` in the order of objects, each object's behind the rows of `front`.
    pub(super) fn gather(
        &self,
        tokens: &TokenSet,
        front: Option<&Tensor>,
        of: impl Fn(&crate::Segment) -> Option<Tensor>,
    ) -> Result<Option<Tensor>> {
        let mut parts: Vec<Tensor> = front.cloned().into_iter().collect();
        let count = match front {
            Some(front) => front.dim(0)?,
            None => 0,
        };
        parts.extend(self.by_segment(tokens, of)?);
        if parts.is_empty() {
            return Ok(None);
        }
        let rows = if parts.len() == 1 { parts.swap_remove(0) } else { Tensor::cat(&parts, 0)? };
        let Order { rows: order } = self.order(count);
        if order.iter().zip(0u32..).all(|(from, to)| *from == to) && order.len() == rows.dim(0)? {
            return Ok(Some(rows));
        }
        Ok(Some(ops::gather(&rows, &Tensor::new(order, &Device::Cpu)?)?))
    }

    /// For each segment in which something was chosen: its number, the numbers of its rows in the order of objects behind `front`
    /// rows per object, and object and token of each.
    pub(super) fn back(&self, tokens: &TokenSet, front: usize) -> Result<Vec<Back>> {
        let Order { rows } = self.order(front);
        let mut found: Vec<Back> = Vec::new();
        let mut to = vec![0_u32; self.places.iter().map(Vec::len).sum::<usize>()];
        for (row, from) in rows.iter().enumerate() {
            if let Some(to) = (*from as usize).checked_sub(front).and_then(|from| to.get_mut(from)) {
                *to = row as u32;
            }
        }
        let mut start = 0;
        for (number, (places, segment)) in self.places.iter().zip(&tokens.segments).enumerate() {
            let t = segment.valid.dim(1)? as u32;
            let own = to.get(start..start + places.len()).unwrap_or_default().to_vec();
            start += places.len();
            if places.is_empty() {
                continue;
            }
            let object = |place: &u32| segment.rows.get((place / t) as usize).copied().unwrap_or_default();
            let tokens = places.iter().map(|place| (object(place), place % t)).collect();
            found.push(Back { segment: number, rows: own, places: places.clone(), tokens });
        }
        Ok(found)
    }
}

/// Rows of one segment among those of all objects.
pub(super) struct Back {
    /// Number of the segment.
    pub(super) segment: usize,
    /// Where its rows are.
    pub(super) rows: Vec<u32>,
    /// Their places `n * T + t` in the segment.
    pub(super) places: Vec<u32>,
    /// Object and token of each.
    pub(super) tokens: Vec<(u32, u32)>,
}

/// Sequences of these lengths, each with `front` more.
pub(super) fn sequences(lengths: &[usize], front: usize) -> Sequences {
    Sequences::new(lengths.iter().map(|length| length + front))
}
