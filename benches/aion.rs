//! Time of encoding, or of a training step, at the shape of AION-1 base: what `benches/peers/aion.py` does with the package.
//!
//!     cargo bench --bench aion -- encode|train|memory [BATCH TOKENS TARGETS]
//!
//! Prints `seconds=S` (median of a pass) or `megabytes=M` (peak of the process that encodes), then what must agree with the peer.

#![expect(clippy::print_stdout, reason = "what it measured is its output")]

use candle_core::{Device, Tensor};
use panchroma_core::ops::stack::{
    AttentionBranch, Branch, Context, CrossAttentionBranch, LinearParameters, MlpBranch, NormParameters,
};
use panchroma_core::ops::{self, Activation, Gradients, Keep, Mask, NormKind, Sequences};
use panchroma_core::train::{AdamW, Group};
use panchroma_core::{Decay, Init, Parameters, Result};
use std::sync::Arc;
use std::time::Instant;

/// Passes whose median counts, after one that does not.
const PASSES: usize = 3;

const WIDTH: usize = 768;
const HEADS: usize = 12;
const DEPTH: usize = 12;
/// Of the gated MLP: two thirds of four widths.
const HIDDEN: usize = 2048;
const CLASSES: usize = 1024;
/// Of the targets of an object.
const MODALITIES: usize = 4;

struct Net {
    encoder: Arc<[Branch]>,
    encoder_norm: NormParameters,
    context: LinearParameters,
    decoder: Arc<[Branch]>,
    decoder_norm: NormParameters,
    head: LinearParameters,
}

impl Net {
    fn new(p: &Parameters) -> Result<Self> {
        let norm = |name: String| -> Result<NormParameters> {
            let gamma = p.get(&name, &[WIDTH], Init::Ones, Decay::No)?;
            Ok(NormParameters { kind: NormKind::Layer, gamma, beta: None, eps: 1e-6 })
        };
        let map = |name: String, outputs: usize, inputs: usize| -> Result<LinearParameters> {
            let weight = p.get(&name, &[outputs, inputs], Init::fan_in(inputs), Decay::Yes)?;
            Ok(LinearParameters { weight, bias: None })
        };
        let attention = |name: String| -> Result<Branch> {
            let (qkv, out) = (map(format!("{name}.qkv"), 3 * WIDTH, WIDTH)?, map(format!("{name}.out"), WIDTH, WIDTH)?);
            let norm = norm(format!("{name}.norm"))?;
            Ok(Branch::Attention(AttentionBranch::new(norm, qkv, out, HEADS, Mask::Full)?))
        };
        let cross = |name: String| -> Result<Branch> {
            let norms = [norm(format!("{name}.norm"))?, norm(format!("{name}.context_norm"))?];
            let (q, kv) = (map(format!("{name}.q"), WIDTH, WIDTH)?, map(format!("{name}.kv"), 2 * WIDTH, WIDTH)?);
            let out = map(format!("{name}.out"), WIDTH, WIDTH)?;
            Ok(Branch::CrossAttention(CrossAttentionBranch::new(norms, q, kv, out, HEADS)?))
        };
        let mlp = |name: String| -> Result<Branch> {
            let input = map(format!("{name}.in"), Activation::SwiGlu.inputs(HIDDEN), WIDTH)?;
            let output = map(format!("{name}.out"), WIDTH, HIDDEN)?;
            Ok(Branch::Mlp(MlpBranch::new(norm(format!("{name}.norm"))?, input, output, Activation::SwiGlu)?))
        };
        let (mut encoder, mut decoder) = (Vec::new(), Vec::new());
        for block in 0..DEPTH {
            encoder.extend([attention(format!("encoder.{block}.self"))?, mlp(format!("encoder.{block}.mlp"))?]);
            let name = |part: &str| format!("decoder.{block}.{part}");
            decoder.extend([attention(name("self"))?, cross(name("cross"))?, mlp(name("mlp"))?]);
        }
        let bias = p.get("context.bias", &[WIDTH], Init::Zeros, Decay::No)?;
        Ok(Self {
            encoder: encoder.into(),
            encoder_norm: norm("encoder.norm".into())?,
            context: LinearParameters { bias: Some(bias), ..map("context".into(), WIDTH, WIDTH)? },
            decoder: decoder.into(),
            decoder_norm: norm("decoder.norm".into())?,
            head: map("head".into(), CLASSES, WIDTH)?,
        })
    }

