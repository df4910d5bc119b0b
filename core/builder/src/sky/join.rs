//! The rows of a joined catalogue: each stands for one object of the first catalogue and its counterparts, and has the
//! columns of all.

use super::choose::{Chosen, Rule};
use super::input::Input;
use super::positions::mean_position;
use crate::hats::{Batches, PIXEL, Source, Tile};
use crate::names::{hash, repeated};
use arrow_array::builder::StringBuilder;
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{Field, Schema, SchemaRef};
use panchroma_core::Result;
use panchroma_core::data::DataError;
use rayon::prelude::*;
use std::path::Path;
use std::sync::Arc;

/// Rows of the result are read about this many bytes at a time.
const CHUNK_BYTES: u64 = 48 << 20;

/// A row of a catalogue, and its angle to that of the first in arcseconds.
type Counterpart = (u32, f64);

/// Which rows belong together: one after the other, each with a place for every catalogue.
#[derive(Debug)]
pub(super) struct Rows {
    width: usize,
    flat: Vec<Option<Counterpart>>,
}

impl Rows {
    /// Every row of the first catalogue, alone.
    pub(super) fn of_first(rows: usize) -> Self {
        Self { width: 1, flat: (0..rows as u32).map(|row| Some((row, 0.0))).collect() }
    }

    /// Adds the next catalogue; a row with several counterparts becomes several rows, and one without stays if `keep_lone`.
    pub(super) fn with(&self, chosen: &Chosen, keep_lone: bool) -> Self {
        let mut flat = Vec::with_capacity(self.flat.len() + self.flat.len() / self.width);
        // Rows and pairs ascend by the row of the first catalogue.
        let mut from = 0;
        for row in self.flat.chunks_exact(self.width) {
            let Some((left, _)) = row.first().copied().flatten() else { continue };
            while chosen.kept.get(from).is_some_and(|pair| pair.left < left) {
                from += 1;
            }
            let own = chosen.kept.get(from..).unwrap_or_default().iter().take_while(|pair| pair.left == left);
            let before = flat.len();
            for pair in own {
                flat.extend_from_slice(row);
                flat.push(Some((pair.right, 3600.0 * pair.separation)));
            }
            if keep_lone && flat.len() == before {
                flat.extend_from_slice(row);
                flat.push(None);
            }
        }
        Self { width: self.width + 1, flat }
    }

    /// Adds rows of catalogue `number` that are nobody's counterpart.
    pub(super) fn add_alone(&mut self, number: usize, rows: impl Iterator<Item = u32>) {
        for row in rows {
            let own = (0..self.width).map(|i| (i == number).then_some((row, f64::NAN)));
            self.flat.extend(own);
        }
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.flat.len() / self.width
    }

    fn counterpart(&self, row: usize, catalogue: usize) -> Option<Counterpart> {
        self.flat.get(row * self.width + catalogue).copied().flatten()
    }
}

/// A row and where it is.
struct Placed {
    pixel: i64,
    ra: f64,
    dec: f64,
    row: usize,
}

/// The rows with all their columns, as a source for a catalogue.
pub(super) struct Join<'a> {
    inputs: &'a [Input],
    rule: Rule,
    rows: Rows,
    /// By pixel: neighbours on the sky are neighbours in the inputs' files, so that a chunk reads few pages.
    placed: Vec<Placed>,
}

impl<'a> Join<'a> {
    /// `ra` and `dec` of a row are the mean position of its counterparts.
    pub(super) fn new(inputs: &'a [Input], rows: Rows, rule: Rule) -> Self {
        let place = |row: usize| {
            let positions = inputs.iter().enumerate();
            let at: Vec<(f64, f64)> = positions
                .filter_map(|(number, input)| input.positions.get(rows.counterpart(row, number)?.0 as usize))
                .collect();
            let (ra, dec) = mean_position(&at).or(at.first().copied())?;
            let pixel = cdshealpix::nested::hash(29, ra.to_radians(), dec.to_radians()) as i64;
            Some(Placed { pixel, ra, dec, row })
        };
        let mut placed: Vec<Placed> = (0..rows.len()).into_par_iter().filter_map(place).collect();
        placed.par_sort_unstable_by_key(|p| (p.pixel, p.row));
        Self { inputs, rule, rows, placed }
    }

    /// Bytes of a row, about.
    pub(super) fn row_bytes(&self) -> u64 {
        self.inputs.iter().map(|i| i.row_bytes + 64).sum::<u64>().max(1)
    }

    fn chunk(&self) -> usize {
        usize::try_from(CHUNK_BYTES / self.row_bytes()).unwrap_or(usize::MAX).clamp(1, 100_000)
    }

    /// Rows of a catalogue that some rows of the result have.
    fn of(&self, placed: &[Placed], catalogue: usize) -> Vec<Option<u32>> {
        placed.iter().map(|p| self.rows.counterpart(p.row, catalogue).map(|c| c.0)).collect()
    }

