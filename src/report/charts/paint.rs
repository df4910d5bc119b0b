//! Drawings, one below the other, as one PNG.

use super::chart::{Chart, pixels, text};
use super::colours::{INK, MUTED};
use super::object::Drawing;
use plotters::prelude::{BitMapBackend, IntoDrawingArea};
use plotters::style::{FontStyle, WHITE};
use std::path::Path;

/// Facts stand in this many columns.
const COLUMNS: usize = 3;
/// Height of a line of text, in pixels of the page.
const LINE: f64 = 20.0;
/// Longer facts are cut.
const CHARACTERS: usize = 40;

/// Paints a title, facts and drawings into a file.
pub(in super::super) fn paint(
    path: &Path,
    title: &str,
    facts: &[(String, String)],
    drawings: &[Drawing],
) -> Result<(), String> {
    let width = 2.0 * Chart::SIZE.0;
    let lines = facts.len().div_ceil(COLUMNS) as f64;
    let headings: Vec<Heading> = drawings.iter().map(|drawing| heading(drawing, width)).collect();
    let below = drawings.iter().zip(&headings).map(|(drawing, heading)| drawing.height() + LINE * heading.lines);
    let height = 40.0 + LINE * lines + 10.0 + below.sum::<f64>();
    let page = BitMapBackend::new(path, (pixels(width) as u32, pixels(height) as u32)).into_drawing_area();
    page.fill(&WHITE).map_err(|e| e.to_string())?;
    super::chart::register().map_err(str::to_owned)?;
    let (bold, plain) = (text(INK, FontStyle::Bold), text(MUTED, FontStyle::Normal));
    page.draw_text(title, &bold, (pixels(10.0), pixels(10.0))).map_err(|e| e.to_string())?;
    for (i, (name, value)) in facts.iter().enumerate() {
        let words = shortened(&format!("{name}: {value}"));
        let at = (10.0 + (width - 10.0) * (i % COLUMNS) as f64 / COLUMNS as f64, 40.0 + LINE * (i / COLUMNS) as f64);
        page.draw_text(&words, &plain, (pixels(at.0), pixels(at.1))).map_err(|e| e.to_string())?;
    }
    let mut top = 50.0 + LINE * lines;
    for (drawing, heading) in drawings.iter().zip(&headings) {
        page.draw_text(drawing.title(), &bold, (pixels(10.0), pixels(top))).map_err(|e| e.to_string())?;
        for ((colour, words), (left, line)) in drawing.key().iter().zip(&heading.places) {
            let at = (pixels(*left), pixels(top + LINE * line));
            page.draw_text(words, &text(*colour, FontStyle::Normal), at).map_err(|e| e.to_string())?;
        }
        top += LINE * heading.lines;
        let (from, to) = ((0, pixels(top)), (pixels(width), pixels(top + drawing.height() - 24.0)));
        let part = page.clone().shrink(from, (to.0 as u32, (to.1 - from.1) as u32));
        drawing.draw(&part)?;
        top += drawing.height();
    }
    page.present().map_err(|e| e.to_string())
}

/// Where the words of a key stand behind a title: from the left, and in which line.
struct Heading {
    places: Vec<(f64, f64)>,
    lines: f64,
}

fn heading(drawing: &Drawing, width: f64) -> Heading {
    // About as wide as letters are.
    let start = 20.0 + 9.0 * drawing.title().chars().count() as f64;
    let (mut left, mut line) = (start, 0.0);
    let place = |(_, words): &(_, String)| {
        let own = 10.0 + 8.0 * words.chars().count() as f64;
        if left + own > width && left > start {
            (left, line) = (start, line + 1.0);
        }
        let place = (left, line);
        left += own;
        place
    };
    let places = drawing.key().iter().map(place).collect();
    Heading { places, lines: line + 1.0 }
}

fn shortened(words: &str) -> String {
    if words.chars().count() <= CHARACTERS {
        return words.into();
    }
    words.chars().take(CHARACTERS - 1).chain(['…']).collect()
}
