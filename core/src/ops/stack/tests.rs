//! The stack against the same written with single operations, at every setting that may not change a result.

use super::*;
use crate::ops::activation::{Activation, activation};
use crate::ops::check::{assert_close, filled, numbers};
use crate::ops::{Gradients, Mask, linear, norm};
use crate::{Decay, Init, Parameter, Parameters, Result};
use candle_core::Device;

const WIDTH: usize = 12;
const HEADS: usize = 3;
/// Of the context.
const OTHER: usize = 8;
const BLOCKS: usize = 2;

/// What varies between models.
#[derive(Clone, Copy, Debug)]
struct Model {
    kind: NormKind,
    biases: bool,
    activation: Activation,
    mask: &'static Mask,
    head_norms: bool,
    cross: bool,
}

const PLAIN: Model = Model {
    kind: NormKind::Layer,
    biases: true,
    activation: Activation::Gelu,
    mask: &Mask::Full,
    head_norms: false,
    cross: false,
};

const MODELS: [Model; 8] = [
    PLAIN,
    Model { kind: NormKind::Rms, biases: false, activation: Activation::SwiGlu, ..PLAIN },
    Model { biases: false, activation: Activation::Silu, mask: &Mask::Causal, ..PLAIN },
    Model { kind: NormKind::Rms, activation: Activation::GeluTanh, mask: &Mask::Causal, head_norms: true, ..PLAIN },
    Model { cross: true, ..PLAIN },
    Model { biases: false, activation: Activation::GeGlu, cross: true, head_norms: true, ..PLAIN },
    Model { activation: Activation::Relu, mask: &Mask::Uniform, cross: true, head_norms: true, ..PLAIN },
    Model {
        kind: NormKind::Rms,
        activation: Activation::SwiGlu,
        mask: &Mask::Causal,
        cross: true,
        head_norms: true,
        ..PLAIN
    },
];

impl Model {
    /// Per block.
    fn branch_count(self) -> usize {
        if self.cross { 3 } else { 2 }
    }

    /// Of cross-attention.
    fn cross_mask(self) -> Mask {
        if matches!(self.mask, Mask::Uniform) { Mask::Uniform } else { Mask::Full }
    }

    fn branches(self, p: &Parameters) -> Result<Arc<[Branch]>> {
        let std = Init::Normal { std: 0.3 };
        let get = |name: String, shape: &[usize]| p.get(&name, shape, std, Decay::No);
        let bias = |name: String, width: usize| self.biases.then(|| get(name, &[width])).transpose();
        let norm_of = |name: &str, width: usize| -> Result<NormParameters> {
            let gamma = (get(format!("{name}.gamma"), &[width])?, bias(format!("{name}.beta"), width)?);
            Ok(NormParameters { kind: self.kind, gamma: gamma.0, beta: gamma.1, eps: 1e-5 })
        };
        let norm = |name: &str| norm_of(name, WIDTH);
        let map = |name: &str, outputs: usize, inputs: usize| -> Result<LinearParameters> {
            let weight = get(format!("{name}.weight"), &[outputs, inputs])?;
            Ok(LinearParameters { weight, bias: bias(format!("{name}.bias"), outputs)? })
        };
        let heads = |name: &str| -> Result<HeadNorms> {
            let of = |part: &str| norm_of(&format!("{name}.{part}"), WIDTH / HEADS);
            Ok(HeadNorms { queries: of("queries")?, keys: of("keys")? })
        };
        let mut branches = Vec::new();
        for block in 0..BLOCKS {
            let name = |part: &str| format!("{block}.{part}");
            let (qkv, out) = (map(&name("qkv"), 3 * WIDTH, WIDTH)?, map(&name("out"), WIDTH, WIDTH)?);
            let mut attention = AttentionBranch::new(norm(&name("norm1"))?, qkv, out, HEADS, self.mask.clone())?;
            if self.head_norms {
                attention = attention.with_head_norms(heads(&name("self"))?)?;
            }
            branches.push(Branch::Attention(attention));
            if self.cross {
                let norms = [norm(&name("norm3"))?, norm_of(&name("norm4"), OTHER)?];
                let (q, kv) = (map(&name("q"), WIDTH, WIDTH)?, map(&name("kv"), 2 * WIDTH, OTHER)?);
                let out = map(&name("cross"), WIDTH, WIDTH)?;
                let mut cross = CrossAttentionBranch::new(norms, q, kv, out, HEADS)?.with_mask(self.cross_mask())?;
                if self.head_norms {
                    cross = cross.with_head_norms(heads(&name("other"))?)?;
                }
                branches.push(Branch::CrossAttention(cross));
            }
            let (input, output) = (map(&name("in"), self.activation.inputs(10), WIDTH)?, map(&name("mlp"), WIDTH, 10)?);
            branches.push(Branch::Mlp(MlpBranch::new(norm(&name("norm2"))?, input, output, self.activation)?));
        }
        Ok(branches.into())
    }

