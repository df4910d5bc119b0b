//! The vectors of many objects, by modality.

use crate::data::Catalogue;
use crate::head::EMBEDDING;
use crate::{Batch, Forward, Mode, Model, Pooled, Result, View};
use candle_core::{DType, Device, Tensor};
use std::collections::BTreeMap;

/// One vector per object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EmbeddingTable {
    /// Width of a vector.
    pub width: usize,
    /// Row-major `[N, width]`; zeros where absent.
    pub vectors: Vec<f32>,
    /// `[N]`.
    pub present: Vec<bool>,
}

impl EmbeddingTable {
    fn extend(&mut self, vectors: &Tensor, present: &[bool]) -> Result<()> {
        self.width = vectors.dim(1)?;
        self.vectors.extend(vectors.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?);
        self.present.extend_from_slice(present);
        Ok(())
    }

    fn extend_absent(&mut self, width: usize, count: usize) {
        self.width = width;
        self.vectors.resize(self.vectors.len() + width * count, 0.0);
        self.present.resize(self.present.len() + count, false);
    }

    /// The rows `keep`, `[keep.len(), width]`.
    #[must_use]
    pub fn gather(&self, keep: &[usize]) -> Vec<f32> {
        keep.iter().filter_map(|i| self.vectors.get(i * self.width..(i + 1) * self.width)).flatten().copied().collect()
    }
}

/// The vectors of a set of objects.
#[derive(Clone, Debug, Default)]
pub struct Embeddings {
    /// N names.
    pub ids: Vec<String>,
    /// The trunk's pooled vectors by modality, in the isolated view.
    pub trunk: BTreeMap<String, EmbeddingTable>,
    /// The trunk's vector over all modalities of an object, in the joint view.
    pub joint: EmbeddingTable,
    /// Unit vectors in the space that modalities share, where a head makes one.
    pub shared: BTreeMap<String, EmbeddingTable>,
}

impl Embeddings {
    /// Embeds `rows` of the catalogue; `progress` gets the number of objects done.
    ///
    /// # Errors
    /// If the data can't be read or the model fails.
    pub fn new(
        model: &Model,
        catalogue: &Catalogue,
        rows: &[u32],
        batch: usize,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Self> {
        Self::with_only(model, catalogue, rows, batch, &[], progress)
    }

    /// The same from the modalities in `only` (all if empty), as if objects had no others.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_only(
        model: &Model,
        catalogue: &Catalogue,
        rows: &[u32],
        batch: usize,
        only: &[String],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Self> {
        let mut this = Self::default();
        for chunk in rows.chunks(batch.max(1)) {
            let batch = model.prepare(catalogue.read(chunk)?, Mode::Evaluate, 0)?;
            this.add(model, &batch.with_only(only))?;
            progress(this.ids.len());
        }
        Ok(this)
    }

    fn add(&mut self, model: &Model, batch: &Batch) -> Result<()> {
        let before = self.ids.len();
        self.ids.extend_from_slice(batch.rows.ids());
        let context = Forward::evaluate();
        if Model::has_tokens(batch) && !model.is_codec() {
            let features = model.features(batch, View::Isolated, &[], &context)?;
            for (name, Pooled { vectors, present }) in &features.modality {
                fill(self.trunk.entry(name.clone()).or_default(), before, vectors.dim(1)?);
                self.trunk.entry(name.clone()).or_default().extend(&vectors.detach(), present)?;
            }
            let joint = model.features(batch, View::Joint, &[], &context)?.joint;
            fill(&mut self.joint, before, joint.vectors.dim(1)?);
            self.joint.extend(&joint.vectors.detach(), &joint.present)?;
            for (_, output) in model.forward(batch, &context)?.heads {
                for (name, vectors) in output.predictions {
                    if let Some(name) = name.strip_prefix(EMBEDDING) {
                        let present = batch.tokens.get(name).map(|t| t.present.clone()).unwrap_or_default();
                        let table = self.shared.entry(name.to_owned()).or_default();
                        fill(table, before, vectors.dim(1)?);
                        table.extend(&vectors.detach(), &present)?;
                    }
                }
            }
        }
        // A batch in which no object has the modality still has rows.
        for table in self.trunk.values_mut().chain(self.shared.values_mut()).chain([&mut self.joint]) {
            let missing = self.ids.len() - table.present.len();
            table.extend_absent(table.width, missing);
        }
        Ok(())
    }
}

/// A modality that appears first in a later batch was absent before.
fn fill(table: &mut EmbeddingTable, rows: usize, width: usize) {
    if table.present.len() < rows {
        let missing = rows - table.present.len();
        table.extend_absent(width, missing);
    }
}
