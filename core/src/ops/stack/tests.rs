//! The stack against the same written with single operations, at every setting that may not change a result.

use super::*;
use crate::ops::activation::{Activation, activation};
use crate::ops::check::{assert_close, filled, numbers};
use crate::ops::{Gradients, Mask, attention as attend_heads, linear, norm};
use crate::{Decay, Init, Parameter, Parameters, Result};
use candle_core::{DType, Device};

const WIDTH: usize = 12;
const HEADS: usize = 3;

/// What varies between models.
#[derive(Clone, Copy, Debug)]
struct Model {
    kind: NormKind,
    biases: bool,
    activation: Activation,
    causal: bool,
}

const MODELS: [Model; 4] = [
    Model { kind: NormKind::Layer, biases: true, activation: Activation::Gelu, causal: false },
    Model { kind: NormKind::Rms, biases: false, activation: Activation::SwiGlu, causal: false },
    Model { kind: NormKind::Layer, biases: false, activation: Activation::Silu, causal: true },
    Model { kind: NormKind::Rms, biases: true, activation: Activation::GeluTanh, causal: true },
];

impl Model {
    fn mask(self) -> Mask {
        if self.causal { Mask::Causal } else { Mask::Full }
    }

    fn branches(self, p: &Parameters) -> Result<Arc<[Branch]>> {
        let std = Init::Normal { std: 0.3 };
        let get = |name: String, shape: &[usize]| p.get(&name, shape, std, Decay::No);
        let bias = |name: String, width: usize| self.biases.then(|| get(name, &[width])).transpose();
        let norm = |name: &str| -> Result<NormParameters> {
            let gamma = (get(format!("{name}.gamma"), &[WIDTH])?, bias(format!("{name}.beta"), WIDTH)?);
            Ok(NormParameters { kind: self.kind, gamma: gamma.0, beta: gamma.1, eps: 1e-5 })
        };
        let map = |name: &str, outputs: usize, inputs: usize| -> Result<LinearParameters> {
            let weight = get(format!("{name}.weight"), &[outputs, inputs])?;
            Ok(LinearParameters { weight, bias: bias(format!("{name}.bias"), outputs)? })
        };
        let mut branches = Vec::new();
        for block in 0..2 {
            let name = |part: &str| format!("{block}.{part}");
            let (qkv, out) = (map(&name("qkv"), 3 * WIDTH, WIDTH)?, map(&name("out"), WIDTH, WIDTH)?);
            let attention = AttentionBranch::new(norm(&name("norm1"))?, qkv, out, HEADS, self.mask())?;
            branches.push(Branch::Attention(attention));
            let (input, output) = (map(&name("in"), self.activation.inputs(10), WIDTH)?, map(&name("mlp"), WIDTH, 10)?);
            branches.push(Branch::Mlp(MlpBranch::new(norm(&name("norm2"))?, input, output, self.activation)?));
        }
        Ok(branches.into())
    }

    /// The stack with single operations, sequence by sequence.
    fn plain(self, p: &Parameters, x: &Tensor, sequences: &Sequences, scales: &[Option<Vec<f32>>]) -> Result<Tensor> {
        let all: std::collections::BTreeMap<String, Parameter> = p.all().into_iter().collect();
        let get = |name: String| all.get(&name).map(|parameter| parameter.var.as_tensor());
        let normed = |name: String, x: &Tensor| {
            let gamma = get(format!("{name}.gamma")).expect("made");
            norm(self.kind, x, gamma, get(format!("{name}.beta")), 1e-5)
        };
        let map = |name: String, x: &Tensor| {
            linear(x, get(format!("{name}.weight")).expect("made"), get(format!("{name}.bias")))
        };
        let mut done = Vec::new();
        for (number, (first, rows)) in sequences.each().enumerate() {
            let mut x = x.narrow(0, first, rows)?;
            for block in 0..2 {
                let scale = |branch: usize| scales[branch].as_ref().map_or(1.0, |s| f64::from(s[number]));
                let qkv = map(format!("{block}.qkv"), &normed(format!("{block}.norm1"), &x)?)?;
                let head = |i: usize| -> candle_core::Result<Tensor> {
                    let own = qkv.narrow(1, i * WIDTH, WIDTH)?.reshape((1, rows, HEADS, WIDTH / HEADS))?;
                    own.transpose(1, 2)?.contiguous()
                };
                let y = attend_heads(&head(0)?, &head(1)?, &head(2)?, None, &self.mask())?;
                let y = map(format!("{block}.out"), &y.transpose(1, 2)?.reshape((rows, WIDTH))?)?;
                x = (x + (y * scale(2 * block))?)?;
                let h = map(format!("{block}.in"), &normed(format!("{block}.norm2"), &x)?)?;
                let y = map(format!("{block}.mlp"), &activation(self.activation, &h)?)?;
                x = (x + (y * scale(2 * block + 1))?)?;
            }
            done.push(x);
        }
        Ok(Tensor::cat(&done, 0)?)
    }
}

