//! Places on the sky as points of the unit sphere: without a seam at right ascension 0, without poles.

/// The point at right ascension and declination in degrees.
#[must_use]
pub fn point(ra: f64, dec: f64) -> [f64; 3] {
    let ((sin_ra, cos_ra), (sin_dec, cos_dec)) = (ra.to_radians().sin_cos(), dec.to_radians().sin_cos());
    [cos_dec * cos_ra, cos_dec * sin_ra, sin_dec]
}

/// The point, if it is one: a right ascension within one turn either way, and a declination of -90 to 90 degrees. Catalogues write
/// -999 and the like where they have none.
#[must_use]
pub fn place(ra: f64, dec: f64) -> Option<[f64; 3]> {
    ((-360.0..=360.0).contains(&ra) && (-90.0..=90.0).contains(&dec)).then(|| point(ra, dec))
}
