//! The modality and its tokenizer together, on a few small spectra and on real ones.

use arrow_schema::{DataType, Field};
use panchroma_core::data::{Catalogue, DataConfig};
use panchroma_core::sketch::Sketch;
use panchroma_core::{Arrays, Forward, Modality, Mode, PrepareContext, Section, TokenValues};
use panchroma_testing::{Case, Objects, build_modality, build_tokenizer, conformance, fitted};
use serde_json::{Value, json};

const SMALL: &str = "kind = \"spectrum\"\nwavelength_min = 4000\nwavelength_max = 5000\nsamples = 40\n";

fn fields() -> Vec<Field> {
    fields_with("flux", DataType::Float32)
}

/// The fields with another type of one of them.
fn fields_with(other: &str, of_type: DataType) -> Vec<Field> {
    let list = |name: &str, item| {
        let item = if name == other { of_type.clone() } else { item };
        Field::new(name, DataType::new_list(item, true), true)
    };
    let inner = vec![
        list("flux", DataType::Float32),
        list("ivar", DataType::Float32),
        list("lambda", DataType::Float32),
        list("mask", DataType::Boolean),
        list("lsf_sigma", DataType::Float32),
    ];
    vec![Field::new("spectrum", DataType::Struct(inner.into()), true)]
}

/// A spectrum from `from` in steps of `step` Angstrom: slope, one absorption line at 4500 Angstrom.
fn spectrum(from: f64, step: f64, n: usize, brightness: f64, ivar: bool) -> Value {
    let wavelength: Vec<f64> = (0..n).map(|i| from + step * i as f64).collect();
    let flux: Vec<f64> = wavelength
        .iter()
        .map(|w| brightness * (w / 4500.0) * (1.0 - 0.5 * (-((w - 4500.0) / 20.0).powi(2)).exp()))
        .collect();
    let ivar = ivar.then(|| vec![1e4 / brightness.powi(2); n]);
    json!({ "flux": flux, "lambda": wavelength, "ivar": ivar, "mask": vec![false; n] })
}

fn objects() -> Objects {
    let mut flagged = spectrum(4200.0, 4.0, 150, 1e-3, true);
    flagged["mask"] = (0..150).map(|i| i % 50 == 7).collect();
    let list = json!([
        { "object_id": "wide", "spectrum": spectrum(3900.0, 5.0, 260, 1.0, true) },
        { "object_id": "none" },
        { "object_id": "narrow", "spectrum": flagged },
        { "object_id": "coarse", "spectrum": spectrum(3800.0, 60.0, 25, 300.0, false) },
        { "object_id": "elsewhere", "spectrum": spectrum(6000.0, 5.0, 50, 1.0, false) },
        { "object_id": "empty", "spectrum": { "flux": [], "lambda": [], "ivar": [], "mask": [] } },
    ]);
    Objects::new(&list, fields())
}

fn prepare(modality: &dyn Modality, objects: &Objects, mode: Mode) -> panchroma_core::Result<Arrays> {
    modality.prepare(&objects.rows(), &PrepareContext { mode, seed: 1, epoch: 0, modality: "test" })
}

fn flux(arrays: &Arrays, object: usize, channel: usize) -> &[f32] {
    let (shape, values) = arrays.f32("flux").expect("flux");
    &values[(object * shape[1] + channel) * shape[2]..][..shape[2]]
}

#[test]
fn the_contracts_are_kept() {
    let augmented = format!("{SMALL}noise = 0.1\nmask_fraction = 0.3\ntilt = 0.1\n");
    let scaled = format!("{SMALL}channels = [\"continuum\", \"scale\"]\ngrid = \"linear\"\n");
    let own = "kind = \"spectrum\"\nwavelength_min = 4000\nwavelength_max = 5000\nsamples = 210\ngrid = \"own\"\nscale_token = true\n\
               normalise = \"robust\"\ntilt = 0.1\n";
    let standard = format!("{SMALL}normalise = \"standard\"\nscale_token = true\nchannels = [\"normalised\"]\n");
    let shifts = format!("{own}wavelength_unit = \"other\"\n");
    for modality in [SMALL, &augmented, &scaled, own, &standard, &shifts] {
        let told = "width = 16\nmetadata = [\"noise\", \"lsf_sigma\"]";
        for tokenizer in ["width = 16", "width = 10\noverlap = 5\nmask_channel = false", told] {
            conformance(&Case {
                modality,
                tokenizer: &format!("kind = \"slices\"\n{tokenizer}\n"),
                objects: &objects(),
                measured: &["flux"],
                reconstruction: Some(1e-6),
            });
        }
    }
}

