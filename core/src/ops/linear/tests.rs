//! The linear map against a naive loop and finite differences.

use super::linear;
use crate::ops::check::{assert_like_twin, assert_same, assert_same_on_any_threads, filled};
use candle_core::{DType, Result, Tensor};

fn with_bias(t: &[Tensor]) -> Result<Tensor> {
    linear(&t[0], &t[1], Some(&t[2]))
}

fn naive(x: &[f64], w: &[f64], b: &[f64], inputs: usize) -> Vec<f64> {
    let outputs = w.len() / inputs;
    let mut y = Vec::new();
    for row in x.chunks(inputs) {
        for o in 0..outputs {
            let product: f64 = (0..inputs).map(|i| row[i] * w[o * inputs + i]).sum();
            y.push(product + b.get(o).copied().unwrap_or(0.0));
        }
    }
    y
}

#[test]
fn values_and_gradients_equal_a_plain_loop() -> Result<()> {
    for (rows, inputs, outputs) in [(1, 1, 1), (3, 5, 2), (127, 3, 33), (129, 17, 1), (2, 1, 40), (300, 4, 7)] {
        let inputs_of = |bias: bool| -> Result<Vec<Tensor>> {
            let mut t = vec![filled(&[rows, inputs], 1)?, filled(&[outputs, inputs], 2)?];
            if bias {
                t.push(filled(&[outputs], 3)?);
            }
            Ok(t)
        };
        assert_like_twin(&inputs_of(true)?, with_bias, |v| naive(&v[0], &v[1], &v[2], inputs), 2e-5)?;
        assert_like_twin(
            &inputs_of(false)?,
            |t| linear(&t[0], &t[1], None),
            |v| naive(&v[0], &v[1], &[], inputs),
            2e-5,
        )?;
    }
    Ok(())
}

#[test]
fn leading_axes_and_strided_views_equal_plain_candle() -> Result<()> {
    let inputs = [filled(&[4, 9, 6], 1)?, filled(&[5, 8], 2)?, filled(&[10], 3)?];
    let views = |t: &[Tensor]| -> Result<[Tensor; 3]> {
        Ok([t[0].transpose(0, 1)?.narrow(0, 2, 5)?.narrow(2, 1, 4)?, t[1].narrow(1, 3, 4)?, t[2].narrow(0, 5, 5)?])
    };
    let ours = |t: &[Tensor]| {
        let [x, w, b] = views(t)?;
        linear(&x, &w, Some(&b))
    };
    let plain = |t: &[Tensor]| {
        let [x, w, b] = views(t)?;
        x.contiguous()?.broadcast_matmul(&w.t()?)?.broadcast_add(&b)
    };
    assert_same(&inputs, ours, plain, 1e-5)
}

#[test]
fn threads_do_not_change_a_bit() -> Result<()> {
    assert_same_on_any_threads(&[filled(&[1031, 37], 1)?, filled(&[131, 37], 2)?, filled(&[131], 3)?], with_bias)
}

#[test]
fn no_rows_give_no_rows() -> Result<()> {
    let inputs = [filled(&[0, 3], 1)?, filled(&[2, 3], 2)?, filled(&[2], 3)?];
    let (y, gradients) = crate::ops::check::run(&inputs, with_bias)?;
    assert_eq!(y.dims(), [0, 2]);
    assert_eq!(gradients[1].to_vec2::<f32>()?, [[0.0; 3]; 2]);
    assert_eq!(gradients[2].to_vec1::<f32>()?, [0.0; 2]);
    Ok(())
}

#[test]
fn wrong_shapes_and_types_are_named() -> Result<()> {
    let (x, w) = (filled(&[2, 3], 1)?, filled(&[4, 5], 2)?);
    let message = |result: Result<Tensor>| result.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(message(linear(&x, &w, None)).contains("linear: expected `x` of shape [.., 5], got [2, 3]"));
    let w = filled(&[4, 3], 2)?;
    assert!(message(linear(&x, &w, Some(&filled(&[3], 1)?))).contains("linear: expected `b` of shape [4], got [3]"));
    let x = x.to_dtype(DType::F64)?;
    assert!(message(linear(&x, &w, None)).contains("linear: expected `x` in f32, got f64"));
    Ok(())
}
