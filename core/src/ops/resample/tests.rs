//! Resampling against naive loops, finite differences and plain candle.

use super::{Spectra, resample};
use crate::ops::check::{
    assert_close, assert_like_twin, assert_same, assert_same_on_any_threads, filled, numbers, run,
};
use candle_core::{DType, Device, Result, Tensor, Var};
use proptest::prelude::*;

/// Ascending wavelengths with steps between 0.5 and 1.5.
fn wavelengths(rows: usize, samples: usize, seed: u32) -> Result<Tensor> {
    (filled(&[rows, samples], seed)? * 0.5)?.affine(1.0, 1.0)?.cumsum(1)
}

/// Inverse variances, every fifth 0.
fn weights(rows: usize, samples: usize) -> Result<Tensor> {
    let known = (0..rows * samples).map(|i| f32::from(u8::from(i % 5 != 3))).collect::<Vec<_>>();
    let known = Tensor::from_vec(known, (rows, samples), &Device::Cpu)?;
    (filled(&[rows, samples], 5)? + 1.5)? * known
}

/// Flux and inverse variance at `grid`.
fn naive(flux: &[f64], ivar: &[f64], wavelength: &[f64], grid: &[f64], samples: usize) -> (Vec<f64>, Vec<f64>) {
    let mut out = (Vec::new(), Vec::new());
    for row in 0..flux.len().checked_div(samples).unwrap_or(0) {
        let (f, v) = (&flux[row * samples..][..samples], &ivar[row * samples..][..samples]);
        let w = &wavelength[row * samples % wavelength.len()..][..samples];
        for g in grid {
            let mut value = (0.0, 0.0);
            for k in 0..samples {
                if w[k] == *g && v[k] > 0.0 {
                    value = (f[k], v[k]);
                } else if k + 1 < samples && w[k] < *g && *g < w[k + 1] && v[k] > 0.0 && v[k + 1] > 0.0 {
                    let t = (g - w[k]) / (w[k + 1] - w[k]);
                    let variance = (1.0 - t) * (1.0 - t) / v[k] + t * t / v[k + 1];
                    value = ((1.0 - t) * f[k] + t * f[k + 1], 1.0 / variance);
                }
            }
            out.0.push(value.0);
            out.1.push(value.1);
        }
    }
    out
}

#[test]
fn values_and_gradients_equal_a_plain_loop() -> Result<()> {
    for (rows, samples, points) in [(1, 1, 3), (3, 2, 1), (2, 127, 129), (129, 5, 4), (4, 129, 127)] {
        for own in [false, true] {
            let wavelength = wavelengths(if own { rows } else { 1 }, samples, 3)?;
            let wavelength = if own { wavelength } else { wavelength.squeeze(0)? };
            let ivar = weights(rows, samples)?;
            // Beyond both ends.
            let grid = ((filled(&[points], 4)? + 1.0)? * (0.6 * samples as f64))?;
            let (w, v, g) = (numbers(&wavelength)?, numbers(&ivar)?, numbers(&grid)?);
            let at = |flux: &Tensor| resample(Spectra { flux, ivar: &ivar, wavelength: &wavelength }, &grid);
            let flux = filled(&[rows, samples], 1)?;
            let expected = naive(&numbers(&flux)?, &v, &w, &g, samples).1;
            assert_close("inverse variance", &numbers(&at(&flux)?.1)?, &expected, 2e-5);
            assert_like_twin(&[flux], |x| Ok(at(&x[0])?.0), |x| naive(&x[0], &v, &w, &g, samples).0, 2e-5)?;
        }
    }
    Ok(())
}

#[test]
fn at_the_samples_themselves_nothing_changes() -> Result<()> {
    let (flux, ivar, wavelength) = (filled(&[3, 129], 1)?, weights(3, 129)?, wavelengths(1, 129, 3)?.squeeze(0)?);
    let (y, v) = resample(Spectra { flux: &flux, ivar: &ivar, wavelength: &wavelength }, &wavelength)?;
    assert_eq!(numbers(&v)?, numbers(&ivar)?);
    let known = ivar.gt(0_f32)?.to_dtype(DType::F32)?;
    assert_eq!(numbers(&y)?, numbers(&(flux * known)?)?);
    Ok(())
}