/// Result, gradient of `x`, and gradients of the parameters, for the loss `Σ c y` with uneven `c`.
fn run(p: &Parameters, x: &Tensor, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Vec<Vec<f64>>> {
    run_with(p, x, false, f)
}

/// The same, with gradients summed as on a device if `in_tensors`.
fn run_with(
    p: &Parameters,
    x: &Tensor,
    in_tensors: bool,
    f: impl FnOnce(&Tensor) -> Result<Tensor>,
) -> Result<Vec<Vec<f64>>> {
    let input = candle_core::Var::from_tensor(x)?;
    let mut all = p.all();
    all.push(("x".into(), Parameter { var: input.clone(), decay: Decay::No }));
    let y = f(input.as_tensor())?;
    let mut gradients = if in_tensors { Gradients::in_tensors(&all)? } else { Gradients::new(&all)? };
    gradients.backward(&(&y * &filled(y.dims(), 99)?)?.sum_all()?)?;
    let mut numbers = vec![numbers(&y)?];
    for number in 0..all.len() {
        let own = gradients.to_host(number)?.unwrap_or_default();
        numbers.push(own.iter().map(|value| f64::from(*value)).collect());
    }
    Ok(numbers)
}

fn assert_all_close(what: &str, got: &[Vec<f64>], expected: &[Vec<f64>], tolerance: f64) {
    assert_eq!(got.len(), expected.len());
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert_close(&format!("{what}, {i}"), got, expected, tolerance);
    }
}

fn no_scales() -> Vec<Option<Vec<f32>>> {
    vec![None; 4]
}

#[test]
fn it_equals_single_operations_sequence_by_sequence() -> Result<()> {
    for model in MODELS {
        for lengths in [vec![1], vec![5, 1, 3], vec![127, 0, 129, 1], vec![300, 7]] {
            let p = Parameters::new(1, &Device::Cpu);
            let (branches, sequences) = (model.branches(&p)?, Sequences::new(lengths.iter().copied()));
            let x = filled(&[sequences.rows(), WIDTH], 3)?;
            let scale: Vec<f32> = (0..sequences.len()).map(|i| [2.0, 0.0, 1.25, 0.5][i % 4]).collect();
            for scales in [no_scales(), vec![Some(scale.clone()), None, None, Some(scale)]] {
                let expected = run(&p, &x, |x| model.plain(&p, x, &sequences, &scales))?;
                for keep in [Keep::All, Keep::Inputs, Keep::Nothing] {
                    let got = run(&p, &x, |x| Ok(stack(x, &branches, &sequences, scales.clone(), keep)?))?;
                    assert_all_close(&format!("{model:?}, {lengths:?}, {keep:?}"), &got, &expected, 2e-4);
                }
            }
        }
    }
    Ok(())
}

/// Attention of [`composed`] on the CPU: sequence by sequence.
pub(super) fn attend(qkv: &Tensor, branch: &AttentionBranch, sequences: &Sequences) -> candle_core::Result<Tensor> {
    let width = qkv.dim(1)? / 3;
    let mut done = Vec::new();
    for (first, rows) in sequences.each() {
        let head = |i: usize| -> candle_core::Result<Tensor> {
            let own = qkv.narrow(0, first, rows)?.narrow(1, i * width, width)?.contiguous()?;
            own.reshape((1, rows, branch.heads, width / branch.heads))?.transpose(1, 2)?.contiguous()
        };
        let y = attend_heads(&head(0)?, &head(1)?, &head(2)?, None, &branch.mask)?;
        done.push(y.transpose(1, 2)?.reshape((rows, width))?);
    }
    Tensor::cat(&done, 0)
}

