//! The rows of a joined catalogue: each stands for one object of the first catalogue and its counterparts, and has the
//! columns of all.

use super::choose::{Chosen, Rule};
use super::input::Input;
use super::positions::{Positions, mean_position};
use super::unique::Names;
use crate::hats::{Batches, PIXEL, Source, Tile};
use crate::names::{hash, repeated};
use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Metadata, Schema, SchemaRef};
use panchroma_core::Result;
use panchroma_core::data::DataError;
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// Rows of the result are read about this many bytes at a time.
const CHUNK_BYTES: u64 = 16 << 20;

/// A row of a catalogue, and its angle to that of the first in arcseconds.
type Counterpart = (u32, f64);

/// Which rows belong together: one after the other, each with a place for every catalogue.
#[derive(Debug)]
pub(super) struct Rows {
    width: usize,
    flat: Vec<Option<Counterpart>>,
}

impl Rows {
    /// Every row of the first catalogue that has a position, alone.
    pub(super) fn of_first(positions: &Positions) -> Self {
        let rows = (0..positions.len()).filter(|row| positions.get(*row).is_some());
        Self { width: 1, flat: rows.map(|row| Some((row as u32, 0.0))).collect() }
    }

    /// Adds the next catalogue; a row with several counterparts becomes several rows, and one without stays if `keep_lone`.
    /// Also gives how many objects of the first catalogue did not stay.
    pub(super) fn with(&self, chosen: &Chosen, keep_lone: bool) -> (Self, usize) {
        let mut flat = Vec::with_capacity(self.flat.len() + self.flat.len() / self.width);
        let (mut last, mut left_out) = (None, 0);
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
            left_out += usize::from(flat.len() == before && last != Some(left));
            last = Some(left);
        }
        (Self { width: self.width + 1, flat }, left_out)
    }

    /// Rows of the first catalogue, ascending; before rows without one are added.
    pub(super) fn lefts(&self) -> impl Iterator<Item = u32> + '_ {
        self.flat.chunks_exact(self.width).filter_map(|row| Some(row.first().copied()??.0))
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
    /// Rows that would have the name of another, and theirs.
    renamed: HashMap<usize, String>,
    schema: SchemaRef,
    /// Units by dotted column.
    pub(super) units: BTreeMap<String, String>,
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
        let (schema, units) = columns(inputs);
        Self { inputs, rule, rows, placed, renamed: HashMap::new(), schema, units }
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

    /// Numbers the names that two rows of the result would have, which can only be where names are put together.
    ///
    /// # Errors
    /// If names can't be read.
    pub(super) fn number_repeated(&mut self) -> Result<()> {
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
        let mut hashes: Vec<u64> = names.iter().flat_map(|n| n.iter().flatten().map(hash)).collect();
        let twice = repeated(&mut hashes);
        let all = names.iter().flat_map(|n| n.iter().flatten()).zip(&self.placed);
        let (mut seen, mut given) = (HashSet::new(), HashSet::new());
        let mut renamed = HashMap::new();
        for (name, placed) in all.filter(|(name, _)| twice.binary_search(&hash(name)).is_ok()) {
            if !seen.insert(name) {
                let free = |name: &String| hashes.binary_search(&hash(name)).is_err() && !given.contains(name);
                let other = (2..).map(|number: u64| format!("{name}_{number}")).find(free).unwrap_or_default();
                given.insert(other.clone());
                renamed.insert(placed.row, other);
            }
        }
        self.renamed = renamed;
        Ok(())
    }

    /// Names of rows of the result: of the first catalogue that has them; all, where one object may be in several rows.
    fn names(&self, placed: &[Placed], names: &[StringArray]) -> StringArray {
        let mut result = StringBuilder::new();
        for (place, p) in placed.iter().enumerate() {
            if let Some(name) = self.renamed.get(&p.row) {
                result.append_value(name);
                continue;
            }
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
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(self.names(placed, &ids)),
            Arc::new(placed.iter().map(|p| Some(p.ra)).collect::<Float64Array>()),
            Arc::new(placed.iter().map(|p| Some(p.dec)).collect::<Float64Array>()),
        ];
        for (number, batch) in own.iter().enumerate() {
            let columns = batch.schema_ref().fields().iter().zip(batch.columns());
            arrays.extend(columns.filter(|(field, _)| field.name() != PIXEL).map(|(_, array)| array.clone()));
            if number > 0 {
                let angle = |p: &Placed| self.rows.counterpart(p.row, number).map(|c| c.1).filter(|a| a.is_finite());
                arrays.push(Arc::new(placed.iter().map(angle).collect::<Float64Array>()));
            }
        }
        arrays.push(Arc::new(placed.iter().map(|p| p.pixel).collect::<Int64Array>()));
        RecordBatch::try_new(self.schema.clone(), arrays)
            .map_err(|source| DataError::Arrow { column: "*".into(), source }.into())
    }
}

/// Columns of the result in the order in which [`Join::batch`] makes them, no two of one name, and their units.
fn columns(inputs: &[Input]) -> (SchemaRef, BTreeMap<String, String>) {
    let mut names = Names::default();
    let [id, ra, dec, pixel] = ["object_id", "ra", "dec", PIXEL].map(|name| names.take(name, ""));
    let mut units = BTreeMap::from([ra.clone(), dec.clone()].map(|name| (name, "deg".to_owned())));
    let mut fields = vec![
        Field::new(id, DataType::Utf8, true),
        Field::new(ra, DataType::Float64, true),
        Field::new(dec, DataType::Float64, true),
    ];
    for (number, input) in inputs.iter().enumerate() {
        for field in input.schema.fields().iter().filter(|field| field.name() != PIXEL) {
            let name = names.take(field.name(), &input.name);
            let below = |path: &str| path.strip_prefix(field.name().as_str()).map(str::to_owned);
            for (path, unit) in &input.units {
                if let Some(rest) = below(path).filter(|rest| rest.is_empty() || rest.starts_with('.')) {
                    units.insert(format!("{name}{rest}"), unit.clone());
                }
            }
            let unit = field.metadata().get("unit").map(|unit| ("unit".to_owned(), unit.clone()));
            let field = field.as_ref().clone().with_name(name).with_nullable(true);
            // Numbers of fields, for one, are not valid beside those of other files.
            fields.push(field.with_metadata(unit.into_iter().collect::<Metadata>()));
        }
        if number > 0 {
            let name = names.take(&format!("separation_arcsec_{}", input.name), "");
            units.insert(name.clone(), "arcsec".into());
            fields.push(Field::new(name, DataType::Float64, true));
        }
    }
    fields.push(Field::new(pixel, DataType::Int64, false));
    (Arc::new(Schema::new(fields)), units)
}

impl Source for Join<'_> {
    fn schema(&self) -> Result<SchemaRef> {
        Ok(self.schema.clone())
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
