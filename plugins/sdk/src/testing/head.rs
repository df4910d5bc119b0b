//! A head, run as the host runs it.

use super::arrays::{Buffer, View};
use super::batch::Batch;
use super::finite::{Claim, Tuned, added, compare, draw, pointers};
use super::held::{Asked, Held, call, column, get, there};
use super::rows::Rows;
use crate::{Column, Error, Head, Mode, Result};
use panchroma_abi::{self as abi, Struct as _};

/// What a head gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The loss; none if no row counts.
    pub loss: Option<f32>,
    /// Predictions `[B, outputs]`.
    pub predictions: Vec<f32>,
}

/// An instance of a head with values of its parameters.
pub struct HeadTrial {
    held: Held,
    functions: &'static abi::Head,
    columns: Vec<Column>,
    parameters: Vec<Tuned>,
    inputs: usize,
    outputs: usize,
    width: usize,
}

impl HeadTrial {
    /// Head `H` with a config in JSON, for vectors of `width` numbers and these modalities. Parameters have their initial
    /// values.
    ///
    /// # Errors
    /// What the head says.
    pub fn new<H: Head>(config: &str, width: usize, modalities: &[&str]) -> Result<Self> {
        let asked = Asked { modalities, width, ..Asked::default() };
        let held = Held::new(crate::border::head::component::<H>()?, config, &asked)?;
        // SAFETY: the component is a head.
        let functions = unsafe { held.functions::<abi::Head>() };
        let (this, describe) = (held.instance(), there(functions.describe, "describe")?);
        // SAFETY: the instance lives, and the getter writes our struct; the same below.
        let info = get(|info| unsafe { describe(this, info) })?;
        let read = there(functions.column, "column")?;
        let mut columns = Vec::new();
        for index in 0..info.column_count {
            // SAFETY: as above.
            columns.push(column(&get(|c| unsafe { read(this, index, c) })?)?);
        }
        let parameters = Tuned::all(this, info.parameter_count, functions.parameter)?;
        let inputs = if info.view == abi::JOINT { 1 } else { modalities.len() };
        Ok(Self { held, functions, columns, parameters, inputs, outputs: info.outputs as usize, width })
    }

    /// Sets values of a parameter.
    ///
    /// # Errors
    /// If there is no such parameter, or if it has another number of values.
    pub fn set(&mut self, name: &str, values: &[f32]) -> Result<()> {
        Tuned::set(&mut self.parameters, name, values)
    }

    /// Loss and predictions for vectors `[B, D]` of each input; a vector of zeros is an object that is absent.
    ///
    /// # Errors
    /// What the head says.
    pub fn forward(&self, inputs: &[Vec<f32>], rows: &Rows) -> Result<Outcome> {
        self.forward_with(&self.parameters, inputs, rows)
    }

    fn forward_with(&self, parameters: &[Tuned], inputs: &[Vec<f32>], rows: &Rows) -> Result<Outcome> {
        let forward = there(self.functions.forward, "forward")?;
        let batch = Batch::new(rows, &self.columns, false)?;
        let seen = Seen::new(inputs, &batch, rows.len(), self)?;
        let values = Tuned::views(parameters);
        let values: Vec<*const abi::Tensor> = pointers(&values).into_iter().map(<*mut _>::cast_const).collect();
        let (mut loss, mut predictions) = (f32::NAN, Buffer::F32(vec![f32::NAN; rows.len() * self.outputs]));
        let view = View::of_mut(&mut predictions, &[rows.len(), self.outputs]);
        let place = if self.outputs == 0 { std::ptr::null_mut() } else { view.raw() };
        let compute = compute(rows);
        // SAFETY: everything that is handed over lives until the call is over.
        let status = call(|error| unsafe {
            let (this, compute) = (self.held.instance(), &raw const compute);
            forward(this, compute, &raw const seen.raw, values.as_ptr(), &raw mut loss, place, error)
        })?;
        let Buffer::F32(predictions) = predictions else {
            return Err(Error::failed("predictions changed their type"));
        };
        if predictions.iter().any(|p| p.is_nan()) {
            return Err(Error::failed("a prediction is missing or not a number"));
        }
        Ok(Outcome { loss: (status == abi::OK).then_some(loss), predictions })
    }

