//! A toy plugin with one component of each kind, and wrong ones that the tests have to find out.

use panchroma_sdk::prelude::*;
use panchroma_sdk::testing::{self, HeadTrial, TokenizerTrial, json};

#[derive(Deserialize, JsonSchema)]
#[serde(crate = "panchroma_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "panchroma_sdk::schemars")]
struct Config {
    /// Most values of an object.
    longest: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { longest: 4 }
    }
}

/// Lists of numbers, as they are.
struct Series {
    longest: usize,
}

impl Modality for Series {
    const NAME: &'static str = "series";
    const SUMMARY: &'static str = "lists of numbers";
    const RANDOM: bool = true;
    type Config = Config;

    fn new(config: Config, _request: &Request) -> Result<Self> {
        if config.longest == 0 {
            return Err(Error::invalid("`longest` is above 0"));
        }
        Ok(Self { longest: config.longest })
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::number("u").list(),
            Column::number("when").f64().optional(),
            Column::flag("good").optional(),
            Column::text("band").optional(),
            Column::number("image").list().list().optional(),
        ]
    }

    fn arrays(&self) -> ArraysSpec {
        ArraysSpec::new()
            .axis("place", self.longest)
            .f32("u", "Jy", &["place"])
            .f64("when", "d", &[])
            .u32("band", "", &[])
            .valid(&["place"])
    }

    fn plan(&self, rows: &Rows, lengths: &mut [usize]) -> Result<()> {
        let u = rows.list_f32("u")?;
        let longest = (0..rows.len()).map(|i| u.row(i).len()).max().unwrap_or(1);
        lengths[0] = longest.clamp(1, self.longest);
        Ok(())
    }

    fn prepare(&self, rows: &Rows, arrays: &mut ArraysMut) -> Result<()> {
        let (u, when, band) = (rows.list_f32("u")?, rows.f64("when")?, rows.text("band")?);
        let (good, image) = (rows.flag("good")?, rows.nested_f32("image")?);
        let (mut out, mut valid, present) = (arrays.f32("u")?, arrays.valid()?, arrays.present()?);
        let (mut days, mut letters) = (arrays.f64("when")?, arrays.u32("band")?);
        for i in 0..rows.len() {
            if !u.present(i) || good.row(i) == Some(0) {
                continue;
            }
            if u.row(i).first() == Some(&-1.0) {
                return Err(Error::row(i, "u begins with -1"));
            }
            assert!(u.row(i).first() != Some(&-2.0), "u begins with -2");
            present[i] = 1;
            days.row_mut(i).fill(when.row(i).unwrap_or(0.0));
            letters.row_mut(i).fill(band.row(i).unwrap_or("").len() as u32);
            // The second row of the image, if there is one, is added to what is measured.
            let extra: f32 = image.row(i).list(1).values().iter().sum();
            let noise = rows.random(i).map_or(0.0, |r| (r % 16) as f32);
            let places = out.row_mut(i).iter_mut().zip(valid.row_mut(i));
            for ((to, valid), from) in places.zip(u.row(i)).filter(|(_, u)| u.is_finite()) {
                *to = from + extra + if rows.mode() == Mode::Train { noise } else { 0.0 };
                *valid = 1;
            }
        }
        Ok(())
    }
}

fn spec() -> ArraysSpec {
    Series { longest: 4 }.arrays()
}

/// Rounds to integers.
struct Rounded;

impl Codec for Rounded {
    const NAME: &'static str = "rounded";
    const SUMMARY: &'static str = "values rounded to integers";
    const DECODES: bool = true;
    type Config = NoConfig;

    fn new(_config: NoConfig, request: &Request) -> Result<Self> {
        request.arrays()?.field_named("u")?;
        Ok(Self)
    }

    fn vocabulary(&self) -> u32 {
        10
    }

    fn max_tokens(&self) -> usize {
        4
    }

    fn coordinates(&self) -> Vec<Coordinate> {
        vec![Coordinate::waves("place", "", 1.0, 8.0, 4), Coordinate::category("half", 2).metadata()]
    }

    fn plan(&self, arrays: &Arrays) -> Result<usize> {
        Ok(arrays.f32("u")?.width())
    }

