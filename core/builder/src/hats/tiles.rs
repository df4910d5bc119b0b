//! Which pixels get a file of their own.

use std::ops::Range;

/// Order of the pixels in `_healpix_29`.
pub(crate) const DEEPEST: u8 = 29;

/// Tiles are not smaller than pixels of this order (0.8 arcseconds): more objects than allowed stay in one file.
const SMALLEST: u8 = 18;

/// One file of a HATS catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// HEALPix order.
    pub order: u8,
    /// Nested pixel number at that order.
    pub pixel: u64,
    /// Objects in it.
    pub rows: u64,
}

impl Tile {
    /// Below `dataset`.
    #[must_use]
    pub fn path(&self) -> String {
        let folder = self.pixel / 10_000 * 10_000;
        format!("Norder={}/Dir={folder}/Npix={}.parquet", self.order, self.pixel)
    }

    /// Its pixels of order 29.
    #[must_use]
    pub fn range(&self) -> Range<i64> {
        let shift = 2 * u32::from(DEEPEST - self.order);
        ((self.pixel << shift) as i64)..(((self.pixel + 1) << shift) as i64)
    }
}

/// The largest tiles of at most `most` objects each that cover sorted `pixels`.
pub(super) fn choose(pixels: &[i64], most: u64) -> Vec<Tile> {
    let mut tiles = Vec::new();
    for pixel in 0..12 {
        split(0, pixel, pixels, most.max(1), &mut tiles);
    }
    tiles
}

fn split(order: u8, pixel: u64, pixels: &[i64], most: u64, into: &mut Vec<Tile>) {
    let mut tile = Tile { order, pixel, rows: 0 };
    let range = tile.range();
    let from = pixels.partition_point(|p| *p < range.start);
    let to = pixels.partition_point(|p| *p < range.end);
    tile.rows = (to - from) as u64;
    if tile.rows == 0 {
        return;
    }
    if tile.rows <= most || order == SMALLEST {
        into.push(tile);
        return;
    }
    for child in 0..4 {
        split(order + 1, 4 * pixel + child, pixels.get(from..to).unwrap_or_default(), most, into);
    }
}
