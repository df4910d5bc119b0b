//! Cross-entropy kernels against a plain loop in f64.

use super::{IGNORED, Number, Pointer, Rows};
use crate::ops::gpu::testing::{Bench, assert_near, on_every_device, random, rounded, tolerance, wide};
use candle_core::Result;

struct Case {
    number: Number,
    classes: usize,
    logits: Vec<f32>,
    targets: Vec<u32>,
    weights: Option<Vec<f32>>,
    smoothing: f32,
}

impl Case {
    fn new(number: Number, rows: usize, classes: usize) -> Self {
        let targets = (0..rows).map(|row| if row % 5 == 3 { IGNORED } else { (row * 7 % classes) as u32 }).collect();
        let logits = random(rows * classes, 1, number);
        Self { number, classes, logits, targets, weights: None, smoothing: 0.0 }
    }

    /// The loss, and its gradient times `upstream`.
    fn expected(&self, upstream: f64) -> (f64, Vec<f64>) {
        let (logits, s) = (wide(&self.logits), f64::from(self.smoothing));
        let weight = |row: usize| match (&self.weights, self.targets[row]) {
            (_, IGNORED) => 0.0,
            (Some(weights), _) => f64::from(weights[row]),
            (None, _) => 1.0,
        };
        let sum: f64 = (0..self.targets.len()).map(weight).sum();
        let inverse = if sum > 0.0 { 1.0 / sum } else { 0.0 };
        let (mut loss, mut gradient) = (0.0, vec![0.0; logits.len()]);
        for (row, x) in logits.chunks(self.classes).enumerate().filter(|(row, _)| self.targets[*row] != IGNORED) {
            let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let log_sum = largest + x.iter().map(|x| (x - largest).exp()).sum::<f64>().ln();
            let mean = x.iter().sum::<f64>() / self.classes as f64;
            let target = self.targets[row] as usize;
            loss += weight(row) * inverse * (log_sum - (1.0 - s) * x[target] - s * mean);
            for (class, x) in x.iter().enumerate() {
                let wanted = s / self.classes as f64 + if class == target { 1.0 - s } else { 0.0 };
                gradient[row * self.classes + class] =
                    upstream * weight(row) * inverse * ((x - log_sum).exp() - wanted);
            }
        }
        (loss, gradient)
    }

    fn run(&self, bench: &Bench) -> Result<(f64, crate::ops::gpu::testing::Out)> {
        let rows = Rows {
            number: self.number,
            rows: self.targets.len(),
            classes: self.classes,
            logits: bench.numbers("logits", &self.logits, self.number)?,
            targets: bench.integers("targets", &self.targets)?,
            weights: match &self.weights {
                Some(weights) => bench.numbers("weights", weights, Number::F32)?,
                None => Pointer::NULL,
            },
            smoothing: self.smoothing,
        };
        let loss = bench.out("loss", 2, Number::F32)?;
        let statistics = bench.gpu().allocate("statistics", rows.statistics_bytes())?;
        let dlogits = bench.out("dlogits", self.logits.len(), self.number)?;
        rows.forward(bench.gpu(), loss.pointer(), statistics.pointer())?;
        let upstream = bench.numbers("upstream", &[3.0], Number::F32)?;
        rows.backward(bench.gpu(), [loss.pointer(), statistics.pointer(), upstream], dlogits.pointer())?;
        Ok((loss.numbers()?[0], dlogits))
    }

    fn check(&self, bench: &Bench) -> Result<()> {
        let (loss, dlogits) = self.run(bench)?;
        let (expected, gradient) = self.expected(3.0);
        let what = format!("{:?} {} x {}", self.number, self.targets.len(), self.classes);
        assert!((loss - expected).abs() <= 1e-5 * (1.0 + expected.abs()), "{what}: {loss}, not {expected}");
        assert_near(bench, &what, &dlogits, &gradient, tolerance(self.number))
    }
}

#[test]
fn loss_and_gradient_equal_a_plain_loop() -> Result<()> {
    on_every_device(|bench| {
        for number in [Number::F32, Number::Bf16] {
            for (rows, classes) in [(0, 3), (1, 1), (9, 127), (129, 5), (3, 1040), (2, 2501)] {
                let mut case = Case::new(number, rows, classes);
                case.check(bench)?;
                case.smoothing = 0.1;
                case.weights = Some((0..rows).map(|row| row as f32 * 0.5).collect());
                case.check(bench)?;
            }
        }
        Ok(())
    })
}

#[test]
fn large_logits_lose_nothing() -> Result<()> {
    on_every_device(|bench| {
        for number in [Number::F32, Number::Bf16] {
            let mut case = Case::new(number, 7, 33);
            let large: Vec<f32> = case.logits.iter().map(|x| x * 1e4).collect();
            case.logits = rounded(&large, number);
            case.check(bench)?;
        }
        Ok(())
    })
}

#[test]
fn ignored_rows_may_hold_anything_and_alone_give_zero() -> Result<()> {
    on_every_device(|bench| {
        for classes in [5, 1040] {
            let mut case = Case::new(Number::F32, 4, classes);
            case.targets = vec![IGNORED; 4];
            case.logits.fill(f32::NAN);
            let (loss, dlogits) = case.run(bench)?;
            assert!(loss == 0.0 && dlogits.numbers()?.iter().all(|&g| g == 0.0));
        }
        Ok(())
    })
}

#[test]
fn a_target_without_a_class_is_not_a_number() -> Result<()> {
    on_every_device(|bench| {
        let mut case = Case::new(Number::F32, 4, 5);
        case.targets[1] = 5;
        assert!(case.run(bench)?.0.is_nan());
        Ok(())
    })
}
