//! What one object measured: samples with their errors, and planes of pixels.

use super::axis::Axis;
use super::chart::{Chart, Dot, Edge, Layer, Surface};
use super::colours::{BLUE, CLASSES, scale};
use super::figure::Figure;
use super::letters::pixels;
use super::planes::{Plane, SIDE, note, planes};
use super::spread;
use panchroma_builder::describe::{Measured, Quantity, Sampled};
use panchroma_core::Result;
use panchroma_core::bands::wavelength_angstrom;
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingBackend};
use plotters::style::RGBColor;
use std::collections::BTreeMap;

/// A light curve or spectrum is drawn with at most this many samples per band.
const SAMPLES: usize = 20_000;

/// Up to this many samples in all are dots with errors; more are a line.
const DOTS: usize = 1500;

/// Outliers are cut off if with them the axis would be this many times as long.
const FLAT: f64 = 20.0;

/// Triangles of what is cut off stand at least this far apart, in pixels of the page.
const APART: f64 = 8.0;

/// One drawing.
pub(in super::super) struct Drawing {
    pub(super) title: String,
    /// Colours and what they stand for.
    pub(super) key: Vec<(RGBColor, String)>,
    /// What to know when looking at it.
    pub(super) note: String,
    pub(super) body: Body,
}

pub(super) enum Body {
    /// Samples.
    Chart(Chart),
    /// Planes of an image, side by side.
    Planes(Vec<Plane>),
}

/// Drawings of what was measured; of what can't be drawn, the column and why.
pub(in super::super) fn drawings(measured: &[Measured]) -> (Vec<Drawing>, Vec<(String, String)>) {
    let (mut drawn, mut undrawn) = (Vec::new(), Vec::new());
    for one in measured {
        match one {
            Measured::Planes { name, unit, planes: pixels } => drawn.push(Drawing {
                title: name.clone(),
                key: Vec::new(),
                note: note(pixels, unit.as_deref()),
                body: Body::Planes(planes(pixels)),
            }),
            Measured::Samples { name, axis, value, groups, left_out } => match samples(name, axis, value, groups) {
                Some(mut drawing) => {
                    if *left_out > 0 {
                        let all = counted(*left_out);
                        drawing.note += &format!("{all} left out: flagged or not finite. ");
                    }
                    drawn.push(drawing);
                }
                None => undrawn.push((name.clone(), "its numbers are too large for an axis".into())),
            },
            Measured::Undrawn { name, reason } => undrawn.push((name.clone(), reason.clone())),
        }
    }
    (drawn, undrawn)
}

pub(super) fn samples(
    name: &str,
    axis: &Quantity,
    value: &Quantity,
    groups: &[(String, Vec<Sampled>)],
) -> Option<Drawing> {
    let all = || groups.iter().flat_map(|(_, samples)| samples);
    let scattered = ["time", "phase"].contains(&axis.name.as_str()) || groups.len() > 1;
    let dots = scattered && all().count() <= DOTS;
    let x = Axis::linear(&label(axis), all().map(|s| s.at))?;
    let y = Axis::linear(&label(value), range(all().copied(), dots))?;
    let mut layers = Vec::new();
    let (mut key, mut cut) = (Vec::new(), 0);
    for ((group, samples), colour) in coloured(groups) {
        let colour = if group.is_empty() { BLUE } else { colour };
        let mut samples: Vec<&Sampled> = spread(samples.len(), SAMPLES).filter_map(|i| samples.get(i)).collect();
        samples.sort_by(|a, b| a.at.total_cmp(&b.at));
        if !group.is_empty() {
            key.push((colour, format!("{group}, {}", counted(samples.len()))));
        }
        let ends = |s: &Sampled| (s.value - s.error, s.value + s.error);
        let is_inside = |s: &&&Sampled| s.value >= y.range.0 && s.value <= y.range.1;
        if dots {
            let inside = |v: f64| v.clamp(y.range.0, y.range.1);
            for s in samples.iter().filter(|s| s.error > 0.0).filter(is_inside) {
                let points = vec![(s.at, inside(ends(s).0)), (s.at, inside(ends(s).1))];
                layers.push(Layer::Line { points, colour, width: 1.0, opacity: 0.4 });
            }
            let dot =
                |s: &&Sampled| Dot { at: (s.at, s.value), colour, title: format!("{group} {}: {}", s.at, s.value) };
            let dots = samples.iter().filter(is_inside).map(dot).collect();
            layers.push(Layer::Dots { dots, radius: 2.5, opacity: 0.9 });
        } else {
            if samples.iter().any(|s| s.error > 0.0) {
                let points = samples.iter().map(|s| (s.at, ends(s).0, ends(s).1)).collect();
                layers.push(Layer::Band { points, colour, opacity: 0.25 });
            }
            let points = samples.iter().map(|s| (s.at, s.value)).collect();
            layers.push(Layer::Line { points, colour, width: 1.0, opacity: 0.9 });
        }
        let reach = |s: &Sampled| if dots { ends(s) } else { (s.value, s.value) };
        let upper = samples.iter().filter(|s| reach(s).1 > y.range.1).map(|s| (s.at, Edge::Upper));
        let lower = samples.iter().filter(|s| reach(s).0 < y.range.0).map(|s| (s.at, Edge::Lower));
        let beyond: Vec<(f64, Edge)> = upper.chain(lower).collect();
        cut += beyond.len();
        if !beyond.is_empty() {
            layers.push(Layer::Beyond { places: thinned(beyond, x.range), colour });
        }
    }
    let known = all().any(|s| s.error > 0.0);
    let mut note = match (known, dots) {
        (true, true) => "Bars are one standard deviation. ".to_owned(),
        (true, false) => "The light band is one standard deviation to either side. ".to_owned(),
        (false, _) => String::new(),
    };
    if cut > 0 {
        note += "Triangles stand where something lies beyond the edge. ";
    }
    let size = (2.0 * Chart::SIZE.0, Chart::SIZE.1);
    let chart = Chart { title: name.into(), size, x, y, layers };
    Some(Drawing { title: name.into(), key, note, body: Body::Chart(chart) })
}

