//! Kernels of the norms against the CPU op, and against a plain loop where the CPU has none.

use super::{Norm, Number, Pointer, Rows};
use crate::ops::gpu::testing::{Bench, assert_near, on_every_device, random, tolerance, wide};
use candle_core::{Device, Result, Tensor};

const EPSILON: f32 = 1e-5;

struct Case {
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    dy: Vec<f32>,
}

impl Case {
    fn new(rows: usize, width: usize, number: Number) -> Self {
        let mut x = random(rows * width, 1, number);
        // One row far from 0, and one of equal values.
        x.iter_mut().take(width).for_each(|x| *x += 64.0);
        x.iter_mut().skip(width).take(width).for_each(|x| *x = 3.0);
        let x = crate::ops::gpu::testing::rounded(&x, number);
        Self {
            x,
            weight: random(width, 2, number),
            bias: random(width, 3, number),
            dy: random(rows * width, 4, number),
        }
    }

    fn on(&self, bench: &Bench, norm: Norm, number: Number) -> Result<[Vec<f64>; 4]> {
        let (width, rows) = (self.weight.len(), self.x.len() / self.weight.len());
        let norm_rows = Rows {
            norm,
            number,
            rows,
            width,
            epsilon: EPSILON,
            x: bench.numbers("x", &self.x, number)?,
            weight: bench.numbers("weight", &self.weight, number)?,
        };
        let (y, dx) = (bench.out("y", rows * width, number)?, bench.out("dx", rows * width, number)?);
        let (dweight, dbias) = (bench.out("dweight", width, number)?, bench.out("dbias", width, number)?);
        let dy = bench.numbers("dy", &self.dy, number)?;
        let bias = match norm {
            Norm::Layer => bench.numbers("bias", &self.bias, number)?,
            Norm::Rms => Pointer::NULL,
        };
        norm_rows.forward(bench.gpu(), bias, y.pointer())?;
        norm_rows.backward(bench.gpu(), dy, [dx.pointer(), dweight.pointer(), dbias.pointer()])?;
        let expected = match norm {
            Norm::Layer => self.layer_norm_on_cpu()?,
            Norm::Rms => self.rms_norm(),
        };
        // Weight gradients are sums over rows of rounded terms.
        let sums = tolerance(number) * (rows as f64).sqrt().max(1.0);
        for (what, got, expected, tolerance) in [
            ("y", &y, &expected[0], tolerance(number)),
            ("dx", &dx, &expected[1], 4.0 * tolerance(number)),
            ("dweight", &dweight, &expected[2], sums),
        ] {
            assert_near(bench, &format!("{norm:?} {rows} x {width} {number:?} {what}"), got, expected, tolerance)?;
        }
        if norm == Norm::Layer {
            assert_near(bench, "dbias", &dbias, &expected[3], sums)?;
        }
        Ok(expected)
    }

    fn layer_norm_on_cpu(&self) -> Result<[Vec<f64>; 4]> {
        let (width, rows) = (self.weight.len(), self.x.len() / self.weight.len());
        let tensor = |values: &[f32], shape: &[usize]| Tensor::from_slice(values, shape, &Device::Cpu);
        let vars = [
            candle_core::Var::from_tensor(&tensor(&self.x, &[rows, width])?)?,
            candle_core::Var::from_tensor(&tensor(&self.weight, &[width])?)?,
            candle_core::Var::from_tensor(&tensor(&self.bias, &[width])?)?,
        ];
        let y = crate::ops::layer_norm(&vars[0], &vars[1], &vars[2], f64::from(EPSILON))?;
        let gradients = (&y * &tensor(&self.dy, &[rows, width])?)?.sum_all()?.backward()?;
        let gradient = |i: usize| gradients.get(&vars[i]).map_or_else(|| vars[i].zeros_like(), |g| Ok(g.clone()));
        let numbers = |t: Tensor| -> Result<Vec<f64>> { Ok(wide(&t.flatten_all()?.to_vec1::<f32>()?)) };
        Ok([numbers(y)?, numbers(gradient(0)?)?, numbers(gradient(1)?)?, numbers(gradient(2)?)?])
    }

    fn rms_norm(&self) -> [Vec<f64>; 4] {
        let width = self.weight.len();
        let (x, weight, dy) = (wide(&self.x), wide(&self.weight), wide(&self.dy));
        let (mut y, mut dx, mut dweight) = (vec![0.0; x.len()], vec![0.0; x.len()], vec![0.0; width]);
        for row in 0..x.len() / width {
            let at = row * width;
            let square = x[at..at + width].iter().map(|x| x * x).sum::<f64>() / width as f64;
            let scale = 1.0 / (square + f64::from(EPSILON)).sqrt();
            let along: f64 = (0..width).map(|i| dy[at + i] * weight[i] * x[at + i] * scale).sum::<f64>() / width as f64;
            for i in 0..width {
                let normal = x[at + i] * scale;
                y[at + i] = normal * weight[i];
                dx[at + i] = scale * (dy[at + i] * weight[i] - normal * along);
                dweight[i] += dy[at + i] * normal;
            }
        }
        [y, dx, dweight, vec![0.0; width]]
    }
}

#[test]
fn kernels_equal_the_cpu_on_awkward_shapes() -> Result<()> {
    on_every_device(|bench| {
        for number in [Number::F32, Number::Bf16] {
            for norm in [Norm::Layer, Norm::Rms] {
                for (rows, width) in [(0, 8), (1, 1), (2, 127), (5, 129), (129, 33), (130, 64), (3, 1024)] {
                    Case::new(rows, width, number).on(bench, norm, number)?;
                }
            }
        }
        Ok(())
    })
}

#[test]
fn many_rows_are_summed_in_chunks() -> Result<()> {
    let bench_rows = 4100; // more than 64 rows in each of 64 chunks
    on_every_device(|bench| Case::new(bench_rows, 3, Number::F32).on(bench, Norm::Layer, Number::F32).map(|_| ()))
}

#[test]
fn large_values_stay_finite() -> Result<()> {
    on_every_device(|bench| {
        let mut case = Case::new(3, 40, Number::F32);
        case.x.iter_mut().for_each(|x| *x *= 1e4);
        case.on(bench, Norm::Layer, Number::F32).map(|_| ())
    })
}
