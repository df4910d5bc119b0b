//! Colours that people with any colour vision tell apart: Okabe and Ito 2008, the yellow darkened for white paper.

use plotters::style::RGBColor;

pub(in super::super) const INK: RGBColor = RGBColor(0x1B, 0x1F, 0x24);
pub(in super::super) const MUTED: RGBColor = RGBColor(0x5F, 0x69, 0x75);
pub(in super::super) const GRID: RGBColor = RGBColor(0xE3, 0xE7, 0xEC);
/// Lines to compare with; the style sheet dashes them.
pub(in super::super) const REFERENCE: RGBColor = RGBColor(0x7A, 0x84, 0x90);
pub(in super::super) const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xB2);
pub(in super::super) const VERMILLION: RGBColor = RGBColor(0xD5, 0x5E, 0x00);

/// For classes, most frequent first.
pub(in super::super) const CLASSES: [RGBColor; 7] = [
    BLUE,
    VERMILLION,
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0x56, 0xB4, 0xE9),
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0xC9, 0xB8, 0x00),
];
/// For classes beyond those, and for objects without one.
pub(in super::super) const OTHER: RGBColor = RGBColor(0xA3, 0xAB, 0xB5);

/// Low to high, dark to light: the middle of viridis, whose ends vanish on a dark or a white page.
const SCALE: [RGBColor; 4] =
    [RGBColor(0x3E, 0x4A, 0x89), RGBColor(0x26, 0x82, 0x8E), RGBColor(0x35, 0xB7, 0x79), RGBColor(0xB5, 0xDE, 0x2B)];

/// The colour of `share` of the way from low to high.
pub(super) fn scale(share: f64) -> RGBColor {
    let place = share.clamp(0.0, 1.0) * (SCALE.len() - 1) as f64;
    let left = (place as usize).min(SCALE.len() - 2);
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * (place - left as f64)).round() as u8;
    let (a, b) = (SCALE[left], SCALE[left + 1]);
    RGBColor(mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}

/// `#RRGGBB`, as plotters writes it.
pub(in super::super) fn hex(colour: RGBColor) -> String {
    format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2)
}
