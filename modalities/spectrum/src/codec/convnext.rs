//! ConvNeXt V2 along one axis (Woo et al. 2023; Liu et al. 2022): an encoder that halves the sequence from stage to stage, and its mirror.
//!
//! Sequences are `[B, T, C]`, channels last, so that maps over channels are matrix products. Where kernel and stride are equal, a
//! convolution is such a map too, of neighbouring places side by side.

use candle_core::Tensor;
use panchroma_core::{Decay, Init, Parameters, Result, ops};

/// Added to the variance in a norm.
const EPSILON: f64 = 1e-6;

/// Standard deviation of initial weights.
const SPREAD: Init = Init::Normal { std: 0.02 };

/// A linear map with a bias.
#[derive(Clone, Debug)]
pub(super) struct Map {
    weight: Tensor,
    bias: Tensor,
}

impl Map {
    pub(super) fn new(inputs: usize, outputs: usize, init: Init, parameters: &Parameters) -> Result<Self> {
        Ok(Self {
            weight: parameters.get("weight", &[outputs, inputs], init, Decay::Yes)?,
            bias: parameters.get("bias", &[outputs], Init::Zeros, Decay::No)?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::linear(x, &self.weight, Some(&self.bias))?)
    }

    pub(super) fn frozen(&self) -> Self {
        Self { weight: self.weight.detach(), bias: self.bias.detach() }
    }
}

/// Layer norm over channels.
#[derive(Clone, Debug)]
pub(super) struct Norm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl Norm {
    pub(super) fn new(width: usize, epsilon: f64, parameters: &Parameters) -> Result<Self> {
        Ok(Self {
            weight: parameters.get("weight", &[width], Init::Ones, Decay::No)?,
            bias: parameters.get("bias", &[width], Init::Zeros, Decay::No)?,
            epsilon,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::layer_norm(x, &self.weight, &self.bias, self.epsilon)?)
    }

    pub(super) fn frozen(&self) -> Self {
        Self { weight: self.weight.detach(), bias: self.bias.detach(), epsilon: self.epsilon }
    }
}

/// What a block adds to the sequence.
#[derive(Clone, Debug)]
enum Block {
    /// `linear(response_norm(gelu(linear(norm(depthwise(x))))))`.
    Full(Box<Full>),
    /// Of one channel a norm leaves nothing but its bias: such a block adds a number `[1]`, and all but one of its parameters would have no
    /// gradient.
    Shift(Tensor),
}

#[derive(Clone, Debug)]
struct Full {
    kernel: Tensor,
    kernel_bias: Tensor,
    norm: Norm,
    input: Map,
    gamma: Tensor,
    beta: Tensor,
    output: Map,
}

impl Block {
    fn new(width: usize, parameters: &Parameters) -> Result<Self> {
        if width == 1 {
            return Ok(Self::Shift(parameters.get("shift", &[1], Init::Zeros, Decay::No)?));
        }
        let (kernel, response) = (parameters.pp("dwconv"), parameters.pp("grn"));
        let hidden = 4 * width;
        Ok(Self::Full(Box::new(Full {
            kernel: kernel.get("weight", &[width, 7], SPREAD, Decay::Yes)?,
            kernel_bias: kernel.get("bias", &[width], Init::Zeros, Decay::No)?,
            norm: Norm::new(width, EPSILON, &parameters.pp("norm"))?,
            input: Map::new(width, hidden, SPREAD, &parameters.pp("pwconv1"))?,
            gamma: response.get("gamma", &[hidden], Init::Zeros, Decay::No)?,
            beta: response.get("beta", &[hidden], Init::Zeros, Decay::No)?,
            output: Map::new(hidden, width, SPREAD, &parameters.pp("pwconv2"))?,
        })))
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Full(block) => Ok((x + block.branch(x)?)?),
            Self::Shift(shift) => Ok(x.broadcast_add(shift)?),
        }
    }

    fn frozen(&self) -> Self {
        match self {
            Self::Full(block) => Self::Full(Box::new(block.frozen())),
            Self::Shift(shift) => Self::Shift(shift.detach()),
        }
    }
}

impl Full {
    fn branch(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.norm.forward(&ops::depthwise(x, &self.kernel, &self.kernel_bias)?)?;
        let y = ops::gelu(&self.input.forward(&y)?)?;
        self.output.forward(&ops::response_norm(&y, &self.gamma, &self.beta)?)
    }

    fn frozen(&self) -> Self {
        Self {
            kernel: self.kernel.detach(),
            kernel_bias: self.kernel_bias.detach(),
            norm: self.norm.frozen(),
            input: self.input.frozen(),
            gamma: self.gamma.detach(),
            beta: self.beta.detach(),
            output: self.output.frozen(),
        }
    }
}

/// What stands before the blocks of a stage: a norm and a map, in either order.
#[derive(Clone, Debug)]
enum Change {
    /// Of the encoder: `factor` places become one.
    Down { norm: Norm, map: Map, factor: usize, norm_first: bool },
    /// Of the decoder: one place becomes `factor`, all with the same bias.
    Up { norm: Norm, weight: Tensor, bias: Tensor, factor: usize, norm_first: bool },
}

impl Change {
    /// The norm is before the map but at the first stage.
    fn down(stage: usize, inputs: usize, outputs: usize, parameters: &Parameters) -> Result<Self> {
        let (norm_first, factor) = (stage > 0, if stage > 0 { 2 } else { 4 });
        let (norm, map) = if norm_first { ("0", "1") } else { ("1", "0") };
        Ok(Self::Down {
            norm: Norm::new(if norm_first { inputs } else { outputs }, EPSILON, &parameters.pp(norm))?,
            map: Map::new(factor * inputs, outputs, SPREAD, &parameters.pp(map))?,
            factor,
            norm_first,
        })
    }

