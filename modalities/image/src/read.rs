//! The columns of an image, and what of them is a plane.

use crate::config::{ImageConfig, Marks};
use crate::plane::Plane;
use panchroma_core::bands::wavelength_angstrom;
use panchroma_core::data::{DataError, Ragged};
use panchroma_core::{Column, Error, Result, Rows};
use std::ops::Range;

/// The columns of one batch, read once.
pub(crate) struct Read<'a> {
    config: &'a ImageConfig,
    names: Ragged<String>,
    /// None if the names of the planes are those of the bands.
    bands: Option<Ragged<String>>,
    flux: Ragged<f32>,
    mask: Ragged<bool>,
    ivar: Ragged<f32>,
    psf_fwhm: Ragged<f32>,
    scale: Ragged<f32>,
    ebv: Vec<Option<f64>>,
}

/// One plane and what is known about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    pub(crate) plane: Plane<'a>,
    /// Angstrom.
    pub(crate) wavelength: Option<f64>,
    /// Arcseconds.
    pub(crate) psf_fwhm: Option<f64>,
    /// Arcseconds per pixel.
    pub(crate) scale: Option<f64>,
}

/// Pixels are made at most so many times larger or smaller; beyond it the width must be a mistake.
const MOST_ZOOM: f64 = 64.0;

/// What the modality asks the catalogue for.
pub(crate) fn columns(config: &ImageConfig) -> Vec<Column> {
    let path = |field: &str| config.path(field);
    let mut columns =
        vec![Column::text(path(&config.channels_from)).list(), Column::number(path(&config.flux)).depth(3)];
    let mut optional = |field: &str, column: Column| {
        if !field.is_empty() {
            columns.push(column.optional());
        }
    };
    optional(&config.mask, Column::flag(path(&config.mask)).depth(3));
    optional(&config.ivar, Column::number(path(&config.ivar)).depth(3));
    optional(&config.psf_fwhm, Column::number(path(&config.psf_fwhm)).list());
    if config.pixel_scale.is_none() {
        optional(&config.scale, Column::number(path(&config.scale)).list());
    } else {
        columns.push(Column::number(path(&config.scale)).list());
    }
    if own_bands(config) {
        columns.push(Column::text(path(&config.band)).list().optional());
    }
    columns.extend(config.ebv.iter().map(Column::number));
    columns
}

/// Whether bands have a field of their own.
fn own_bands(config: &ImageConfig) -> bool {
    !config.band.is_empty() && config.band != config.channels_from
}

impl<'a> Read<'a> {
    /// # Errors
    /// If a column has another type.
    pub(crate) fn new(config: &'a ImageConfig, rows: &Rows) -> Result<Self> {
        let path = |field: &str| config.path(field);
        let numbers = |field: &str, depth: usize| match field.is_empty() {
            true => Ok(Ragged::absent(rows.len(), depth)),
            false => rows.ragged_f32(&path(field)),
        };
        Ok(Self {
            config,
            names: rows.ragged_text(&path(&config.channels_from))?,
            bands: own_bands(config).then(|| rows.ragged_text(&path(&config.band))).transpose()?,
            flux: rows.ragged_f32(&path(&config.flux))?,
            mask: match config.mask.is_empty() {
                true => Ragged::absent(rows.len(), 3),
                false => rows.ragged_flags(&path(&config.mask))?,
            },
            ivar: numbers(&config.ivar, 3)?,
            psf_fwhm: numbers(&config.psf_fwhm, 1)?,
            scale: numbers(&config.scale, 1)?,
            ebv: match &config.ebv {
                Some(column) => rows.numbers(column)?,
                None => vec![None; rows.len()],
            },
        })
    }

    /// E(B-V) of row `i`, if it is known and asked for.
    pub(crate) fn ebv(&self, i: usize) -> Option<f64> {
        self.ebv.get(i).copied().flatten()
    }

    fn bad(&self, object: &str, field: &str, reason: String) -> Error {
        DataError::BadValue { object: object.into(), column: self.config.path(field), reason }.into()
    }

