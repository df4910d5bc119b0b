//! How much each number of an observation is worth beside the same of the object's others: inverse variances, as far as errors are known.

use crate::curve::Observation;

/// Largest inverse variance, in medians: one error of almost nothing must not silence all others.
const MOST: f64 = 10.0;

/// Standard errors of brightness, relative flux and significance (see [`crate::FEATURES`]), from that of the flux; `softening` is the
/// config's. The scale of the object is left out, since it is the same for all.
pub(crate) fn errors(observation: &Observation, softening: f64) -> Option<[f64; 3]> {
    let error = observation.error?;
    // The derivative of asinh(x / s) is 1 / hypot(x, s).
    Some([error / observation.flux.hypot(softening), error, 1.0 / (observation.flux / error).hypot(1.0)])
}

/// Inverse variances, none above ten times their median, over their mean; 1 where the error is unknown.
pub(crate) fn relative(errors: &[Option<f64>]) -> Vec<f32> {
    let ivar = |error: &Option<f64>| error.map(|e| e.powi(-2)).filter(|v| v.is_finite());
    let mut known: Vec<f64> = errors.iter().filter_map(ivar).collect();
    known.sort_by(f64::total_cmp);
    let median = known.get(known.len().saturating_sub(1) / 2).copied().unwrap_or(1.0);
    let cut = |v: f64| v.min(MOST * median);
    let mean = known.iter().map(|v| cut(*v)).sum::<f64>() / known.len().max(1) as f64;
    let usable = |v: &f64| mean > 0.0 && (v / mean).is_finite();
    errors.iter().map(|error| ivar(error).map(cut).filter(usable).map_or(1.0, |v| (v / mean) as f32)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_inverse_variances_over_their_mean() {
        // 1 and 1/4 have the mean 5/8.
        assert_eq!(relative(&[Some(1.0), None, Some(2.0)]), [1.6, 1.0, 0.4]);
        assert_eq!(relative(&[None, None]), [1.0, 1.0]);
        assert_eq!(relative(&[]), [0f32; 0]);
    }

    #[test]
    fn one_error_of_almost_nothing_does_not_silence_the_others() {
        // 1e12 is cut to 10; the mean of 10, 1, 1 is 4.
        assert_eq!(relative(&[Some(1e-6), Some(1.0), Some(1.0)]), [2.5, 0.25, 0.25]);
    }

    #[test]
    fn errors_go_through_the_features_as_differences_do() {
        // Against finite differences, at a flux far above, at and far below the softening of 10.
        for (flux, error) in [(1e4, 20.0), (-10.0, 0.1), (0.01, 0.3)] {
            let observation =
                Observation { days: 0.0, flux, error: Some(error), wavelength: None, channel: None, limit: false };
            let step = 1e-4 * error;
            let slope = |f: &dyn Fn(f64) -> f64| (f(flux + step) - f(flux - step)) / (2.0 * step);
            let expected = [slope(&|x| (x / 10.0).asinh()), 1.0, slope(&|x| (x / error).asinh())].map(|s| s * error);
            let found = errors(&observation, 10.0).unwrap();
            assert!(found.iter().zip(expected).all(|(f, e)| (f / e - 1.0).abs() < 1e-6), "{found:?} {expected:?}");
        }
    }
}
