//! Time and memory of a training step, or of embedding, of one transformer: what `benches/peers/step.py` does in PyTorch.
//!
//!     cargo bench --bench step -- SHAPE train|embed|memory even|uneven [recompute]
//!
//! Prints `seconds=S` (median of a step) or `megabytes=M` (peak of the process), then what must agree with the peer.

#![expect(clippy::print_stdout, reason = "what it measured is its output")]

use candle_core::{Device, Tensor};
use panchroma_core::ops::{self, Gradients};
use panchroma_core::train::{AdamW, Group};
use panchroma_core::trunk::{Encoder, EncoderConfig, PoolKind};
use panchroma_core::{Decay, Forward, Init, Mode, Parameters, Result};
use std::time::Instant;

/// Steps whose median counts, after one that does not.
const STEPS: usize = 7;

/// Width of the data, and classes of the loss.
const INPUTS: usize = 64;
const CLASSES: usize = 1024;

struct Shape {
    width: usize,
    depth: usize,
    heads: usize,
    batch: usize,
    tokens: usize,
}

impl Shape {
    fn named(name: &str) -> Option<Self> {
        let [width, depth, heads, batch, tokens] = match name {
            "base" => [384, 6, 6, 16, 128],
            // The spectrum encoder of AstroCLIP, at its sequence length.
            "astroclip" => [768, 6, 6, 2, 778],
            // The encoder of AION-1 base.
            "aion" => [768, 12, 12, 2, 512],
            // Twelve layers: what computing activations again is measured on.
            "deep" => [384, 12, 6, 32, 128],
            _ => return None,
        };
        Some(Self { width, depth, heads, batch, tokens })
    }

    /// Tokens of each sequence: from 4 to all, half of them on average.
    fn lengths(&self, uneven: bool) -> Vec<usize> {
        const OF_128: [usize; 16] = [37, 101, 5, 64, 120, 88, 17, 49, 128, 73, 92, 11, 56, 115, 29, 80];
        let length = |i: usize| if uneven { OF_128[i % 16] * self.tokens / 128 } else { self.tokens };
        (0..self.batch).map(length).collect()
    }
}

struct Net {
    embed: [Tensor; 2],
    encoder: Encoder,
    head: [Tensor; 2],
}

impl Net {
    fn new(shape: &Shape, recompute: bool, p: &Parameters) -> Result<Self> {
        let map = |name: &str, outputs: usize, inputs: usize| -> Result<[Tensor; 2]> {
            let weight = p.get(&format!("{name}.weight"), &[outputs, inputs], Init::fan_in(inputs), Decay::Yes)?;
            Ok([weight, p.get(&format!("{name}.bias"), &[outputs], Init::Zeros, Decay::No)?])
        };
        let Shape { width, depth, heads, .. } = *shape;
        let config =
            EncoderConfig { width, depth, heads, mlp_ratio: 4.0, pool: PoolKind::Mean, drop_path: 0.0, recompute };
        Ok(Self {
            embed: map("embed", width, INPUTS)?,
            encoder: Encoder::new(&config, &p.pp("encoder"))?,
            head: map("head", CLASSES, width)?,
        })
    }

    fn encode(&self, x: &Tensor, valid: &Tensor, mode: Mode) -> Result<Tensor> {
        let x = ops::linear(x, &self.embed[0], Some(&self.embed[1]))?;
        Ok(self.encoder.forward(&x, valid, &Forward { mode, seed: 0, step: 0 })?.0)
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let [shape, what, lengths, options @ ..] = arguments.as_slice() else { return Ok(()) };
    let Some(shape) = Shape::named(shape) else { return Ok(()) };
    ops::limit_spinning();
    ops::keep_large_buffers();
    let device = Device::Cpu;
    let p = Parameters::new(1, &device);
    let net = Net::new(&shape, options.iter().any(|o| o == "recompute"), &p)?;
    let (batch, tokens) = (shape.batch, shape.tokens);
    let lengths = shape.lengths(lengths == "uneven");
    let flags: Vec<u8> = lengths.iter().flat_map(|l| (0..tokens).map(move |t| u8::from(t < *l))).collect();
    let places: Vec<u32> = (0u32..).zip(&flags).filter(|(_, flag)| **flag != 0).map(|(place, _)| place).collect();
    let targets: Vec<u32> = places.iter().map(|place| place * 7919 % CLASSES as u32).collect();
    let x = Tensor::randn(0f32, 1.0, (batch, tokens, INPUTS), &device)?;
    let valid = Tensor::from_vec(flags, (batch, tokens), &device)?;
    let all = places.len() == batch * tokens;
    let (places, targets) = (Tensor::new(places, &device)?, Tensor::new(targets, &device)?);
    let parameters = p.all();
    let group = Group { prefix: String::new(), learning_rate: 1.0, weight_decay: 0.01 };
    let mut optimizer = AdamW::new(parameters.clone(), vec![group], [0.9, 0.999], 1e-8);
    let mut gradients = Gradients::new(&parameters)?;
    let mut seconds = Vec::new();
    for _ in 0..=STEPS {
        let start = Instant::now();
        if what == "embed" {
            net.encode(&x, &valid, Mode::Evaluate)?;
        } else {
            let rows = net.encode(&x, &valid, Mode::Train)?.reshape((batch * tokens, ()))?;
            let rows = if all { rows } else { ops::gather(&rows, &places)? };
            let logits = ops::linear(&rows, &net.head[0], Some(&net.head[1]))?;
            let loss = ops::cross_entropy(&logits, &targets, 0.0, None)?;
            gradients.clear();
            gradients.backward(&loss)?;
            optimizer.step(&gradients, 1e-3, Some(1.0))?;
        }
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.remove(0);
    seconds.sort_by(f64::total_cmp);
    let measured = if what == "memory" {
        format!("megabytes={:.0}", ops::peak_memory_bytes().unwrap_or(0) as f64 / 1e6)
    } else {
        format!("seconds={:.5}", seconds[STEPS / 2])
    };
    println!("{measured} tokens={} width={} depth={}", targets.dim(0)?, shape.width, shape.depth);
    Ok(())
}
