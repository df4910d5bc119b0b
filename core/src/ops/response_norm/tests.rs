//! Global response normalisation against naive loops, finite differences and single operations.

use super::{composed, response_norm};
use crate::ops::check::{assert_like_twin, assert_same, assert_same_on_any_threads, filled, numbers, run};
use candle_core::{Device, Result, Tensor};

fn ours(t: &[Tensor]) -> Result<Tensor> {
    response_norm(&t[0], &t[1], &t[2])
}

fn inputs(shape: [usize; 3]) -> Result<[Tensor; 3]> {
    Ok([filled(&shape, 1)?, filled(&[shape[2]], 2)?, filled(&[shape[2]], 3)?])
}

fn naive([batch, length, channels]: [usize; 3], v: &[Vec<f64>]) -> Vec<f64> {
    let mut y = Vec::new();
    for x in v[0].chunks(length * channels).take(batch) {
        let norm = |c: usize| x.iter().skip(c).step_by(channels).map(|x| x * x).sum::<f64>().sqrt();
        let norms: Vec<f64> = (0..channels).map(norm).collect();
        let mean = norms.iter().sum::<f64>() / channels as f64 + 1e-6;
        y.extend(x.iter().enumerate().map(|(i, x)| {
            let c = i % channels;
            v[1][c] * x * norms[c] / mean + v[2][c] + x
        }));
    }
    y
}

#[test]
fn values_and_gradients_equal_a_plain_loop() -> Result<()> {
    for shape in [[1, 1, 1], [2, 1, 3], [1, 5, 1], [3, 7, 5], [2, 33, 64], [1, 17, 2100]] {
        assert_like_twin(&inputs(shape)?, ours, |v| naive(shape, v), 2e-4)?;
    }
    Ok(())
}

#[test]
fn single_operations_give_the_same() -> Result<()> {
    // 32,768 numbers are one piece: the last has several.
    for shape in [[1, 1, 1], [3, 7, 5], [2, 40_000, 3]] {
        assert_same(&inputs(shape)?, ours, |t| composed(&t[0], &t[1], &t[2]), 2e-4)?;
    }
    Ok(())
}

#[test]
fn channels_of_zeros_are_no_trouble() -> Result<()> {
    let zeros = Tensor::zeros((2, 3, 2), candle_core::DType::F32, &Device::Cpu)?;
    let one = Tensor::new(&[1.0_f32, 1.0], &Device::Cpu)?;
    for op in [response_norm, composed] {
        let (y, gradients) = run(&[zeros.clone(), one.clone(), one.clone()], |t| op(&t[0], &t[1], &t[2]))?;
        assert!(numbers(&y)?.iter().all(|y| *y == 1.0));
        assert!(numbers(&gradients[0])?.iter().all(|d| d.is_finite()));
    }
    Ok(())
}

#[test]
fn threads_do_not_change_a_bit() -> Result<()> {
    assert_same_on_any_threads(&inputs([3, 3000, 33])?, ours)
}

#[test]
fn wrong_shapes_are_named() -> Result<()> {
    let [x, gamma, beta] = inputs([2, 5, 3])?;
    let message = |result: Result<Tensor>| result.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(message(response_norm(&x, &filled(&[4], 1)?, &beta)).contains("`gamma` of shape [3]"));
    assert!(message(response_norm(&gamma, &gamma, &beta)).contains("[sequences, places, channels]"));
    Ok(())
}
