//! Cross entropy against a naive loop, finite differences, PyTorch and plain candle.

use super::{Groups, IGNORED, cross_entropy};
use crate::ops::check::{
    assert_close, assert_like_twin, assert_same, assert_same_on_any_threads, filled, numbers, run,
};
use candle_core::{D, DType, Device, Result, Tensor};
use proptest::prelude::*;

/// Targets with every fifth row ignored.
fn some_targets(rows: usize, vocabulary: usize) -> Vec<u32> {
    (0..rows).map(|i| if i % 5 == 4 { IGNORED } else { (i * 7 % vocabulary) as u32 }).collect()
}

fn tensor(values: &[u32]) -> Result<Tensor> {
    Tensor::from_slice(values, values.len(), &Device::Cpu)
}

fn naive(x: &[f64], targets: &[u32], smoothing: f64, groups: &[u32]) -> Vec<f64> {
    let vocabulary = x.len() / targets.len().max(1);
    let mut sums = std::collections::BTreeMap::new();
    for ((x, &target), group) in x.chunks(vocabulary.max(1)).zip(targets).zip(groups) {
        if target == IGNORED {
            continue;
        }
        let most = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let log_sum = x.iter().map(|x| (x - most).exp()).sum::<f64>().ln() + most;
        let mean = x.iter().sum::<f64>() / vocabulary as f64;
        let loss = log_sum - (1.0 - smoothing) * x[target as usize] - smoothing * mean;
        let (sum, count) = sums.entry(*group).or_insert((0.0, 0.0));
        *sum += loss;
        *count += 1.0;
    }
    let groups = sums.len().max(1) as f64;
    vec![sums.values().map(|(sum, count)| sum / count).sum::<f64>() / groups]
}

#[test]
fn values_and_gradients_equal_a_plain_loop() -> Result<()> {
    for (rows, vocabulary) in [(1, 1), (1, 127), (4, 129), (127, 5), (129, 3), (7, 32)] {
        for smoothing in [0.0, 0.1, 1.0] {
            let targets = some_targets(rows, vocabulary);
            let groups: Vec<u32> = (0..rows).map(|i| [3, 0, 3, 3][i % 4]).collect();
            let x = (filled(&[rows, vocabulary], 1)? * 3.0)?;
            let (t, g) = (tensor(&targets)?, tensor(&groups)?);
            let plain = |v: &[Vec<f64>]| naive(&v[0], &targets, smoothing, &vec![0; rows]);
            assert_like_twin(std::slice::from_ref(&x), |x| cross_entropy(&x[0], &t, smoothing, None), plain, 1e-5)?;
            let of_groups = Groups { of_rows: &g, count: 4 };
            let grouped = |v: &[Vec<f64>]| naive(&v[0], &targets, smoothing, &groups);
            assert_like_twin(&[x], |x| cross_entropy(&x[0], &t, smoothing, Some(of_groups)), grouped, 1e-5)?;
        }
    }
    Ok(())
}

