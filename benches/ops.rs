//! Forward and backward of single operations at the shapes of a training step: what `benches/peers/ops.py` does in PyTorch.
//!
//!     cargo bench --bench ops -- NAME
//!
//! Prints `seconds=S`, the median of a forward and a backward pass, then what must agree with the peer.

#![expect(clippy::print_stdout, reason = "what it measured is its output")]

use candle_core::{DType, Device, Tensor, Var};
use panchroma_core::ops::contrastive::{infonce, sigmoid};
use panchroma_core::ops::quantize::{fsq, lfq};
use panchroma_core::ops::stack::{AttentionBranch, Branch, LinearParameters, MlpBranch, NormParameters};
use panchroma_core::ops::{self, Activation, Keep, Mask, NormKind, Sequences};
use panchroma_core::train::{AdamW, Group};
use panchroma_core::{Decay, Init, Parameter, Parameters, Result};
use std::time::Instant;

/// Passes whose median counts, after two that don't.
const PASSES: usize = 15;

/// Batch, heads, tokens, width of a head; rows, width, hidden width, classes.
const B: usize = 16;
const H: usize = 6;
const T: usize = 128;
const K: usize = 64;
const M: usize = 2048;
const D: usize = 384;
const N: usize = 1536;
const V: usize = 1024;

fn normal(shape: &[usize]) -> Result<Var> {
    Ok(Var::from_tensor(&Tensor::randn(0f32, 1.0, shape, &Device::Cpu)?)?)
}

/// The tensors of an operation and what it does with them.
type Case = (Vec<Var>, Box<dyn Fn(&[Tensor]) -> Result<Tensor>>);

fn case(name: &str) -> Result<Option<Case>> {
    let numbers = |count: usize, below: u32| {
        let values: Vec<u32> = (0..count as u32).map(|i| i.wrapping_mul(7919) % below).collect();
        Tensor::from_vec(values, count, &Device::Cpu)
    };
    let pointwise = |kind: Activation| -> Result<Case> {
        let inputs = vec![normal(&[M, kind.inputs(N)])?];
        Ok((inputs, Box::new(move |t| Ok(ops::activation(kind, &t[0])?))))
    };
    let attention = |tokens: usize, batch: usize, mask: Mask| -> Result<Case> {
        let one = || normal(&[batch, H, tokens, K]);
        let inputs = vec![one()?, one()?, one()?];
        Ok((inputs, Box::new(move |t| Ok(ops::attention(&t[0], &t[1], &t[2], None, &mask)?))))
    };
    Ok(Some(match name {
        "attention" => attention(T, B, Mask::Full)?,
        "attention_causal" => attention(T, B, Mask::Causal)?,
        "attention_long" => attention(1024, 2, Mask::Full)?,
        "layer_norm" => (
            vec![normal(&[M, D])?, normal(&[D])?, normal(&[D])?],
            Box::new(|t| Ok(ops::layer_norm(&t[0], &t[1], &t[2], 1e-5)?)),
        ),
        "rms_norm" => (
            vec![normal(&[M, D])?, normal(&[D])?],
            Box::new(|t| Ok(ops::norm(NormKind::Rms, &t[0], &t[1], None, 1e-5)?)),
        ),
        "linear" => (
            vec![normal(&[M, D])?, normal(&[N, D])?, normal(&[N])?],
            Box::new(|t| Ok(ops::linear(&t[0], &t[1], Some(&t[2]))?)),
        ),
        "gelu" => pointwise(Activation::Gelu)?,
        "gelu_tanh" => pointwise(Activation::GeluTanh)?,
        "silu" => pointwise(Activation::Silu)?,
        "swiglu" => pointwise(Activation::SwiGlu)?,
        "cross_entropy" => {
            let targets = numbers(M, V as u32)?;
            (vec![normal(&[M, V])?], Box::new(move |t| Ok(ops::cross_entropy(&t[0], &targets, 0.1, None)?)))
        }
        "infonce" | "sigmoid" => {
            let unit = || -> Result<Var> {
                let x = Tensor::randn(0f32, 1.0, (M, D), &Device::Cpu)?;
                Ok(Var::from_tensor(&x.broadcast_div(&x.sqr()?.sum_keepdim(1)?.sqrt()?)?)?)
            };
            let factors = [Var::new(&[10f32], &Device::Cpu)?, Var::new(&[-10f32], &Device::Cpu)?];
            let inputs = vec![unit()?, unit()?, factors[0].clone(), factors[1].clone()];
            if name == "infonce" {
                (inputs[..3].to_vec(), Box::new(|t: &[Tensor]| Ok(infonce(&t[0], &t[1], &t[2])?.loss)))
            } else {
                (inputs, Box::new(|t: &[Tensor]| Ok(sigmoid(&t[0], &t[1], &t[2], &t[3])?.loss)))
            }
        }
        "gather" => {
            let rows = numbers(M, M as u32)?;
            (vec![normal(&[M, D])?], Box::new(move |t| Ok(ops::gather(&t[0], &rows)?)))
        }
        "fsq" => (vec![normal(&[M * 8, 4])?], Box::new(|t| Ok(fsq(&t[0], &[8, 5, 5, 5])?.values))),
        "lfq" => (vec![normal(&[M * 8, 10])?], Box::new(|t| Ok(lfq(&t[0])?.values))),
        "fourier" => {
            let frequencies = Tensor::rand(0f32, 10.0, 64, &Device::Cpu)?;
            (vec![normal(&[M * 8])?], Box::new(move |t| Ok(ops::fourier(&t[0], &frequencies)?)))
        }
        "resample" => {
            let wavelength = Tensor::arange(0f32, 4000.0, &Device::Cpu)?;
            let grid = (Tensor::arange(0f32, 3800.0, &Device::Cpu)? * 1.03)?;
            let ivar = Tensor::ones((64, 4000), DType::F32, &Device::Cpu)?;
            let op = move |t: &[Tensor]| {
                let spectra = ops::resample::Spectra { flux: &t[0], ivar: &ivar, wavelength: &wavelength };
                Ok(ops::resample(spectra, &grid)?.0)
            };
            (vec![normal(&[64, 4000])?], Box::new(op))
        }
        _ => return Ok(None),
    }))
}

