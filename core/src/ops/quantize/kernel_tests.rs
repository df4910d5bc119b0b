//! Quantizer kernels against plain loops in f64.

use super::{Latents, Number};
use crate::ops::gpu::testing::{assert_near, on_every_device, random, rounded, tolerance, wide};
use candle_core::Result;

const NUMBERS: [Number; 2] = [Number::F32, Number::Bf16];
const ROWS: [usize; 5] = [0, 1, 127, 129, 300];

#[test]
fn fsq_rounds_to_levels_and_passes_the_gradient_of_its_bound() -> Result<()> {
    let levels = [8.0_f32, 5.0, 2.0, 3.0];
    on_every_device(|bench| {
        for (number, rows) in NUMBERS.into_iter().flat_map(|n| ROWS.map(|rows| (n, rows))) {
            let z: Vec<f32> = random(rows * 4, 1, number).iter().map(|z| z * 4.0).collect();
            let (z, dcodes) = (rounded(&z, number), random(rows * 4, 2, number));
            let latents = Latents { number, rows, width: 4, z: bench.numbers("z", &z, number)? };
            let on_device = bench.numbers("levels", &levels, Number::F32)?;
            let (codes, dz) = (bench.out("codes", rows * 4, number)?, bench.out("dz", rows * 4, number)?);
            let index = bench.out("index", rows, Number::F32)?;
            latents.fsq(bench.gpu(), on_device, codes.pointer(), index.pointer())?;
            latents.fsq_backward(bench.gpu(), on_device, bench.numbers("dcodes", &dcodes, number)?, dz.pointer())?;
            let (mut expected, mut gradient, mut places) = (Vec::new(), Vec::new(), Vec::new());
            for (z, dcodes) in wide(&z).chunks(4).zip(wide(&dcodes).chunks(4)) {
                let (mut place, mut radix) = (0.0, 1.0);
                for d in 0..4 {
                    let level = f64::from(levels[d]);
                    let half = (level - 1.0) * 1.001 / 2.0;
                    let offset = if level % 2.0 == 0.0 { 0.5 } else { 0.0 };
                    let t = (z[d] + f64::atanh(offset / half)).tanh();
                    let code = (t * half - offset).round_ties_even();
                    assert!(code + (level / 2.0).floor() >= 0.0 && code + (level / 2.0).floor() < level);
                    expected.push(code / (level / 2.0).floor());
                    gradient.push(dcodes[d] * half * (1.0 - t * t) / (level / 2.0).floor());
                    place += (code + (level / 2.0).floor()) * radix;
                    radix *= level;
                }
                places.push(place as u32);
            }
            assert_near(bench, "codes", &codes, &expected, tolerance(number))?;
            assert_near(bench, "dz", &dz, &gradient, tolerance(number))?;
            assert_eq!(index.integers()?, places);
        }
        Ok(())
    })
}

#[test]
fn lfq_takes_signs_and_counts_them_as_bits() -> Result<()> {
    on_every_device(|bench| {
        for (number, rows) in NUMBERS.into_iter().flat_map(|n| ROWS.map(|rows| (n, rows))) {
            let z = random(rows * 10, 1, number);
            let latents = Latents { number, rows, width: 10, z: bench.numbers("z", &z, number)? };
            let (codes, index) = (bench.out("codes", rows * 10, number)?, bench.out("index", rows, Number::F32)?);
            latents.lfq(bench.gpu(), codes.pointer(), index.pointer())?;
            let signs: Vec<f64> = z.iter().map(|&z| if z > 0.0 { 1.0 } else { -1.0 }).collect();
            let bits = |row: &[f64]| row.iter().enumerate().map(|(d, &s)| u32::from(s > 0.0) << d).sum::<u32>();
            assert_near(bench, "codes", &codes, &signs, 0.0)?;
            assert_eq!(index.integers()?, signs.chunks(10).map(bits).collect::<Vec<_>>());
        }
        Ok(())
    })
}

#[test]
fn values_fall_into_the_bin_whose_edges_hold_them() -> Result<()> {
    on_every_device(|bench| {
        for (number, rows) in NUMBERS.into_iter().flat_map(|n| ROWS.map(|rows| (n, rows))) {
            for bins in [1, 2, 7, 64] {
                let mut edges = random(bins + 1, 3, number);
                edges.sort_by(f32::total_cmp);
                let centres = random(bins, 4, number);
                let mut x = random(rows, 1, number);
                // On an edge, and far outside.
                for (x, edge) in x.iter_mut().zip([edges[bins / 2], 1e30, -1e30, f32::NAN]) {
                    *x = rounded(&[edge], number)[0];
                }
                let latents = Latents { number, rows, width: 1, z: bench.numbers("x", &x, number)? };
                let (codes, index) = (bench.out("codes", rows, number)?, bench.out("index", rows, Number::F32)?);
                let tables =
                    [bench.numbers("edges", &edges, Number::F32)?, bench.numbers("centres", &centres, Number::F32)?];
                latents.quantile(bench.gpu(), tables, bins, [codes.pointer(), index.pointer()])?;
                let bin = |&x: &f32| edges[1..bins].iter().filter(|&&edge| x >= edge).count();
                let expected: Vec<usize> = x.iter().map(bin).collect();
                assert_eq!(index.integers()?, expected.iter().map(|&bin| bin as u32).collect::<Vec<_>>());
                let values: Vec<f64> = expected.iter().map(|&bin| f64::from(centres[bin])).collect();
                assert_near(bench, "codes", &codes, &values, 0.0)?;
            }
        }
        Ok(())
    })
}
