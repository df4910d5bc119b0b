//! The published codec of catalogues of sources: pixel and shape of up to so many neighbours.

use crate::read;
use crate::scalar::reservoir;
use crate::weights::Weights;
use panchroma_core::{Error, Result};
use panchroma_table::codec::{Compression, ScalarCodec, SourceField, SourcesCodec};
use serde::Deserialize;
use std::path::Path;

/// Fields with a pixel, and pixels that they have. The class of the Python package fixes these numbers.
const PIXELS: (&[&str], usize) = (&["X", "Y"], 96);

/// Fields with bins, bins that they have, and values from which those were made.
const SHAPES: (&[&str], usize, usize) = (&["SHAPE_E1", "SHAPE_E2", "SHAPE_R"], 1024, 100_000);

#[derive(Debug, Deserialize)]
struct Config {
    #[serde(default = "mask_value")]
    mask_value: u32,
}

fn mask_value() -> u32 {
    9999
}

/// Reads `config.json` and `model.safetensors` of `folder`.
///
/// # Errors
/// If a file can't be read, or a tensor is missing, left over, or of another shape; with the file, the tensor and both shapes.
pub fn read_sources(folder: &Path) -> Result<SourcesCodec> {
    let file = folder.join("config.json");
    let config: Config = read::config(&file)?;
    let mut weights = Weights::open(&folder.join("model.safetensors"))?;
    let mut fields = Vec::new();
    for name in PIXELS.0 {
        let tensor = format!("_quantizer.quantizers.{name}._codebook_size");
        let size = read::whole(&mut weights, &tensor, &[])?;
        if size != [PIXELS.1 as i64] {
            return Err(read::wrong(&weights, &tensor, PIXELS.1.to_string(), format!("{size:?}")));
        }
        fields.push(((*name).to_owned(), SourceField::Whole { size: PIXELS.1 }));
    }
    for name in SHAPES.0 {
        let book = reservoir(&mut weights, &format!("_quantizer.quantizers.{name}"), SHAPES.1, SHAPES.2)?;
        fields.push(((*name).to_owned(), SourceField::Scalar(ScalarCodec::new(Compression::None, book)?)));
    }
    weights.finish()?;
    SourcesCodec::new(fields, config.mask_value).map_err(|error| match error {
        Error::Shape { part, expected, found } => {
            Error::Shape { part: format!("`{}`, {part}", file.display()), expected, found }
        }
        other => other,
    })
}
