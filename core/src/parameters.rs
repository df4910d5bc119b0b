//! The trainable parameters of a model, by dotted name.
//!
//! Not `candle_nn::VarMap`: initial values must depend on the seed and the parameter's name alone
//! (candle's generator on the CPU can't be seeded), and the optimizer needs to know which
//! parameters decay.

use crate::{Error, Result, random};
use candle_core::{DType, Device, Shape, Tensor, Var};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Initial values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All 0.
    Zeros,
    /// All 1.
    Ones,
    /// All the same.
    Constant(f32),
    /// Normal, cut at three standard deviations.
    Normal {
        /// Standard deviation before the cut.
        std: f64,
    },
    /// Uniform in `[-bound, bound]`.
    Uniform {
        /// Largest magnitude.
        bound: f64,
    },
}

impl Init {
    /// Normal with variance `1 / fan_in`: keeps the scale of what a linear map passes on.
    #[must_use]
    pub fn fan_in(inputs: usize) -> Self {
        Self::Normal { std: (inputs.max(1) as f64).powf(-0.5) }
    }
}

/// Whether weight decay applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decay {
    /// Matrices.
    Yes,
    /// Biases, norms, scales, embeddings of positions: shrinking them means nothing.
    No,
}

/// One parameter.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// The variable itself.
    pub var: Var,
    /// Whether weight decay applies.
    pub decay: Decay,
}

/// A view below a prefix into the store that all parts of a model share.
#[derive(Clone, Debug)]
pub struct Parameters {
    store: Arc<Mutex<BTreeMap<String, Parameter>>>,
    prefix: String,
    seed: u64,
    device: Device,
    activations: DType,
}

impl Parameters {
    /// An empty store.
    #[must_use]
    pub fn new(seed: u64, device: &Device) -> Self {
        Self { store: Arc::default(), prefix: String::new(), seed, device: device.clone(), activations: DType::F32 }
    }

    /// The same store for a model that computes in another type of number; parameters are f32 all the same.
    #[must_use]
    pub fn with_activations(self, activations: DType) -> Self {
        Self { activations, ..self }
    }

    /// The view below `name`.
    #[must_use]
    pub fn pp(&self, name: impl std::fmt::Display) -> Self {
        Self { prefix: self.full(&name.to_string()), ..self.clone() }
    }

    /// The prefix of this view.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.prefix
    }

    /// Where parameters live.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The type of number that tokens are embedded to, and so that of a trunk: f32, or bf16 on a CUDA device.
    #[must_use]
    pub fn activations(&self) -> DType {
        self.activations
    }

    /// Makes a parameter and gives its tensor, which later steps of training change in place.
    ///
    /// # Errors
    /// [`Error::Shape`] if the name is taken: two parts would train one another's values.
    pub fn get(&self, name: &str, shape: &[usize], init: Init, decay: Decay) -> Result<Tensor> {
        let name = self.full(name);
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if store.contains_key(&name) {
            return Err(Error::Shape {
                part: format!("parameter `{name}`"),
                expected: "a name of its own".into(),
                found: "made twice".into(),
            });
        }
        let count = shape.iter().product();
        let mut random = random::stream(self.seed, "parameter", &[name.as_bytes()]);
        let values: Vec<f32> = match init {
            Init::Zeros => vec![0.0; count],
            Init::Ones => vec![1.0; count],
            Init::Constant(value) => vec![value; count],
            Init::Normal { std } => (0..count).map(|_| (std * truncated_normal(&mut random)) as f32).collect(),
            Init::Uniform { bound } => (0..count).map(|_| random.random_range(-bound..=bound) as f32).collect(),
        };
        let var = Var::from_tensor(&Tensor::from_vec(values, Shape::from(shape), &self.device)?)?;
        let tensor = var.as_tensor().clone();
        store.insert(name, Parameter { var, decay });
        Ok(tensor)
    }

    /// All parameters of the whole store in the order of their names.
    #[must_use]
    pub fn all(&self) -> Vec<(String, Parameter)> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        store.iter().map(|(name, parameter)| (name.clone(), parameter.clone())).collect()
    }

    fn full(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) }
    }
}

fn truncated_normal(random: &mut random::Random) -> f64 {
    loop {
        let x: f64 = StandardNormal.sample(random);
        if x.abs() <= 3.0 {
            return x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_depend_on_seed_and_name_alone() -> Result<()> {
        let make = |seed, first: &str| -> Result<Vec<f32>> {
            let p = Parameters::new(seed, &Device::Cpu);
            p.get(first, &[3], Init::fan_in(3), Decay::Yes)?;
            Ok(p.pp("a").get("b", &[4], Init::fan_in(4), Decay::Yes)?.to_vec1()?)
        };
        assert_eq!(make(1, "x")?, make(1, "y")?);
        assert_ne!(make(1, "x")?, make(2, "x")?);
        Ok(())
    }

    #[test]
    fn a_name_can_be_made_once() -> Result<()> {
        let p = Parameters::new(0, &Device::Cpu);
        p.get("w", &[1], Init::Zeros, Decay::No)?;
        assert!(p.get("w", &[1], Init::Zeros, Decay::No).is_err());
        Ok(())
    }
}
