//! Between the arrays of a modality with images and the squares that a codec makes codes of.

use candle_core::{Device, Tensor};
use panchroma_core::{
    Array, Arrays, Coordinate, Encoding, Error, Result, Section, TokenKind, TokenSpec, TokenValues, TokenizerContext,
    Tokens, Values,
};
use std::collections::BTreeMap;

/// Arrays of images, and the square around their centre of which each token has a part.
#[derive(Debug, Clone)]
pub(super) struct Frames {
    name: &'static str,
    pub(super) channels: usize,
    height: usize,
    width: usize,
    /// Other fields, with their axes.
    others: Vec<(&'static str, &'static [&'static str])>,
    /// Side of the square.
    crop: usize,
    /// Tokens along a side.
    side: usize,
    /// Pixels of a token along a side.
    part: usize,
}

/// Those objects of a batch that have images.
pub(super) struct Present {
    /// Which.
    pub(super) rows: Vec<usize>,
    /// `[B, C, H, W]` f32.
    pub(super) flux: Tensor,
    /// The same, if the arrays have it.
    pub(super) ivar: Option<Tensor>,
    /// `[B, C, H, W]` u8.
    pub(super) valid: Tensor,
}

const AXES: &[&str] = &["C", "H", "W"];

impl Frames {
    /// For a codec that cuts out `crop` pixels and makes `side` codes along them.
    pub(super) fn new(
        name: &'static str,
        section: &Section,
        context: &TokenizerContext<'_>,
        [crop, side, part]: [usize; 3],
    ) -> Result<Self> {
        let arrays = context.arrays;
        let has_flux = arrays.fields.iter().any(|field| field.name == "flux" && field.axes == AXES);
        let (Some(channels), Some(height), Some(width), true) =
            (arrays.size("C"), arrays.size("H"), arrays.size("W"), arrays.valid_axes == AXES && has_flux)
        else {
            let reason = format!("`{name}` needs a modality with images, which `{}` is not", context.modality);
            return Err(section.reject("kind", reason));
        };
        if crop > height || crop > width {
            let reason = format!(
                "expected at most the size of the images of `{}`, {height} x {width}, got {crop}",
                context.modality
            );
            return Err(section.reject("crop", reason));
        }
        if side * part != crop {
            return Err(section
                .reject("crop", format!("expected a multiple of {part} for codes of so many pixels, got {crop}")));
        }
        let others = arrays.fields.iter().filter(|field| field.name != "flux").map(|field| (field.name, field.axes));
        Ok(Self { name, channels, height, width, others: others.collect(), crop, side, part })
    }

    fn wrong(&self, what: &str, expected: String, found: String) -> Error {
        Error::Shape { part: format!("tokenizer `{}`, {what}", self.name), expected, found }
    }

    /// Codes below `vocabulary`, line by line, at their places relative to the centre of the image.
    pub(super) fn spec(&self, vocabulary: usize) -> TokenSpec {
        let longest = 4.0 * self.height.max(self.width) as f64;
        let encoding = Encoding::Fourier { shortest: self.part as f64, longest, frequencies: 12 };
        let axis =
            |name: &'static str| Coordinate { name: name.into(), unit: "pixel".into(), encoding, metadata: false };
        TokenSpec {
            kind: TokenKind::Codes { vocabulary },
            max_tokens: self.side * self.side,
            coordinates: ["x", "y"].map(axis).into(),
        }
    }

    /// The images that are there.
    pub(super) fn present(&self, arrays: &Arrays) -> Result<Present> {
        let expected = [arrays.len(), self.channels, self.height, self.width];
        let (shape, flux) = arrays.f32("flux")?;
        let (valid_shape, valid) = arrays.valid()?;
        for (what, shape) in [("flux", shape), ("valid", valid_shape)] {
            if shape != expected {
                return Err(self.wrong(what, format!("{expected:?}"), format!("shape {shape:?}")));
            }
        }
        let ivar = match arrays.fields.get("ivar") {
            None => None,
            Some(_) => {
                let (shape, ivar) = arrays.f32("ivar")?;
                if shape != expected {
                    return Err(self.wrong("ivar", format!("{expected:?}"), format!("shape {shape:?}")));
                }
                Some(ivar)
            }
        };
        let rows: Vec<usize> = (0..arrays.len()).filter(|row| arrays.present[*row]).collect();
        let each = self.channels * self.height * self.width;
        let shape = (rows.len(), self.channels, self.height, self.width);
        let chosen = |values: &[f32]| {
            let values: Vec<f32> =
                rows.iter().flat_map(|row| values[row * each..(row + 1) * each].iter().copied()).collect();
            Tensor::from_vec(values, shape, &Device::Cpu)
        };
        let valid: Vec<u8> = rows.iter().flat_map(|row| valid[row * each..(row + 1) * each].iter().copied()).collect();
        let (flux, ivar) = (chosen(flux)?, ivar.map(chosen).transpose()?);
        Ok(Present { flux, ivar, valid: Tensor::from_vec(valid, shape, &Device::Cpu)?, rows })
    }

    /// First line and column of the square.
    fn corner(&self) -> (usize, usize) {
        ((self.height - self.crop) / 2, (self.width - self.crop) / 2)
    }

    /// The token of a pixel of the image, if it is in the square.
    fn token(&self, y: usize, x: usize) -> Option<usize> {
        let (top, left) = self.corner();
        let (y, x) = (y.checked_sub(top)?, x.checked_sub(left)?);
        (y < self.crop && x < self.crop).then_some(y / self.part * self.side + x / self.part)
    }

    /// Codes `[rows, T]` of the objects that are there → tokens of all: one of which no pixel was measured is not valid.
    pub(super) fn tokens(&self, arrays: &Arrays, rows: &[usize], codes: &Tensor) -> Result<Tokens> {
        let (batch, count) = (arrays.len(), self.side * self.side);
        let codes = codes.to_device(&Device::Cpu)?.to_vec2::<u32>()?;
        let (_, valid) = arrays.valid()?;
        let mut all = vec![0u32; batch * count];
        let mut token_valid = vec![0u8; batch * count];
        let plane = self.height * self.width;
        for (row, codes) in rows.iter().zip(&codes) {
            let own = &valid[row * self.channels * plane..(row + 1) * self.channels * plane];
            for at in (0..own.len()).filter(|at| own[*at] == 1) {
                let Some(token) = self.token(at % plane / self.width, at % self.width) else { continue };
                let place = row * count + token;
                (all[place], token_valid[place]) = (codes[token], 1);
            }
        }
        let (top, left) = self.corner();
        let middle = |corner: usize, number: usize, size: usize| {
            (corner + number * self.part) as f32 + 0.5 * self.part as f32 - 0.5 * size as f32
        };
        let place =
            |token: usize| [middle(left, token % self.side, self.width), middle(top, token / self.side, self.height)];
        let coordinates: Vec<f32> = (0..batch).flat_map(|_| (0..count).flat_map(place)).collect();
        let cpu = Device::Cpu;
        Ok(Tokens {
            values: TokenValues::Codes(Tensor::from_vec(all, (batch, count), &cpu)?),
            valid: Tensor::from_vec(token_valid, (batch, count), &cpu)?,
            coordinates: Tensor::from_vec(coordinates, (batch, count, 2), &cpu)?,
            weights: None,
            present: arrays.present.clone(),
        })
    }

    /// The codes of tokens, `[B, T]`; of tokens that are not valid, the code 0.
    pub(super) fn codes(&self, tokens: &Tokens, vocabulary: usize) -> Result<Tensor> {
        tokens.check(self.name, &self.spec(vocabulary))?;
        let expected = [tokens.len(), self.side * self.side];
        match &tokens.values {
            TokenValues::Codes(codes) if codes.dims() == expected => {
                Ok(tokens.valid.where_cond(codes, &codes.zeros_like()?)?)
            }
            TokenValues::Codes(values) | TokenValues::Patches(values) => {
                Err(self.wrong("codes", format!("{expected:?}"), format!("shape {:?}", values.dims())))
            }
        }
    }

    /// Decoded squares `[B, C, crop, crop]` → arrays, 0 and not valid around the square and where tokens aren't. What describes the
    /// images comes from `like`, or is unknown; inverse variances are.
    pub(super) fn arrays(&self, tokens: &Tokens, decoded: &Tensor, like: Option<&Arrays>) -> Result<Arrays> {
        let (batch, count) = (tokens.len(), self.side * self.side);
        let decoded = decoded.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
        let token_valid = tokens.valid.flatten_all()?.to_vec1::<u8>()?;
        let shape = [batch, self.channels, self.height, self.width];
        let mut flux = vec![0f32; shape.iter().product()];
        let mut valid = vec![0u8; flux.len()];
        let (top, left) = self.corner();
        for at in 0..flux.len() {
            let (plane, y, x) = (at / (self.height * self.width), at / self.width % self.height, at % self.width);
            let Some(token) = self.token(y, x) else { continue };
            if token_valid[plane / self.channels * count + token] == 1 {
                flux[at] = decoded[(plane * self.crop + y - top) * self.crop + x - left];
                valid[at] = 1;
            }
        }
        let like = like.filter(|like| like.len() == batch);
        let mut fields = BTreeMap::from([("flux".to_owned(), Array::f32(&shape, flux)?)]);
        for (name, axes) in &self.others {
            let known = like.and_then(|like| like.fields.get(*name)).filter(|_| *name != "ivar");
            let length = |axis: &&str| match *axis {
                "H" => self.height,
                "W" => self.width,
                _ => self.channels,
            };
            let own: Vec<usize> = std::iter::once(batch).chain(axes.iter().map(length)).collect();
            let array = match known {
                Some(known) => known.clone(),
                None => Array::f32(&own, vec![0.0; own.iter().product()])?,
            };
            fields.insert((*name).to_owned(), array);
        }
        Ok(Arrays { present: tokens.present.clone(), valid: Array::new(&shape, Values::U8(valid))?, fields })
    }
}
