//! Sinusoidal encodings against a plain loop in f64.

use super::{Angles, Number};
use crate::ops::gpu::testing::{assert_near, on_every_device, random, tolerance};
use candle_core::Result;

#[test]
fn encodings_and_gradients_equal_a_plain_loop() -> Result<()> {
    on_every_device(|bench| {
        for number in [Number::F32, Number::Bf16] {
            for (count, n) in [(0, 4), (3, 0), (1, 1), (127, 33), (129, 16), (5, 129)] {
                let mut x = random(count, 1, Number::F32);
                // Wavelengths in angstrom and times in days: thousands of turns.
                x.iter_mut().for_each(|x| *x *= 1e4);
                let frequencies: Vec<f32> = (0..n).map(|k| (-(k as f32) * 0.3).exp()).collect();
                let dout = random(count * 2 * n, 2, number);
                let angles = Angles {
                    number,
                    count,
                    frequencies_count: n,
                    x: bench.numbers("x", &x, Number::F32)?,
                    frequencies: bench.numbers("frequencies", &frequencies, Number::F32)?,
                };
                let (out, dx) = (bench.out("out", count * 2 * n, number)?, bench.out("dx", count, Number::F32)?);
                angles.forward(bench.gpu(), out.pointer())?;
                angles.backward(bench.gpu(), bench.numbers("dout", &dout, number)?, dx.pointer())?;
                let (mut expected, mut gradient) = (vec![0.0; count * 2 * n], vec![0.0; count]);
                for i in 0..count {
                    for k in 0..n {
                        // The product is rounded to f32, as the formula says.
                        let (sine, cosine) = f64::from(x[i] * frequencies[k]).sin_cos();
                        expected[i * 2 * n + k] = sine;
                        expected[i * 2 * n + n + k] = cosine;
                        let upstream = |at: usize| f64::from(dout[i * 2 * n + at]);
                        gradient[i] += f64::from(frequencies[k]) * (cosine * upstream(k) - sine * upstream(n + k));
                    }
                }
                assert_near(bench, "out", &out, &expected, tolerance(number))?;
                assert_near(bench, "dx", &dx, &gradient, 2e-5)?;
            }
        }
        Ok(())
    })
}
