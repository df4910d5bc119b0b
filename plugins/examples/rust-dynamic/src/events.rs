//! The modality: lists of arrival times and energies become arrays, the earliest photon first.

use panchroma_sdk::prelude::*;

/// Keys of the modality's table.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(crate = "panchroma_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "panchroma_sdk::schemars")]
pub struct Config {
    /// Column with the list of arrival times, seconds.
    time: String,
    /// Column with the list of photon energies, keV.
    energy: String,
    /// Lowest energy that the telescope measures well, keV. Photons below are left out.
    lowest_kev: f64,
    /// Highest energy that the telescope measures well, keV. Photons above are left out.
    highest_kev: f64,
    /// Most photons of an object. Of more, a part is drawn: another one in each epoch of training, the same evenly spread
    /// one otherwise.
    max_events: usize,
}

impl Default for Config {
    fn default() -> Self {
        let (time, energy) = ("time".to_owned(), "energy".to_owned());
        Self { time, energy, lowest_kev: 0.3, highest_kev: 10.0, max_events: 512 }
    }
}

/// Photons: `time` since the object's first one, and `energy`.
#[derive(Debug)]
pub struct Events {
    config: Config,
}

impl Modality for Events {
    const NAME: &'static str = "events";
    const SUMMARY: &'static str = "X-ray photons: time and energy of each";
    const EXAMPLE: &'static str = "time = \"time\"\nenergy = \"energy\"\nmax_events = 512\n";
    // Which photons are kept of too many is drawn anew in each epoch.
    const RANDOM: bool = true;
    type Config = Config;

    fn new(config: Config, _request: &Request) -> Result<Self> {
        let (lowest, highest) = (config.lowest_kev, config.highest_kev);
        if !(0.0 < lowest && lowest < highest) {
            return Err(Error::invalid(format!("`lowest_kev` {lowest} is not between 0 and `highest_kev` {highest}")));
        }
        if config.max_events == 0 {
            return Err(Error::invalid("`max_events` is above 0"));
        }
        Ok(Self { config })
    }

    fn columns(&self) -> Vec<Column> {
        // Times count from the start of the mission, in some 10⁸ s: single precision would round them to 8 s.
        vec![Column::number(&self.config.time).f64().list(), Column::number(&self.config.energy).list()]
    }

    fn arrays(&self) -> ArraysSpec {
        ArraysSpec::new()
            .axis("event", self.config.max_events)
            .f32("time", "s", &["event"])
            .f32("energy", "keV", &["event"])
            .valid(&["event"])
    }

    fn plan(&self, rows: &Rows, lengths: &mut [usize]) -> Result<()> {
        let mut longest = 1;
        for row in 0..rows.len() {
            longest = longest.max(self.photons(rows, row)?.len());
        }
        lengths[0] = longest.min(self.config.max_events);
        Ok(())
    }

    fn prepare(&self, rows: &Rows, arrays: &mut ArraysMut) -> Result<()> {
        let (mut time, mut energy) = (arrays.f32("time")?, arrays.f32("energy")?);
        let (mut valid, present) = (arrays.valid()?, arrays.present()?);
        for row in 0..rows.len() {
            let photons = self.photons(rows, row)?;
            let kept = kept(photons.len(), self.config.max_events, rows, row);
            // A list without photons in the band says that the source is faint, but there is nothing to make tokens of.
            let Some(first) = kept.first().map(|k| photons[*k].0) else { continue };
            present[row] = 1;
            for (place, kept) in kept.into_iter().enumerate() {
                let (t, e) = photons[kept];
                time.row_mut(row)[place] = (t - first) as f32;
                energy.row_mut(row)[place] = e;
                valid.row_mut(row)[place] = 1;
            }
        }
        Ok(())
    }
}

impl Events {
    /// Times and energies of the photons of one object that are in the band, by time.
    fn photons(&self, rows: &Rows, row: usize) -> Result<Vec<(f64, f32)>> {
        let (time, energy) = (rows.list_f64(&self.config.time)?, rows.list_f32(&self.config.energy)?);
        let (time, energy) = (time.row(row), energy.row(row));
        if time.len() != energy.len() {
            return Err(Error::row(row, format!("{} times and {} energies", time.len(), energy.len())));
        }
        let band = self.config.lowest_kev..=self.config.highest_kev;
        let pairs = time.iter().copied().zip(energy.iter().copied());
        let mut photons: Vec<(f64, f32)> =
            pairs.filter(|(t, e)| t.is_finite() && band.contains(&f64::from(*e))).collect();
        photons.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        Ok(photons)
    }
}

/// Numbers of at most `most` of `count` photons, rising.
fn kept(count: usize, most: usize, rows: &Rows, row: usize) -> Vec<usize> {
    if count <= most {
        return (0..count).collect();
    }
    let Some(seed) = rows.random(row).filter(|_| rows.mode() == Mode::Train) else {
        return (0..most).map(|place| place * count / most).collect();
    };
    // Knuth's selection sampling: each photon with the probability that makes every subset equally likely.
    let (mut state, mut kept) = (seed, Vec::with_capacity(most));
    for photon in 0..count {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let uniform = (state >> 11) as f64 / (1_u64 << 53) as f64;
        if uniform * ((count - photon) as f64) < (most - kept.len()) as f64 {
            kept.push(photon);
        }
    }
    kept
}
