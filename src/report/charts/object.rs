//! What one object measured: planes of pixels in grey, samples with their errors.

use super::axis::Axis;
use super::chart::{Chart, Dot, Layer, pixels};
use super::colours::{BLUE, CLASSES, OTHER};
use super::figure::Figure;
use super::spread;
use panchroma_builder::describe::{Measured, Pixels, Sampled};
use panchroma_core::Result;
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingBackend, Rectangle};
use plotters::style::{Color, RGBColor};

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
    /// 0 is the background, 255 the brightest; line after line. None where there is no value.
    grey: Vec<Option<u8>>,
}

/// Drawings of what was measured.
pub(in super::super) fn drawings(measured: &[Measured]) -> Vec<Drawing> {
    measured.iter().filter_map(drawing).collect()
}

fn drawing(measured: &Measured) -> Option<Drawing> {
    let (name, axis, value, groups) = match measured {
        Measured::Planes { name, planes } => {
            return Some(Drawing::Planes(name.clone(), planes.iter().map(stretch).collect()));
        }
        Measured::Samples { name, axis, value, groups } => (name, axis, value, groups),
    };
    let all = || groups.iter().flat_map(|(_, samples)| samples);
    let x = Axis::linear(axis, all().map(|s| s.at))?;
    let y = Axis::linear(value, robust(&all().map(|s| s.value).collect::<Vec<_>>()))?;
    let dots = all().count() <= DOTS && axis != "lambda" && axis != "wavelength" && axis != "index";
    let (mut layers, mut key) = (Vec::new(), Vec::new());
    for ((group, samples), colour) in groups.iter().zip(CLASSES.into_iter().chain(std::iter::repeat(OTHER))) {
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

/// What is left without the outermost 0.5 % on either side, so that one cosmic ray does not flatten a spectrum.
fn robust(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let cut = sorted.len() / 200;
    sorted.get(cut..sorted.len() - cut).unwrap_or_default().to_vec()
}

/// asinh of the flux over the noise, from the background to the brightest.
fn stretch(plane: &Pixels) -> Plane {
    let mut sorted: Vec<f32> = plane.values.iter().copied().filter(|v| v.is_finite()).collect();
    sorted.sort_by(f32::total_cmp);
    let at = |share: f64| sorted.get((share * sorted.len() as f64) as usize).or(sorted.last()).copied().unwrap_or(0.0);
    let middle = at(0.5);
    let noise = (0.5 * (at(0.84) - at(0.16))).max(f32::MIN_POSITIVE);
    let scaled = |v: f32| ((v - middle) / (2.0 * noise)).asinh();
    let (low, high) = (scaled(at(0.02)), scaled(at(0.998)));
    let grey = plane.values.iter().map(|v| {
        v.is_finite()
            .then(|| (255.0 * ((scaled(*v) - low) / (high - low).max(f32::MIN_POSITIVE)).clamp(0.0, 1.0)) as u8)
    });
    Plane { label: plane.label.clone(), width: plane.width, grey: grey.collect() }
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
        self.grey.len().checked_div(self.width).unwrap_or(0)
    }

    /// Runs of pixels of one grey: line, first column, column after the last, grey. Line 0 of an image is
    /// its lowest.
    fn runs(&self) -> impl Iterator<Item = (usize, usize, usize, u8)> {
        let height = self.height();
        self.grey.chunks(self.width.max(1)).enumerate().flat_map(move |(line, pixels)| {
            let mut runs: Vec<(usize, usize, usize, u8)> = Vec::new();
            for (column, grey) in pixels.iter().enumerate() {
                let Some(grey) = *grey else { continue };
                match runs.last_mut() {
                    Some(last) if last.2 == column && last.3 == grey => last.2 += 1,
                    _ => runs.push((height - 1 - line, column, column + 1, grey)),
                }
            }
            runs
        })
    }

    fn svg(&self) -> String {
        let (width, height) = (self.width, self.height());
        let runs: String = self
            .runs()
            .map(|(line, from, to, grey)| {
                format!(
                    "<path d=\"M{from} {line}h{}v1h-{}z\" fill=\"#{grey:02x}{grey:02x}{grey:02x}\"/>",
                    to - from,
                    to - from
                )
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
        for (line, from, to, grey) in self.runs() {
            let run = Rectangle::new([at(from, line), at(to, line + 1)], RGBColor(grey, grey, grey).filled());
            area.draw(&run).map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}