#[test]
fn what_means_nothing_does_not_leak() -> Result<()> {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let flux = Tensor::new(&[[1.0_f32, nan, 3.0, 4.0, inf, 6.0]], &Device::Cpu)?;
    let wavelength = Tensor::new(&[0.0_f32, 1.0, 2.0, 3.0, 4.0, 5.0], &Device::Cpu)?;
    let grid = Tensor::new(&[-0.1_f32, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.5, 5.0, 5.1, nan, inf], &Device::Cpu)?;
    // Zero, NaN and a negative number are no inverse variance.
    for none in [0.0, nan, -1.0] {
        let ivar = Tensor::new(&[[1.0_f32, none, 1.0, 1.0, none, 2.0]], &Device::Cpu)?;
        let at = |x: &Tensor| resample(Spectra { flux: x, ivar: &ivar, wavelength: &wavelength }, &grid);
        let (y, v) = at(&flux)?;
        assert_eq!(numbers(&y)?, [0.0, 1.0, 0.0, 0.0, 0.0, 3.0, 3.5, 0.0, 6.0, 0.0, 0.0, 0.0]);
        assert_eq!(numbers(&v)?, [0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 2.0, 0.0, 0.0, 0.0]);
        let (_, gradients) = run(std::slice::from_ref(&flux), |x| Ok(at(&x[0])?.0))?;
        let gradient = numbers(&gradients[0])?;
        assert!(gradient.iter().all(|g| g.is_finite()) && gradient[1] == 0.0 && gradient[4] == 0.0, "{gradient:?}");
    }
    Ok(())
}

#[test]
fn strided_and_broadcast_views_equal_plain_candle() -> Result<()> {
    // Halfway between samples: the mean of neighbours.
    let wavelength = Tensor::arange(0_f32, 9.0, &Device::Cpu)?;
    let grid = Tensor::arange(0.5_f32, 8.0, &Device::Cpu)?;
    let ours = |flux: &Tensor| {
        let ivar = Tensor::new(2_f32, &Device::Cpu)?.broadcast_as(flux.dims())?;
        Ok(resample(Spectra { flux, ivar: &ivar, wavelength: &wavelength }, &grid)?.0)
    };
    let plain = |flux: &Tensor| (flux.narrow(1, 0, 8)? + flux.narrow(1, 1, 8)?)? * 0.5;
    let view = |x: &Tensor| x.transpose(0, 1)?.narrow(1, 1, 9);
    assert_same(&[filled(&[11, 4], 1)?], |t| ours(&view(&t[0])?), |t| plain(&view(&t[0])?), 1e-6)?;
    let wide = |x: &Tensor| x.broadcast_as((3, 9));
    assert_same(&[filled(&[9], 1)?], |t| ours(&wide(&t[0])?), |t| plain(&wide(&t[0])?), 1e-6)
}

#[test]
fn tiny_and_large_numbers_survive() -> Result<()> {
    let flux = Tensor::new(&[[3e38_f32, 3e38], [1e-40, 1e-40]], &Device::Cpu)?;
    let ivar = Tensor::new(&[[1e-40_f32, 1e-40], [3e38, 3e38]], &Device::Cpu)?;
    let wavelength = Tensor::new(&[-3e38_f32, 3e38], &Device::Cpu)?;
    let grid = Tensor::new(&[0_f32], &Device::Cpu)?;
    let (y, v) = resample(Spectra { flux: &flux, ivar: &ivar, wavelength: &wavelength }, &grid)?;
    let (y, v) = (y.flatten_all()?.to_vec1::<f32>()?, v.flatten_all()?.to_vec1::<f32>()?);
    assert_eq!(y, [3e38, 1e-40]);
    // Twice the inverse variance of one, or the largest number.
    assert!((v[0] / 2e-40 - 1.0).abs() < 1e-4 && v[1] == f32::MAX, "{v:?}");
    Ok(())
}

