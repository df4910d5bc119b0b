//! Scaled channels against a plain loop and finite differences.

use super::gate;
use crate::ops::check::{assert_like_twin, assert_same, assert_same_on_any_threads, filled};
use candle_core::Result;

#[test]
fn values_and_gradients_equal_a_plain_loop() -> Result<()> {
    for (batch, places, channels) in [(1, 1, 1), (2, 7, 5), (3, 130, 16), (2, 257, 129)] {
        let inputs = [filled(&[batch, places, channels], 1)?, filled(&[batch, channels], 2)?];
        let inputs = [inputs[0].clone(), inputs[1].clone(), filled(&[batch, places, channels], 3)?];
        let twin = |v: &[Vec<f64>]| {
            let of = |at: usize| at / (places * channels) * channels + at % channels;
            v[0].iter().enumerate().map(|(at, x)| x * v[1][of(at)] + v[2][at]).collect()
        };
        assert_like_twin(&inputs, |t| gate(&t[0], &t[1], &t[2]), twin, 1e-5)?;
    }
    Ok(())
}

#[test]
fn images_in_any_layout_equal_plain_candle() -> Result<()> {
    let inputs = [filled(&[2, 6, 5, 4], 1)?, filled(&[2, 6], 2)?, filled(&[2, 4, 5, 6], 3)?];
    assert_same(
        &inputs,
        |t| gate(&t[0].permute((0, 3, 2, 1))?, &t[1], &t[2]),
        |t| t[0].permute((0, 3, 2, 1))?.broadcast_mul(&t[1].reshape((2, 1, 1, 6))?)? + &t[2],
        1e-5,
    )
}

#[test]
fn threads_do_not_change_a_bit() -> Result<()> {
    let inputs = [filled(&[3, 700, 33], 1)?, filled(&[3, 33], 2)?, filled(&[3, 700, 33], 3)?];
    assert_same_on_any_threads(&inputs, |t| gate(&t[0], &t[1], &t[2]))
}

#[test]
fn what_does_not_fit_is_named() -> Result<()> {
    let error = gate(&filled(&[2, 3, 4], 1)?, &filled(&[2, 3], 1)?, &filled(&[2, 3, 4], 1)?).expect_err("refused");
    assert!(error.to_string().contains("expected `gates` of shape [2, 4]"), "{error}");
    Ok(())
}
