//! Quantizers against their definitions, and their gradients against central differences of what is rounded.

use super::{Quantized, fsq, fsq_values, lfq, lfq_terms, quantile, usage};
use crate::ops::check::{assert_close, assert_like_twin, assert_same_on_any_threads, filled, numbers, run};
use candle_core::{DType, Device, Result, Tensor};

fn squeezed(z: f64, levels: u32) -> f64 {
    let half = (f64::from(levels) - 1.0) * 1.001 / 2.0;
    let offset = if levels.is_multiple_of(2) { 0.5 } else { 0.0 };
    (z + (offset / half).atanh()).tanh() * half - offset
}

#[test]
fn fsq_equals_its_definition() -> Result<()> {
    let levels = [8_u32, 5, 2, 3];
    for rows in [0, 1, 127, 129] {
        let z = (filled(&[rows, 4], 1)? * 3.0)?;
        let Quantized { values, codes } = fsq(&z, &levels)?;
        let (z, codes) = (numbers(&z)?, codes.to_vec1::<u32>()?);
        let (mut expected, mut expected_codes) = (Vec::new(), Vec::new());
        for row in z.chunks(4) {
            let mut code = 0;
            let mut radix = 1;
            for (z, levels) in row.iter().zip(levels) {
                let whole = squeezed(*z, levels).round_ties_even();
                expected.push(whole / f64::from(levels / 2));
                code += (whole + f64::from(levels / 2)) as u32 * radix;
                radix *= levels;
            }
            expected_codes.push(code);
        }
        assert_close("values", &numbers(&values)?, &expected, 1e-6);
        assert_eq!(codes, expected_codes);
        assert!(codes.iter().all(|code| *code < levels.iter().product()));
    }
    Ok(())
}

#[test]
fn fsq_has_the_slope_of_the_squeezed_value() -> Result<()> {
    let levels = [8_u32, 5];
    let z = (filled(&[9, 2], 1)? * 3.0)?;
    let (_, gradients) = run(std::slice::from_ref(&z), |t| Ok(fsq(&t[0], &levels)?.values))?;
    let weights = numbers(&filled(&[9, 2], 99)?)?;
    let expected: Vec<f64> = numbers(&z)?
        .iter()
        .zip(&weights)
        .enumerate()
        .map(|(at, (z, weight))| {
            let levels = levels[at % 2];
            let slope = (squeezed(z + 1e-6, levels) - squeezed(z - 1e-6, levels)) / 2e-6;
            weight * slope / f64::from(levels / 2)
        })
        .collect();
    assert_close("gradient", &numbers(&gradients[0])?, &expected, 1e-5);
    Ok(())
}

#[test]
fn fsq_reaches_all_levels_and_no_more() -> Result<()> {
    for levels in [2_u32, 3, 4, 5, 8] {
        let z: Vec<f32> =
            [-1e30_f32, -10.0].into_iter().chain((-50..50).map(|i| i as f32 / 10.0)).chain([10.0, 1e30]).collect();
        let z = Tensor::from_vec(z.clone(), (z.len(), 1), &Device::Cpu)?;
        let mut codes = fsq(&z, &[levels])?.codes.to_vec1::<u32>()?;
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes, (0..levels).collect::<Vec<_>>());
    }
    Ok(())
}

#[test]
fn codes_stand_for_the_values_that_they_came_from() -> Result<()> {
    for levels in [vec![8, 5, 2, 3], vec![7]] {
        let z = (filled(&[3, 40, levels.len()], 1)? * 3.0)?;
        let Quantized { values, codes } = fsq(&z, &levels)?;
        let back = fsq_values(&codes, &levels)?;
        assert_eq!(back.dims(), values.dims());
        assert_close("values", &numbers(&back)?, &numbers(&values)?, 1e-7);
    }
    let error = fsq_values(&Tensor::new(&[3_u32, 15], &Device::Cpu)?, &[3, 5]).expect_err("refused").to_string();
    assert!(error.contains("expected codes below 15, got 15"), "{error}");
    assert!(fsq_values(&Tensor::new(&[3_u32], &Device::Cpu)?, &[3, 1]).is_err());
    Ok(())
}

#[test]
fn lfq_gives_signs_bits_and_the_gradient_as_it_comes() -> Result<()> {
    let z = Tensor::new(&[[0.5_f32, -0.5, 0.0], [-1e30, 1e-40, f32::NAN]], &Device::Cpu)?;
    let Quantized { values, codes } = lfq(&z)?;
    assert_eq!(values.to_vec2::<f32>()?, [[1.0, -1.0, -1.0], [-1.0, 1.0, -1.0]]);
    assert_eq!(codes.to_vec1::<u32>()?, [1, 2]);
    let (_, gradients) = run(&[filled(&[5, 3], 1)?], |t| Ok(lfq(&t[0])?.values))?;
    assert_eq!(numbers(&gradients[0])?, numbers(&filled(&[5, 3], 99)?)?);
    Ok(())
}

#[test]
fn quantiles_are_bins_between_edges() -> Result<()> {
    let (edges, centres) = ([0.0, 1.0, 2.0, 4.0], [0.5, 1.5, 3.0]);
    let x = Tensor::new(&[[-5.0_f32, 0.0, 0.99], [1.0, 2.0, 99.0]], &Device::Cpu)?;
    let Quantized { values, codes } = quantile(&x, &edges, &centres)?;
    assert_eq!(codes.to_vec2::<u32>()?, [[0, 0, 0], [1, 2, 2]]);
    assert_eq!(values.to_vec2::<f32>()?, [[0.5, 0.5, 0.5], [1.5, 3.0, 3.0]]);
    let (_, gradients) = run(&[filled(&[2, 3], 1)?], |t| Ok(quantile(&t[0], &edges, &centres)?.values))?;
    assert_eq!(numbers(&gradients[0])?, numbers(&filled(&[2, 3], 99)?)?);
    assert_eq!(quantile(&Tensor::new(&[f32::NAN], &Device::Cpu)?, &edges, &centres)?.codes.to_vec1::<u32>()?, [0]);
    Ok(())
}

