//! AdamW with groups, gradient clipping and a state that can be saved exactly.
//!
//! Gradients and parameters come in and the parameters change in place; it doesn't know about
//! schedules, losses or files. Not candle-nn's: that one has a single rate and decay for all
//! parameters, no clipping, and moments that can't be read out.
//!
//! Source: Loshchilov and Hutter 2019, algorithm 2, in the form of PyTorch's `AdamW` (decay scaled
//! by the learning rate, epsilon added after the bias correction).

use crate::{Decay, Error, Parameter, Result};
use candle_core::{CpuStorage, InplaceOp2, Layout, Storage, Tensor, bail};
use rayon::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Values per task, whatever the number of threads: partial sums of the norm are then always the
/// same.
const CHUNK: usize = 1 << 15;

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
}

#[derive(Debug)]
struct Slot {
    name: String,
    parameter: Parameter,
    learning_rate: f64,
    weight_decay: f64,
    first: Vec<f32>,
    second: Vec<f32>,
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
            }
        };
        Self { slots: parameters.into_iter().map(slot).collect(), betas, epsilon, steps: 0 }
    }

    /// Steps taken.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Changes the parameters in place by one step. `gradients` are f32 and in the order of the
    /// parameters; `clip_norm` is the largest norm of all of them together.
    ///
    /// If the norm is NaN or infinite, nothing changes and the caller has to act on the report.
    ///
    /// # Errors
    /// [`Error::Shape`] if the gradients don't fit the parameters, before anything changes;
    /// [`Error::Tensor`] for tensors that aren't f32 on the CPU.
    pub fn step(&mut self, gradients: &[Tensor], learning_rate: f64, clip_norm: Option<f64>) -> Result<StepReport> {
        if gradients.len() != self.slots.len() {
            return Err(Error::Shape {
                part: "optimizer".into(),
                expected: format!("{} gradients", self.slots.len()),
                found: gradients.len().to_string(),
            });
        }
        for (slot, gradient) in self.slots.iter().zip(gradients) {
            same_shape(&format!("gradient of `{}`", slot.name), slot.parameter.var.as_tensor(), gradient)?;
        }
        let gradients = gradients.iter().map(Tensor::contiguous).collect::<candle_core::Result<Vec<_>>>()?;
        let gradient_norm = self.norm(&gradients)?;
        if !gradient_norm.is_finite() {
            return Ok(StepReport { gradient_norm, clipped: false });
        }
        let clipping = clip_norm.filter(|&most| gradient_norm > most).map(|most| most / gradient_norm);
        let report = StepReport { gradient_norm, clipped: clipping.is_some() };
        let steps = self.steps + 1;
        let exponent = steps as f64;
        let [beta1, beta2] = self.betas;
        let corrections = (1.0 - beta1.powf(exponent), 1.0 - beta2.powf(exponent));
        let epsilon = self.epsilon;
        self.slots.par_iter_mut().zip(&gradients).filter(|(slot, _)| slot.learning_rate != 0.0).try_for_each(
            |(slot, gradient)| {
                let rate = learning_rate * slot.learning_rate;
                let factors = Factors {
                    gradient: clipping.unwrap_or(1.0) as f32,
                    beta1: beta1 as f32,
                    rest1: (1.0 - beta1) as f32,
                    beta2: beta2 as f32,
                    rest2: (1.0 - beta2) as f32,
                    rate: (rate / corrections.0) as f32,
                    second: corrections.1.sqrt().recip() as f32,
                    epsilon: epsilon as f32,
                    decay: (rate * slot.weight_decay) as f32,
                };
                let moments = RefCell::new((slot.first.as_mut_slice(), slot.second.as_mut_slice()));
                slot.parameter.var.as_tensor().inplace_op2(gradient, &Update { factors, moments })
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
        }
        self.steps = steps;
        Ok(())
    }

    /// Norm of the gradients of parameters that aren't frozen, in f64, in a fixed order.
    fn norm(&self, gradients: &[Tensor]) -> Result<f64> {
        let squares = |gradient: &Tensor| -> candle_core::Result<f64> {
            let (storage, layout) = gradient.storage_and_layout();
            let Storage::Cpu(storage) = &*storage else { bail!("adamw: expected gradients on the CPU") };
            let partial: Vec<f64> = values(storage, layout)?.par_chunks(CHUNK).map(sum_of_squares).collect();
            Ok(partial.iter().sum())
        };
        let squares: Vec<f64> = self
            .slots
            .par_iter()
            .zip(gradients)
            .map(|(slot, gradient)| if slot.learning_rate == 0.0 { Ok(0.0) } else { squares(gradient) })
            .collect::<candle_core::Result<_>>()?;
        Ok(squares.iter().sum::<f64>().sqrt())
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

fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    match layout.contiguous_offsets().and_then(|(start, end)| storage.as_slice::<f32>().ok()?.get(start..end)) {
        Some(values) => Ok(values),
        None => bail!("adamw: expected contiguous gradients in f32"),
    }
}

/// Squares of f32 can't overflow in f64: the result is finite if all values are.
fn sum_of_squares(values: &[f32]) -> f64 {
    let mut lanes = [0.0_f64; 16];
    let (chunks, rest) = values.as_chunks::<16>();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(value) * f64::from(value);
        }
    }
    lanes.iter().sum::<f64>() + rest.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>()
}

/// The numbers of one step for one parameter, calculated in f64.
#[derive(Clone, Copy)]
struct Factors {
    gradient: f32,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    rate: f32,
    second: f32,
    epsilon: f32,
    decay: f32,
}

struct Update<'a> {
    factors: Factors,
    // candle calls the operation by shared reference.
    moments: RefCell<(&'a mut [f32], &'a mut [f32])>,
}

impl InplaceOp2 for Update<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(
        &self,
        parameter: &mut CpuStorage,
        parameter_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> candle_core::Result<()> {
        let gradient = values(gradient, gradient_layout)?;
        let CpuStorage::F32(all) = parameter else { bail!("adamw: expected parameters in f32") };
        let range = parameter_layout.contiguous_offsets().map(|(start, end)| start..end);
        let Some(parameter) = range.and_then(|range| all.get_mut(range)) else {
            bail!("adamw: expected contiguous parameters")
        };
        let (first, second) = &mut *self.moments.borrow_mut();
        let factors = self.factors;
        parameter
            .par_chunks_mut(CHUNK)
            .zip(gradient.par_chunks(CHUNK))
            .zip(first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK)))
            .for_each(|((parameter, gradient), (first, second))| update(factors, parameter, gradient, first, second));
        Ok(())
    }
}

fn update(f: Factors, parameter: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32]) {
    let moments = first.iter_mut().zip(second.iter_mut());
    for ((parameter, &gradient), (first, second)) in parameter.iter_mut().zip(gradient).zip(moments) {
        let gradient = gradient * f.gradient;
        *first = f.beta1 * *first + f.rest1 * gradient;
        *second = f.beta2 * *second + f.rest2 * (gradient * gradient);
        // One subtraction: `1 - rate * decay` would keep few digits of the decay in f32.
        *parameter -= f.rate * *first / (second.sqrt() * f.second + f.epsilon) + f.decay * *parameter;
    }
}

#[cfg(test)]
mod tests;
