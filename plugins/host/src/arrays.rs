//! Arrays that cross the border: what they look like, buffers that plugins fill, and the checks of what they filled in.

use crate::call::{Fault, Function};
use crate::views::{Guarded, Shaped, Slice, SliceMut, View, unchanged};
use panchroma_abi as abi;
use panchroma_abi::Struct;
use panchroma_core::plugins::NotFinitePolicy;
use panchroma_core::{Array, ArrayField, Arrays, ArraysSpec, ValueType, Values};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
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
            fill(&raw mut arrays)?;
            unchanged(&valid_view, "the mask").map_err(|reason| function.fault(reason))?;
            for (view, field) in views.iter().zip(&self.fields) {
                unchanged(view, &format!("field `{}`", field.name)).map_err(|reason| function.fault(reason))?;
            }
        }
        let beyond = |what: String| function.fault(format!("it wrote behind the end of {what}"));
        let present = present.take().ok_or_else(|| beyond("`present`".into()))?;
        let SliceMut::U8(valid) = valid.take().ok_or_else(|| beyond("the mask".into()))? else {
            return Err(function.fault("the mask is not u8"));
        };
        let mut values = Vec::new();
        for (shaped, field) in fields.into_iter().zip(&self.fields) {
            values.push(shaped.take().ok_or_else(|| beyond(format!("field `{}`", field.name)))?);
        }
        Ok(Buffers { lengths: lengths.to_vec(), present, valid, fields: values })
    }

    /// Checks what a plugin filled in, row by row, and makes it the framework's.
    ///
    /// # Errors
    /// The first promise that is broken, with its row.
    pub(crate) fn finish(
        &self,
        function: Function,
        mut buffers: Buffers,
        policy: NotFinitePolicy,
    ) -> Result<Arrays, Fault> {
        let count = buffers.present.len();
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
        for (field, values) in self.fields.iter().zip(&mut buffers.fields) {
            let mut check = Finite { function, field, spec: self, policy, lengths: &buffers.lengths, per_row };
            match values {
                SliceMut::F32(v) => check.run(v, &buffers.present, &mut buffers.valid, |v| v.is_finite())?,
                SliceMut::F64(v) => check.run(v, &buffers.present, &mut buffers.valid, |v| v.is_finite())?,
                SliceMut::U8(_) | SliceMut::U32(_) => {}
            }
        }
        let of = |axes: &[usize], values: Values| {
            let shape = self.shape(count, axes, &buffers.lengths).into_iter().map(|n| n as usize).collect();
            Array { shape, values }
        };
        let fields = self.fields.iter().zip(buffers.fields);
        let fields: BTreeMap<String, Array> =
            fields.map(|(field, values)| (field.name.clone(), of(&field.axes, values.into()))).collect();
        let valid = of(&self.valid_axes, Values::U8(buffers.valid));
        Ok(Arrays { present: buffers.present.iter().map(|p| *p == 1).collect(), valid, fields })
    }
}

/// Looks for values that should be finite, and sets those to 0 that mean nothing.
struct Finite<'a> {
    function: Function,
    field: &'a FieldSpec,
    spec: &'a Spec,
    policy: NotFinitePolicy,
    lengths: &'a [usize],
    per_row: usize,
}

