//! From the tensors of a published file to parameters of ours, which may have their axes in another order.

use crate::weights::Weights;
use candle_core::{DType, Tensor};
use panchroma_core::{Error, Parameter, Parameters, Result};
use std::collections::BTreeMap;

/// How a parameter of ours lies in a file of PyTorch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it is.
    Same,
    /// Ours is a kernel `[O, K, L, I]`, theirs `[O, I, K, L]`; the same for transposed convolutions with `I` and `O` exchanged.
    Kernel,
    /// Ours is a matrix `[O, I]`, theirs a kernel of one pixel.
    Pixel,
    /// Ours has the rows of `[2, 2, O, ..]`, theirs of `[O, 2, 2, ..]`, and behind a matrix two axes more as [`Form::Pixel`].
    Unfolded,
}

impl Form {
    /// The shape in the file of what has the shape `own` here.
    fn published(self, own: &[usize]) -> Vec<usize> {
        match (self, own) {
            (Self::Kernel, &[outputs, lines, columns, inputs]) => vec![outputs, inputs, lines, columns],
            (Self::Pixel | Self::Unfolded, &[outputs, inputs]) => vec![outputs, inputs, 1, 1],
            (_, own) => own.to_vec(),
        }
    }

    /// From the form of the file to ours, of the shape `own`.
    fn read(self, tensor: &Tensor, own: &[usize]) -> Result<Tensor> {
        let tensor = match self {
            Self::Same | Self::Pixel => tensor.clone(),
            Self::Kernel => tensor.permute((0, 2, 3, 1))?.contiguous()?,
            Self::Unfolded => {
                let inputs = own.get(1).copied().unwrap_or(1);
                tensor.reshape((own[0] / 4, 4, inputs))?.transpose(0, 1)?.contiguous()?
            }
        };
        Ok(tensor.reshape(own)?)
    }
}

/// Parameters that wait for their values.
pub(crate) struct Waiting {
    parameters: BTreeMap<String, Parameter>,
    prefix: String,
}

impl Waiting {
    /// All parameters below those of `parameters`.
    pub(crate) fn new(parameters: &Parameters) -> Self {
        let prefix = if parameters.name().is_empty() { String::new() } else { format!("{}.", parameters.name()) };
        let own = parameters.all().into_iter();
        let own = own.filter_map(|(name, p)| Some((name.strip_prefix(&prefix)?.to_owned(), p)));
        Self { parameters: own.collect(), prefix }
    }

    fn take(&mut self, own: &str) -> Result<Parameter> {
        self.parameters.remove(own).ok_or_else(|| Error::Shape {
            part: format!("parameter `{}{own}`", self.prefix),
            expected: "one that waits for its values".into(),
            found: "none".into(),
        })
    }

    /// Gives parameter `own` the values of tensor `name`.
    ///
    /// # Errors
    /// If there is no such tensor, or it has another shape; with the file, the tensor and both shapes.
    pub(crate) fn read(&mut self, own: &str, weights: &mut Weights, name: &str, form: Form) -> Result<()> {
        let var = self.take(own)?.var;
        let tensor = weights.take(name, &form.published(var.dims()))?.to_dtype(DType::F32)?;
        Ok(var.set(&form.read(&tensor, var.dims())?.to_device(var.device())?)?)
    }

    /// Gives parameters `own.weight` and `own.bias` the values of `name.weight` and `name.bias`.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn layer(&mut self, own: &str, weights: &mut Weights, name: &str, form: Form) -> Result<()> {
        self.read(&format!("{own}.weight"), weights, &format!("{name}.weight"), form)?;
        let form = if form == Form::Unfolded { form } else { Form::Same };
        self.read(&format!("{own}.bias"), weights, &format!("{name}.bias"), form)
    }

    /// Gives parameters `own.weight`, a kernel, and `own.bias` the values of a convolution `name` that a batch norm `norm` in
    /// evaluation follows: both are one affine map.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn normed_kernel(&mut self, own: &str, weights: &mut Weights, [name, norm]: [&str; 2]) -> Result<()> {
        let (w, b) = (self.take(&format!("{own}.weight"))?.var, self.take(&format!("{own}.bias"))?.var);
        let outputs = b.dims();
        let mut of = |name: String, shape: &[usize]| Ok::<_, Error>(weights.take(&name, shape)?.to_dtype(DType::F64)?);
        let kernel = of(format!("{name}.weight"), &Form::Kernel.published(w.dims()))?;
        let bias = of(format!("{name}.bias"), outputs)?;
        let (gamma, beta) = (of(format!("{norm}.weight"), outputs)?, of(format!("{norm}.bias"), outputs)?);
        let (mean, variance) =
            (of(format!("{norm}.running_mean"), outputs)?, of(format!("{norm}.running_var"), outputs)?);
        weights.take(&format!("{norm}.num_batches_tracked"), &[])?;
        let scale = (gamma / (variance + EPSILON)?.sqrt()?)?;
        let kernel = kernel.broadcast_mul(&scale.reshape((outputs[0], 1, 1, 1))?)?.to_dtype(DType::F32)?;
        let bias = (((bias - mean)? * scale)? + beta)?.to_dtype(DType::F32)?;
        w.set(&Form::Kernel.read(&kernel, w.dims())?.to_device(w.device())?)?;
        Ok(b.set(&bias.to_device(b.device())?)?)
    }

    /// Refuses parameters that got no values.
    ///
    /// # Errors
    /// That name the first.
    pub(crate) fn finish(self) -> Result<()> {
        match self.parameters.into_keys().next() {
            None => Ok(()),
            Some(own) => Err(Error::Shape {
                part: format!("parameter `{}{own}`", self.prefix),
                expected: "a place in the published file".into(),
                found: "none".into(),
            }),
        }
    }
}

/// Of PyTorch's batch norms.
const EPSILON: f64 = 1e-5;

/// Takes the levels of a finite scalar quantizer, which must be those of the config.
///
/// # Errors
/// If they aren't, with the file, the tensor and both.
pub(crate) fn take_levels(weights: &mut Weights, name: &str, levels: &[u32]) -> Result<()> {
    let found = weights.take(name, &[levels.len()])?.to_dtype(DType::I64)?.to_vec1::<i64>()?;
    if found.iter().copied().eq(levels.iter().map(|level| i64::from(*level))) {
        return Ok(());
    }
    Err(Error::Shape {
        part: format!("`{}`, tensor `{name}`", weights.path().display()),
        expected: format!("the levels of config.json, {levels:?}"),
        found: format!("{found:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn pixels_of_an_unfolding_map_come_before_its_channels() -> Result<()> {
        // Rows (channel, line, column) of 2 channels: row 4 c + 2 l + k holds that number.
        let theirs = Tensor::arange(0f32, 8.0, &Device::Cpu)?.reshape((8, 1, 1, 1))?;
        let ours = Form::Unfolded.read(&theirs, &[8, 1])?.flatten_all()?.to_vec1::<f32>()?;
        assert_eq!(ours, [0.0, 4.0, 1.0, 5.0, 2.0, 6.0, 3.0, 7.0]);
        Ok(())
    }
}