    /// The planes of row `i`, one place per channel.
    pub(crate) fn planes(&self, i: usize, object: &str) -> Result<Vec<Option<Found<'_>>>> {
        let config = self.config;
        let mut channels = vec![None; config.channels.len()];
        let planes = lists(&self.flux, 0, i);
        let names = self.names.row(i);
        if names.len() != planes.len() {
            let reason = format!("expected a name for each of {} planes, got {}", planes.len(), names.len());
            return Err(self.bad(object, &config.channels_from, reason));
        }
        let bands = self.one_each(self.bands.as_ref(), i, names, (&config.band, object))?;
        let psf_fwhm = self.one_each(Some(&self.psf_fwhm), i, names, (&config.psf_fwhm, object))?;
        let scale = self.one_each(Some(&self.scale), i, names, (&config.scale, object))?;
        let one_for_all = lists(&self.mask, 0, i).len() == 1;
        let mask_planes = match one_for_all {
            true => Some(lists(&self.mask, 0, i).start),
            false => self.companion(&self.mask, i, &planes, (&config.mask, object))?,
        };
        let ivar_planes = self.companion(&self.ivar, i, &planes, (&config.ivar, object))?;
        for (place, (plane, name)) in planes.clone().zip(names).enumerate() {
            let Some(channel) = config.channels.iter().position(|c| c == name) else { continue };
            if channels[channel].is_some() {
                let reason =
                    format!("two planes are called `{name}`; does another field tell them apart (`channels_from`)?");
                return Err(self.bad(object, &config.channels_from, reason));
            }
            let (height, width, pixels) = self.rectangle(&self.flux, plane, name, (&config.flux, object))?;
            if pixels.is_empty() {
                continue;
            }
            let beside = |field: &str, shape: (usize, usize)| match shape == (height, width) {
                true => Ok(()),
                false => {
                    let reason = format!(
                        "expected {height} lines of {width} pixels in `{name}`, as `{}` has, got {} of {}",
                        config.flux, shape.0, shape.1
                    );
                    Err(self.bad(object, field, reason))
                }
            };
            let mut mask: &[bool] = &[];
            if let Some(start) = mask_planes {
                let own = if one_for_all { start } else { start + place };
                let (h, w, own) = self.rectangle(&self.mask, own, name, (&config.mask, object))?;
                beside(&config.mask, (h, w))?;
                mask = self.mask.values.get(own).unwrap_or_default();
            }
            let mut ivar: &[f32] = &[];
            if let Some(start) = ivar_planes {
                let (h, w, own) = self.rectangle(&self.ivar, start + place, name, (&config.ivar, object))?;
                beside(&config.ivar, (h, w))?;
                ivar = self.ivar.values.get(own).unwrap_or_default();
                if let Some(wrong) = ivar.iter().find(|v| **v < 0.0) {
                    let reason = format!("expected inverse variances of 0 and more in `{name}`, got {wrong}");
                    return Err(self.bad(object, &config.ivar, reason));
                }
            }
            let flux = self.flux.values.get(pixels).unwrap_or_default();
            let positive = |list: Option<&[f32]>| {
                list.and_then(|l| l.get(place)).map(|v| f64::from(*v)).filter(|v| v.is_finite() && *v > 0.0)
            };
            if config.pixel_scale.is_some() && positive(scale).is_none() {
                let reason = format!("expected the width of a pixel of `{name}`, which `pixel_scale` needs");
                return Err(self.bad(object, &config.scale, reason));
            }
            if let Some((wanted, own)) = config.pixel_scale.zip(positive(scale))
                && !(1.0 / MOST_ZOOM..=MOST_ZOOM).contains(&(wanted / own))
            {
                let reason = format!(
                    "pixels of `{name}` are {own} arcsec wide, too far from `pixel_scale` = {wanted}: at most {MOST_ZOOM} times either way"
                );
                return Err(self.bad(object, &config.scale, reason));
            }
            // Without a field of bands the planes are called by them.
            let band = bands.and_then(|b| b.get(place)).unwrap_or(name);
            let wavelength = wavelength_angstrom(band, &config.bands);
            if config.strict_bands && wavelength.is_none() {
                let reason = format!(
                    "the wavelength of band `{band}` is not known; say it with `bands = {{ {band:?} = 5000.0 }}` (Angstrom), or allow it \
                     with `strict_bands = false`"
                );
                let field = if own_bands(config) { &config.band } else { &config.channels_from };
                return Err(self.bad(object, field, reason));
            }
            let marks_good = config.mask_marks == Some(Marks::Good);
            channels[channel] = Some(Found {
                plane: Plane { flux, mask, marks_good, ivar, height, width },
                wavelength,
                psf_fwhm: positive(psf_fwhm),
                scale: positive(scale),
            });
        }
        Ok(channels)
    }

    /// The values of an optional column in row `i`, one per plane; `None` if the row lacks it.
    fn one_each<'b, T>(
        &self,
        column: Option<&'b Ragged<T>>,
        i: usize,
        names: &[String],
        (field, object): (&str, &str),
    ) -> Result<Option<&'b [T]>> {
        let Some(column) = column.filter(|c| c.present.get(i).copied().unwrap_or(false)) else { return Ok(None) };
        let values = column.row(i);
        if values.len() != names.len() {
            let reason = format!("expected a value for each of {} planes, got {}", names.len(), values.len());
            return Err(self.bad(object, field, reason));
        }
        Ok(Some(values))
    }

    /// First plane of an optional column in row `i`; `None` if the row lacks it.
    fn companion<T>(
        &self,
        column: &Ragged<T>,
        i: usize,
        planes: &Range<usize>,
        (field, object): (&str, &str),
    ) -> Result<Option<usize>> {
        if !column.present.get(i).copied().unwrap_or(false) {
            return Ok(None);
        }
        let own = lists(column, 0, i);
        if own.len() != planes.len() {
            let reason = format!("expected {} planes, as `{}` has, got {}", planes.len(), self.config.flux, own.len());
            return Err(self.bad(object, field, reason));
        }
        Ok(Some(own.start))
    }

    /// Height, width and where the pixels are, of one plane.
    fn rectangle<T>(
        &self,
        column: &Ragged<T>,
        plane: usize,
        name: &str,
        (field, object): (&str, &str),
    ) -> Result<(usize, usize, Range<usize>)> {
        let lines = lists(column, 1, plane);
        let width = lines.clone().next().map_or(0, |line| lists(column, 2, line).len());
        let Some(odd) = lines.clone().find(|line| lists(column, 2, *line).len() != width) else {
            let pixels = lists(column, 2, lines.start).start..lists(column, 2, lines.end.saturating_sub(1)).end;
            return Ok((lines.len(), width, if lines.is_empty() { 0..0 } else { pixels }));
        };
        let reason = format!(
            "expected a rectangle, but plane `{name}` has {width} pixels in its first line and {} in line {}",
            lists(column, 2, odd).len(),
            odd - lines.start
        );
        Err(self.bad(object, field, reason))
    }
}

/// Elements of list `i` at list level `level`; empty if there is no such list.
fn lists<T>(column: &Ragged<T>, level: usize, i: usize) -> Range<usize> {
    let ends = column.offsets.get(level).and_then(|ends| Some((*ends.get(i)?, *ends.get(i + 1)?)));
    ends.map_or(0..0, |(from, to)| from..to)
}
