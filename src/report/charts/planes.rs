//! Planes of an image, in grey and together in colour.

use super::colours::INK;
use super::letters::{pixels, readable, text};
use panchroma_builder::describe::Pixels;
use panchroma_core::bands::wavelength_angstrom;
use panchroma_image::rgb::lupton;
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingBackend, Rectangle};
use plotters::style::{Color, FontStyle, RGBColor};
use std::collections::BTreeMap;

/// Side of a plane, in pixels of the page.
pub(super) const SIDE: f64 = 150.0;

/// A plane, scaled to what can be seen.
pub(in super::super) struct Plane {
    label: String,
    width: usize,
    /// Line after line. None where there is no value.
    pixels: Vec<Option<RGBColor>>,
}

/// Every plane in grey, behind one in colour if there are bands for it.
pub(super) fn planes(planes: &[Pixels]) -> Vec<Plane> {
    in_colour(planes).into_iter().chain(planes.iter().map(stretch)).collect()
}

/// What the pixels are: how many, how wide on the sky, of which unit.
pub(super) fn note(planes: &[Pixels], unit: Option<&str>) -> String {
    let mut sizes: Vec<(String, Vec<&str>)> = Vec::new();
    for plane in planes {
        let size = size(plane);
        match sizes.iter_mut().find(|(other, _)| *other == size) {
            Some((_, labels)) => labels.push(&plane.label),
            None => sizes.push((size, vec![&plane.label])),
        }
    }
    let one = sizes.len() == 1;
    let named =
        sizes.into_iter().map(|(size, labels)| if one { size } else { format!("{}: {size}", labels.join(", ")) });
    let unit = unit.map(|unit| format!(", in {unit}")).unwrap_or_default();
    let sizes = named.collect::<Vec<_>>().join("; ");
    format!(
        "{sizes}{unit}. Each plane is scaled by itself, asinh of the flux over the noise; flagged pixels are left out."
    )
}

fn size(plane: &Pixels) -> String {
    let (width, height) = (plane.width, plane.values.len().checked_div(plane.width).unwrap_or(0));
    let on_sky = plane.scale.as_ref().map(|(scale, unit)| {
        let side = |pixels: usize| rounded(scale * pixels as f64);
        format!(" of {} {unit}: {} × {} {unit}", rounded(*scale), side(width), side(height))
    });
    format!("{width} × {height} pixels{}", on_sky.unwrap_or_default())
}

/// Four digits are more than one reads off a picture.
fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
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

impl Plane {
    /// The same with another label.
    pub(super) fn labelled(self, label: impl FnOnce(&str) -> String) -> Self {
        Self { label: label(&self.label), ..self }
    }

    /// Height where it is drawn, in pixels of the page.
    pub(super) fn tall(&self) -> f64 {
        let longest = self.width.max(self.height()).max(1);
        SIDE * self.height() as f64 / longest as f64
    }

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

    pub(super) fn svg(&self) -> String {
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

    /// Draws it below its label, whose corner is given in pixels of the page.
    pub(super) fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        corner: (f64, f64),
    ) -> std::result::Result<(), String> {
        let longest = self.width.max(self.height()).max(1) as f64;
        let at = |column: usize, line: usize| {
            let place = |corner: f64, i: usize| pixels(corner + SIDE * i as f64 / longest);
            (place(corner.0 + 10.0, column), place(corner.1 + 24.0, line))
        };
        let style = text(INK, FontStyle::Normal);
        let above = (pixels(corner.0 + 10.0), pixels(corner.1 + 4.0));
        area.draw_text(&readable(&self.label), &style, above).map_err(|e| e.to_string())?;
        for (line, from, to, colour) in self.runs() {
            let run = Rectangle::new([at(from, line), at(to, line + 1)], colour.filled());
            area.draw(&run).map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}
