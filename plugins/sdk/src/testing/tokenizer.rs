//! A tokenizer, run as the host runs it.

use super::arrays::{Arrays, Buffer, Raw, View, description};
use super::codec::{RawTokens, Tokens};
use super::finite::{Claim, Tuned, added, compare, draw, pointers};
use super::held::{Asked, Held, call, get, there};
use crate::{ArraysSpec, Error, Result, Tokenizer};
use panchroma_abi::{self as abi, Struct as _};

/// An instance of a tokenizer with values of its parameters.
pub struct TokenizerTrial {
    held: Held,
    functions: &'static abi::Tokenizer,
    info: abi::TokenizerInfo,
    parameters: Vec<Tuned>,
}

impl TokenizerTrial {
    /// Tokenizer `T` with a config in JSON, for arrays that look like `spec`. Parameters have their initial values.
    ///
    /// # Errors
    /// What the tokenizer says.
    pub fn new<T: Tokenizer>(config: &str, spec: &ArraysSpec) -> Result<Self> {
        let description = description(spec)?;
        let asked = Asked { arrays: Some(&description), ..Asked::default() };
        let held = Held::new(crate::border::tokenizer::component::<T>()?, config, &asked)?;
        // SAFETY: the component is a tokenizer.
        let functions = unsafe { held.functions::<abi::Tokenizer>() };
        let describe = there(functions.describe, "describe")?;
        // SAFETY: the instance lives, and the getter writes our struct; the same below.
        let info = get(|info| unsafe { describe(held.instance(), info) })?;
        let coordinate = there(functions.coordinate, "coordinate")?;
        for index in 0..info.coordinate_count {
            // SAFETY: as above.
            get(|c| unsafe { coordinate(held.instance(), index, c) })?;
        }
        let parameters = Tuned::all(held.instance(), info.parameter_count, functions.parameter)?;
        Ok(Self { held, functions, info, parameters })
    }

    /// Sets values of a parameter.
    ///
    /// # Errors
    /// If there is no such parameter, or if it has another number of values.
    pub fn set(&mut self, name: &str, values: &[f32]) -> Result<()> {
        Tuned::set(&mut self.parameters, name, values)
    }

    /// Patches of arrays.
    ///
    /// # Errors
    /// What the tokenizer says, or which promise it breaks: valid patches are finite, absent objects have none, the same
    /// arrays give the same bits.
    pub fn run(&self, arrays: &Arrays) -> Result<Tokens> {
        let (this, run) = (self.held.instance(), there(self.functions.run, "run")?);
        let mut arrays = arrays.clone();
        let raw = Raw::of(&mut arrays)?;
        let mut length = self.info.max_tokens;
        if let Some(plan) = self.functions.plan {
            // SAFETY: the arrays live.
            call(|error| unsafe { plan(this, &raw const raw.raw, &raw mut length, error) })?;
        }
        let (width, coordinates) = (self.info.width as usize, self.info.coordinate_count as usize);
        let once = || -> Result<Tokens> {
            let mut tokens = Tokens::new(&arrays, length as usize, width, coordinates);
            let mut places = RawTokens::of(&mut tokens);
            // SAFETY: arrays and tokens live, and nobody else looks at the tokens.
            call(|error| unsafe { run(this, &raw const raw.raw, &raw mut places.raw, error) })?;
            Ok(tokens)
        };
        let tokens = once()?;
        tokens.check(0)?;
        if self.held.flag(abi::DETERMINISTIC) && !tokens.same(&once()?) {
            return Err(Error::failed("the same arrays gave other patches"));
        }
        Ok(tokens)
    }

    /// Vectors `[N, outputs]` of patches `[N, P]`.
    ///
    /// # Errors
    /// What the tokenizer says.
    pub fn forward(&self, patches: &[f32]) -> Result<Vec<f32>> {
        self.forward_with(&self.parameters, patches)
    }

    fn count(&self, patches: &[f32]) -> usize {
        patches.len() / (self.info.width as usize).max(1)
    }

