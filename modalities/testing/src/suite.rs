//! The promises of [`Modality`] and [`Tokenizer`], checked on a few objects.

use crate::compare::{arrays_bits, flat_f64, measured, same_rows, tokens_bits};
use crate::objects::Objects;
use candle_core::Tensor;
use panchroma_core::{
    Arrays, ArraysSpec, Encoding, Forward, Modality, ModalityContext, Mode, Parameters, PrepareContext, Registry, Rows,
    Section, TokenKind, TokenSpec, TokenValues, Tokenizer, TokenizerContext, Tokens, Values,
};

/// What [`conformance`] is to check.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Body of the table `[modality.NAME]` with its `kind`, without its tokenizer.
    pub modality: &'a str,
    /// Body of the table `[modality.NAME.tokenizer]` with its `kind`.
    pub tokenizer: &'a str,
    /// At least two objects that have the modality, and one that lacks it.
    pub objects: &'a Objects,
    /// Fields of the arrays whose values at masked places must reach no valid token. Leave out
    /// coordinates that are known at masked places too, such as a grid of wavelengths.
    pub measured: &'a [&'a str],
    /// Largest error of [`Tokenizer::reconstruct`] in the `measured` fields where they are valid,
    /// as a share of max(1, |value|); `None` if the tokenizer can't reconstruct. A codec that learns is asked before it has learned, at
    /// the places of the arrays themselves.
    pub reconstruction: Option<f64>,
}

/// The modality of a TOML table with `kind`, not fitted.
///
/// # Panics
/// If it can't be built.
#[must_use]
pub fn build_modality(toml: &str) -> Box<dyn Modality> {
    let registry = Registry::linked().unwrap_or_else(|e| panic!("{e}"));
    let section = Section::from_toml("modality.test", toml).unwrap_or_else(|e| panic!("{e}"));
    registry.modalities.build(&section, &ModalityContext { name: "test" }).unwrap_or_else(|e| panic!("{e}"))
}

/// The tokenizer of a TOML table with `kind`, for arrays that look like `arrays`.
///
/// # Panics
/// If it can't be built.
#[must_use]
pub fn build_tokenizer(toml: &str, arrays: &ArraysSpec) -> Box<dyn Tokenizer> {
    build_with(toml, arrays, &Parameters::new(0, &candle_core::Device::Cpu))
}

/// The same, with its parameters in a store of the caller's.
pub(crate) fn build_with(toml: &str, arrays: &ArraysSpec, parameters: &Parameters) -> Box<dyn Tokenizer> {
    let registry = Registry::linked().unwrap_or_else(|e| panic!("{e}"));
    let section = Section::from_toml("modality.test.tokenizer", toml).unwrap_or_else(|e| panic!("{e}"));
    let context = TokenizerContext { modality: "test", arrays, parameters };
    registry.tokenizers.build(&section, &context).unwrap_or_else(|e| panic!("{e}"))
}

/// The modality of a TOML table with `kind`, fitted on `rows`.
///
/// # Panics
/// If it can't be built or fitted.
#[must_use]
pub fn fitted(toml: &str, rows: &Rows) -> Box<dyn Modality> {
    let mut modality = build_modality(toml);
    modality.fit(&mut std::iter::once(Ok(rows.clone()))).unwrap_or_else(|e| panic!("fit: {e}"));
    modality
}

/// The tokenizer of a TOML table with `kind`, fitted on what `modality` makes of `rows` if it fits at all.
///
/// # Panics
/// If it can't be built or fitted.
#[must_use]
pub fn fitted_tokenizer(toml: &str, modality: &dyn Modality, rows: &Rows) -> Box<dyn Tokenizer> {
    let mut tokenizer = build_tokenizer(toml, &modality.spec());
    if tokenizer.fits() {
        let context = PrepareContext { mode: Mode::Evaluate, seed: 7, epoch: 0, modality: "test" };
        let arrays = modality.prepare(rows, &context);
        tokenizer.fit(&mut std::iter::once(arrays)).unwrap_or_else(|e| panic!("fit the tokenizer: {e}"));
    }
    tokenizer
}

