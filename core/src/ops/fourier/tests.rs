//! Waves of coordinates against the library, finite differences and plain candle.

use super::fourier;
use crate::ops::check::{
    assert_close, assert_like_twin, assert_same, assert_same_on_any_threads, filled, numbers, run,
};
use candle_core::{DType, Device, Result, Tensor, Var};
use proptest::prelude::*;

fn naive(x: &[f64], frequencies: &[f64]) -> Vec<f64> {
    let waves = |x: &f64| {
        let angles: Vec<f64> = frequencies.iter().map(|f| x * f).collect();
        angles.iter().map(|a| a.sin()).chain(angles.iter().map(|a| a.cos())).collect::<Vec<_>>()
    };
    x.iter().flat_map(waves).collect()
}

#[test]
fn values_and_gradients_equal_the_library() -> Result<()> {
    for (count, frequencies) in [(1, 1), (127, 3), (129, 16), (5, 129), (3, 127)] {
        let f = (filled(&[frequencies], 2)? * 3.0)?;
        let twice = numbers(&f)?;
        let x = (filled(&[count], 1)? * 2.0)?;
        assert_like_twin(&[x], |x| fourier(&x[0], &f), |v| naive(&v[0], &twice), 2e-6)?;
    }
    Ok(())
}

#[test]
fn strided_and_broadcast_views_equal_plain_candle() -> Result<()> {
    let f = filled(&[3, 5], 2)?.narrow(1, 2, 1)?.squeeze(1)?;
    let plain = |x: &Tensor| {
        let angles = x.contiguous()?.unsqueeze(1)?.matmul(&f.contiguous()?.unsqueeze(0)?)?;
        Tensor::cat(&[angles.sin()?, angles.cos()?], 1)
    };
    let view = |x: &Tensor| x.narrow(1, 1, 1)?.squeeze(1);
    assert_same(&[filled(&[7, 3], 1)?], |t| fourier(&view(&t[0])?, &f), |t| plain(&view(&t[0])?), 1e-6)?;
    let wide = |x: &Tensor| x.broadcast_as(6);
    assert_same(&[filled(&[1], 1)?], |t| fourier(&wide(&t[0])?, &f), |t| plain(&wide(&t[0])?), 1e-6)
}

#[test]
fn large_angles_are_those_of_the_product() -> Result<()> {
    let (x, f) = ([9.9e4_f32, -1e5, 1.1e5, -3e7, 1e20, 1e-40, 0.0], [0.1_f32, 1.0]);
    let waves = fourier(&Tensor::new(&x, &Device::Cpu)?, &Tensor::new(&f, &Device::Cpu)?)?.to_vec2::<f32>()?;
    for (x, waves) in x.iter().zip(waves) {
        let exact: Vec<(f64, f64)> = f.iter().map(|f| f64::from(x * f).sin_cos()).collect();
        let expected = [exact[0].0, exact[1].0, exact[0].1, exact[1].1];
        let waves: Vec<f64> = waves.into_iter().map(f64::from).collect();
        assert_close(&format!("{x}"), &waves, &expected, 1.2e-7);
    }
    Ok(())
}

#[test]
fn not_a_number_and_infinity_stay_visible_in_their_rows() -> Result<()> {
    let x = Tensor::new(&[f32::NAN, f32::INFINITY, 1.0], &Device::Cpu)?;
    for f in [1.0_f32, -2.0] {
        let waves = fourier(&x, &Tensor::new(&[f], &Device::Cpu)?)?.to_vec2::<f32>()?;
        assert!(waves[..2].iter().flatten().all(|w| w.is_nan()) && waves[2].iter().all(|w| w.is_finite()));
    }
    Ok(())
}

#[test]
fn nothing_gives_nothing() -> Result<()> {
    for (count, frequencies) in [(0, 3), (3, 0)] {
        let (waves, gradients) = run(&[filled(&[count], 1)?], |x| fourier(&x[0], &filled(&[frequencies], 1)?))?;
        assert_eq!(waves.dims(), [count, 2 * frequencies]);
        assert_eq!(numbers(&gradients[0])?, vec![0.0; count]);
    }
    Ok(())
}

#[test]
fn threads_do_not_change_a_bit() -> Result<()> {
    let f = (filled(&[33], 2)? * 100.0)?;
    assert_same_on_any_threads(&[filled(&[5003], 1)?], |x| fourier(&x[0], &f))
}

#[test]
fn what_is_wrong_is_named() -> Result<()> {
    let (x, f) = (filled(&[4], 1)?, filled(&[2], 1)?);
    let message = |result: Result<Tensor>| result.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(
        message(fourier(&x.unsqueeze(1)?, &f)).contains("fourier: expected `x` of shape [coordinates], got [4, 1]")
    );
    assert!(message(fourier(&x, &f.unsqueeze(0)?)).contains("`frequencies` of shape [frequencies], got [1, 2]"));
    assert!(message(fourier(&x.to_dtype(DType::F64)?, &f)).contains("fourier: expected `x` in f32, got f64"));
    assert!(message(fourier(&x, Var::from_tensor(&f)?.as_tensor())).contains("without a gradient"));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_angle_is_that_of_the_library(x in proptest::collection::vec(-1e3_f32..1e3, 0..60), f in proptest::collection::vec(-150_f32..150.0, 1..40)) {
        let of = |v: &[f32]| Tensor::from_slice(v, v.len(), &Device::Cpu).unwrap();
        let waves = numbers(&fourier(&of(&x), &of(&f)).unwrap()).unwrap();
        for (i, waves) in waves.chunks(2 * f.len()).enumerate() {
            for k in 0..f.len() {
                let (s, c) = f64::from(x[i] * f[k]).sin_cos();
                prop_assert!((waves[k] - s).abs() < 1.2e-7 && (waves[f.len() + k] - c).abs() < 1.2e-7);
            }
        }
    }
}
