//! What a linear model gets to see of an object's tokens: plain numbers, without anything that was learned.
//!
//! Of patches: their mean and standard deviation over the tokens, weighted as they are, and their number; of each coordinate its mean and
//! standard deviation, and how values go with it; of each category its share and the mean of its patches; and, where the tokens of all objects stand at the same places
//! (a spectrum on a fixed grid), all values one after the other. Of codes: the values that they stand for if they are scalars, else which
//! code each token is, or how often each comes where that would be too many numbers.

use crate::{Bins, Encoding, Result, TokenKind, TokenSpec, TokenValues, Tokens};

/// Most numbers that one part (values on a grid, codes, patches of categories) may have.
const MOST: usize = 1024;

/// Numbers about the tokens of one modality, one row per object, zeros where absent.
pub(super) struct Inputs {
    spec: TokenSpec,
    bins: Vec<Bins>,
    /// Row-major `[N, width]`.
    moments: Vec<f32>,
    width: usize,
    /// `[N, T * P]`; none if too many or not on a grid.
    values: Option<Vec<f32>>,
    /// The place of each token, as far as one was seen: `[T * C]`.
    grid: Vec<f32>,
    pub(super) present: Vec<bool>,
}

impl Inputs {
    /// Of no object yet.
    pub(super) fn new(spec: &TokenSpec, bins: Vec<Bins>) -> Self {
        let on_grid = match spec.kind {
            TokenKind::Patches { width } => spec.max_tokens * width <= MOST,
            TokenKind::Codes { .. } => false,
        };
        let grid = vec![f32::NAN; spec.max_tokens * spec.coordinates.len()];
        let mut this = Self {
            spec: spec.clone(),
            bins,
            moments: Vec::new(),
            width: 0,
            values: on_grid.then(Vec::new),
            grid,
            present: Vec::new(),
        };
        this.width = this.row(&[]).len();
        this
    }

    /// The rows `keep`: their numbers, and how many each has.
    pub(super) fn gather(&self, keep: &[usize]) -> (Vec<Vec<f32>>, usize) {
        let own = self.spec.max_tokens * self.patch();
        let row = |i: &usize| {
            let mut row = self.moments.get(i * self.width..(i + 1) * self.width).unwrap_or_default().to_vec();
            if let Some(values) = &self.values {
                row.extend_from_slice(values.get(i * own..(i + 1) * own).unwrap_or_default());
            }
            row
        };
        let width = self.width + if self.values.is_some() { own } else { 0 };
        (keep.iter().map(row).collect(), width)
    }

    /// Leaves the values out, since those of other objects are on no grid.
    pub(super) fn agree(&mut self, other: &mut Self) {
        if self.values.is_none() || other.values.is_none() || !same_grid(&self.grid, &other.grid) {
            (self.values, other.values) = (None, None);
        }
    }

    fn has_codes(&self) -> bool {
        matches!(self.spec.kind, TokenKind::Codes { .. })
    }

    fn patch(&self) -> usize {
        match self.spec.kind {
            TokenKind::Patches { width } => width,
            TokenKind::Codes { .. } => 1,
        }
    }

    /// Adds the objects of a batch.
    pub(super) fn extend(&mut self, tokens: &Tokens) -> Result<()> {
        let (b, t) = tokens.valid.dims2()?;
        let (c, p) = (self.spec.coordinates.len(), self.patch());
        let valid = tokens.valid.flatten_all()?.to_vec1::<u8>()?;
        let coordinates = tokens.coordinates.flatten_all()?.to_vec1::<f32>()?;
        let (values, codes) = match &tokens.values {
            TokenValues::Patches(values) => (values.flatten_all()?.to_vec1::<f32>()?, Vec::new()),
            TokenValues::Codes(codes) => (Vec::new(), codes.flatten_all()?.to_vec1::<u32>()?),
        };
        let weights = tokens.weights.as_ref().map(|w| w.flatten_all()?.to_vec1::<f32>()).transpose()?;
        for row in 0..b {
            let there = tokens.present.get(row).copied().unwrap_or(false);
            let own: Vec<Token<'_>> = (row * t..(row + 1) * t)
                .filter(|at| there && valid.get(*at) == Some(&1))
                .map(|at| Token {
                    number: at % t,
                    values: values.get(at * p..(at + 1) * p).unwrap_or_default(),
                    weights: weights.as_ref().and_then(|w| w.get(at * p..(at + 1) * p)),
                    code: codes.get(at).copied(),
                    coordinates: coordinates.get(at * c..(at + 1) * c).unwrap_or_default(),
                })
                .collect();
            let numbers = self.row(&own);
            self.moments.extend(numbers);
            self.present.push(!own.is_empty());
            self.extend_values(&own);
        }
        Ok(())
    }

