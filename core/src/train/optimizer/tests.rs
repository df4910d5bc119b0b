//! AdamW against a naive loop, and its state saved and restored.

use super::*;
use candle_core::{Device, Var};

const BETAS: [f64; 2] = [0.9, 0.999];
const EPSILON: f64 = 1e-8;

fn parameter(values: &[f32], decay: Decay) -> Result<Parameter> {
    Ok(Parameter { var: Var::from_tensor(&Tensor::new(values, &Device::Cpu)?)?, decay })
}

fn group(prefix: &str, learning_rate: f64, weight_decay: f64) -> Group {
    Group { prefix: prefix.into(), learning_rate, weight_decay }
}

fn values_of(parameter: &Parameter) -> Result<Vec<f32>> {
    Ok(parameter.var.as_tensor().to_vec1()?)
}

fn gradient(length: usize, step: u32) -> Result<Tensor> {
    let values: Vec<f32> =
        (0..length as u32).map(|i| ((i * 37 + step * 101) % 64) as f32 / 16.0 - 2.0 + 0.01 * step as f32).collect();
    Ok(Tensor::new(values.as_slice(), &Device::Cpu)?)
}

/// Sums that hold these gradients: those of `Σ parameter gradient`.
fn sums(parameters: &[(String, Parameter)], gradients: &[Tensor]) -> Result<Gradients> {
    let mut sums = Gradients::new(parameters)?;
    for ((_, parameter), gradient) in parameters.iter().zip(gradients) {
        sums.backward(&(parameter.var.as_tensor() * gradient)?.sum_all()?)?;
    }
    Ok(sums)
}

/// PyTorch's documented algorithm, in f64.
struct Naive {
    theta: Vec<f64>,
    m: Vec<f64>,
    v: Vec<f64>,
}

impl Naive {
    fn step(&mut self, t: i32, g: &[f64], lr: f64, decay: f64) {
        for i in 0..g.len() {
            self.theta[i] -= lr * decay * self.theta[i];
            self.m[i] = BETAS[0] * self.m[i] + (1.0 - BETAS[0]) * g[i];
            self.v[i] = BETAS[1] * self.v[i] + (1.0 - BETAS[1]) * g[i] * g[i];
            let m = self.m[i] / (1.0 - BETAS[0].powi(t));
            let v = self.v[i] / (1.0 - BETAS[1].powi(t));
            self.theta[i] -= lr * m / (v.sqrt() + EPSILON);
        }
    }
}

#[test]
fn five_steps_equal_the_documented_algorithm() -> Result<()> {
    let start = [0.5_f32, -1.0, 2.0, 0.25, -0.125];
    let parameters: Vec<(String, Parameter)> = vec![
        ("a.w".into(), parameter(&start, Decay::Yes)?),
        ("a.b".into(), parameter(&start, Decay::No)?),
        ("c.w".into(), parameter(&start, Decay::Yes)?),
    ];
    let groups = vec![group("c", 0.1, 0.5), group("", 1.0, 0.05)];
    let (rate, clip) = (1e-2, 3.0);
    let mut adamw = AdamW::new(parameters.clone(), groups, BETAS, EPSILON);
    let settings = [(rate, 0.05), (rate, 0.0), (0.1 * rate, 0.5)];
    let mut naive: Vec<Naive> = (0..3)
        .map(|_| Naive { theta: start.iter().map(|&x| x.into()).collect(), m: vec![0.0; 5], v: vec![0.0; 5] })
        .collect();
    for t in 1..=5 {
        let gradients = (0..3).map(|i| gradient(5, t + 10 * i)).collect::<Result<Vec<_>>>()?;
        let report = adamw.step(&sums(&parameters, &gradients)?, rate, Some(clip))?;
        let plain: Vec<Vec<f64>> = gradients
            .iter()
            .map(|g| Ok(g.to_vec1::<f32>()?.into_iter().map(f64::from).collect()))
            .collect::<Result<_>>()?;
        let norm = plain.iter().flatten().map(|g| g * g).sum::<f64>().sqrt();
        assert!((report.gradient_norm - norm).abs() < 1e-12 * norm);
        assert_eq!(report.clipped, norm > clip);
        let scale = if norm > clip { clip / norm } else { 1.0 };
        for ((naive, g), (rate, decay)) in naive.iter_mut().zip(&plain).zip(settings) {
            let g: Vec<f64> = g.iter().map(|g| g * scale).collect();
            naive.step(t as i32, &g, rate, decay);
        }
        for ((name, parameter), naive) in parameters.iter().zip(&naive) {
            for (ours, theirs) in values_of(parameter)?.iter().zip(&naive.theta) {
                assert!((f64::from(*ours) - theirs).abs() < 1e-6, "{name} after {t}: {ours}, not {theirs}");
            }
        }
    }
    assert_eq!(adamw.steps(), 5);
    Ok(())
}

#[test]
fn the_first_step_has_the_size_of_the_rate() -> Result<()> {
    // m / (1 - b1) = g and v / (1 - b2) = g²: the step is rate * sign(g).
    let parameters = vec![("w".to_owned(), parameter(&[1.0, 1.0], Decay::Yes)?)];
    let mut adamw = AdamW::new(parameters.clone(), vec![], BETAS, EPSILON);
    let report = adamw.step(&sums(&parameters, &[Tensor::new(&[3.0_f32, -4.0], &Device::Cpu)?])?, 0.125, Some(5.0))?;
    assert_eq!(report, StepReport { gradient_norm: 5.0, clipped: false });
    for (value, expected) in values_of(&parameters[0].1)?.iter().zip([0.875, 1.125]) {
        assert!((value - expected).abs() < 1e-6, "{value}");
    }
    Ok(())
}

