//! Contrastive losses against plain loops over all pairs, in f64.

use super::{Form, Gradients, Number, Pairs, Pointer};
use crate::ops::gpu::testing::{Bench, assert_near, on_every_device, random, tolerance, wide};
use candle_core::Result;

const UPSTREAM: f64 = 3.0;

struct Expected {
    loss: f64,
    x: Vec<f64>,
    y: Vec<f64>,
    scale: f64,
    bias: f64,
}

fn expected(form: Form, x: &[f64], y: &[f64], width: usize, scale: f64, bias: f64) -> Expected {
    let n = x.len() / width;
    let dot = |i: usize, j: usize| (0..width).map(|c| x[i * width + c] * y[j * width + c]).sum::<f64>();
    let product: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| dot(i, j)).collect()).collect();
    let mut result = Expected { loss: 0.0, x: vec![0.0; x.len()], y: vec![0.0; y.len()], scale: 0.0, bias: 0.0 };
    let mut ds = vec![vec![0.0; n]; n];
    let count = n.max(1) as f64;
    for i in 0..n {
        match form {
            Form::InfoNce => {
                for by_row in [true, false] {
                    let s = |j: usize| scale * if by_row { product[i][j] } else { product[j][i] };
                    let largest = (0..n).map(s).fold(f64::NEG_INFINITY, f64::max);
                    let log_sum = largest + (0..n).map(|j| (s(j) - largest).exp()).sum::<f64>().ln();
                    result.loss += (log_sum - s(i)) / (2.0 * count);
                    for j in 0..n {
                        let g = ((s(j) - log_sum).exp() - if i == j { 1.0 } else { 0.0 }) / (2.0 * count);
                        if by_row { ds[i][j] += g } else { ds[j][i] += g }
                    }
                }
            }
            Form::Sigmoid => {
                for j in 0..n {
                    let z = if i == j { 1.0 } else { -1.0 };
                    let s = z * (scale * product[i][j] + bias);
                    result.loss += ((-s).max(0.0) + (-s.abs()).exp().ln_1p()) / count;
                    ds[i][j] = -z / (1.0 + s.exp()) / count;
                }
            }
        }
    }
    for i in 0..n {
        for j in 0..n {
            let g = UPSTREAM * ds[i][j];
            result.scale += g * product[i][j];
            result.bias += g;
            for c in 0..width {
                result.x[i * width + c] += g * scale * y[j * width + c];
                result.y[j * width + c] += g * scale * x[i * width + c];
            }
        }
    }
    result
}

fn check(bench: &Bench, form: Form, number: Number, [count, width]: [usize; 2], scale: f32) -> Result<()> {
    let (x, y) = (random(count * width, 1, number), random(count * width, 2, number));
    let bias = -1.5_f32;
    let expected = expected(form, &wide(&x), &wide(&y), width, scale.into(), bias.into());
    let pairs = Pairs {
        form,
        number,
        count,
        width,
        x: bench.numbers("x", &x, number)?,
        y: bench.numbers("y", &y, number)?,
        scale: bench.numbers("scale", &[scale], Number::F32)?,
        bias: bench.numbers("bias", &[bias], Number::F32)?,
    };
    let one = |name: &str| bench.out(name, 1, Number::F32);
    let (loss, dscale, dbias) = (one("loss")?, one("dscale")?, one("dbias")?);
    let (dx, dy) = (bench.out("dx", x.len(), number)?, bench.out("dy", y.len(), number)?);
    let statistics = bench.gpu().allocate("statistics", pairs.statistics_bytes())?;
    pairs.forward(bench.gpu(), loss.pointer(), statistics.pointer())?;
    let upstream = bench.numbers("upstream", &[UPSTREAM as f32], Number::F32)?;
    let bias = if form == Form::Sigmoid { dbias.pointer() } else { Pointer::NULL };
    let gradients = Gradients { x: dx.pointer(), y: dy.pointer(), scale: dscale.pointer(), bias };
    pairs.backward(bench.gpu(), statistics.pointer(), upstream, gradients)?;
    // Similarities have an error of 1e-6 of their size, and exponentials that of similarities.
    let error = 2e-5 + 1e-6 * f64::from(scale);
    let what = |name: &str| format!("{form:?} {number:?} {count} x {width} {name}");
    assert_near(bench, &what("loss"), &loss, &[expected.loss], error)?;
    let number_error = error.max(if number == Number::Bf16 { 2.0 * tolerance(number) } else { 0.0 });
    assert_near(bench, &what("dx"), &dx, &expected.x, number_error)?;
    assert_near(bench, &what("dy"), &dy, &expected.y, number_error)?;
    assert_near(bench, &what("dscale"), &dscale, &[expected.scale], error)?;
    if form == Form::Sigmoid {
        assert_near(bench, &what("dbias"), &dbias, &[expected.bias], error)?;
    }
    Ok(())
}

#[test]
fn losses_and_gradients_equal_plain_loops() -> Result<()> {
    on_every_device(|bench| {
        for number in [Number::F32, Number::Bf16] {
            for form in [Form::InfoNce, Form::Sigmoid] {
                for shape in [[0, 8], [1, 8], [65, 24], [129, 64], [5, 136]] {
                    check(bench, form, number, shape, 4.0)?;
                }
            }
        }
        Ok(())
    })
}

#[test]
fn large_similarities_stay_finite() -> Result<()> {
    on_every_device(|bench| {
        check(bench, Form::InfoNce, Number::Bf16, [20, 64], 2e3)?;
        check(bench, Form::Sigmoid, Number::Bf16, [20, 64], 2e3)
    })
}
