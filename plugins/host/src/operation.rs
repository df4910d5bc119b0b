//! What plugins compute with parameters, as operations with a gradient.
//!
//! Parameters cross as one tensor, put together on candle's tape, so that an operation has two arguments whatever their number. Plugins
//! compute on the CPU: for a model on another device, arguments and results are copied there and back.

use crate::call::{Caller, Fault, Function};
use crate::instance::Instance;
use crate::table;
use crate::views::{Shaped, Slice, View};
use panchroma_abi as abi;
use panchroma_abi::Struct;
use panchroma_core::plugins::{raise, raised};
use panchroma_core::reexport::candle_core::{
    CpuStorage, CustomOp2, Device, Error as TensorError, Layout, Result as TensorResult, Shape, Tensor,
};
use panchroma_core::{Decay, Init, Parameters, Result};
use std::ffi::c_void;

/// Most parameters of a component.
const MOST: u32 = 4096;

/// Most numbers in one parameter.
const MOST_VALUES: u64 = 1 << 32;

/// Gets parameter `index`.
type Getter = unsafe extern "C" fn(*const c_void, u32, *mut abi::Parameter) -> abi::Status;

/// A parameter as a plugin declares it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    init: Init,
    decay: Decay,
}

impl Declared {
    /// Asks for all of them.
    pub(crate) fn all(instance: &Instance, count: u32, getter: Option<Getter>) -> Result<Vec<Self>, Fault> {
        let wrong = |reason: String| Function::Describe.fault(reason);
        if count > MOST || (count > 0 && getter.is_none()) {
            return Err(wrong(format!("it says that it has {count} parameters")));
        }
        let Some(getter) = getter else { return Ok(Vec::new()) };
        let mut all: Vec<Self> = Vec::new();
        for index in 0..count {
            let mut own = abi::Parameter::new();
            // SAFETY: the instance is alive, and the struct is ours and says its size.
            Function::Describe.call(|_| unsafe { getter(instance.pointer(), index, &raw mut own) })?;
            let what = format!("the name of parameter {index}");
            // SAFETY: texts of an instance live as long as it.
            let name = unsafe { table::name(own.name, &what, &['_', '.']) }.map_err(wrong)?;
            let shape = own.shape.get(..own.axis_count as usize);
            let shape = shape.ok_or_else(|| wrong(format!("parameter `{name}` has {} axes", own.axis_count)))?;
            let values = shape.iter().try_fold(1u64, |n, axis| n.checked_mul(*axis));
            if !values.is_some_and(|n| (1..=MOST_VALUES).contains(&n)) {
                return Err(wrong(format!("parameter `{name}` has the shape {shape:?}")));
            }
            if all.iter().any(|other| other.name == name) {
                return Err(wrong(format!("two parameters are called `{name}`")));
            }
            let init = match own.init {
                abi::ZEROS => Init::Zeros,
                abi::CONSTANT => Init::Constant(own.value as f32),
                abi::NORMAL if own.value > 0.0 && own.value.is_finite() => Init::Normal { std: own.value },
                abi::UNIFORM if own.value > 0.0 && own.value.is_finite() => Init::Uniform { bound: own.value },
                other => return Err(wrong(format!("parameter `{name}` begins as {other} with {}", own.value))),
            };
            let decay = if own.decay == 1 { Decay::Yes } else { Decay::No };
            let shape = shape.iter().map(|n| *n as usize).collect();
            all.push(Self { name, shape, init, decay });
        }
        Ok(all)
    }

    fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Parameters as the host holds them.
pub(crate) struct Held {
    pub(crate) declared: Vec<Declared>,
    tensors: Vec<Tensor>,
}

impl Held {
    /// Makes what a plugin declared.
    ///
    /// # Errors
    /// If a name is taken.
    pub(crate) fn new(declared: Vec<Declared>, parameters: &Parameters) -> Result<Self> {
        let make = |d: &Declared| parameters.get(&d.name, &d.shape, d.init, d.decay);
        let tensors = declared.iter().map(make).collect::<Result<_>>()?;
        Ok(Self { declared, tensors })
    }

