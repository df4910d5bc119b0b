//! The pair losses against naive loops, finite differences and plain candle.

use super::{Contrast, infonce, sigmoid};
use crate::ops::check::{
    assert_close, assert_like_twin, assert_same, assert_same_on_any_threads, filled, numbers, run,
};
use candle_core::{D, DType, Device, Result, Tensor};
use proptest::prelude::*;

fn ours(t: &[Tensor]) -> Result<Tensor> {
    Ok(match t {
        [a, b, scale] => infonce(a, b, scale)?,
        [a, b, scale, bias] => sigmoid(a, b, scale, bias)?,
        _ => candle_core::bail!("three or four"),
    }
    .loss)
}

/// `[n, n]` logits of both losses.
fn logits(v: &[Vec<f64>], width: usize) -> Vec<Vec<f64>> {
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let bias = v.get(3).map_or(0.0, |bias| bias[0]);
    v[0].chunks(width).map(|a| v[1].chunks(width).map(|b| v[2][0] * product(a, b) + bias).collect()).collect()
}

fn naive(v: &[Vec<f64>], width: usize) -> Vec<f64> {
    let l = logits(v, width);
    let n = l.len();
    let log_sum = |values: Vec<f64>| {
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        values.iter().map(|x| (x - most).exp()).sum::<f64>().ln() + most
    };
    let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    let mut sum = 0.0;
    for i in 0..n {
        if v.len() == 3 {
            sum += 0.5 * (log_sum(l[i].clone()) + log_sum((0..n).map(|j| l[j][i]).collect())) - l[i][i];
        } else {
            sum += (0..n).map(|j| softplus(if i == j { -l[i][j] } else { l[i][j] })).sum::<f64>();
        }
    }
    vec![sum / n.max(1) as f64]
}

/// Two sets of rows of unit length, a scale and a bias.
fn inputs(n: usize, width: usize, scale: f32, bias: Option<f32>) -> Result<Vec<Tensor>> {
    let unit = |x: Tensor| x.broadcast_div(&(x.sqr()?.sum_keepdim(D::Minus1)? + 1e-9)?.sqrt()?);
    let b = filled(&[n, width], 2)?;
    // Partners look alike, so that neither accuracy nor probabilities are trivial.
    let a = unit((filled(&[n, width], 1)? + &b)?)?;
    let mut all = vec![a, unit(b)?, Tensor::new(scale, &Device::Cpu)?];
    if let Some(bias) = bias {
        all.push(Tensor::new(bias, &Device::Cpu)?);
    }
    Ok(all)
}

#[test]
fn values_and_gradients_equal_a_plain_loop() -> Result<()> {
    for (n, width) in [(1, 1), (1, 5), (2, 3), (5, 127), (127, 3), (129, 8)] {
        for bias in [None, Some(-3.0), Some(0.0)] {
            assert_like_twin(&inputs(n, width, 7.0, bias)?, ours, |v| naive(v, width), 2e-5)?;
        }
    }
    Ok(())
}

#[test]
fn many_tiles_and_slabs_equal_plain_candle() -> Result<()> {
    // Over 256 rows in a tile, 1024 columns, and 128 rows in a slab.
    let n = 1100;
    for bias in [None, Some(-5.0)] {
        let t = inputs(n, 6, 10.0, bias)?;
        // The plain composition adds up a million f32 one by one: it is the less exact one.
        assert_same(&t, ours, |t| plain(t, n), 1e-4)?;
        let (loss, gradients) = run(&t, ours)?;
        let mut v = t.iter().map(numbers).collect::<Result<Vec<_>>>()?;
        assert_close("loss", &numbers(&loss)?, &naive(&v, 6), 1e-7);
        let step = 1e-4;
        v[2][0] += step;
        let above = naive(&v, 6)[0];
        v[2][0] -= 2.0 * step;
        let slope = (above - naive(&v, 6)[0]) / (2.0 * step);
        let upstream = numbers(&filled(&[], 99)?)?[0];
        assert_close("slope", &[numbers(&gradients[2])?[0] / upstream], &[slope], 1e-6);
    }
    Ok(())
}

