//! Rows laid out in memory as the host lays them out.

use super::rows::{Rows, Value};
use crate::{Column, Error, Mode, Result, Type};
use panchroma_abi::{self as abi, Struct as _};
use std::ffi::c_void;

/// Rows for one component, with everything that the C structs point at.
pub(crate) struct Batch {
    raw: abi::Rows,
    _ids: (Vec<String>, Vec<abi::Text>),
    _columns: Vec<Layout>,
    _data: Vec<abi::Data>,
    _pointers: Vec<*const abi::Data>,
    _random: Vec<u64>,
}

impl Batch {
    /// Lays out `columns` of `rows`; `random` numbers too, if the component wants them.
    pub(crate) fn new(rows: &Rows, columns: &[Column], random: bool) -> Result<Self> {
        let layouts = columns.iter().map(|c| Layout::new(rows, c)).collect::<Result<Vec<_>>>()?;
        let data: Vec<abi::Data> = layouts.iter().map(Layout::data).collect();
        let pointers: Vec<*const abi::Data> = data.iter().map(std::ptr::from_ref).collect();
        let ids: Vec<String> = (0..rows.count).map(|row| rows.id(row)).collect();
        let texts: Vec<abi::Text> = ids.iter().map(|id| text(id.as_bytes())).collect();
        let key = |id: &String| id.bytes().fold(rows.seed, |key, byte| mixed(key ^ u64::from(byte)));
        let random: Vec<u64> =
            if random { ids.iter().map(|id| mixed(key(id) ^ rows.epoch)).collect() } else { Vec::new() };
        let mut raw = abi::Rows::new();
        raw.column_count = columns.len() as u32;
        raw.count = rows.count as u64;
        raw.ids = texts.as_ptr();
        raw.columns = pointers.as_ptr();
        raw.mode = if rows.mode == Mode::Train { abi::TRAIN } else { abi::EVALUATE };
        (raw.seed, raw.epoch) = (rows.seed, rows.epoch);
        raw.random = if random.is_empty() { std::ptr::null() } else { random.as_ptr() };
        Ok(Self { raw, _ids: (ids, texts), _columns: layouts, _data: data, _pointers: pointers, _random: random })
    }

    pub(crate) fn raw(&self) -> *const abi::Rows {
        &raw const self.raw
    }
}

/// The next number of a sequence that looks random: splitmix64.
pub(crate) fn mixed(key: u64) -> u64 {
    let mut z = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn text(bytes: &[u8]) -> abi::Text {
    abi::Text { data: bytes.as_ptr().cast(), length: bytes.len() as u64 }
}

/// One column.
struct Layout {
    kind: Type,
    present: Vec<u8>,
    offsets: Vec<Vec<u64>>,
    pointers: Vec<*const u64>,
    f32: Vec<f32>,
    f64: Vec<f64>,
    flags: Vec<u8>,
    bytes: Vec<Vec<u8>>,
    texts: Vec<abi::Text>,
}

impl Layout {
    fn new(rows: &Rows, column: &Column) -> Result<Self> {
        let path = &column.path;
        let found = rows.columns.iter().find(|(p, _)| p == path).map(|(_, values)| values);
        if found.is_none() && !column.optional {
            return Err(Error::invalid(format!("the rows have no column `{path}`, and it isn't optional")));
        }
        let depth = column.depth as usize;
        let mut this = Self {
            kind: column.kind,
            present: Vec::new(),
            offsets: vec![vec![0]; depth],
            pointers: Vec::new(),
            f32: Vec::new(),
            f64: Vec::new(),
            flags: Vec::new(),
            bytes: Vec::new(),
            texts: Vec::new(),
        };
        for row in 0..rows.count {
            let value = found.and_then(|values| values.get(row)).unwrap_or(&Value::Missing);
            this.present.push(u8::from(*value != Value::Missing));
            this.push(value, 0).map_err(|e| Error::row(row, format!("column `{path}`: {}", e.message())))?;
        }
        this.pointers = this.offsets.iter().map(Vec::as_ptr).collect();
        this.texts = this.bytes.iter().map(|b| text(b)).collect();
        Ok(this)
    }

    /// Appends a value at a level of lists.
    fn push(&mut self, value: &Value, level: usize) -> Result<()> {
        if level == self.offsets.len() {
            return self.push_value(value);
        }
        match value {
            Value::List(list) => list.iter().try_for_each(|v| self.push(v, level + 1))?,
            Value::Missing => {}
            other => return Err(Error::invalid(format!("{other:?} isn't a list"))),
        }
        let below = self.offsets.get(level + 1).map_or(self.value_count(), |offsets| offsets.len() - 1);
        if let Some(offsets) = self.offsets.get_mut(level) {
            offsets.push(below as u64);
        }
        Ok(())
    }

    fn push_value(&mut self, value: &Value) -> Result<()> {
        let wrong = || Error::invalid(format!("{value:?} isn't {}", self.kind));
        match self.kind {
            Type::Text => match value {
                Value::Text(bytes) => self.bytes.push(bytes.clone()),
                Value::Missing => self.bytes.push(Vec::new()),
                _ => return Err(wrong()),
            },
            _ => {
                let number = match value {
                    Value::Number(number) => *number,
                    Value::Missing => f64::NAN,
                    Value::Text(text) => {
                        std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()).ok_or_else(wrong)?
                    }
                    Value::List(_) => return Err(wrong()),
                };
                match self.kind {
                    Type::F32 => self.f32.push(number as f32),
                    Type::F64 => self.f64.push(number),
                    _ => self.flags.push(u8::from(number != 0.0)),
                }
            }
        }
        Ok(())
    }

    fn value_count(&self) -> usize {
        self.f32.len() + self.f64.len() + self.flags.len() + self.bytes.len()
    }

    fn data(&self) -> abi::Data {
        let mut data = abi::Data::new();
        data.r#type = self.kind.number();
        data.depth = self.offsets.len() as u32;
        data.present = self.present.as_ptr();
        data.offsets = self.pointers.as_ptr();
        data.values = match self.kind {
            Type::F32 => self.f32.as_ptr().cast::<c_void>(),
            Type::F64 => self.f64.as_ptr().cast(),
            Type::Text => self.texts.as_ptr().cast(),
            Type::U8 | Type::U32 => self.flags.as_ptr().cast(),
        };
        data.value_count = self.value_count() as u64;
        data
    }
}