    /// The stack with single operations, sequence by sequence.
    fn plain(self, p: &Parameters, x: &Tensor, case: &Case, scales: &[Option<Vec<f32>>]) -> Result<Tensor> {
        let all: std::collections::BTreeMap<String, Parameter> = p.all().into_iter().collect();
        let get = |name: String| all.get(&name).map(|parameter| parameter.var.as_tensor());
        let normed = |name: String, x: &Tensor| {
            let gamma = get(format!("{name}.gamma")).expect("made");
            norm(self.kind, x, gamma, get(format!("{name}.beta")), 1e-5)
        };
        let map = |name: String, x: &Tensor| {
            linear(x, get(format!("{name}.weight")).expect("made"), get(format!("{name}.bias")))
        };
        let of_heads = |name: String, x: Tensor| -> candle_core::Result<Tensor> {
            if !self.head_norms {
                return Ok(x);
            }
            normed(name, &x.contiguous()?.reshape(((), WIDTH / HEADS))?)?.reshape(x.shape())
        };
        let mut done = Vec::new();
        for (number, ((first, rows), keys)) in case.sequences.each().zip(counts(&case.sequences)).enumerate() {
            if rows == 0 {
                continue;
            }
            let mut x = x.narrow(0, first, rows)?;
            for block in 0..BLOCKS {
                let scale = |branch: usize| {
                    let own = &scales[block * self.branch_count() + branch];
                    own.as_ref().map_or(1.0, |s| f64::from(s[number]))
                };
                let qkv = map(format!("{block}.qkv"), &normed(format!("{block}.norm1"), &x)?)?;
                let part = |i: usize| qkv.narrow(1, i * WIDTH, WIDTH);
                let q = of_heads(format!("{block}.self.queries"), part(0)?)?;
                let k = of_heads(format!("{block}.self.keys"), part(1)?.narrow(0, 0, keys)?)?;
                let y = plain_attention(&q, &k, &part(2)?.narrow(0, 0, keys)?, (HEADS, self.mask))?;
                x = (x + (map(format!("{block}.out"), &y)? * scale(0))?)?;
                if let Some(context) = case.context.as_ref().filter(|_| self.cross) {
                    let of = context.of[number];
                    let first = context.sequences.each().nth(of).expect("there").0;
                    let rows = context.rows.narrow(0, first, counts(&context.sequences)[of])?;
                    let q = map(format!("{block}.q"), &normed(format!("{block}.norm3"), &x)?)?;
                    let kv = map(format!("{block}.kv"), &normed(format!("{block}.norm4"), &rows)?)?;
                    let q = of_heads(format!("{block}.other.queries"), q)?;
                    let k = of_heads(format!("{block}.other.keys"), kv.narrow(1, 0, WIDTH)?)?;
                    let y = plain_attention(&q, &k, &kv.narrow(1, WIDTH, WIDTH)?, (HEADS, &self.cross_mask()))?;
                    x = (x + (map(format!("{block}.cross"), &y)? * scale(1))?)?;
                }
                let h = map(format!("{block}.in"), &normed(format!("{block}.norm2"), &x)?)?;
                let y = map(format!("{block}.mlp"), &activation(self.activation, &h)?)?;
                x = (x + (y * scale(self.branch_count() - 1))?)?;
            }
            done.push(x);
        }
        Ok(Tensor::cat(&done, 0)?)
    }

    fn no_scales(self) -> Vec<Option<Vec<f32>>> {
        vec![None; BLOCKS * self.branch_count()]
    }

    /// None, and some for the first and the last branch.
    fn scales(self, sequences: &Sequences) -> [Vec<Option<Vec<f32>>>; 2] {
        let scale: Vec<f32> = (0..sequences.len()).map(|i| [2.0, 0.0, 1.25, 0.5][i % 4]).collect();
        let mut some = self.no_scales();
        some[0] = Some(scale.clone());
        *some.last_mut().expect("branches") = Some(scale);
        [self.no_scales(), some]
    }
}

