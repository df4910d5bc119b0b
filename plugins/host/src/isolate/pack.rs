//! Rows, arrays and tokens in shared memory: where each part lies, and views of it.

use super::region::Region;
use crate::arrays::{ArraysView, Buffers};
use crate::rows::{Batch, ColumnValues, ColumnView};
use crate::tokens::{TokenBuffers, TokensView};
use crate::views::Slice;
use panchroma_abi as abi;
use panchroma_core::Values;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io::{Error, Result};

/// Where a part begins: as cache lines do.
const ALIGNMENT: usize = 64;

/// A part of shared memory.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Block {
    start: usize,
    bytes: usize,
}

/// A part of numbers, and of which type.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Typed {
    kind: u32,
    block: Block,
}

/// Texts one after the other, and where each ends.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Texts {
    bytes: Block,
    ends: Block,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PackedBatch {
    ids: Texts,
    columns: Vec<PackedColumn>,
    mode: u32,
    seed: u64,
    epoch: u64,
    random: Option<Block>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PackedColumn {
    present: Block,
    offsets: Vec<Block>,
    numbers: Option<Typed>,
    texts: Option<Texts>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PackedArrays {
    present: Block,
    valid: (Vec<i64>, Typed),
    fields: Vec<(Vec<i64>, Typed)>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PackedTokens {
    present: Block,
    tokens: usize,
    valid: Block,
    codes: Block,
    coordinates: Block,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PackedBuffers {
    lengths: Vec<usize>,
    present: Block,
    valid: Block,
    fields: Vec<Typed>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PackedTokenBuffers {
    tokens: usize,
    valid: Block,
    values: Typed,
    coordinates: Block,
}

/// Lays parts out, and copies them all at once.
pub(super) struct Packer<'a> {
    parts: Vec<(usize, Cow<'a, [u8]>)>,
    end: usize,
}

impl<'a> Packer<'a> {
    pub(super) fn new() -> Self {
        Self { parts: Vec::new(), end: 0 }
    }

    fn add(&mut self, bytes: impl Into<Cow<'a, [u8]>>) -> Block {
        let bytes = bytes.into();
        let block = Block { start: self.end, bytes: bytes.len() };
        self.end = (self.end + bytes.len()).next_multiple_of(ALIGNMENT);
        self.parts.push((block.start, bytes));
        block
    }

    fn typed(&mut self, slice: &Slice<'a>) -> Typed {
        Typed { kind: slice.kind(), block: self.add(slice.bytes()) }
    }

    fn texts(&mut self, texts: &[&'a str]) -> Texts {
        let mut ends: Vec<u64> = Vec::with_capacity(texts.len());
        let mut bytes = Vec::new();
        for text in texts {
            bytes.extend_from_slice(text.as_bytes());
            ends.push(bytes.len() as u64);
        }
        Texts { bytes: self.add(bytes), ends: self.add(bytemuck::cast_slice(&ends).to_vec()) }
    }

    pub(super) fn batch(&mut self, batch: &Batch<'a>) -> PackedBatch {
        let ids = self.texts(&batch.ids);
        let columns = batch.columns.iter().map(|column| self.column(column)).collect();
        let random = batch.random.map(|random| self.add(bytemuck::cast_slice(random)));
        PackedBatch { ids, columns, mode: batch.mode, seed: batch.seed, epoch: batch.epoch, random }
    }

    fn column(&mut self, column: &ColumnView<'a>) -> PackedColumn {
        let present = self.add(column.present);
        let offsets = column.offsets.iter().map(|level| self.add(bytemuck::cast_slice::<u64, u8>(level))).collect();
        let (numbers, texts) = match &column.values {
            ColumnValues::F32(v) => (Some(self.typed(&Slice::F32(v))), None),
            ColumnValues::F64(v) => (Some(self.typed(&Slice::F64(v))), None),
            ColumnValues::U8(v) => (Some(self.typed(&Slice::U8(v))), None),
            ColumnValues::Texts(texts) => (None, Some(self.texts(texts))),
        };
        PackedColumn { present, offsets, numbers, texts }
    }

    pub(super) fn arrays(&mut self, arrays: &ArraysView<'a>) -> PackedArrays {
        let mut typed = |(shape, values): &(Vec<i64>, Slice<'a>)| (shape.clone(), self.typed(values));
        let (valid, fields) = (typed(&arrays.valid), arrays.fields.iter().map(&mut typed).collect());
        PackedArrays { present: self.add(arrays.present), valid, fields }
    }

    pub(super) fn tokens(&mut self, tokens: &TokensView<'a>) -> PackedTokens {
        let (present, valid) = (self.add(tokens.present), self.add(tokens.valid));
        let coordinates = self.add(bytemuck::cast_slice(tokens.coordinates));
        let codes = self.add(bytemuck::cast_slice(tokens.codes));
        PackedTokens { present, tokens: tokens.tokens, valid, codes, coordinates }
    }

    pub(super) fn buffers(&mut self, buffers: &'a Buffers) -> PackedBuffers {
        let fields = buffers.fields.iter().map(|field| self.typed(&Slice::from(field))).collect();
        let (present, valid) = (self.add(&buffers.present[..]), self.add(&buffers.valid[..]));
        PackedBuffers { lengths: buffers.lengths.clone(), present, valid, fields }
    }

    pub(super) fn token_buffers(&mut self, buffers: &'a TokenBuffers) -> PackedTokenBuffers {
        let values = self.typed(&Slice::from(&buffers.values));
        let coordinates = self.add(bytemuck::cast_slice(&buffers.coordinates));
        PackedTokenBuffers { tokens: buffers.tokens, valid: self.add(&buffers.valid[..]), values, coordinates }
    }

    /// Copies everything.
    pub(super) fn write(&self, region: &mut Region) -> Result<()> {
        region.reserve(self.end)?;
        let memory = region.bytes_mut();
        for (start, bytes) in &self.parts {
            if let Some(to) = memory.get_mut(*start..start + bytes.len()) {
                to.copy_from_slice(bytes);
            }
        }
        Ok(())
    }
}

fn outside() -> Error {
    Error::other("a message names memory that isn't there")
}

impl Block {
    fn of<T: bytemuck::Pod>(self, region: &Region) -> Result<&[T]> {
        let end = self.start.checked_add(self.bytes).ok_or_else(outside)?;
        let bytes = region.bytes().get(self.start..end).ok_or_else(outside)?;
        bytemuck::try_cast_slice(bytes).map_err(|_| outside())
    }
}

impl Typed {
    fn slice(self, region: &Region) -> Result<Slice<'_>> {
        Ok(match self.kind {
            abi::F32 => Slice::F32(self.block.of(region)?),
            abi::F64 => Slice::F64(self.block.of(region)?),
            abi::U8 => Slice::U8(self.block.of(region)?),
            abi::U32 => Slice::U32(self.block.of(region)?),
            _ => return Err(outside()),
        })
    }

    fn owned(self, region: &Region) -> Result<Values> {
        Ok(match self.slice(region)? {
            Slice::F32(v) => Values::F32(v.to_vec()),
            Slice::F64(v) => Values::F64(v.to_vec()),
            Slice::U8(v) => Values::U8(v.to_vec()),
            Slice::U32(v) => Values::U32(v.to_vec()),
        })
    }
}

impl Texts {
    fn of(self, region: &Region) -> Result<Vec<&str>> {
        let bytes = std::str::from_utf8(self.bytes.of(region)?).map_err(|_| outside())?;
        let mut start = 0;
        let text = |end: &u64| {
            let text = bytes.get(start..*end as usize).ok_or_else(outside);
            start = *end as usize;
            text
        };
        self.ends.of::<u64>(region)?.iter().map(text).collect()
    }
}

impl PackedBatch {
    /// Views of it in shared memory.
    pub(super) fn view<'a>(&self, region: &'a Region) -> Result<Batch<'a>> {
        let column = |c: &PackedColumn| {
            let values = match (c.numbers.map(|n| n.slice(region)).transpose()?, c.texts) {
                (Some(Slice::F32(v)), _) => ColumnValues::F32(v),
                (Some(Slice::F64(v)), _) => ColumnValues::F64(v),
                (Some(Slice::U8(v)), _) => ColumnValues::U8(v),
                (_, Some(texts)) => ColumnValues::Texts(texts.of(region)?),
                _ => return Err(outside()),
            };
            let offsets = c.offsets.iter().map(|level| level.of(region)).collect::<Result<_>>()?;
            Ok(ColumnView { present: c.present.of(region)?, offsets, values })
        };
        Ok(Batch {
            ids: self.ids.of(region)?,
            columns: self.columns.iter().map(column).collect::<Result<_>>()?,
            mode: self.mode,
            seed: self.seed,
            epoch: self.epoch,
            random: self.random.map(|random| random.of(region)).transpose()?,
            hurry: false,
        })
    }
}

impl PackedArrays {
    /// Views of them in shared memory.
    pub(super) fn view<'a>(&self, region: &'a Region) -> Result<ArraysView<'a>> {
        let view = |(shape, typed): &(Vec<i64>, Typed)| Ok((shape.clone(), typed.slice(region)?));
        Ok(ArraysView {
            present: self.present.of(region)?,
            valid: view(&self.valid)?,
            fields: self.fields.iter().map(view).collect::<Result<_>>()?,
        })
    }
}

impl PackedTokens {
    /// Views of them in shared memory.
    pub(super) fn view<'a>(&self, region: &'a Region) -> Result<TokensView<'a>> {
        let (present, valid, codes) = (self.present.of(region)?, self.valid.of(region)?, self.codes.of(region)?);
        Ok(TokensView { present, tokens: self.tokens, valid, codes, coordinates: self.coordinates.of(region)? })
    }
}

impl PackedBuffers {
    /// A copy.
    pub(super) fn read(&self, region: &Region) -> Result<Buffers> {
        Ok(Buffers {
            lengths: self.lengths.clone(),
            present: self.present.of(region)?.to_vec(),
            valid: self.valid.of(region)?.to_vec(),
            fields: self.fields.iter().map(|field| field.owned(region)).collect::<Result<_>>()?,
        })
    }
}

impl PackedTokenBuffers {
    /// A copy.
    pub(super) fn read(&self, region: &Region) -> Result<TokenBuffers> {
        Ok(TokenBuffers {
            tokens: self.tokens,
            valid: self.valid.of(region)?.to_vec(),
            values: self.values.owned(region)?,
            coordinates: self.coordinates.of(region)?.to_vec(),
        })
    }
}