#[test]
fn values_and_gradients_are_those_of_pytorch() -> Result<()> {
    // torch.nn.functional.cross_entropy(x, [2, 0, -100, 4], ignore_index=-100, label_smoothing=s) in f64, with
    // x[i][j] = (7 i + 3 j) % 11 / 2 - 2.
    let x: Vec<f32> = (0..20).map(|k| ((k / 5 * 7 + k % 5 * 3) % 11) as f32 * 0.5 - 2.0).collect();
    let x = Tensor::from_vec(x, (4, 5), &Device::Cpu)?;
    let targets = tensor(&[2, 0, IGNORED, 4])?;
    let expected: [(f64, f64, [f64; 20]); 2] = [
        (
            0.0,
            3.059_465_643_322_379_2,
            [
                0.002_843_338_56,
                0.012_742_959_4,
                -0.276_223_352,
                0.255_949_181,
                0.004_687_872_77, //
                -0.289_360_134,
                0.197_074_208,
                0.003_609_540_03,
                0.016_176_836_1,
                0.072_499_549_5, //
                0.0,
                0.0,
                0.0,
                0.0,
                0.0, //
                0.225_985_939,
                0.004_139_076_85,
                0.018_550_055_5,
                0.083_135_580_9,
                -0.331_810_652,
            ],
        ),
        (
            0.1,
            3.022_798_976_655_712_6,
            [
                -0.003_823_328_1,
                0.006_076_292_7,
                -0.249_556_685,
                0.249_282_514,
                -0.001_978_793_9, //
                -0.262_693_467,
                0.190_407_541,
                -0.003_057_126_64,
                0.009_510_169_43,
                0.065_832_882_9, //
                0.0,
                0.0,
                0.0,
                0.0,
                0.0, //
                0.219_319_272,
                -0.002_527_589_82,
                0.011_883_388_8,
                0.076_468_914_2,
                -0.305_143_985,
            ],
        ),
    ];
    for (smoothing, loss, gradient) in expected {
        let var = candle_core::Var::from_tensor(&x)?;
        let got = cross_entropy(&var, &targets, smoothing, None)?;
        assert_close("loss", &numbers(&got)?, &[loss], 1e-7);
        let gradients = got.backward()?;
        assert_close("gradient", &numbers(gradients.get(&var).unwrap())?, &gradient, 1e-7);
    }
    Ok(())
}

#[test]
fn strided_and_broadcast_views_equal_plain_candle() -> Result<()> {
    let targets = tensor(&[1, 0, 3, 2, 2])?;
    let plain = |x: &Tensor| {
        let logs = candle_nn::ops::log_softmax(&x.contiguous()?, D::Minus1)?;
        logs.gather(&targets.unsqueeze(1)?, 1)?.mean_all()?.neg()
    };
    let view = |x: &Tensor| x.transpose(0, 1)?.narrow(1, 1, 4);
    let ours = |x: &Tensor| cross_entropy(x, &targets, 0.0, None);
    assert_same(&[filled(&[6, 5], 1)?], |t| ours(&view(&t[0])?), |t| plain(&view(&t[0])?), 1e-6)?;
    let wide = |x: &Tensor| x.broadcast_as((5, 4));
    assert_same(&[filled(&[4], 1)?], |t| ours(&wide(&t[0])?), |t| plain(&wide(&t[0])?), 1e-6)
}

#[test]
fn without_a_variable_the_loss_is_the_same() -> Result<()> {
    let (x, targets) = (filled(&[9, 130], 1)?, tensor(&some_targets(9, 130))?);
    let (with, _) = run(std::slice::from_ref(&x), |x| cross_entropy(&x[0], &targets, 0.2, None))?;
    assert_eq!(numbers(&cross_entropy(&x, &targets, 0.2, None)?)?, numbers(&with)?);
    Ok(())
}

#[test]
fn nothing_that_counts_gives_zero_and_no_gradient() -> Result<()> {
    let ignored = tensor(&[IGNORED; 3])?;
    for (x, targets) in [
        (filled(&[3, 4], 1)?, &ignored),
        (filled(&[3, 0], 1)?, &ignored),
        (filled(&[0, 4], 1)?, &tensor(&[])?),
        (Tensor::full(f32::NAN, (3, 4), &Device::Cpu)?, &ignored),
    ] {
        let (loss, gradients) = run(&[x], |x| cross_entropy(&x[0], targets, 0.1, None))?;
        assert_eq!(loss.to_scalar::<f32>()?, 0.0);
        assert!(numbers(&gradients[0])?.iter().all(|g| *g == 0.0));
    }
    Ok(())
}

