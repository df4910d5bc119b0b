//! Interpolation kernels against a plain loop in f64.

use super::{Curves, Number};
use crate::ops::gpu::testing::{Bench, assert_near, on_every_device, random, tolerance, wide};
use candle_core::Result;

fn rising(count: usize, seed: u32) -> Vec<f32> {
    let steps = random(count, seed, Number::F32);
    let mut at = 0.0;
    steps
        .iter()
        .map(|step| {
            at += 1.25 + step;
            at
        })
        .collect()
}

fn check(bench: &Bench, number: Number, [rows, samples, points]: [usize; 3]) -> Result<()> {
    let positions: Vec<f32> = (0..rows).flat_map(|row| rising(samples, row as u32)).collect();
    let weights: Vec<f32> =
        random(rows * samples, 7, Number::F32).iter().map(|w| if *w < -0.7 { 0.0 } else { w + 1.0 }).collect();
    // All, none, one, two, all but the last few.
    let counts: Vec<u32> =
        (0..rows).map(|row| [samples, 0, 1, 2, samples - samples / 4][row % 5].min(samples) as u32).collect();
    let mut grid = random(points, 9, Number::F32);
    let span = samples as f32 * 1.25;
    grid.iter_mut().for_each(|g| *g = (*g + 1.0) * 0.6 * span); // also beyond the last sample
    // Exactly on samples: the first, the last, and one between.
    for (g, sample) in grid.iter_mut().zip([0, samples.saturating_sub(1), samples / 2]) {
        *g = positions.get(sample).copied().unwrap_or(0.0);
    }
    grid.sort_by(f32::total_cmp);
    let (flux, dout) = (random(rows * samples, 1, number), random(rows * points, 2, number));
    let curves = Curves {
        number,
        rows,
        samples,
        points,
        positions: bench.numbers("positions", &positions, Number::F32)?,
        inverse_variance: bench.numbers("inverse variance", &weights, Number::F32)?,
        counts: bench.integers("counts", &counts)?,
        grid: bench.numbers("grid", &grid, Number::F32)?,
    };
    let out = bench.out("out", rows * points, number)?;
    let out_weights = bench.out("out inverse variance", rows * points, Number::F32)?;
    let dflux = bench.out("dflux", rows * samples, number)?;
    curves.forward(bench.gpu(), bench.numbers("flux", &flux, number)?, [out.pointer(), out_weights.pointer()])?;
    curves.backward(bench.gpu(), bench.numbers("dout", &dout, number)?, dflux.pointer())?;

    let (mut expected, mut expected_weights) = (vec![0.0; rows * points], vec![0.0; rows * points]);
    let mut gradient = vec![0.0; rows * samples];
    for row in 0..rows {
        let (at, count) = (row * samples, counts[row] as usize);
        for (point, g) in grid.iter().enumerate() {
            let (x, w) = (&positions[at..at + count], &weights[at..at + count]);
            // Shares of samples: one where the point is on it, two between neighbours.
            let mut shares: Vec<(usize, f64)> = Vec::new();
            if let Some(on) = x.iter().position(|x| x == g) {
                shares.push((on, 1.0));
            } else if let Some(left) = (1..count).find(|&i| x[i - 1] < *g && *g < x[i]).map(|i| i - 1) {
                let t = f64::from((g - x[left]) / (x[left + 1] - x[left])); // in f32, as the kernel: rounding near 0 and 1 counts
                shares.extend([(left, 1.0 - t), (left + 1, t)]);
            }
            shares.retain(|(_, share)| *share != 0.0);
            if shares.is_empty() || shares.iter().any(|(i, _)| w[*i] == 0.0) {
                continue;
            }
            let mut variance = 0.0;
            for (i, share) in shares {
                expected[row * points + point] += share * wide(&flux)[at + i];
                variance += share * share / f64::from(w[i]);
                gradient[at + i] += share * wide(&dout)[row * points + point];
            }
            expected_weights[row * points + point] = 1.0 / variance;
        }
    }
    let what = format!("{number:?} {rows} x {samples} to {points}");
    assert_near(bench, &what, &out, &expected, tolerance(number))?;
    assert_near(bench, &format!("{what} inverse variance"), &out_weights, &expected_weights, 1e-5)?;
    assert_near(bench, &format!("{what} dflux"), &dflux, &gradient, 4.0 * tolerance(number))
}

#[test]
fn values_variances_and_gradients_equal_a_plain_loop() -> Result<()> {
    on_every_device(|bench| {
        for number in [Number::F32, Number::Bf16] {
            for shape in [[0, 4, 4], [1, 0, 3], [5, 1, 1], [5, 2, 7], [6, 33, 0], [6, 40, 127], [5, 129, 33]] {
                check(bench, number, shape)?;
            }
        }
        Ok(())
    })
}
