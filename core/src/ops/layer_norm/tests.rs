//! Layer norm against a naive loop and finite differences.

use super::{NormKind, layer_norm, norm};
use crate::ops::check::{assert_like_twin, assert_same, assert_same_on_any_threads, filled, numbers};
use candle_core::{D, DType, Device, Result, Tensor};

const EPS: f64 = 1e-5;

fn ours(t: &[Tensor]) -> Result<Tensor> {
    layer_norm(&t[0], &t[1], &t[2], EPS)
}

fn naive(v: &[Vec<f64>]) -> Vec<f64> {
    let width = v[1].len();
    let mut y = Vec::new();
    for row in v[0].chunks(width) {
        let mean = row.iter().sum::<f64>() / width as f64;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
        for i in 0..width {
            y.push((row[i] - mean) / (variance + EPS).sqrt() * v[1][i] + v[2][i]);
        }
    }
    y
}

#[test]
fn values_and_gradients_equal_a_plain_loop() -> Result<()> {
    for (rows, width) in [(1, 1), (1, 2), (5, 31), (3, 33), (127, 4), (129, 16), (2, 129)] {
        let inputs = [filled(&[rows, width], 1)?, filled(&[width], 2)?, filled(&[width], 3)?];
        assert_like_twin(&inputs, ours, naive, 1e-4)?;
    }
    Ok(())
}

#[test]
fn the_other_forms_equal_a_plain_loop() -> Result<()> {
    for kind in [NormKind::Layer, NormKind::Rms] {
        for (rows, width) in [(1, 1), (5, 31), (129, 16), (2, 129)] {
            let inputs = [filled(&[rows, width], 1)?, filled(&[width], 2)?];
            let plain = |v: &[Vec<f64>]| -> Vec<f64> {
                let rows = v[0].chunks(width).flat_map(|row| {
                    let mean = if kind == NormKind::Rms { 0.0 } else { row.iter().sum::<f64>() / width as f64 };
                    let square = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
                    row.iter().zip(&v[1]).map(move |(x, gamma)| (x - mean) / (square + EPS).sqrt() * gamma)
                });
                rows.collect()
            };
            assert_like_twin(&inputs, |t| norm(kind, &t[0], &t[1], None, EPS), plain, 1e-4)?;
        }
    }
    Ok(())
}

#[test]
fn strided_views_equal_plain_candle() -> Result<()> {
    let inputs = [filled(&[6, 4, 9], 1)?, filled(&[12], 2)?, filled(&[2, 6], 3)?];
    let views = |t: &[Tensor]| -> Result<[Tensor; 3]> {
        Ok([t[0].transpose(0, 2)?.narrow(0, 3, 4)?, t[1].narrow(0, 5, 6)?, t[2].narrow(0, 1, 1)?.squeeze(0)?])
    };
    let plain = |t: &[Tensor]| {
        let [x, gamma, beta] = views(t)?;
        let x = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let scale = (x.sqr()?.mean_keepdim(D::Minus1)? + EPS)?.sqrt()?;
        x.broadcast_div(&scale)?.broadcast_mul(&gamma)?.broadcast_add(&beta)
    };
    assert_same(&inputs, |t| ours(&views(t)?), plain, 2e-5)
}

#[test]
fn a_far_mean_and_large_values_keep_their_digits() -> Result<()> {
    // 4096 + {-1, 1}: exact in f32, variance 1.
    let x = Tensor::new(&[[4095.0_f32, 4097.0], [-1e15, 1e15]], &Device::Cpu)?;
    let (gamma, beta) = (Tensor::new(&[1.0_f32, 1.0], &Device::Cpu)?, Tensor::new(&[0.0_f32, 0.0], &Device::Cpu)?);
    let y = numbers(&layer_norm(&x, &gamma, &beta, EPS)?)?;
    for (y, expected) in y.iter().zip([-1.0, 1.0, -1.0, 1.0]) {
        assert!((y - expected).abs() < 1e-5, "{y}");
    }
    Ok(())
}

#[test]
fn threads_do_not_change_a_bit() -> Result<()> {
    assert_same_on_any_threads(&[filled(&[3001, 65], 1)?, filled(&[65], 2)?, filled(&[65], 3)?], ours)
}

#[test]
fn wrong_shapes_and_types_are_named() -> Result<()> {
    let (x, gamma, beta) = (filled(&[2, 3], 1)?, filled(&[3], 2)?, filled(&[4], 3)?);
    let message = |result: Result<Tensor>| result.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(
        message(layer_norm(&x, &gamma, &beta, EPS))
            .contains("layer_norm: expected `beta` of shape [3] for `x` of shape [2, 3], got [4]")
    );
    let x = x.to_dtype(DType::F16)?;
    assert!(message(layer_norm(&x, &gamma, &gamma, EPS)).contains("layer_norm: expected `x` in f32, got f16"));
    Ok(())
}