#[test]
fn the_descriptors_are_true() {
    let modality = panchroma_testing::modality_descriptor("spectrum");
    let tokenizer = panchroma_testing::tokenizer_descriptor("slices", &modality.spec());
    // 512 samples in windows of 16.
    assert_eq!(tokenizer.spec().max_tokens, 32);
}

#[test]
fn brightness_is_taken_out_and_the_line_stays() {
    let list = json!([
        { "object_id": "bright", "spectrum": spectrum(3900.0, 5.0, 260, 1e6, false) },
        { "object_id": "faint", "spectrum": spectrum(3900.0, 5.0, 260, 1e-17, false) },
    ]);
    let arrays = prepare(build_modality(SMALL).as_ref(), &Objects::new(&list, fields()), Mode::Evaluate).expect("fits");
    for channel in [0, 1] {
        for (a, b) in flux(&arrays, 0, channel).iter().zip(flux(&arrays, 1, channel)) {
            assert!((a - b).abs() < 1e-4, "channel {channel}: {a} and {b}");
        }
    }
    // Sample 21 is the nearest to 4500 A; the line takes half of the flux, the continuum dips a little.
    let (_, wavelength) = arrays.f64("wavelength").expect("wavelength");
    assert!((wavelength[21] - 4510.0).abs() < 15.0, "{}", wavelength[21]);
    let deepest = flux(&arrays, 0, 1).iter().copied().fold(f32::INFINITY, f32::min);
    assert!((-0.5..-0.3).contains(&deepest), "{deepest}");
    // Colour is in the first channel alone.
    let ends = |c: usize| (flux(&arrays, 0, c)[39] - flux(&arrays, 0, c)[0]).abs();
    assert!(ends(0) > 0.2 && ends(1) < 0.12, "{} and {}", ends(0), ends(1));
}

#[test]
fn inverse_variances_follow_the_flux_into_its_unit() {
    let list = json!([
        { "object_id": "a", "spectrum": spectrum(3900.0, 5.0, 260, 1.0, true) },
        { "object_id": "b", "spectrum": spectrum(3900.0, 5.0, 260, 100.0, true) },
    ]);
    let arrays = prepare(build_modality(SMALL).as_ref(), &Objects::new(&list, fields()), Mode::Evaluate).expect("fits");
    let (_, ivar) = arrays.f64("ivar").expect("ivar");
    assert!(ivar[20] > 1e4, "averaging over a bin of 28 Angstrom lowers the variance: {}", ivar[20]);
    for l in 0..40 {
        assert!((ivar[l] / ivar[2 * 40 + l] - 1.0).abs() < 1e-3);
    }
}

#[test]
fn weights_are_relative_and_spare_the_mask() {
    let modality = build_modality(SMALL);
    let tokenizer = build_tokenizer("kind = \"slices\"\nwidth = 16\n", &modality.spec());
    let arrays = prepare(modality.as_ref(), &objects(), Mode::Evaluate).expect("fits");
    let tokens = tokenizer.tokenize(&arrays, &Forward::evaluate()).expect("fits");
    // 40 samples: windows 0..16, 16..32, 32..40; two channels and the mask.
    assert_eq!(tokens.weights.as_ref().expect("always given").dims(), [6, 3, 48]);
    let weights = tokens.weights.expect("always given").flatten_all().expect("cpu").to_vec1::<f32>().expect("f32");
    for object in [0, 2, 3] {
        let own = &weights[object * 144..(object + 1) * 144];
        for channel in 0..2 {
            let used: Vec<f32> =
                (0..3).flat_map(|t| own[t * 48 + channel * 16..][..16].to_vec()).filter(|w| *w > 0.0).collect();
            let mean = used.iter().sum::<f32>() / used.len() as f32;
            assert!((mean - 1.0).abs() < 1e-5, "object {object}: {mean}");
        }
        assert!((0..3).all(|t| own[t * 48 + 32..][..16].iter().all(|w| *w == 0.0)));
    }
}

#[test]
fn tokens_say_where_their_window_lies() {
    let modality = build_modality(SMALL);
    let tokenizer = build_tokenizer("kind = \"slices\"\nwidth = 10\noverlap = 5\n", &modality.spec());
    // (40 - 5) / 5 windows.
    assert_eq!(tokenizer.spec().max_tokens, 7);
    let arrays = prepare(modality.as_ref(), &objects(), Mode::Evaluate).expect("fits");
    let tokens = tokenizer.tokenize(&arrays, &Forward::evaluate()).expect("fits");
    let at = tokens.coordinates.to_vec3::<f32>().expect("f32");
    // The centre of samples 5..15 is 9.5 of 39 steps from 4000 to 5000 Angstrom.
    let expected = 4000f64.ln() + (5000f64 / 4000.0).ln() * 9.5 / 39.0;
    assert!((f64::from(at[0][1][0]) - expected).abs() < 1e-5, "{}", at[0][1][0]);
}

