//! All pairs within a radius, by zones of declination sorted by right ascension (Gray et al. 2006, MSR-TR-2006-52).
//!
//! Nothing is lost at borders: a zone is searched with its neighbours, right ascension wraps at 360, and the range of right
//! ascension is that of the circle's bounding box, which is all of it where the circle holds a pole.

use super::positions::{Positions, chord, unit};
use rayon::prelude::*;
use std::cmp::Ordering;

/// Two objects within the radius.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Row in the first catalogue.
    pub left: u32,
    /// Row in the second.
    pub right: u32,
    /// Angle between them, in degrees.
    pub separation: f64,
}

impl Pair {
    /// Nearer first; equally near ones by row.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let rows = (self.left, self.right).cmp(&(other.left, other.right));
        self.separation.total_cmp(&other.separation).then(rows)
    }
}

/// Rounding of angles: circles are searched this much wider, and then measured. Degrees.
const SLACK: f64 = 1e-9;

/// Zones are not lower than this many degrees: with tiny radii, searching empty zones would take the time.
const LOWEST: f64 = 1.0 / 120.0;

/// Objects of one catalogue in zones.
struct Zones {
    height: f64,
    /// First object of each zone, and the end.
    starts: Vec<usize>,
    /// Half the range of right ascension that is searched, by the zone of the circle's middle, degrees.
    halves: Vec<f64>,
    /// By zone, then right ascension.
    objects: Vec<Object>,
}

#[derive(Clone, Copy)]
struct Object {
    /// Its right ascension as [`turn`] has it.
    turn: u32,
    row: u32,
    point: [f64; 3],
}

/// An object's place as a number of which the higher half is the zone and the lower the right ascension, and its row.
type Key = (u64, u32);

/// Objects by zone, then right ascension, so that neighbours on the sky follow each other.
fn sorted(positions: &Positions, height: f64) -> Vec<Key> {
    let key = |i: usize| -> Option<Key> {
        let (ra, dec) = positions.get(i)?;
        let ra = if ra >= 360.0 { ra - 360.0 } else { ra };
        Some(((zone(dec, height) as u64) << 32 | u64::from(turn(ra)), u32::try_from(i).ok()?))
    };
    let mut keys: Vec<Key> = (0..positions.len()).into_par_iter().filter_map(key).collect();
    keys.par_sort_unstable();
    keys
}

impl Zones {
    fn new(positions: &Positions, radius: f64) -> Self {
        // About as many objects in the part of a zone that is searched as there are false candidates anyway.
        let height = radius.clamp(LOWEST, 180.0);
        let count = (180.0 / height).ceil() as usize + 1;
        // Short keys are sorted, and points looked up after.
        let keys = sorted(positions, height);
        let mut starts = vec![0; count + 1];
        for (key, _) in &keys {
            starts[(key >> 32) as usize + 1] += 1;
        }
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        let object = |(key, row): &Key| {
            let point = unit(positions.get(*row as usize)?);
            Some(Object { turn: *key as u32, row: *row, point })
        };
        let objects = keys.par_iter().filter_map(object).collect();
        // That of the edge that is nearer to a pole holds for the whole zone.
        let edge = |zone: usize| (zone as f64 * height - 90.0).abs().max(((zone + 1) as f64 * height - 90.0).abs());
        let halves = (0..=count).map(|zone| half_width(edge(zone).min(90.0), radius + SLACK)).collect();
        Self { height, starts, halves, objects }
    }

    fn zone(&self, zone: usize) -> &[Object] {
        match (self.starts.get(zone), self.starts.get(zone + 1)) {
            (Some(&from), Some(&to)) => self.objects.get(from..to).unwrap_or_default(),
            _ => &[],
        }
    }