    fn backward(&self, parameters: &[Tuned], inputs: &[Vec<f32>], rows: &Rows, times: usize) -> Result<Vec<Vec<f32>>> {
        let backward = there(self.functions.backward, "backward")?;
        let batch = Batch::new(rows, &self.columns, false)?;
        let seen = Seen::new(inputs, &batch, rows.len(), self)?;
        let values = Tuned::views(parameters);
        let values: Vec<*const abi::Tensor> = pointers(&values).into_iter().map(<*mut _>::cast_const).collect();
        let sizes = inputs.iter().map(Vec::len).chain(parameters.iter().map(|p| p.shape.iter().product()));
        let mut gradients: Vec<Buffer> = sizes.map(|n| Buffer::F32(vec![0.0; n])).collect();
        let shapes: Vec<Vec<usize>> = inputs
            .iter()
            .map(|_| vec![rows.len(), self.width])
            .chain(parameters.iter().map(|p| p.shape.clone()))
            .collect();
        let views: Vec<View> = gradients.iter_mut().zip(&shapes).map(|(g, s)| View::of_mut(g, s)).collect();
        let all = pointers(&views);
        let (of_inputs, of_parameters) = all.split_at(inputs.len());
        let compute = compute(rows);
        for _ in 0..times {
            // SAFETY: everything that is handed over lives until the call is over.
            call(|error| unsafe {
                let (this, compute, input) = (self.held.instance(), &raw const compute, &raw const seen.raw);
                backward(this, compute, input, values.as_ptr(), of_inputs.as_ptr(), of_parameters.as_ptr(), error)
            })?;
        }
        Ok(gradients.into_iter().map(|g| if let Buffer::F32(g) = g { g } else { Vec::new() }).collect())
    }

    /// Compares `backward` with finite differences of `forward`, for vectors that look random and these rows, at least
    /// one of which has to count.
    ///
    /// # Errors
    /// Where they differ.
    pub fn check_gradients(&self, rows: &Rows) -> Result<()> {
        let count = rows.len() * self.width;
        let vector = |n: usize| (0..count).map(|i| 1.2 * draw((n * count + i) as u64)).collect();
        let inputs: Vec<Vec<f32>> = (0..self.inputs).map(vector).collect();
        let parameters = Tuned::shaken(&self.parameters);
        let names: Vec<String> =
            (0..self.inputs).map(|n| format!("input {n}")).chain(parameters.iter().map(|p| p.name.clone())).collect();
        let values = parameters.iter().map(|p| if let Buffer::F32(v) = &p.values { v.clone() } else { Vec::new() });
        let at: Vec<Vec<f32>> = inputs.iter().cloned().chain(values).collect();
        let function = |at: &[Vec<f32>]| -> Result<f64> {
            let (inputs, values) = at.split_at(self.inputs);
            let mut parameters = parameters.clone();
            for (parameter, values) in parameters.iter_mut().zip(values) {
                parameter.values = Buffer::F32(values.clone());
            }
            let loss = self.forward_with(&parameters, inputs, rows)?.loss;
            loss.map(f64::from).ok_or_else(|| Error::failed("no row counts: there is no loss to differentiate"))
        };
        let once = self.backward(&parameters, &inputs, rows, 1)?;
        added(&names, &once, &self.backward(&parameters, &inputs, rows, 2)?)?;
        compare(&Claim { names, at, gradients: once, function: &function })
    }
}

fn compute(rows: &Rows) -> abi::Compute {
    let mut compute = abi::Compute::new();
    compute.mode = if rows.mode == Mode::Train { abi::TRAIN } else { abi::EVALUATE };
    compute.seed = rows.seed;
    compute
}

/// What the head sees, with everything that the struct points at.
struct Seen {
    raw: abi::HeadInput,
    _buffers: Vec<Buffer>,
    _views: Vec<View>,
    _marks: Vec<Vec<u8>>,
    _pointers: (Vec<*const abi::Tensor>, Vec<*const u8>),
}

impl Seen {
    fn new(inputs: &[Vec<f32>], batch: &Batch, rows: usize, head: &HeadTrial) -> Result<Self> {
        let size = rows * head.width;
        if inputs.len() != head.inputs || inputs.iter().any(|i| i.len() != size) {
            let (count, width) = (head.inputs, head.width);
            return Err(Error::invalid(format!("the head takes {count} inputs of {rows} vectors of {width}")));
        }
        let buffers: Vec<Buffer> = inputs.iter().map(|i| Buffer::F32(i.clone())).collect();
        let views: Vec<View> = buffers.iter().map(|b| View::of(b, &[rows, head.width])).collect();
        let there = |vector: &[f32]| u8::from(vector.iter().any(|x| *x != 0.0));
        let marks: Vec<Vec<u8>> = inputs.iter().map(|i| i.chunks(head.width.max(1)).map(there).collect()).collect();
        let tensors: Vec<*const abi::Tensor> = pointers(&views).into_iter().map(<*mut _>::cast_const).collect();
        let present: Vec<*const u8> = marks.iter().map(Vec::as_ptr).collect();
        let mut raw = abi::HeadInput::new();
        raw.input_count = inputs.len() as u32;
        (raw.inputs, raw.present, raw.rows) = (tensors.as_ptr(), present.as_ptr(), batch.raw());
        Ok(Self { raw, _buffers: buffers, _views: views, _marks: marks, _pointers: (tensors, present) })
    }
}
