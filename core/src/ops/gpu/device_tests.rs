//! Every operation as models call it, on a CUDA device against the CPU: results and gradients, in f32 and in bf16.
//!
//! Without a device there is nothing to compare; with PANCHROMA_NEEDS_GPU set, as `benches/gpu/check` does, that fails.

use super::cuda;
use crate::ops::check::{filled, numbers};
use crate::ops::contrastive::{infonce, sigmoid};
use crate::ops::cross_entropy::{Groups, IGNORED, cross_entropy};
use crate::ops::quantize::{Quantized, fsq, lfq, quantile};
use crate::ops::resample::{Spectra, resample};
use crate::ops::stack::{
    AttentionBranch, Branch, CrossAttentionBranch, HeadNorms, LinearParameters, MlpBranch, NormParameters,
};
use crate::ops::{self, Activation, BlockMask, Context, Gradients, Keep, Mask, NormKind, Sequences};
use crate::train::{AdamW, Group};
use crate::{Decay, Init, Parameter, Parameters, Result};
use candle_core::{DType, Device, Tensor, Var};
use std::sync::Arc;

fn device() -> Option<Device> {
    match cuda::open(0) {
        Ok((device, _)) => Some(device),
        Err(cause) => {
            assert!(std::env::var_os("PANCHROMA_NEEDS_GPU").is_none(), "{cause}");
            None
        }
    }
}

/// An input that has a gradient.
#[derive(Clone)]
struct Input {
    values: Tensor,
    /// f32 also where activations are bf16.
    parameter: bool,
}

fn data(shape: &[usize], seed: u32) -> Result<Input> {
    Ok(Input { values: filled(shape, seed)?, parameter: false })
}

fn parameter(shape: &[usize], seed: u32) -> Result<Input> {
    Ok(Input { values: filled(shape, seed)?, parameter: true })
}

/// Result, then the gradient of each input, of `Σ c y` with uneven `c`.
fn run(
    inputs: &[Input],
    device: &Device,
    number: DType,
    f: &dyn Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<Vec<Vec<f64>>> {
    let mut vars = Vec::new();
    for Input { values, parameter } in inputs {
        // Both sides start from what bf16 can hold.
        let values = if *parameter { values.clone() } else { values.to_dtype(number)?.to_dtype(DType::F32)? };
        let own = if *parameter || device.is_cpu() { DType::F32 } else { number };
        vars.push(Var::from_tensor(&values.to_device(device)?.to_dtype(own)?)?);
    }
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let y = f(&tensors)?.to_dtype(DType::F32)?;
    let store = (&y * filled(y.dims(), 99)?.to_device(device)?)?.sum_all()?.backward()?;
    let mut found = vec![host(&y)?];
    for var in &vars {
        found.push(store.get(var.as_tensor()).map(host).transpose()?.unwrap_or_default());
    }
    Ok(found)
}

fn host(x: &Tensor) -> Result<Vec<f64>> {
    Ok(numbers(&x.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?)?)
}

/// Rounding of bf16 is 2^-9 of each number that is summed; gradients are sums of products of rounded numbers.
fn tolerance(number: DType) -> f64 {
    if number == DType::F32 { 2e-4 } else { 4e-2 }
}

fn assert_near(what: &str, got: &[Vec<f64>], expected: &[Vec<f64>], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (part, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert_eq!(got.len(), expected.len(), "{what}, part {part}");
        let size = expected.iter().map(|v| v.abs()).fold(1.0, f64::max);
        for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
            let near = (got - expected).abs() <= tolerance * size;
            assert!(near, "{what}, part {part}, {at}: {got}, not {expected}");
        }
    }
}

/// The same on both devices.
fn compare(name: &str, types: &[DType], inputs: &[Input], f: &dyn Fn(&[Tensor]) -> Result<Tensor>) -> Result<()> {
    let Some(device) = device() else { return Ok(()) };
    for number in types {
        let expected = run(inputs, &Device::Cpu, *number, f)?;
        let got = run(inputs, &device, *number, f)?;
        assert_near(&format!("{name} {number:?}"), &got, &expected, tolerance(*number));
    }
    Ok(())
}

const BOTH: &[DType] = &[DType::F32, DType::BF16];
const F32: &[DType] = &[DType::F32];