#[test]
fn flagged_and_infinite_samples_do_not_count() {
    let mut bad = spectrum(3900.0, 5.0, 260, 1.0, false);
    let good = bad.clone();
    for (i, value) in [(100, json!("NaN")), (140, json!("inf")), (180, json!(1e9))] {
        bad["flux"][i] = value;
    }
    bad["mask"][180] = json!(true);
    // Padding as the Multimodal Universe writes it.
    for (key, value) in [("flux", json!(7.0)), ("lambda", json!(-1.0)), ("mask", json!(true))] {
        bad[key].as_array_mut().expect("a list").push(value);
    }
    let list = json!([{ "object_id": "good", "spectrum": good }, { "object_id": "bad", "spectrum": bad }]);
    let arrays = prepare(build_modality(SMALL).as_ref(), &Objects::new(&list, fields()), Mode::Evaluate).expect("fits");
    for (a, b) in flux(&arrays, 0, 0).iter().zip(flux(&arrays, 1, 0)) {
        assert!((a - b).abs() < 0.01, "{a} and {b}");
    }
}

#[test]
fn an_inverse_variance_that_is_zero_everywhere_says_nothing_and_else_what_it_says() {
    let mut empty = spectrum(3900.0, 5.0, 260, 1.0, true);
    let mut some = empty.clone();
    for i in 0..260 {
        empty["ivar"][i] = json!(0.0);
        // A lost arm: more than half of the samples.
        some["ivar"][i] = json!(if i < 150 { 0.0 } else { 3.0 });
    }
    let list = json!([{ "object_id": "empty", "spectrum": empty }, { "object_id": "some", "spectrum": some }]);
    let objects = Objects::new(&list, fields());
    let arrays = prepare(build_modality(SMALL).as_ref(), &objects, Mode::Evaluate).expect("fits");
    let (_, valid) = arrays.valid().expect("u8");
    assert_eq!(valid[..40].iter().filter(|v| **v == 1).count(), 40);
    // From 4650 of 4000 to 5000 Angstrom on, in steps of 0.57 %.
    let left = valid[40..].iter().filter(|v| **v == 1).count();
    assert!((12..=14).contains(&left), "{left}");
    let unread = prepare(build_modality(&format!("{SMALL}ivar = \"\"\n")).as_ref(), &objects, Mode::Evaluate);
    assert!(unread.expect("fits").valid().expect("u8").1.iter().all(|v| *v == 1));
}

#[test]
fn an_axis_of_another_kind_is_not_asked_for_its_unit() {
    // Raman shifts in 1/cm, far below the grid: in nm they would lie in it.
    let list = json!([{ "object_id": "a", "spectrum": spectrum(50.0, 1.0, 250, 1.0, false) }]);
    let grid = "kind = \"spectrum\"\nwavelength_min = 400\nwavelength_max = 4000\nsamples = 40\n";
    let prepared = |more: &str| {
        prepare(build_modality(&format!("{grid}{more}")).as_ref(), &Objects::new(&list, fields()), Mode::Evaluate)
    };
    assert!(prepared("").expect_err("asked").to_string().contains("is it `wavelength_unit = \"nm\"`?"));
    assert_eq!(prepared("wavelength_unit = \"other\"\n").expect("fits").present, [false]);
}

