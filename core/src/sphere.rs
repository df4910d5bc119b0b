//! Places on the sky as points of the unit sphere: without a seam at right ascension 0, without poles.

/// The point at right ascension and declination in degrees.
#[must_use]
pub fn point(ra: f64, dec: f64) -> [f64; 3] {
    let ((sin_ra, cos_ra), (sin_dec, cos_dec)) = (ra.to_radians().sin_cos(), dec.to_radians().sin_cos());
    [cos_dec * cos_ra, cos_dec * sin_ra, sin_dec]
}
