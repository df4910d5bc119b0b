//! Layers of convolutional codecs on images whose channels come last, `[B, H, W, C]`.

use candle_core::Tensor;
use panchroma_core::ops::{self, Activation, convolution::Window};
use panchroma_core::{Decay, Init, Parameters, Result};

/// Not 0: at a rectifier, where latent values are 0 because they were rounded, nothing would learn.
fn bias(p: &Parameters, outputs: usize, fan_in: usize) -> Result<Tensor> {
    let bound = (fan_in.max(1) as f64).powf(-0.5);
    p.get("bias", &[outputs], Init::Uniform { bound }, Decay::No)
}

/// A convolution or its transpose, with a bias.
#[derive(Debug, Clone)]
pub(super) struct Convolution {
    w: Tensor,
    b: Tensor,
    window: Window,
    transposed: bool,
}

impl Convolution {
    /// `kernel` pixels wide and high; parameters `weight` `[outputs, kernel, kernel, inputs]` and `bias`.
    pub(super) fn new(p: &Parameters, [inputs, outputs]: [usize; 2], kernel: usize, window: Window) -> Result<Self> {
        let fan_in = inputs * kernel * kernel;
        let w = p.get("weight", &[outputs, kernel, kernel, inputs], Init::fan_in(fan_in), Decay::Yes)?;
        Ok(Self { w, b: bias(p, outputs, fan_in)?, window, transposed: false })
    }

    /// Of odd width; the image keeps its size.
    pub(super) fn same(p: &Parameters, channels: [usize; 2], kernel: usize) -> Result<Self> {
        Self::new(p, channels, kernel, Window { stride: 1, padding: kernel / 2 })
    }

    /// Parameters `weight` `[inputs, kernel, kernel, outputs]` and `bias`.
    pub(super) fn transposed(
        p: &Parameters,
        [inputs, outputs]: [usize; 2],
        kernel: usize,
        window: Window,
    ) -> Result<Self> {
        // Each pixel of the result is reached by so many places of the kernel.
        let fan_in = inputs * (kernel * kernel).div_ceil(window.stride * window.stride);
        let w = p.get("weight", &[inputs, kernel, kernel, outputs], Init::fan_in(fan_in), Decay::Yes)?;
        Ok(Self { w, b: bias(p, outputs, fan_in)?, window, transposed: true })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let op = if self.transposed { ops::transposed_convolution } else { ops::convolution };
        Ok(op(x, &self.w, Some(&self.b), self.window)?)
    }

    pub(super) fn frozen(&self) -> Self {
        Self { w: self.w.detach(), b: self.b.detach(), ..self.clone() }
    }
}

/// A linear map of the channels of each pixel, which is a convolution with a kernel of one pixel.
#[derive(Debug, Clone)]
pub(super) struct Linear {
    w: Tensor,
    b: Option<Tensor>,
}

impl Linear {
    /// Parameters `weight` `[outputs, inputs]` and `bias`.
    pub(super) fn new(p: &Parameters, [inputs, outputs]: [usize; 2]) -> Result<Self> {
        let w = p.get("weight", &[outputs, inputs], Init::fan_in(inputs), Decay::Yes)?;
        Ok(Self { w, b: Some(bias(p, outputs, inputs)?) })
    }

    /// The same, with a bias that begins at a value.
    fn begun(p: &Parameters, [inputs, outputs]: [usize; 2], bias: f32) -> Result<Self> {
        let w = p.get("weight", &[outputs, inputs], Init::fan_in(inputs), Decay::Yes)?;
        Ok(Self { w, b: Some(p.get("bias", &[outputs], Init::Constant(bias), Decay::No)?) })
    }

    /// Parameter `weight` alone.
    pub(super) fn unbiased(p: &Parameters, [inputs, outputs]: [usize; 2]) -> Result<Self> {
        Ok(Self { w: p.get("weight", &[outputs, inputs], Init::fan_in(inputs), Decay::Yes)?, b: None })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::linear(x, &self.w, self.b.as_ref())?)
    }

    pub(super) fn frozen(&self) -> Self {
        Self { w: self.w.detach(), b: self.b.as_ref().map(Tensor::detach) }
    }
}

/// Factors for channels from a mean over all pixels in which those count that the network attends to.
///
/// `g = σ(W₂ leaky(W₁ Σ p x))` with `p` the softmax of `k x` over pixels. Source: Cao et al. 2019, arXiv:1904.11492, figure 4,
/// with the gate of Hu et al. 2018.
#[derive(Debug, Clone)]
struct Gates {
    key: Linear,
    inner: Linear,
    outer: Linear,
}

