//! Nearest neighbours within 1 arcsecond between two catalogues of random positions: `benches/compare match`.
//!
//! Without a folder it does little, so that `cargo test --benches` is quick. With one, it reads `left.f64` and `right.f64`
//! there: right ascensions, then declinations, in degrees.

#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use panchroma_builder::sky::{Positions, nearest};
use panchroma_core::data::DataError;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let Some(folder) = std::env::args().nth(1).filter(|a| !a.starts_with('-')) else {
        println!("usage: match FOLDER (see benches/compare)");
        return Ok(());
    };
    let (left, right) = (read(&Path::new(&folder).join("left.f64"))?, read(&Path::new(&folder).join("right.f64"))?);
    let start = Instant::now();
    let found = nearest(&left, &right, 1.0 / 3600.0);
    let seconds = start.elapsed().as_secs_f64();
    let kept: Vec<(u64, u64)> = found.iter().flatten().map(|p| (u64::from(p.left), u64::from(p.right))).collect();
    // The same sum as the peer's, over the rows of all pairs.
    let sum: u64 = kept.iter().map(|(a, b)| (a * 31 + b * 17) % 1_000_003).sum();
    println!("seconds={seconds:.6} pairs={} checksum={sum}", kept.len());
    Ok(())
}

fn read(path: &Path) -> Result<Positions, Box<dyn Error>> {
    let bytes = std::fs::read(path)?;
    let values: Vec<f64> =
        bytes.chunks_exact(8).map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])).collect();
    let (ra, dec) = values.split_at(values.len() / 2);
    let bad = |row, column: &str, reason| {
        DataError::BadValue { object: format!("row {row}"), column: column.into(), reason }.into()
    };
    Ok(Positions::new(ra.to_vec(), dec.to_vec(), bad)?)
}
