//! Depthwise convolution against naive loops, finite differences and single operations.

use super::{composed, depthwise};
use crate::ops::check::{assert_like_twin, assert_same, assert_same_on_any_threads, filled};
use candle_core::{Result, Tensor};

fn ours(t: &[Tensor]) -> Result<Tensor> {
    depthwise(&t[0], &t[1], &t[2])
}

fn inputs(shape: [usize; 3], kernel: usize) -> Result<[Tensor; 3]> {
    let channels = shape[2];
    Ok([filled(&shape, 1)?, filled(&[channels, kernel], 2)?, filled(&[channels], 3)?])
}

fn naive([batch, length, channels]: [usize; 3], kernel: usize, v: &[Vec<f64>]) -> Vec<f64> {
    let mut y = vec![0.0; batch * length * channels];
    for (i, y) in y.iter_mut().enumerate() {
        let (b, t, c) = (i / channels / length, i / channels % length, i % channels);
        *y = v[2][c];
        for k in 0..kernel {
            let s = (t + k) as isize - (kernel / 2) as isize;
            if (0..length as isize).contains(&s) {
                *y += v[1][c * kernel + k] * v[0][(b * length + s as usize) * channels + c];
            }
        }
    }
    y
}

/// Pieces hold 1024 numbers, tasks 8 or 64 pieces: some sequences are longer.
const SHAPES: [([usize; 3], usize); 9] = [
    ([1, 1, 1], 1),
    ([2, 1, 3], 7),
    ([1, 3, 2], 7),
    ([2, 9, 1], 3),
    ([3, 7, 5], 7),
    ([1, 2100, 1], 7),
    ([2, 70, 32], 7),
    ([1, 3, 1030], 5),
    ([1, 40, 300], 7),
];

#[test]
fn values_and_gradients_equal_a_plain_loop() -> Result<()> {
    for (shape, kernel) in SHAPES {
        assert_like_twin(&inputs(shape, kernel)?, ours, |v| naive(shape, kernel, v), 1e-4)?;
    }
    Ok(())
}

#[test]
fn single_operations_give_the_same() -> Result<()> {
    for (shape, kernel) in SHAPES.into_iter().chain([([2, 5000, 3], 7)]) {
        let plain = |t: &[Tensor]| composed(&t[0], &t[1], &t[2], kernel);
        assert_same(&inputs(shape, kernel)?, ours, plain, 1e-4)?;
    }
    Ok(())
}

#[test]
fn strided_views_give_the_same() -> Result<()> {
    let inputs = [filled(&[2, 6, 9], 1)?, filled(&[3, 6], 2)?, filled(&[12], 3)?];
    let view = |t: &[Tensor]| -> Result<[Tensor; 3]> {
        Ok([t[0].transpose(1, 2)?.narrow(2, 0, 6)?, t[1].t()?, t[2].narrow(0, 4, 6)?])
    };
    assert_same(
        &inputs,
        |t| ours(&view(t)?),
        |t| {
            let [x, weight, bias] = view(t)?;
            composed(&x.contiguous()?, &weight, &bias, 3)
        },
        1e-5,
    )
}

#[test]
fn threads_do_not_change_a_bit() -> Result<()> {
    assert_same_on_any_threads(&inputs([3, 3000, 33], 7)?, ours)
}

#[test]
fn wrong_shapes_are_named() -> Result<()> {
    let [x, weight, bias] = inputs([2, 5, 3], 7)?;
    let message = |result: Result<Tensor>| result.err().map(|e| e.to_string()).unwrap_or_default();
    let even = filled(&[3, 6], 1)?;
    let said = message(depthwise(&x, &even, &bias));
    assert!(said.contains("`weight` of shape [3, odd kernel]") && said.contains("[3, 6]"), "{said}");
    assert!(message(depthwise(&x, &weight, &filled(&[4], 1)?)).contains("`bias` of shape [3]"));
    assert!(message(depthwise(&bias, &weight, &bias)).contains("[sequences, places, channels]"));
    Ok(())
}
