//! What tokenizers and heads learn: parameters, which belong to the host, and their gradients.

use crate::rows::{Mode, Rows};
use crate::{Array, ArrayMut, Error, Result};

/// Initial values of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All 0.
    Zeros,
    /// All the same.
    Constant(f64),
    /// Normal with this standard deviation, cut at three of them.
    Normal(f64),
    /// Uniform from minus to plus this.
    Uniform(f64),
}

/// A parameter, which the host makes, optimises and saves.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) init: Init,
    pub(crate) decay: bool,
}

impl Parameter {
    /// A parameter that starts as `init`. Weight decay applies to matrices.
    pub fn new(name: impl Into<String>, shape: &[usize], init: Init) -> Self {
        Self { name: name.into(), shape: shape.to_vec(), init, decay: shape.len() > 1 }
    }

    /// A matrix `[outputs, inputs]` that keeps the variance of what goes through it.
    pub fn matrix(name: impl Into<String>, outputs: usize, inputs: usize) -> Self {
        let deviation = 1.0 / (inputs.max(1) as f64).sqrt();
        Self::new(name, &[outputs, inputs], Init::Normal(deviation))
    }

    /// A vector that starts as 0, without weight decay.
    pub fn bias(name: impl Into<String>, length: usize) -> Self {
        Self::new(name, &[length], Init::Zeros)
    }

    /// With weight decay or without.
    #[must_use]
    pub fn decay(mut self, decay: bool) -> Self {
        self.decay = decay;
        self
    }
}

/// What a computation may depend on besides its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compute {
    pub(crate) mode: Mode,
    pub(crate) seed: u64,
    pub(crate) step: u64,
}

impl Compute {
    /// Whether random parts, such as dropout, are allowed.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Seed of the run.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Step of the optimizer.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.step
    }
}

/// Values of the parameters.
#[derive(Clone, Debug)]
pub struct Parameters<'a> {
    pub(crate) list: &'a [Parameter],
    pub(crate) values: Vec<Array<'a, f32>>,
}

impl<'a> Parameters<'a> {
    /// A parameter by its name.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn get(&self, name: &str) -> Result<&Array<'a, f32>> {
        let number = find(self.list, name)?;
        self.values.get(number).ok_or_else(|| unknown(name))
    }
}

/// Gradients to add to. Each is handed out once, so that several can be filled side by side.
#[derive(Debug)]
pub struct Gradients<'a> {
    pub(crate) list: &'a [Parameter],
    pub(crate) inputs: Vec<Option<ArrayMut<'a, f32>>>,
    pub(crate) parameters: Vec<Option<ArrayMut<'a, f32>>>,
}

impl<'a> Gradients<'a> {
    /// Takes the gradient of an input: of a tokenizer, 0 is the patches; of a head, a number as in its inputs.
    ///
    /// # Errors
    /// If there is no such input, or if it was taken before.
    pub fn input(&mut self, number: usize) -> Result<ArrayMut<'a, f32>> {
        let found = self.inputs.get_mut(number).and_then(Option::take);
        found.ok_or_else(|| Error::failed(format!("no input {number}, or its gradient was taken before")))
    }

    /// Takes the gradient of a parameter.
    ///
    /// # Errors
    /// If there is none of that name, or if it was taken before.
    pub fn parameter(&mut self, name: &str) -> Result<ArrayMut<'a, f32>> {
        let number = find(self.list, name)?;
        let found = self.parameters.get_mut(number).and_then(Option::take);
        found.ok_or_else(|| Error::failed(format!("the gradient of `{name}` was taken before")))
    }
}

fn find(list: &[Parameter], name: &str) -> Result<usize> {
    list.iter().position(|p| p.name == name).ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> Error {
    Error::failed(format!("no parameter is called `{name}`"))
}

/// Which vectors a head gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// One per object, over all its modalities.
    Joint,
    /// One per object and modality, each encoded as if it were alone.
    Isolated,
}

/// What a head sees of a batch.
#[derive(Clone, Debug)]
pub struct HeadInput<'a> {
    pub(crate) inputs: Vec<Array<'a, f32>>,
    pub(crate) present: Vec<&'a [u8]>,
    pub(crate) rows: Rows<'a>,
}

impl<'a> HeadInput<'a> {
    /// How many objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many inputs: 1 if joint, otherwise the modalities in the order of the request.
    #[must_use]
    pub fn input_count(&self) -> usize {
        self.inputs.len()
    }

    /// Vectors `[B, D]` of an input.
    ///
    /// # Errors
    /// If there is no such input.
    pub fn vectors(&self, number: usize) -> Result<&Array<'a, f32>> {
        self.inputs.get(number).ok_or_else(|| Error::failed(format!("no input {number}")))
    }

    /// Whether an object has a vector in an input; where not, it holds zeros.
    #[must_use]
    pub fn present(&self, number: usize, row: usize) -> bool {
        self.present.get(number).and_then(|p| p.get(row)).is_some_and(|p| *p != 0)
    }

    /// The columns that the head asked for.
    #[must_use]
    pub fn rows(&self) -> &Rows<'a> {
        &self.rows
    }
}
