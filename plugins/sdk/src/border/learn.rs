//! Parameters and gradients: what a component asks for in C, and the host's memory for them.

use super::memory::{c_string, count, read, slice};
use super::tensor::{view, view_mut};
use crate::rows::Mode;
use crate::{Array, ArrayMut, Compute, Error, Init, Parameter, Parameters, Result};
use panchroma_abi::{self as abi, MAX_AXES, Struct as _};
use std::ffi::CString;

/// Parameters with the texts that the host may point at.
pub(crate) struct Learned {
    pub(crate) list: Vec<Parameter>,
    names: Vec<CString>,
}

impl Learned {
    pub(crate) fn new(list: Vec<Parameter>) -> Result<Self> {
        for (number, parameter) in list.iter().enumerate() {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
            let name = &parameter.name;
            if name.is_empty() || !name.chars().all(word) {
                return Err(Error::failed(format!("parameter {name:?}: letters, digits, underscores and dots only")));
            }
            if list.iter().take(number).any(|p| p.name == *name) {
                return Err(Error::failed(format!("two parameters are called `{name}`")));
            }
            if parameter.shape.len() > MAX_AXES || parameter.shape.contains(&0) {
                let shape = &parameter.shape;
                return Err(Error::failed(format!("parameter `{name}` is {shape:?}: up to {MAX_AXES} axes above 0")));
            }
        }
        let names = list.iter().map(|p| c_string(&p.name, "the parameter")).collect::<Result<_>>()?;
        Ok(Self { list, names })
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn get(&self, index: u32) -> Result<abi::Parameter> {
        let number = count(index, "parameters")?;
        let found = self.list.get(number).zip(self.names.get(number));
        let (parameter, name) = found.ok_or_else(|| Error::failed(format!("no parameter {index}")))?;
        let mut raw = abi::Parameter::new();
        (raw.init, raw.value) = match parameter.init {
            Init::Zeros => (abi::ZEROS, 0.0),
            Init::Constant(value) => (abi::CONSTANT, value),
            Init::Normal(value) => (abi::NORMAL, value),
            Init::Uniform(value) => (abi::UNIFORM, value),
        };
        raw.name = name.as_ptr();
        raw.decay = u32::from(parameter.decay);
        raw.axis_count = parameter.shape.len() as u32;
        for (to, from) in raw.shape.iter_mut().zip(&parameter.shape) {
            *to = *from as u64;
        }
        Ok(raw)
    }

    /// Values of the parameters.
    ///
    /// # Safety
    /// `values` is null or points to as many views as there are parameters, which stay as they are during `'a`.
    pub(crate) unsafe fn open<'a>(&'a self, values: *const *const abi::Tensor) -> Result<Parameters<'a>> {
        // SAFETY: as the caller says, here and below.
        let pointers = unsafe { slice(values, self.len(), "parameters") }?;
        let pairs = self.list.iter().zip(pointers);
        // SAFETY: as above.
        let open = |(p, t): (&Parameter, &*const abi::Tensor)| unsafe { view(*t, &p.shape, &p.name) };
        let values: Vec<Array<'a, f32>> = pairs.map(open).collect::<Result<_>>()?;
        Ok(Parameters { list: &self.list, values })
    }

    /// Gradients of the parameters.
    ///
    /// # Safety
    /// `gradients` is null or points to as many views as there are parameters, which nobody else looks at during `'a`.
    pub(crate) unsafe fn open_mut<'a>(
        &'a self,
        gradients: *const *mut abi::Tensor,
    ) -> Result<Vec<Option<ArrayMut<'a, f32>>>> {
        // SAFETY: as the caller says, here and below.
        let pointers = unsafe { slice(gradients, self.len(), "gradients") }?;
        let pairs = self.list.iter().zip(pointers);
        let what = |p: &Parameter| format!("the gradient of `{}`", p.name);
        // SAFETY: as above.
        let open = |(p, t): (&Parameter, &*mut abi::Tensor)| unsafe { view_mut(*t, &p.shape, &what(p)) }.map(Some);
        pairs.map(open).collect()
    }
}

/// What a computation may depend on.
///
/// # Safety
/// `compute` is null or as the interface describes it.
pub(crate) unsafe fn compute(compute: *const abi::Compute) -> Result<Compute> {
    // SAFETY: as the caller says.
    let raw = unsafe { read(compute, "circumstances of the computation") }?;
    let mode = if raw.mode == abi::TRAIN { Mode::Train } else { Mode::Evaluate };
    Ok(Compute { mode, seed: raw.seed, step: raw.step })
}
