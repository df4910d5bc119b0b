//! Times of single operations on a CUDA device, forward and backward, at the shapes of a large training step: what
//! `benches/gpu/kernels.py` does in PyTorch.
//!
//!     cargo bench --features cuda --bench gpu_kernels -- [cuda:N]
//!
//! Prints the device, then a line `NAME TYPE milliseconds` per operation.

#![expect(clippy::print_stdout, reason = "what it measured is its output")]

use panchroma_core::ops::cross_entropy::cross_entropy;
use panchroma_core::ops::stack::{AttentionBranch, Branch, LinearParameters, MlpBranch, NormParameters};
use panchroma_core::ops::{self, Activation, Gradients, Keep, Mask, NormKind, Sequences};
use panchroma_core::reexport::candle_core::{D as LAST, DType, Device, Tensor, Var};
use panchroma_core::train::{AdamW, Group};
use panchroma_core::{Decay, DeviceChoice, Init, Parameter, Parameters, Result};
use std::time::Instant;

/// Passes that count, after three that don't.
const PASSES: usize = 20;

/// Rows, width, hidden width, heads, tokens of a sequence, classes, pairs, dimensions of a pair.
const M: usize = 32_768;
const D: usize = 1024;
const N: usize = 4096;
const H: usize = 16;
const T: usize = 1024;
const V: usize = 8192;
const P: usize = 4096;
const E: usize = 512;

fn main() -> Result<()> {
    let choice = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(DeviceChoice::Cuda(0));
    let open = choice.open()?;
    println!("device {}", open.name);
    for number in [DType::F32, DType::BF16] {
        for name in NAMES {
            let seconds = time(name, number, &open.device)?;
            println!("{name} {} {:.3}", number.as_str(), 1e3 * seconds);
        }
    }
    Ok(())
}

const NAMES: [&str; 9] =
    ["linear", "layer_norm", "gelu", "attention", "cross_entropy", "gather", "infonce", "block", "adamw"];

fn normal(shape: &[usize], number: DType, device: &Device) -> Result<Var> {
    Ok(Var::from_tensor(&Tensor::randn(0f32, 1.0, shape, device)?.to_dtype(number)?)?)
}

/// Median seconds of a forward and a backward pass, or of a step of the optimizer.
fn time(name: &str, number: DType, device: &Device) -> Result<f64> {
    let new = |shape: &[usize]| normal(shape, number, device);
    let data = |values: Vec<u32>| Tensor::new(values, &Device::Cpu);
    match name {
        "linear" => passes(device, &[new(&[M, D])?, new(&[N, D])?], |t| Ok(ops::linear(&t[0], &t[1], None)?)),
        "layer_norm" => passes(device, &[new(&[M, D])?, new(&[D])?, new(&[D])?], |t| {
            Ok(ops::layer_norm(&t[0], &t[1], &t[2], 1e-5)?)
        }),
        "gelu" => passes(device, &[new(&[M, N])?], |t| Ok(ops::activation(Activation::Gelu, &t[0])?)),
        "attention" => passes(device, &[new(&[M / T, T, 3 * D])?], |t| Ok(ops::self_attention(&t[0], H, None)?)),
        "cross_entropy" => {
            let targets = data((0..8192u32).map(|i| i % V as u32).collect())?;
            passes(device, &[new(&[8192, V])?], |t| Ok(cross_entropy(&t[0], &targets, 0.1, None)?))
        }
        "gather" => {
            let rows = data((0..M as u32).map(|i| i.wrapping_mul(7919) % M as u32).collect())?;
            passes(device, &[new(&[M, D])?], |t| Ok(ops::gather(&t[0], &rows)?))
        }
        "infonce" => {
            let scale = Tensor::new(10f32, device)?;
            passes(device, &[new(&[P, E])?, new(&[P, E])?], |t| {
                Ok(ops::contrastive::infonce(&t[0], &t[1], &scale)?.loss)
            })
        }
        "block" => block(number, device),
        _ => adamw(device),
    }
}

/// The sum of all values, by rows first: candle's kernel for a single sum keeps one of the GPU's processors busy and all
/// others idle.
fn sum(x: &Tensor) -> Result<Tensor> {
    if x.rank() == 0 { Ok(x.clone()) } else { Ok(x.sum(LAST::Minus1)?.sum_all()?) }
}

/// `f` and its backward pass for the gradient of a sum.
fn passes(device: &Device, inputs: &[Var], f: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<f64> {
    let tensors: Vec<Tensor> = inputs.iter().map(|var| var.as_tensor().clone()).collect();
    median(device, || {
        sum(&f(&tensors)?)?.backward()?;
        Ok(())
    })
}

fn median(device: &Device, mut f: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut times = Vec::new();
    for pass in 0..PASSES + 3 {
        device.synchronize()?;
        let start = Instant::now();
        f()?;
        device.synchronize()?;
        if pass >= 3 {
            times.push(start.elapsed().as_secs_f64());
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times.get(PASSES / 2).copied().unwrap_or(f64::NAN))
}

/// A transformer block with its parameters in f32, on sequences of equal lengths.
fn block(number: DType, device: &Device) -> Result<f64> {
    let p = Parameters::new(1, device);
    let get = |name: &str, shape: &[usize]| p.get(name, shape, Init::Normal { std: 0.02 }, Decay::Yes);
    let map = |name: &str, outputs: usize, inputs: usize| -> Result<LinearParameters> {
        let bias = Some(get(&format!("{name}.bias"), &[outputs])?);
        Ok(LinearParameters { weight: get(name, &[outputs, inputs])?, bias })
    };
    let norm = |name: &str| -> Result<NormParameters> {
        let beta = Some(get(&format!("{name}.beta"), &[D])?);
        Ok(NormParameters { kind: NormKind::Layer, gamma: get(name, &[D])?, beta, eps: 1e-5 })
    };
    let attention = AttentionBranch::new(norm("norm1")?, map("qkv", 3 * D, D)?, map("out", D, D)?, H, Mask::Full)?;
    let mlp = MlpBranch::new(norm("norm2")?, map("in", N, D)?, map("mlp", D, N)?, Activation::Gelu)?;
    let branches = [Branch::Attention(attention), Branch::Mlp(mlp)].into();
    let sequences = Sequences::new(vec![T; M / T]);
    let x = normal(&[M, D], number, device)?;
    let mut gradients = Gradients::new(&p.all())?;
    median(device, || {
        gradients.clear();
        let y = ops::stack(x.as_tensor(), &branches, &sequences, vec![None, None], Keep::All)?;
        gradients.backward(&sum(&y.to_dtype(DType::F32)?)?)
    })
}

/// One step for 100 tensors of a million numbers.
fn adamw(device: &Device) -> Result<f64> {
    let one = |i: usize| -> Result<(String, Parameter)> {
        Ok((format!("p{i:03}"), Parameter { var: normal(&[1024, 1024], DType::F32, device)?, decay: Decay::Yes }))
    };
    let parameters = (0..100).map(one).collect::<Result<Vec<_>>>()?;
    let mut gradients = Gradients::new(&parameters)?;
    let mut loss = Tensor::zeros((), DType::F32, device)?;
    for (_, parameter) in &parameters {
        loss = (loss + parameter.var.sqr()?.sum_all()?)?;
    }
    gradients.backward(&loss)?;
    let groups = vec![Group { prefix: String::new(), learning_rate: 1.0, weight_decay: 0.1 }];
    let mut adamw = AdamW::new(parameters, groups, [0.9, 0.999], 1e-8);
    median(device, || {
        adamw.step(&gradients, 1e-4, Some(1.0))?;
        Ok(())
    })
}
