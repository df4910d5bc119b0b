//! Drawings, one below the other, as one PNG.

use super::chart::Chart;
use super::colours::{INK, MUTED};
use super::letters::{pixels, readable, register, text, width};
use super::object::Drawing;
use plotters::coord::Shift;
use plotters::prelude::{BitMapBackend, DrawingArea, DrawingBackend, IntoDrawingArea};
use plotters::style::{FontStyle, RGBColor, WHITE};
use std::path::Path;

/// Facts stand in this many columns.
const COLUMNS: usize = 3;
/// Height of a line of text, in pixels of the page.
const LINE: f64 = 20.0;
/// Between what stands side by side, and at the left edge.
const GAP: f64 = 10.0;
/// Width of the picture.
const WIDTH: f64 = 2.0 * Chart::SIZE.0;

/// Words at a place, in pixels of the page.
struct Words {
    left: f64,
    top: f64,
    words: String,
    colour: RGBColor,
    style: FontStyle,
}

/// Paints a title, facts, sentences and drawings into a file.
pub(in super::super) fn paint(
    path: &Path,
    title: &str,
    facts: &[(String, String)],
    sentences: &[String],
    drawings: &[Drawing],
) -> Result<(), String> {
    register().map_err(str::to_owned)?;
    // Only measures: how high the picture is shows when all has its place.
    let mut nothing = [0; 3];
    let ruler = BitMapBackend::with_buffer(&mut nothing, (1, 1)).into_drawing_area();
    let plain = |left, top, words: String| Words { left, top, words, colour: MUTED, style: FontStyle::Normal };
    let bold = |top, words: &str| Words { left: GAP, top, words: readable(words), colour: INK, style: FontStyle::Bold };
    let mut all = vec![bold(GAP, title)];
    let mut top = 4.0 * GAP;
    let column = (WIDTH - GAP) / COLUMNS as f64;
    for facts in facts.chunks(COLUMNS) {
        for (i, (name, value)) in facts.iter().enumerate() {
            let words = shortened(&ruler, &format!("{name}: {value}"), column - GAP)?;
            all.push(plain(GAP + column * i as f64, top, words));
        }
        top += LINE;
    }
    for line in wrapped(&ruler, sentences)? {
        all.push(plain(GAP, top, line));
        top += LINE;
    }
    let mut places = Vec::new();
    for drawing in drawings {
        top += GAP;
        all.push(bold(top, drawing.title()));
        top += key(&ruler, drawing, top, &mut all)?;
        places.push((drawing, top));
        top += drawing.height() + GAP;
        for line in wrapped(&ruler, &[drawing.note().to_owned()])? {
            all.push(plain(GAP, top, line));
            top += LINE;
        }
    }
    let page = BitMapBackend::new(path, (pixels(WIDTH) as u32, pixels(top + GAP) as u32)).into_drawing_area();
    page.fill(&WHITE).map_err(|e| e.to_string())?;
    for Words { left, top, words, colour, style } in all {
        page.draw_text(&words, &text(colour, style), (pixels(left), pixels(top))).map_err(|e| e.to_string())?;
    }
    for (drawing, top) in places {
        let part = page.clone().shrink((0, pixels(top)), (pixels(WIDTH) as u32, pixels(drawing.height()) as u32));
        drawing.draw(&part)?;
    }
    page.present().map_err(|e| e.to_string())
}

/// Places a key behind the title, in columns as wide as its widest entry; its height.
fn key<B: DrawingBackend>(
    ruler: &DrawingArea<B, Shift>,
    drawing: &Drawing,
    top: f64,
    all: &mut Vec<Words>,
) -> Result<f64, String> {
    let wide = |words: &str| width(ruler, words).map(|w| w / f64::from(pixels(1.0)) + 2.0 * GAP);
    let start = GAP + wide(&readable(drawing.title()))?;
    let entries: Vec<(RGBColor, String)> = drawing.key().iter().map(|(c, words)| (*c, readable(words))).collect();
    let mut widest = 1.0_f64;
    for (_, words) in &entries {
        widest = widest.max(wide(words)?);
    }
    let columns = ((WIDTH - start) / widest).max(1.0) as usize;
    for (i, (colour, words)) in entries.iter().enumerate() {
        let (left, top) = (start + widest * (i % columns) as f64, top + LINE * (i / columns) as f64);
        all.push(Words { left, top, words: words.clone(), colour: *colour, style: FontStyle::Normal });
    }
    Ok(LINE * entries.len().div_ceil(columns).max(1) as f64)
}

/// As many letters as fit into a width, in pixels of the page.
fn shortened<B: DrawingBackend>(ruler: &DrawingArea<B, Shift>, words: &str, room: f64) -> Result<String, String> {
    let room = f64::from(pixels(room));
    let words = readable(words);
    if width(ruler, &words)? <= room {
        return Ok(words);
    }
    let mut short = String::new();
    for c in words.chars() {
        if width(ruler, &format!("{short}{c}…"))? > room {
            break;
        }
        short.push(c);
    }
    Ok(short + "…")
}

/// Sentences in lines of the picture's width.
fn wrapped<B: DrawingBackend>(ruler: &DrawingArea<B, Shift>, sentences: &[String]) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    for sentence in sentences {
        let mut line = String::new();
        for word in sentence.split_whitespace() {
            let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            if !line.is_empty() && width(ruler, &readable(&longer))? > f64::from(pixels(WIDTH - 2.0 * GAP)) {
                lines.push(std::mem::replace(&mut line, word.to_owned()));
            } else {
                line = longer;
            }
        }
        lines.extend(Some(line).filter(|line| !line.is_empty()));
    }
    lines.iter().map(|line| shortened(ruler, line, WIDTH - 2.0 * GAP)).collect()
}