    /// Calls `found` with everything within `radius` degrees of a position, in radians of separation.
    fn search(&self, (ra, dec): (f64, f64), radius: f64, found: &mut impl FnMut(u32, f64)) {
        let ra = if ra >= 360.0 { ra - 360.0 } else { ra };
        // Most have no candidate, and need no point.
        let mut point = None;
        let wide = radius + SLACK;
        let limit = radius.to_radians();
        let half = self.halves.get(zone(dec, self.height)).copied().unwrap_or(180.0);
        let ranges = if half >= 180.0 {
            [Some((0.0, 360.0)), None]
        } else if ra - half < 0.0 {
            [Some((0.0, ra + half)), Some((ra - half + 360.0, 360.0))]
        } else if ra + half >= 360.0 {
            [Some((ra - half, 360.0)), Some((0.0, ra + half - 360.0))]
        } else {
            [Some((ra - half, ra + half)), None]
        };
        for number in zone((dec - wide).max(-90.0), self.height)..=zone((dec + wide).min(90.0), self.height) {
            let objects = self.zone(number);
            for (from, to) in ranges.into_iter().flatten() {
                let (from, to) = (turn(from), turn(to));
                let first = objects.partition_point(|o| o.turn < from);
                for object in objects.get(first..).unwrap_or_default().iter().take_while(|o| o.turn <= to) {
                    let angle = chord(point.get_or_insert_with(|| unit((ra, dec))), &object.point);
                    if angle <= limit {
                        found(object.row, angle);
                    }
                }
            }
        }
    }
}

fn zone(dec: f64, height: f64) -> usize {
    ((dec + 90.0) / height) as usize
}

/// A right ascension as a share of the whole turn, in 32 bits: what is not above another in degrees is not above it here.
fn turn(ra: f64) -> u32 {
    (ra * (4_294_967_296.0 / 360.0)) as u32
}

/// Half the range of right ascension of a circle, in degrees; 180 if it holds a pole.
fn half_width(dec: f64, radius: f64) -> f64 {
    if dec.abs() + radius >= 90.0 {
        return 180.0;
    }
    // The circle touches meridians where sin(width) = sin(radius) / cos(dec).
    let sine = radius.to_radians().sin() / dec.to_radians().cos();
    if sine >= 1.0 { 180.0 } else { sine.asin().to_degrees() + SLACK }
}

/// What `search` finds around objects of the left catalogue, each given with its position, in [`sorted`] order.
fn around<T: Send>(left: &Positions, height: f64, search: impl Fn(u32, (f64, f64), &mut Vec<T>) + Sync) -> Vec<T> {
    let order = sorted(left, height);
    let chunks = order.par_chunks(4096).map(|keys| {
        // Looked up one after the other, so that none waits for what is done with the one before.
        let places: Vec<_> = keys.iter().filter_map(|(_, row)| Some((*row, left.get(*row as usize)?))).collect();
        let mut found = Vec::new();
        places.into_iter().for_each(|(row, place)| search(row, place, &mut found));
        found
    });
    chunks.flatten_iter().collect()
}

/// All pairs within `radius` degrees, by row of the left catalogue, nearest first.
#[must_use]
pub fn pairs(left: &Positions, right: &Positions, radius: f64) -> Vec<Pair> {
    let zones = Zones::new(right, radius);
    let mut found = around(left, zones.height, |row, place, found| {
        zones.search(place, radius, &mut |right, angle| {
            found.push(Pair { left: row, right, separation: angle.to_degrees() });
        });
    });
    found.par_sort_unstable_by(|a, b| a.left.cmp(&b.left).then(a.order(b)));
    found
}

/// For each object of the left catalogue the nearest of the right within `radius` degrees; equally near ones by row.
#[must_use]
pub fn nearest(left: &Positions, right: &Positions, radius: f64) -> Vec<Option<Pair>> {
    let zones = Zones::new(right, radius);
    let found = around(left, zones.height, |row, place, found| {
        let mut best: Option<Pair> = None;
        zones.search(place, radius, &mut |right, angle| {
            let pair = Pair { left: row, right, separation: angle.to_degrees() };
            if best.is_none_or(|b| pair.order(&b) == Ordering::Less) {
                best = Some(pair);
            }
        });
        found.extend(best);
    });
    let mut nearest = vec![None; left.len()];
    for pair in found {
        if let Some(place) = nearest.get_mut(pair.left as usize) {
            *place = Some(pair);
        }
    }
    nearest
}
