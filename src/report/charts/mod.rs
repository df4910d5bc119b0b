//! The charts of the page, as inline SVG or tables.
//!
//! Every colour is one of [`colours`]; the page's style sheet finds it by its hexadecimal name and sets the one for a
//! dark screen.

mod axis;
mod chart;
pub(super) mod colours;
pub(super) mod confusion;
mod figure;
mod letters;
pub(super) mod map;
pub(super) mod object;
mod paint;
mod planes;
pub(super) mod prediction;
pub(super) mod reconstruction;
pub(super) mod regression;
pub(super) mod retrieval;
#[cfg(test)]
mod tests;
pub(super) mod training;

pub(super) use figure::{Figure, escape};
pub(super) use paint::paint;

/// At most `most` of the numbers below `count`, evenly spread, so that the page of a large run stays small.
fn spread(count: usize, most: usize) -> impl Iterator<Item = usize> {
    (0..count).step_by(count.div_ceil(most).max(1))
}