fn counted(samples: usize) -> String {
    if samples == 1 { "1 sample".into() } else { format!("{samples} samples") }
}

/// Ends of the vertical axis: from the lowest to the highest value, without outliers that would make the rest
/// flatter than [`FLAT`] times; with errors, as far as these at most double it.
fn range(samples: impl Iterator<Item = Sampled>, dots: bool) -> Vec<f64> {
    let sorted = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values
    };
    let samples: Vec<Sampled> = samples.collect();
    // 0.5 % on either side, so that one cosmic ray does not flatten a spectrum.
    let few = samples.len() / 200;
    let values = sorted(samples.iter().map(|s| s.value).collect());
    let outermost = few.max(usize::from(values.len() >= 10));
    let core = values.get(outermost..values.len() - outermost).unwrap_or_default();
    let span = |of: &[f64]| of.last().zip(of.first()).map_or(0.0, |(last, first)| last - first);
    let kept = if span(core) > 0.0 && span(&values) > FLAT * span(core) { core } else { &values };
    let (Some(&low), Some(&high)) = (kept.first(), kept.last()) else { return Vec::new() };
    // Alone, a sample has no range but its error.
    let room = if high > low { 0.5 * (high - low) } else { f64::INFINITY };
    let drawn = || samples.iter().filter(|s| s.value >= low && s.value <= high);
    let lowest = sorted(drawn().map(|s| s.value - s.error).collect());
    let highest = sorted(drawn().map(|s| s.value + s.error).collect());
    // Each bar counts; of a band, the noisy ends do not.
    let least = if dots { 0 } else { few };
    let lowest = lowest.get(least).map_or(low, |v| v.clamp(low - room, low));
    let highest = highest.iter().rev().nth(least).map_or(high, |v| v.clamp(high, high + room));
    vec![lowest, highest]
}

/// Those that stand apart enough to be told apart.
fn thinned(mut places: Vec<(f64, Edge)>, (from, to): (f64, f64)) -> Vec<(f64, Edge)> {
    let apart = APART * (to - from) / (2.0 * Chart::SIZE.0);
    let mut last: Option<(f64, Edge)> = None;
    places.retain(|place| {
        let far = last.is_none_or(|last| last.1 != place.1 || place.0 - last.0 >= apart);
        if far {
            last = Some(*place);
        }
        far
    });
    places
}

/// A colour for each group; where there are more bands than colours, by wavelength from dark to light.
pub(super) fn coloured(groups: &[(String, Vec<Sampled>)]) -> Vec<(&(String, Vec<Sampled>), RGBColor)> {
    let mut groups: Vec<_> = groups.iter().collect();
    if groups.len() <= CLASSES.len() {
        return groups.into_iter().zip(CLASSES).collect();
    }
    let wavelength = |name: &str| wavelength_angstrom(name, &BTreeMap::new()).unwrap_or(f64::INFINITY);
    groups.sort_by(|a, b| wavelength(&a.0).total_cmp(&wavelength(&b.0)));
    let last = (groups.len() - 1) as f64;
    groups.into_iter().enumerate().map(|(i, group)| (group, scale(i as f64 / last))).collect()
}

/// Name and unit.
fn label(quantity: &Quantity) -> String {
    match &quantity.unit {
        Some(unit) => format!("{} [{unit}]", quantity.name),
        None => quantity.name.clone(),
    }
}

impl Drawing {
    /// Height on the page, in its pixels.
    pub(in super::super) fn height(&self) -> f64 {
        match &self.body {
            Body::Chart(chart) => chart.size.1,
            Body::Planes(planes) => planes.chunks(Self::per_line()).map(line_height).sum(),
        }
    }

    fn per_line() -> usize {
        (2.0 * Chart::SIZE.0 / (SIDE + 10.0)) as usize
    }

    /// Heading.
    pub(in super::super) fn title(&self) -> &str {
        &self.title
    }

    /// Colours and what they stand for.
    pub(in super::super) fn key(&self) -> &[(RGBColor, String)] {
        &self.key
    }

    /// What to know when looking at it.
    pub(in super::super) fn note(&self) -> &str {
        &self.note
    }

    /// For a page of HTML.
    pub(in super::super) fn figure(&self) -> Result<Figure> {
        let body = match &self.body {
            Body::Chart(chart) => chart.svg()?,
            Body::Planes(planes) => planes.iter().map(Plane::svg).collect(),
        };
        let (title, key, caption) = (self.title.clone(), self.key.clone(), self.note.clone());
        Ok(Figure { title, key, body, caption, wide: true })
    }

    /// Draws below a heading, on a bitmap.
    pub(in super::super) fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> std::result::Result<(), String> {
        match &self.body {
            // Text is wider here than in SVG.
            Body::Chart(chart) => chart.draw_on(&area.margin(0, 0, pixels(14.0), 0), Surface::Bitmap),
            Body::Planes(planes) => {
                let mut top = 0.0;
                for line in planes.chunks(Self::per_line()) {
                    for (column, plane) in line.iter().enumerate() {
                        plane.draw(area, ((SIDE + 10.0) * column as f64, top))?;
                    }
                    top += line_height(line);
                }
                Ok(())
            }
        }
    }
}

/// Height of planes side by side with their labels, in pixels of the page.
fn line_height(planes: &[Plane]) -> f64 {
    30.0 + planes.iter().map(Plane::tall).fold(0.0, f64::max)
}
