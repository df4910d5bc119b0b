//! Lines, points and words between two axes, drawn by plotters.

use super::axis::Axis;
use super::colours::{GRID, INK, MUTED};
use super::figure::escape;
use super::letters::{self, pixels, text};
use panchroma_core::{Error, Result};
use plotters::coord::Shift;
use plotters::prelude::{
    ChartBuilder, Circle, DrawingArea, DrawingBackend, EmptyElement, IntoDrawingArea, PathElement, Polygon, SVGBackend,
    Text,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, RGBColor, ShapeStyle};
use std::path::PathBuf;

/// What is drawn, in order.
pub(super) enum Layer {
    /// A line through points, broken where one can't be drawn; width in pixels.
    Line { points: Vec<(f64, f64)>, colour: RGBColor, width: f64, opacity: f64 },
    /// Dots; radius in pixels.
    Dots { dots: Vec<Dot>, radius: f64, opacity: f64 },
    /// Words centred at a point.
    Words { at: (f64, f64), text: String },
    /// What lies between two heights: place on the horizontal axis, low and high.
    Band { points: Vec<(f64, f64, f64)>, colour: RGBColor, opacity: f64 },
    /// Triangles at the upper edge, or the lower one, that say that something lies beyond.
    Beyond { places: Vec<(f64, Edge)>, colour: RGBColor },
}

/// Which end of the vertical axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    Upper,
    Lower,
}

/// What a chart is drawn on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Surface {
    /// SVG, for a page: the reader's program draws lines and letters.
    Page,
    /// Pixels. Plotters draws corners of thick lines as long spikes, so that each stretch is drawn by itself.
    Bitmap,
}

/// One dot, and what it says when pointed at.
pub(super) struct Dot {
    pub(super) at: (f64, f64),
    pub(super) colour: RGBColor,
    pub(super) title: String,
}

/// A chart.
pub(in super::super) struct Chart {
    /// What is shown, for readers who can't see it.
    pub(super) title: String,
    /// Width and height, in pixels of the page.
    pub(super) size: (f64, f64),
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) layers: Vec<Layer>,
}

impl Chart {
    /// Two of them stand side by side.
    pub(super) const SIZE: (f64, f64) = (460.0, 310.0);