#[test]
fn linear_maps_and_norms() -> Result<()> {
    for (rows, inputs, outputs) in [(1, 8, 16), (33, 40, 24), (257, 64, 72)] {
        let three = [data(&[rows, inputs], 1)?, parameter(&[outputs, inputs], 2)?, parameter(&[outputs], 3)?];
        compare("linear", BOTH, &three, &|t| Ok(ops::linear(&t[0], &t[1], Some(&t[2]))?))?;
        compare("linear", BOTH, &three[..2], &|t| Ok(ops::linear(&t[0], &t[1], None)?))?;
        let norm = [data(&[rows, inputs], 1)?, parameter(&[inputs], 2)?, parameter(&[inputs], 3)?];
        compare("layer_norm", BOTH, &norm, &|t| Ok(ops::layer_norm(&t[0], &t[1], &t[2], 1e-5)?))?;
        compare("rms_norm", BOTH, &norm[..2], &|t| Ok(ops::norm(NormKind::Rms, &t[0], &t[1], None, 1e-5)?))?;
    }
    Ok(())
}

#[test]
fn activations() -> Result<()> {
    for kind in [
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Silu,
        Activation::Elu,
        Activation::Relu,
        Activation::SwiGlu,
        Activation::GeGlu,
    ] {
        for shape in [[1, 2], [31, 66], [129, 256]] {
            compare(&format!("{kind:?}"), BOTH, &[data(&shape, 1)?], &|t| Ok(ops::activation(kind, &t[0])?))?;
        }
    }
    Ok(())
}

#[test]
fn attention_of_rows_side_by_side() -> Result<()> {
    for (tokens, width) in [(1, 16), (31, 32), (65, 64), (130, 128)] {
        let valid: Vec<u8> = (0..2 * tokens).map(|i| u8::from(i % 5 != 3)).collect();
        let valid = Tensor::from_vec(valid, (2, tokens), &Device::Cpu)?;
        for valid in [None, Some(&valid)] {
            let qkv = [data(&[2, tokens, 3 * width], 1)?];
            compare("self_attention", BOTH, &qkv, &|t| Ok(ops::self_attention(&t[0], 2, valid)?))?;
            let both = [data(&[2, 3, width], 2)?, data(&[2, tokens, 2 * width], 3)?];
            compare("cross_attention", BOTH, &both, &|t| Ok(ops::cross_attention(&t[0], &t[1], 2, valid)?))?;
        }
    }
    Ok(())
}

#[test]
fn attention_of_heads_one_behind_the_other() -> Result<()> {
    let (queries, keys) = (70, 130);
    let blocks = BlockMask::new(64, &[vec![true, false, true], vec![false, true, true]])?;
    let valid: Vec<u8> = (0..2 * keys as u32).map(|i| u8::from(i % 5 != 3)).collect();
    let valid = Tensor::from_vec(valid, (2, keys), &Device::Cpu)?;
    let inputs = [data(&[2, 3, queries, 16], 1)?, data(&[2, 3, keys, 16], 2)?, data(&[2, 3, keys, 16], 3)?];
    for mask in [Mask::Full, Mask::Causal, Mask::Blocks(blocks), Mask::Uniform] {
        for valid in [None, Some(&valid)] {
            let name = format!("attention {mask:?}");
            compare(&name, BOTH, &inputs, &|t| Ok(ops::attention(&t[0], &t[1], &t[2], valid, &mask)?))?;
        }
    }
    Ok(())
}

#[test]
fn rows_are_taken_and_put() -> Result<()> {
    let rows = Tensor::new(&[3u32, 0, 3, 6, 1], &Device::Cpu)?;
    compare("gather", BOTH, &[data(&[7, 3, 5], 1)?], &|t| Ok(ops::gather(&t[0], &rows)?))?;
    compare("scatter", BOTH, &[data(&[5, 12], 1)?], &|t| Ok(ops::scatter(&t[0], &rows, 9)?))
}