#[test]
fn an_axis_may_go_from_below_to_above_0() {
    // Anti-Stokes and Stokes Raman shifts from -600 to 600 in 1/cm: a straight background, and padding of flagged -1.
    let shifts: Vec<f64> = (0..121).map(|i| -600.0 + 10.0 * f64::from(i)).chain([-1.0, -1.0]).collect();
    let counts: Vec<f64> = shifts.iter().map(|s| 5.0 + s / 1000.0).collect();
    let mask: Vec<bool> = (0..123).map(|i| i > 120).collect();
    let list =
        json!([{ "object_id": "a", "spectrum": { "flux": counts, "lambda": shifts, "ivar": null, "mask": mask } }]);
    let text = "kind = \"spectrum\"\nwavelength_min = -500\nwavelength_max = 500\nsamples = 125\nnormalise = \"none\"\n\
                wavelength_unit = \"other\"\n";
    for grid in ["linear", "own"] {
        let modality = build_modality(&format!("{text}grid = \"{grid}\"\n"));
        let arrays = prepare(modality.as_ref(), &Objects::new(&list, fields()), Mode::Evaluate).expect("fits");
        let tokenizer = build_tokenizer("kind = \"slices\"\nwidth = 25\n", &modality.spec());
        let tokens = tokenizer.tokenize(&arrays, &Forward::evaluate()).expect("fits");
        let places = tokens.coordinates.flatten_all().expect("cpu").to_vec1::<f32>().expect("f32");
        // On the grid of 124 steps the first token holds samples 0 to 24; as measured there are 100 steps of 10 from -500 to 500.
        let steps = if grid == "own" { 100 } else { 124 };
        assert!((places[0] - 12.0 / steps as f32).abs() < 1e-6, "{grid}: {}", places[0]);
        let (lines, own) = (flux(&arrays, 0, 1), flux(&arrays, 0, 0));
        for l in 0..=steps {
            let shift = -500.0 + 1000.0 * l as f32 / steps as f32;
            assert!((own[l] - (5.0 + shift / 1000.0)).abs() < 1e-5, "{grid}, {shift}: {}", own[l]);
            assert!(lines[l].abs() < 1e-5, "{grid}, {shift}: a straight line is its own continuum, {}", lines[l]);
        }
        let valid = arrays.valid().expect("u8").1.iter().filter(|v| **v == 1).count();
        assert_eq!(valid, steps + 1);
    }
    let section = Section::from_toml("modality.test", text).expect("TOML");
    let error = crate::SpectrumConfig::read(&section).expect_err("the default grid has no place for it").to_string();
    assert!(error.contains("expected more than 0 with `grid = \"log\"`, got -500: set `grid` to"), "{error}");
}

#[test]
fn tokens_of_own_samples_lie_where_these_were_measured() {
    let text = "kind = \"spectrum\"\nwavelength_min = 4000\nwavelength_max = 5000\nsamples = 210\ngrid = \"own\"\n";
    let list = json!([{ "object_id": "a", "spectrum": spectrum(4000.0, 75.0, 14, 1.0, true) }]);
    let modality = build_modality(text);
    let arrays = prepare(modality.as_ref(), &Objects::new(&list, fields()), Mode::Evaluate).expect("fits");
    let tokenizer = build_tokenizer("kind = \"slices\"\nwidth = 10\n", &modality.spec());
    let tokens = tokenizer.tokenize(&arrays, &Forward::evaluate()).expect("fits");
    let places = tokens.coordinates.flatten_all().expect("cpu").to_vec1::<f32>().expect("f32");
    // The second window has four samples, the third none.
    let four = [4750f32, 4825.0, 4900.0, 4975.0].map(f32::ln).iter().sum::<f32>() / 4.0;
    assert!((places[1] - four).abs() < 1e-5 && places[2].is_nan(), "{} {}", places[1].exp(), places[2]);
    // Lines and colour do not know how many places there are.
    let tight = build_modality(&text.replace("210", "14"));
    let tight = prepare(tight.as_ref(), &Objects::new(&list, fields()), Mode::Evaluate).expect("fits");
    for channel in [0, 1] {
        assert_eq!(flux(&arrays, 0, channel)[..14], *flux(&tight, 0, channel));
    }
}

#[test]
fn flags_may_be_numbers_of_any_kind() {
    let mut one = spectrum(3900.0, 5.0, 260, 1.0, true);
    one["mask"] = json!((0..260).map(|i| f64::from(u8::from(i < 130))).collect::<Vec<_>>());
    let list = json!([{ "object_id": "a", "spectrum": one }]);
    let objects = Objects::new(&list, fields_with("mask", DataType::Float32));
    let arrays = prepare(build_modality(SMALL).as_ref(), &objects, Mode::Evaluate).expect("fits");
    let valid = arrays.valid().expect("u8").1;
    assert!(valid[0] == 0 && valid[39] == 1, "{valid:?}");
}

#[test]
fn errors_of_cgs_fluxes_keep_their_ratios() {
    // Fluxes of 1e-20 with errors of 1e-21 and half as much: inverse variances are beyond single precision.
    let mut one = spectrum(4000.0, 25.0, 40, 1e-20, false);
    one["ivar"] = json!((0..40).map(|i| if i < 20 { 1e42 } else { 4e42 }).collect::<Vec<f64>>());
    let objects = Objects::new(&json!([{ "object_id": "a", "spectrum": one }]), fields_with("ivar", DataType::Float64));
    let modality =
        build_modality(&format!("{SMALL}grid = \"own\"\nnormalise = \"none\"\nchannels = [\"normalised\"]\n"));
    let arrays = prepare(modality.as_ref(), &objects, Mode::Evaluate).expect("fits");
    let tokenizer = build_tokenizer("kind = \"slices\"\nwidth = 40\n", &modality.spec());
    let weights = tokenizer.tokenize(&arrays, &Forward::evaluate()).expect("fits").weights.expect("given");
    let weights = weights.flatten_all().expect("cpu").to_vec1::<f32>().expect("f32");
    // In the ratio 1 to 4, of mean 1: 0.4 and 1.6.
    assert!((weights[0] - 0.4).abs() < 1e-6 && (weights[39] - 1.6).abs() < 1e-6, "{} {}", weights[0], weights[39]);
}