/// Smallest width of the inner layer.
const INNER: usize = 16;
/// Slope of the leaky rectifier below 0.
const LEAK: f64 = 0.1;
/// Factors begin at 0.12, where a unit changes little.
const CLOSED: f32 = -2.0;

impl Gates {
    fn new(p: &Parameters, channels: usize) -> Result<Self> {
        let inner = (channels / 2).max(INNER);
        Ok(Self {
            // A bias would be the same for all pixels, and go away in the softmax.
            key: Linear::unbiased(&p.pp("key"), [channels, 1])?,
            inner: Linear::new(&p.pp("inner"), [channels, inner])?,
            outer: Linear::begun(&p.pp("outer"), [inner, channels], CLOSED)?,
        })
    }

    /// `[B, H, W, C]` → `[B, C]`.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, height, width, channels) = x.dims4()?;
        let keys = self.key.forward(x)?.reshape((batch, height * width))?;
        // The largest is a constant: it changes neither values nor gradients.
        let keys = keys.broadcast_sub(&keys.detach().max_keepdim(1)?)?.exp()?;
        let shares = keys.broadcast_div(&keys.sum_keepdim(1)?)?.unsqueeze(1)?;
        let mean = shares.matmul(&x.reshape((batch, height * width, channels))?)?.squeeze(1)?;
        let inner = self.inner.forward(&mean)?;
        let inner = (inner.relu()? - (inner.neg()?.relu()? * LEAK)?)?;
        let outer = self.outer.forward(&inner)?;
        Ok((outer.neg()?.exp()? + 1.0)?.recip()?)
    }

    fn frozen(&self) -> Self {
        Self { key: self.key.frozen(), inner: self.inner.frozen(), outer: self.outer.frozen() }
    }
}

/// `x + g u` with `u = elu(W elu(w ∗ x))` and gates `g(u)`. Source: Yu et al. 2023, arXiv:2310.05737.
#[derive(Debug, Clone)]
pub(super) struct Residual {
    convolution: Convolution,
    linear: Linear,
    gates: Gates,
}

impl Residual {
    /// Parameters below `convolution`, `linear`, `key`, `inner` and `outer`.
    pub(super) fn new(p: &Parameters, channels: usize) -> Result<Self> {
        Ok(Self {
            convolution: Convolution::same(&p.pp("convolution"), [channels; 2], 3)?,
            linear: Linear::new(&p.pp("linear"), [channels; 2])?,
            gates: Gates::new(p, channels)?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let u = ops::activation(Activation::Elu, &self.convolution.forward(x)?)?;
        let u = ops::activation(Activation::Elu, &self.linear.forward(&u)?)?;
        Ok(ops::gate(&u, &self.gates.forward(&u)?, x)?)
    }

    pub(super) fn frozen(&self) -> Self {
        Self { convolution: self.convolution.frozen(), linear: self.linear.frozen(), gates: self.gates.frozen() }
    }
}

/// Twice as many lines and columns: a linear map to four pixels, SiLU. Parameters `weight` and `bias` with outputs in the order
/// (line, column, channel) of the four.
#[derive(Debug, Clone)]
pub(super) struct Unfold {
    linear: Linear,
}

impl Unfold {
    pub(super) fn new(p: &Parameters, [inputs, outputs]: [usize; 2]) -> Result<Self> {
        Ok(Self { linear: Linear::new(p, [inputs, 4 * outputs])? })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = ops::activation(Activation::Silu, &self.linear.forward(x)?)?;
        let (batch, height, width, four) = y.dims4()?;
        let y = y.reshape((batch, height, width, 2, four / 2))?.transpose(2, 3)?.contiguous()?;
        Ok(y.reshape((batch, 2 * height, 2 * width, four / 4))?)
    }

    pub(super) fn frozen(&self) -> Self {
        Self { linear: self.linear.frozen() }
    }
}

/// Mean 0 and variance 1 of the channels of each pixel. Parameters `gamma` and `beta`.
#[derive(Debug, Clone)]
pub(super) struct Norm {
    gamma: Tensor,
    beta: Tensor,
}

impl Norm {
    pub(super) fn new(p: &Parameters, channels: usize) -> Result<Self> {
        Ok(Self {
            gamma: p.get("gamma", &[channels], Init::Ones, Decay::No)?,
            beta: p.get("beta", &[channels], Init::Zeros, Decay::No)?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::layer_norm(x, &self.gamma, &self.beta, 1e-5)?)
    }

    pub(super) fn frozen(&self) -> Self {
        Self { gamma: self.gamma.detach(), beta: self.beta.detach() }
    }
}