/// Norm, clipping and AdamW over 11 million numbers in 76 tensors.
fn adamw() -> Result<f64> {
    let parameter = |i: usize| -> Result<(String, Parameter)> {
        let shape: &[usize] = if i.is_multiple_of(2) { &[764, D] } else { &[D] };
        Ok((format!("w{i}"), Parameter { var: normal(shape)?, decay: Decay::Yes }))
    };
    let parameters = (0..76).map(parameter).collect::<Result<Vec<_>>>()?;
    let group = Group { prefix: String::new(), learning_rate: 1.0, weight_decay: 0.01 };
    let mut optimizer = AdamW::new(parameters.clone(), vec![group], [0.9, 0.999], 1e-8);
    let mut gradients = ops::Gradients::new(&parameters)?;
    for (_, parameter) in &parameters {
        gradients.backward(&parameter.var.sqr()?.sum_all()?)?;
    }
    let mut seconds = Vec::new();
    for _ in 0..PASSES + 2 {
        let start = Instant::now();
        optimizer.step(&gradients, 1e-3, Some(1.0))?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    Ok(median(&mut seconds))
}

/// A branch of a transformer as training runs it: norm, products, attention or activation, residual.
fn branch(name: &str) -> Result<Option<f64>> {
    let norm = || -> Result<NormParameters> {
        let (gamma, beta) = (normal(&[D])?.into_inner(), Some(normal(&[D])?.into_inner()));
        Ok(NormParameters { kind: NormKind::Layer, gamma, beta, eps: 1e-5 })
    };
    let p = Parameters::new(1, &Device::Cpu);
    let map = |name: &str, outputs: usize, inputs: usize| -> Result<LinearParameters> {
        let weight = p.get(&format!("{name}.weight"), &[outputs, inputs], Init::fan_in(inputs), Decay::Yes)?;
        Ok(LinearParameters { weight, bias: Some(p.get(&format!("{name}.bias"), &[outputs], Init::Zeros, Decay::No)?) })
    };
    let branch = match name {
        "mlp_branch" => Branch::Mlp(MlpBranch::new(norm()?, map("in", N, D)?, map("out", D, N)?, Activation::Gelu)?),
        "attention_branch" => {
            Branch::Attention(AttentionBranch::new(norm()?, map("qkv", 3 * D, D)?, map("out", D, D)?, H, Mask::Full)?)
        }
        _ => return Ok(None),
    };
    let (branches, sequences) = (std::sync::Arc::from([branch]), Sequences::new(vec![T; B]));
    let mut gradients = ops::Gradients::new(&p.all())?;
    let x = normal(&[M, D])?;
    let dy = x.as_tensor().ones_like()?;
    let mut seconds = Vec::new();
    for _ in 0..PASSES + 2 {
        let start = Instant::now();
        let y = ops::stack(x.as_tensor(), &branches, &sequences, vec![None], Keep::All)?;
        gradients.clear();
        gradients.backward(&GivenGradient::of(&y, &dy)?)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    Ok(Some(median(&mut seconds)))
}

fn median(seconds: &mut Vec<f64>) -> f64 {
    seconds.drain(..2);
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn main() -> Result<()> {
    let Some(name) = std::env::args().skip(1).find(|a| !a.starts_with("--")) else { return Ok(()) };
    ops::limit_spinning();
    ops::keep_large_buffers();
    if name == "adamw" {
        println!("seconds={:.6} {name}", adamw()?);
        return Ok(());
    }
    if let Some(seconds) = branch(&name)? {
        println!("seconds={seconds:.6} {name}");
        return Ok(());
    }
    let Some((vars, op)) = case(&name)? else {
        return Err(candle_core::Error::Msg(format!("no operation `{name}`")).into());
    };
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let dy = op(&tensors)?.ones_like()?;
    let mut seconds = Vec::new();
    for _ in 0..PASSES + 2 {
        let start = Instant::now();
        let y = op(&tensors)?;
        // A scalar is its own loss; else the gradient of the result is given, as in the peer.
        let loss = if y.rank() == 0 { y } else { GivenGradient::of(&y, &dy)? };
        loss.backward()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    println!("seconds={:.6} {name}", median(&mut seconds));
    Ok(())
}

/// A scalar whose gradient with respect to `y` is `dy`, at no cost.
struct GivenGradient(Tensor);

impl GivenGradient {
    fn of(y: &Tensor, dy: &Tensor) -> Result<Tensor> {
        Ok(y.apply_op1(Self(dy.clone()))?)
    }
}

impl candle_core::CustomOp1 for GivenGradient {
    fn name(&self) -> &'static str {
        "given gradient"
    }

    fn cpu_fwd(
        &self,
        _: &candle_core::CpuStorage,
        _: &candle_core::Layout,
    ) -> candle_core::Result<(candle_core::CpuStorage, candle_core::Shape)> {
        Ok((candle_core::CpuStorage::F32(vec![0.0]), ().into()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> candle_core::Result<Option<Tensor>> {
        Ok(Some(self.0.clone()))
    }
}
