//! Arrays that cross the border: what they look like, buffers that plugins fill, and the checks of what they filled in.

use crate::call::{Fault, Function};
use crate::info::Info;
use crate::mask;
use crate::views::{Guarded, Shaped, Slice, View, require_room, unchanged};
use panchroma_abi as abi;
use panchroma_abi::Struct;
use panchroma_core::plugins::NotFinitePolicy;
use panchroma_core::{Array, ArrayField, Arrays, ArraysSpec, ValueType, Values};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// What arrays look like: that of a plugin's modality, or what a plugin's codec reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// Name and greatest length.
    pub(crate) axes: Vec<(String, usize)>,
    pub(crate) fields: Vec<FieldSpec>,
    /// Numbers of axes.
    pub(crate) valid_axes: Vec<usize>,
}

/// One field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FieldSpec {
    pub(crate) name: String,
    pub(crate) unit: String,
    /// As the interface numbers types.
    pub(crate) kind: u32,
    pub(crate) axes: Vec<usize>,
}

/// The same text for as long as the process lives: descriptions of arrays have such.
pub(crate) fn lasting(text: &str) -> &'static str {
    static TEXTS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    match texts.get(text) {
        Some(found) => found,
        None => {
            let lasting: &'static str = Box::leak(text.to_owned().into_boxed_str());
            texts.insert(lasting);
            lasting
        }
    }
}

fn value_type(kind: u32) -> ValueType {
    match kind {
        abi::F64 => ValueType::F64,
        abi::U8 => ValueType::U8,
        abi::U32 => ValueType::U32,
        _ => ValueType::F32,
    }
}

fn lasting_axes(axes: &[&'static str]) -> &'static [&'static str] {
    static LISTS: Mutex<BTreeSet<&'static [&'static str]>> = Mutex::new(BTreeSet::new());
    let mut lists = LISTS.lock().unwrap_or_else(PoisonError::into_inner);
    match lists.get(axes) {
        Some(found) => found,
        None => {
            let lasting: &'static [&'static str] = Box::leak(axes.to_vec().into_boxed_slice());
            lists.insert(lasting);
            lasting
        }
    }
}

