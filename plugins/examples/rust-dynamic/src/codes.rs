//! The codec: bins of time as codes, each of which says how many photons there were and how hard they were.

use panchroma_sdk::prelude::*;

/// Keys of the codec's table.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(crate = "panchroma_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "panchroma_sdk::schemars")]
pub struct Config {
    /// Length of a bin, seconds.
    bin_seconds: f64,
    /// Most bins of an object, from its first photon on. Later photons are left out.
    max_bins: usize,
    /// Levels of the number of photons: none, 1, 2 to 3, 4 to 7 and so on; the last has no upper end. 2 to 24.
    count_levels: u32,
    /// Levels of the mean energy, evenly in its logarithm. 1 to 1024.
    energy_levels: u32,
    /// Where the levels of energy begin, keV.
    lowest_kev: f64,
    /// Where the levels of energy end, keV.
    highest_kev: f64,
}

impl Default for Config {
    fn default() -> Self {
        let (bin_seconds, lowest_kev, highest_kev) = (100.0, 0.3, 10.0);
        Self { bin_seconds, max_bins: 64, count_levels: 8, energy_levels: 16, lowest_kev, highest_kev }
    }
}

/// One code for each bin of time, up to that of the last photon. Bins without photons count: the telescope looked.
#[derive(Debug)]
pub struct EventCodes {
    config: Config,
}

impl Codec for EventCodes {
    const NAME: &'static str = "event_codes";
    const SUMMARY: &'static str = "bins of time as codes: how many photons, and how hard they are";
    const EXAMPLE: &'static str = "bin_seconds = 100.0\nmax_bins = 64\n";
    const DECODES: bool = true;
    type Config = Config;

    fn new(config: Config, request: &Request) -> Result<Self> {
        let arrays = request.arrays()?;
        arrays.field_named("time")?;
        arrays.field_named("energy")?;
        if !(config.bin_seconds > 0.0 && config.bin_seconds.is_finite() && config.max_bins > 0) {
            return Err(Error::invalid("`bin_seconds` and `max_bins` are above 0"));
        }
        if !(2..=24).contains(&config.count_levels) || !(1..=1024).contains(&config.energy_levels) {
            return Err(Error::invalid("`count_levels` is 2 to 24, `energy_levels` 1 to 1024"));
        }
        if !(0.0 < config.lowest_kev && config.lowest_kev < config.highest_kev) {
            return Err(Error::invalid("`lowest_kev` is above 0 and below `highest_kev`"));
        }
        Ok(Self { config })
    }

    fn vocabulary(&self) -> u32 {
        // Without photons there is no energy: that is code 0 alone.
        1 + (self.config.count_levels - 1) * self.config.energy_levels
    }

    fn max_tokens(&self) -> usize {
        self.config.max_bins
    }

    fn coordinates(&self) -> Vec<Coordinate> {
        let bin = self.config.bin_seconds;
        vec![Coordinate::waves("time", "s", 2.0 * bin, 2.0 * bin * self.config.max_bins as f64, 16)]
    }

    fn plan(&self, arrays: &Arrays) -> Result<usize> {
        let time = arrays.f32("time")?;
        let bins = (0..arrays.len()).map(|row| self.bins(time.row(row), arrays.valid().row(row)));
        Ok(bins.max().unwrap_or(1).max(1))
    }