fn plain(t: &[Tensor], n: usize) -> Result<Tensor> {
    let logits = t[0].contiguous()?.matmul(&t[1].t()?.contiguous()?)?.broadcast_mul(&t[2])?;
    let eye = Tensor::eye(n, DType::F32, &Device::Cpu)?;
    match t.get(3) {
        None => {
            let log_sum = |dim| logits.exp()?.sum(dim)?.log()?.sum_all();
            let own = (&logits * eye)?.sum_all()?;
            (((log_sum(0)? + log_sum(1)?)? * 0.5)? - own)? / n as f64
        }
        Some(bias) => {
            let sign = ((eye * -2.0)? + 1.0)?;
            ((logits.broadcast_add(bias)? * sign)?.exp()? + 1.0)?.log()?.sum_all()? / n as f64
        }
    }
}

#[test]
fn strided_and_broadcast_views_equal_plain_candle() -> Result<()> {
    let views = |t: &[Tensor]| -> Result<Vec<Tensor>> {
        let mut views = vec![t[0].transpose(0, 1)?.narrow(0, 2, 6)?, t[1].broadcast_as((6, 4))?];
        views.extend_from_slice(&t[2..]);
        Ok(views)
    };
    for bias in [None, Some(-1.0_f32)] {
        let mut inputs = vec![filled(&[4, 9], 1)?, filled(&[4], 2)?, Tensor::new(3_f32, &Device::Cpu)?];
        inputs.extend(bias.map(|bias| Tensor::new(bias, &Device::Cpu)).transpose()?);
        assert_same(&inputs, |t| ours(&views(t)?), |t| plain(&views(t)?, 6), 1e-5)?;
    }
    Ok(())
}

#[test]
fn accuracy_is_the_share_of_rows_and_columns_that_find_their_partner() -> Result<()> {
    for (n, width) in [(1, 2), (7, 3), (300, 4), (1200, 9)] {
        for bias in [None, Some(-2.0)] {
            let t = inputs(n, width, 20.0, bias)?;
            let l = logits(&t.iter().map(numbers).collect::<Result<Vec<_>>>()?, width);
            let best = |values: &dyn Fn(usize) -> f64| (0..n).max_by(|i, j| values(*i).total_cmp(&values(*j)));
            let found = |i: usize| [best(&|j| l[i][j]), best(&|j| l[j][i])].iter().filter(|b| **b == Some(i)).count();
            let expected = (0..n).map(found).sum::<usize>() as f64 / (2 * n) as f64;
            let got = if bias.is_some() { sigmoid(&t[0], &t[1], &t[2], &t[3])? } else { infonce(&t[0], &t[1], &t[2])? };
            let top1 = f64::from(got.top1.to_scalar::<f32>()?);
            assert!((top1 - expected).abs() < 1.5 / n as f64, "{n}: {top1} is not {expected}");
        }
    }
    Ok(())
}

#[test]
fn vectors_that_are_all_alike_find_nobody() -> Result<()> {
    let same = Tensor::ones((4, 2), DType::F32, &Device::Cpu)?;
    let Contrast { loss, top1 } = infonce(&same, &same, &Tensor::new(1_f32, &Device::Cpu)?)?;
    assert_eq!(top1.to_scalar::<f32>()?, 0.0);
    assert_close("loss", &numbers(&loss)?, &[4_f64.ln()], 1e-6);
    Ok(())
}