    fn encode(&self, arrays: &Arrays, tokens: &mut TokensMut) -> Result<()> {
        let (u, measured) = (arrays.f32("u")?, arrays.valid());
        let (mut codes, mut valid, mut places) = (tokens.codes()?, tokens.valid()?, tokens.coordinates()?);
        for i in 0..arrays.len() {
            valid.row_mut(i).copy_from_slice(measured.row(i));
            for (t, u) in u.row(i).iter().enumerate().filter(|(t, _)| measured.row(i)[*t] == 1) {
                codes.row_mut(i)[t] = u.round() as u32;
                places.row_mut(i)[2 * t] = t as f32;
            }
        }
        Ok(())
    }

    fn decode(&self, tokens: &Tokens, like: Option<&Arrays>, arrays: &mut ArraysMut) -> Result<()> {
        let (mut u, mut valid, present) = (arrays.f32("u")?, arrays.valid()?, arrays.present()?);
        let (mut days, mut letters) = (arrays.f64("when")?, arrays.u32("band")?);
        days.values_mut().fill(0.0);
        letters.values_mut().fill(like.map_or(0, |l| l.len() as u32));
        for i in 0..tokens.len() {
            present[i] = u8::from(tokens.present(i));
            for (t, code) in tokens.codes().row(i).iter().enumerate() {
                u.row_mut(i)[t] = *code as f32;
                valid.row_mut(i)[t] = tokens.valid().row(i)[t];
            }
        }
        Ok(())
    }
}

/// `y = w x²`, with or without a mistake in its gradient.
struct Squares<const WRONG: bool>;

impl<const WRONG: bool> Tokenizer for Squares<WRONG> {
    const NAME: &'static str = "squares";
    const SUMMARY: &'static str = "squares of values";
    type Config = NoConfig;

    fn new(_config: NoConfig, _request: &Request) -> Result<Self> {
        Ok(Self)
    }

    fn max_tokens(&self) -> usize {
        4
    }

    fn width(&self) -> usize {
        1
    }

    fn outputs(&self) -> usize {
        2
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![Parameter::new("w", &[2], Init::Uniform(1.0))]
    }

    fn run(&self, arrays: &Arrays, tokens: &mut TokensMut) -> Result<()> {
        let u = arrays.f32("u")?;
        let (mut patches, mut valid) = (tokens.patches()?, tokens.valid()?);
        for i in 0..arrays.len() {
            let length = u.width();
            patches.row_mut(i)[..length].copy_from_slice(u.row(i));
            valid.row_mut(i)[..length].copy_from_slice(arrays.valid().row(i));
        }
        Ok(())
    }

    fn forward(&self, _: &Compute, x: &Array<f32>, p: &Parameters, y: &mut ArrayMut<f32>) -> Result<()> {
        let w = p.get("w")?.values();
        for i in 0..x.len() {
            let square = x.row(i)[0] * x.row(i)[0];
            y.row_mut(i).copy_from_slice(&[w[0] * square, w[1] * square]);
        }
        Ok(())
    }

    fn backward(
        &self,
        _: &Compute,
        x: &Array<f32>,
        p: &Parameters,
        from: &Array<f32>,
        gradients: &mut Gradients,
    ) -> Result<()> {
        let w = p.get("w")?.values();
        let (mut to_x, mut to_w) = (gradients.input(0)?, gradients.parameter("w")?);
        let factor = if WRONG { 1.0 } else { 2.0 };
        for i in 0..x.len() {
            let (x, from) = (x.row(i)[0], from.row(i));
            to_x.row_mut(i)[0] += factor * x * (w[0] * from[0] + w[1] * from[1]);
            to_w.values_mut()[0] += x * x * from[0];
            to_w.values_mut()[1] += x * x * from[1];
        }
        Ok(())
    }
}

/// Squared error of a linear prediction; `SET` sets gradients where it should add.
struct Line<const SET: bool> {
    width: usize,
}

impl<const SET: bool> Head for Line<SET> {
    const NAME: &'static str = "line";
    const SUMMARY: &'static str = "a line";
    type Config = NoConfig;