    /// The chart as an SVG element.
    pub(super) fn svg(&self) -> Result<String> {
        let mut svg = String::new();
        self.draw(&mut svg).map_err(|reason| Error::Io {
            action: "draw",
            path: PathBuf::from(&self.title),
            source: std::io::Error::other(reason),
        })?;
        let svg = svg.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{}\" ", escape(&self.title)), 1);
        Ok(self.with_titles(&svg))
    }

    fn draw(&self, svg: &mut String) -> std::result::Result<(), String> {
        let area = SVGBackend::with_string(svg, (pixels(self.size.0) as u32, pixels(self.size.1) as u32));
        let area = area.into_drawing_area();
        self.draw_on(&area, Surface::Page)?;
        area.present().map_err(|e| e.to_string())
    }

    /// Draws on any area, of [`Self::size`] times [`FINE`] pixels.
    pub(super) fn draw_on<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        surface: Surface,
    ) -> std::result::Result<(), String> {
        letters::register()?;
        let bare = self.y.ticks.is_empty();
        let words = |label: &str| if surface == Surface::Bitmap { letters::readable(label) } else { label.into() };
        let mut chart = ChartBuilder::on(area)
            .margin_top(pixels(8.0))
            .margin_right(pixels(14.0))
            .x_label_area_size(pixels(if self.x.ticks.is_empty() { 24.0 } else { 46.0 }))
            .y_label_area_size(pixels(if bare { 24.0 } else { 64.0 }))
            .build_cartesian_2d(self.x.clone(), self.y.clone())
            .map_err(|e| e.to_string())?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(GRID.stroke_width(pixels(1.0) as u32))
            .light_line_style(GRID.mix(0.0))
            .axis_style(MUTED.stroke_width(pixels(1.0) as u32))
            .set_all_tick_mark_size(pixels(4.0))
            .label_style(text(MUTED, FontStyle::Normal))
            .axis_desc_style(text(INK, FontStyle::Normal))
            .x_desc(words(&self.x.label))
            .y_desc(words(&self.y.label))
            .draw()
            .map_err(|e| e.to_string())?;
        for layer in &self.layers {
            match layer {
                Layer::Line { points, colour, width, opacity } => {
                    let style = ShapeStyle::from(colour.mix(*opacity)).stroke_width(pixels(*width) as u32);
                    let parts = self.parts(points, surface).into_iter();
                    chart.draw_series(parts.map(|part| PathElement::new(part, style)))
                }
                Layer::Dots { dots, radius, opacity } => chart.draw_series(dots.iter().filter_map(|dot| {
                    let style = dot.colour.mix(*opacity).filled();
                    self.place(dot.at).map(|at| Circle::new(at, pixels(*radius), style))
                })),
                Layer::Words { at, text: words } => chart.draw_series(self.place(*at).map(|at| {
                    Text::new(words.clone(), at, text(INK, FontStyle::Bold).pos(Pos::new(HPos::Center, VPos::Center)))
                })),
                Layer::Band { points, colour, opacity } => {
                    let inside = |x: f64, y: f64| {
                        self.place((x, y)).map(|at| (at.0, at.1.clamp(self.y.range.0, self.y.range.1)))
                    };
                    let lower = points.iter().filter_map(|(x, low, _)| inside(*x, *low));
                    let upper = points.iter().rev().filter_map(|(x, _, high)| inside(*x, *high));
                    let outline = lower.chain(upper).collect::<Vec<_>>();
                    chart.draw_series(std::iter::once(Polygon::new(outline, colour.mix(*opacity).filled())))
                }
                Layer::Beyond { places, colour } => chart.draw_series(places.iter().map(|(x, edge)| {
                    let (y, down) = match edge {
                        Edge::Upper => (self.y.range.1, pixels(7.0)),
                        Edge::Lower => (self.y.range.0, -pixels(7.0)),
                    };
                    let corners = vec![(0, 0), (pixels(4.0), down), (-pixels(4.0), down)];
                    EmptyElement::at((self.x.place(*x), y)) + Polygon::new(corners, colour.filled())
                })),
            }
            .map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// What can be drawn of a line, cut at the ends of the vertical axis.
    fn parts(&self, points: &[(f64, f64)], surface: Surface) -> Vec<Vec<(f64, f64)>> {
        let placed: Vec<Option<(f64, f64)>> = points.iter().map(|p| self.place(*p)).collect();
        let stretches = placed.windows(2).filter_map(|ends| match ends {
            [Some(from), Some(to)] => between(*from, *to, self.y.range),
            _ => None,
        });
        let mut parts: Vec<Vec<(f64, f64)>> = Vec::new();
        for (from, to) in stretches {
            match parts.last_mut().filter(|part| surface == Surface::Page && part.last() == Some(&from)) {
                Some(part) => part.push(to),
                None => parts.push(vec![from, to]),
            }
        }
        parts
    }

    fn place(&self, at: (f64, f64)) -> Option<(f64, f64)> {
        let at = (self.x.place(at.0), self.y.place(at.1));
        (at.0.is_finite() && at.1.is_finite()).then_some(at)
    }

    /// Plotters has no tooltips: they are put into the circles, which stand in the order in which they were drawn.
    fn with_titles(&self, svg: &str) -> String {
        let dots = self.layers.iter().flat_map(|layer| match layer {
            Layer::Dots { dots, .. } => dots.as_slice(),
            _ => &[],
        });
        let mut titles = dots.filter(|dot| self.place(dot.at).is_some()).map(|dot| dot.title.as_str());
        let mut with = String::with_capacity(2 * svg.len());
        for line in svg.lines() {
            let title = if line.starts_with("<circle ") { titles.next().unwrap_or_default() } else { "" };
            match line.strip_suffix("/>").filter(|_| !title.is_empty()) {
                Some(open) => with += &format!("{open}><title>{}</title></circle>\n", escape(title)),
                None => with += &format!("{line}\n"),
            }
        }
        with
    }
}

/// The part of a stretch that lies between two heights.
fn between(from: (f64, f64), to: (f64, f64), (low, high): (f64, f64)) -> Option<((f64, f64), (f64, f64))> {
    if from.1.max(to.1) < low || from.1.min(to.1) > high {
        return None;
    }
    let cut = |end: (f64, f64), other: (f64, f64)| {
        let y = end.1.clamp(low, high);
        if y == end.1 { end } else { (end.0 + (other.0 - end.0) * (y - end.1) / (other.1 - end.1), y) }
    };
    Some((cut(from, to), cut(to, from)))
}