#[test]
fn a_strided_view_and_threads_change_nothing() -> Result<()> {
    let x = filled(&[4, 700], 1)?;
    let view = x.t()?;
    let (a, b) = (fsq(&view, &[8, 5, 5, 5])?, fsq(&view.contiguous()?, &[8, 5, 5, 5])?);
    assert_eq!(a.codes.to_vec1::<u32>()?, b.codes.to_vec1::<u32>()?);
    assert_same_on_any_threads(&[filled(&[9001, 4], 1)?], |t| Ok(fsq(&t[0], &[8, 5, 5, 5])?.values))
}

#[test]
fn what_does_not_fit_is_named() -> Result<()> {
    let message = |result: Result<Quantized>| result.err().map(|e| e.to_string()).unwrap_or_default();
    let z = filled(&[2, 3], 1)?;
    assert!(message(fsq(&z, &[8, 5])).contains("fsq: expected `z` of shape [.., 2], got [2, 3]"));
    assert!(message(fsq(&z, &[8, 1, 5])).contains("fsq: expected at least 2 levels, got 1 for dimension 1"));
    assert!(message(fsq(&z, &[1 << 16, 1 << 16, 2])).contains("fsq: expected at most 2^32 codes"));
    assert!(message(lfq(&filled(&[2, 33], 1)?)).contains("lfq: expected at most 32 dimensions, got [2, 33]"));
    assert!(message(lfq(&z.to_dtype(DType::F64)?)).contains("lfq: expected `z` in f32, got f64"));
    assert!(message(quantile(&z, &[0.0, 1.0], &[])).contains("one edge more than centres, got 2 and 0"));
    assert!(
        message(quantile(&z, &[0.0, 2.0, 1.0], &[0.0; 2])).contains("expected edges that rise, got 1 after 2 at 2")
    );
    Ok(())
}

/// Entropies over all codes, one by one.
fn plain_terms(z: &[f64], width: usize, sharpness: f64) -> [f64; 3] {
    let codes: Vec<Vec<f64>> = (0..1 << width)
        .map(|code: usize| (0..width).map(|d| if code >> d & 1 == 1 { 1.0 } else { -1.0 }).collect())
        .collect();
    let rows = z.len() / width;
    let (mut mean, mut each, mut commitment) = (vec![0.0; codes.len()], 0.0, 0.0);
    for z in z.chunks(width) {
        let logit = |code: &Vec<f64>| 2.0 * sharpness * code.iter().zip(z).map(|(c, z)| c * z).sum::<f64>();
        let largest = codes.iter().map(logit).fold(f64::MIN, f64::max);
        let sum: f64 = codes.iter().map(|code| (logit(code) - largest).exp()).sum();
        for (mean, code) in mean.iter_mut().zip(&codes) {
            let p = (logit(code) - largest).exp() / sum;
            *mean += p / rows as f64;
            each -= if p > 0.0 { p * p.ln() } else { 0.0 } / rows as f64;
        }
        commitment +=
            z.iter().map(|z| (z - if *z > 0.0 { 1.0 } else { -1.0 }).powi(2)).sum::<f64>() / (rows * width) as f64;
    }
    [each, mean.iter().map(|p| if *p > 0.0 { -p * p.ln() } else { 0.0 }).sum(), commitment]
}

#[test]
fn lfq_terms_equal_sums_over_all_codes() -> Result<()> {
    for (rows, width, sharpness) in [(1, 1, 0.5), (7, 2, 1.0), (9, 5, 0.3), (40, 6, 2.0)] {
        let terms = |t: &[Tensor]| {
            let terms = lfq_terms(&t[0], sharpness)?;
            Tensor::stack(&[terms.sample_entropy, terms.batch_entropy, terms.commitment], 0)
        };
        let twin = |v: &[Vec<f64>]| plain_terms(&v[0], width, sharpness).to_vec();
        assert_like_twin(&[filled(&[rows, width], 4)?], terms, twin, 1e-4)?;
    }
    Ok(())
}

#[test]
fn lfq_terms_stay_finite_where_signs_are_clear() -> Result<()> {
    // As sharp as the published codec is trained with: probabilities are 0 and 1.
    let z = (filled(&[2, 3, 10], 5)? * 30.0)?;
    let (terms, gradients) = run(&[z], |t| {
        let terms = lfq_terms(&t[0], 100.0)?;
        terms.sample_entropy + terms.batch_entropy
    })?;
    let expected = 6_f64.ln();
    assert!((numbers(&terms)?[0] - expected).abs() < 1e-5);
    assert!(numbers(&gradients[0])?.iter().all(|d| d.is_finite()));
    assert!(lfq_terms(&filled(&[2, 21], 1)?, 1.0).is_err() && lfq_terms(&filled(&[0, 2], 1)?, 1.0).is_err());
    Ok(())
}

#[test]
fn usage_counts_what_occurs() -> Result<()> {
    let codes = Tensor::new(&[[0_u32, 0, 3], [3, 9, 3]], &Device::Cpu)?;
    // Twice 0 and thrice 3; 9 is none of the 8.
    let found = usage(&codes, 8)?;
    let entropy = -(0.4 * 0.4_f64.ln() + 0.6 * 0.6_f64.ln());
    assert!((found.used - 0.25).abs() < 1e-12 && (found.perplexity - entropy.exp()).abs() < 1e-12);
    Ok(())
}