#[test]
fn extreme_logits_keep_their_digits() -> Result<()> {
    let x = Tensor::new(&[[1e4_f32, 9_999.0, -1e4], [1e-40, -1e-40, 0.0], [-30.0, 30.0, -3e38]], &Device::Cpu)?;
    let targets = [0, 2, 1];
    let var = candle_core::Var::from_tensor(&x)?;
    let loss = cross_entropy(&var, &tensor(&targets)?, 0.0, None)?;
    // log(1 + 1/e), log 3 and log(1 + exp(-60)).
    assert_close("loss", &numbers(&loss)?, &[(0.313_261_687_518_222_86 + 3_f64.ln()) / 3.0], 1e-7);
    let gradients = loss.backward()?;
    let gradient = numbers(gradients.get(&var).unwrap())?;
    let sure = (-60.0_f64).exp() / 3.0;
    assert!((gradient[7] / -sure - 1.0).abs() < 1e-5 && (gradient[6] / sure - 1.0).abs() < 1e-5, "{gradient:?}");
    assert!(gradient.iter().all(|g| g.is_finite()));
    Ok(())
}

#[test]
fn not_a_number_stays_visible() -> Result<()> {
    let x = Tensor::new(&[[1.0_f32, f32::NAN]], &Device::Cpu)?;
    assert!(cross_entropy(&x, &tensor(&[0])?, 0.0, None)?.to_scalar::<f32>()?.is_nan());
    // A class that can't be is fine as long as it isn't the target.
    let x = Tensor::new(&[[1.0_f32, f32::NEG_INFINITY]], &Device::Cpu)?;
    assert_eq!(cross_entropy(&x, &tensor(&[0])?, 0.0, None)?.to_scalar::<f32>()?, 0.0);
    Ok(())
}

#[test]
fn threads_do_not_change_a_bit() -> Result<()> {
    let targets = tensor(&some_targets(1501, 67))?;
    let of_rows = tensor(&(0..1501).map(|i| i % 3).collect::<Vec<_>>())?;
    let groups = Groups { of_rows: &of_rows, count: 3 };
    assert_same_on_any_threads(&[filled(&[1501, 67], 1)?], |x| cross_entropy(&x[0], &targets, 0.1, Some(groups)))
}

#[test]
fn what_is_wrong_is_named() -> Result<()> {
    let x = filled(&[2, 3], 1)?;
    let message = |result: Result<Tensor>| result.err().map(|e| e.to_string()).unwrap_or_default();
    let of = |targets: &[u32]| message(cross_entropy(&x, &tensor(targets).unwrap(), 0.0, None));
    assert!(of(&[0, 3]).contains("cross_entropy: target 3 of row 1 is out of range for a vocabulary of 3"));
    assert!(of(&[0]).contains("cross_entropy: expected `targets` of shape [2], got [1]"));
    let targets = tensor(&[0, 1])?;
    let float = targets.to_dtype(DType::F32)?;
    assert!(message(cross_entropy(&x, &float, 0.0, None)).contains("expected `targets` in u32, got f32"));
    assert!(message(cross_entropy(&x, &targets, 1.5, None)).contains("`label_smoothing` between 0 and 1, got 1.5"));
    assert!(message(cross_entropy(&x.get(0)?, &targets, 0.0, None)).contains("[rows, vocabulary], got [3]"));
    assert!(message(cross_entropy(&x.to_dtype(DType::F64)?, &targets, 0.0, None)).contains("in f32, got f64"));
    let groups = Groups { of_rows: &targets, count: 1 };
    assert!(message(cross_entropy(&x, &targets, 0.0, Some(groups))).contains("group 1 of row 1 is out of range"));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_shape_equals_a_plain_loop(rows in 0_usize..40, vocabulary in 1_usize..140, smoothing in 0.0..1.0_f64, seed in 0_u32..99) {
        let targets = some_targets(rows, vocabulary);
        let x = (filled(&[rows, vocabulary], seed).unwrap() * 5.0).unwrap();
        let got = cross_entropy(&x, &tensor(&targets).unwrap(), smoothing, None).unwrap();
        assert_close("loss", &numbers(&got).unwrap(), &naive(&numbers(&x).unwrap(), &targets, smoothing, &vec![0; rows]), 1e-5);
    }
}
