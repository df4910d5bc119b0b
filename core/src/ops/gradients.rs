//! Gradients of parameters, in one buffer that lasts from step to step.
//!
//! candle's `backward` makes a zero tensor for every gradient and adds to it, which for parameters costs four passes over
//! each. While [`Gradients::backward`] runs, our own operations add what they have to this buffer, where a matrix product
//! does the adding; what other operations give is added when candle is done. Gradients of several batches add up.

use crate::plugins::raised;
use crate::{Parameter, Result};
use candle_core::{DType, Tensor, TensorId, Var, bail};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;

use super::product::Onto;
use super::slices::with_values;

/// Sums of gradients of a model's parameters.
#[derive(Debug)]
pub struct Gradients {
    vars: Vec<Var>,
    sums: Sums,
}

/// What operations add to. It has a type of its own because it moves to where they find it.
#[derive(Debug, Default)]
struct Sums {
    values: Vec<f32>,
    slots: Vec<Slot>,
    by_id: HashMap<TensorId, usize>,
    /// In place of `values` for parameters on another device than the CPU: the sum of each, if it has one.
    on_device: Option<Vec<Option<Tensor>>>,
}

#[derive(Debug)]
struct Slot {
    range: Range<usize>,
    /// Whether `values` holds something of this step there.
    filled: bool,
}

thread_local! {
    /// Where operations find the sums during [`Gradients::backward`]: candle runs a backward pass on the thread that asks
    /// for it.
    static CURRENT: RefCell<Option<Sums>> = const { RefCell::new(None) };
}

impl Gradients {
    /// For these parameters, in this order; nothing is summed yet.
    ///
    /// # Errors
    /// [`crate::Error::Tensor`] if a parameter isn't f32, or they are on several devices.
    pub fn new(parameters: &[(String, Parameter)]) -> Result<Self> {
        let vars: Vec<Var> = parameters.iter().map(|(_, parameter)| parameter.var.clone()).collect();
        let mut sums = Sums::default();
        let mut end = 0;
        for (number, (name, parameter)) in parameters.iter().enumerate() {
            let tensor = parameter.var.as_tensor();
            if tensor.dtype() != DType::F32 {
                let message = format!("gradients: expected `{name}` in f32, got {}", tensor.dtype().as_str());
                return Err(candle_core::Error::Msg(message).into());
            }
            let range = end..end + tensor.elem_count();
            end = range.end;
            sums.slots.push(Slot { range, filled: false });
            sums.by_id.insert(tensor.id(), number);
        }
        let mut devices = vars.iter().map(|var| var.device());
        match devices.next() {
            Some(first) if !devices.all(|device| device.same_device(first)) => {
                return Err(candle_core::Error::Msg("gradients: expected all parameters on one device".into()).into());
            }
            Some(first) if !first.is_cpu() => sums.on_device = Some(vec![None; vars.len()]),
            _ => sums.values = vec![0.0; end],
        }
        Ok(Self { vars, sums })
    }

    /// As on a device, on the CPU.
    #[cfg(test)]
    pub(super) fn in_tensors(parameters: &[(String, Parameter)]) -> Result<Self> {
        let mut this = Self::new(parameters)?;
        this.sums.on_device = Some(vec![None; this.vars.len()]);
        Ok(this)
    }

    /// Forgets all sums.
    pub fn clear(&mut self) {
        self.sums.slots.iter_mut().for_each(|slot| slot.filled = false);
        self.sums.on_device.iter_mut().flatten().for_each(|sum| *sum = None);
    }

    /// Adds the gradients of `loss`, a scalar.
    ///
    /// # Errors
    /// [`crate::Error::Tensor`], or what a plugin raised, from an operation; the sums are cleared then.
    pub fn backward(&mut self, loss: &Tensor) -> Result<()> {
        let before = CURRENT.replace(Some(std::mem::take(&mut self.sums)));
        let store = loss.backward();
        self.sums = CURRENT.replace(before).unwrap_or_default();
        let done = store.map_err(raised).and_then(|store| {
            for (slot, var) in self.vars.iter().enumerate() {
                if let Some(gradient) = store.get(var.as_tensor()) {
                    self.sums.add_tensor(slot, gradient)?;
                }
            }
            Ok(())
        });
        if done.is_err() {
            self.clear();
        }
        done
    }

    /// How many parameters there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.vars.len()
    }

    /// Whether there is no parameter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vars.is_empty()
    }

    /// The gradient of parameter `number`, row-major; `None` if it got none, or isn't on the CPU.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<&[f32]> {
        let slot = self.sums.slots.get(number).filter(|slot| slot.filled)?;
        self.sums.values.get(slot.range.clone())
    }

    /// The gradient of parameter `number` where parameters are on another device than the CPU; `None` if it got none.
    #[must_use]
    pub fn on_device(&self, number: usize) -> Option<&Tensor> {
        self.sums.on_device.as_ref()?.get(number)?.as_ref()
    }

    /// The gradient of parameter `number`, row-major, from whatever device; `None` if it got none. Waits for the device.
    ///
    /// # Errors
    /// [`crate::Error::Tensor`] if the device fails.
    pub fn to_host(&self, number: usize) -> Result<Option<Cow<'_, [f32]>>> {
        match self.on_device(number) {
            Some(gradient) => Ok(Some(Cow::Owned(gradient.flatten_all()?.to_vec1()?))),
            None => Ok(self.get(number).map(Cow::Borrowed)),
        }
    }

    /// The gradient of `parameter` as a tensor; `None` if it got none.
    ///
    /// # Errors
    /// [`crate::Error::Tensor`] if the tensor can't be made.
    pub fn tensor(&self, parameter: &Tensor) -> Result<Option<Tensor>> {
        let number = self.sums.by_id.get(&parameter.id());
        if let Some(sum) = number.and_then(|number| self.on_device(*number)) {
            return Ok(Some(sum.clone()));
        }
        let values = number.and_then(|number| self.get(*number));
        Ok(values.map(|values| Tensor::from_slice(values, parameter.shape(), parameter.device())).transpose()?)
    }
}

