//! Activation kernels against a plain loop in f64, and the exact GELU against the CPU op.

use super::{Activation, Number, Pointer, Rows, bias_gradient};
use crate::ops::gpu::testing::{Bench, assert_near, on_every_device, random, rounded, tolerance, wide};
use candle_core::{Device, Result, Tensor};

/// Φ by its series around 0 and its continued fraction in the tails.
fn normal_cdf(x: f64) -> f64 {
    let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if x.abs() < 4.0 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= x * x / f64::from(2 * n + 1);
            sum += term;
        }
        return 0.5 + density * sum;
    }
    let mut fraction = 0.0;
    for n in (1..100).rev() {
        fraction = f64::from(n) / (x.abs() + fraction);
    }
    let tail = density / (x.abs() + fraction);
    if x < 0.0 { tail } else { 1.0 - tail }
}

fn value(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Gelu => x * normal_cdf(x),
        Activation::GeluTanh => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        }
        Activation::GeGlu => value(Activation::Gelu, x),
        Activation::Silu | Activation::SwiGlu => x / (1.0 + (-x).exp()),
        Activation::Elu => x.max(0.0) + x.min(0.0).exp_m1(),
        Activation::Relu => x.max(0.0),
    }
}

/// By central difference: exact to 1e-9; of the edge at 0 the side that the kernel takes.
fn slope(activation: Activation, x: f64) -> f64 {
    if activation == Activation::Relu {
        return f64::from(u8::from(x > 0.0));
    }
    let step = 1e-5 * (1.0 + x.abs());
    (value(activation, x + step) - value(activation, x - step)) / (2.0 * step)
}

fn check(bench: &Bench, activation: Activation, number: Number, [rows, width]: [usize; 2], biased: bool) -> Result<()> {
    let halves = activation.halves();
    let x: Vec<f32> = random(rows * width * halves, 1, number).iter().map(|x| x * 6.0).collect();
    let mut x = rounded(&x, number);
    // Huge values of either sign, where only the sign matters.
    for (x, huge) in x.iter_mut().zip([1e4, -1e4, 1e15, -1e15, 0.0]) {
        *x = rounded(&[huge], number)[0];
    }
    let bias = random(width * halves, 2, number);
    let dy = random(rows * width, 3, number);
    let arrays = Rows {
        number,
        rows,
        width,
        x: bench.numbers("x", &x, number)?,
        bias: if biased { bench.numbers("bias", &bias, number)? } else { Pointer::NULL },
    };
    let y = bench.out("y", rows * width, number)?;
    let (dx, dbias) = (bench.out("dx", x.len(), number)?, bench.out("dbias", bias.len(), number)?);
    arrays.forward(bench.gpu(), activation, y.pointer())?;
    let upstream = bench.numbers("dy", &dy, number)?;
    arrays.backward(bench.gpu(), activation, upstream, [dx.pointer(), dbias.pointer()])?;

    let (mut expected_y, mut expected_dx) = (vec![0.0; rows * width], vec![0.0; x.len()]);
    let mut expected_dbias = vec![0.0; bias.len()];
    // As the kernel adds: in f32.
    let sum = |row: usize, column: usize| -> f64 {
        let shift = if biased { bias[column] } else { 0.0 };
        f64::from(x[row * width * halves + column] + shift)
    };
    for row in 0..rows {
        for column in 0..width {
            let (at, gradient) = (row * width + column, f64::from(dy[row * width + column]));
            let gate = sum(row, column);
            let mut pairs = vec![(column, gradient * slope(activation, gate))];
            expected_y[at] = value(activation, gate);
            if halves == 2 {
                let other = sum(row, width + column);
                pairs = vec![
                    (column, gradient * other * slope(activation, gate)),
                    (width + column, gradient * value(activation, gate)),
                ];
                expected_y[at] *= other;
            }
            for (column, gradient) in pairs {
                expected_dx[row * width * halves + column] = gradient;
                expected_dbias[column] += gradient;
            }
        }
    }
    let what = |name: &str| format!("{activation:?} {number:?} {rows} x {width} {name}");
    assert_near(bench, &what("y"), &y, &expected_y, tolerance(number))?;
    assert_near(bench, &what("dx"), &dx, &expected_dx, tolerance(number))?;
    let sums = tolerance(number) * (rows as f64).sqrt().max(1.0);
    if halves == 1 {
        // With two halves, huge values leave no digits in the sum.
        assert_near(bench, &what("dbias"), &dbias, &expected_dbias, sums)?;
    }
    Ok(())
}

