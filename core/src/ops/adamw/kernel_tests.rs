//! AdamW kernels against the CPU optimizer.

use super::{AdamW, Number, Slot, Step};
use crate::ops::Gradients;
use crate::ops::gpu::testing::{Bench, Out, assert_near, on_every_device, random, wide};
use crate::train::{self, Group};
use crate::{Decay, Parameter};
use candle_core::{Device, Result, Tensor, Var};

/// Awkward sizes in one list: none, one, less and more than a chunk, and one off a multiple of four.
const SIZES: [usize; 6] = [0, 1, 127, 4096, 4097, 9001];
const BETAS: [f64; 2] = [0.9, 0.99];
const EPSILON: f64 = 1e-8;

struct Case {
    number: Number,
    rate: f64,
    clip: Option<f64>,
    /// Gradients of each step are multiplied by its factor.
    factors: Vec<f32>,
}

impl Case {
    fn gradient(&self, size: usize, step: usize) -> Vec<f32> {
        let values = random(size, 10 + step as u32, self.number);
        values.iter().map(|g| g * self.factors[step]).collect()
    }

    fn on_cpu(&self) -> Result<(Vec<Vec<f64>>, train::StepReport)> {
        let named = SIZES.iter().enumerate().map(|(i, &size)| {
            let var = Var::from_tensor(&Tensor::from_vec(random(size, 1, Number::F32), size, &Device::Cpu)?)?;
            let decay = if i % 2 == 0 { Decay::Yes } else { Decay::No };
            Ok((format!("p{i}"), Parameter { var, decay }))
        });
        let named: Vec<(String, Parameter)> = named.collect::<Result<_>>()?;
        let group = Group { prefix: String::new(), learning_rate: 0.5, weight_decay: 0.1 };
        let mut adamw = train::AdamW::new(named.clone(), vec![group], BETAS, EPSILON);
        let mut report = None;
        for step in 0..self.factors.len() {
            // The gradients of `Σ parameter gradient`.
            let mut gradients = Gradients::new(&named).expect("f32 on the CPU");
            for ((_, parameter), &size) in named.iter().zip(&SIZES) {
                let gradient = Tensor::from_vec(self.gradient(size, step), size, &Device::Cpu)?;
                let loss = (parameter.var.as_tensor() * gradient)?.sum_all()?;
                gradients.backward(&loss).expect("a scalar on the CPU");
            }
            report = Some(adamw.step(&gradients, self.rate, self.clip).expect("f32 on the CPU"));
        }
        let values = named.iter().map(|(_, p)| Ok(wide(&p.var.as_tensor().to_vec1::<f32>()?)));
        Ok((values.collect::<Result<_>>()?, report.expect("a step")))
    }

    fn check(&self, bench: &Bench) -> Result<()> {
        let (expected, expected_report) = self.on_cpu()?;
        let mut outs: Vec<(Out, Out)> = Vec::new();
        let (mut list, mut kept) = (Vec::new(), Vec::new());
        for (i, &size) in SIZES.iter().enumerate() {
            let parameter = bench.filled("parameter", &random(size, 1, Number::F32), Number::F32)?;
            let copy = bench.out("copy", size, Number::Bf16)?;
            let first = bench.filled("first moments", &vec![0.0; size], Number::F32)?;
            let second = bench.filled("second moments", &vec![0.0; size], Number::F32)?;
            list.push(Slot {
                parameter: parameter.pointer(),
                first: first.pointer(),
                second: second.pointer(),
                copy: copy.pointer(),
                count: size,
                rate: 0.5,
                decay: if i % 2 == 0 { 0.1 } else { 0.0 },
            });
            outs.push((parameter, copy));
            kept.extend([first, second]);
        }
        let step = Step { learning_rate: self.rate, clip_norm: self.clip, betas: BETAS, epsilon: EPSILON };
        let mut adamw = AdamW::new(bench.gpu(), self.number, &list, 0)?;
        for i in 0..self.factors.len() {
            let gradient = |&size: &usize| bench.numbers("gradient", &self.gradient(size, i), self.number);
            adamw.step(bench.gpu(), &SIZES.iter().map(gradient).collect::<Result<Vec<_>>>()?, step)?;
        }
        let last = adamw.report()?;
        if expected_report.gradient_norm.is_finite() {
            assert!((last.norm / expected_report.gradient_norm - 1.0).abs() < 1e-6, "{last:?} {expected_report:?}");
        }
        assert_eq!(last.applied, expected_report.gradient_norm.is_finite(), "{}", bench.label());
        assert_eq!(last.steps as usize, self.factors.iter().filter(|f| f.is_finite()).count());
        for ((parameter, copy), expected) in outs.iter().zip(&expected) {
            assert_near(bench, "parameter", parameter, expected, 1e-6)?;
            if last.applied {
                assert_near(bench, "copy", copy, expected, 4e-3)?;
            }
        }
        Ok(())
    }
}

#[test]
fn steps_equal_the_cpu_with_and_without_clipping() -> Result<()> {
    on_every_device(|bench| {
        for number in [Number::F32, Number::Bf16] {
            for clip in [None, Some(1.0), Some(1e6)] {
                // Powers of two keep gradients exact in bf16.
                Case { number, rate: 1e-2, clip, factors: vec![1.0, 0.25] }.check(bench)?;
            }
        }
        Ok(())
    })
}

#[test]
fn a_norm_that_is_not_finite_changes_nothing() -> Result<()> {
    on_every_device(|bench| {
        for bad in [f32::NAN, f32::INFINITY] {
            Case { number: Number::F32, rate: 1e-2, clip: Some(1.0), factors: vec![1.0, bad] }.check(bench)?;
        }
        Ok(())
    })
}

#[test]
fn huge_gradients_do_not_overflow_the_norm() -> Result<()> {
    on_every_device(|bench| Case { number: Number::F32, rate: 1e-2, clip: Some(1.0), factors: vec![1e30] }.check(bench))
}

#[test]
fn an_empty_list_has_a_norm_of_zero() -> Result<()> {
    on_every_device(|bench| {
        let mut adamw = AdamW::new(bench.gpu(), Number::F32, &[], 3)?;
        adamw.step(bench.gpu(), &[], Step { learning_rate: 1.0, clip_norm: None, betas: BETAS, epsilon: EPSILON })?;
        let report = adamw.report()?;
        assert_eq!((report.norm, report.steps, report.applied), (0.0, 4, true));
        Ok(())
    })
}