    /// What the decoder attends to.
    fn encode(&self, x: &Tensor, sequences: &Sequences, keep: Keep) -> Result<Tensor> {
        let x = ops::stack(x, &self.encoder, sequences, vec![None; self.encoder.len()], keep)?;
        linear(&norm(&x, &self.encoder_norm)?, &self.context)
    }

    fn loss(&self, [x, y, targets]: [&Tensor; 3], [inputs, outputs]: [&Sequences; 2], of: &[usize]) -> Result<Tensor> {
        let rows = self.encode(x, inputs, Keep::All)?;
        let context = Context { rows, sequences: inputs.clone(), of: of.to_vec() };
        let scales = vec![None; self.decoder.len()];
        let y = ops::stack_with_context(y, &self.decoder, outputs, &context, scales, Keep::All)?;
        let logits = linear(&norm(&y, &self.decoder_norm)?, &self.head)?;
        Ok(ops::cross_entropy(&logits, targets, 0.0, None)?)
    }
}

fn norm(x: &Tensor, p: &NormParameters) -> Result<Tensor> {
    Ok(ops::norm(p.kind, x, &p.gamma, p.beta.as_ref(), p.eps)?)
}

fn linear(x: &Tensor, p: &LinearParameters) -> Result<Tensor> {
    Ok(ops::linear(x, &p.weight, p.bias.as_ref())?)
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let [what, sizes @ ..] = arguments.as_slice() else { return Ok(()) };
    let default = if what == "train" { [8, 256, 256] } else { [8, 906, 0] };
    let size = |i: usize| sizes.get(i).and_then(|size| size.parse().ok()).unwrap_or(default[i]);
    let [batch, tokens, targets] = [0, 1, 2].map(size);
    ops::limit_spinning();
    ops::keep_large_buffers();
    let device = Device::Cpu;
    let p = Parameters::new(1, &device);
    let net = Net::new(&p)?;
    let x = Tensor::randn(0f32, 1.0, (batch * tokens, WIDTH), &device)?;
    let y = Tensor::randn(0f32, 1.0, (batch * targets, WIDTH), &device)?;
    let labels: Vec<u32> = (0..(batch * targets) as u32).map(|place| place * 7919 % CLASSES as u32).collect();
    let labels = Tensor::new(labels, &device)?;
    let inputs = Sequences::new(vec![tokens; batch]);
    // A decoder's token sees those of its modality alone.
    let outputs = Sequences::new(vec![targets / MODALITIES; batch * MODALITIES]);
    let of: Vec<usize> = (0..batch).flat_map(|object| [object; MODALITIES]).collect();
    let parameters = p.all();
    let group = Group { prefix: String::new(), learning_rate: 1.0, weight_decay: 0.01 };
    let optimizer = || AdamW::new(parameters.clone(), vec![group], [0.9, 0.999], 1e-8);
    let mut training = if what == "train" { Some((optimizer(), Gradients::new(&parameters)?)) } else { None };
    let mut seconds = Vec::new();
    for _ in 0..=PASSES {
        let start = Instant::now();
        if let Some((optimizer, gradients)) = &mut training {
            let loss = net.loss([&x, &y, &labels], [&inputs, &outputs], &of)?;
            gradients.clear();
            gradients.backward(&loss)?;
            optimizer.step(gradients, 1e-4, Some(1.0))?;
        } else {
            net.encode(&x, &inputs, Keep::Nothing)?;
        }
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.remove(0);
    seconds.sort_by(f64::total_cmp);
    let measured = if what == "memory" {
        format!("megabytes={:.0}", ops::peak_memory_bytes().unwrap_or(0) as f64 / 1e6)
    } else {
        format!("seconds={:.5}", seconds[PASSES / 2])
    };
    println!("{measured} batch={batch} tokens={tokens} targets={targets} width={WIDTH} depth={DEPTH}");
    Ok(())
}
