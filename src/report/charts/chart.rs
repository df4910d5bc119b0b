//! Lines, points and words between two axes, drawn by plotters.

use super::axis::Axis;
use super::colours::{GRID, INK, MUTED};
use super::figure::escape;
use panchroma_core::{Error, Result};
use plotters::coord::Shift;
use plotters::prelude::{
    ChartBuilder, Circle, DrawingArea, DrawingBackend, IntoDrawingArea, PathElement, SVGBackend, Text,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, IntoFont, RGBColor, ShapeStyle, TextStyle, register_font};
use std::path::PathBuf;

/// Plotters measures text with this; the reader's own sans-serif draws it. Subset of DejaVu Sans.
const FONT: &[u8] = include_bytes!("../font/DejaVuSans-subset.ttf");

/// Plotters rounds to whole units, so that charts are drawn this much larger than shown.
const FINE: f64 = 4.0;

/// Height of text, in pixels of the page.
const TEXT: f64 = 13.0;

/// What is drawn, in order.
pub(super) enum Layer {
    /// A line through points, broken where one can't be drawn; width in pixels.
    Line { points: Vec<(f64, f64)>, colour: RGBColor, width: f64, opacity: f64 },
    /// Dots; radius in pixels.
    Dots { dots: Vec<Dot>, radius: f64, opacity: f64 },
    /// Words centred at a point.
    Words { at: (f64, f64), text: String },
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
        self.draw_on(&area)?;
        area.present().map_err(|e| e.to_string())
    }

    /// Draws on any area, of [`Self::size`] times [`FINE`] pixels.
    pub(super) fn draw_on<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> std::result::Result<(), String> {
        register()?;
        let bare = self.y.ticks.is_empty();
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
            .x_desc(self.x.label.as_str())
            .y_desc(self.y.label.as_str())
            .draw()
            .map_err(|e| e.to_string())?;
        for layer in &self.layers {
            match layer {
                Layer::Line { points, colour, width, opacity } => {
                    let style = ShapeStyle::from(colour.mix(*opacity)).stroke_width(pixels(*width) as u32);
                    let placed: Vec<Option<(f64, f64)>> = points.iter().map(|p| self.place(*p)).collect();
                    let parts = placed.split(Option::is_none).filter(|part| part.len() > 1);
                    let parts =
                        parts.map(|part| PathElement::new(part.iter().flatten().copied().collect::<Vec<_>>(), style));
                    chart.draw_series(parts)
                }
                Layer::Dots { dots, radius, opacity } => chart.draw_series(dots.iter().filter_map(|dot| {
                    let style = dot.colour.mix(*opacity).filled();
                    self.place(dot.at).map(|at| Circle::new(at, pixels(*radius), style))
                })),
                Layer::Words { at, text: words } => chart.draw_series(self.place(*at).map(|at| {
                    Text::new(words.clone(), at, text(INK, FontStyle::Bold).pos(Pos::new(HPos::Center, VPos::Center)))
                })),
            }
            .map_err(|e| e.to_string())?;
        }
        Ok(())
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

/// Makes the font known. Whoever draws does this: it is cheap, and leaves no state to care for.
pub(super) fn register() -> std::result::Result<(), &'static str> {
    register_font("sans-serif", FontStyle::Normal, FONT).map_err(|_| "the font is broken")?;
    register_font("sans-serif", FontStyle::Bold, FONT).map_err(|_| "the font is broken")
}

/// Units of drawing for a length in pixels of the page.
pub(super) fn pixels(length: f64) -> i32 {
    (FINE * length).round() as i32
}

pub(super) fn text(colour: RGBColor, style: FontStyle) -> TextStyle<'static> {
    // Plotters writes a font size that is smaller by this factor.
    ("sans-serif", 1.24 * FINE * TEXT, style).into_font().color(&colour)
}
