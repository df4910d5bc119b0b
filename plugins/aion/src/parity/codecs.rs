//! The codecs' stages: tokens of measurements, and measurements of tokens.

use super::names::{Part, kinds};
use super::{Computed, Fixture};
use crate::config::unfit;
use crate::field::read_field;
use crate::image::read_image;
use crate::modalities::{AION_KINDS, AionKind, CodecClass};
use crate::scalar::Scalars;
use crate::sources::read_sources;
use crate::spectrum::read_spectrum;
use candle_core::{DType, Device, Tensor};
use panchroma_core::{Parameters, Result};
use panchroma_spectrum::codec::{MaskRule, Spectra};
use serde_json::Value;
use std::path::PathBuf;

/// One measurement of a fixture, by what its tensors are called.
pub(super) struct Measured<'a> {
    fixture: &'a Fixture,
    name: &'a str,
    kind: &'static AionKind,
    folder: PathBuf,
    parameters: Parameters,
}

impl<'a> Measured<'a> {
    /// # Errors
    /// If `name` is of no kind, or its codec is not there.
    pub(super) fn open(fixture: &'a Fixture, name: &'a str, device: &Device) -> Result<Self> {
        let all: Vec<&'static AionKind> = AION_KINDS.iter().collect();
        let kind = match kinds(name, &all).as_deref() {
            Some(&[kind]) => kind,
            _ => return Err(unfit(&fixture.folder, &format!("`{name}` is no kind of measurement"))),
        };
        let folder = fixture.folder.join("codecs").join(kind.codec);
        if !folder.is_dir() {
            return Err(unfit(&folder, "no such codec"));
        }
        Ok(Self { fixture, name, kind, folder, parameters: Parameters::new(0, device) })
    }

    pub(super) fn compute(&self, part: Part) -> Result<Computed> {
        match self.kind.class {
            CodecClass::Image => self.image(part),
            CodecClass::Spectrum => self.spectrum(part),
            CodecClass::Field => self.field(part),
            CodecClass::Quantiles | CodecClass::LogQuantiles | CodecClass::Several | CodecClass::Grid => {
                self.scalars(part)
            }
            CodecClass::Catalogue => self.sources(part),
        }
    }

    fn refused(&self, reason: &str) -> panchroma_core::Error {
        unfit(&self.folder, reason)
    }

    fn input(&self, field: &str) -> Result<Tensor> {
        Ok(self.fixture.input(&format!("{}.{field}", self.name))?.to_dtype(DType::F32)?)
    }

    /// The codes to decode: those that are expected, so that a code that differs does not count twice.
    fn codes(&self) -> Result<Tensor> {
        let name = format!("{}.tokens", self.name);
        let codes = self.fixture.expected.get(&name).ok_or_else(|| self.refused(&format!("no expected `{name}`")))?;
        Ok(codes.to_dtype(DType::U32)?)
    }

    fn no_part(&self, part: Part) -> panchroma_core::Error {
        self.refused(&format!("not computed: its codec gives no {part:?}"))
    }

    /// Names of bands: of the image's own entry, or of the only images that there are.
    fn bands(&self, key: &str) -> Option<Vec<&str>> {
        let about = &self.fixture.about;
        let own = about.get(format!("{}.{key}", self.name)).or_else(|| about.get(key))?;
        own.as_array().map(|bands| bands.iter().filter_map(Value::as_str).collect())
    }

    fn image(&self, part: Part) -> Result<Computed> {
        let bands = self.bands("bands").ok_or_else(|| self.refused("fixture.json names no `bands`"))?;
        match part {
            Part::Tokens => {
                let codec = read_image(&self.folder, &self.parameters, true)?;
                Ok(Computed::plain(codec.encode(&self.input("flux")?, &bands)?))
            }
            Part::Decoded => {
                let codec = read_image(&self.folder, &self.parameters, true)?;
                let bands = self.bands("decode").unwrap_or(bands);
                let shifted = bands.iter().any(|band| band.starts_with("HSC"));
                let note = if shifted { "fluxes of HSC without their zero point" } else { "" };
                Ok(Computed { tensor: codec.decode(&self.codes()?, &bands)?, note: note.into() })
            }
            other => Err(self.no_part(other)),
        }
    }

    fn spectrum(&self, part: Part) -> Result<Computed> {
        let codec = read_spectrum(&self.folder, &self.parameters)?;
        let wavelength = match part {
            Part::LatentGrid | Part::LatentGridMask => None,
            _ => Some(self.input("wavelength")?),
        };
        if part == Part::Tokens {
            let (flux, ivar) = (self.input("flux")?, self.input("ivar")?);
            let mask = self.fixture.input(&format!("{}.mask", self.name))?.to_dtype(DType::U8)?;
            let wavelength = self.input("wavelength")?;
            let spectra = Spectra { flux: &flux, ivar: &ivar, mask: &mask, wavelength: &wavelength };
            return Ok(Computed::plain(codec.encode(spectra)?));
        }
        let decoded = codec.decode(&self.codes()?, wavelength.as_ref(), MaskRule::AsReference)?;
        Ok(match part {
            Part::Mask | Part::LatentGridMask => {
                Computed { tensor: decoded.mask, note: "true where a mask is not".into() }
            }
            _ => Computed::plain(decoded.flux),
        })
    }

    fn field(&self, part: Part) -> Result<Computed> {
        let codec = read_field(&self.folder, &self.parameters)?;
        match part {
            Part::Tokens => Ok(Computed::plain(codec.encode(&self.input("field")?)?)),
            Part::Decoded => Ok(Computed::plain(codec.decode(&self.codes()?)?)),
            other => Err(self.no_part(other)),
        }
    }

    fn scalars(&self, part: Part) -> Result<Computed> {
        let codec = Scalars::read(&self.folder, self.kind.class)?;
        match part {
            Part::Tokens => Ok(Computed::plain(codec.encode(&self.input("value")?)?)),
            Part::Decoded => Ok(Computed::plain(codec.decode(&self.codes()?)?)),
            other => Err(self.no_part(other)),
        }
    }

    fn sources(&self, part: Part) -> Result<Computed> {
        if part != Part::Tokens {
            return Err(self.no_part(part));
        }
        let codec = read_sources(&self.folder)?;
        let columns =
            codec.fields().iter().map(|(field, _)| Ok(self.fixture.input(&format!("{}.{field}", self.name))?.clone()));
        Ok(Computed::plain(codec.encode(&columns.collect::<Result<Vec<_>>>()?)?))
    }

    /// One field of decoded sources.
    pub(super) fn field_of_sources(&self, field: &str) -> Result<Computed> {
        if self.kind.class != CodecClass::Catalogue {
            return Err(self.refused("not computed: its codec gives no fields"));
        }
        let codec = read_sources(&self.folder)?;
        let place = codec.fields().iter().position(|(name, _)| name == field);
        let decoded = codec.decode(&self.codes()?)?;
        let found = place.and_then(|place| decoded.into_iter().nth(place));
        found.map(Computed::plain).ok_or_else(|| self.refused(&format!("not computed: no field `{field}`")))
    }
}
