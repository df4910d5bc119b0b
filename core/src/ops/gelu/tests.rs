//! GELU against its definition and finite differences.

use super::gelu;
use crate::ops::check::{assert_like_twin, assert_same, assert_same_on_any_threads, filled, numbers};
use candle_core::{DType, Device, Result, Tensor};

fn naive(x: f64) -> f64 {
    0.5 * x * (1.0 + candle_core::cpu::erf::erf_f64(x * std::f64::consts::FRAC_1_SQRT_2))
}

#[test]
fn values_and_gradients_equal_a_plain_loop() -> Result<()> {
    for n in [1, 15, 127, 129] {
        let x = (filled(&[n], 1)? * 4.0)?;
        assert_like_twin(&[x], |t| gelu(&t[0]), |v| v[0].iter().map(|&x| naive(x)).collect(), 2e-6)?;
    }
    Ok(())
}

#[test]
fn a_strided_view_equals_plain_candle() -> Result<()> {
    let view = |t: &Tensor| t.transpose(0, 1)?.narrow(0, 1, 3);
    assert_same(&[filled(&[7, 5], 1)?], |t| gelu(&view(&t[0])?), |t| view(&t[0])?.contiguous()?.gelu_erf(), 1e-6)
}

#[test]
fn large_values_stay_exact() -> Result<()> {
    let x = [-1e4_f32, -20.0, -6.0, -5.0, 0.0, 5.0, 6.0, 1e4, 3e30];
    let y = numbers(&gelu(&Tensor::new(&x, &Device::Cpu)?)?)?;
    assert_eq!((y[0], y[4], y[7], y[8]), (0.0, 0.0, 1e4, f64::from(3e30_f32)));
    // x Φ(x) with Φ(-6) = 9.865876450e-10 and Φ(-5) = 2.866515719e-7 (Abramowitz and Stegun, table 26).
    assert!((y[2] / (-6.0 * 9.865_876_450e-10) - 1.0).abs() < 5e-6, "{}", y[2]);
    assert!((y[3] / (-5.0 * 2.866_515_719e-7) - 1.0).abs() < 5e-6, "{}", y[3]);
    assert_eq!(y[6], 6.0);
    Ok(())
}

#[test]
fn not_a_number_stays_visible() -> Result<()> {
    assert!(numbers(&gelu(&Tensor::new(&[f32::NAN], &Device::Cpu)?)?)?[0].is_nan());
    Ok(())
}

#[test]
fn threads_do_not_change_a_bit() -> Result<()> {
    assert_same_on_any_threads(&[filled(&[70_001], 1)?], |t| gelu(&t[0]))
}

#[test]
fn another_type_is_named() -> Result<()> {
    let error = gelu(&filled(&[2], 1)?.to_dtype(DType::F64)?).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("gelu: expected `x` in f32, got f64"), "{error}");
    Ok(())
}
