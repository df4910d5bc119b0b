//! The times and bands at which a series is told again if nobody says which: those of the training split.

use panchroma_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Bands of fewer observations than this share of all are left out.
const RARE: f64 = 0.01;

/// Most bands.
const MOST: usize = 16;

/// Times that are kept to tell the range from: ends by a few outliers would make most of a grid empty.
const TIMES: usize = 1 << 20;

/// What a band is known by, in arrays: ln(wavelength) and channel, [`crate::axes::UNKNOWN`] where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Band {
    pub(super) wavelength: f32,
    pub(super) channel: f32,
}

/// Times and bands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Grid {
    /// Days, of the first and last time.
    pub(super) days: [f32; 2],
    /// By wavelength and channel.
    pub(super) bands: Vec<Band>,
}

impl Grid {
    /// Times in their order, each with all bands: at most `most` places.
    pub(super) fn places(&self, most: usize) -> Vec<(f32, Band)> {
        let bands = self.bands.get(..most.min(self.bands.len())).unwrap_or_default();
        let times = (most / bands.len().max(1)).max(1);
        let [from, to] = self.days;
        let step = (to - from) / (times.max(2) - 1) as f32;
        let time = |i: usize| from + step * i as f32;
        (0..times).flat_map(|i| bands.iter().map(move |band| (time(i), *band))).collect()
    }
}

/// Collects times and bands of observations.
#[derive(Default)]
pub(super) struct Seen {
    days: Vec<f32>,
    all: usize,
    /// By the bits of both numbers: they come from tables, not from measurements.
    bands: BTreeMap<[u32; 2], usize>,
}

impl Seen {
    pub(super) fn add(&mut self, days: f32, band: Band) {
        self.all += 1;
        if self.days.len() < TIMES {
            self.days.push(days);
        }
        *self.bands.entry([band.wavelength.to_bits(), band.channel.to_bits()]).or_default() += 1;
    }

    /// From the first to the last percent of all times, in all bands that aren't rare.
    pub(super) fn finish(mut self, modality: &str) -> Result<Grid> {
        self.days.sort_by(f32::total_cmp);
        let part = |share: f64| self.days.get((share * self.days.len().saturating_sub(1) as f64).round() as usize);
        let (Some(from), Some(to)) = (part(0.01), part(0.99)) else {
            let reason = "expected a series with an observation in the training split, got none".into();
            return Err(Error::Plugin { kind: "tokenizer", name: modality.into(), reason });
        };
        let mut bands: Vec<([u32; 2], usize)> = self.bands.into_iter().collect();
        // By number; the sort keeps those of the same number in the order of their bits.
        bands.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let common = |(at, (_, count)): &(usize, _)| *at == 0 || *count as f64 >= RARE * self.all as f64;
        let bands = bands.into_iter().enumerate().filter(common).take(MOST).map(|(_, ([wavelength, channel], _))| {
            Band { wavelength: f32::from_bits(wavelength), channel: f32::from_bits(channel) }
        });
        let mut bands: Vec<Band> = bands.collect();
        bands.sort_by(|a, b| a.wavelength.total_cmp(&b.wavelength).then(a.channel.total_cmp(&b.channel)));
        Ok(Grid { days: [*from, *to], bands })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_and_rare_bands_are_left_out() {
        let mut seen = Seen::default();
        let band = |wavelength| Band { wavelength, channel: 0.0 };
        for i in 0..1000_u16 {
            seen.add(f32::from(i), band(if i % 2 == 0 { 9.0 } else { 8.0 }));
        }
        seen.add(1e6, band(7.0));
        let grid = seen.finish("test").unwrap();
        assert_eq!(grid, Grid { days: [10.0, 990.0], bands: vec![band(8.0), band(9.0)] });
        let places = grid.places(7);
        assert_eq!(places.iter().map(|p| p.0).collect::<Vec<_>>(), [10.0, 10.0, 500.0, 500.0, 990.0, 990.0]);
        assert_eq!(grid.places(1), [(10.0, band(8.0))]);
        assert!(Seen::default().finish("test").is_err());
    }
}
