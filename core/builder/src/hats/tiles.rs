//! Which pixels get a file of their own.

use std::ops::Range;
use std::path::Path;

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
    /// The tile of a file of a HATS catalogue, if it is named like one; its number of objects is not known.
    #[must_use]
    pub fn of(file: &Path) -> Option<Self> {
        let part = |prefix: &str| {
            file.components().rev().find_map(|c| {
                let name = c.as_os_str().to_string_lossy();
                name.strip_prefix(prefix)?.trim_end_matches(".parquet").parse::<u64>().ok()
            })
        };
        let (order, pixel) = (u8::try_from(part("Norder=")?).ok().filter(|o| *o <= DEEPEST)?, part("Npix=")?);
        (pixel < 12 << (2 * order)).then_some(Self { order, pixel, rows: 0 })
    }

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

/// Those of `tiles` that have objects, with their numbers, if all of the sorted `pixels` are in one of them each.
pub(super) fn filled(tiles: &[Tile], pixels: &[i64]) -> Option<Vec<Tile>> {
    let mut filled: Vec<Tile> = tiles.iter().map(|tile| counted(tile, pixels)).filter(|tile| tile.rows > 0).collect();
    filled.sort_by_key(|tile| tile.range().start);
    let apart = filled.windows(2).all(|pair| pair[0].range().end <= pair[1].range().start);
    (apart && filled.iter().map(|tile| tile.rows).sum::<u64>() == pixels.len() as u64).then_some(filled)
}

fn counted(tile: &Tile, pixels: &[i64]) -> Tile {
    let range = tile.range();
    let [from, to] = [range.start, range.end].map(|end| pixels.partition_point(|p| *p < end));
    Tile { rows: (to - from) as u64, ..tile.clone() }
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