    fn up(stage: usize, stages: usize, inputs: usize, outputs: usize, parameters: &Parameters) -> Result<Self> {
        let (norm_first, factor) = (stage > 0, if stage + 1 == stages { 4 } else { 2 });
        let (norm, map) = if norm_first { ("0", "1") } else { ("1", "0") };
        let map = parameters.pp(map);
        // As PyTorch starts transposed convolutions, whose number of inputs it takes to be that of the outputs.
        let bound = ((factor * outputs) as f64).powf(-0.5);
        Ok(Self::Up {
            norm: Norm::new(if norm_first { inputs } else { outputs }, EPSILON, &parameters.pp(norm))?,
            weight: map.get("weight", &[factor * outputs, inputs], Init::Uniform { bound }, Decay::Yes)?,
            bias: map.get("bias", &[outputs], Init::Uniform { bound }, Decay::No)?,
            factor,
            norm_first,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (norm, norm_first) = match self {
            Self::Down { norm, norm_first, .. } | Self::Up { norm, norm_first, .. } => (norm, *norm_first),
        };
        let x = if norm_first { norm.forward(x)? } else { x.clone() };
        let (b, t, c) = x.dims3()?;
        let y = match self {
            Self::Down { map, factor, .. } => map.forward(&x.reshape((b, t / factor, factor * c))?)?,
            Self::Up { weight, bias, factor, .. } => {
                let outputs = bias.elem_count();
                let bias = Tensor::cat(&vec![bias; *factor], 0)?;
                ops::linear(&x, weight, Some(&bias))?.reshape((b, t * factor, outputs))?
            }
        };
        if norm_first { Ok(y) } else { norm.forward(&y) }
    }

    fn frozen(&self) -> Self {
        match self {
            Self::Down { norm, map, factor, norm_first } => {
                Self::Down { norm: norm.frozen(), map: map.frozen(), factor: *factor, norm_first: *norm_first }
            }
            Self::Up { norm, weight, bias, factor, norm_first } => Self::Up {
                norm: norm.frozen(),
                weight: weight.detach(),
                bias: bias.detach(),
                factor: *factor,
                norm_first: *norm_first,
            },
        }
    }
}

/// Stages, each a change of length and then blocks.
#[derive(Clone, Debug)]
pub(super) struct Stages {
    stages: Vec<(Change, Vec<Block>)>,
    /// Behind the last stage of an encoder.
    norm: Option<Norm>,
}

impl Stages {
    /// `[B, T, inputs]` -> `[B, T / 2^(stages + 1), last width]`.
    pub(super) fn encoder(inputs: usize, depths: &[usize], widths: &[usize], parameters: &Parameters) -> Result<Self> {
        let before = std::iter::once(inputs).chain(widths.iter().copied());
        let mut stages = Vec::with_capacity(widths.len());
        for (stage, ((inputs, width), depth)) in before.zip(widths).zip(depths).enumerate() {
            let change = Change::down(stage, inputs, *width, &parameters.pp(format!("downsample_layers.{stage}")))?;
            stages.push((change, blocks(stage, *depth, *width, parameters)?));
        }
        let norm = Norm::new(widths.last().copied().unwrap_or(0), EPSILON, &parameters.pp("norm"))?;
        Ok(Self { stages, norm: Some(norm) })
    }

    /// `[B, T, inputs]` -> `[B, T 2^(stages + 1), last width]`.
    pub(super) fn decoder(inputs: usize, depths: &[usize], widths: &[usize], parameters: &Parameters) -> Result<Self> {
        let before = std::iter::once(inputs).chain(widths.iter().copied());
        let mut stages = Vec::with_capacity(widths.len());
        for (stage, ((inputs, width), depth)) in before.zip(widths).zip(depths).enumerate() {
            let own = parameters.pp(format!("upsample_layers.{stage}"));
            let change = Change::up(stage, widths.len(), inputs, *width, &own)?;
            stages.push((change, blocks(stage, *depth, *width, parameters)?));
        }
        Ok(Self { stages, norm: None })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        for (change, blocks) in &self.stages {
            x = change.forward(&x)?;
            for block in blocks {
                x = block.forward(&x)?;
            }
        }
        match &self.norm {
            Some(norm) => norm.forward(&x),
            None => Ok(x),
        }
    }

    /// The same values without a gradient, so that nothing is kept for a backward pass.
    pub(super) fn frozen(&self) -> Self {
        let stage =
            |(change, blocks): &(Change, Vec<Block>)| (change.frozen(), blocks.iter().map(Block::frozen).collect());
        Self { stages: self.stages.iter().map(stage).collect(), norm: self.norm.as_ref().map(Norm::frozen) }
    }
}

fn blocks(stage: usize, depth: usize, width: usize, parameters: &Parameters) -> Result<Vec<Block>> {
    let of = |block| Block::new(width, &parameters.pp(format!("stages.{stage}.{block}")));
    (0..depth).map(of).collect()
}