impl Finite<'_> {
    fn run<T: Copy + Default + std::fmt::Debug>(
        &mut self,
        values: &mut [T],
        present: &[u8],
        valid: &mut [u8],
        is_finite: impl Fn(T) -> bool,
    ) -> Result<(), Fault> {
        let (own, mask) = (self.field.axes.as_slice(), self.spec.valid_axes.as_slice());
        let product =
            |axes: &[usize]| axes.iter().map(|axis| self.lengths.get(*axis).copied().unwrap_or(0)).product::<usize>();
        let width = product(own).max(1);
        let per_row = self.per_row.max(1);
        for (row, (values, valid)) in values.chunks_mut(width).zip(valid.chunks_mut(per_row)).enumerate() {
            if present.get(row) != Some(&1) {
                values.fill(T::default());
                continue;
            }
            if own == mask {
                // What takes the time: two passes without branches where all is well.
                let bad = |bad: bool, (value, valid): (&T, &u8)| bad | ((*valid == 1) & !is_finite(*value));
                if values.iter().zip(&*valid).fold(false, bad) {
                    for (value, valid) in values.iter().zip(valid.iter_mut()) {
                        if *valid == 1 && !is_finite(*value) {
                            self.refuse(row, *value)?;
                            *valid = 0;
                        }
                    }
                }
                for (value, valid) in values.iter_mut().zip(valid.iter()) {
                    *value = if *valid == 0 { T::default() } else { *value };
                }
            } else if own.starts_with(mask) {
                let group = product(&own[mask.len()..]).max(1);
                for (values, valid) in values.chunks_mut(group).zip(valid.iter_mut()) {
                    if *valid == 1 && !values.iter().fold(true, |fine, v| fine & is_finite(*v)) {
                        let bad = values.iter().find(|v| !is_finite(**v)).copied().unwrap_or_default();
                        self.refuse(row, bad)?;
                        *valid = 0;
                    }
                    if *valid == 0 {
                        values.fill(T::default());
                    }
                }
            } else {
                // A mask with more axes than the field, or with others: a value counts if anything of its part of the mask does.
                let group = if mask.starts_with(own) { product(&mask[own.len()..]).max(1) } else { per_row };
                for (place, value) in values.iter_mut().enumerate() {
                    let start = if mask.starts_with(own) { place * group } else { 0 };
                    let part = valid.get_mut(start..start + group).unwrap_or_default();
                    if !is_finite(*value) {
                        if part.contains(&1) {
                            self.refuse(row, *value)?;
                            part.fill(0);
                        }
                        *value = T::default();
                    }
                }
            }
        }
        Ok(())
    }

    fn refuse(&self, row: usize, value: impl std::fmt::Debug) -> Result<(), Fault> {
        match self.policy {
            NotFinitePolicy::Invalid => Ok(()),
            NotFinitePolicy::Error => {
                let reason =
                    format!("field `{}` holds {value:?} where the mask says that it was measured", self.field.name);
                Err(self.function.fault_of(row, format!("{reason}; a value that was never written is NaN")))
            }
        }
    }
}

/// What a plugin filled in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Buffers {
    /// Of each axis.
    pub(crate) lengths: Vec<usize>,
    pub(crate) present: Vec<u8>,
    pub(crate) valid: Vec<u8>,
    pub(crate) fields: Vec<SliceMut>,
}

impl Buffers {
    /// Whether both hold the same bits.
    pub(crate) fn same_bits(&self, other: &Self) -> bool {
        (&self.lengths, &self.present, &self.valid) == (&other.lengths, &other.present, &other.valid)
            && self.fields.len() == other.fields.len()
            && self.fields.iter().zip(&other.fields).all(|(a, b)| a.bytes() == b.bytes())
    }
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
        arrays.present = self.present.as_ptr().cast_mut();
        arrays.valid = valid.pointer();
        arrays.fields = pointers.as_ptr();
        call(&arrays)
    }
}

/// A description in the interface's structs, with all that it points at.
pub(crate) struct Info {
    pub(crate) table: abi::ArraysInfo,
    _texts: Vec<CString>,
    _axes: Vec<Box<abi::Axis>>,
    _fields: Vec<Box<abi::Field>>,
    _pointers: (Vec<*const abi::Axis>, Vec<*const abi::Field>),
}

impl Info {
    fn new(spec: &Spec) -> Self {
        let mut texts: Vec<CString> = Vec::new();
        // Names with a zero byte can't come from a plugin, and ours have none.
        let mut keep = |text: &str| {
            let text = CString::new(text).unwrap_or_default();
            let pointer = text.as_ptr();
            texts.push(text);
            pointer
        };
        let axes: Vec<Box<abi::Axis>> = (spec.axes.iter())
            .map(|(name, longest)| {
                let mut axis = abi::Axis::new();
                (axis.name, axis.longest) = (keep(name), *longest as u64);
                Box::new(axis)
            })
            .collect();
        let fields: Vec<Box<abi::Field>> = (spec.fields.iter())
            .map(|own| {
                let mut field = abi::Field::new();
                (field.name, field.unit, field.r#type) = (keep(&own.name), keep(&own.unit), own.kind);
                field.axis_count = own.axes.len().min(abi::MAX_AXES) as u32;
                own.axes.iter().zip(&mut field.axes).for_each(|(from, to)| *to = *from as u32);
                Box::new(field)
            })
            .collect();
        let axis_pointers: Vec<*const abi::Axis> = axes.iter().map(|axis| &raw const **axis).collect();
        let field_pointers: Vec<*const abi::Field> = fields.iter().map(|field| &raw const **field).collect();
        let mut table = abi::ArraysInfo::new();
        (table.axis_count, table.axes) = (axis_pointers.len() as u32, axis_pointers.as_ptr());
        (table.field_count, table.fields) = (field_pointers.len() as u32, field_pointers.as_ptr());
        table.valid_axis_count = spec.valid_axes.len().min(abi::MAX_AXES) as u32;
        spec.valid_axes.iter().zip(&mut table.valid_axes).for_each(|(from, to)| *to = *from as u32);
        Self { table, _texts: texts, _axes: axes, _fields: fields, _pointers: (axis_pointers, field_pointers) }
    }
}
