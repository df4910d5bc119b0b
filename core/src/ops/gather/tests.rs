//! Rows by number against naive loops, finite differences and plain candle.

use super::{gather, scatter};
use crate::ops::check::{assert_like_twin, assert_same, assert_same_on_any_threads, filled, numbers, run};
use candle_core::{DType, Device, Result, Tensor};
use proptest::prelude::*;

/// `count` numbers below `below` with many repeats.
fn some_rows(count: usize, below: usize) -> Result<Tensor> {
    let rows: Vec<u32> = (0..count).map(|i| (i * i % 7 * 5 % below) as u32).collect();
    Tensor::from_vec(rows, count, &Device::Cpu)
}

fn naive_gather(x: &[f64], rows: &[u32], width: usize) -> Vec<f64> {
    rows.iter().flat_map(|&row| x[row as usize * width..][..width].to_vec()).collect()
}

fn naive_scatter(x: &[f64], rows: &[u32], width: usize, count: usize) -> Vec<f64> {
    let mut y = vec![0.0; count * width];
    for (k, &row) in rows.iter().enumerate() {
        for d in 0..width {
            y[row as usize * width + d] += x[k * width + d];
        }
    }
    y
}

#[test]
fn values_and_gradients_equal_a_plain_loop() -> Result<()> {
    for (m, k, width) in [(1, 1, 1), (5, 127, 3), (129, 129, 1), (3, 0, 4), (127, 2, 129), (40, 6, 0)] {
        let rows = some_rows(k, m)?;
        let numbers = rows.to_vec1::<u32>()?;
        let x = filled(&[m, width], 1)?;
        assert_like_twin(&[x], |x| gather(&x[0], &rows), |v| naive_gather(&v[0], &numbers, width), 1e-5)?;
        let x = filled(&[k, width], 2)?;
        let twin = |v: &[Vec<f64>]| naive_scatter(&v[0], &numbers, width, m);
        assert_like_twin(&[x], |x| scatter(&x[0], &rows, m), twin, 1e-5)?;
    }
    Ok(())
}

#[test]
fn views_of_more_axes_equal_plain_candle() -> Result<()> {
    let rows = some_rows(9, 4)?;
    let view = |x: &Tensor| x.transpose(0, 2)?.narrow(0, 1, 4);
    let plain = |x: &Tensor| x.contiguous()?.index_select(&rows, 0);
    assert_same(&[filled(&[3, 2, 6], 1)?], |t| gather(&view(&t[0])?, &rows), |t| plain(&view(&t[0])?), 1e-6)?;
    let wide = |x: &Tensor| x.broadcast_as((4, 3, 2));
    assert_same(&[filled(&[3, 2], 1)?], |t| gather(&wide(&t[0])?, &rows), |t| plain(&wide(&t[0])?), 1e-6)?;
    let put = |x: &Tensor| Tensor::zeros((4, 3, 2), DType::F32, x.device())?.index_add(&rows, x, 0);
    let view = |x: &Tensor| x.transpose(0, 1);
    let plain = |x: &Tensor| put(&view(x)?.contiguous()?);
    assert_same(&[filled(&[3, 9, 2], 1)?], |t| scatter(&view(&t[0])?, &rows, 4), |t| plain(&t[0]), 1e-5)
}

#[test]
fn every_value_arrives_to_the_last_bit() -> Result<()> {
    let values = [f32::NAN, f32::INFINITY, 1e-40, -0.0];
    let x = Tensor::new(&values, &Device::Cpu)?;
    let y = gather(&x, &Tensor::new(&[3_u32, 2, 1, 0], &Device::Cpu)?)?.to_vec1::<f32>()?;
    let reversed: Vec<u32> = values.iter().rev().map(|x| x.to_bits()).collect();
    assert_eq!(y.iter().map(|y| y.to_bits()).collect::<Vec<_>>(), reversed);
    Ok(())
}

#[test]
fn nothing_put_anywhere_is_zeros() -> Result<()> {
    let (y, gradients) = run(&[filled(&[0, 3], 1)?], |x| scatter(&x[0], &some_rows(0, 1)?, 2))?;
    assert_eq!((y.to_vec2::<f32>()?, gradients[0].dims()), (vec![vec![0.0; 3]; 2], &[0, 3][..]));
    assert_eq!(scatter(&filled(&[0, 3], 1)?, &some_rows(0, 1)?, 0)?.dims(), [0, 3]);
    Ok(())
}

#[test]
fn threads_do_not_change_a_bit() -> Result<()> {
    let rows: Vec<u32> = (0..40_000_u32).map(|i| i.wrapping_mul(2_654_435_761) % 301).collect();
    let rows = Tensor::from_vec(rows, 40_000, &Device::Cpu)?;
    assert_same_on_any_threads(&[filled(&[301, 65], 1)?], |x| gather(&x[0], &rows))?;
    assert_same_on_any_threads(&[filled(&[40_000, 3], 1)?], |x| scatter(&x[0], &rows, 20_000))
}

#[test]
fn what_is_wrong_is_named() -> Result<()> {
    let (x, rows) = (filled(&[2, 3], 1)?, Tensor::new(&[0_u32, 2], &Device::Cpu)?);
    let message = |result: Result<Tensor>| result.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(message(gather(&x, &rows)).contains("gather: row 2 at place 1 of `rows` is out of range for 2 rows"));
    assert!(message(scatter(&x, &rows, 1)).contains("scatter: row 2 at place 1 of `rows` is out of range for 1 rows"));
    assert!(message(scatter(&filled(&[3, 3], 1)?, &rows, 9)).contains("expected `rows` of shape [3], got [2]"));
    assert!(message(gather(&x, &x)).contains("gather: expected `rows` in u32, got f32"));
    assert!(message(gather(&x, &rows.unsqueeze(0)?)).contains("expected `rows` of shape [rows], got [1, 2]"));
    assert!(message(gather(&x.to_dtype(DType::F64)?, &rows)).contains("gather: expected `x` in f32, got f64"));
    assert!(message(gather(&x.sum_all()?, &rows)).contains("expected `x` of shape [rows, ..], got a scalar"));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_rows_equal_a_plain_loop(rows in proptest::collection::vec(0_u32..30, 0..200), width in 0_usize..40) {
        let index = Tensor::from_slice(&rows, rows.len(), &Device::Cpu).unwrap();
        let x = filled(&[30, width], 1).unwrap();
        let taken = gather(&x, &index).unwrap();
        prop_assert_eq!(numbers(&taken).unwrap(), naive_gather(&numbers(&x).unwrap(), &rows, width));
        let put = numbers(&scatter(&taken, &index, 30).unwrap()).unwrap();
        let expected = naive_scatter(&numbers(&taken).unwrap(), &rows, width, 30);
        prop_assert!(put.iter().zip(&expected).all(|(p, e)| (p - e).abs() < 1e-4));
    }
}
