//! Pairs of radio sources, and what an array of antennas sees of them.
//!
//! Formulas: Thompson, Moran & Swenson 2017, "Interferometry and Synthesis in Radio Astronomy": coordinates of baselines from eq. 4.1
//! and 4.4, visibilities from section 3.1, V(u, v) = ∫∫ I(l, m) exp(-2πi (u l + v m)) dl dm.

use std::f64::consts::{LN_2, PI, TAU};

/// Latitude of the array, radians: 34 degrees.
const LATITUDE: f64 = 0.593;

/// Wavelength, metres: 15 GHz.
const WAVELENGTH: f64 = 0.02;

/// Places of the antennas, metres to the east and north: three arms, up to 3.6 km between two of them.
const ANTENNAS: [[f64; 2]; 6] =
    [[40.0, 0.0], [620.0, -350.0], [1750.0, -1010.0], [-420.0, -230.0], [-1600.0, -900.0], [10.0, 1500.0]];

/// A round Gaussian on the sky.
#[derive(Clone, Copy, Debug)]
pub struct Component {
    /// Millijansky.
    pub flux: f64,
    /// Arcseconds to the east and north of the phase centre.
    pub place: [f64; 2],
    /// Full width at half maximum, arcseconds; 0 is a point.
    pub width: f64,
}

/// Baselines in wavelengths, of each pair of antennas at each hour angle; angles in radians.
pub fn baselines(hour_angles: &[f64], declination: f64) -> Vec<[f64; 2]> {
    let mut all = Vec::new();
    for hour_angle in hour_angles {
        for (i, first) in ANTENNAS.iter().enumerate() {
            for second in &ANTENNAS[i + 1..] {
                let [east, north] = [0, 1].map(|axis| (second[axis] - first[axis]) / WAVELENGTH);
                // Towards the meridian at the equator, east, and the pole.
                let (x, y, z) = (-north * LATITUDE.sin(), east, north * LATITUDE.cos());
                let ((sin, cos), (sin_dec, cos_dec)) = (hour_angle.sin_cos(), declination.sin_cos());
                all.push([x * sin + y * cos, sin_dec * (y * sin - x * cos) + z * cos_dec]);
            }
        }
    }
    all
}

/// Real and imaginary part at `[u, v]`, in wavelengths, without noise.
pub fn visibility(components: &[Component], [u, v]: [f64; 2]) -> [f64; 2] {
    let radians = PI / 180.0 / 3600.0;
    components.iter().fold([0.0, 0.0], |[re, im], component| {
        let [l, m] = component.place.map(|x| x * radians);
        // The transform of a Gaussian is one: of half the amplitude at q = 2 ln 2 / (π width).
        let amplitude =
            component.flux * (-(PI * component.width * radians).powi(2) * (u * u + v * v) / (4.0 * LN_2)).exp();
        let phase = -TAU * (u * l + v * m);
        [re + amplitude * phase.cos(), im + amplitude * phase.sin()]
    })
}