    fn new(_config: NoConfig, request: &Request) -> Result<Self> {
        Ok(Self { width: request.width() })
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::number("z").optional()]
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![Parameter::matrix("w", 1, self.width)]
    }

    fn outputs(&self) -> usize {
        1
    }

    fn forward(
        &self,
        _: &Compute,
        input: &HeadInput,
        parameters: &Parameters,
        predictions: &mut ArrayMut<f32>,
    ) -> Result<Option<f32>> {
        let (x, z, w) = (input.vectors(0)?, input.rows().f32("z")?, parameters.get("w")?.values());
        let (mut loss, mut count) = (0.0, 0.0);
        for i in 0..input.len() {
            let y: f32 = x.row(i).iter().zip(w).map(|(x, w)| x * w).sum();
            predictions.row_mut(i)[0] = y;
            if let Some(z) = z.row(i).filter(|_| input.present(0, i)) {
                loss += (y - z) * (y - z);
                count += 1.0;
            }
        }
        Ok((count > 0.0).then_some(loss / count))
    }

    fn backward(&self, _: &Compute, input: &HeadInput, p: &Parameters, gradients: &mut Gradients) -> Result<()> {
        let (x, z, w) = (input.vectors(0)?, input.rows().f32("z")?, p.get("w")?.values());
        let (mut to_x, mut to_w) = (gradients.input(0)?, gradients.parameter("w")?);
        let counts = |i: usize| z.row(i).filter(|_| input.present(0, i));
        let count = (0..input.len()).filter_map(counts).count() as f32;
        if SET {
            to_w.values_mut().fill(0.0);
        }
        for i in 0..input.len() {
            let Some(z) = counts(i) else { continue };
            let y: f32 = x.row(i).iter().zip(w).map(|(x, w)| x * w).sum();
            let slope = 2.0 * (y - z) / count;
            for (d, (x, w)) in x.row(i).iter().zip(w).enumerate() {
                to_x.row_mut(i)[d] += slope * w;
                to_w.values_mut()[d] += slope * x;
            }
        }
        Ok(())
    }
}

panchroma_sdk::plugin! {
    name: "toy",
    version: env!("CARGO_PKG_VERSION"),
    license: "MIT",
    publisher: "",
    modalities: [Series],
    codecs: [Rounded],
    tokenizers: [Squares<false>],
    heads: [Line<false>],
}

#[test]
fn the_plugin_names_its_components() {
    assert_eq!(testing::check(panchroma_parts()).unwrap(), ["series", "rounded", "squares", "line"]);
}