    /// All of them one after the other, on the CPU; at least one number, since a tensor can't be empty.
    fn flat(&self) -> TensorResult<Tensor> {
        if self.tensors.is_empty() {
            return Tensor::zeros(1, panchroma_core::reexport::candle_core::DType::F32, &Device::Cpu);
        }
        let flat = self.tensors.iter().map(Tensor::flatten_all).collect::<TensorResult<Vec<_>>>()?;
        Tensor::cat(&flat, 0)?.to_device(&Device::Cpu)
    }
}

/// Views of the parameters in `flat`.
pub(crate) fn parameter_views(declared: &[Declared], flat: &[f32]) -> Vec<View> {
    let mut rest = flat;
    declared
        .iter()
        .map(|d| {
            let (own, after) = rest.split_at_checked(d.len()).unwrap_or((rest, &[]));
            rest = after;
            let shape: Vec<i64> = d.shape.iter().map(|n| *n as i64).collect();
            View::of(&shape, &Slice::F32(own))
        })
        .collect()
}

/// Buffers for the gradients of parameters.
pub(crate) struct Gradients(Vec<Shaped>);

impl Gradients {
    pub(crate) fn new(declared: &[Declared]) -> Self {
        let shape = |d: &Declared| d.shape.iter().map(|n| *n as i64).collect::<Vec<i64>>();
        Self(declared.iter().map(|d| Shaped::zeros(&shape(d))).collect())
    }

    pub(crate) fn views(&mut self) -> Vec<View> {
        self.0.iter_mut().map(Shaped::view).collect()
    }

    /// All one after the other; without parameters the one number that stands for them.
    pub(crate) fn flat(self, length: usize) -> Option<Vec<f32>> {
        let mut flat = Vec::with_capacity(length);
        for own in self.0 {
            flat.extend(own.take_f32()?);
        }
        flat.resize(length, 0.0);
        Some(flat)
    }
}

/// What a plugin computes: one result of one input and the parameters.
pub(crate) trait Compute: Send + Sync + 'static {
    /// Its values and shape; `x` is of the shape that [`apply`] was given.
    fn forward(&self, x: (&[f32], &[usize]), parameters: &[f32]) -> Result<(Vec<f32>, Vec<usize>), Fault>;

    /// Gradients of `x` and parameters.
    fn backward(
        &self,
        x: (&[f32], &[usize]),
        parameters: &[f32],
        gradient: &[f32],
    ) -> Result<(Vec<f32>, Vec<f32>), Fault>;

    fn caller(&self) -> &Caller;

    /// Objects of the rows, for messages.
    fn ids(&self) -> &[String] {
        &[]
    }
}

/// Computes `compute` of `x`, differentiable in it and in the parameters; the result is where `x` is.
///
/// # Errors
/// If the plugin fails.
pub(crate) fn apply<C: Compute>(compute: C, x: &Tensor, parameters: &Held) -> Result<Tensor> {
    let device = x.device().clone();
    let x = x.to_device(&Device::Cpu)?.contiguous()?;
    let result = x.apply_op2(&parameters.flat()?.contiguous()?, Operation(compute)).map_err(raised)?;
    Ok(result.to_device(&device)?)
}

struct Operation<C>(C);

impl<C: Compute> Operation<C> {
    fn raise(&self, fault: Fault) -> TensorError {
        raise(self.0.caller().error(fault, self.0.ids()))
    }
}

fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> TensorResult<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(values.get(start..end).unwrap_or_default()),
        _ => Err(TensorError::Msg("a plugin's operation: expected contiguous f32".into())),
    }
}

impl<C: Compute> CustomOp2 for Operation<C> {
    fn name(&self) -> &'static str {
        "plugin"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, p: &CpuStorage, pl: &Layout) -> TensorResult<(CpuStorage, Shape)> {
        let (x, p) = (values(x, xl)?, values(p, pl)?);
        let (result, shape) = self.0.forward((x, xl.dims()), p).map_err(|fault| self.raise(fault))?;
        if let Some(bad) = result.iter().find(|v| !v.is_finite()) {
            return Err(
                self.raise(Function::Forward.fault(format!("it gave {bad}; a value that was never written is NaN")))
            );
        }
        Ok((CpuStorage::F32(result), Shape::from(shape)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        p: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> TensorResult<(Option<Tensor>, Option<Tensor>)> {
        let flat = |t: &Tensor| t.flatten_all()?.to_vec1::<f32>();
        let (own, parameters, gradient) = (flat(x)?, flat(p)?, flat(gradient)?);
        let (of_x, of_parameters) =
            self.0.backward((&own, x.dims()), &parameters, &gradient).map_err(|fault| self.raise(fault))?;
        if of_x.iter().chain(&of_parameters).any(|v| !v.is_finite()) {
            return Err(self.raise(Function::Backward.fault("a gradient is not finite")));
        }
        let of_x = Tensor::from_vec(of_x, x.shape(), x.device())?;
        Ok((Some(of_x), Some(Tensor::from_vec(of_parameters, p.shape(), p.device())?)))
    }
}