/// Checks every promise of the contracts that can be seen from outside.
///
/// # Panics
/// With the promise that is broken.
pub fn conformance(case: &Case<'_>) {
    let suite = Suite::new(case);
    suite.shapes_and_types();
    suite.missing_objects_are_masked_and_change_nothing();
    suite.permuting_the_batch_permutes_the_result();
    suite.same_input_same_bits();
    suite.restoring_what_was_fitted_gives_the_same_bits();
    suite.a_restored_tokenizer_gives_the_same_bits();
    suite.odd_batches_work();
    suite.bad_numbers_stay_outside();
    suite.masked_values_reach_no_valid_token();
    suite.nothing_measured_means_no_valid_token();
    suite.reconstruction_is_as_good_as_stated();
    if suite.tokenizer.learns() {
        suite.a_codec_learns();
    }
}

pub(crate) struct Suite<'a> {
    pub(crate) case: &'a Case<'a>,
    modality: Box<dyn Modality>,
    pub(crate) tokenizer: Box<dyn Tokenizer>,
    pub(crate) spec: ArraysSpec,
    token_spec: TokenSpec,
}

impl<'a> Suite<'a> {
    fn new(case: &'a Case<'a>) -> Self {
        let modality = fitted(case.modality, &case.objects.rows());
        let spec = modality.spec();
        assert_eq!(spec, build_modality(case.modality).spec(), "fitting must not change the spec");
        let mut tokenizer = build_tokenizer(case.tokenizer, &spec);
        let token_spec = tokenizer.spec();
        if tokenizer.fits() {
            let context = PrepareContext { mode: Mode::Evaluate, seed: 7, epoch: 0, modality: "test" };
            let mut arrays = std::iter::once(modality.prepare(&case.objects.rows(), &context));
            tokenizer.fit(&mut arrays).unwrap_or_else(|e| panic!("fit of the tokenizer: {e}"));
            assert_eq!(tokenizer.spec(), token_spec, "fitting must not change the spec");
        }
        Self { case, modality, tokenizer, spec, token_spec }
    }

    pub(crate) fn prepare(&self, objects: &Objects, mode: Mode) -> Arrays {
        let context = PrepareContext { mode, seed: 7, epoch: 3, modality: "test" };
        self.modality.prepare(&objects.rows(), &context).unwrap_or_else(|e| panic!("prepare: {e}"))
    }

    pub(crate) fn tokenize(&self, arrays: &Arrays) -> Tokens {
        self.tokenizer.tokenize(arrays, &Forward::evaluate()).unwrap_or_else(|e| panic!("tokenize: {e}"))
    }

    fn present(&self) -> Vec<bool> {
        self.prepare(self.case.objects, Mode::Evaluate).present
    }

    fn check(&self, claim: &str, arrays: &Arrays) {
        arrays.check("test", &self.spec).unwrap_or_else(|e| panic!("{claim}: {e}"));
        for field in &self.spec.fields {
            let array = &arrays.fields[field.name];
            let sized = field.axes.iter().zip(&array.shape[1..]);
            for (axis, &length) in sized {
                let most = self.spec.size(axis).unwrap_or_else(|| panic!("the spec has no size for axis `{axis}`"));
                assert!(length <= most, "{claim}: axis `{axis}` of `{}` has {length} > {most}", field.name);
            }
            let finite: Vec<bool> = match &array.values {
                Values::F32(v) => v.iter().map(|x| x.is_finite()).collect(),
                Values::F64(v) => v.iter().map(|x| x.is_finite()).collect(),
                _ => continue,
            };
            let bad = measured(arrays, &self.spec, field.name).iter().zip(finite).filter(|(m, f)| **m && !f).count();
            assert_eq!(bad, 0, "{claim}: `{}` has {bad} valid values that are not finite", field.name);
        }
        let tokens = self.tokenize(arrays);
        tokens.check("test", &self.token_spec).unwrap_or_else(|e| panic!("{claim}: {e}"));
        assert_eq!(tokens.present, arrays.present, "{claim}: tokens and arrays disagree about `present`");
        self.check_token_values(claim, &tokens);
    }