#[test]
fn rows_become_arrays() {
    let rows = testing::Rows::json(json!([
        { "u": [1.0, null, 3.0], "when": 59000.125, "band": "ab", "image": [[1.0], [2.0, 3.0]] },
        { "u": [], "good": false },
        {},
        { "u": ["inf"], "good": true },
    ]));
    let arrays = testing::prepare::<Series>("{}", &rows.unwrap()).unwrap();
    assert_eq!(arrays.lengths(), [3]);
    assert_eq!(arrays.present(), [1, 0, 0, 1]);
    assert_eq!(arrays.valid(), [1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    // 5 is the sum of the image's second row.
    assert_eq!(arrays.row_f32("u", 0).unwrap(), [6.0, 0.0, 8.0]);
    assert_eq!(arrays.f64("when").unwrap()[0], 59000.125);
    assert_eq!(arrays.field::<u32>("band").unwrap()[0], 2);
}

#[test]
fn random_numbers_are_for_training() {
    let rows = testing::Rows::new().column("u", [[1.0], [1.0]]);
    let train = testing::prepare::<Series>("{}", &rows.clone().train(7, 0)).unwrap().f32("u").unwrap();
    let later = testing::prepare::<Series>("{}", &rows.clone().train(7, 1)).unwrap().f32("u").unwrap();
    assert_ne!(train, later);
    assert_eq!(testing::prepare::<Series>("{}", &rows).unwrap().f32("u").unwrap(), [1.0, 1.0]);
}

#[test]
fn errors_name_the_row_and_panics_are_caught() {
    let rows = testing::Rows::new().column("u", [1.0, -1.0].map(|u| vec![u]));
    let error = testing::prepare::<Series>("{}", &rows).unwrap_err();
    assert_eq!(error, Error::row(1, "u begins with -1"));
    let rows = testing::Rows::new().column("u", [vec![-2.0]]);
    let error = testing::prepare::<Series>("{}", &rows).unwrap_err();
    assert!(error.is_panic(), "{error}");
    assert!(error.message().starts_with("u begins with -2 (at ") && error.message().contains("toy.rs:"), "{error}");
}

#[test]
fn configs_are_refused_with_a_reason() {
    let rows = testing::Rows::new().column("u", [vec![1.0]]);
    let error = |config| testing::prepare::<Series>(config, &rows).unwrap_err().to_string();
    assert_eq!(error(r#"{"longest": 0}"#), "`longest` is above 0");
    assert!(error(r#"{"shortest": 0}"#).contains("unknown field `shortest`"));
    let other = testing::Arrays::new(&ArraysSpec::new().f32("v", "", &[]), 1, &[]).unwrap();
    let error = testing::encode::<Rounded>("{}", &other).unwrap_err().to_string();
    assert_eq!(error, "the modality has no field `u`: it has `v`");
}

#[test]
fn a_column_that_is_missing_has_to_be_optional() {
    let error = testing::prepare::<Series>("{}", &testing::Rows::new().column("v", [1.0])).unwrap_err();
    assert!(error.message().contains("no column `u`"), "{error}");
}

#[test]
fn texts_that_are_not_utf8_are_refused_by_row() {
    let rows = testing::Rows::new()
        .column("u", [vec![1.0], vec![1.0]])
        .column("band", [testing::Value::from("r"), testing::Value::Text(vec![0xff, 0xfe])]);
    let error = testing::prepare::<Series>("{}", &rows).unwrap_err();
    assert_eq!(error, Error::row(1, "column `band` isn't UTF-8"));
}

#[test]
fn codes_come_back() {
    let rows = testing::Rows::new().column("u", [Some(vec![1.2, f64::NAN, 8.9]), None]);
    let arrays = testing::prepare::<Series>("{}", &rows).unwrap();
    let tokens = testing::encode::<Rounded>("{}", &arrays).unwrap();
    assert_eq!(tokens.length(), 3);
    assert_eq!(tokens.row_codes(0), [1, 9]);
    assert!(tokens.row_codes(1).is_empty());
    assert_eq!(tokens.coordinates()[4], 2.0);
    assert!(tokens.coordinates()[1].is_nan());
    let back = testing::decode::<Rounded>("{}", arrays.spec(), &tokens, Some(&arrays)).unwrap();
    assert_eq!(back.f32("u").unwrap(), [1.0, 0.0, 9.0, 0.0, 0.0, 0.0]);
    assert_eq!(back.present(), [1, 0]);
    let typed = testing::Tokens::codes_of(&[&[5, 6, 7, 8]]);
    assert_eq!(
        testing::decode::<Rounded>("{}", &spec(), &typed, None).unwrap().f32("u").unwrap(),
        [5.0, 6.0, 7.0, 8.0]
    );
}

#[test]
fn codes_are_below_the_vocabulary() {
    let rows = testing::Rows::new().column("u", [vec![12.0]]);
    let arrays = testing::prepare::<Series>("{}", &rows).unwrap();
    let error = testing::encode::<Rounded>("{}", &arrays).unwrap_err();
    assert_eq!(error, Error::row(0, "the code of token 0 isn't below 10"));
}

#[test]
fn gradients_of_a_tokenizer_are_compared_with_differences() {
    let rows = testing::Rows::new().column("u", [vec![0.5, -1.5], vec![2.0]]);
    let arrays = testing::prepare::<Series>("{}", &rows).unwrap();
    let mut right = TokenizerTrial::new::<Squares<false>>("{}", &spec()).unwrap();
    right.check_gradients(&arrays).unwrap();
    right.set("w", &[1.0, 3.0]).unwrap();
    assert_eq!(right.forward(&[2.0]).unwrap(), [4.0, 12.0]);
    let wrong = TokenizerTrial::new::<Squares<true>>("{}", &spec()).unwrap();
    let error = wrong.check_gradients(&arrays).unwrap_err();
    assert!(error.message().contains("gradient of `patches` at 0"), "{error}");
}

#[test]
fn gradients_of_a_head_are_compared_with_differences() {
    let rows = testing::Rows::new().column("z", [Some(1.0), None, Some(-0.5)]);
    let mut right = HeadTrial::new::<Line<false>>("{}", 3, &["a"]).unwrap();
    right.check_gradients(&rows).unwrap();
    right.set("w", &[1.0, 2.0, 0.0]).unwrap();
    let vectors = vec![vec![1.0, 1.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0]];
    // Row 1 has no target and row 2 is absent: (3 - 1)² is left.
    let outcome = right.forward(&vectors, &rows).unwrap();
    assert_eq!((outcome.loss, outcome.predictions), (Some(4.0), vec![3.0, 0.5, 0.0]));
    let none = right.forward(&[vec![1.0; 3]], &testing::Rows::json(json!([{}])).unwrap()).unwrap();
    assert_eq!((none.loss, none.predictions), (None, vec![3.0]));
    let wrong = HeadTrial::new::<Line<true>>("{}", 3, &["a"]).unwrap();
    let error = wrong.check_gradients(&rows).unwrap_err();
    assert_eq!(error.message(), "gradient of `w` at 0 isn't added to what stands there");
}

#[test]
fn the_entry_gives_one_table_to_hosts_that_understand_it() {
    use panchroma_sdk::abi;
    assert!(panchroma_plugin(2 << 16).is_null());
    assert!(panchroma_plugin(0).is_null());
    let table = panchroma_plugin(abi::ABI);
    assert!(!table.is_null());
    assert_eq!(table, panchroma_plugin(abi::ABI + 5));
    // SAFETY: the table is never freed, and extensions are lists of components.
    let names = [abi::TOKENIZERS, abi::HEADS].map(|id| unsafe {
        let list = (*table).extension.unwrap()(id.as_ptr()).cast::<abi::Components>();
        assert_eq!((*list).count, 1);
        std::ffi::CStr::from_ptr((**(*list).items).name)
    });
    assert_eq!(names, [c"squares", c"line"]);
}

/// Deep lists of everything, counted.
struct Deep;

impl Modality for Deep {
    const NAME: &'static str = "deep";
    const SUMMARY: &'static str = "deep lists";
    type Config = NoConfig;

    fn new(_config: NoConfig, _request: &Request) -> Result<Self> {
        Ok(Self)
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::number("cube").f64().list().list().list(),
            Column::text("tags").list(),
            Column::flag("marks").list().list(),
            Column::number("at.z"),
        ]
    }

    fn arrays(&self) -> ArraysSpec {
        ArraysSpec::new().axis("what", 7).f64("found", "", &["what"])
    }

    fn prepare(&self, rows: &Rows, arrays: &mut ArraysMut) -> Result<()> {
        let (cube, tags, marks) = (rows.nested_f64("cube")?, rows.list_text("tags")?, rows.nested_flag("marks")?);
        let z = rows.f32("at.z")?;
        let (mut found, mut valid, present) = (arrays.f64("found")?, arrays.valid()?, arrays.present()?);
        for i in 0..rows.len() {
            let (all, corner) = (cube.row(i), cube.row(i).list(1).list(0));
            found.row_mut(i).copy_from_slice(&[
                all.len() as f64,
                all.values().iter().sum(),
                corner.values().iter().sum(),
                tags.row(i).iter().map(|t| t.len() as f64).sum(),
                f64::from(marks.row(i).values().iter().sum::<u8>()),
                f64::from(z.row(i).unwrap_or(-1.0)),
                all.list(9).list(9).list(9).values().len() as f64,
            ]);
            present[i] = 1;
            valid.row_mut(i).fill(1);
        }
        Ok(())
    }
}

#[test]
fn deep_lists_are_followed() {
    let rows = testing::Rows::json(json!([
        { "cube": [[[1.0, 2.0], []], [[3.0]]], "tags": ["a", "bc"], "marks": [[true], [false, true]], "at": { "z": 0.5 } },
        { "cube": [], "tags": null, "at": { "z": null } },
        { "cube": [[], [[4.0, 5.0], [6.0]]], "marks": [] },
    ]));
    let arrays = testing::prepare::<Deep>("{}", &rows.unwrap()).unwrap();
    let expected = [
        [2.0, 6.0, 3.0, 3.0, 2.0, 0.5, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0],
        [2.0, 15.0, 9.0, 0.0, 0.0, -1.0, 0.0],
    ];
    assert_eq!(arrays.f64("found").unwrap(), expected.concat());
}

/// Breaks promises, each by its own config.
struct Broken {
    how: String,
    calls: std::sync::atomic::AtomicU32,
}

#[derive(Deserialize, JsonSchema)]
#[serde(crate = "panchroma_sdk::serde")]
#[schemars(crate = "panchroma_sdk::schemars")]
struct How {
    /// Which promise.
    how: String,
}

impl Modality for Broken {
    const NAME: &'static str = "broken";
    const SUMMARY: &'static str = "breaks promises";
    const EXAMPLE: &'static str = "how = \"type\"\nwhy = 1\n";
    type Config = How;

    fn new(config: How, _request: &Request) -> Result<Self> {
        Ok(Self { how: config.how, calls: Default::default() })
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::number("u"); if self.how == "twice" { 2 } else { 1 }]
    }

    fn arrays(&self) -> ArraysSpec {
        let spec = ArraysSpec::new().axis("place", 2).f32("u", "", &["place"]);
        if self.how == "axis" { spec.valid(&["plaice"]) } else { spec }
    }

    fn prepare(&self, rows: &Rows, arrays: &mut ArraysMut) -> Result<()> {
        let calls = self.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut u = arrays.f32("u")?;
        u.values_mut().fill(match self.how.as_str() {
            "infinite" => f32::INFINITY,
            "calls" => calls as f32,
            "neighbours" => rows.len() as f32,
            _ => 0.0,
        });
        match self.how.as_str() {
            "taken" => _ = arrays.f32("u")?,
            "type" => _ = rows.f64("u")?,
            "unknown" => _ = rows.f32("v")?,
            "absent" => arrays.valid()?.values_mut().fill(1),
            _ => {
                arrays.present()?.fill(1);
                arrays.valid()?.values_mut().fill(1);
            }
        }
        Ok(())
    }
}

#[test]
fn examples_have_keys_of_the_config() {
    let parts = panchroma_sdk::border::plugin::Parts::new("a", "1", "MIT", "").modality::<Broken>();
    let error = testing::check(parts).unwrap_err();
    assert_eq!(error.message(), "`broken`: its example has the key `why`, which its config hasn't");
}

#[test]
fn broken_promises_are_found() {
    let rows = testing::Rows::new().column("u", [1.0, 2.0]);
    for (how, expected) in [
        ("infinite", "field `u` is valid and not finite at 0"),
        ("calls", "the same rows gave other bits: field `u` differs"),
        ("neighbours", "a row gave other values on its own: field `u` differs"),
        ("absent", "it is absent, and yet something is valid"),
        ("taken", "`u` was taken before: take each array once, outside of the loop over rows"),
        ("type", "column `u` was asked for as f32 in 0 levels of lists, and read as f64 in 0"),
        ("unknown", "column `v` isn't among those that `columns` asked for"),
        ("twice", "column `u` is asked for twice"),
        ("axis", "mask: no axis is called `plaice`"),
    ] {
        let error = testing::prepare::<Broken>(&format!(r#"{{ "how": "{how}" }}"#), &rows).unwrap_err();
        assert_eq!(error.message(), expected, "{how}");
    }
}

/// Mean squared distance of two modalities' vectors: a head without parameters, columns and predictions.
struct Distance;

impl Head for Distance {
    const NAME: &'static str = "distance";
    const SUMMARY: &'static str = "squared distance of two modalities";
    type Config = NoConfig;

    fn new(_config: NoConfig, request: &Request) -> Result<Self> {
        match request.modalities() {
            [_, _] => Ok(Self),
            all => Err(Error::invalid(format!("two modalities are needed, not {}", all.join(", ")))),
        }
    }

    fn view(&self) -> View {
        View::Isolated
    }

    fn parameters(&self) -> Vec<Parameter> {
        Vec::new()
    }

    fn forward(
        &self,
        _: &Compute,
        input: &HeadInput,
        _: &Parameters,
        predictions: &mut ArrayMut<f32>,
    ) -> Result<Option<f32>> {
        assert_eq!((input.input_count(), predictions.values().len()), (2, 0));
        let (a, b) = (input.vectors(0)?.values(), input.vectors(1)?.values());
        let sum: f32 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
        Ok(Some(sum / input.len() as f32))
    }

    fn backward(&self, _: &Compute, input: &HeadInput, _: &Parameters, gradients: &mut Gradients) -> Result<()> {
        let (a, b) = (input.vectors(0)?.values(), input.vectors(1)?.values());
        let (mut to_a, mut to_b) = (gradients.input(0)?, gradients.input(1)?);
        for (place, (a, b)) in a.iter().zip(b).enumerate() {
            let slope = 2.0 * (a - b) / input.len() as f32;
            to_a.values_mut()[place] += slope;
            to_b.values_mut()[place] -= slope;
        }
        Ok(())
    }
}

#[test]
fn heads_may_see_each_modality_on_its_own() {
    let rows = testing::Rows::json(json!([{}, {}])).unwrap();
    let head = HeadTrial::new::<Distance>("{}", 3, &["image", "spectrum"]).unwrap();
    head.check_gradients(&rows).unwrap();
    let outcome = head.forward(&[vec![1.0; 6], vec![3.0; 6]], &rows).unwrap();
    assert_eq!((outcome.loss, outcome.predictions), (Some(12.0), vec![]));
    let error = HeadTrial::new::<Distance>("{}", 3, &["image"]).err().unwrap();
    assert_eq!(error.message(), "two modalities are needed, not image");
}
