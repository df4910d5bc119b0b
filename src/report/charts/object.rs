//! What one object measured: planes of pixels in grey and together in colour, samples with their errors.

use super::axis::Axis;
use super::chart::{Chart, Dot, Layer, pixels};
use super::colours::{BLUE, CLASSES, scale};
use super::figure::Figure;
use super::spread;
use panchroma_builder::describe::{Measured, Pixels, Quantity, Sampled};
use panchroma_core::Result;
use panchroma_core::bands::wavelength_angstrom;
use panchroma_image::rgb::lupton;
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingBackend, Rectangle};
use plotters::style::{Color, RGBColor};
use std::collections::BTreeMap;

/// A light curve or spectrum is drawn with at most this many samples per band.
const SAMPLES: usize = 20_000;

/// Up to this many samples in all are dots with errors; more are a line.
const DOTS: usize = 1500;

/// Side of a plane, in pixels of the page.
const SIDE: f64 = 150.0;

/// One drawing.
pub(in super::super) enum Drawing {
    /// Samples.
    Chart(Chart, Vec<(RGBColor, String)>),
    /// Planes of an image, side by side.
    Planes(String, Vec<Plane>),
}

/// A plane, scaled to what can be seen.
pub(in super::super) struct Plane {
    label: String,
    width: usize,
    /// Line after line. None where there is no value.
    pixels: Vec<Option<RGBColor>>,
}

/// Drawings of what was measured.
pub(in super::super) fn drawings(measured: &[Measured]) -> Vec<Drawing> {
    measured.iter().filter_map(drawing).collect()
}

fn drawing(measured: &Measured) -> Option<Drawing> {
    let (name, axis, value, groups) = match measured {
        Measured::Planes { name, planes } => {
            let colour = in_colour(planes);
            return Some(Drawing::Planes(name.clone(), colour.into_iter().chain(planes.iter().map(stretch)).collect()));
        }
        Measured::Samples { name, axis, value, groups } => (name, axis, value, groups),
    };
    let all = || groups.iter().flat_map(|(_, samples)| samples);
    let x = Axis::linear(&label(axis), all().map(|s| s.at))?;
    let y = Axis::linear(&label(value), robust(&all().map(|s| s.value).collect::<Vec<_>>()))?;
    let scattered = ["time", "phase"].contains(&axis.name.as_str()) || groups.len() > 1;
    let dots = scattered && all().count() <= DOTS;
    let (mut layers, mut key) = (Vec::new(), Vec::new());
    for ((group, samples), colour) in coloured(groups) {
        let mut samples: Vec<&Sampled> = spread(samples.len(), SAMPLES).filter_map(|i| samples.get(i)).collect();
        samples.sort_by(|a, b| a.at.total_cmp(&b.at));
        if !group.is_empty() {
            key.push((colour, format!("{group}, {} samples", samples.len())));
        }
        let inside = |v: f64| v.clamp(y.range.0, y.range.1);
        if dots {
            for s in samples.iter().filter(|s| s.error > 0.0) {
                let points = vec![(s.at, inside(s.value - s.error)), (s.at, inside(s.value + s.error))];
                layers.push(Layer::Line { points, colour, width: 1.0, opacity: 0.4 });
            }
            let dot = |s: &&Sampled| Dot {
                at: (s.at, inside(s.value)),
                colour,
                title: format!("{group} {}: {}", s.at, s.value),
            };
            layers.push(Layer::Dots { dots: samples.iter().map(dot).collect(), radius: 2.5, opacity: 0.9 });
        } else {
            let points = samples.iter().map(|s| (s.at, inside(s.value))).collect();
            let colour = if group.is_empty() { BLUE } else { colour };
            layers.push(Layer::Line { points, colour, width: 1.0, opacity: 0.9 });
        }
    }
    let size = (2.0 * Chart::SIZE.0, Chart::SIZE.1);
    Some(Drawing::Chart(Chart { title: name.clone(), size, x, y, layers }, key))
}

