//! Positions on the sky: which objects of two catalogues are the same.
//!
//! [`Positions`] are checked on the way in; [`pairs`] finds all pairs within a radius; [`choose`] keeps what a
//! [`Rule`] keeps and says of every other pair why not.

mod catalogues;
mod choose;
mod columns;
mod convert;
mod input;
mod join;
mod positions;
#[cfg(test)]
mod tests;
mod unique;
mod zones;

pub use catalogues::{Keep, MatchReport, MatchSettings, PairReport, match_catalogues};
pub use choose::{Chosen, Dropped, Reason, Rule, choose};
pub use columns::InputSettings;
pub use input::Input;
pub use positions::{Positions, mean_position, separation};
pub use zones::{Pair, nearest, pairs};