#[test]
fn losses() -> Result<()> {
    for classes in [2, 33, 1500] {
        let targets: Vec<u32> = (0..20).map(|i| if i % 7 == 3 { IGNORED } else { i % classes as u32 }).collect();
        let targets = Tensor::new(targets, &Device::Cpu)?;
        let of_rows = Tensor::new((0..20).map(|i| i % 3).collect::<Vec<u32>>(), &Device::Cpu)?;
        for groups in [None, Some(Groups { of_rows: &of_rows, count: 4 })] {
            compare("cross_entropy", BOTH, &[data(&[20, classes], 1)?], &|t| cross_entropy_of(t, &targets, groups))?;
        }
    }
    for (count, width) in [(2, 8), (65, 12), (300, 128)] {
        let pairs = [data(&[count, width], 1)?, data(&[count, width], 2)?];
        compare("infonce", F32, &pairs, &|t| Ok(infonce(&t[0], &t[1], &Tensor::new(3f32, t[0].device())?)?.loss))?;
        compare("top1", F32, &pairs, &|t| {
            let top1 = infonce(&t[0], &t[1], &Tensor::new(3f32, t[0].device())?)?.top1;
            Ok((top1 + (t[0].sum_all()? * 0.0)? + (t[1].sum_all()? * 0.0)?)?)
        })?;
        let with_factors = [pairs[0].clone(), pairs[1].clone(), parameter(&[1], 5)?, parameter(&[1], 6)?];
        compare("sigmoid", F32, &with_factors, &|t| Ok(sigmoid(&t[0], &t[1], &t[2], &t[3])?.loss))?;
    }
    Ok(())
}

fn cross_entropy_of(t: &[Tensor], targets: &Tensor, groups: Option<Groups<'_>>) -> Result<Tensor> {
    Ok(cross_entropy(&t[0], targets, 0.1, groups)?)
}

#[test]
fn encodings_and_quantizers() -> Result<()> {
    compare("fourier", F32, &[data(&[77], 1)?], &|t| {
        Ok(ops::fourier(&t[0], &Tensor::new(&[0.5f32, 2.0, 30.0], t[0].device())?)?)
    })?;
    // Codes go with the values, so that one comparison sees both.
    let both = |Quantized { values, codes }: Quantized| -> Result<Tensor> {
        let codes = codes.to_dtype(DType::F32)?.flatten_all()?;
        Ok(Tensor::cat(&[values.flatten_all()?.to_dtype(DType::F32)?, codes], 0)?)
    };
    compare("fsq", F32, &[data(&[50, 4], 1)?], &|t| both(fsq(&(&t[0] * 3.0)?, &[8, 5, 2, 3])?))?;
    compare("lfq", F32, &[data(&[50, 7], 1)?], &|t| both(lfq(&t[0])?))?;
    compare("quantile", F32, &[data(&[50], 1)?], &|t| {
        both(quantile(&t[0], &[-1.0, -0.2, 0.1, 1.0], &[-0.5, 0.0, 0.4])?)
    })
}

#[test]
fn spectra_on_another_grid() -> Result<()> {
    let samples = 40;
    let wavelength = Tensor::arange(0u32, samples, &Device::Cpu)?.to_dtype(DType::F32)?;
    let ivar: Vec<f32> = (0..3 * samples).map(|i| (i % 6) as f32).collect();
    let ivar = Tensor::from_vec(ivar, (3, samples as usize), &Device::Cpu)?;
    let grid = (Tensor::arange(0u32, 100, &Device::Cpu)?.to_dtype(DType::F32)? * 0.45)?;
    compare("resample", F32, &[data(&[3, samples as usize], 1)?], &|t| {
        let to = |x: &Tensor| x.to_device(t[0].device());
        let (ivar, wavelength) = (to(&ivar)?, to(&wavelength)?);
        let (flux, ivar) = resample(Spectra { flux: &t[0], ivar: &ivar, wavelength: &wavelength }, &to(&grid)?)?;
        Ok(Tensor::cat(&[flux, ivar], 1)?)
    })
}

const WIDTH: usize = 32;
const HEADS: usize = 2;

