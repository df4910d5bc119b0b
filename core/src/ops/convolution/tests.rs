//! Convolutions against their definition, candle's, and central differences.

use super::{Window, convolution, elsewhere, transposed_convolution};
use crate::ops::Gradients;
use crate::ops::check::{assert_close, assert_like_twin, assert_same_on_any_threads, filled, numbers, run};
use crate::{Decay, Init, Parameters};
use candle_core::{DType, Device, Result, Tensor};

/// Batch, lines, columns, channels in and out, lines and columns of the kernel, stride, padding.
const SHAPES: &[[usize; 9]] = &[
    [2, 5, 7, 3, 4, 3, 3, 1, 1],
    [1, 6, 5, 2, 3, 4, 4, 2, 1],
    [2, 4, 4, 5, 2, 1, 1, 1, 0],
    [1, 7, 6, 1, 2, 3, 3, 2, 1],
    [1, 5, 4, 2, 2, 7, 7, 1, 3],
    [1, 8, 9, 2, 1, 2, 3, 3, 0],
    // A kernel smaller than the stride: some pixels are never seen.
    [2, 5, 5, 2, 3, 1, 1, 2, 0],
    [1, 3, 2, 2, 3, 5, 2, 1, 4],
];

struct Case {
    x: Tensor,
    w: Tensor,
    b: Tensor,
    window: Window,
}

fn case(shape: [usize; 9], transposed: bool) -> Result<Case> {
    let [batch, height, width, inputs, outputs, lines, columns, stride, padding] = shape;
    let kernel = if transposed { [inputs, lines, columns, outputs] } else { [outputs, lines, columns, inputs] };
    Ok(Case {
        x: filled(&[batch, height, width, inputs], 1)?,
        w: filled(&kernel, 2)?,
        b: filled(&[outputs], 3)?,
        window: Window { stride, padding },
    })
}

/// The sum of the definition, by scattering or gathering each product.
fn twin(case: &Case, transposed: bool, values: &[Vec<f64>]) -> Vec<f64> {
    let (x, w, b) = (&values[0], &values[1], &values[2]);
    let &[batch, height, width, inputs] = case.x.dims() else { unreachable!() };
    let &[_, lines, columns, _] = case.w.dims() else { unreachable!() };
    let (outputs, Window { stride, padding }) = (b.len(), case.window);
    let size = |own: usize, kernel: usize| {
        if transposed { (own - 1) * stride + kernel - 2 * padding } else { (own + 2 * padding - kernel) / stride + 1 }
    };
    let (out_height, out_width) = (size(height, lines), size(width, columns));
    let mut y: Vec<f64> = (0..batch * out_height * out_width).flat_map(|_| b.iter().copied()).collect();
    let inside = |at: usize, size: usize| at.checked_sub(padding).filter(|at| *at < size);
    for image in 0..batch {
        for (i, j) in (0..if transposed { height } else { out_height })
            .flat_map(|i| (0..if transposed { width } else { out_width }).map(move |j| (i, j)))
        {
            for (k, l) in (0..lines).flat_map(|k| (0..columns).map(move |l| (k, l))) {
                let (large_height, large_width) = if transposed { (out_height, out_width) } else { (height, width) };
                let (Some(u), Some(v)) = (inside(i * stride + k, large_height), inside(j * stride + l, large_width))
                else {
                    continue;
                };
                for (c, o) in (0..inputs).flat_map(|c| (0..outputs).map(move |o| (c, o))) {
                    let (x_at, y_at, w_at) = if transposed {
                        ((i, j, height, width), (u, v), ((c * lines + k) * columns + l) * outputs + o)
                    } else {
                        ((u, v, height, width), (i, j), ((o * lines + k) * columns + l) * inputs + c)
                    };
                    let x_at = ((image * x_at.2 + x_at.0) * x_at.3 + x_at.1) * inputs + c;
                    let y_at = ((image * out_height + y_at.0) * out_width + y_at.1) * outputs + o;
                    y[y_at] += x[x_at] * w[w_at];
                }
            }
        }
    }
    y
}

#[test]
fn convolutions_equal_their_definition_with_gradients() -> Result<()> {
    for shape in SHAPES {
        for transposed in [false, true] {
            let [_, height, width, .., lines, columns, stride, padding] = *shape;
            if transposed
                && ((height - 1) * stride + lines <= 2 * padding || (width - 1) * stride + columns <= 2 * padding)
            {
                continue;
            }
            let case = case(*shape, transposed)?;
            let op = |t: &[Tensor]| {
                if transposed {
                    transposed_convolution(&t[0], &t[1], Some(&t[2]), case.window)
                } else {
                    convolution(&t[0], &t[1], Some(&t[2]), case.window)
                }
            };
            let inputs = [case.x.clone(), case.w.clone(), case.b.clone()];
            assert_like_twin(&inputs, op, |values| twin(&case, transposed, values), 1e-5)?;
        }
    }
    Ok(())
}

