//! What arrays look like, in the interface's own structs.

use crate::arrays::Spec;
use panchroma_abi as abi;
use panchroma_abi::Struct;
use std::ffi::CString;

/// A description in the interface's structs, with all that it points at.
pub(crate) struct Info {
    pub(crate) table: abi::ArraysInfo,
    _texts: Vec<CString>,
    _axes: Vec<abi::Axis>,
    _fields: Vec<abi::Field>,
    _pointers: (Vec<*const abi::Axis>, Vec<*const abi::Field>),
}

impl Info {
    pub(crate) fn new(spec: &Spec) -> Self {
        let mut texts: Vec<CString> = Vec::new();
        // Names with a zero byte can't come from a plugin, and ours have none.
        let mut keep = |text: &str| {
            let text = CString::new(text).unwrap_or_default();
            let pointer = text.as_ptr();
            texts.push(text);
            pointer
        };
        let axes: Vec<abi::Axis> = (spec.axes.iter())
            .map(|(name, longest)| {
                let mut axis = abi::Axis::new();
                (axis.name, axis.longest) = (keep(name), *longest as u64);
                axis
            })
            .collect();
        let fields: Vec<abi::Field> = (spec.fields.iter())
            .map(|own| {
                let mut field = abi::Field::new();
                (field.name, field.unit, field.r#type) = (keep(&own.name), keep(&own.unit), own.kind);
                field.axis_count = own.axes.len().min(abi::MAX_AXES) as u32;
                own.axes.iter().zip(&mut field.axes).for_each(|(from, to)| *to = *from as u32);
                field
            })
            .collect();
        let axis_pointers: Vec<*const abi::Axis> = axes.iter().map(|axis| &raw const *axis).collect();
        let field_pointers: Vec<*const abi::Field> = fields.iter().map(|field| &raw const *field).collect();
        let mut table = abi::ArraysInfo::new();
        (table.axis_count, table.axes) = (axis_pointers.len() as u32, axis_pointers.as_ptr());
        (table.field_count, table.fields) = (field_pointers.len() as u32, field_pointers.as_ptr());
        table.valid_axis_count = spec.valid_axes.len().min(abi::MAX_AXES) as u32;
        spec.valid_axes.iter().zip(&mut table.valid_axes).for_each(|(from, to)| *to = *from as u32);
        Self { table, _texts: texts, _axes: axes, _fields: fields, _pointers: (axis_pointers, field_pointers) }
    }
}