/// A colour for each group; where there are more bands than colours, by wavelength from dark to light.
fn coloured(groups: &[(String, Vec<Sampled>)]) -> Vec<(&(String, Vec<Sampled>), RGBColor)> {
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

/// What is left without the outermost 0.5 % on either side, so that one cosmic ray does not flatten a spectrum.
fn robust(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let cut = sorted.len() / 200;
    sorted.get(cut..sorted.len() - cut).unwrap_or_default().to_vec()
}

/// asinh of the flux over the noise, from the background to the brightest.
fn stretch(plane: &Pixels) -> Plane {
    let [low, below, middle, above, high] = shares(&plane.values, [0.02, 0.16, 0.5, 0.84, 0.998]);
    let noise = half(below, above);
    let scaled = |v: f32| ((v - middle) / (2.0 * noise)).asinh();
    let (low, high) = (scaled(low), scaled(high));
    let grey = |v: f32| (255.0 * ((scaled(v) - low) / (high - low).max(f32::MIN_POSITIVE)).clamp(0.0, 1.0)) as u8;
    let pixels = plane.values.iter().map(|v| v.is_finite().then(|| grey(*v)).map(|g| RGBColor(g, g, g)));
    Plane { label: plane.label.clone(), width: plane.width, pixels: pixels.collect() }
}

/// A picture of three bands, the reddest, the middle and the bluest, if there are as many of known wavelength.
fn in_colour(planes: &[Pixels]) -> Option<Plane> {
    let known = |p: &'_ Pixels| wavelength_angstrom(&p.label, &BTreeMap::new());
    let mut bands: Vec<(f64, &Pixels)> = planes.iter().filter_map(|p| Some((known(p)?, p))).collect();
    bands.sort_by(|a, b| b.0.total_cmp(&a.0));
    bands.dedup_by(|a, b| a.0 == b.0);
    let (red, green, blue) = (bands.first()?.1, bands.get(bands.len() / 2)?.1, bands.last()?.1);
    if bands.len() < 3 || [green, blue].iter().any(|p| p.values.len() != red.values.len()) {
        return None;
    }
    // Surveys differ in the unit of the flux: the noise of each band is its unit here, so that sky is grey.
    let scaled = [red, green, blue].map(|plane| {
        let [below, middle, above] = shares(&plane.values, [0.16, 0.5, 0.84]);
        let noise = half(below, above);
        plane.values.iter().map(|v| (v - middle) / noise).collect::<Vec<f32>>()
    });
    let colours = lupton([&scaled[0], &scaled[1], &scaled[2]], 10.0, 8.0);
    let pixels = colours.into_iter().map(|[r, g, b]| Some(RGBColor(r, g, b))).collect();
    Some(Plane { label: format!("{}, {}, {}", red.label, green.label, blue.label), width: red.width, pixels })
}

/// The values of which such a share is smaller.
fn shares<const N: usize>(values: &[f32], shares: [f64; N]) -> [f32; N] {
    let mut sorted: Vec<f32> = values.iter().copied().filter(|v| v.is_finite()).collect();
    sorted.sort_by(f32::total_cmp);
    shares.map(|s| sorted.get((s * sorted.len() as f64) as usize).or(sorted.last()).copied().unwrap_or(0.0))
}

/// Noise, as half of the range of the middle 68 %.
fn half(below: f32, above: f32) -> f32 {
    (0.5 * (above - below)).max(f32::MIN_POSITIVE)
}

impl Drawing {
    /// Height on the page, in its pixels.
    pub(in super::super) fn height(&self) -> f64 {
        match self {
            Self::Chart(chart, _) => chart.size.1 + 24.0,
            Self::Planes(_, planes) => (SIDE + 40.0) * planes.len().div_ceil(Self::per_line()) as f64 + 24.0,
        }
    }

    fn per_line() -> usize {
        (2.0 * Chart::SIZE.0 / (SIDE + 10.0)) as usize
    }

    /// Heading.
    pub(in super::super) fn title(&self) -> &str {
        match self {
            Self::Chart(chart, _) => &chart.title,
            Self::Planes(name, _) => name,
        }
    }

    /// Colours and what they stand for.
    pub(in super::super) fn key(&self) -> &[(RGBColor, String)] {
        match self {
            Self::Chart(_, key) => key,
            Self::Planes(..) => &[],
        }
    }

    /// For a page of HTML.
    pub(in super::super) fn figure(&self) -> Result<Figure> {
        let (body, caption) = match self {
            Self::Chart(chart, _) => (chart.svg()?, "Without flagged samples; bars are one standard deviation."),
            Self::Planes(_, planes) => (
                planes.iter().map(Plane::svg).collect(),
                "Scaled by asinh of the flux over the noise, each plane for itself; flagged pixels are left out.",
            ),
        };
        let title = self.title().to_owned();
        Ok(Figure { title, key: self.key().to_vec(), body, caption: caption.into(), wide: true })
    }

    /// Draws below a heading.
    pub(in super::super) fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> std::result::Result<(), String> {
        match self {
            // Text is wider here than in SVG.
            Self::Chart(chart, _) => chart.draw_on(&area.margin(0, 0, pixels(14.0), 0)),
            Self::Planes(_, planes) => {
                for (i, plane) in planes.iter().enumerate() {
                    let (column, line) = (i % Self::per_line(), i / Self::per_line());
                    let corner = ((SIDE + 10.0) * column as f64, (SIDE + 40.0) * line as f64);
                    plane.draw(area, corner)?;
                }
                Ok(())
            }
        }
    }
}

impl Plane {
    fn height(&self) -> usize {
        self.pixels.len().checked_div(self.width).unwrap_or(0)
    }

    /// Runs of pixels of one colour: line, first column, column after the last, colour. Line 0 of an image is
    /// its lowest.
    fn runs(&self) -> impl Iterator<Item = (usize, usize, usize, RGBColor)> {
        let height = self.height();
        self.pixels.chunks(self.width.max(1)).enumerate().flat_map(move |(line, pixels)| {
            let mut runs: Vec<(usize, usize, usize, RGBColor)> = Vec::new();
            for (column, colour) in pixels.iter().enumerate() {
                let Some(colour) = *colour else { continue };
                match runs.last_mut() {
                    Some(last) if last.2 == column && last.3 == colour => last.2 += 1,
                    _ => runs.push((height - 1 - line, column, column + 1, colour)),
                }
            }
            runs
        })
    }

    fn svg(&self) -> String {
        let (width, height) = (self.width, self.height());
        let runs: String = self
            .runs()
            .map(|(line, from, to, RGBColor(r, g, b))| {
                format!("<path d=\"M{from} {line}h{}v1h-{}z\" fill=\"#{r:02x}{g:02x}{b:02x}\"/>", to - from, to - from)
            })
            .collect();
        let label = super::escape(&self.label);
        format!(
            "<svg role=\"img\" aria-label=\"{label}\" width=\"{SIDE}\" height=\"{SIDE}\" viewBox=\"0 0 {width} {height}\" \
             shape-rendering=\"crispEdges\"><title>{label}</title>{runs}</svg>\n"
        )
    }

    fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        corner: (f64, f64),
    ) -> std::result::Result<(), String> {
        let longest = self.width.max(self.height()).max(1) as f64;
        let at = |column: usize, line: usize| {
            let place = |corner: f64, i: usize| pixels(corner + SIDE * i as f64 / longest);
            (place(corner.0 + 10.0, column), place(corner.1 + 24.0, line))
        };
        let style = super::chart::text(super::colours::INK, plotters::style::FontStyle::Normal);
        let above = (pixels(corner.0 + 10.0), pixels(corner.1 + 4.0));
        area.draw_text(&self.label, &style, above).map_err(|e| e.to_string())?;
        for (line, from, to, colour) in self.runs() {
            let run = Rectangle::new([at(from, line), at(to, line + 1)], colour.filled());
            area.draw(&run).map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}
