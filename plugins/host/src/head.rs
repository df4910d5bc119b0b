//! Heads of plugins: vectors -> loss and predictions.

use crate::call::{Caller, Fault, Function};
use crate::instance::{Chosen, Instance, Request};
use crate::library::Functions;
use crate::operation::{self, Compute, Declared, Gradients, parameter_views};
use crate::rows::{Held, Wanted};
use crate::views::{Shaped, Slice, View};
use panchroma_abi as abi;
use panchroma_abi::Struct;
use panchroma_core::reexport::candle_core::{DType, Device, Tensor};
use panchroma_core::{
    Batch, Column, Features, Forward, Head, HeadContext, HeadOutput, Mode, Pooled, PrepareContext, Result, Rows,
    View as See,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Most predictions per object.
const MOST_OUTPUTS: u64 = 1 << 20;

/// A plugin's head as the framework's.
pub(crate) struct ForeignHead {
    own: Arc<Own>,
    parameters: operation::Held,
    modalities: Vec<String>,
    width: usize,
}

struct Own {
    /// The user's name of it.
    name: String,
    instance: Instance,
    functions: abi::Head,
    caller: Caller,
    view: See,
    wanted: Vec<Wanted>,
    declared: Vec<Declared>,
    outputs: usize,
}

impl ForeignHead {
    /// Makes an instance, asks what it is, and makes its parameters.
    ///
    /// # Errors
    /// If it breaks a promise, or a parameter's name is taken.
    pub(crate) fn new(chosen: Chosen, request: &Request<'_>, context: &HeadContext<'_>) -> Result<Self> {
        let caller = chosen.caller();
        let own = Own::new(chosen, request).map_err(|fault| caller.error(fault, &[]))?;
        let parameters = operation::Held::new(own.declared.clone(), context.parameters)?;
        Ok(Self { own: Arc::new(own), parameters, modalities: context.modalities.to_vec(), width: context.width })
    }
}

impl Own {
    fn new(chosen: Chosen, request: &Request<'_>) -> Result<Self, Fault> {
        let caller = chosen.caller();
        let instance = Instance::new(chosen, request)?;
        let wrong = |reason: String| Function::Describe.fault(reason);
        let Functions::Head(functions) = *instance.functions() else { return Err(wrong("it is no head".into())) };
        let describe = functions.describe.ok_or_else(|| wrong("there is none".into()))?;
        let mut info = abi::HeadInfo::new();
        // SAFETY: the instance is alive, and the struct is ours and says its size.
        Function::Describe.call(|_| unsafe { describe(instance.pointer(), &raw mut info) })?;
        let view = match info.view {
            abi::JOINT => See::Joint,
            abi::ISOLATED => See::Isolated,
            other => return Err(wrong(format!("it asks for the unknown view {other}"))),
        };
        if info.column_count > 4096 || info.outputs > MOST_OUTPUTS {
            return Err(wrong(format!("it has {} columns and {} outputs", info.column_count, info.outputs)));
        }
        let column = |index| Wanted::read(&instance, index, functions.column);
        let wanted = (0..info.column_count).map(column).collect::<Result<_, _>>()?;
        let declared = Declared::all(&instance, info.parameter_count, functions.parameter)?;
        Ok(Self {
            name: request.name.into(),
            instance,
            functions,
            caller,
            view,
            wanted,
            declared,
            outputs: info.outputs as usize,
        })
    }
}

impl Head for ForeignHead {
    fn columns(&self) -> Vec<Column> {
        self.own.wanted.iter().map(Wanted::column).collect()
    }

    fn view(&self) -> See {
        self.own.view
    }

    fn flops(&self, batch: usize) -> f64 {
        // What it computes is its own affair: at least each parameter is used once per object, forwards.
        let numbers: usize = self.own.declared.iter().map(|d| d.shape.iter().product::<usize>()).sum();
        2.0 * batch as f64 * numbers as f64
    }

    fn forward(&self, features: &Features, batch: &Batch, context: &Forward) -> Result<HeadOutput> {
        let absent = Pooled {
            vectors: Tensor::zeros((batch.len(), self.width), DType::F32, features.joint.vectors.device())?,
            present: vec![false; batch.len()],
        };
        let pooled: Vec<&Pooled> = match self.own.view {
            See::Isolated => self.modalities.iter().map(|m| features.modality.get(m).unwrap_or(&absent)).collect(),
            _ => vec![&features.joint],
        };
        let vectors: Vec<Tensor> = pooled.iter().map(|p| p.vectors.to_dtype(DType::F32)).collect::<Result<_, _>>()?;
        let inputs = Tensor::stack(&vectors, 0)?;
        let prepare = PrepareContext { mode: context.mode, seed: context.seed, epoch: 0, modality: &self.own.name };
        let random = self.own.instance.flags() & abi::RANDOM != 0;
        let held = Held::new(&batch.rows, &self.own.wanted, &prepare, &self.own.caller.plugin, random)?;
        let nothing = Arc::new(AtomicBool::new(false));
        let call = HeadCall {
            own: Arc::clone(&self.own),
            present: pooled.iter().map(|p| p.present.iter().map(|p| u8::from(*p)).collect()).collect(),
            rows: batch.rows.clone(),
            held,
            context: *context,
            nothing: Arc::clone(&nothing),
        };
        let result = operation::apply(call, &inputs, &self.parameters)?;
        let mut output = HeadOutput::default();
        if !nothing.load(Ordering::Relaxed) {
            output.loss = Some(result.narrow(0, 0, 1)?.squeeze(0)?);
        }
        if self.own.outputs > 0 {
            let predictions = result.detach().narrow(0, 1, batch.len() * self.own.outputs)?;
            let predictions = predictions.reshape((batch.len(), self.own.outputs))?.to_device(&Device::Cpu)?;
            output.predictions = BTreeMap::from([("prediction".to_owned(), predictions)]);
        }
        Ok(output)
    }
}

/// One call of a head, with all that its backward pass needs.
struct HeadCall {
    own: Arc<Own>,
    /// Per input.
    present: Vec<Vec<u8>>,
    rows: Rows,
    held: Held,
    context: Forward,
    /// Set if no row had what it learns from.
    nothing: Arc<AtomicBool>,
}

impl HeadCall {
    /// Hands the inputs to `call` as the interface's structs.
    fn input<R>(&self, x: &[f32], dims: &[usize], call: impl FnOnce(&abi::Compute, &abi::HeadInput) -> R) -> R {
        let shape: Vec<i64> = dims.iter().skip(1).map(|n| *n as i64).collect();
        let each = dims.iter().skip(1).product::<usize>().max(1);
        let mut views: Vec<View> = x.chunks(each).map(|own| View::of(&shape, &Slice::F32(own))).collect();
        let inputs: Vec<*const abi::Tensor> = views.iter_mut().map(|v| v.pointer().cast_const()).collect();
        let present: Vec<*const u8> = self.present.iter().map(|p| p.as_ptr()).collect();
        let mut compute = abi::Compute::new();
        compute.mode = if self.context.mode == Mode::Train { abi::TRAIN } else { abi::EVALUATE };
        (compute.seed, compute.step) = (self.context.seed, self.context.step);
        let (mode, seed, name) = (self.context.mode, self.context.seed, self.own.name.as_str());
        let batch = self.held.batch(self.rows.ids(), &PrepareContext { mode, seed, epoch: 0, modality: name });
        batch.view(|rows| {
            let mut input = abi::HeadInput::new();
            input.input_count = inputs.len() as u32;
            input.inputs = inputs.as_ptr();
            input.present = present.as_ptr();
            input.rows = rows;
            call(&compute, &input)
        })
    }
}

impl Compute for HeadCall {
    fn forward(&self, (x, dims): (&[f32], &[usize]), parameters: &[f32]) -> Result<(Vec<f32>, Vec<usize>), Fault> {
        let function = Function::Forward;
        let Own { instance, functions, outputs, declared, .. } = &*self.own;
        let Some(forward) = functions.forward else { return Err(function.fault("there is none")) };
        let (count, mut loss) = (self.rows.len(), f32::NAN);
        let mut predictions = Shaped::new(abi::F32, &[count as i64, *outputs as i64]);
        let learned = {
            let mut views = parameter_views(declared, parameters);
            let pointers: Vec<*const abi::Tensor> = views.iter_mut().map(|v| v.pointer().cast_const()).collect();
            let mut view = predictions.view();
            let out = if *outputs == 0 { std::ptr::null_mut() } else { view.pointer() };
            let list = pointers.as_ptr();
            self.input(x, dims, |compute, input| {
                // SAFETY: the instance is alive, and all views are as the interface describes them.
                function.call(|error| unsafe {
                    forward(instance.pointer(), compute, input, list, &raw mut loss, out, error)
                })
            })?
        };
        if !learned {
            self.nothing.store(true, Ordering::Relaxed);
            loss = 0.0;
        }
        let predictions =
            predictions.take_f32().ok_or_else(|| function.fault("it wrote behind the end of its predictions"))?;
        let result: Vec<f32> = std::iter::once(loss).chain(predictions).collect();
        let length = result.len();
        Ok((result, vec![length]))
    }

    fn backward(
        &self,
        (x, dims): (&[f32], &[usize]),
        parameters: &[f32],
        gradient: &[f32],
    ) -> Result<(Vec<f32>, Vec<f32>), Fault> {
        let function = Function::Backward;
        let Own { instance, functions, declared, .. } = &*self.own;
        let Some(backward) = functions.backward else { return Err(function.fault("there is none")) };
        let each: Vec<i64> = dims.iter().skip(1).map(|n| *n as i64).collect();
        let mut of_inputs: Vec<Shaped> = (0..self.present.len()).map(|_| Shaped::zeros(&each)).collect();
        let mut gradients = Gradients::new(declared);
        {
            let mut views = parameter_views(declared, parameters);
            let pointers: Vec<*const abi::Tensor> = views.iter_mut().map(|v| v.pointer().cast_const()).collect();
            let (mut inputs, mut wanted) =
                (of_inputs.iter_mut().map(Shaped::view).collect::<Vec<View>>(), gradients.views());
            let inputs: Vec<*mut abi::Tensor> = inputs.iter_mut().map(View::pointer).collect();
            let wanted: Vec<*mut abi::Tensor> = wanted.iter_mut().map(View::pointer).collect();
            let (list, inputs, wanted) = (pointers.as_ptr(), inputs.as_ptr(), wanted.as_ptr());
            self.input(x, dims, |compute, input| {
                // SAFETY: as above.
                function
                    .call(|error| unsafe { backward(instance.pointer(), compute, input, list, inputs, wanted, error) })
            })?;
        }
        let beyond = || function.fault("it wrote behind the end of a gradient");
        // Of predictions there is no gradient.
        let scale = gradient.first().copied().unwrap_or(0.0);
        let mut of_x = Vec::with_capacity(x.len());
        for own in of_inputs {
            of_x.extend(own.take_f32().ok_or_else(beyond)?);
        }
        let mut of_parameters = gradients.flat(parameters.len()).ok_or_else(beyond)?;
        of_x.iter_mut().chain(&mut of_parameters).for_each(|g| *g *= scale);
        Ok((of_x, of_parameters))
    }

    fn caller(&self) -> &Caller {
        &self.own.caller
    }

    fn ids(&self) -> &[String] {
        self.rows.ids()
    }
}