#[test]
fn other_devices_get_the_same_from_candle() -> Result<()> {
    for shape in SHAPES.iter().take(5) {
        for transposed in [false, true] {
            let Case { x, w, b, window } = case(*shape, transposed)?;
            let own = if transposed {
                transposed_convolution(&x, &w, Some(&b), window)?
            } else {
                convolution(&x, &w, Some(&b), window)?
            };
            let candle = elsewhere::apply(&x, &w, Some(&b), window, transposed)?;
            assert_eq!(own.dims(), candle.dims(), "{shape:?}");
            assert_close("value", &numbers(&own)?, &numbers(&candle)?, 1e-5);
        }
    }
    Ok(())
}

#[test]
fn large_images_go_through_many_tasks() -> Result<()> {
    // More places than one task has, more columns than one product takes, for each way.
    let window = Window { stride: 1, padding: 1 };
    let (x, w) = (filled(&[2, 40, 37, 24], 1)?, filled(&[20, 7, 7, 24], 2)?);
    let own = convolution(&x, &w, None, window)?;
    let candle = elsewhere::apply(&x, &w, None, window, false)?;
    assert_close("value", &numbers(&own)?, &numbers(&candle)?, 1e-4);
    let gradients = run(&[x.clone(), w.clone()], |t| convolution(&t[0], &t[1], None, window))?.1;
    let expected = run(&[x, w], |t| elsewhere::apply(&t[0], &t[1], None, window, false))?.1;
    for (own, expected) in gradients.iter().zip(&expected) {
        assert_close("gradient", &numbers(own)?, &numbers(expected)?, 1e-4);
    }
    Ok(())
}

#[test]
fn threads_and_strides_change_nothing() -> Result<()> {
    let inputs = [filled(&[2, 30, 31, 6], 1)?, filled(&[5, 4, 4, 6], 2)?, filled(&[5], 3)?];
    let window = Window { stride: 2, padding: 1 };
    assert_same_on_any_threads(&inputs, |t| convolution(&t[0], &t[1], Some(&t[2]), window))?;
    let back = filled(&[5, 4, 4, 9], 4)?;
    let x = filled(&[2, 15, 16, 5], 5)?;
    assert_same_on_any_threads(&[x.clone(), back.clone()], |t| transposed_convolution(&t[0], &t[1], None, window))?;
    let turned = x.permute((0, 2, 1, 3))?;
    let (own, copied) = (
        transposed_convolution(&turned, &back, None, window)?,
        transposed_convolution(&turned.contiguous()?, &back, None, window)?,
    );
    assert_eq!(numbers(&own)?, numbers(&copied)?);
    Ok(())
}

#[test]
fn gradients_add_up_in_the_parameters() -> crate::Result<()> {
    let p = Parameters::new(1, &Device::Cpu);
    let w = p.get("w", &[3, 3, 3, 2], Init::fan_in(18), Decay::Yes)?;
    let b = p.get("b", &[3], Init::Ones, Decay::No)?;
    let x = filled(&[1, 6, 6, 2], 1)?;
    let loss =
        || -> Result<Tensor> { convolution(&x, &w, Some(&b), Window { stride: 1, padding: 1 })?.sqr()?.sum_all() };
    let store = loss()?.backward()?;
    let mut gradients = Gradients::new(&p.all())?;
    for _ in 0..2 {
        gradients.backward(&loss()?)?;
    }
    for parameter in [&w, &b] {
        let expected = (store.get(parameter).expect("a gradient") * 2.0)?;
        let got = gradients.tensor(parameter)?.expect("a gradient");
        assert_close("gradient", &numbers(&got)?, &numbers(&expected)?, 1e-5);
    }
    Ok(())
}

#[test]
fn what_does_not_fit_is_named() -> Result<()> {
    let window = Window { stride: 1, padding: 0 };
    let refused = |x: &[usize], w: &[usize], window| {
        let (x, w) = (Tensor::zeros(x, DType::F32, &Device::Cpu)?, Tensor::zeros(w, DType::F32, &Device::Cpu)?);
        Ok::<_, candle_core::Error>(convolution(&x, &w, None, window).expect_err("refused").to_string())
    };
    assert!(refused(&[1, 4, 4, 2], &[3, 3, 3, 5], window)?.contains("expected `x` with 5 channels"));
    assert!(refused(&[1, 4, 4, 2], &[3, 5, 5, 2], window)?.contains("leaves nothing"));
    assert!(refused(&[4, 4, 2], &[3, 3, 3, 2], window)?.contains("4 axes"));
    assert!(refused(&[1, 4, 4, 2], &[3, 3, 3, 2], Window { stride: 0, padding: 0 })?.contains("stride"));
    let (x, w, b) = (filled(&[1, 4, 4, 2], 1)?, filled(&[3, 3, 3, 2], 2)?, filled(&[4], 3)?);
    let error = convolution(&x, &w, Some(&b), window).expect_err("refused").to_string();
    assert!(error.contains("expected `b` of shape [3], got [4]"), "{error}");
    Ok(())
}