#[test]
fn weights_arrive_in_tokens_and_are_0_where_nothing_was_measured() {
    let mut one = spectrum(4000.0, 100.0, 5, 1.0, true);
    one["ivar"] = json!([1.0, 2.0, 3.0, 0.0, 2.0]);
    one["mask"] = json!([false, true, false, false, false]);
    let arrays = |config: &str| one_of(&one, config).expect("fits");
    let own = "kind = \"spectrum\"\nwavelength_min = 4000\nwavelength_max = 5000\nsamples = 6\ngrid = \"own\"\n\
               channels = [\"normalised\"]\nnormalise = \"none\"\n";
    let weights = |config: &str| {
        let spec = build_modality(config).spec();
        let tokenizer = build_tokenizer("kind = \"slices\"\nwidth = 3\n", &spec);
        let tokens = tokenizer.tokenize(&arrays(config), &Forward::evaluate()).expect("fits");
        tokens.check("test", &tokenizer.spec()).expect("of the shape of the values");
        tokens.weights.expect("given").to_vec3::<f32>().expect("f32")
    };
    // Measured are 1, 3 and 2, of mean 2; the last three numbers of a token are its mask.
    let expected = [[0.5, 0.0, 1.5, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]];
    assert_eq!(weights(own), [expected]);
    // Unread, it weighs nothing more than anything else; nor does the mask hide.
    let unread = [[1.0, 1.0, 1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]];
    assert_eq!(weights(&format!("{own}ivar = \"\"\nmask = \"\"\n")), [unread]);
}

#[test]
fn fields_without_a_name_are_not_read() {
    let paths = |text: &str| build_modality(&format!("{SMALL}{text}")).columns().into_iter().map(|c| c.path).collect();
    let all: Vec<String> = paths("");
    assert_eq!(all.len(), 5);
    let few: Vec<String> = paths("ivar = \"\"\nmask = \"\"\nlsf_sigma = \"\"\n");
    assert_eq!(few, ["spectrum.lambda", "spectrum.flux"]);
    let alone: Vec<String> = paths("column = \"\"\nivar = \"\"\nmask = \"\"\nlsf_sigma = \"\"\n");
    assert_eq!(alone, ["lambda", "flux"]);
}

#[test]
fn bad_rows_are_named() {
    let error = |change: &dyn Fn(&mut Value)| {
        let mut one = spectrum(3900.0, 5.0, 260, 1.0, true);
        change(&mut one);
        let list = json!([{ "object_id": "sn1", "spectrum": one }]);
        let result = prepare(build_modality(SMALL).as_ref(), &Objects::new(&list, fields()), Mode::Evaluate);
        result.expect_err("refused").to_string()
    };
    assert_eq!(
        error(&|s| s["lambda"][3] = json!(3905.0)),
        "object `sn1`, column `spectrum.lambda`: expected ascending wavelengths, got 3905 after 3910 at sample 3"
    );
    assert_eq!(
        error(&|s| s["lambda"][0] = json!(0.0)),
        "object `sn1`, column `spectrum.lambda`: expected a positive wavelength in Angstrom, got 0 at sample 0; \
         `wavelength_unit = \"other\"` takes any axis"
    );
    assert_eq!(
        error(&|s| s["ivar"] = json!([1.0, 2.0])),
        "object `sn1`, column `spectrum.ivar`: expected as many values as `flux` has, 260, got 2"
    );
}