impl Spec {
    /// As the framework describes arrays.
    pub(crate) fn to_core(&self) -> ArraysSpec {
        let sizes: Vec<(&'static str, usize)> = self.axes.iter().map(|(name, size)| (lasting(name), *size)).collect();
        let names = |axes: &[usize]| {
            let names: Vec<&'static str> =
                axes.iter().filter_map(|axis| sizes.get(*axis)).map(|(name, _)| *name).collect();
            lasting_axes(&names)
        };
        let field = |f: &FieldSpec| {
            let (name, axes, unit) = (lasting(&f.name), names(&f.axes), f.unit.clone());
            ArrayField { name, axes, unit, values: value_type(f.kind) }
        };
        let fields = self.fields.iter().map(field).collect();
        ArraysSpec { fields, valid_axes: names(&self.valid_axes), sizes: sizes.clone(), labels: Vec::new() }
    }

    /// From the framework's description; axes without a size are left out by `None`.
    pub(crate) fn of_core(spec: &ArraysSpec) -> Option<Self> {
        let axes: Vec<(String, usize)> = spec.sizes.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect();
        let numbers = |names: &[&str]| -> Option<Vec<usize>> {
            names.iter().map(|name| axes.iter().position(|(axis, _)| axis == name)).collect()
        };
        let field = |f: &ArrayField| {
            let kind = match f.values {
                ValueType::F32 => abi::F32,
                ValueType::F64 => abi::F64,
                ValueType::U8 => abi::U8,
                ValueType::U32 => abi::U32,
            };
            Some(FieldSpec { name: f.name.into(), unit: f.unit.clone(), kind, axes: numbers(f.axes)? })
        };
        let fields = spec.fields.iter().map(field).collect::<Option<_>>()?;
        Some(Self { fields, valid_axes: numbers(spec.valid_axes)?, axes })
    }

    /// As the interface describes them.
    pub(crate) fn info(&self) -> Info {
        Info::new(self)
    }

    fn shape(&self, count: usize, axes: &[usize], lengths: &[usize]) -> Vec<i64> {
        let length = |axis: &usize| lengths.get(*axis).copied().unwrap_or(0) as i64;
        std::iter::once(count as i64).chain(axes.iter().map(length)).collect()
    }

    /// Greatest length of each axis.
    pub(crate) fn longest(&self) -> Vec<usize> {
        self.axes.iter().map(|(_, size)| *size).collect()
    }

    /// Makes buffers for `count` rows, lets `fill` fill them, and looks whether it kept to them.
    ///
    /// # Errors
    /// That of `fill`, or what it broke.
    pub(crate) fn filled(
        &self,
        function: Function,
        count: usize,
        lengths: &[usize],
        fill: impl FnOnce(*mut abi::Arrays) -> Result<(), Fault>,
    ) -> Result<Buffers, Fault> {
        for (name, axes) in self.fields.iter().map(|f| (f.name.as_str(), &f.axes)).chain([("mask", &self.valid_axes)]) {
            require_room(name, &self.shape(count, axes, lengths))?;
        }
        let mut present = Guarded::new(count, 0u8);
        let valid_shape = self.shape(count, &self.valid_axes, lengths);
        let mut valid = Shaped::new(abi::U8, &valid_shape);
        let shapes = self.fields.iter().map(|field| (field.kind, self.shape(count, &field.axes, lengths)));
        let mut fields: Vec<Shaped> = shapes.map(|(kind, shape)| Shaped::new(kind, &shape)).collect();
        {
            let mut valid_view = valid.view();
            let mut views: Vec<View> = fields.iter_mut().map(Shaped::view).collect();
            let pointers: Vec<*mut abi::Tensor> = views.iter_mut().map(View::pointer).collect();
            let mut arrays = abi::Arrays::new();
            arrays.field_count = pointers.len() as u32;
            arrays.count = count as u64;
            arrays.present = present.pointer();
            arrays.valid = valid_view.pointer();
            arrays.fields = pointers.as_ptr();
            let before = (arrays.present, arrays.valid, arrays.fields, arrays.count, arrays.field_count);
            fill(&raw mut arrays)?;
            if (arrays.present, arrays.valid, arrays.fields, arrays.count, arrays.field_count) != before {
                return Err(function.fault("it replaced pointers of `arrays`; what they lead to is to be filled"));
            }
            unchanged(&valid_view, "the mask").map_err(|reason| function.fault(reason))?;
            for (view, field) in views.iter().zip(&self.fields) {
                unchanged(view, &format!("field `{}`", field.name)).map_err(|reason| function.fault(reason))?;
            }
        }
        let beyond = |what: String| function.fault(format!("it wrote behind the end of {what}"));
        let present = present.take().ok_or_else(|| beyond("`present`".into()))?;
        let Values::U8(valid) = valid.take().ok_or_else(|| beyond("the mask".into()))? else {
            return Err(function.fault("the mask is not u8"));
        };
        let mut values = Vec::new();
        for (shaped, field) in fields.into_iter().zip(&self.fields) {
            values.push(shaped.take().ok_or_else(|| beyond(format!("field `{}`", field.name)))?);
        }
        Ok(Buffers { lengths: lengths.to_vec(), present, valid, fields: values })
    }

    /// What comes from another process may have any size.
    fn require_shapes(&self, function: Function, buffers: &Buffers, count: usize) -> Result<(), Fault> {
        let values =
            |axes: &[usize]| self.shape(count, axes, &buffers.lengths).iter().map(|n| *n as usize).product::<usize>();
        let fits = buffers.lengths.len() == self.axes.len()
            && buffers.lengths.iter().zip(&self.axes).all(|(length, (_, longest))| (1..=*longest).contains(length))
            && buffers.present.len() == count
            && buffers.valid.len() == values(&self.valid_axes)
            && buffers.fields.len() == self.fields.len()
            && self
                .fields
                .iter()
                .zip(&buffers.fields)
                .all(|(field, own)| (own.value_type(), own.len()) == (value_type(field.kind), values(&field.axes)));
        if fits { Ok(()) } else { Err(function.fault("what came back has other shapes than were asked for")) }
    }

    /// Checks what a plugin filled in for `count` rows, and makes it the framework's.
    ///
    /// # Errors
    /// The first promise that is broken, with its row.
    pub(crate) fn finish(
        &self,
        function: Function,
        mut buffers: Buffers,
        count: usize,
        policy: NotFinitePolicy,
    ) -> Result<Arrays, Fault> {
        self.require_shapes(function, &buffers, count)?;
        let per_row = buffers.valid.len() / count.max(1);
        if let Some(row) = buffers.present.iter().position(|p| *p > 1) {
            return Err(function.fault_of(row, "`present` must be 0 or 1"));
        }
        for (row, (present, valid)) in buffers.present.iter().zip(buffers.valid.chunks(per_row.max(1))).enumerate() {
            let most = valid.iter().copied().fold(0, u8::max);
            if most > 1 {
                return Err(function.fault_of(row, format!("the mask must be 0 or 1, has {most}")));
            }
            if most > *present {
                return Err(function.fault_of(row, "it has valid values and is not `present`"));
            }
        }
        let rows = |field| mask::Rows::new(function, field, self, &buffers.lengths);
        let all: Vec<mask::Rows<'_>> = self.fields.iter().map(rows).collect();
        for (rows, values) in all.iter().zip(&buffers.fields) {
            match values {
                Values::F32(v) => rows.require_finite(v, &mut buffers.valid, policy, f32::is_finite)?,
                Values::F64(v) => rows.require_finite(v, &mut buffers.valid, policy, f64::is_finite)?,
                Values::U8(_) | Values::U32(_) => {}
            }
        }
        // Not before all of them were looked at: what one field hides is hidden in all.
        for (rows, values) in all.iter().zip(&mut buffers.fields) {
            match values {
                Values::F32(v) => rows.clear(v, &buffers.valid),
                Values::F64(v) => rows.clear(v, &buffers.valid),
                Values::U8(v) => rows.clear(v, &buffers.valid),
                Values::U32(v) => rows.clear(v, &buffers.valid),
            }
        }
        let of = |axes: &[usize], values: Values| {
            let shape = self.shape(count, axes, &buffers.lengths).into_iter().map(|n| n as usize).collect();
            Array { shape, values }
        };
        let fields = self.fields.iter().zip(buffers.fields);
        let fields: BTreeMap<String, Array> =
            fields.map(|(field, values)| (field.name.clone(), of(&field.axes, values))).collect();
        let valid = of(&self.valid_axes, Values::U8(buffers.valid));
        Ok(Arrays { present: buffers.present.iter().map(|p| *p == 1).collect(), valid, fields })
    }
}

/// What a plugin filled in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Buffers {
    /// Of each axis.
    pub(crate) lengths: Vec<usize>,
    pub(crate) present: Vec<u8>,
    pub(crate) valid: Vec<u8>,
    pub(crate) fields: Vec<Values>,
}

