//! Tokenizers with parameters: arrays -> patches on loader threads, patches -> vectors in the model.

use crate::arrays::{ArraysView, Spec};
use crate::call::{Caller, Fault, Function};
use crate::codec::{attributed, planned};
use crate::instance::{Chosen, Instance, Request};
use crate::library::Functions;
use crate::operation::{self, Compute, Declared, Gradients, Held, parameter_views};
use crate::tokens::TokenLayout;
use crate::views::{Shaped, Slice, View};
use panchroma_abi as abi;
use panchroma_abi::Struct;
use panchroma_core::reexport::candle_core::Tensor;
use panchroma_core::{Arrays, Forward, Layer, Parameters, Result, TokenSpec, Tokenizer, Tokens};
use std::sync::Arc;

/// A plugin's tokenizer as the framework's.
pub(crate) struct ForeignTokenizer {
    own: Arc<Own>,
    arrays: Spec,
    layout: TokenLayout,
    spec: TokenSpec,
    layer: Option<Arc<ForeignLayer>>,
}

struct Own {
    instance: Instance,
    functions: abi::Tokenizer,
    caller: Caller,
}

/// Its map from patches to vectors.
struct ForeignLayer {
    own: Arc<Own>,
    parameters: Held,
    outputs: usize,
}

impl ForeignTokenizer {
    /// Makes an instance, asks what it is, and makes its parameters.
    ///
    /// # Errors
    /// If it breaks a promise, or a parameter's name is taken.
    pub(crate) fn new(chosen: Chosen, request: &Request<'_>, arrays: &Spec, parameters: &Parameters) -> Result<Self> {
        let caller = chosen.caller();
        let described = Self::describe(chosen, request).map_err(|fault| caller.error(fault, &[]))?;
        let (own, layout, outputs, declared) = described;
        let layer = match outputs {
            0 => None,
            outputs => {
                let parameters = Held::new(declared, parameters)?;
                Some(Arc::new(ForeignLayer { own: Arc::clone(&own), parameters, outputs }))
            }
        };
        Ok(Self { own, arrays: arrays.clone(), spec: layout.to_core(), layout, layer })
    }

    fn describe(chosen: Chosen, request: &Request<'_>) -> Result<(Arc<Own>, TokenLayout, usize, Vec<Declared>), Fault> {
        let caller = chosen.caller();
        let instance = Instance::new(chosen, request)?;
        let wrong = |reason: &str| Function::Describe.fault(reason);
        let Functions::Tokenizer(functions) = *instance.functions() else { return Err(wrong("it is no tokenizer")) };
        let describe = functions.describe.ok_or_else(|| wrong("there is none"))?;
        let mut info = abi::TokenizerInfo::new();
        // SAFETY: the instance is alive, and the struct is ours and says its size.
        Function::Describe.call(|_| unsafe { describe(instance.pointer(), &raw mut info) })?;
        let coordinates = (info.coordinate_count, functions.coordinate);
        let layout = TokenLayout::read(&instance, (0, info.width), info.max_tokens, coordinates.0, coordinates.1)?;
        let outputs = usize::try_from(info.outputs).ok().filter(|n| *n <= 1 << 20);
        let outputs = outputs.ok_or_else(|| wrong("it gives more values per token than fit"))?;
        if outputs > 0 && (functions.forward.is_none() || functions.backward.is_none()) {
            return Err(wrong("it has outputs and no `forward` or no `backward`"));
        }
        if outputs == 0 && info.parameter_count > 0 {
            return Err(wrong("it has parameters and no outputs"));
        }
        let declared = Declared::all(&instance, info.parameter_count, functions.parameter)?;
        Ok((Arc::new(Own { instance, functions, caller }), layout, outputs, declared))
    }
}

impl Tokenizer for ForeignTokenizer {
    fn spec(&self) -> TokenSpec {
        self.spec.clone()
    }

    fn tokenize(&self, arrays: &Arrays, _context: &Forward) -> Result<Tokens> {
        let Own { instance, functions, caller } = &*self.own;
        let tokens = |arrays: &Arrays| {
            let Some(run) = functions.run else { return Err(Function::Run.fault("there is none")) };
            let view = ArraysView::of(Function::Run, arrays, &self.arrays)?;
            let buffers = view.view(|arrays| {
                let tokens = planned(instance, functions.plan, arrays, self.layout.max_tokens)?;
                self.layout.filled(Function::Run, view.present, tokens, |tokens| {
                    // SAFETY: the instance is alive, arrays and tokens are as the interface describes them.
                    Function::Run.call(|error| unsafe { run(instance.pointer(), arrays, tokens, error) }).map(|_| ())
                })
            })?;
            self.layout.finish(Function::Run, buffers, &arrays.present)
        };
        attributed(arrays, tokens).map_err(|fault| caller.error(fault, &[]))
    }

