//! Pictures in colour.

/// Colours of the pixels of three planes (red, green, blue; of one length, background 0), as Lupton et al. (2004, PASP 116,
/// 133) have it: the mean of the three goes through `asinh(q x / stretch) / q`, and keeps the ratio of the three, so that bright
/// objects keep their colour. `stretch` is the flux, in the planes' unit, at which the picture is nearly linear; `q` (about 8)
/// says how much of the range the bright end gets. A plane that is NaN at a pixel counts as 0 there.
#[must_use]
pub fn lupton([red, green, blue]: [&[f32]; 3], stretch: f64, q: f64) -> Vec<[u8; 3]> {
    // 0.1 of the range is what flux of a tenth of `stretch` gets, as the authors normalise it.
    let slope = 0.1 * 255.0 / (0.1 * q).asinh();
    let pixels = red.iter().zip(green).zip(blue);
    pixels
        .map(|((r, g), b)| {
            let pixel = [r, g, b].map(|v| if v.is_finite() { f64::from(*v) } else { 0.0 });
            let mean = pixel.iter().sum::<f64>() / 3.0;
            if mean <= 0.0 {
                return [0; 3];
            }
            let factor = slope * (q * mean / stretch).asinh() / mean;
            let mut colour = pixel.map(|v| (v * factor).max(0.0));
            // What is brighter than the range loses brightness, not colour.
            let most = colour.iter().copied().fold(0.0, f64::max);
            if most > 255.0 {
                colour = colour.map(|v| v * 255.0 / most);
            }
            colour.map(|v| v as u8)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_colours_are_those_of_astropy() {
        // astropy 8.0.2: make_lupton_rgb(r, g, b, stretch=5, Q=8), with planes of one line.
        let (r, g) = ([0.0f32, 1.0, 10.0, 200.0, -3.0, 4.0], [0.0f32, 2.0, 5.0, 100.0, -1.0, 0.5]);
        let b = [0.0f32, 0.5, 2.0, 10.0, 2.0, f32::NAN];
        let expected = [[0, 0, 0], [41, 82, 20], [178, 89, 35], [255, 127, 12], [0, 0, 0], [149, 18, 0]];
        assert_eq!(lupton([&r, &g, &b], 5.0, 8.0), expected);
    }
}