/// Arrays by reference, for codecs to read.
pub(crate) struct ArraysView<'a> {
    pub(crate) present: &'a [u8],
    pub(crate) valid: (Vec<i64>, Slice<'a>),
    pub(crate) fields: Vec<(Vec<i64>, Slice<'a>)>,
}

impl<'a> ArraysView<'a> {
    /// Views of the framework's arrays, fields in the order of `spec`.
    ///
    /// # Errors
    /// If a field isn't there.
    pub(crate) fn of(function: Function, arrays: &'a Arrays, spec: &Spec) -> Result<Self, Fault> {
        let view = |array: &'a Array| {
            (array.shape.iter().map(|n| *n as i64).collect::<Vec<i64>>(), Slice::from(&array.values))
        };
        let field = |field: &FieldSpec| {
            let found =
                arrays.fields.get(&field.name).filter(|array| array.values.value_type() == value_type(field.kind));
            found
                .map(view)
                .ok_or_else(|| function.fault(format!("the arrays have no field `{}` of its type", field.name)))
        };
        Ok(Self {
            present: bytemuck::cast_slice(&arrays.present),
            valid: view(&arrays.valid),
            fields: spec.fields.iter().map(field).collect::<Result<_, _>>()?,
        })
    }

    /// Hands them to `call` as the interface's struct.
    pub(crate) fn view<R>(&self, call: impl FnOnce(&abi::Arrays) -> R) -> R {
        let mut valid = View::of(&self.valid.0, &self.valid.1);
        let mut views: Vec<View> = self.fields.iter().map(|(shape, values)| View::of(shape, values)).collect();
        let pointers: Vec<*mut abi::Tensor> = views.iter_mut().map(View::pointer).collect();
        let mut arrays = abi::Arrays::new();
        arrays.field_count = pointers.len() as u32;
        arrays.count = self.present.len() as u64;
        // A copy: what one that should only read writes there must not reach the framework's.
        let mut present = self.present.to_vec();
        arrays.present = present.as_mut_ptr();
        arrays.valid = valid.pointer();
        arrays.fields = pointers.as_ptr();
        call(&arrays)
    }
}