#[test]
fn bad_config_is_refused_at_the_key() {
    for (key, line) in [
        ("wavelength_max", "wavelength_min = 5000\nwavelength_max = 4000\nsamples = 10"),
        ("samples", "wavelength_min = 4000\nwavelength_max = 5000\nsamples = 1"),
        ("clip", "wavelength_min = 4000\nwavelength_max = 5000\nsamples = 10\nclip = 0"),
        ("channels", "wavelength_min = 4000\nwavelength_max = 5000\nsamples = 10\nchannels = []"),
        ("flux", "wavelength_min = 4000\nwavelength_max = 5000\nsamples = 10\nflux = \"\""),
        ("wavelength_min", "wavelength_min = -1\nwavelength_max = 5000\nsamples = 10\ngrid = \"linear\""),
        ("wavelength_min", "wavelength_min = -1\nwavelength_max = 5000\nsamples = 10\nwavelength_unit = \"other\""),
    ] {
        let section = Section::from_toml("modality.test", &format!("kind = \"spectrum\"\n{line}\n")).expect("TOML");
        let error = crate::SpectrumConfig::read(&section).expect_err("refused");
        let place = error.place().expect("a place").clone();
        assert_eq!(place.line(), section.place_of(key).line(), "{key}: {error}");
    }
    let spec = build_modality(SMALL).spec();
    let context = panchroma_core::TokenizerContext {
        modality: "test",
        arrays: &spec,
        parameters: &panchroma_core::Parameters::new(0, &candle_core::Device::Cpu),
    };
    for bad in ["width = 41", "width = 0", "width = 8\noverlap = 8", "min_valid_fraction = 2"] {
        let section =
            Section::from_toml("modality.test.tokenizer", &format!("kind = \"slices\"\n{bad}\n")).expect("TOML");
        assert!(crate::Slices::build(&section, &context).is_err(), "{bad}");
    }
}

#[test]
fn only_training_augments_and_each_epoch_differs() {
    let modality = build_modality(&format!("{SMALL}noise = 0.1\nmask_fraction = 0.5\ntilt = 0.2\n"));
    let plain = build_modality(SMALL);
    let (objects, at) = (objects(), |mode, epoch| PrepareContext { mode, seed: 1, epoch, modality: "test" });
    let rows = objects.rows();
    let evaluated = modality.prepare(&rows, &at(Mode::Evaluate, 0)).expect("fits");
    assert_eq!(evaluated, plain.prepare(&rows, &at(Mode::Train, 0)).expect("fits"));
    let first = modality.prepare(&rows, &at(Mode::Train, 0)).expect("fits");
    assert_ne!(first, evaluated);
    assert_ne!(first, modality.prepare(&rows, &at(Mode::Train, 1)).expect("fits"));
    assert_eq!(first.present, evaluated.present);
}

#[test]
fn the_scale_is_standardised_over_the_training_split() {
    let list = json!([
        { "object_id": "a", "spectrum": spectrum(3900.0, 5.0, 260, 1.0, false) },
        { "object_id": "b", "spectrum": spectrum(3900.0, 5.0, 260, 100.0, false) },
    ]);
    let objects = Objects::new(&list, fields());
    let modality = fitted(&format!("{SMALL}channels = [\"scale\"]\n"), &objects.rows());
    let arrays = prepare(modality.as_ref(), &objects, Mode::Evaluate).expect("fits");
    // Two values: one standard deviation below and above their mean.
    assert!((flux(&arrays, 0, 0)[5] + 1.0).abs() < 1e-5 && (flux(&arrays, 1, 0)[5] - 1.0).abs() < 1e-5);
}

#[test]
fn real_supernovae_give_finite_tokens() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/supernovae");
    let modality = build_modality("kind = \"spectrum\"\nwavelength_min = 3700\nwavelength_max = 8000\nsamples = 512\n");
    let catalogue = Catalogue::open(&DataConfig::at(path), &modality.columns()).expect("a catalogue");
    let all: Vec<u32> = (0..).take(catalogue.len()).collect();
    let rows = catalogue.read(&all).expect("readable");
    let arrays =
        modality.prepare(&rows, &PrepareContext { mode: Mode::Evaluate, seed: 1, epoch: 0, modality: "spectrum" });
    let arrays = arrays.expect("no bad row");
    arrays.check("spectrum", &modality.spec()).expect("the contract");
    let tokenizer = build_tokenizer("kind = \"slices\"\nwidth = 16\n", &modality.spec());
    let tokens = tokenizer.tokenize(&arrays, &Forward::evaluate()).expect("fits");
    let TokenValues::Patches(values) = &tokens.values else { unreachable!("slices are patches") };
    let values = values.flatten_all().expect("cpu").to_vec1::<f32>().expect("f32");
    assert!(values.iter().all(|v| v.is_finite() && v.abs() <= 10.0));
    // 1773 have a spectrum, a few of them far in the infrared or too short.
    let present = arrays.present.iter().filter(|p| **p).count();
    assert!((1740..=1773).contains(&present), "{present}");
    let (_, valid) = arrays.valid().expect("u8");
    let covered = valid.iter().filter(|v| **v == 1).count() as f64 / (present * 512) as f64;
    let cut = values.iter().filter(|v| v.abs() == 10.0).count() as f64 / values.len() as f64;
    assert!(cut < 0.005, "{cut} of the values are cut off");
    // Wavelength ranges alone, counted with NumPy, give 0.93 over all 1773.
    assert!((0.90..0.97).contains(&covered), "{covered}");
}