    fn check_token_values(&self, claim: &str, tokens: &Tokens) {
        let valid: Vec<bool> = flat_f64(&tokens.valid).iter().map(|v| *v != 0.0).collect();
        let per_row = valid.len() / tokens.len().max(1);
        for (row, present) in tokens.present.iter().enumerate() {
            let any = valid[row * per_row..(row + 1) * per_row].contains(&true);
            assert!(*present || !any, "{claim}: object {row} is absent but has valid tokens");
        }
        let of_valid = |tensor: &Tensor| -> Vec<f64> {
            let flat = flat_f64(tensor);
            let width = flat.len() / valid.len().max(1);
            let keep = |(i, x): (usize, f64)| valid[i / width].then_some(x);
            flat.into_iter().enumerate().filter_map(keep).collect()
        };
        match (&tokens.values, self.token_spec.kind) {
            (TokenValues::Codes(codes), TokenKind::Codes { vocabulary }) => {
                assert!(of_valid(codes).iter().all(|c| *c < vocabulary as f64), "{claim}: a code is too large");
            }
            (TokenValues::Codes(values) | TokenValues::Patches(values), _) => {
                assert!(of_valid(values).iter().all(|v| v.is_finite()), "{claim}: a valid token is not finite");
            }
        }
        if let Some(weights) = &tokens.weights {
            assert!(of_valid(weights).iter().all(|w| w.is_finite() && *w >= 0.0), "{claim}: a weight is negative");
        }
        let coordinates = of_valid(&tokens.coordinates);
        for (i, x) in coordinates.iter().enumerate() {
            let coordinate = &self.token_spec.coordinates[i % self.token_spec.coordinates.len()];
            // NaN is unknown.
            assert!(!x.is_infinite(), "{claim}: coordinate `{}` is infinite", coordinate.name);
            if x.is_nan() {
                continue;
            }
            if let Encoding::Category { size } = coordinate.encoding {
                let fits = x.fract() == 0.0 && *x >= 0.0 && *x < size as f64;
                assert!(fits, "{claim}: coordinate `{}` is {x}, not in 0..{size}", coordinate.name);
            }
        }
    }

    fn shapes_and_types(&self) {
        for mode in [Mode::Evaluate, Mode::Train] {
            self.check(&format!("{mode:?}"), &self.prepare(self.case.objects, mode));
        }
    }

    fn missing_objects_are_masked_and_change_nothing(&self) {
        let (present, absent): (Vec<usize>, Vec<usize>) = {
            let flags = self.present();
            (0..flags.len()).partition(|&i| flags[i])
        };
        assert!(present.len() >= 2, "the case needs two objects that have the modality, has {}", present.len());
        assert!(!absent.is_empty(), "the case needs an object that lacks the modality");
        let (kept, all) = (self.case.objects.select(&present), self.case.objects);
        for mode in [Mode::Evaluate, Mode::Train] {
            let (few, many) = (self.prepare(&kept, mode), self.prepare(all, mode));
            let claim = format!("without the absent objects, {mode:?}");
            same_rows(&claim, &arrays_bits(&few), &arrays_bits(&many), &present);
            same_rows(&claim, &tokens_bits(&self.tokenize(&few)), &tokens_bits(&self.tokenize(&many)), &present);
        }
        for &one in &present {
            let (alone, many) = (self.prepare(&all.select(&[one]), Mode::Evaluate), self.prepare(all, Mode::Evaluate));
            same_rows("alone in the batch", &arrays_bits(&alone), &arrays_bits(&many), &[one]);
            let (alone, many) = (self.tokenize(&alone), self.tokenize(&many));
            same_rows("alone in the batch", &tokens_bits(&alone), &tokens_bits(&many), &[one]);
        }
    }