/// With a mask for the context, norms of heads and cross-attention, too.
fn branches(p: &Parameters, kind: NormKind, activation: Activation, mask: Option<&Mask>) -> Result<Arc<[Branch]>> {
    let get = |name: String, shape: &[usize]| p.get(&name, shape, Init::Normal { std: 0.3 }, Decay::Yes);
    let norm_of = |name: &str, width: usize| -> Result<NormParameters> {
        let beta = Some(get(format!("{name}.beta"), &[width])?);
        Ok(NormParameters { kind, gamma: get(format!("{name}.gamma"), &[width])?, beta, eps: 1e-5 })
    };
    let norm = |name: &str| norm_of(name, WIDTH);
    let heads = |name: &str| -> Result<HeadNorms> {
        let of = |part: &str| norm_of(&format!("{name}.{part}"), WIDTH / HEADS);
        Ok(HeadNorms { queries: of("queries")?, keys: of("keys")? })
    };
    let map = |name: &str, outputs: usize, inputs: usize| -> Result<LinearParameters> {
        let bias = Some(get(format!("{name}.bias"), &[outputs])?);
        Ok(LinearParameters { weight: get(format!("{name}.weight"), &[outputs, inputs])?, bias })
    };
    let (qkv, out) = (map("qkv", 3 * WIDTH, WIDTH)?, map("out", WIDTH, WIDTH)?);
    let mut attention = AttentionBranch::new(norm("norm1")?, qkv, out, HEADS, mask.cloned().unwrap_or_default())?;
    let mut cross = None;
    if let Some(mask) = mask {
        attention = attention.with_head_norms(heads("self")?)?;
        let (q, kv, out) = (map("q", WIDTH, WIDTH)?, map("kv", 2 * WIDTH, WIDTH)?, map("cross", WIDTH, WIDTH)?);
        let branch = CrossAttentionBranch::new([norm("norm3")?, norm("norm4")?], q, kv, out, HEADS)?;
        let uniform = if matches!(mask, Mask::Uniform) { Mask::Uniform } else { Mask::Full };
        cross = Some(Branch::CrossAttention(branch.with_head_norms(heads("other")?)?.with_mask(uniform)?));
    }
    let (input, output) = (map("in", activation.inputs(48), WIDTH)?, map("mlp", WIDTH, 48)?);
    let mlp = MlpBranch::new(norm("norm2")?, input, output, activation)?;
    Ok([Branch::Attention(attention)].into_iter().chain(cross).chain([Branch::Mlp(mlp)]).collect())
}

