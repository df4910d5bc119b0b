//! What a catalogue holds, and whether it can be trusted: [`stats`] and [`validate`], and the one object
//! that [`find`] fetches to be drawn.
//!
//! All of it reads row groups one after the other, so that memory does not grow with the catalogue.

mod findings;
mod integrity;
mod leaves;
mod measured;
mod measurements;
mod notes;
mod object;
mod sample;
mod stats;
mod table;
#[cfg(test)]
mod tests;
mod validate;

pub use findings::Finding;
pub(crate) use leaves::list;
pub use measured::{Measured, Pixels, Quantity, Sampled};
pub(crate) use notes::Notes;
pub use object::{Object, find};
pub(crate) use stats::Gatherer;
pub use stats::{ColumnStats, DISTINCT, ModalityStats, Overlap, Stats, stats};
pub use table::Table;
pub(crate) use table::{at_once, builder};
pub use validate::{Checks, validate};