    /// Puts the values on the grid, or finds that there is none.
    fn extend_values(&mut self, own: &[Token<'_>]) {
        let (c, p) = (self.spec.coordinates.len(), self.patch());
        let Some(values) = &mut self.values else { return };
        let start = values.len();
        values.resize(start + self.spec.max_tokens * p, 0.0);
        for token in own {
            let places = self.spec.coordinates.iter().zip(token.coordinates).enumerate();
            for (i, (_, at)) in places.filter(|(_, (coordinate, _))| !coordinate.metadata) {
                let Some(grid) = self.grid.get_mut(token.number * c + i) else { continue };
                if grid.is_nan() {
                    *grid = *at;
                } else if grid != at {
                    self.values = None;
                    return;
                }
            }
            let from = start + token.number * p;
            if let Some(to) = values.get_mut(from..from + p) {
                to.copy_from_slice(token.values);
            }
        }
    }

    /// The numbers of an object with these tokens.
    fn row(&self, own: &[Token<'_>]) -> Vec<f32> {
        let mut row = Vec::new();
        let p = self.patch();
        match self.spec.kind {
            TokenKind::Patches { .. } => {
                let (mean, deviation) = moments(own, p);
                row.push((1.0 + own.len() as f32).ln());
                row.extend(mean);
                row.extend(deviation);
            }
            TokenKind::Codes { vocabulary } => self.codes(own, vocabulary, &mut row),
        }
        for (i, coordinate) in self.spec.coordinates.iter().enumerate() {
            let at = |token: &Token<'_>| token.coordinates.get(i).copied().unwrap_or(f32::NAN);
            match coordinate.encoding {
                // What numbers the tokens of a codec says nothing.
                Encoding::Category { size } if size == self.spec.max_tokens && self.has_codes() => {}
                Encoding::Category { size } => {
                    for category in 0..size.min(MOST) {
                        let of: Vec<Token<'_>> = own.iter().filter(|t| at(t) == category as f32).copied().collect();
                        row.push(of.len() as f32 / own.len().max(1) as f32);
                        if size * p <= MOST && !self.has_codes() {
                            row.extend(moments(&of, p).0);
                        }
                    }
                }
                Encoding::Fourier { .. } | Encoding::Log { .. } => {
                    let log = matches!(coordinate.encoding, Encoding::Log { .. });
                    let place = |token: &Token<'_>| if log { at(token).log10() } else { at(token) };
                    let known: Vec<(f32, Token<'_>)> =
                        own.iter().map(|t| (place(t), *t)).filter(|(x, _)| x.is_finite()).collect();
                    let of = |values: &[f32]| values.iter().sum::<f32>() / values.len().max(1) as f32;
                    let mean = of(&known.iter().map(|(x, _)| *x).collect::<Vec<f32>>());
                    let squares: Vec<f32> = known.iter().map(|(x, _)| (x - mean).powi(2)).collect();
                    let deviation = of(&squares).sqrt();
                    row.extend([mean, deviation]);
                    if !self.has_codes() && p * self.spec.coordinates.len() <= MOST {
                        row.extend(slopes(&known, (mean, deviation), p));
                    }
                }
            }
        }
        row
    }

    fn codes(&self, own: &[Token<'_>], vocabulary: usize, row: &mut Vec<f32>) {
        let t = self.spec.max_tokens;
        let start = row.len();
        if self.bins.len() == t && t <= MOST {
            // Its value, and whether there is one.
            row.resize(start + 2 * t, 0.0);
            for token in own {
                let centre = self.bins.get(token.number).zip(token.code).and_then(|(b, c)| b.centres.get(c as usize));
                if let (Some(centre), Some(to)) =
                    (centre, row.get_mut(start + 2 * token.number..start + 2 * token.number + 2))
                {
                    to.copy_from_slice(&[*centre as f32, 1.0]);
                }
            }
            return;
        }
        let single = t.saturating_mul(vocabulary) <= MOST;
        row.resize(start + if single { t * vocabulary } else { vocabulary.min(MOST) }, 0.0);
        for token in own {
            let Some(code) = token.code else { continue };
            let place = if single { token.number * vocabulary + code as usize } else { code as usize % MOST };
            if let Some(to) = row.get_mut(start + place) {
                *to += if single { 1.0 } else { 1.0 / own.len() as f32 };
            }
        }
    }
}

/// One token of an object.
#[derive(Clone, Copy, Default)]
struct Token<'a> {
    number: usize,
    values: &'a [f32],
    weights: Option<&'a [f32]>,
    code: Option<u32>,
    coordinates: &'a [f32],
}

/// Weighted mean and standard deviation of each place of the patches; zeros without tokens.
fn moments(own: &[Token<'_>], width: usize) -> (Vec<f32>, Vec<f32>) {
    let (mut sums, mut squares, mut all) = (vec![0.0_f64; width], vec![0.0_f64; width], vec![0.0_f64; width]);
    for token in own {
        for (i, value) in token.values.iter().enumerate() {
            let weight = f64::from(token.weights.and_then(|w| w.get(i)).copied().unwrap_or(1.0));
            let value = f64::from(*value);
            sums[i] += weight * value;
            squares[i] += weight * value * value;
            all[i] += weight;
        }
    }
    let mean: Vec<f64> = sums.iter().zip(&all).map(|(sum, all)| if *all > 0.0 { sum / all } else { 0.0 }).collect();
    let deviation = squares.iter().zip(&all).zip(&mean).map(|((square, all), mean)| {
        if *all > 0.0 { (square / all - mean * mean).max(0.0).sqrt() as f32 } else { 0.0 }
    });
    (mean.iter().map(|x| *x as f32).collect(), deviation.collect())
}

/// Weighted mean of each place of the patches, less its mean, times the coordinate in its own deviations: how values go with it.
fn slopes(known: &[(f32, Token<'_>)], (mean, deviation): (f32, f32), width: usize) -> Vec<f32> {
    let own: Vec<Token<'_>> = known.iter().map(|(_, token)| *token).collect();
    let (means, _) = moments(&own, width);
    let slope = |i: usize| {
        let (mut sum, mut all) = (0.0_f64, 0.0_f64);
        for (x, token) in known {
            let weight = f64::from(token.weights.and_then(|w| w.get(i)).copied().unwrap_or(1.0));
            let value = token.values.get(i).copied().unwrap_or(0.0) - means[i];
            sum += weight * f64::from(value) * f64::from((x - mean) / deviation.max(f32::MIN_POSITIVE));
            all += weight;
        }
        if all > 0.0 && deviation > 0.0 { (sum / all) as f32 } else { 0.0 }
    };
    (0..width).map(slope).collect()
}

/// Whether no token stands at two places.
fn same_grid(a: &[f32], b: &[f32]) -> bool {
    a.iter().zip(b).all(|(a, b)| a == b || a.is_nan() || b.is_nan())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Coordinate;
    use candle_core::{Device, Tensor};

    fn tokens(values: &[[f32; 2]], at: &[f32]) -> Result<Tokens> {
        let t = values.len();
        let flat: Vec<f32> = values.iter().flatten().copied().collect();
        Ok(Tokens {
            values: TokenValues::Patches(Tensor::from_vec(flat, (1, t, 2), &Device::Cpu)?),
            valid: Tensor::ones((1, t), candle_core::DType::U8, &Device::Cpu)?,
            coordinates: Tensor::from_slice(at, (1, t, 1), &Device::Cpu)?,
            weights: None,
            present: vec![true],
        })
    }

    fn spec() -> TokenSpec {
        let encoding = Encoding::Fourier { shortest: 1.0, longest: 10.0, frequencies: 2 };
        let time = Coordinate { name: "time".into(), unit: "day".into(), encoding, metadata: false };
        TokenSpec { kind: TokenKind::Patches { width: 2 }, max_tokens: 2, coordinates: vec![time] }
    }

    #[test]
    fn moments_come_first_and_values_only_on_a_grid() -> Result<()> {
        let mut inputs = Inputs::new(&spec(), Vec::new());
        inputs.extend(&tokens(&[[1.0, 2.0], [3.0, 6.0]], &[5.0, 7.0])?)?;
        let (rows, width) = inputs.gather(&[0]);
        assert_eq!(rows[0], [3f32.ln(), 2.0, 4.0, 1.0, 2.0, 6.0, 1.0, 1.0, 2.0, 1.0, 2.0, 3.0, 6.0]);
        assert_eq!(width, 13);
        inputs.extend(&tokens(&[[1.0, 2.0], [3.0, 6.0]], &[5.0, 8.0])?)?;
        let (rows, width) = inputs.gather(&[1]);
        assert_eq!((rows[0].len(), width), (9, 9), "tokens at other places are on no grid");
        Ok(())
    }

    #[test]
    fn grids_of_two_splits_must_be_the_same() -> Result<()> {
        let (mut a, mut b) = (Inputs::new(&spec(), Vec::new()), Inputs::new(&spec(), Vec::new()));
        a.extend(&tokens(&[[1.0, 2.0], [3.0, 6.0]], &[5.0, 7.0])?)?;
        b.extend(&tokens(&[[1.0, 2.0]], &[5.0])?)?;
        a.agree(&mut b);
        assert_eq!((a.gather(&[0]).1, b.gather(&[0]).1), (13, 13));
        b.extend(&tokens(&[[1.0, 2.0], [0.0, 0.0]], &[5.0, 9.0])?)?;
        a.agree(&mut b);
        assert_eq!((a.gather(&[0]).1, b.gather(&[0]).1), (9, 9));
        Ok(())
    }

    #[test]
    fn codes_of_scalars_are_their_values_and_others_are_counted() -> Result<()> {
        let codes = Tokens::codes(Tensor::new(&[[2u32, 0]], &Device::Cpu)?, vec![true])?;
        let spec = TokenSpec::codes(3, 2);
        let mut plain = Inputs::new(&spec, Vec::new());
        plain.extend(&codes)?;
        assert_eq!(plain.gather(&[0]).0[0], [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
        let bins = |centres: [f64; 3]| Bins {
            name: String::new(),
            unit: String::new(),
            centres: centres.to_vec(),
            edges: vec![0.0; 4],
        };
        let mut scalars = Inputs::new(&spec, vec![bins([1.0, 2.0, 3.0]), bins([7.0, 8.0, 9.0])]);
        scalars.extend(&codes)?;
        assert_eq!(scalars.gather(&[0]).0[0], [3.0, 1.0, 7.0, 1.0]);
        Ok(())
    }
}
