//! Spectra of a batch as tensors, and as slices of one object each.

use super::prepare::Observed;
use candle_core::{DType, Tensor};
use panchroma_core::{Error, Result};

/// Spectra of a batch as tensors on the CPU; all `[B, L]`.
#[derive(Clone, Copy, Debug)]
pub struct Spectra<'a> {
    /// f32 flux density.
    pub flux: &'a Tensor,
    /// f32 inverse variance.
    pub ivar: &'a Tensor,
    /// u8, 1 where a sample is bad.
    pub mask: &'a Tensor,
    /// f32, in the unit of the grid, ascending in each row.
    pub wavelength: &'a Tensor,
}

/// The values of a batch on the host.
pub(super) struct Columns {
    length: usize,
    flux: Vec<f32>,
    ivar: Vec<f32>,
    bad: Vec<u8>,
    wavelength: Vec<f32>,
}

impl Columns {
    pub(super) fn read(spectra: Spectra<'_>) -> Result<Self> {
        let own = rows_of("flux", spectra.flux, DType::F32)?;
        for (name, tensor, dtype) in [
            ("ivar", spectra.ivar, DType::F32),
            ("mask", spectra.mask, DType::U8),
            ("wavelength", spectra.wavelength, DType::F32),
        ] {
            let found = rows_of(name, tensor, dtype)?;
            if found != own {
                return Err(shape(
                    name,
                    format!("[{}, {}], as the flux", own.0, own.1),
                    format!("{:?}", tensor.dims()),
                ));
            }
        }
        let values = |tensor: &Tensor| Ok::<Vec<f32>, Error>(tensor.flatten_all()?.to_vec1()?);
        Ok(Self {
            length: own.1,
            flux: values(spectra.flux)?,
            ivar: values(spectra.ivar)?,
            bad: spectra.mask.flatten_all()?.to_vec1()?,
            wavelength: values(spectra.wavelength)?,
        })
    }

    pub(super) fn rows(&self) -> Vec<Observed<'_>> {
        let length = self.length.max(1);
        let rows = self.flux.chunks_exact(length).zip(self.ivar.chunks_exact(length));
        let others = self.bad.chunks_exact(length).zip(self.wavelength.chunks_exact(length));
        let row = |((flux, ivar), (bad, wavelength))| Observed { flux, ivar, bad, wavelength };
        rows.zip(others).map(row).collect()
    }
}

/// Rows and columns of a tensor of numbers of one type.
pub(super) fn rows_of(name: &str, tensor: &Tensor, dtype: DType) -> Result<(usize, usize)> {
    match tensor.dims() {
        &[rows, columns] if tensor.dtype() == dtype => Ok((rows, columns)),
        dims => Err(shape(name, format!("{} [B, L]", dtype.as_str()), format!("{} {dims:?}", tensor.dtype().as_str()))),
    }
}

pub(super) fn shape(what: &str, expected: String, found: String) -> Error {
    Error::Shape { part: format!("codec of spectra, {what}"), expected, found }
}