#[test]
fn extreme_logits_are_finite_and_keep_their_digits() -> Result<()> {
    for factor in [1e4_f32, -1e4, 1e-40, 0.0] {
        for bias in [None, Some(-10.0)] {
            let t = inputs(9, 4, factor, bias)?;
            let expected = naive(&t.iter().map(numbers).collect::<Result<Vec<_>>>()?, 4);
            let (loss, gradients) = run(&t, ours)?;
            assert_close("loss", &numbers(&loss)?, &expected, 1e-6);
            for gradient in &gradients {
                assert!(numbers(gradient)?.iter().all(|g| g.is_finite()), "{factor}");
            }
        }
    }
    // Partners at 40, others at 0: the loss is log(1 + exp(-40)) each way, which `log Σ - own` would round to 0.
    let eye = Tensor::eye(2, DType::F32, &Device::Cpu)?;
    let t = [eye.clone(), eye, Tensor::new(40_f32, &Device::Cpu)?];
    let (loss, gradients) = run(&t, ours)?;
    let expected = (-40.0_f64).exp();
    assert!((numbers(&loss)?[0] / expected - 1.0).abs() < 1e-5);
    let slope = numbers(&gradients[2])?[0] / numbers(&filled(&[], 99)?)?[0];
    assert!((slope / -expected - 1.0).abs() < 1e-5, "{slope}");
    Ok(())
}

#[test]
fn no_rows_give_zero() -> Result<()> {
    let (loss, gradients) = run(&inputs(0, 3, 2.0, None)?, ours)?;
    assert_eq!(loss.to_scalar::<f32>()?, 0.0);
    assert_eq!((gradients[0].dims(), gradients[2].to_scalar::<f32>()?), (&[0, 3][..], 0.0));
    Ok(())
}

#[test]
fn not_a_number_stays_visible() -> Result<()> {
    let mut t = inputs(3, 2, 2.0, None)?;
    t[0] = (&t[0] * f64::NAN)?;
    assert!(ours(&t)?.to_scalar::<f32>()?.is_nan());
    Ok(())
}

#[test]
fn a_fixed_scale_has_no_gradient_and_changes_nothing() -> Result<()> {
    let t = inputs(20, 3, 5.0, None)?;
    let (learned, gradients) = run(&t, ours)?;
    let (fixed, of_fixed) = run(&t[..2], |sets| ours(&[sets[0].clone(), sets[1].clone(), t[2].clone()]))?;
    assert_eq!(numbers(&learned)?, numbers(&fixed)?);
    assert_eq!(numbers(&gradients[1])?, numbers(&of_fixed[1])?);
    Ok(())
}

#[test]
fn threads_do_not_change_a_bit() -> Result<()> {
    for bias in [None, Some(-5.0)] {
        assert_same_on_any_threads(&inputs(1153, 17, 12.0, bias)?, ours)?;
    }
    Ok(())
}

#[test]
fn what_is_wrong_is_named() -> Result<()> {
    let t = inputs(3, 2, 2.0, Some(0.0))?;
    let message = |result: Result<Contrast>| result.err().map(|e| e.to_string()).unwrap_or_default();
    let wrong = message(infonce(&t[0], &filled(&[4, 2], 1)?, &t[2]));
    assert!(wrong.contains("contrastive: expected `b` of the shape of `a`, [3, 2], got [4, 2]"), "{wrong}");
    assert!(message(infonce(&t[0].get(0)?, &t[1], &t[2])).contains("`a` of shape [rows, width], got [2]"));
    assert!(message(infonce(&t[0], &t[1], &t[0])).contains("expected `scale` of one number, got shape [3, 2]"));
    assert!(message(sigmoid(&t[0], &t[1], &t[2], &t[1])).contains("expected `bias` of one number, got shape [3, 2]"));
    assert!(message(infonce(&t[0], &t[1].to_dtype(DType::F64)?, &t[2])).contains("expected `b` in f32, got f64"));
    let none = filled(&[3, 0], 1)?;
    assert!(message(infonce(&none, &none, &t[2])).contains("a width of at least 1"));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn any_shape_equals_a_plain_loop(n in 1_usize..150, width in 1_usize..40, scale in 0.1_f32..30.0, bias in proptest::option::of(-12.0_f32..2.0)) {
        let t = inputs(n, width, scale, bias).unwrap();
        let expected = naive(&t.iter().map(|t| numbers(t).unwrap()).collect::<Vec<_>>(), width);
        assert_close("loss", &numbers(&ours(&t).unwrap()).unwrap(), &expected, 1e-5);
    }
}
