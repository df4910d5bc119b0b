//! Activations against their definitions and finite differences.

use super::cpu;
use super::{Activation, activation, gelu};
use crate::ops::check::{
    assert_close, assert_like_twin, assert_same, assert_same_on_any_threads, filled, numbers, run,
};
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

/// What `kind` is for a row.
fn plain(kind: Activation, row: &[f64]) -> Vec<f64> {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let tanh = |x: f64| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh());
    match kind {
        Activation::Gelu => row.iter().map(|&x| naive(x)).collect(),
        Activation::GeluTanh => row.iter().map(|&x| tanh(x)).collect(),
        Activation::Silu => row.iter().map(|&x| x * sigmoid(x)).collect(),
        Activation::Elu => row.iter().map(|&x| x.max(0.0) + x.min(0.0).exp_m1()).collect(),
        Activation::Relu => row.iter().map(|&x| x.max(0.0)).collect(),
        Activation::SwiGlu | Activation::GeGlu => {
            let (gate, up) = row.split_at(row.len() / 2);
            let single = if kind == Activation::SwiGlu { Activation::Silu } else { Activation::Gelu };
            plain(single, gate).iter().zip(up).map(|(a, b)| a * b).collect()
        }
    }
}

const KINDS: [Activation; 7] = [
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::Silu,
    Activation::Elu,
    Activation::Relu,
    Activation::SwiGlu,
    Activation::GeGlu,
];

#[test]
fn every_kind_equals_its_definition() -> Result<()> {
    for kind in KINDS {
        for (rows, width) in [(1, 2), (3, 30), (127, 4), (2, 258)] {
            let x = (filled(&[rows, width], 1)? * 6.0)?;
            let twin = |v: &[Vec<f64>]| v[0].chunks(width).flat_map(|row| plain(kind, row)).collect();
            assert_like_twin(&[x], |t| activation(kind, &t[0]), twin, 3e-6)?;
        }
    }
    Ok(())
}

#[test]
fn rows_with_a_bias_equal_bias_and_activation() -> Result<()> {
    for kind in KINDS {
        let (rows, inputs) = (5, 34);
        let outputs = kind.outputs(inputs);
        let (x, bias) = (filled(&[rows, inputs], 1)?, filled(&[inputs], 2)?);
        let dy = filled(&[rows, outputs], 99)?;
        let (y, gradients) = run(&[x.clone(), bias.clone()], |t| activation(kind, &t[0].broadcast_add(&t[1])?))?;
        let mut u = x.flatten_all()?.to_vec1::<f32>()?;
        let mut got = vec![0.0; rows * outputs];
        cpu::forward_rows(kind, inputs, &mut u, &bias.to_vec1::<f32>()?, &mut got);
        let as_f64 = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
        assert_close("value", &as_f64(&got), &numbers(&y)?, 1e-6);
        let (mut du, mut again, mut sums) = (vec![0.0; u.len()], vec![0.0; got.len()], vec![0.0; inputs]);
        let dy = dy.flatten_all()?.to_vec1::<f32>()?;
        cpu::backward_rows(kind, &u, &dy, &mut du, &mut again, &mut sums);
        assert_close("gradient", &as_f64(&du), &numbers(&gradients[0])?, 1e-6);
        assert_close("value again", &as_f64(&again), &numbers(&y)?, 1e-6);
        assert_close("gradient of the bias", &as_f64(&sums), &numbers(&gradients[1])?, 1e-5);
    }
    Ok(())
}

#[test]
fn large_values_have_slopes_of_zero_and_one() -> Result<()> {
    for kind in [Activation::Gelu, Activation::GeluTanh, Activation::Silu, Activation::Relu] {
        let x = Tensor::new(&[-1e30_f32, -1e4, 1e4, 1e30], &Device::Cpu)?;
        let var = candle_core::Var::from_tensor(&x)?;
        let y = activation(kind, var.as_tensor())?;
        assert_eq!(numbers(&y)?, numbers(&x.relu()?)?, "{kind:?}");
        let slopes = y.sum_all()?.backward()?;
        assert_eq!(slopes.get(&var).map(numbers).transpose()?, Some(vec![0.0, 0.0, 1.0, 1.0]), "{kind:?}");
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
fn elu_keeps_the_digits_of_small_values() -> Result<()> {
    let x = [-1e-6_f32, -3e-4, -0.2, -1.0, -20.0, -100.0];
    let y = numbers(&activation(Activation::Elu, &Tensor::new(&x, &Device::Cpu)?)?)?;
    for (x, y) in x.iter().zip(y) {
        let expected = f64::from(*x).exp_m1();
        assert!((y / expected - 1.0).abs() < 3e-7, "{x}: {y}, not {expected}");
    }
    Ok(())
}

#[test]
fn not_a_number_stays_visible() -> Result<()> {
    for kind in KINDS {
        let x = Tensor::new(&[f32::NAN, 1.0], &Device::Cpu)?;
        assert!(numbers(&activation(kind, &x)?)?[0].is_nan(), "{kind:?}");
    }
    Ok(())
}

#[test]
fn threads_do_not_change_a_bit() -> Result<()> {
    assert_same_on_any_threads(&[filled(&[70_001], 1)?], |t| gelu(&t[0]))
}

#[test]
fn another_type_is_named() -> Result<()> {
    let error = gelu(&filled(&[2], 1)?.to_dtype(DType::F64)?).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("activation: expected `x` in f32, got f64"), "{error}");
    Ok(())
}