#[test]
fn nothing_gives_nothing() -> Result<()> {
    for (rows, samples, points) in [(0, 3, 2), (2, 0, 3), (2, 3, 0)] {
        let (ivar, wavelength) = (weights(rows, samples)?, Tensor::arange(0_f32, samples as f32, &Device::Cpu)?);
        let grid = filled(&[points], 1)?;
        let (y, gradients) = run(&[filled(&[rows, samples], 1)?], |x| {
            Ok(resample(Spectra { flux: &x[0], ivar: &ivar, wavelength: &wavelength }, &grid)?.0)
        })?;
        assert_eq!((y.dims(), gradients[0].dims()), (&[rows, points][..], &[rows, samples][..]));
        assert!(numbers(&y)?.iter().chain(&numbers(&gradients[0])?).all(|x| *x == 0.0));
    }
    Ok(())
}

#[test]
fn threads_do_not_change_a_bit() -> Result<()> {
    let (ivar, wavelength) = (weights(301, 200)?, wavelengths(301, 200, 3)?);
    let grid = ((filled(&[333], 4)? + 1.0)? * 100.0)?;
    assert_same_on_any_threads(&[filled(&[301, 200], 1)?], |x| {
        let (y, v) = resample(Spectra { flux: &x[0], ivar: &ivar, wavelength: &wavelength }, &grid)?;
        Tensor::cat(&[y, v], 0)
    })
}

#[test]
fn what_is_wrong_is_named() -> Result<()> {
    let (flux, ivar, wavelength, grid) = (filled(&[2, 3], 1)?, weights(2, 3)?, wavelengths(2, 3, 1)?, filled(&[4], 1)?);
    let good = Spectra { flux: &flux, ivar: &ivar, wavelength: &wavelength };
    let of =
        |spectra: Spectra<'_>, grid: &Tensor| resample(spectra, grid).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(of(Spectra { ivar: &grid, ..good }, &grid).contains("`ivar` of the shape of `flux`, [2, 3], got [4]"));
    assert!(of(Spectra { wavelength: &grid, ..good }, &grid).contains("`wavelength` of shape [3] or [2, 3], got [4]"));
    assert!(of(good, &flux).contains("resample: expected `grid` of shape [points], got [2, 3]"));
    assert!(of(Spectra { flux: &grid, ..good }, &grid).contains("`flux` of shape [spectra, samples], got [4]"));
    assert!(of(good, &grid.to_dtype(DType::F64)?).contains("resample: expected `grid` in f32, got f64"));
    assert!(of(Spectra { ivar: Var::from_tensor(&ivar)?.as_tensor(), ..good }, &grid).contains("detach"));
    let falling = Tensor::new(&[[1_f32, 2.0, 3.0], [1.0, 3.0, 3.0]], &Device::Cpu)?;
    let message = of(Spectra { wavelength: &falling, ..good }, &grid);
    assert!(message.contains("expected ascending `wavelength`, got 3 after 3 at sample 2 of row 1"), "{message}");
    let unknown = Tensor::new(&[1_f32, f32::NAN, 3.0], &Device::Cpu)?;
    assert!(of(Spectra { wavelength: &unknown, ..good }, &grid).contains("at sample 1 of row 0"));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_shape_equals_a_plain_loop(rows in 1_usize..6, samples in 1_usize..60, points in 0_usize..60, seed in 0_u32..99) {
        let (flux, ivar) = (filled(&[rows, samples], seed).unwrap(), weights(rows, samples).unwrap());
        let wavelength = wavelengths(rows, samples, seed + 1).unwrap();
        let grid = ((filled(&[points], seed + 2).unwrap() + 1.0).unwrap() * (0.6 * samples as f64)).unwrap();
        let (y, v) = resample(Spectra { flux: &flux, ivar: &ivar, wavelength: &wavelength }, &grid).unwrap();
        let of = |t: &Tensor| numbers(t).unwrap();
        let expected = naive(&of(&flux), &of(&ivar), &of(&wavelength), &of(&grid), samples);
        assert_close("flux", &of(&y), &expected.0, 5e-5);
        assert_close("inverse variance", &of(&v), &expected.1, 5e-5);
    }
}