fn one(spectrum: Value, config: &str) -> panchroma_core::Result<Arrays> {
    one_of(&spectrum, config)
}

fn one_of(spectrum: &Value, config: &str) -> panchroma_core::Result<Arrays> {
    let objects = Objects::new(&json!([{ "object_id": "a", "spectrum": spectrum }]), fields());
    prepare(build_modality(config).as_ref(), &objects, Mode::Evaluate)
}

#[test]
fn own_samples_stay_as_they_were_measured() {
    let config = "kind = \"spectrum\"\nwavelength_min = 4000\nwavelength_max = 5000\nsamples = 24\ngrid = \"own\"\n\
                  channels = [\"normalised\"]\nnormalise = \"none\"\nclip = 1000\n";
    let arrays = one(spectrum(3800.0, 60.0, 25, 300.0, false), config).expect("fits");
    let (_, wavelength) = arrays.f64("wavelength").expect("f64");
    // 4040 to 5000, then places without a wavelength.
    assert_eq!((wavelength[0], wavelength[16]), (4040.0, 5000.0));
    assert!(wavelength[17..].iter().all(|w| w.is_nan()));
    let (_, valid) = arrays.valid().expect("u8");
    assert_eq!(valid.iter().map(|v| usize::from(*v)).sum::<usize>(), 17);
    let expected = 300.0 * 4040.0 / 4500.0;
    assert!((flux(&arrays, 0, 0)[0] - expected as f32).abs() < 1e-3);
    let error = one(spectrum(4000.0, 10.0, 60, 1.0, false), config).expect_err("60 samples in 24 places").to_string();
    assert!(error.contains("60 samples lie between") && error.contains("set `samples` to at least that"), "{error}");
}