/// How many keys each sequence has.
fn counts(sequences: &Sequences) -> Vec<usize> {
    let all: Vec<usize> = sequences.each().map(|(_, length)| length).collect();
    sequences.fewer_keys().map_or(all, <[usize]>::to_vec)
}

/// Attention of rows `[Q, D]` to rows `[T, D]` with candle's operations.
fn plain_attention(q: &Tensor, k: &Tensor, v: &Tensor, (heads, mask): (usize, &Mask)) -> candle_core::Result<Tensor> {
    let ((queries, width), keys) = (q.dims2()?, k.dim(0)?);
    if keys == 0 {
        return q.zeros_like();
    }
    let head = |x: &Tensor| x.reshape(((), heads, width / heads))?.transpose(0, 1)?.contiguous();
    let scores = (head(q)?.matmul(&head(k)?.t()?.contiguous()?)? / ((width / heads) as f64).sqrt())?;
    let scores = match mask {
        Mask::Uniform => (scores * 0.0)?,
        Mask::Causal => {
            let hidden = |i: usize| if i % keys > i / keys { f32::NEG_INFINITY } else { 0.0 };
            let hidden: Vec<f32> = (0..queries * keys).map(hidden).collect();
            scores.broadcast_add(&Tensor::from_vec(hidden, (queries, keys), q.device())?)?
        }
        _ => scores,
    };
    let weights = scores.broadcast_sub(&scores.max_keepdim(2)?.detach())?.exp()?;
    let weights = weights.broadcast_div(&weights.sum_keepdim(2)?)?;
    weights.matmul(&head(v)?)?.transpose(0, 1)?.reshape((queries, width))
}

/// Who attends to whom.
#[derive(Debug)]
struct Case {
    sequences: Sequences,
    context: Option<Context>,
}

impl Case {
    /// Pairs of rows and keys; with a context unless there are no numbers of its sequences.
    fn new(rows: &[(usize, usize)], context: &[(usize, usize)], of: &[usize]) -> Result<Self> {
        let own = Sequences::with_keys(context.iter().copied())?;
        let context = Context { rows: filled(&[own.rows(), OTHER], 5)?, sequences: own, of: of.to_vec() };
        let sequences = Sequences::with_keys(rows.iter().copied())?;
        Ok(Self { sequences, context: (!of.is_empty()).then_some(context) })
    }

    fn all(cross: bool) -> Result<Vec<Self>> {
        let of = |of: &'static [usize]| if cross { of } else { &[] };
        Ok(vec![
            Self::new(&[(1, 1)], &[(2, 2)], of(&[0]))?,
            Self::new(&[(5, 5), (1, 1), (3, 3)], &[(4, 4), (0, 0), (7, 7)], of(&[0, 1, 2]))?,
            Self::new(&[(127, 127), (0, 0), (129, 129), (1, 1)], &[(129, 127), (3, 3), (1, 1)], of(&[0, 0, 0, 2]))?,
            Self::new(&[(300, 280), (7, 0)], &[(127, 1)], of(&[0, 0]))?,
            // A context for several sequences that don't follow each other, one for none, rows that nobody sees.
            Self::new(&[(4, 3), (6, 6), (5, 1), (0, 0), (2, 2)], &[(5, 2), (3, 3), (4, 4)], of(&[2, 0, 2, 0, 0]))?,
        ])
    }

    /// The stack on `x`, and on these rows of the context if there is one.
    fn stack(
        &self,
        x: &Tensor,
        rows: Option<&Tensor>,
        branches: &Arc<[Branch]>,
        scales: Vec<Option<Vec<f32>>>,
        keep: Keep,
    ) -> Result<Tensor> {
        Ok(match self.with_rows(rows).context {
            Some(context) => stack_with_context(x, branches, &self.sequences, &context, scales, keep)?,
            None => stack(x, branches, &self.sequences, scales, keep)?,
        })
    }

    fn with_rows(&self, rows: Option<&Tensor>) -> Self {
        let context = self.context.clone().map(|context| match rows {
            Some(rows) => Context { rows: rows.clone(), ..context },
            None => context,
        });
        Self { sequences: self.sequences.clone(), context }
    }

