//! AdamW against a plain loop in f64.

use super::{Factors, sum_of_squares, update};
use crate::ops::check::{filled, numbers};
use candle_core::{Device, Result, Tensor, Var};

#[test]
fn steps_equal_a_plain_loop() -> Result<()> {
    for count in [0, 1, 127, 129, 70_001] {
        let var = Var::from_tensor(&filled(&[count], 1)?)?;
        let mut plain: Vec<[f64; 3]> = numbers(var.as_tensor())?.into_iter().map(|p| [p, 0.0, 0.0]).collect();
        let (mut first, mut second) = (vec![0.0; count], vec![0.0; count]);
        let (betas, epsilon, rate, decay, clip) = ([0.9, 0.99], 1e-8, 1e-2, 0.1, 0.5);
        for step in 1..4 {
            let gradient = filled(&[count], 10 + step as u32)?.to_vec1::<f32>()?;
            let factors = Factors::new(step, betas, epsilon, rate, decay, clip);
            update(var.as_tensor(), Some(&gradient), (&mut first, &mut second), factors)?;
            for ([p, m, v], g) in plain.iter_mut().zip(&gradient) {
                let g = f64::from(*g) * clip;
                *m = betas[0] * *m + (1.0 - betas[0]) * g;
                *v = betas[1] * *v + (1.0 - betas[1]) * g * g;
                let (m, v) = (*m / (1.0 - betas[0].powi(step as i32)), *v / (1.0 - betas[1].powi(step as i32)));
                *p -= rate * decay * *p + rate * m / (v.sqrt() + epsilon);
            }
        }
        for (got, [expected, ..]) in numbers(var.as_tensor())?.iter().zip(&plain) {
            assert!((got - expected).abs() < 1e-6, "{got}, not {expected}");
        }
    }
    Ok(())
}

#[test]
fn no_gradient_counts_as_zero() -> Result<()> {
    let factors = Factors::new(1, [0.9, 0.99], 1e-8, 0.5, 0.1, 1.0);
    let step = |gradient: Option<&[f32]>| -> Result<Vec<f32>> {
        let var = Var::new(&[1.0_f32, -2.0], &Device::Cpu)?;
        update(var.as_tensor(), gradient, (&mut [0.5, 0.5], &mut [1.0, 1.0]), factors)?;
        var.to_vec1()
    };
    assert_eq!(step(None)?, step(Some(&[0.0, 0.0]))?);
    Ok(())
}

#[test]
fn squares_that_overflow_do_not() {
    assert!((sum_of_squares(&[1e30; 20]) / 2e61 - 1.0).abs() < 1e-6);
    assert!(sum_of_squares(&[f32::NAN]).is_nan());
}

#[test]
fn other_lengths_are_named() -> Result<()> {
    let factors = Factors::new(1, [0.9, 0.99], 1e-8, 0.5, 0.1, 1.0);
    let x = Tensor::zeros(3, candle_core::DType::F32, &Device::Cpu)?;
    let error = update(&x, Some(&[0.0; 2]), (&mut [0.0; 3], &mut [0.0; 3]), factors).err();
    let message = error.map(|e| e.to_string()).unwrap_or_default();
    assert!(message.contains("adamw: expected a gradient and moments of 3 numbers, got [2, 3, 3]"), "{message}");
    Ok(())
}