#[test]
fn the_scale_is_a_token_and_normalising_forgets_it() {
    let text = format!("{SMALL}normalise = \"standard\"\nscale_token = true\nchannels = [\"normalised\"]\n");
    let list = json!([
        { "object_id": "faint", "spectrum": spectrum(3900.0, 5.0, 260, 1.0, false) },
        { "object_id": "bright", "spectrum": spectrum(3900.0, 5.0, 260, 100.0, false) },
        { "object_id": "none" },
    ]);
    let objects = Objects::new(&list, fields());
    let modality = fitted(&text, &objects.rows());
    let arrays = prepare(modality.as_ref(), &objects, Mode::Evaluate).expect("fits");
    let own = flux(&arrays, 1, 0);
    let mean = own.iter().sum::<f32>() / 40.0;
    let variance = own.iter().map(|f| (f - mean).powi(2)).sum::<f32>() / 40.0;
    assert!(mean.abs() < 1e-4 && (variance - 1.0).abs() < 1e-4, "{mean} {variance}");
    let tokenizer = build_tokenizer("kind = \"slices\"\nwidth = 20\noverlap = 10\n", &modality.spec());
    let tokens = tokenizer.tokenize(&arrays, &Forward::evaluate()).expect("fits");
    let TokenValues::Patches(values) = &tokens.values else { unreachable!("patches are values") };
    let values = values.to_vec3::<f32>().expect("f32");
    // log10 of the scales, 2 apart, standardised: -1 and 1; the second number does not know the brightness.
    assert!((values[0][0][0] + 1.0).abs() < 1e-4 && (values[1][0][0] - 1.0).abs() < 1e-4);
    assert!((values[0][0][1] - values[1][0][1]).abs() < 1e-3 && values[0][0][1] > 1.0);
    assert_eq!(tokens.valid.to_vec2::<u8>().expect("u8"), [[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]);
    assert!(tokens.coordinates.to_vec3::<f32>().expect("f32")[0][0][0].is_nan());
}

#[test]
fn tokens_know_their_noise_and_resolution() {
    let mut measured = spectrum(3900.0, 5.0, 260, 2.0, true);
    measured["lsf_sigma"] = (0..260).map(|i| 1.0 + 0.005 * f64::from(i)).collect();
    let arrays = one(measured, SMALL).expect("fits");
    let tokenizer = build_tokenizer(
        "kind = \"slices\"\nwidth = 20\nmetadata = [\"lsf_sigma\", \"noise\"]\n",
        &build_modality(SMALL).spec(),
    );
    let tokens = tokenizer.tokenize(&arrays, &Forward::evaluate()).expect("fits");
    let coordinates = tokens.coordinates.to_vec3::<f32>().expect("f32");
    // 1 at 3900 Angstrom, 0.001 more per Angstrom.
    let centre = f64::from(coordinates[0][1][0]).exp();
    assert!((f64::from(coordinates[0][1][1]) - (1.0 + 0.001 * (centre - 3900.0))).abs() < 5e-3);
    // An error of 1 % per sample of 5 Angstrom, averaged over bins of 28.
    assert!((0.002..0.01).contains(&coordinates[0][0][2]), "{}", coordinates[0][0][2]);
}

#[test]
fn wavelengths_of_another_unit_are_converted_or_noticed() {
    let with = |scale: f64| {
        let mut measured = spectrum(3900.0, 5.0, 260, 1.0, true);
        let list: Vec<f64> = (0..260).map(|i| scale * (3900.0 + 5.0 * f64::from(i))).collect();
        measured["lambda"] = list.into();
        measured
    };
    let plain = one(with(1.0), SMALL).expect("fits");
    let converted = one(with(0.1), &format!("{SMALL}wavelength_unit = \"nm\"\n")).expect("fits");
    for (a, b) in flux(&plain, 0, 0).iter().zip(flux(&converted, 0, 0)) {
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }
    for (scale, unit) in [(0.1, "nm"), (1e-4, "um"), (1e-10, "m")] {
        let error = one(with(scale), SMALL).expect_err("outside").to_string();
        assert!(
            error.contains("object `a`, column `spectrum.lambda`")
                && error.contains(&format!("`wavelength_unit = \"{unit}\"`")),
            "{error}"
        );
    }
    // One that is really elsewhere is only missing.
    assert_eq!(one(spectrum(6000.0, 5.0, 50, 1.0, false), SMALL).expect("fits").present, [false]);
}

#[test]
fn spectra_without_one_good_value_are_missing_and_negative_variances_refused() {
    let mut empty = spectrum(3900.0, 5.0, 260, 1.0, true);
    empty["flux"] = vec!["NaN"; 260].into();
    assert_eq!(one(empty, SMALL).expect("fits").present, [false]);
    let mut zero = spectrum(3900.0, 5.0, 260, 1.0, true);
    zero["ivar"] = vec![0.0; 260].into();
    let arrays = one(zero, SMALL).expect("of unknown errors");
    assert!(arrays.present[0] && arrays.f64("ivar").expect("f64").1.iter().all(|v| *v == 0.0));
    let mut negative = spectrum(3900.0, 5.0, 260, 1.0, true);
    negative["ivar"] = (0..260).map(|i| if i == 7 { -1.0 } else { 1.0 }).collect();
    assert_eq!(
        one(negative, SMALL).expect_err("refused").to_string(),
        "object `a`, column `spectrum.ivar`: expected inverse variances of 0 and more, got -1 at sample 7"
    );
}

#[test]
fn robust_normalising_takes_the_median_and_the_scaled_median_deviation() {
    let mut wild = spectrum(4000.0, 10.0, 11, 1.0, false);
    wild["flux"] = json!([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 1e6]);
    let config = "kind = \"spectrum\"\nwavelength_min = 4000\nwavelength_max = 5000\nsamples = 11\ngrid = \"own\"\n\
                  channels = [\"normalised\"]\nnormalise = \"robust\"\n";
    let arrays = one(wild, config).expect("fits");
    // Median 6; deviations 5 4 3 2 1 0 1 2 3 4 and a large one: median 3.
    let own = flux(&arrays, 0, 0);
    assert!((own[0] + 5.0 / (1.4826 * 3.0)).abs() < 1e-5 && own[5] == 0.0 && own[10] == 10.0, "{own:?}");
}

#[test]
fn a_sketch_has_the_samples_of_the_object() {
    let modality = fitted(SMALL, &objects().rows());
    let arrays = prepare(&*modality, &objects(), Mode::Evaluate).unwrap();
    let (shape, valid) = arrays.valid().unwrap();
    let l = shape[1];
    for row in 0..arrays.len() {
        let measured: Vec<usize> = (0..l).filter(|at| valid[row * l + at] == 1).collect();
        let sketch = modality.sketch(&arrays, row).unwrap();
        assert_eq!(sketch.is_none(), measured.is_empty(), "object {row}");
        let Some(Sketch::Samples { axis, groups, .. }) = sketch else { continue };
        assert_eq!(axis, ["wavelength", "Angstrom"]);
        let samples = &groups[0].1;
        assert_eq!(samples.len(), measured.len());
        for (sample, at) in samples.iter().zip(measured) {
            assert_eq!(sample.at, arrays.f64("wavelength").unwrap().1[row * l + at]);
            assert_eq!(sample.value, f64::from(flux(&arrays, row, 0)[at]));
        }
    }
}