    /// Results and gradients.
    fn run(
        &self,
        p: &Parameters,
        in_tensors: bool,
        f: impl FnOnce(&Tensor, Option<&Tensor>) -> Result<Tensor>,
    ) -> Result<Vec<Vec<f64>>> {
        let x = filled(&[self.sequences.rows(), WIDTH], 3)?;
        run(p, &x, self.context.as_ref().map(|context| &context.rows), in_tensors, f)
    }
}

/// Result, gradients of the parameters, of `x` and of the context, for the loss `Σ c y` with uneven `c`; gradients are summed as
/// on a device if `in_tensors`.
fn run(
    p: &Parameters,
    x: &Tensor,
    context: Option<&Tensor>,
    in_tensors: bool,
    f: impl FnOnce(&Tensor, Option<&Tensor>) -> Result<Tensor>,
) -> Result<Vec<Vec<f64>>> {
    let (input, rows) = (candle_core::Var::from_tensor(x)?, context.map(candle_core::Var::from_tensor).transpose()?);
    let mut all = p.all();
    for (name, var) in [("x", Some(&input)), ("context", rows.as_ref())] {
        all.extend(var.map(|var| (name.into(), Parameter { var: var.clone(), decay: Decay::No })));
    }
    let y = f(input.as_tensor(), rows.as_ref().map(|rows| rows.as_tensor()))?;
    let mut gradients = if in_tensors { Gradients::in_tensors(&all)? } else { Gradients::new(&all)? };
    gradients.backward(&(&y * &filled(y.dims(), 99)?)?.sum_all()?)?;
    let mut numbers = vec![numbers(&y)?];
    for (number, (_, parameter)) in all.iter().enumerate() {
        // What an operation on no rows doesn't reach has no gradient.
        let none = vec![0.0; parameter.var.elem_count()];
        let own = gradients.to_host(number)?.unwrap_or_else(|| none.into());
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

#[test]
fn it_equals_single_operations_sequence_by_sequence() -> Result<()> {
    for model in MODELS {
        for case in Case::all(model.cross)? {
            let p = Parameters::new(1, &Device::Cpu);
            let branches = model.branches(&p)?;
            for scales in model.scales(&case.sequences) {
                let plain = |x: &Tensor, rows: Option<&Tensor>| model.plain(&p, x, &case.with_rows(rows), &scales);
                let expected = case.run(&p, false, plain)?;
                for keep in [Keep::All, Keep::Inputs, Keep::Nothing] {
                    let got = case.run(&p, false, |x, rows| case.stack(x, rows, &branches, scales.clone(), keep))?;
                    assert_all_close(&format!("{model:?}, {case:?}, {keep:?}"), &got, &expected, 3e-4);
                }
            }
        }
    }
    Ok(())
}

/// Attention of [`composed`] on the CPU: sequence by sequence. Rows of `kv` end in keys and values.
pub(super) fn attend(
    q: &Tensor,
    kv: &Tensor,
    (heads, mask): (usize, &Mask),
    [queries, keys]: [&Sequences; 2],
) -> candle_core::Result<Tensor> {
    let columns = kv.dim(1)?;
    let width = if q.dim(1)? == columns { columns / 3 } else { columns / 2 };
    let mut done = Vec::new();
    for (((first, rows), (first_key, _)), count) in queries.each().zip(keys.each()).zip(counts(keys)) {
        if rows > 0 {
            let q = q.narrow(0, first, rows)?.narrow(1, 0, width)?;
            let kv = kv.narrow(0, first_key, count)?;
            let (k, v) = (kv.narrow(1, columns - 2 * width, width)?, kv.narrow(1, columns - width, width)?);
            done.push(plain_attention(&q, &k, &v, (heads, mask))?);
        }
    }
    Tensor::cat(&done, 0)
}

/// How the stack runs on a CUDA device, on the CPU: the same composition, recomputation and two ways to sum gradients.
#[test]
fn the_composition_for_gpus_equals_the_stack() -> Result<()> {
    for model in MODELS {
        for case in &Case::all(model.cross)?[1..] {
            let p = Parameters::new(1, &Device::Cpu);
            let branches = model.branches(&p)?;
            for scales in model.scales(&case.sequences) {
                let expected =
                    case.run(&p, false, |x, rows| case.stack(x, rows, &branches, scales.clone(), Keep::All))?;
                let per_row = |scales: &Vec<f32>| -> Vec<f32> {
                    case.sequences.each().zip(scales).flat_map(|((_, rows), scale)| vec![*scale; rows]).collect()
                };
                for keep in [Keep::All, Keep::Inputs, Keep::Nothing] {
                    for in_tensors in [false, true] {
                        let got = case.run(&p, in_tensors, |x, rows| {
                            let scales = scales.iter().map(|scales| scales.as_ref().map(per_row)).collect();
                            let context = case.with_rows(rows).context;
                            Ok(composed::composed(x, &branches, &case.sequences, context.as_ref(), scales, keep)?)
                        })?;
                        assert_all_close(
                            &format!("{model:?}, {case:?}, {keep:?}, {in_tensors}"),
                            &got,
                            &expected,
                            3e-4,
                        );
                    }
                }
            }
        }
    }
    Ok(())
}

/// Along a direction in all parameters, `x` and the context at once.
#[test]
fn gradients_equal_central_differences() -> Result<()> {
    for model in MODELS {
        let case = Case::new(&[(4, 3), (2, 2), (3, 3)], &[(3, 2), (4, 4)], if model.cross { &[1, 0, 1] } else { &[] })?;
        let p = Parameters::new(1, &Device::Cpu);
        let branches = model.branches(&p)?;
        let got = case.run(&p, false, |x, rows| case.stack(x, rows, &branches, model.no_scales(), Keep::All))?;
        let x = filled(&[case.sequences.rows(), WIDTH], 3)?;
        let rows = case.context.as_ref().map(|context| context.rows.clone());
        let start: Vec<Tensor> =
            p.all().iter().map(|(_, p)| p.var.as_tensor().copy()).collect::<candle_core::Result<_>>()?;
        let inputs: Vec<&Tensor> = start.iter().chain(Some(&x)).chain(&rows).collect();
        let directions: Vec<Tensor> = inputs
            .iter()
            .enumerate()
            .map(|(i, t)| filled(t.dims(), 200 + i as u32))
            .collect::<candle_core::Result<_>>()?;
        let mut slope = 0.0;
        for (gradient, direction) in got[1..].iter().zip(&directions) {
            slope += gradient.iter().zip(numbers(direction)?).map(|(g, d)| g * d).sum::<f64>();
        }
        let loss = |step: f64| -> Result<f64> {
            let moved = |i: usize| inputs[i] + (&directions[i] * step)?;
            for (i, (_, parameter)) in p.all().iter().enumerate() {
                parameter.var.set(&moved(i)?)?;
            }
            let rows = rows.as_ref().map(|_| moved(start.len() + 1)).transpose()?;
            let y = case.stack(&moved(start.len())?, rows.as_ref(), &branches, model.no_scales(), Keep::Nothing)?;
            Ok(numbers(&y)?.iter().zip(numbers(&filled(y.dims(), 99)?)?).map(|(y, c)| y * c).sum())
        };
        let expected = (8.0 * (loss(1e-3)? - loss(-1e-3)?) - (loss(2e-3)? - loss(-2e-3)?)) / 12e-3;
        assert_close(&format!("{model:?}"), &[slope], &[expected], 2e-3);
    }
    Ok(())
}

#[test]
fn neither_threads_nor_what_is_kept_change_a_bit() -> Result<()> {
    for model in [MODELS[0], MODELS[5]] {
        let p = Parameters::new(1, &Device::Cpu);
        let of: &[usize] = if model.cross { &[0, 1, 2, 0] } else { &[] };
        let case = Case::new(&[(700, 650), (0, 0), (301, 301), (64, 64)], &[(300, 300), (5, 5), (270, 260)], of)?;
        let branches = model.branches(&p)?;
        let on = |threads: usize, keep: Keep| -> Result<Vec<Vec<f64>>> {
            let pool =
                rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(candle_core::Error::wrap)?;
            pool.install(|| case.run(&p, false, |x, rows| case.stack(x, rows, &branches, model.no_scales(), keep)))
        };
        let one = on(1, Keep::All)?;
        for (threads, keep) in
            [(2, Keep::All), (3, Keep::All), (4, Keep::All), (1, Keep::Inputs), (3, Keep::Inputs), (4, Keep::Nothing)]
        {
            assert!(one == on(threads, keep)?, "{model:?}, {threads} threads, {keep:?}");
        }
    }
    Ok(())
}

#[test]
fn no_rows_give_no_rows_and_gradients_of_zero() -> Result<()> {
    let p = Parameters::new(1, &Device::Cpu);
    for (model, of) in [(MODELS[0], &[][..]), (MODELS[5], &[0, 1])] {
        let branches = model.branches(&p.pp(model.cross.to_string()))?;
        let case = Case::new(&[(0, 0), (0, 0)], &[(3, 3), (0, 0)], of)?;
        let got = case.run(&p, false, |x, rows| case.stack(x, rows, &branches, model.no_scales(), Keep::All))?;
        assert!(got.iter().flatten().all(|value| *value == 0.0));
    }
    Ok(())
}

#[test]
fn data_without_a_gradient_still_trains_the_parameters() -> Result<()> {
    let p = Parameters::new(1, &Device::Cpu);
    let (branches, sequences) = (MODELS[0].branches(&p)?, Sequences::new([4]));
    let y = stack(&filled(&[4, WIDTH], 3)?, &branches, &sequences, MODELS[0].no_scales(), Keep::All)?;
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
    let call = |rows: usize, width: usize, scales: Vec<Option<Vec<f32>>>| -> candle_core::Result<String> {
        Ok(message(stack(&filled(&[rows, width], 1)?, &branches, &sequences, scales, Keep::All)))
    };
    assert!(
        call(3, WIDTH, MODELS[0].no_scales())?.contains("stack: expected `x` with 4 rows for 2 sequences, got [3, 12]")
    );
    assert!(call(4, 8, MODELS[0].no_scales())?.contains("stack: expected `x` of width 12 for branch 0, got [4, 8]"));
    assert!(call(4, WIDTH, vec![])?.contains("expected scales for 4 branches and 2 sequences each"));
    let y = stack(&filled(&[4, WIDTH], 1)?, &branches, &sequences, MODELS[0].no_scales(), Keep::All)?;
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
    let error = Sequences::with_keys([(3, 3), (2, 4)]).err();
    assert!(error.is_some_and(|e| e.to_string().contains("expected at most 2 keys in sequence 1 of 2 rows, got 4")));
    Ok(())
}

#[test]
fn a_context_that_does_not_fit_is_an_error() -> Result<()> {
    let p = Parameters::new(1, &Device::Cpu);
    let branches = MODELS[4].branches(&p)?;
    let sequences = Sequences::new([2, 2]);
    let x = filled(&[4, WIDTH], 1)?;
    let message = |context: Option<&Context>| {
        let (scales, keep) = (MODELS[4].no_scales(), Keep::All);
        let result = match context {
            Some(context) => stack_with_context(&x, &branches, &sequences, context, scales, keep),
            None => stack(&x, &branches, &sequences, scales, keep),
        };
        result.err().map(|e| e.to_string()).unwrap_or_default()
    };
    let context = |rows: usize, width: usize, of: &[usize]| -> Result<Context> {
        Ok(Context { rows: filled(&[rows, width], 1)?, sequences: Sequences::new([3, 2]), of: of.to_vec() })
    };
    assert_eq!(message(Some(&context(5, OTHER, &[0, 1])?)), "");
    assert!(message(None).contains("stack: expected a context of width 8 for branch 1, got None"));
    assert!(message(Some(&context(4, OTHER, &[0, 1])?)).contains("a context with 5 rows for 2 sequences, got [4, 8]"));
    assert!(message(Some(&context(5, 7, &[0, 1])?)).contains("a context of width 8 for branch 1, got Some([5, 7])"));
    assert!(message(Some(&context(5, OTHER, &[0])?)).contains("expected a context for each of 2 sequences, got 1"));
    assert!(message(Some(&context(5, OTHER, &[0, 2])?)).contains("one of 2 sequences of the context, got 2"));
    let Branch::CrossAttention(cross) = &branches[1] else { panic!("a branch of cross-attention") };
    let error = cross.clone().with_mask(Mask::Causal).err();
    assert!(error.is_some_and(|e| e.to_string().contains("a full or a uniform mask for cross-attention, got Causal")));
    let norm = || -> Result<NormParameters> {
        Ok(NormParameters { kind: NormKind::Layer, gamma: filled(&[3], 1)?, beta: None, eps: 1e-5 })
    };
    let error = cross.clone().with_head_norms(HeadNorms { queries: norm()?, keys: norm()? }).err();
    assert!(error.is_some_and(|e| e.to_string().contains("with the width of a head, 4, got [3]")));
    Ok(())
}
