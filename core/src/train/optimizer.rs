//! AdamW with groups, gradient clipping and a state that can be saved exactly.
//!
//! Gradients and parameters come in and the parameters change in place ([`crate::ops`] has the arithmetic); it doesn't know
//! about schedules, losses or files. Not candle-nn's: that one has a single rate and decay for all
//! parameters, no clipping, and moments that can't be read out.
//!
//! Source: Loshchilov and Hutter 2019, algorithm 2, in the form of PyTorch's `AdamW` (decay scaled
//! by the learning rate, epsilon added after the bias correction).

use crate::ops::Gradients;
use crate::ops::adamw::{self, Factors};
use crate::{Decay, Error, Parameter, Result};
use candle_core::Tensor;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Parameters with a rate and decay of their own.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Beginning of the parameters' names: whole parts between dots; empty for all.
    pub prefix: String,
    /// Their learning rate as a multiple of the step's; 0 freezes them.
    pub learning_rate: f64,
    /// Decoupled weight decay of those that have [`Decay::Yes`].
    pub weight_decay: f64,
}

impl Group {
    /// Whether the parameter `name` is one of them: `trunk.image` holds `trunk.image.w`, but not
    /// `trunk.image_two.w`.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        let prefix = self.prefix.trim_end_matches('.');
        prefix.is_empty() || name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Euclidean norm of the gradients of all parameters that aren't frozen, before clipping. If it
    /// is NaN or infinite, the step changed nothing.
    pub gradient_norm: f64,
    /// Whether the gradients were made smaller.
    pub clipped: bool,
}

/// The optimizer: parameters, their moments and the number of steps taken.
#[derive(Debug)]
pub struct AdamW {
    slots: Vec<Slot>,
    betas: [f64; 2],
    epsilon: f64,
    steps: u64,
    /// On a CUDA device, from the first step on: where the moments are then.
    #[cfg(feature = "cuda")]
    on_device: Option<adamw::OnDevice>,
}

#[derive(Debug)]
struct Slot {
    name: String,
    parameter: Parameter,
    learning_rate: f64,
    weight_decay: f64,
    first: Vec<f32>,
    second: Vec<f32>,
    /// Which tensor of the device's optimizer has the moments; then the two above are empty.
    #[cfg(feature = "cuda")]
    number: Option<usize>,
}

impl AdamW {
    /// An optimizer at step 0. Of `groups`, the first that holds a parameter's name counts; a
    /// parameter in none has the plain learning rate and no decay.
    #[must_use]
    pub fn new(parameters: Vec<(String, Parameter)>, groups: Vec<Group>, betas: [f64; 2], epsilon: f64) -> Self {
        let slot = |(name, parameter): (String, Parameter)| {
            let group = groups.iter().find(|group| group.holds(&name));
            let count = parameter.var.elem_count();
            Slot {
                learning_rate: group.map_or(1.0, |group| group.learning_rate),
                weight_decay: match parameter.decay {
                    Decay::Yes => group.map_or(0.0, |group| group.weight_decay),
                    Decay::No => 0.0,
                },
                first: vec![0.0; count],
                second: vec![0.0; count],
                name,
                parameter,
                #[cfg(feature = "cuda")]
                number: None,
            }
        };
        Self {
            slots: parameters.into_iter().map(slot).collect(),
            betas,
            epsilon,
            steps: 0,
            #[cfg(feature = "cuda")]
            on_device: None,
        }
    }

    /// Steps taken.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Changes the parameters in place by one step. `gradients` are of the same parameters in the same order; one that got none
    /// counts as zero. `clip_norm` is the largest norm of all of them together.
    ///
    /// If the norm is NaN or infinite, nothing changes and the caller has to act on the report.
    ///
    /// # Errors
    /// [`Error::Shape`] if the gradients don't fit the parameters, before anything changes;
    /// [`Error::Tensor`] for tensors that aren't f32, or on several devices.
    pub fn step(&mut self, gradients: &Gradients, learning_rate: f64, clip_norm: Option<f64>) -> Result<StepReport> {
        if gradients.len() != self.slots.len() {
            return Err(Error::Shape {
                part: "optimizer".into(),
                expected: format!("{} gradients", self.slots.len()),
                found: gradients.len().to_string(),
            });
        }
        #[cfg(feature = "cuda")]
        if self.slots.first().is_some_and(|slot| slot.parameter.var.device().is_cuda()) {
            return self.step_on_device(gradients, learning_rate, clip_norm);
        }
        for (number, slot) in self.slots.iter().enumerate() {
            let found = gradients.get(number).map_or(slot.first.len(), <[f32]>::len);
            if found != slot.first.len() {
                return Err(Error::Shape {
                    part: format!("gradient of `{}`", slot.name),
                    expected: format!("{} numbers", slot.first.len()),
                    found: found.to_string(),
                });
            }
        }
        let gradient_norm = self.norm(gradients);
        if !gradient_norm.is_finite() {
            return Ok(StepReport { gradient_norm, clipped: false });
        }
        let clipping = clip_norm.filter(|&most| gradient_norm > most).map(|most| most / gradient_norm);
        let report = StepReport { gradient_norm, clipped: clipping.is_some() };
        let (steps, betas, epsilon) = (self.steps + 1, self.betas, self.epsilon);
        self.slots.par_iter_mut().enumerate().filter(|(_, slot)| slot.learning_rate != 0.0).try_for_each(
            |(number, slot)| {
                let rate = learning_rate * slot.learning_rate;
                let clip = clipping.unwrap_or(1.0);
                let factors = Factors::new(steps, betas, epsilon, rate, slot.weight_decay, clip);
                let moments = (slot.first.as_mut_slice(), slot.second.as_mut_slice());
                adamw::update(slot.parameter.var.as_tensor(), gradients.get(number), moments, factors)
            },
        )?;
        self.steps = steps;
        Ok(report)
    }