    fn layer(&self) -> Option<Arc<dyn Layer>> {
        self.layer.clone().map(|layer| layer as Arc<dyn Layer>)
    }
}

impl Layer for ForeignLayer {
    fn outputs(&self) -> usize {
        self.outputs
    }

    fn forward(&self, patches: &Tensor) -> Result<Tensor> {
        let declared = self.parameters.declared.clone();
        let call = LayerCall { own: Arc::clone(&self.own), outputs: self.outputs, declared };
        operation::apply(call, patches, &self.parameters)
    }
}

struct LayerCall {
    own: Arc<Own>,
    outputs: usize,
    declared: Vec<Declared>,
}

/// That of evaluation: the map of a tokenizer draws nothing.
fn compute() -> abi::Compute {
    let mut compute = abi::Compute::new();
    compute.mode = abi::EVALUATE;
    compute
}

impl Compute for LayerCall {
    fn forward(&self, (x, dims): (&[f32], &[usize]), parameters: &[f32]) -> Result<(Vec<f32>, Vec<usize>), Fault> {
        let function = Function::Forward;
        let Some(forward) = self.own.functions.forward else { return Err(function.fault("there is none")) };
        let shape: Vec<i64> = dims.iter().map(|n| *n as i64).collect();
        let count = dims.first().copied().unwrap_or(0);
        let mut result = Shaped::new(abi::F32, &[count as i64, self.outputs as i64]);
        {
            let mut patches = View::of(&shape, &Slice::F32(x));
            let mut views = parameter_views(&self.declared, parameters);
            let pointers: Vec<*const abi::Tensor> = views.iter_mut().map(|v| v.pointer().cast_const()).collect();
            let mut outputs = result.view();
            let (compute, instance) = (compute(), self.own.instance.pointer());
            let (patches, list, out) = (patches.pointer(), pointers.as_ptr(), outputs.pointer());
            // SAFETY: the instance is alive, and all views are as the interface describes them.
            let call = |error| unsafe { forward(instance, &raw const compute, patches, list, out, error) };
            if !function.call(call)? {
                return Err(function.fault("it says that there is nothing to learn from, which only a head may"));
            }
        }
        let result = result.take_f32().ok_or_else(|| function.fault("it wrote behind the end of its outputs"))?;
        Ok((result, vec![count, self.outputs]))
    }

    fn backward(
        &self,
        (x, dims): (&[f32], &[usize]),
        parameters: &[f32],
        gradient: &[f32],
    ) -> Result<(Vec<f32>, Vec<f32>), Fault> {
        let function = Function::Backward;
        let Some(backward) = self.own.functions.backward else { return Err(function.fault("there is none")) };
        let shape: Vec<i64> = dims.iter().map(|n| *n as i64).collect();
        let mut of_x = Shaped::zeros(&shape);
        let mut gradients = Gradients::new(&self.declared);
        {
            let mut patches = View::of(&shape, &Slice::F32(x));
            let mut views = parameter_views(&self.declared, parameters);
            let pointers: Vec<*const abi::Tensor> = views.iter_mut().map(|v| v.pointer().cast_const()).collect();
            let out_shape = [shape.first().copied().unwrap_or(0), self.outputs as i64];
            let mut given = View::of(&out_shape, &Slice::F32(gradient));
            let (mut of_x, mut of_parameters) = (of_x.view(), gradients.views());
            let wanted: Vec<*mut abi::Tensor> = of_parameters.iter_mut().map(View::pointer).collect();
            let (compute, instance) = (compute(), self.own.instance.pointer());
            let inputs = (patches.pointer(), pointers.as_ptr(), given.pointer());
            let outputs = (of_x.pointer(), wanted.as_ptr());
            // SAFETY: as above.
            function.call(|error| unsafe {
                backward(instance, &raw const compute, inputs.0, inputs.1, inputs.2, outputs.0, outputs.1, error)
            })?;
        }
        let beyond = || function.fault("it wrote behind the end of a gradient");
        Ok((of_x.take_f32().ok_or_else(beyond)?, gradients.flat(parameters.len()).ok_or_else(beyond)?))
    }

    fn caller(&self) -> &Caller {
        &self.own.caller
    }
}