    fn forward_with(&self, parameters: &[Tuned], patches: &[f32]) -> Result<Vec<f32>> {
        let forward = there(self.functions.forward, "forward")?;
        let (count, width, outputs) = (self.count(patches), self.info.width as usize, self.info.outputs as usize);
        let patches = Buffer::F32(patches.to_vec());
        let patches = (View::of(&patches, &[count, width]), patches);
        let values = Tuned::views(parameters);
        let values: Vec<*const abi::Tensor> = pointers(&values).into_iter().map(<*mut _>::cast_const).collect();
        let mut given = Buffer::F32(vec![f32::NAN; count * outputs]);
        let view = View::of_mut(&mut given, &[count, outputs]);
        let compute = abi::Compute::new();
        // SAFETY: everything that is handed over lives until the call is over.
        call(|error| unsafe {
            let (this, compute) = (self.held.instance(), &raw const compute);
            forward(this, compute, patches.0.raw(), values.as_ptr(), view.raw(), error)
        })?;
        match given {
            Buffer::F32(given) if given.iter().all(|x| x.is_finite()) => Ok(given),
            _ => Err(Error::failed("`forward` left an output that isn't finite")),
        }
    }

    fn backward(&self, parameters: &[Tuned], patches: &[f32], from: &[f32], times: usize) -> Result<Vec<Vec<f32>>> {
        let backward = there(self.functions.backward, "backward")?;
        let (count, width, outputs) = (self.count(patches), self.info.width as usize, self.info.outputs as usize);
        let (patches, from) = (Buffer::F32(patches.to_vec()), Buffer::F32(from.to_vec()));
        let (patches_view, from_view) = (View::of(&patches, &[count, width]), View::of(&from, &[count, outputs]));
        let values = Tuned::views(parameters);
        let values: Vec<*const abi::Tensor> = pointers(&values).into_iter().map(<*mut _>::cast_const).collect();
        let shapes: Vec<Vec<usize>> =
            std::iter::once(vec![count, width]).chain(parameters.iter().map(|p| p.shape.clone())).collect();
        let mut gradients: Vec<Buffer> = shapes.iter().map(|s| Buffer::F32(vec![0.0; s.iter().product()])).collect();
        let views: Vec<View> = gradients.iter_mut().zip(&shapes).map(|(g, s)| View::of_mut(g, s)).collect();
        let all = pointers(&views);
        let of_patches = all.first().copied().unwrap_or_default();
        let compute = abi::Compute::new();
        for _ in 0..times {
            // SAFETY: everything that is handed over lives until the call is over; the patches come first.
            call(|error| unsafe {
                let (this, compute, of_parameters) = (self.held.instance(), &raw const compute, all.as_ptr().add(1));
                let (patches, from) = (patches_view.raw().cast_const(), from_view.raw().cast_const());
                backward(this, compute, patches, values.as_ptr(), from, of_patches, of_parameters, error)
            })?;
        }
        Ok(gradients.into_iter().map(|g| if let Buffer::F32(g) = g { g } else { Vec::new() }).collect())
    }

    /// Compares `backward` with finite differences of `forward`, for the patches of these arrays.
    ///
    /// # Errors
    /// Where they differ.
    pub fn check_gradients(&self, arrays: &Arrays) -> Result<()> {
        let tokens = self.run(arrays)?;
        let width = self.info.width as usize;
        let places = (0..tokens.valid().len()).filter(|place| tokens.is_valid(*place));
        let patch = |place: usize| tokens.patches().get(place * width..(place + 1) * width).unwrap_or_default();
        let patches: Vec<f32> = places.flat_map(patch).copied().collect();
        if patches.is_empty() {
            return Err(Error::failed("the arrays give no valid token"));
        }
        let outputs = self.count(&patches) * self.info.outputs as usize;
        // The function to differentiate is a sum of the outputs with these weights.
        let weights: Vec<f32> = (0..outputs).map(|i| draw(7000 + i as u64)).collect();
        let parameters = Tuned::shaken(&self.parameters);
        let names = std::iter::once("patches".to_owned()).chain(parameters.iter().map(|p| p.name.clone())).collect();
        let values = parameters.iter().map(|p| if let Buffer::F32(v) = &p.values { v.clone() } else { Vec::new() });
        let at: Vec<Vec<f32>> = std::iter::once(patches.clone()).chain(values).collect();
        let function = |at: &[Vec<f32>]| -> Result<f64> {
            let (patches, values) = at.split_at(1);
            let mut parameters = parameters.clone();
            for (parameter, values) in parameters.iter_mut().zip(values) {
                parameter.values = Buffer::F32(values.clone());
            }
            let given = self.forward_with(&parameters, patches.first().map_or(&[], Vec::as_slice))?;
            Ok(given.iter().zip(&weights).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum())
        };
        let once = self.backward(&parameters, &patches, &weights, 1)?;
        let claim = Claim { names, at, gradients: once, function: &function };
        added(&claim.names, &claim.gradients, &self.backward(&parameters, &patches, &weights, 2)?)?;
        compare(&claim)
    }
}