const ALL: [Activation; 7] = [
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::Silu,
    Activation::Elu,
    Activation::Relu,
    Activation::SwiGlu,
    Activation::GeGlu,
];

#[test]
fn values_and_gradients_equal_a_plain_loop() -> Result<()> {
    on_every_device(|bench| {
        for number in [Number::F32, Number::Bf16] {
            for activation in ALL {
                for (shape, biased) in
                    [([0, 5], true), ([1, 1], true), ([3, 127], false), ([129, 40], true), ([2, 129], true)]
                {
                    check(bench, activation, number, shape, biased)?;
                }
            }
        }
        Ok(())
    })
}

#[test]
fn both_biases_of_a_gate_are_summed() -> Result<()> {
    on_every_device(|bench| {
        let (rows, width) = (70, 9);
        let x = random(rows * 2 * width, 1, Number::F32);
        let arrays =
            Rows { number: Number::F32, rows, width, x: bench.numbers("x", &x, Number::F32)?, bias: Pointer::NULL };
        let (dx, dbias) = (bench.out("dx", x.len(), Number::F32)?, bench.out("dbias", 2 * width, Number::F32)?);
        let dy = bench.numbers("dy", &vec![1.0; rows * width], Number::F32)?;
        arrays.backward(bench.gpu(), Activation::SwiGlu, dy, [dx.pointer(), dbias.pointer()])?;
        let mut expected = vec![0.0; 2 * width];
        dx.numbers()?.chunks(2 * width).for_each(|row| row.iter().zip(&mut expected).for_each(|(x, sum)| *sum += x));
        assert_near(bench, "dbias", &dbias, &expected, 1e-5)
    })
}

#[test]
fn gelu_equals_the_cpu() -> Result<()> {
    let x: Vec<f32> = (0..2000).map(|i| (i as f32 - 1000.0) / 100.0).collect();
    let expected = crate::ops::gelu(&Tensor::from_slice(&x, x.len(), &Device::Cpu)?)?.to_vec1::<f32>()?;
    on_every_device(|bench| {
        let pointer = bench.numbers("x", &x, Number::F32)?;
        let arrays = Rows { number: Number::F32, rows: 1, width: x.len(), x: pointer, bias: Pointer::NULL };
        let y = bench.out("y", x.len(), Number::F32)?;
        arrays.forward(bench.gpu(), Activation::Gelu, y.pointer())?;
        for (got, expected) in y.numbers()?.iter().zip(wide(&expected)) {
            // Relative, also in the left tail, where the argument of the exponential rounds.
            assert!((got - expected).abs() <= 1e-5 * expected.abs() + 1e-30, "{got}, not {expected}");
        }
        Ok(())
    })
}

#[test]
fn residuals_are_added_and_biases_have_their_gradient() -> Result<()> {
    on_every_device(|bench| {
        for number in [Number::F32, Number::Bf16] {
            for (rows, width) in [(0, 3), (1, 1), (130, 127), (5, 64)] {
                let (x, bias) = (random(rows * width, 1, number), random(width, 2, number));
                let residual = random(rows * width, 3, number);
                let arrays = Rows {
                    number,
                    rows,
                    width,
                    x: bench.numbers("x", &x, number)?,
                    bias: bench.numbers("bias", &bias, number)?,
                };
                let (y, dbias) = (bench.out("y", rows * width, number)?, bench.out("dbias", width, number)?);
                arrays.add_residual(bench.gpu(), bench.numbers("residual", &residual, number)?, y.pointer())?;
                bias_gradient(bench.gpu(), number, [rows, width], arrays.x, dbias.pointer())?;
                let mut sums = vec![0.0; width];
                let mut expected = Vec::new();
                for (i, (x, residual)) in wide(&x).iter().zip(wide(&residual)).enumerate() {
                    expected.push(residual + x + f64::from(bias[i % width]));
                    sums[i % width] += x;
                }
                assert_near(bench, "y", &y, &expected, tolerance(number))?;
                // Without a stream, and in place: how a linear map adds its bias.
                let own = bench.filled("in place", &x, number)?;
                Rows { x: own.pointer(), ..arrays }.add_residual(bench.gpu(), Pointer::NULL, own.pointer())?;
                let biased: Vec<f64> =
                    wide(&x).iter().enumerate().map(|(i, x)| x + f64::from(bias[i % width])).collect();
                assert_near(bench, "in place", &own, &biased, tolerance(number))?;
                assert_near(bench, "dbias", &dbias, &sums, tolerance(number) * 2.0)?;
            }
        }
        Ok(())
    })
}