    /// Fails if two rows of the result have one name, which can only be where names are put together.
    ///
    /// # Errors
    /// With that name.
    pub(super) fn check_unique(&self, out: &Path) -> Result<()> {
        let lone = self.rows.flat.chunks_exact(self.rows.width).any(|row| row.first().is_some_and(Option::is_none));
        if self.rule != Rule::All && !lone {
            return Ok(());
        }
        let chunks = self.placed.par_chunks(self.chunk()).map(|placed| {
            let names = self.inputs.iter().enumerate().map(|(number, input)| {
                let rows: Vec<u32> = self.of(placed, number).into_iter().map(|row| row.unwrap_or(0)).collect();
                input.names(&rows)
            });
            Ok(self.names(placed, &names.collect::<Result<Vec<_>>>()?))
        });
        let names = chunks.collect::<Result<Vec<StringArray>>>()?;
        let hashes = names.iter().flat_map(|n| n.iter().flatten().map(hash)).collect();
        let twice = repeated(hashes);
        let mut seen = std::collections::HashSet::new();
        for name in names.iter().flat_map(|n| n.iter().flatten()).filter(|n| twice.binary_search(&hash(n)).is_ok()) {
            if !seen.insert(name) {
                return Err(DataError::DuplicateId { id: name.into(), first: out.into(), second: out.into() }.into());
            }
        }
        Ok(())
    }

    /// Names of rows of the result: of the first catalogue that has them; all, where one object may be in several rows.
    fn names(&self, placed: &[Placed], names: &[StringArray]) -> StringArray {
        let mut result = StringBuilder::new();
        for (place, p) in placed.iter().enumerate() {
            let own = self.inputs.iter().zip(names).enumerate();
            let mut own = own.filter(|(number, _)| self.rows.counterpart(p.row, *number).is_some());
            let Some((number, (input, first))) = own.next() else {
                result.append_value("");
                continue;
            };
            let name = first.value(place);
            if number == 0 && self.rule == Rule::All {
                let others = own.map(|(_, (_, others))| others.value(place));
                result.append_value(std::iter::once(name).chain(others).collect::<Vec<_>>().join(":"));
            } else if number > 0
                && (self.inputs.len() > 2 || self.inputs.first().is_some_and(|first| first.may_have(name)))
            {
                result.append_value(format!("{name}_{}", input.name));
            } else {
                result.append_value(name);
            }
        }
        result.finish()
    }

    fn batch(&self, placed: &[Placed]) -> Result<RecordBatch> {
        let own: Vec<RecordBatch> = self
            .inputs
            .iter()
            .enumerate()
            .map(|(number, input)| input.read(&self.of(placed, number), None))
            .collect::<Result<_>>()?;
        let ids: Vec<StringArray> =
            self.inputs.iter().zip(&own).map(|(input, batch)| input.names_in(batch)).collect::<Result<_>>()?;
        let mut all: Vec<(String, ArrayRef)> = vec![
            ("object_id".into(), Arc::new(self.names(placed, &ids))),
            ("ra".into(), Arc::new(placed.iter().map(|p| Some(p.ra)).collect::<Float64Array>())),
            ("dec".into(), Arc::new(placed.iter().map(|p| Some(p.dec)).collect::<Float64Array>())),
        ];
        for (number, (input, batch)) in self.inputs.iter().zip(&own).enumerate() {
            for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
                if field.name() == PIXEL {
                    continue;
                }
                let clash = all.iter().any(|(name, _)| name == field.name());
                let name = if clash { format!("{}_{}", field.name(), input.name) } else { field.name().clone() };
                all.push((name, column.clone()));
            }
            if number > 0 {
                let angle = |p: &Placed| self.rows.counterpart(p.row, number).map(|c| c.1).filter(|a| a.is_finite());
                let angles: Float64Array = placed.iter().map(angle).collect();
                all.push((format!("separation_arcsec_{}", input.name), Arc::new(angles)));
            }
        }
        let mut fields: Vec<Field> =
            all.iter().map(|(name, array)| Field::new(name, array.data_type().clone(), true)).collect();
        let mut arrays: Vec<ArrayRef> = all.into_iter().map(|column| column.1).collect();
        fields.push(Field::new(PIXEL, arrow_schema::DataType::Int64, false));
        arrays.push(Arc::new(placed.iter().map(|p| p.pixel).collect::<Int64Array>()));
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
            .map_err(|source| DataError::Arrow { column: "*".into(), source }.into())
    }
}

impl Source for Join<'_> {
    fn schema(&self) -> Result<SchemaRef> {
        Ok(self.batch(&[])?.schema())
    }

    fn rows(&self) -> u64 {
        self.placed.len() as u64
    }

    fn pixels(&self) -> Option<Vec<i64>> {
        Some(self.placed.iter().map(|p| p.pixel).collect())
    }

    fn read<'a>(&'a self, tile: Option<&Tile>) -> Result<Batches<'a>> {
        let range = tile.map_or(i64::MIN..i64::MAX, Tile::range);
        let from = self.placed.partition_point(|p| p.pixel < range.start);
        let to = self.placed.partition_point(|p| p.pixel < range.end);
        let own = self.placed.get(from..to).unwrap_or_default();
        Ok(Box::new(own.chunks(self.chunk()).map(|placed| self.batch(placed))))
    }
}
