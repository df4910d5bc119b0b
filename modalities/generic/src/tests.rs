//! `windows` through the conformance suite over toy modalities, values by hand, and masks of all shapes.

use arrow_schema::{DataType, Field};
use candle_core::Device;
use panchroma_core::{
    Array, ArrayField, Arrays, ArraysSpec, Column, Descriptor, Encoding, Forward, Modality, Parameters, PrepareContext,
    Registry, Result, Rows, Section, TokenKind, TokenValues, Tokenizer, TokenizerContext, Tokens, ValueType, Values,
};
use panchroma_testing::{Case, Objects, conformance, tokenizer_descriptor};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const LONGEST: usize = 7;

/// Lists `time`, `a` and `b`: `flux` is `[L]` of `a`, or `[L, C]` of both. Where `a` is no number nothing was measured.
struct Toy {
    channels: usize,
    spec: ArraysSpec,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn line() -> ArraysSpec {
    spec(&[("flux", &["L"], "mJy"), ("time", &["L"], "day")], &["L"], &[("L", LONGEST)])
}

fn grid() -> ArraysSpec {
    spec(&[("time", &["L"], "day"), ("flux", &["L", "C"], "mJy")], &["L"], &[("L", LONGEST), ("C", 2)])
}

fn spec(
    fields: &[(&'static str, &'static [&'static str], &str)],
    valid_axes: &'static [&'static str],
    sizes: &[(&'static str, usize)],
) -> ArraysSpec {
    let field = |(name, axes, unit): &(&'static str, &'static [&'static str], &str)| ArrayField {
        name,
        axes,
        unit: (*unit).to_owned(),
        values: ValueType::F32,
    };
    ArraysSpec { fields: fields.iter().map(field).collect(), valid_axes, sizes: sizes.to_vec(), labels: Vec::new() }
}

impl Modality for Toy {
    fn columns(&self) -> Vec<Column> {
        ["time", "a", "b"].map(|name| Column::number(name).list()).into()
    }
    fn spec(&self) -> ArraysSpec {
        self.spec.clone()
    }
    fn prepare(&self, rows: &Rows, _context: &PrepareContext<'_>) -> Result<Arrays> {
        let [time, a, b] = ["time", "a", "b"].map(|name| rows.ragged_f32(name));
        let (time, bands) = (time?, [a?, b?]);
        let own: Vec<usize> = (0..rows.len()).map(|i| bands[0].row(i).len().min(LONGEST)).collect();
        let l = own.iter().copied().max().unwrap_or(0);
        let places = || (0..rows.len()).flat_map(|i| (0..l).map(move |k| (i, k)));
        let at = |list: &[f32], k: usize| list.get(k).copied().filter(|v| v.is_finite());
        let good = |(i, k): (usize, usize)| bands[..self.channels].iter().all(|band| at(band.row(i), k).is_some());
        let flux = places()
            .flat_map(|(i, k)| bands[..self.channels].iter().map(move |band| at(band.row(i), k).unwrap_or(0.0)));
        let shape: Vec<usize> =
            [rows.len(), l].into_iter().chain((self.channels > 1).then_some(self.channels)).collect();
        let times = places().map(|(i, k)| at(time.row(i), k).unwrap_or(-1.0)).collect();
        Ok(Arrays {
            present: bands[0].present.clone(),
            valid: Array::new(&[rows.len(), l], Values::U8(places().map(|p| u8::from(good(p))).collect()))?,
            fields: BTreeMap::from([
                ("flux".into(), Array::f32(&shape, flux.collect())?),
                ("time".into(), Array::f32(&[rows.len(), l], times)?),
            ]),
        })
    }
}

inventory::submit! { Descriptor::<dyn Modality> {
    name: "toy_line", summary: "axes [L]", origin: "tests", example: "",
    schema: || schemars::schema_for!(Nothing),
    build: |section, _| section.read::<Nothing>().map(|_| Box::new(Toy { channels: 1, spec: line() }) as _),
} }
inventory::submit! { Descriptor::<dyn Modality> {
    name: "toy_grid", summary: "axes [L, C]", origin: "tests", example: "",
    schema: || schemars::schema_for!(Nothing),
    build: |section, _| section.read::<Nothing>().map(|_| Box::new(Toy { channels: 2, spec: grid() }) as _),
} }

fn objects(list: &Value) -> Objects {
    let item = Arc::new(Field::new("element", DataType::Float64, true));
    let field = |name: &str| Field::new(name, DataType::List(item.clone()), true);
    Objects::new(list, ["time", "a", "b"].map(field).into())
}

fn some() -> Objects {
    objects(&json!([
        {"object_id": "a", "time": [0.0, 1.0, 2.0, 3.0, 4.0], "a": [1.0, 2.0, 3.0, null, 5.0], "b": [6.0, 7.0, 8.0, 9.0, "NaN"]},
        {"object_id": "none"},
        {"object_id": "b", "time": [10.0, 12.0], "a": [-1.0, -2.0], "b": [0.0, 0.5]},
        {"object_id": "bad", "time": [10.0, 12.0], "a": [null, "inf"], "b": [0.0, 0.5]},
    ]))
}

#[test]
fn windows_keep_the_contract() {
    let by_time = "coordinates = [{ field = \"time\", shortest = 1.0, longest = 40.0 }]";
    for modality in ["kind = \"toy_line\"", "kind = \"toy_grid\""] {
        for length in [1, 2, 3, LONGEST] {
            for coordinates in ["", by_time] {
                let tokenizer = format!("kind = \"windows\"\nfield = \"flux\"\nlength = {length}\n{coordinates}");
                conformance(&Case {
                    modality,
                    tokenizer: &tokenizer,
                    objects: &some(),
                    measured: &["flux", "time"],
                    reconstruction: None,
                });
            }
        }
    }
}

#[test]
fn the_descriptor_is_true() {
    let tokens = tokenizer_descriptor("windows", &line()).spec();
    // 7 entries in windows of 4: 4 values and 4 flags.
    assert_eq!((tokens.kind, tokens.max_tokens), (TokenKind::Patches { width: 8 }, 2));
    assert_eq!((tokens.coordinates[0].name.as_ref(), tokens.coordinates[0].unit.as_ref()), ("time", "day"));
    let encoding = Encoding::Fourier { shortest: 1.0, longest: 1000.0, frequencies: 16 };
    assert_eq!(tokens.coordinates[0].encoding, encoding);
}

fn build(toml: &str, arrays: &ArraysSpec) -> Result<Box<dyn Tokenizer>> {
    let section = Section::from_toml("modality.x.tokenizer", &format!("kind = \"windows\"\n{toml}"))?;
    let parameters = Parameters::new(0, &Device::Cpu);
    let context = TokenizerContext { modality: "x", arrays, parameters: &parameters };
    Registry::linked()?.tokenizers.build(&section, &context)
}

fn flat(tokens: &Tokens) -> Result<Vec<f32>> {
    let (TokenValues::Patches(values) | TokenValues::Codes(values)) = &tokens.values;
    Ok(values.flatten_all()?.to_vec1()?)
}

/// Arrays of one object with one field `x`.
fn one(shape: &[usize], values: Values, valid_shape: &[usize], valid: Vec<u8>) -> Result<Arrays> {
    Ok(Arrays {
        present: vec![true],
        valid: Array::new(valid_shape, Values::U8(valid))?,
        fields: BTreeMap::from([("x".into(), Array::new(shape, values)?)]),
    })
}

#[test]
fn a_token_holds_values_then_flags_and_stands_at_the_mean_of_what_was_measured() -> Result<()> {
    let toml = "field = \"flux\"\nlength = 2\nscale = 10.0\n\
                coordinates = [{ field = \"time\", shortest = 1.0, longest = 40.0 }]";
    let windows = build(toml, &grid())?;
    let toy = Toy { channels: 2, spec: grid() };
    let context = PrepareContext { mode: panchroma_core::Mode::Evaluate, seed: 0, epoch: 0, modality: "x" };
    let arrays = toy.prepare(&some().select(&[0, 3]).rows(), &context)?;
    let tokens = windows.tokenize(&arrays, &Forward::evaluate())?;
    // Entries 3 and 4 of object `a` lack a band, so that the second token has entry 2 alone and the third nothing.
    assert_eq!(tokens.valid.to_vec2::<u8>()?, [[1, 1, 0], [0, 0, 0]]);
    let mut expected = vec![0.1, 0.6, 0.2, 0.7, 1.0, 1.0, 1.0, 1.0];
    expected.extend([0.3, 0.8, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    expected.resize(2 * 3 * 8, 0.0);
    assert_eq!(flat(&tokens)?, expected);
    assert_eq!(tokens.coordinates.flatten_all()?.to_vec1::<f32>()?, [0.5, 2.0, 0.0, 0.0, 0.0, 0.0]);
    // Masked training is scored on values that were measured.
    let weights = tokens.weights.expect("weights").flatten_all()?.to_vec1::<f32>()?;
    assert_eq!(weights[..16], [1., 1., 1., 1., 0., 0., 0., 0., 1., 1., 0., 0., 0., 0., 0., 0.]);
    Ok(())
}

#[test]
fn without_coordinates_tokens_are_numbered_and_the_field_is_the_first() -> Result<()> {
    let windows = build("length = 2", &line())?;
    let coordinates = windows.spec().coordinates;
    assert_eq!(coordinates[0].name, panchroma_core::tokens::INDEX);
    assert_eq!(coordinates[0].encoding, Encoding::Category { size: 4 });
    let toy = Toy { channels: 1, spec: line() };
    let context = PrepareContext { mode: panchroma_core::Mode::Evaluate, seed: 0, epoch: 0, modality: "x" };
    let tokens = windows.tokenize(&toy.prepare(&some().rows(), &context)?, &Forward::evaluate())?;
    assert_eq!(tokens.coordinates.get(2)?.flatten_all()?.to_vec1::<f32>()?, [0.0, 1.0, 2.0]);
    assert_eq!(tokens.valid.to_vec2::<u8>()?, [[1, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 0]]);
    Ok(())
}

#[test]
fn unknown_coordinates_are_nan() -> Result<()> {
    let mut arrays = one(&[1, 2], Values::F32(vec![1.0, 2.0]), &[1, 2], vec![1, 1])?;
    arrays.fields.insert("t".into(), Array::new(&[1, 2], Values::F64(vec![f64::NAN, 59_000.25]))?);
    let spec = spec(&[("x", &["L"], ""), ("t", &["L"], "day")], &["L"], &[("L", 2)]);
    let windows = build("coordinates = [{ field = \"t\", shortest = 1.0, longest = 9.0 }]", &spec)?;
    let tokens = windows.tokenize(&arrays, &Forward::evaluate())?;
    let t = tokens.coordinates.flatten_all()?.to_vec1::<f32>()?;
    assert!(t[0].is_nan() && t[1] == 59_000.25, "{t:?}");
    Ok(())
}

/// Flags of a field `x` of axes [L = 2, C = 3], actual or largest, for a mask of any axes.
fn flags(axes: &'static [&'static str], shape: &[usize], valid: &[u8]) -> Result<Vec<f32>> {
    let spec = spec(&[("x", &["L", "C"], "")], axes, &[("L", 2), ("C", 3)]);
    let windows = build("length = 2", &spec)?;
    let tokens =
        windows.tokenize(&one(&[1, 2, 3], Values::F32(vec![1.0; 6]), shape, valid.to_vec())?, &Forward::evaluate())?;
    Ok(flat(&tokens)?[6..].to_vec())
}

#[test]
fn masks_of_all_some_or_no_axes_are_spread_over_the_values() -> Result<()> {
    assert_eq!(flags(&["L", "C"], &[1, 2, 3], &[1, 0, 1, 0, 1, 1])?, [1., 0., 1., 0., 1., 1.]);
    assert_eq!(flags(&["C", "L"], &[1, 3, 2], &[1, 0, 0, 1, 1, 1])?, [1., 0., 1., 0., 1., 1.]);
    assert_eq!(flags(&["L"], &[1, 2], &[0, 1])?, [0., 0., 0., 1., 1., 1.]);
    assert_eq!(flags(&["C"], &[1, 3], &[1, 0, 1])?, [1., 0., 1., 1., 0., 1.]);
    assert_eq!(flags(&[], &[1], &[1])?, [1.; 6]);
    assert_eq!(flags(&[], &[1], &[0])?, [0.; 6]);
    Ok(())
}

#[test]
fn what_is_shorter_than_promised_is_padded() -> Result<()> {
    let spec = spec(&[("x", &["L", "Y", "X"], "")], &["L", "Y", "X"], &[("L", 3), ("Y", 2), ("X", 3)]);
    let windows = build("length = 2", &spec)?;
    let arrays = one(&[1, 1, 2, 2], Values::U8(vec![1, 2, 3, 4]), &[1, 1, 2, 2], vec![1; 4])?;
    let tokens = windows.tokenize(&arrays, &Forward::evaluate())?;
    tokens.check("x", &windows.spec())?;
    let mut expected = vec![1., 2., 0., 3., 4., 0., 0., 0., 0., 0., 0., 0.];
    expected.extend([1., 1., 0., 1., 1., 0., 0., 0., 0., 0., 0., 0.]);
    assert_eq!(flat(&tokens)?, expected);
    Ok(())
}

#[test]
fn a_field_without_axes_is_one_token() -> Result<()> {
    let windows = build("scale = 2.0", &spec(&[("x", &[], "")], &[], &[]))?;
    let tokens = windows.tokenize(&one(&[1], Values::F64(vec![3.0]), &[1], vec![1])?, &Forward::evaluate())?;
    assert_eq!(flat(&tokens)?, [1.5, 1.0]);
    Ok(())
}

#[test]
fn two_axes_of_one_name_are_told_apart() -> Result<()> {
    let windows = build("", &spec(&[("x", &["L", "L"], "")], &["L", "L"], &[("L", 2)]))?;
    let arrays = one(&[1, 2, 2], Values::U32(vec![1, 2, 3, 4]), &[1, 2, 2], vec![1, 0, 1, 1])?;
    let tokens = windows.tokenize(&arrays, &Forward::evaluate())?;
    assert_eq!(flat(&tokens)?, [1., 0., 1., 0., 3., 4., 1., 1.]);
    Ok(())
}

#[test]
fn what_does_not_fit_the_modality_is_refused() {
    let image = spec(&[("pixels", &["C", "Y"], ""), ("seeing", &["C"], "")], &["C", "Y"], &[("C", 3), ("Y", 4)]);
    let unsized_axis = spec(&[("x", &["L"], "")], &["L"], &[]);
    for (toml, arrays, says) in [
        ("field = \"seeing\"", &image, "all axes of the mask, [C, Y]: `seeing` has [C]"),
        ("field = \"flx\"", &line(), "`flx`"),
        ("length = 0", &line(), "expected 1 to 7"),
        ("length = 8", &line(), "expected 1 to 7, the entries of `flux`, got 8"),
        ("scale = 0.0", &line(), "above 0"),
        ("", &unsized_axis, "no length of axis `L`"),
        ("", &spec(&[], &[], &[]), "no fields"),
        ("coordinates = [{ field = \"tim\", shortest = 1.0, longest = 2.0 }]", &line(), "`tim`"),
        ("coordinates = [{ field = \"pixels\", shortest = 1.0, longest = 2.0 }]", &image, "of axes [C]"),
        ("coordinates = [{ field = \"time\", shortest = 0.0, longest = 2.0 }]", &line(), "above 0"),
        ("coordinates = [{ field = \"time\", shortest = 2.0, longest = 2.0 }]", &line(), "more than `shortest`"),
        ("coordinates = [{ field = \"time\", shortest = 1.0, longest = 2.0, frequencies = 0 }]", &line(), "1 to 256"),
        (
            "coordinates = [{ field = \"time\", shortest = 1.0, longest = 2.0 }, { field = \"time\", shortest = 1.0, longest = 2.0 }]",
            &line(),
            "each field once",
        ),
    ] {
        let error = build(toml, arrays).err().unwrap_or_else(|| panic!("accepted: {toml}"));
        assert_eq!(error.exit_code(), 2, "{error}");
        assert!(error.to_string().contains(says), "{toml}: {error}");
    }
}

#[test]
fn arrays_other_than_promised_are_an_error() -> Result<()> {
    let windows = build("", &spec(&[("x", &["L"], "")], &["L"], &[("L", 2)]))?;
    for (shape, count, valid) in [(&[1, 3][..], 3, &[1, 3][..]), (&[1, 2], 2, &[1, 1]), (&[1, 2, 1], 2, &[1, 2])] {
        let size = valid.iter().product();
        let arrays = one(shape, Values::F32(vec![0.0; count]), valid, vec![1; size])?;
        let error = windows.tokenize(&arrays, &Forward::evaluate()).expect_err("refused").to_string();
        assert!(error.contains("tokenizer `windows`"), "{error}");
    }
    Ok(())
}