    fn permuting_the_batch_permutes_the_result(&self) {
        let objects = self.case.objects;
        let order: Vec<usize> = (0..objects.len()).rev().collect();
        for mode in [Mode::Evaluate, Mode::Train] {
            let (turned, straight) = (self.prepare(&objects.select(&order), mode), self.prepare(objects, mode));
            let claim = format!("permuted, {mode:?}");
            same_rows(&claim, &arrays_bits(&turned), &arrays_bits(&straight), &order);
            let (turned, straight) = (self.tokenize(&turned), self.tokenize(&straight));
            same_rows(&claim, &tokens_bits(&turned), &tokens_bits(&straight), &order);
        }
    }

    fn same_input_same_bits(&self) {
        let order: Vec<usize> = (0..self.case.objects.len()).collect();
        for mode in [Mode::Evaluate, Mode::Train] {
            let [a, b] = [0, 1].map(|_| self.prepare(self.case.objects, mode));
            same_rows("twice", &arrays_bits(&a), &arrays_bits(&b), &order);
            same_rows("twice", &tokens_bits(&self.tokenize(&a)), &tokens_bits(&self.tokenize(&b)), &order);
        }
    }

    fn restoring_what_was_fitted_gives_the_same_bits(&self) {
        let text = self.modality.fitted().to_string();
        let value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}"));
        let mut restored = build_modality(self.case.modality);
        restored.restore(&value).unwrap_or_else(|e| panic!("restore: {e}"));
        let context = PrepareContext { mode: Mode::Evaluate, seed: 7, epoch: 3, modality: "test" };
        let again = restored.prepare(&self.case.objects.rows(), &context).unwrap_or_else(|e| panic!("{e}"));
        let order: Vec<usize> = (0..again.len()).collect();
        let first = self.prepare(self.case.objects, Mode::Evaluate);
        same_rows("restored", &arrays_bits(&again), &arrays_bits(&first), &order);
        assert_eq!(restored.fitted().to_string(), text, "what was restored is what was fitted");
    }

    fn a_restored_tokenizer_gives_the_same_bits(&self) {
        let mut restored = build_tokenizer(self.case.tokenizer, &self.spec);
        let fitted = self.tokenizer.fitted();
        assert_eq!(self.tokenizer.fits(), !fitted.is_null(), "what `fit` learned goes into the checkpoint");
        restored.restore(&fitted).unwrap_or_else(|e| panic!("restore of the tokenizer: {e}"));
        assert_eq!(restored.fitted(), fitted, "what was restored is what was fitted");
        let arrays = self.prepare(self.case.objects, Mode::Evaluate);
        let again = restored.tokenize(&arrays, &Forward::evaluate()).unwrap_or_else(|e| panic!("{e}"));
        let order: Vec<usize> = (0..again.len()).collect();
        same_rows("restored", &tokens_bits(&again), &tokens_bits(&self.tokenize(&arrays)), &order);
    }

    fn odd_batches_work(&self) {
        let flags = self.present();
        let absent: Vec<usize> = (0..flags.len()).filter(|&i| !flags[i]).collect();
        for (claim, which) in [("all absent", absent.as_slice()), ("empty batch", &[])] {
            let arrays = self.prepare(&self.case.objects.select(which), Mode::Evaluate);
            assert_eq!(arrays.present, vec![false; which.len()], "{claim}");
            self.check(claim, &arrays);
        }
    }

    /// NaN and infinities in the input give masked values or an error, never a valid NaN.
    fn bad_numbers_stay_outside(&self) {
        let context = PrepareContext { mode: Mode::Evaluate, seed: 7, epoch: 3, modality: "test" };
        if let Ok(arrays) = self.modality.prepare(&self.case.objects.poisoned(), &context) {
            self.check("input with NaN and infinities", &arrays);
        }
    }

    fn masked_values_reach_no_valid_token(&self) {
        let clean = self.prepare(self.case.objects, Mode::Evaluate);
        let mut dirty = clean.clone();
        for field in self.case.measured {
            let good = measured(&clean, &self.spec, field);
            let array = dirty.fields.get_mut(*field).unwrap_or_else(|| panic!("no field `{field}`"));
            match &mut array.values {
                Values::F32(v) => v.iter_mut().zip(good).filter(|(_, g)| !g).for_each(|(x, _)| *x = f32::NAN),
                Values::F64(v) => v.iter_mut().zip(good).filter(|(_, g)| !g).for_each(|(x, _)| *x = f64::NAN),
                _ => {}
            }
        }
        let tokens = self.tokenize(&dirty);
        self.check_token_values("NaN at masked places", &tokens);
        let order: Vec<usize> = (0..tokens.len()).collect();
        let [before, after] = [self.tokenize(&clean), tokens].map(only_valid);
        same_rows("NaN at masked places", &tokens_bits(&after), &tokens_bits(&before), &order);
    }

    fn nothing_measured_means_no_valid_token(&self) {
        let mut arrays = self.prepare(self.case.objects, Mode::Evaluate);
        if let Values::U8(valid) = &mut arrays.valid.values {
            valid.fill(0);
        }
        let valid = flat_f64(&self.tokenize(&arrays).valid);
        assert!(valid.iter().all(|v| *v == 0.0), "a token without one valid value is valid");
    }

    fn reconstruction_is_as_good_as_stated(&self) {
        let arrays = self.prepare(self.case.objects, Mode::Evaluate);
        let like = self.tokenizer.learns().then_some(&arrays);
        let back = self.tokenizer.reconstruct(&self.tokenize(&arrays), like, &Forward::evaluate());
        let back = back.unwrap_or_else(|e| panic!("reconstruct: {e}"));
        let (Some(limit), Some(back)) = (self.case.reconstruction, &back) else {
            assert_eq!(self.case.reconstruction.is_some(), back.is_some(), "`reconstruction` of the case is wrong");
            return;
        };
        back.check("test", &self.spec).unwrap_or_else(|e| panic!("reconstruct: {e}"));
        assert_eq!(back.present, arrays.present, "reconstruct keeps `present`");
        for field in self.case.measured {
            let good = measured(&arrays, &self.spec, field);
            let (Ok((shape, a)), Ok((other, b))) = (arrays.f32(field), back.f32(field)) else {
                panic!("reconstruct: `{field}` must be f32 in both");
            };
            assert_eq!(shape, other, "reconstruct: shape of `{field}`");
            for ((a, b), _) in a.iter().zip(b).zip(good).filter(|(_, g)| *g) {
                let error = f64::from((a - b).abs()) / f64::from(a.abs().max(1.0));
                assert!(error <= limit, "reconstruct: `{field}` is {b}, was {a}, error {error:.3e} > {limit:.3e}");
            }
        }
    }
}

/// The tokens with zeros wherever they are not valid, for comparison.
fn only_valid(tokens: Tokens) -> Tokens {
    let keep = |tensor: &Tensor| -> candle_core::Result<Tensor> {
        let mut mask = tokens.valid.clone();
        if tensor.dims().len() == 3 {
            mask = mask.unsqueeze(2)?;
        }
        mask.broadcast_as(tensor.shape())?.where_cond(tensor, &tensor.zeros_like()?)
    };
    let kept = |tensor: &Tensor| keep(tensor).unwrap_or_else(|e| panic!("{e}"));
    Tokens {
        values: match &tokens.values {
            TokenValues::Patches(v) => TokenValues::Patches(kept(v)),
            TokenValues::Codes(v) => TokenValues::Codes(kept(v)),
        },
        valid: tokens.valid.clone(),
        coordinates: kept(&tokens.coordinates),
        weights: tokens.weights.as_ref().map(kept),
        present: tokens.present.clone(),
    }
}