    /// Both moments of every parameter, as `NAME.first` and `NAME.second`.
    ///
    /// # Errors
    /// [`Error::Tensor`] if a tensor can't be made.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut state = BTreeMap::new();
        for slot in &self.slots {
            let var = &slot.parameter.var;
            #[cfg(feature = "cuda")]
            if let Some(own) = slot.number.and_then(|number| self.on_device.as_ref()?.moments(number)) {
                for (moment, tensor) in ["first", "second"].into_iter().zip(own) {
                    let tensor = tensor.to_device(&candle_core::Device::Cpu)?;
                    state.insert(format!("{}.{moment}", slot.name), tensor);
                }
                continue;
            }
            for (moment, values) in [("first", &slot.first), ("second", &slot.second)] {
                let tensor = Tensor::from_slice(values, var.shape(), &candle_core::Device::Cpu)?;
                state.insert(format!("{}.{moment}", slot.name), tensor);
            }
        }
        Ok(state)
    }

    /// Goes on from what [`AdamW::state`] and [`AdamW::steps`] gave, to the same bit.
    ///
    /// # Errors
    /// [`Error::Shape`] if a moment is missing, has another shape, or belongs to no parameter;
    /// nothing changes then.
    pub fn restore(&mut self, state: &BTreeMap<String, Tensor>, steps: u64) -> Result<()> {
        let mut moments = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            let moment = |moment: &str| -> Result<Vec<f32>> {
                let name = format!("{}.{moment}", slot.name);
                let part = format!("optimizer state `{name}`");
                let like = slot.parameter.var.as_tensor();
                let Some(tensor) = state.get(&name) else {
                    return Err(Error::Shape { part, expected: format!("{:?}", like.dims()), found: "nothing".into() });
                };
                same_shape(&part, like, tensor)?;
                Ok(tensor.flatten_all()?.to_vec1()?)
            };
            moments.push((moment("first")?, moment("second")?));
        }
        if state.len() != 2 * self.slots.len() {
            return Err(Error::Shape {
                part: "optimizer state".into(),
                expected: format!("{} tensors", 2 * self.slots.len()),
                found: state.len().to_string(),
            });
        }
        for (slot, (first, second)) in self.slots.iter_mut().zip(moments) {
            slot.first = first;
            slot.second = second;
            #[cfg(feature = "cuda")]
            {
                slot.number = None;
            }
        }
        #[cfg(feature = "cuda")]
        {
            self.on_device = None;
        }
        self.steps = steps;
        Ok(())
    }

    /// The same on a CUDA device, where the norm decides without the host whether anything changes.
    #[cfg(feature = "cuda")]
    fn step_on_device(
        &mut self,
        gradients: &Gradients,
        learning_rate: f64,
        clip_norm: Option<f64>,
    ) -> Result<StepReport> {
        let mut optimizer = match self.on_device.take() {
            Some(optimizer) => optimizer,
            None => self.move_to_device()?,
        };
        let numbers = self.slots.iter().enumerate().filter(|(_, slot)| slot.number.is_some());
        let given: Vec<Option<&Tensor>> = numbers.map(|(number, _)| gradients.on_device(number)).collect();
        let step = adamw::Step { learning_rate, clip_norm, betas: self.betas, epsilon: self.epsilon };
        let report = optimizer.step(&given, step);
        self.on_device = Some(optimizer);
        let report = report?;
        self.steps = u64::from(report.steps);
        let clipped = report.applied && clip_norm.is_some_and(|most| report.norm > most);
        Ok(StepReport { gradient_norm: report.norm, clipped })
    }

    /// Moments to the device of the parameters that learn.
    #[cfg(feature = "cuda")]
    fn move_to_device(&mut self) -> Result<adamw::OnDevice> {
        let mut learning = Vec::new();
        let mut device = candle_core::Device::Cpu;
        for slot in self.slots.iter_mut().filter(|slot| slot.learning_rate != 0.0) {
            let parameter = slot.parameter.var.as_tensor().clone();
            device = parameter.device().clone();
            let moment = |values: &mut Vec<f32>| Tensor::from_vec(std::mem::take(values), parameter.shape(), &device);
            let moments = [moment(&mut slot.first)?, moment(&mut slot.second)?];
            slot.number = Some(learning.len());
            learning.push(adamw::Learning { parameter, moments, rate: slot.learning_rate, decay: slot.weight_decay });
        }
        Ok(adamw::OnDevice::new(&device, learning, self.steps)?)
    }

    /// Norm of the gradients of parameters that aren't frozen, in f64, in a fixed order.
    fn norm(&self, gradients: &Gradients) -> f64 {
        let squares = |(number, slot): (usize, &Slot)| match gradients.get(number) {
            Some(gradient) if slot.learning_rate != 0.0 => adamw::sum_of_squares(gradient),
            _ => 0.0,
        };
        let squares: Vec<f64> = self.slots.par_iter().enumerate().map(squares).collect();
        squares.iter().sum::<f64>().sqrt()
    }
}

fn same_shape(part: &str, expected: &Tensor, found: &Tensor) -> Result<()> {
    if expected.dims() == found.dims() {
        return Ok(());
    }
    Err(Error::Shape {
        part: part.into(),
        expected: format!("{:?}", expected.dims()),
        found: format!("{:?}", found.dims()),
    })
}

#[cfg(test)]
mod tests;
