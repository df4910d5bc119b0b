//! How a series is drawn: its fluxes by band, in the data's unit.

use crate::axes::UNKNOWN;
use crate::config::TimeSeriesConfig;
use crate::scaler::Scaler;
use panchroma_core::sketch::{Sample, Sketch};
use panchroma_core::{Array, Arrays, Result, Values};
use std::collections::{BTreeMap, BTreeSet};

/// Places in time for each band of [`closely`].
const PLACES: usize = 60;

/// Bands that [`closely`] asks for at most.
const BANDS: usize = 12;

/// Fields of one place that say which band it is.
const BAND: [&str; 2] = ["wavelength", "channel"];

/// What object `row` measured: brightness turned back to flux.
pub(crate) fn sketch(
    config: &TimeSeriesConfig,
    scaler: &Scaler,
    arrays: &Arrays,
    row: usize,
) -> Result<Option<Sketch>> {
    let (shape, valid) = arrays.valid()?;
    let &[_, l] = shape else { return Ok(None) };
    let (time, values) = (arrays.f32("time")?.1, arrays.f32("values")?.1);
    let error = arrays.f32("error").map(|(_, error)| error).unwrap_or_default();
    let width = values.len() / valid.len().max(1);
    let softening = config.flux_softening;
    let mut groups: BTreeMap<Band, Vec<Sample>> = BTreeMap::new();
    for at in (row * l..(row + 1) * l).filter(|at| valid.get(*at) == Some(&1)) {
        let (Some(time), Some(value)) = (time.get(at), values.get(at * width)) else { continue };
        let asinh = scaler.unscale(0, f64::from(*value));
        // The derivative of sinh is cosh.
        let error = error.get(at).map_or(0.0, |e| scaler.unscale_error(0, f64::from(*e)) * softening * asinh.cosh());
        let sample = Sample { at: f64::from(*time), value: softening * asinh.sinh(), error };
        if sample.value.is_finite() && sample.error.is_finite() {
            groups.entry(band(arrays, at)).or_default().push(sample);
        }
    }
    if groups.is_empty() {
        return Ok(None);
    }
    let one = groups.len() == 1;
    let groups =
        groups.into_iter().map(|(band, samples)| (if one { String::new() } else { name(config, band) }, samples));
    Ok(Some(Sketch::Samples {
        axis: ["time".into(), "day".into()],
        value: [config.flux.clone(), String::new()],
        groups: groups.collect(),
    }))
}

/// Bits of wavelength and channel: equal for the same band.
type Band = [u32; 2];

fn band(arrays: &Arrays, at: usize) -> Band {
    BAND.map(|field| arrays.f32(field).ok().and_then(|(_, list)| list.get(at).copied()).unwrap_or(UNKNOWN).to_bits())
}

fn name(config: &TimeSeriesConfig, band: Band) -> String {
    let [wavelength, channel] = band.map(f32::from_bits);
    match config.channels.get(channel.max(-1.0) as usize) {
        Some(name) if channel >= 0.0 => name.clone(),
        _ if wavelength > UNKNOWN => format!("{:.0} Å", f64::from(wavelength).exp()),
        _ => "unknown band".into(),
    }
}

/// The same objects at times close to each other, from their first observation to their last, in each of their bands.
pub(crate) fn closely(arrays: &Arrays) -> Result<Option<Arrays>> {
    let (shape, valid) = arrays.valid()?;
    let &[objects, l] = shape else { return Ok(None) };
    let time = arrays.f32("time")?.1;
    let places = PLACES * BANDS;
    let mut flags = vec![0u8; objects * places];
    let mut times = vec![0f32; objects * places];
    let mut bands = BAND.map(|_| vec![UNKNOWN; objects * places]);
    for object in 0..objects {
        let own: Vec<usize> = (object * l..(object + 1) * l).filter(|at| valid.get(*at) == Some(&1)).collect();
        let (Some(first), Some(last)) = (own.first(), own.last()) else { continue };
        let (from, to) = (time[*first], time[*last]);
        let seen: BTreeSet<Band> = own.iter().map(|at| band(arrays, *at)).collect();
        let asked = (0..PLACES).flat_map(|i| seen.iter().take(BANDS).map(move |band| (i, band)));
        for (number, (i, band)) in asked.enumerate() {
            let at = object * places + number;
            flags[at] = 1;
            times[at] = from + (to - from) * i as f32 / (PLACES - 1) as f32;
            for (list, bits) in bands.iter_mut().zip(band) {
                list[at] = f32::from_bits(*bits);
            }
        }
    }
    // What isn't known of these places: nothing was measured there.
    let mut fields = BTreeMap::new();
    for (field, array) in &arrays.fields {
        let inner: Vec<usize> = array.shape.get(2..).unwrap_or_default().to_vec();
        let shape: Vec<usize> = [objects, places].into_iter().chain(inner).collect();
        let fill = if field == "phase" { UNKNOWN } else { 0.0 };
        let count = shape.iter().product();
        let values = match (field.as_str(), &mut bands) {
            ("time", _) => std::mem::take(&mut times),
            ("wavelength", [own, _]) | ("channel", [_, own]) => std::mem::take(own),
            _ => vec![fill; count],
        };
        fields.insert(field.clone(), Array::f32(&shape, values)?);
    }
    let valid = Array::new(&[objects, places], Values::U8(flags))?;
    Ok(Some(Arrays { present: arrays.present.clone(), valid, fields }))
}