#[test]
fn a_restored_optimizer_goes_on_to_the_same_bit() -> Result<()> {
    let make = |values: &[f32]| -> Result<(Vec<(String, Parameter)>, AdamW)> {
        let parameters = vec![("w".to_owned(), parameter(values, Decay::Yes)?)];
        let adamw = AdamW::new(parameters.clone(), vec![group("", 1.0, 0.1)], BETAS, EPSILON);
        Ok((parameters, adamw))
    };
    let length = 100_007;
    let (through, mut adamw) = make(&vec![0.5; length])?;
    for t in 1..=3 {
        adamw.step(&sums(&through, &[gradient(length, t)?])?, 1e-2, Some(1.0))?;
    }
    let (resumed, mut copy) = make(&values_of(&through[0].1)?)?;
    copy.restore(&adamw.state()?, adamw.steps())?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().map_err(candle_core::Error::wrap)?;
    for t in 4..=6 {
        let one = adamw.step(&sums(&through, &[gradient(length, t)?])?, 1e-2, Some(1.0))?;
        let two = pool.install(|| copy.step(&sums(&resumed, &[gradient(length, t)?])?, 1e-2, Some(1.0)))?;
        assert_eq!(one, two);
    }
    assert_eq!(values_of(&through[0].1)?, values_of(&resumed[0].1)?);
    assert_eq!(adamw.steps(), copy.steps());
    Ok(())
}

#[test]
fn a_gradient_that_is_not_finite_changes_nothing() -> Result<()> {
    let parameters = vec![("w".to_owned(), parameter(&[1.0, 2.0], Decay::Yes)?)];
    let mut adamw = AdamW::new(parameters.clone(), vec![group("", 1.0, 0.1)], BETAS, EPSILON);
    for bad in [f32::NAN, f32::INFINITY] {
        let report = adamw.step(&sums(&parameters, &[Tensor::new(&[1.0, bad], &Device::Cpu)?])?, 0.1, Some(1.0))?;
        assert!(!report.gradient_norm.is_finite());
    }
    assert_eq!(values_of(&parameters[0].1)?, [1.0, 2.0]);
    assert_eq!(adamw.steps(), 0);
    assert_eq!(adamw.state()?["w.first"].to_vec1::<f32>()?, [0.0, 0.0]);
    Ok(())
}

#[test]
fn large_gradients_have_a_finite_norm() -> Result<()> {
    let parameters = vec![("w".to_owned(), parameter(&[1.0], Decay::No)?)];
    let mut adamw = AdamW::new(parameters.clone(), vec![], BETAS, EPSILON);
    let report = adamw.step(&sums(&parameters, &[Tensor::new(&[f32::MAX], &Device::Cpu)?])?, 0.1, Some(1.0))?;
    assert_eq!(report, StepReport { gradient_norm: f64::from(f32::MAX), clipped: true });
    Ok(())
}

#[test]
fn frozen_parameters_stay_and_do_not_count() -> Result<()> {
    let names = ["trunk.image.w", "trunk.image_two.w"];
    let parameters = names.map(|name| Ok((name.to_owned(), parameter(&[1.0], Decay::Yes)?)));
    let parameters = parameters.into_iter().collect::<Result<Vec<_>>>()?;
    let groups = vec![group("trunk.image", 0.0, 0.5), group("", 1.0, 0.5)];
    let mut adamw = AdamW::new(parameters.clone(), groups, BETAS, EPSILON);
    let gradients = [Tensor::new(&[f32::NAN], &Device::Cpu)?, Tensor::new(&[2.0_f32], &Device::Cpu)?];
    let report = adamw.step(&sums(&parameters, &gradients)?, 0.1, None)?;
    assert_eq!(report.gradient_norm, 2.0);
    assert_eq!(values_of(&parameters[0].1)?, [1.0]);
    assert_ne!(values_of(&parameters[1].1)?, [1.0], "a prefix ends at a dot");
    Ok(())
}

#[test]
fn what_does_not_fit_is_an_error_and_changes_nothing() -> Result<()> {
    let parameters = vec![("w".to_owned(), parameter(&[1.0, 2.0], Decay::Yes)?)];
    let mut adamw = AdamW::new(parameters.clone(), vec![], BETAS, EPSILON);
    let short = Tensor::new(&[1.0_f32], &Device::Cpu)?;
    let message = |error: Option<Error>| error.map(|e| e.to_string()).unwrap_or_default();
    assert_eq!(message(adamw.step(&Gradients::new(&[])?, 0.1, None).err()), "optimizer: expected 1 gradients, got 0");
    let other = vec![("w".to_owned(), parameter(&[1.0], Decay::Yes)?)];
    let got = message(adamw.step(&sums(&other, std::slice::from_ref(&short))?, 0.1, None).err());
    assert_eq!(got, "gradient of `w`: expected 2 numbers, got 1");
    let mut state = adamw.state()?;
    state.insert("w.second".into(), short);
    assert_eq!(message(adamw.restore(&state, 7).err()), "optimizer state `w.second`: expected [2], got [1]");
    state.remove("w.second");
    assert_eq!(message(adamw.restore(&state, 7).err()), "optimizer state `w.second`: expected [2], got nothing");
    assert_eq!((adamw.steps(), values_of(&parameters[0].1)?), (0, vec![1.0, 2.0]));
    Ok(())
}