    fn encode(&self, arrays: &Arrays, tokens: &mut TokensMut) -> Result<()> {
        let (time, energy) = (arrays.f32("time")?, arrays.f32("energy")?);
        let (mut codes, mut valid, mut places) = (tokens.codes()?, tokens.valid()?, tokens.coordinates()?);
        for row in 0..arrays.len() {
            let measured = arrays.valid().row(row);
            let bins = self.bins(time.row(row), measured);
            // Photons of each bin: how many, and the sum of the logarithms of their energies.
            let mut sums = vec![(0_u32, 0.0_f64); bins];
            for ((t, e), _) in time.row(row).iter().zip(energy.row(row)).zip(measured).filter(|(_, m)| **m == 1) {
                if let Some((count, sum)) = sums.get_mut(self.bin(*t)) {
                    *count += 1;
                    *sum += f64::from(*e).ln();
                }
            }
            for (bin, (count, sum)) in sums.into_iter().enumerate().take(codes.width()) {
                codes.row_mut(row)[bin] = self.code(count, sum / f64::from(count.max(1)));
                valid.row_mut(row)[bin] = 1;
                places.row_mut(row)[bin] = ((bin as f64 + 0.5) * self.config.bin_seconds) as f32;
            }
        }
        Ok(())
    }

    /// As many photons as a code stands for, spread evenly over its bin, all of the mean energy.
    fn decode(&self, tokens: &Tokens, _like: Option<&Arrays>, arrays: &mut ArraysMut) -> Result<()> {
        let (mut time, mut energy) = (arrays.f32("time")?, arrays.f32("energy")?);
        let (mut valid, present) = (arrays.valid()?, arrays.present()?);
        for row in 0..tokens.len() {
            let mut place = 0;
            let codes = tokens.codes().row(row).iter().enumerate();
            for (bin, code) in codes.filter(|(bin, _)| tokens.valid().row(row)[*bin] == 1) {
                if *code >= self.vocabulary() {
                    return Err(Error::row(row, format!("code {code} isn't below {}", self.vocabulary())));
                }
                let (count, kev) = self.meaning(*code);
                // What doesn't fit behind the last place is left out.
                for photon in 0..count.min((time.width() - place) as u32) {
                    let part = (f64::from(photon) + 0.5) / f64::from(count);
                    time.row_mut(row)[place] = ((bin as f64 + part) * self.config.bin_seconds) as f32;
                    energy.row_mut(row)[place] = kev;
                    valid.row_mut(row)[place] = 1;
                    place += 1;
                }
            }
            present[row] = u8::from(place > 0);
        }
        Ok(())
    }
}

impl EventCodes {
    /// The bin of a time; times before the first photon there are not.
    fn bin(&self, time: f32) -> usize {
        (f64::from(time) / self.config.bin_seconds).floor().max(0.0) as usize
    }

    /// How many bins an object has: up to that of its last photon.
    fn bins(&self, time: &[f32], measured: &[u8]) -> usize {
        let last = time.iter().zip(measured).filter(|(_, m)| **m == 1).map(|(t, _)| self.bin(*t) + 1).max();
        last.unwrap_or(0).min(self.config.max_bins)
    }

    /// The code of `count` photons with this mean of the logarithm of energy.
    fn code(&self, count: u32, log_kev: f64) -> u32 {
        if count == 0 {
            return 0;
        }
        let count_level = (count.ilog2()).min(self.config.count_levels - 2);
        let (low, high) = (self.config.lowest_kev.ln(), self.config.highest_kev.ln());
        let levels = f64::from(self.config.energy_levels);
        let energy_level = ((log_kev - low) / (high - low) * levels).floor().clamp(0.0, levels - 1.0) as u32;
        1 + count_level * self.config.energy_levels + energy_level
    }

    /// How many photons a code stands for, and their energy in keV: the middle of its level.
    fn meaning(&self, code: u32) -> (u32, f32) {
        let Some(code) = code.checked_sub(1) else { return (0, 0.0) };
        let (count_level, energy_level) = (code / self.config.energy_levels, code % self.config.energy_levels);
        // 1, 3 of 2 to 3, 6 of 4 to 7, 12 of 8 to 15.
        let count = if count_level == 0 { 1 } else { 3 << (count_level - 1) };
        let (low, high) = (self.config.lowest_kev.ln(), self.config.highest_kev.ln());
        let middle = (f64::from(energy_level) + 0.5) / f64::from(self.config.energy_levels);
        (count, (low + middle * (high - low)).exp() as f32)
    }
}