impl Sums {
    fn add_tensor(&mut self, slot: usize, gradient: &Tensor) -> candle_core::Result<()> {
        let gradient = gradient.detach().contiguous()?;
        let Some(sums) = &mut self.on_device else {
            return with_values("gradients", [&gradient], |[gradient]| self.add(slot, gradient));
        };
        let Some(sum) = sums.get_mut(slot) else { return Ok(()) };
        *sum = Some(match sum.take() {
            Some(sum) => (sum + gradient)?,
            None => gradient,
        });
        Ok(())
    }

    fn add(&mut self, slot: usize, gradient: &[f32]) {
        self.with(slot, |sum, onto| match onto {
            Onto::Nothing => sum.copy_from_slice(gradient),
            Onto::Values => sum.iter_mut().zip(gradient).for_each(|(sum, gradient)| *sum += gradient),
        });
    }

    fn with(&mut self, slot: usize, f: impl FnOnce(&mut [f32], Onto)) {
        let Some(Slot { range, filled }) = self.slots.get_mut(slot) else { return };
        let onto = if std::mem::replace(filled, true) { Onto::Values } else { Onto::Nothing };
        if let Some(values) = self.values.get_mut(range.clone()) {
            f(values, onto);
        }
    }
}

/// Whose gradient an operation has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Added {
    /// A parameter's: it is in the sums.
    Yes,
    /// Another tensor's, or there are no sums: it has to be given to candle.
    No,
}

/// Calls `f` with the sum of the gradients of `parameter` so far, if there is one on this thread; [`Onto::Nothing`] says
/// that the slice holds nothing yet.
pub(super) fn add(parameter: &Tensor, f: impl FnOnce(&mut [f32], Onto)) -> Added {
    // Not borrowed while `f` runs: it may wait for other threads, and do other work meanwhile.
    let Some(mut sums) = CURRENT.take() else { return Added::No };
    let slot = sums.by_id.get(&parameter.id()).copied().filter(|_| sums.on_device.is_none());
    if let Some(slot) = slot {
        sums.with(slot, f);
    }
    CURRENT.set(Some(sums));
    if slot.is_some() { Added::Yes } else { Added::No }
}

/// The gradient `own` of `parameter`, added to its sum if there is one on this thread, or else as a tensor for candle if it asks for one.
pub(super) fn add_or_give(parameter: &Tensor, own: &[f32]) -> candle_core::Result<Option<Tensor>> {
    let added = add(parameter, |sum, onto| match onto {
        Onto::Nothing => sum.copy_from_slice(own),
        Onto::Values => sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += own),
    });
    let wanted = added == Added::No && parameter.track_op();
    wanted.then(|| Tensor::from_slice(own, parameter.shape(), parameter.device())).transpose()
}

/// Adds `gradient` to the sum of `parameter`, if there is one on this thread.
#[cfg(any(test, feature = "cuda"))]
pub(super) fn add_tensor(parameter: &Tensor, gradient: &Tensor) -> candle_core::Result<Added> {
    CURRENT.with_borrow_mut(|current| {
        let Some(sums) = current.as_mut() else { return Ok(Added::No) };
        let Some(slot) = sums.by_id.get(&parameter.id()).copied() else { return Ok(Added::No) };
        sums.add_tensor(slot, gradient)?;
        Ok(Added::Yes)
    })
}

/// Refuses a backward pass without sums, for operations whose parameters candle doesn't know.
pub(super) fn require(op: &'static str) -> candle_core::Result<()> {
    if CURRENT.with_borrow(Option::is_none) {
        bail!("{op}: its parameters' gradients have nowhere to go; call `Gradients::backward`, not `Tensor::backward`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Init, Parameters, ops};
    use candle_core::Device;

    #[test]
    fn sums_are_those_of_candle_and_add_up() -> Result<()> {
        let p = Parameters::new(1, &Device::Cpu);
        let w = p.get("w", &[3, 4], Init::fan_in(4), crate::Decay::Yes)?;
        let scale = p.get("scale", &[3], Init::Ones, crate::Decay::No)?;
        let unused = p.get("unused", &[2], Init::Ones, crate::Decay::No)?;
        let x = Tensor::arange(0f32, 8.0, &Device::Cpu)?.reshape((2, 4))?;
        // `w` is used by an operation of ours and by candle's.
        let loss = || -> Result<Tensor> {
            let y = ops::linear(&x, &w, None)?.broadcast_mul(&scale)?;
            Ok((y.sqr()?.sum_all()? + w.sqr()?.sum_all()?)?)
        };
        let store = loss()?.backward()?;
        let mut gradients = Gradients::new(&p.all())?;
        for round in 1..3 {
            gradients.backward(&loss()?)?;
            for parameter in [&w, &scale] {
                let expected = (store.get(parameter).expect("has a gradient") * f64::from(round))?;
                let got = gradients.tensor(parameter)?.expect("has a gradient");
                let off = ((got - &expected)? / expected)?.abs()?.max_all()?.to_scalar::<f32>()?;
                assert!(off < 1e-5, "round {round}: {off}");
            }
        }
        assert!(gradients.tensor(&unused)?.is_none());
        gradients.clear();
        assert!(gradients.tensor(&w)?.is_none());
        Ok(())
    }
}
