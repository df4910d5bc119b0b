//! The observations of a batch, as the codec's loss and measures see them.

use super::grid::Band;
use crate::axes::{Series, UNKNOWN};
use candle_core::{Device, Tensor};
use panchroma_core::Result;
use panchroma_core::random::Random;
use rand::Rng;
use rand::seq::SliceRandom;

/// The observations of a batch.
pub(super) struct Observed<'a> {
    pub(super) series: Series<'a>,
    /// F.
    pub(super) width: usize,
    /// Error of the brightness from which on observations count alike.
    pub(super) floor: f64,
}

/// What the loss compares with, on the CPU.
pub(super) struct Truth {
    /// `[N, T, outputs]`.
    pub(super) values: Tensor,
    /// `[N, T, 1]`: inverse variances with the floor, at most 1; 0 where there is no observation.
    pub(super) weights: Tensor,
}

impl Observed<'_> {
    /// Where the observation at `place` of an object is, if there is one.
    pub(super) fn at(&self, object: usize, place: usize) -> Option<usize> {
        let at = object * self.series.l + place;
        (place < self.series.l && self.series.valid.get(at) == Some(&1)).then_some(at)
    }

    /// The first feature.
    pub(super) fn brightness(&self, at: usize) -> f32 {
        self.series.values.get(at * self.width).copied().unwrap_or(0.0)
    }

    /// `floor² / (σ² + floor²)`, 1 where σ is unknown.
    pub(super) fn weight(&self, at: usize) -> f64 {
        let floor = self.floor.powi(2);
        self.series.error(at).map_or(1.0, |error| floor / (f64::from(error).powi(2) + floor))
    }

    /// Equal for observations of the same band.
    pub(super) fn band(&self, at: usize) -> [u32; 2] {
        let Band { wavelength, channel } = self.known(at);
        [wavelength.to_bits(), channel.to_bits()]
    }

    /// Wavelength and channel, as far as they are known.
    pub(super) fn known(&self, at: usize) -> Band {
        let channel = self.series.channel(at).map_or(UNKNOWN, |channel| channel as f32);
        Band { wavelength: self.series.wavelength(at).unwrap_or(UNKNOWN), channel }
    }

    /// The `outputs` features that are told again, for the objects `rows`.
    pub(super) fn truth(&self, rows: &[u32], outputs: usize) -> Result<Truth> {
        let (n, l) = (rows.len(), self.series.l);
        let mut values = vec![0f32; n * l * outputs];
        let mut weights = vec![0f32; n * l];
        for (number, &row) in rows.iter().enumerate() {
            for place in 0..l {
                let Some(at) = self.at(row as usize, place) else { continue };
                let to = number * l + place;
                weights[to] = self.weight(at) as f32;
                let own = &self.series.values[at * self.width..];
                values[to * outputs..(to + 1) * outputs].copy_from_slice(&own[..outputs]);
            }
        }
        Ok(Truth {
            values: Tensor::from_vec(values, (n, l, outputs), &Device::Cpu)?,
            weights: Tensor::from_vec(weights, (n, l, 1), &Device::Cpu)?,
        })
    }

    /// `valid` without some observations of each object: the share that `share` draws, never all.
    pub(super) fn held_back(&self, random: &mut Random, share: impl Fn(&mut Random) -> f64) -> Vec<u8> {
        let mut kept = self.series.valid.to_vec();
        for row in kept.chunks_mut(self.series.l.max(1)) {
            let mut places: Vec<usize> = row.iter().enumerate().filter(|(_, v)| **v == 1).map(|(i, _)| i).collect();
            let held = (share(random) * places.len() as f64).floor() as usize;
            let (held, _) = places.partial_shuffle(random, held.min(row.len()));
            held.iter().for_each(|place| row[*place] = 0);
        }
        kept
    }
}

/// Any share up to `most`.
pub(super) fn any_share(most: f64) -> impl Fn(&mut Random) -> f64 {
    move |random| most * random.random::<f64>()
}
