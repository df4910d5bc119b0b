//! The font of the drawings, what it can't show, and how large things are.

use super::colours::INK;
use ab_glyph::{Font, FontRef, GlyphId};
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingBackend};
use plotters::style::{FontStyle, IntoFont, RGBColor, TextStyle, register_font};

/// Subset of DejaVu Sans. Charts in a page are measured with it, and drawn in the reader's own sans-serif.
const FONT: &[u8] = include_bytes!("../font/DejaVuSans-subset.ttf");

/// Plotters rounds to whole units, so that charts are drawn this much larger than shown.
const FINE: f64 = 4.0;

/// Height of text, in pixels of the page.
const TEXT: f64 = 13.0;

/// Makes the font known. Whoever draws does this: it is cheap, and leaves no state to care for.
pub(super) fn register() -> Result<(), &'static str> {
    register_font("sans-serif", FontStyle::Normal, FONT).map_err(|_| "the font is broken")?;
    register_font("sans-serif", FontStyle::Bold, FONT).map_err(|_| "the font is broken")
}

/// `words` with `?` for every letter that the font lacks, which would be a blank.
pub(super) fn readable(words: &str) -> String {
    let Ok(font) = FontRef::try_from_slice(FONT) else { return words.into() };
    words.chars().map(|c| if font.glyph_id(c) == GlyphId(0) { '?' } else { c }).collect()
}

/// Width of a line of text on an area, in its own pixels.
pub(super) fn width<B: DrawingBackend>(area: &DrawingArea<B, Shift>, words: &str) -> Result<f64, String> {
    let (width, _) = area.estimate_text_size(words, &text(INK, FontStyle::Normal)).map_err(|e| e.to_string())?;
    Ok(f64::from(width))
}

pub(super) fn text(colour: RGBColor, style: FontStyle) -> TextStyle<'static> {
    // Plotters writes a font size that is smaller by this factor.
    ("sans-serif", 1.24 * FINE * TEXT, style).into_font().color(&colour)
}

/// Units of drawing for a length in pixels of the page.
pub(super) fn pixels(length: f64) -> i32 {
    (FINE * length).round() as i32
}