/// How the stack runs on a CUDA device, on the CPU: the same composition, recomputation and two ways to sum gradients.
#[test]
fn the_composition_for_gpus_equals_the_stack() -> Result<()> {
    for model in MODELS {
        let p = Parameters::new(1, &Device::Cpu);
        let (branches, sequences) = (model.branches(&p)?, Sequences::new([5, 1, 0, 33]));
        let x = filled(&[sequences.rows(), WIDTH], 3)?;
        let scale = vec![2.0, 0.0, 1.0, 0.5];
        for scales in [no_scales(), vec![Some(scale.clone()), None, None, Some(scale)]] {
            let expected = run(&p, &x, |x| Ok(stack(x, &branches, &sequences, scales.clone(), Keep::All)?))?;
            let per_row = |scales: &Vec<f32>| -> Vec<f32> {
                sequences.each().zip(scales).flat_map(|((_, rows), scale)| vec![*scale; rows]).collect()
            };
            for keep in [Keep::All, Keep::Inputs, Keep::Nothing] {
                for in_tensors in [false, true] {
                    let got = run_with(&p, &x, in_tensors, |x| {
                        let scales = scales.iter().map(|scales| scales.as_ref().map(per_row)).collect();
                        Ok(composed::composed(x, &branches, &sequences, scales, keep)?)
                    })?;
                    assert_all_close(&format!("{model:?}, {keep:?}, {in_tensors}"), &got, &expected, 2e-4);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn neither_threads_nor_what_is_kept_change_a_bit() -> Result<()> {
    let p = Parameters::new(1, &Device::Cpu);
    let (branches, sequences) = (MODELS[0].branches(&p)?, Sequences::new([700, 0, 301, 64]));
    let x = filled(&[sequences.rows(), WIDTH], 3)?;
    let on = |threads: usize, keep: Keep| -> Result<Vec<Vec<f64>>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(candle_core::Error::wrap)?;
        pool.install(|| run(&p, &x, |x| Ok(stack(x, &branches, &sequences, no_scales(), keep)?)))
    };
    let one = on(1, Keep::All)?;
    for (threads, keep) in [(2, Keep::All), (4, Keep::All), (1, Keep::Inputs), (4, Keep::Nothing)] {
        assert!(one == on(threads, keep)?, "{threads} threads, {keep:?}");
    }
    Ok(())
}

#[test]
fn no_rows_give_no_rows_and_gradients_of_zero() -> Result<()> {
    let p = Parameters::new(1, &Device::Cpu);
    let (branches, sequences) = (MODELS[0].branches(&p)?, Sequences::new([0, 0]));
    let x = Tensor::zeros((0, WIDTH), DType::F32, &Device::Cpu)?;
    let got = run(&p, &x, |x| Ok(stack(x, &branches, &sequences, no_scales(), Keep::All)?))?;
    assert!(got.iter().flatten().all(|value| *value == 0.0));
    Ok(())
}

#[test]
fn data_without_a_gradient_still_trains_the_parameters() -> Result<()> {
    let p = Parameters::new(1, &Device::Cpu);
    let (branches, sequences) = (MODELS[0].branches(&p)?, Sequences::new([4]));
    let y = stack(&filled(&[4, WIDTH], 3)?, &branches, &sequences, no_scales(), Keep::All)?;
    let mut gradients = Gradients::new(&p.all())?;
    gradients.backward(&y.sqr()?.sum_all()?)?;
    let dead: Vec<usize> =
        (0..gradients.len()).filter(|i| gradients.get(*i).is_none_or(|g| g.iter().all(|v| *v == 0.0))).collect();
    // A bias of keys changes nothing: softmax doesn't see a constant. The rest of that bias does.
    assert!(dead.is_empty(), "{dead:?}");
    Ok(())
}

#[test]
fn a_plain_backward_and_wrong_shapes_are_errors() -> Result<()> {
    let p = Parameters::new(1, &Device::Cpu);
    let branches = MODELS[0].branches(&p)?;
    let sequences = Sequences::new([2, 2]);
    let message = |result: candle_core::Result<Tensor>| result.err().map(|e| e.to_string()).unwrap_or_default();
    let call = |rows: usize, width: usize, scales| -> candle_core::Result<String> {
        Ok(message(stack(&filled(&[rows, width], 1)?, &branches, &sequences, scales, Keep::All)))
    };
    assert!(call(3, WIDTH, no_scales())?.contains("stack: expected `x` with 4 rows for 2 sequences, got [3, 12]"));
    assert!(call(4, 8, no_scales())?.contains("stack: expected `x` of width 12 for branch 0, got [4, 8]"));
    assert!(call(4, WIDTH, vec![])?.contains("expected scales for 4 branches and 2 sequences each"));
    let y = stack(&filled(&[4, WIDTH], 1)?, &branches, &sequences, no_scales(), Keep::All)?;
    let error = y.sum_all()?.backward().err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("call `Gradients::backward`"), "{error}");
    let norm = NormParameters { kind: NormKind::Layer, gamma: filled(&[6], 1)?, beta: None, eps: 1e-5 };
    let map = |outputs, inputs| -> Result<LinearParameters> {
        Ok(LinearParameters { weight: filled(&[outputs, inputs], 1)?, bias: None })
    };
    let error = AttentionBranch::new(norm.clone(), map(18, 6)?, map(6, 6)?, 4, Mask::Full).err();
    assert!(error.is_some_and(|e| e.to_string().contains("a multiple of 4 heads, got 6")));
    let error = MlpBranch::new(norm, map(9, 6)?, map(6, 8)?, Activation::Gelu).err();
    assert!(error.is_some_and(|e| e.to_string().contains("expected `output.weight` of shape [6, 9], got [6, 8]")));
    Ok(())
}