#[test]
fn stacks_with_their_parameters() -> Result<()> {
    let Some(device) = device() else { return Ok(()) };
    let sequences = Sequences::new([5, 1, 0, 70]);
    for (kind, activation) in [(NormKind::Layer, Activation::Gelu), (NormKind::Rms, Activation::SwiGlu)] {
        let scale: Vec<f32> = vec![2.0, 0.0, 1.0, 0.5];
        for scales in [vec![None, None], vec![Some(scale), None]] {
            for keep in [Keep::All, Keep::Inputs, Keep::Nothing] {
                let on = |device: &Device, number: DType| -> Result<Vec<Vec<f64>>> {
                    let p = Parameters::new(1, device);
                    let branches = branches(&p, kind, activation, None)?;
                    let x = filled(&[sequences.rows(), WIDTH], 3)?.to_device(device)?.to_dtype(number)?;
                    let y = ops::stack(&x, &branches, &sequences, scales.clone(), keep)?.to_dtype(DType::F32)?;
                    let mut gradients = Gradients::new(&p.all())?;
                    gradients.backward(&(&y * filled(y.dims(), 99)?.to_device(device)?)?.sum_all()?)?;
                    let mut found = vec![host(&y)?];
                    for number in 0..gradients.len() {
                        let own = gradients.to_host(number)?.unwrap_or_default();
                        found.push(own.iter().map(|v| f64::from(*v)).collect());
                    }
                    Ok(found)
                };
                let expected = on(&Device::Cpu, DType::F32)?;
                for number in [DType::F32, DType::BF16] {
                    let what = format!("stack {kind:?} {activation:?} {keep:?} {number:?}");
                    assert_near(&what, &on(&device, number)?, &expected, tolerance(number));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn stacks_with_a_context_and_fewer_keys_than_rows() -> Result<()> {
    let Some(device) = device() else { return Ok(()) };
    let sequences = Sequences::with_keys([(5, 3), (1, 1), (0, 0), (70, 66)])?;
    let of_context = Sequences::with_keys([(7, 7), (130, 127), (2, 2), (0, 0)])?;
    for mask in [Mask::Full, Mask::Causal, Mask::Uniform] {
        // Queries with one context together, or not; some contexts that nobody attends to.
        for of in [vec![0, 0, 1, 1], vec![1, 0, 3, 1]] {
            for keep in [Keep::All, Keep::Inputs] {
                let on = |device: &Device, number: DType| -> Result<Vec<Vec<f64>>> {
                    let p = Parameters::new(1, device);
                    let branches = branches(&p, NormKind::Layer, Activation::GeGlu, Some(&mask))?;
                    let input = |rows: usize, seed: u32| -> Result<Var> {
                        Ok(Var::from_tensor(&filled(&[rows, WIDTH], seed)?.to_device(device)?)?)
                    };
                    let (x, rows) = (input(sequences.rows(), 3)?, input(of_context.rows(), 5)?);
                    let context = Context {
                        rows: rows.as_tensor().to_dtype(number)?,
                        sequences: of_context.clone(),
                        of: of.clone(),
                    };
                    let stream = x.as_tensor().to_dtype(number)?;
                    let scales = vec![None, Some(vec![2.0, 0.0, 1.0, 0.5]), None];
                    let y = ops::stack_with_context(&stream, &branches, &sequences, &context, scales, keep)?;
                    let y = y.to_dtype(DType::F32)?;
                    let mut all = p.all();
                    for (name, var) in [("x", x), ("context", rows)] {
                        all.push((name.to_owned(), Parameter { var, decay: Decay::No }));
                    }
                    let mut gradients = Gradients::new(&all)?;
                    gradients.backward(&(&y * filled(y.dims(), 99)?.to_device(device)?)?.sum_all()?)?;
                    let mut found = vec![host(&y)?];
                    for number in 0..gradients.len() {
                        let own = gradients.to_host(number)?.unwrap_or_default();
                        found.push(own.iter().map(|v| f64::from(*v)).collect());
                    }
                    Ok(found)
                };
                let expected = on(&Device::Cpu, DType::F32)?;
                for number in [DType::F32, DType::BF16] {
                    let what = format!("stack with a context {mask:?} {of:?} {keep:?} {number:?}");
                    assert_near(&what, &on(&device, number)?, &expected, tolerance(number));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn steps_of_the_optimizer_and_its_state() -> Result<()> {
    let Some(device) = device() else { return Ok(()) };
    let on = |device: &Device| -> Result<Vec<Vec<f64>>> {
        let mut parameters = Vec::new();
        for (name, shape, decay) in
            [("a.w", vec![70, 70], Decay::Yes), ("b.b", vec![5], Decay::No), ("c", vec![3], Decay::Yes)]
        {
            let var = Var::from_tensor(&filled(&shape, 1)?.to_device(device)?)?;
            parameters.push((name.to_owned(), Parameter { var, decay }));
        }
        let groups = vec![
            Group { prefix: "c".into(), learning_rate: 0.0, weight_decay: 0.0 },
            Group { prefix: String::new(), learning_rate: 0.5, weight_decay: 0.1 },
        ];
        let mut adamw = AdamW::new(parameters.clone(), groups.clone(), [0.9, 0.99], 1e-8);
        let mut found = Vec::new();
        for step in 0..4 {
            let mut sums = Gradients::new(&parameters)?;
            // Of `b.b` there is none in the first steps, which counts as zero.
            for (_, own) in parameters.iter().take(if step < 2 { 1 } else { 3 }) {
                let gradient = filled(own.var.dims(), 7 + step)?.to_device(device)?;
                sums.backward(&(own.var.as_tensor() * gradient)?.sum_all()?)?;
            }
            let report = adamw.step(&sums, 1e-2, Some(3.0))?;
            found.push(vec![report.gradient_norm, f64::from(u8::from(report.clipped))]);
            if step == 1 {
                // As after a checkpoint.
                let (state, steps) = (adamw.state()?, adamw.steps());
                adamw = AdamW::new(parameters.clone(), groups.clone(), [0.9, 0.99], 1e-8);
                adamw.restore(&state, steps)?;
            }
        }
        found.push(vec![adamw.steps() as f64]);
        for tensor in adamw.state()?.values().chain(parameters.iter().map(|(_, own)| own.var.as_tensor())) {
            found.push(host(tensor)?);
        }
        Ok(found)
    };
    assert_near("adamw", &on(&device)?, &on(&Device::Cpu)?, 1e-5);
    Ok(())
}
