//! Right ascension and declination, checked, and what follows from them.

use panchroma_core::data::DataError;
use panchroma_core::{Error, Result, sphere};

/// Positions of objects, in degrees: `ra` in 0 to 360, `dec` in -90 to 90, all finite. An object may have none.
#[derive(Clone, Debug, Default)]
pub struct Positions {
    /// NaN where there is no position.
    ra: Vec<f64>,
    dec: Vec<f64>,
    /// How many have none.
    without: usize,
}

/// Why this is no position: the coordinate, and what it should be.
fn wrong(ra: f64, dec: f64) -> Option<(&'static str, String)> {
    if !(0.0..=360.0).contains(&ra) {
        return Some(("ra", format!("expected 0 to 360 degrees, got {ra}")));
    }
    (!(-90.0..=90.0).contains(&dec)).then(|| ("dec", format!("expected -90 to 90 degrees, got {dec}")))
}

impl Positions {
    /// Checks positions; `error` makes the error for an object, of its row, `ra` or `dec`, and what is wrong.
    ///
    /// # Errors
    /// That of the first object whose position is none.
    pub fn new(ra: Vec<f64>, dec: Vec<f64>, error: impl Fn(usize, &'static str, String) -> Error) -> Result<Self> {
        if ra.len() != dec.len() {
            return Err(DataError::IdCount { ids: ra.len(), rows: dec.len() }.into());
        }
        for (row, (ra, dec)) in ra.iter().zip(&dec).enumerate() {
            if let Some((coordinate, reason)) = wrong(*ra, *dec) {
                return Err(error(row, coordinate, reason));
            }
        }
        Ok(Self { ra, dec, without: 0 })
    }

    /// As [`Self::new`], but what is no position is left out: the object keeps its place, and is nobody's neighbour.
    #[must_use]
    pub fn leaving_out(mut ra: Vec<f64>, dec: Vec<f64>) -> Self {
        let mut without = 0;
        for (ra, dec) in ra.iter_mut().zip(&dec) {
            if wrong(*ra, *dec).is_some() {
                *ra = f64::NAN;
                without += 1;
            }
        }
        Self { ra, dec, without }
    }

    /// Number of objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ra.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ra.is_empty()
    }

    /// Number of objects that have no position.
    #[must_use]
    pub fn without(&self) -> usize {
        self.without
    }

    /// Right ascension and declination of object `i`, in degrees, if it has them.
    #[must_use]
    pub fn get(&self, i: usize) -> Option<(f64, f64)> {
        Some((*self.ra.get(i).filter(|ra| !ra.is_nan())?, *self.dec.get(i)?))
    }
}

/// The point of the unit sphere.
pub(super) fn unit((ra, dec): (f64, f64)) -> [f64; 3] {
    sphere::point(ra, dec)
}

/// Angle between two positions, in degrees: of the chord, which is exact for small angles and wrong by less than 1e-6
/// near 180 degrees.
#[must_use]
pub fn separation(a: (f64, f64), b: (f64, f64)) -> f64 {
    let (a, b) = (unit(a), unit(b));
    chord(&a, &b).to_degrees()
}

/// Angle between two points of the unit sphere, in radians.
pub(super) fn chord(a: &[f64; 3], b: &[f64; 3]) -> f64 {
    let square: f64 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
    2.0 * (0.5 * square.sqrt()).min(1.0).asin()
}

/// Position of the mean of points of the unit sphere: right across RA 0 and at the poles.
#[must_use]
pub fn mean_position(positions: &[(f64, f64)]) -> Option<(f64, f64)> {
    let sum = positions.iter().fold([0.0; 3], |sum, p| {
        let point = unit(*p);
        [sum[0] + point[0], sum[1] + point[1], sum[2] + point[2]]
    });
    let [x, y, z] = sum;
    // Opposite points have no mean.
    if x.hypot(y).hypot(z) < 1e-9 {
        return None;
    }
    let ra = y.atan2(x).to_degrees().rem_euclid(360.0);
    // Just below 0 rounds up to 360.
    Some((if ra >= 360.0 { 0.0 } else { ra }, z.atan2(x.hypot(y)).to_degrees()))
}
