//! Time series through the conformance suite, wrong input, and real light curves.

use crate::axes::UNKNOWN;
use crate::{FEATURES, TimeSeriesConfig};
use arrow_schema::{DataType, Field};
use panchroma_core::data::{Catalogue, DataConfig};
use panchroma_core::sketch::Sketch;
use panchroma_core::{Arrays, Error, Modality, ModalityContext, Mode, PrepareContext, Registry, Section};
use panchroma_testing::{
    Case, Objects, build_modality, build_tokenizer, conformance, fitted, modality_descriptor, tokenizer_descriptor,
};
use serde_json::{Value, json};
use std::sync::Arc;

const TOKENIZER: &str = "kind = \"observations\"";

fn objects(list: &Value) -> Objects {
    let field = |name: &str, leaf| Field::new(name, DataType::List(Arc::new(Field::new("element", leaf, true))), true);
    let lists = vec![
        field("time", DataType::Float64),
        field("flux", DataType::Float32),
        field("flux_err", DataType::Float32),
        field("band", DataType::Utf8),
        field("limit", DataType::Float64),
    ];
    let fields = vec![
        Field::new("lightcurve", DataType::Struct(lists.into()), true),
        Field::new("explosion", DataType::Float64, true),
        Field::new("period", DataType::Float64, true),
    ];
    Objects::new(list, fields)
}

fn some() -> Objects {
    objects(&json!([
        {"object_id": "a", "explosion": 9.0, "period": 0.75, "lightcurve": {
            "limit": [null, 3.0, null, 7.5],
            "time": [12.0, 10.0, 11.0, 20.0], "flux": [5.0, -1.0, 50.0, "NaN"],
            "flux_err": [1.0, "NaN", 2.0, 1.0], "band": ["g", "r", "X", "g"]}},
        {"object_id": "none"},
        {"object_id": "b", "lightcurve": {
            "time": [-3.5, 0.0, 60000.25, 60001.0, 60002.5, 60003.0, 60007.0],
            "flux": [1.0, 2.0, 3e4, 4.0, 5.0, 0.0, 1.0], "flux_err": [1.0, 0.0, 300.0, -1.0, 1.0, 1.0, 1.0],
            "band": ["V", "", "ztfr", null, "K", "g", "g"]}},
        {"object_id": "empty", "lightcurve": {"time": [], "flux": [], "flux_err": [], "band": []}},
        {"object_id": "no fluxes", "lightcurve": {
            "time": [1.0, 2.0], "flux": ["NaN", "inf"], "flux_err": [1.0, 1.0], "band": ["g", "g"]}},
        {"object_id": "zero", "lightcurve": {"time": [1.0], "flux": [0.0], "flux_err": [1.0], "band": ["g"]}},
    ]))
}

fn prepare(modality: &dyn Modality, objects: &Objects, mode: Mode, epoch: u64) -> Arrays {
    let context = PrepareContext { mode, seed: 1, epoch, modality: "lc" };
    modality.prepare(&objects.rows(), &context).unwrap()
}

fn evaluate(toml: &str, objects: &Objects) -> Arrays {
    let toml = format!("kind = \"time_series\"\n{toml}");
    prepare(&*fitted(&toml, &objects.rows()), objects, Mode::Evaluate, 0)
}

/// Values of row `i` where valid, of a field `[B, L, width]`.
fn valid_row(arrays: &Arrays, field: &str, i: usize) -> Vec<f32> {
    let (shape, valid) = arrays.valid().unwrap();
    let (_, values) = arrays.f32(field).unwrap();
    let width = values.len() / valid.len();
    (i * shape[1]..(i + 1) * shape[1])
        .filter(|&at| valid[at] == 1)
        .flat_map(|at| values[at * width..(at + 1) * width].to_vec())
        .collect()
}

#[test]
fn descriptors_are_true() {
    let spec = modality_descriptor("time_series").spec();
    let _ = tokenizer_descriptor("observations", &spec);
    let _ = tokenizer_descriptor("time_patches", &spec);
    let _ = tokenizer_descriptor("curve_codec", &spec);
}

#[test]
fn promises_hold() {
    let plain = "kind = \"time_series\"";
    let all = "kind = \"time_series\"\nmax_observations = 4\ntime_origin = \"median\"\norigin_column = \"explosion\"\n\
               drop_fraction = 0.5\ntime_jitter_days = 2.0\nnoise = 0.5\nbands = { X = 5000.0 }";
    let more = "kind = \"time_series\"\nlimit = \"limit\"\nperiod_column = \"period\"\nchannels = [\"g\", \"X\"]\ndrop_fraction = 0.3";
    let regular = "kind = \"time_series\"\ntime = \"\"\ncadence = 0.1\ntime_origin = \"first\"";
    for modality in [plain, all, more, regular] {
        let objects = some();
        let measured: &[&str] = &["time", "values", "wavelength"];
        // Of a regular series the times are known also where nothing was measured.
        let measured = if modality == regular { &measured[1..] } else { measured };
        conformance(&Case { modality, tokenizer: TOKENIZER, objects: &objects, measured, reconstruction: Some(0.0) });
        for tokenizer in ["kind = \"time_patches\"\nobservations = 2", "kind = \"time_patches\"\nobservations = 64"] {
            conformance(&Case { modality, tokenizer, objects: &objects, measured, reconstruction: None });
        }
        let tokenizer = "kind = \"curve_codec\"\ncodes = 3\nwidth = 16\nheads = 2\ndepth = 1\ndecoder_depth = 1";
        conformance(&Case { modality, tokenizer, objects: &objects, measured, reconstruction: Some(20.0) });
    }
}

#[test]
fn observations_are_cleaned_and_ordered_in_time() {
    let arrays = evaluate("", &some());
    assert_eq!(arrays.present, [true, false, true, false, false, true]);
    // The NaN flux at 20 is gone; the peak (50 at 25 sigma) is at 11.
    assert_eq!(valid_row(&arrays, "time", 0), [-1.0, 0.0, 1.0]);
    let logs = valid_row(&arrays, "wavelength", 0);
    assert_eq!(logs, [6190f64.ln() as f32, UNKNOWN, 4720f64.ln() as f32]);
}

#[test]
fn differences_of_large_times_are_exact() {
    let arrays = evaluate("time_origin = \"first\"\nwindow_days = [60000.0, 70000.0]", &some());
    // 60000.25 + 3.5 is exact in f32 too, but only if the difference is taken before rounding.
    assert_eq!(valid_row(&arrays, "time", 2), [60003.75, 60004.5, 60006.0, 60006.5, 60010.5]);
    let arrays = evaluate("", &some());
    assert_eq!(valid_row(&arrays, "time", 2)[3..], [0.75, 2.25, 2.75, 6.75]);
}

#[test]
fn origins_are_what_the_config_says() {
    for (toml, first) in [
        ("time_origin = \"first\"", 0.0),
        ("time_origin = \"median\"", -1.0),
        ("time_origin = \"peak\"", -1.0),
        ("time_origin = \"peak\"\norigin_column = \"explosion\"", 1.0),
        ("time_unit_days = 2.0", -2.0),
    ] {
        assert_eq!(valid_row(&evaluate(toml, &some()), "time", 0)[0], first, "{toml}");
    }
}

#[test]
fn the_peak_is_significant_where_errors_are_known() {
    let noisy = objects(&json!([{"object_id": "a", "lightcurve": {
        "time": [0.0, 5.0], "flux": [900.0, 100.0], "flux_err": [800.0, 1.0], "band": ["g", "g"]}}]));
    assert_eq!(valid_row(&evaluate("", &noisy), "time", 0), [-5.0, 0.0]);
}

#[test]
fn features_are_flux_in_both_scales_and_error() {
    // Two objects of one observation each, so that the scaler is known: with values x, y it gives -1 and 1.
    let two = objects(&json!([
        {"object_id": "a", "lightcurve": {"time": [1.0], "flux": [100.0], "flux_err": [10.0], "band": ["g"]}},
        {"object_id": "b", "lightcurve": {"time": [1.0], "flux": [1000.0], "flux_err": ["NaN"], "band": ["?"]}},
    ]));
    let arrays = evaluate("flux_softening = 10.0", &two);
    let near = |a: &[f32], b: &[f32]| assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6), "{a:?} {b:?}");
    // Relative flux is 1 in both, one error is known: constant features become 0.
    near(&valid_row(&arrays, "values", 0), &[-1.0, 0.0, -1.0, 0.0, 0.0, 1.0, 1.0]);
    near(&valid_row(&arrays, "values", 1), &[1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);

    let modality = fitted("kind = \"time_series\"\nflux_softening = 10.0", &two.rows());
    let state = modality.fitted();
    let mean = |i: usize| state["mean"][i].as_f64().unwrap();
    assert!((mean(0) - (10f64.asinh() + 100f64.asinh()) / 2.0).abs() < 1e-12);
    assert!((mean(2) - 2.5).abs() < 1e-12);
    assert!((mean(3) + 1.0).abs() < 1e-12);
    assert!((mean(4) - 10f64.asinh()).abs() < 1e-12);
    assert_eq!(state["features"], json!(FEATURES[..5]));
}

#[test]
fn long_series_are_thinned_evenly_and_drawn_in_training() {
    let times: Vec<f64> = (0..100).map(f64::from).collect();
    let ones = vec![1.0; 100];
    let bands = vec!["g"; 100];
    let long = objects(&json!([{"object_id": "a", "lightcurve": {
        "time": times, "flux": ones, "flux_err": ones, "band": bands}}]));
    let toml = "kind = \"time_series\"\nmax_observations = 10\ntime_origin = \"first\"";
    let modality = fitted(toml, &long.rows());
    let thinned = prepare(&*modality, &long, Mode::Evaluate, 0);
    assert_eq!(valid_row(&thinned, "time", 0), [0.0, 11.0, 22.0, 33.0, 44.0, 55.0, 66.0, 77.0, 88.0, 99.0]);

    let [first, second] = [0, 1].map(|epoch| valid_row(&prepare(&*modality, &long, Mode::Train, epoch), "time", 0));
    assert_eq!((first.len(), second.len()), (10, 10));
    assert!(first.is_sorted() && first != second);
}

#[test]
fn augmentation_is_for_training_only() {
    let times: Vec<f64> = (0..100).map(f64::from).collect();
    let (flux, error, bands) = (vec![100.0; 100], vec![10.0; 100], vec!["g"; 100]);
    let long = objects(&json!([{"object_id": "a", "lightcurve": {
        "time": times, "flux": flux, "flux_err": error, "band": bands}}]));
    let plain = evaluate("", &long);
    let toml = "kind = \"time_series\"\ndrop_fraction = 0.5\ntime_jitter_days = 3.0\nnoise = 1.0";
    let modality = fitted(toml, &long.rows());
    assert_eq!(prepare(&*modality, &long, Mode::Evaluate, 0), plain);

    let mut lengths = Vec::new();
    let mut relative = Vec::new();
    for epoch in 0..20 {
        let drawn = prepare(&*modality, &long, Mode::Train, epoch);
        let times = valid_row(&drawn, "time", 0);
        lengths.push(times.len());
        let shift = times[0] - times[0].round();
        assert!(shift != 0.0 && times.iter().all(|t| (t - t.round() - shift).abs() < 1e-4));
        relative.extend(valid_row(&drawn, "values", 0).chunks(FEATURES.len()).map(|f| f64::from(f[1])));
    }
    assert!(lengths.iter().all(|n| (50..=100).contains(n)) && lengths.iter().min() < lengths.iter().max());
    // One error of noise is a tenth of the flux; constant features keep their unit.
    let deviation = (relative.iter().map(|r| r * r).sum::<f64>() / relative.len() as f64).sqrt();
    assert!((0.08..0.12).contains(&deviation), "{deviation}");
}

#[test]
fn too_few_observations_mean_absent() {
    let arrays = evaluate("min_observations = 3", &some());
    assert_eq!(arrays.present, [true, false, true, false, false, false]);
}

#[test]
fn data_without_errors_and_bands_works() {
    let list = |leaf| DataType::List(Arc::new(Field::new("element", leaf, true)));
    let lists = vec![Field::new("t", list(DataType::Float64), true), Field::new("f", list(DataType::Float64), true)];
    let fields = vec![Field::new("lc", DataType::Struct(lists.into()), true)];
    let bare = Objects::new(&json!([{"object_id": "a", "lc": {"t": [1.0, 2.0], "f": [1.0, 2.0]}}]), fields);
    let toml = "column = \"lc\"\ntime = \"t\"\nflux = \"f\"\nflux_err = \"\"\nband = \"\"";
    let arrays = evaluate(toml, &bare);
    assert_eq!(valid_row(&arrays, "time", 0), [-1.0, 0.0]);
    assert_eq!(valid_row(&arrays, "values", 0)[3..7], [0.0; 4]);
}

#[test]
fn lists_of_different_length_name_the_object_and_column() {
    let torn = objects(&json!([{"object_id": "SN 2011fe", "lightcurve": {
        "time": [1.0, 2.0], "flux": [1.0], "flux_err": [1.0, 1.0], "band": ["g", "g"]}}]));
    let mut modality = build_modality("kind = \"time_series\"");
    let error = modality.fit(&mut std::iter::once(Ok(torn.rows()))).unwrap_err();
    assert!(matches!(error, Error::Data(_)));
    let text = error.to_string();
    for part in ["SN 2011fe", "lightcurve.time", "expected 1", "got 2"] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[test]
fn training_data_without_one_series_is_an_error() {
    let none = objects(&json!([{"object_id": "a"}]));
    let error = build_modality("kind = \"time_series\"").fit(&mut std::iter::once(Ok(none.rows()))).unwrap_err();
    assert!(error.to_string().contains("lightcurve.flux"), "{error}");
}

#[test]
fn a_scaler_is_needed_and_must_be_of_this_kind() {
    let mut modality = build_modality("kind = \"time_series\"");
    let context = PrepareContext { mode: Mode::Evaluate, seed: 0, epoch: 0, modality: "lc" };
    assert!(modality.prepare(&some().rows(), &context).is_err());
    for bad in [json!(null), json!({}), json!({"features": ["a"], "mean": [0.0], "deviation": [1.0]})] {
        assert!(modality.restore(&bad).is_err(), "{bad}");
    }
}

#[test]
fn values_out_of_range_are_rejected_at_their_key() {
    let registry = Registry::linked().unwrap();
    for (toml, part) in [
        ("max_observations = 0", "1 to 65536"),
        ("min_observations = 200", "1 to 128"),
        ("flux_softening = 0.0", "above 0"),
        ("time_unit_days = -1.0", "above 0"),
        ("drop_fraction = 1.0", "below 1"),
        ("noise = -0.1", "0 or more"),
        ("window_days = [3.0, 1.0]", "rise"),
        ("bands = { g = 0.0 }", "band `g`"),
        ("flux = \"\"", "empty"),
        ("time_origin = \"last\"", "last"),
    ] {
        let section = Section::from_toml("modality.lc", &format!("kind = \"time_series\"\n{toml}")).unwrap();
        let error = registry.modalities.build(&section, &ModalityContext { name: "lc" }).err().unwrap();
        assert!(error.to_string().contains(part), "{toml}: {error}");
        assert_eq!(error.place().map(panchroma_core::config::Place::line), Some(2), "{toml}");
    }
    let spec = build_modality("kind = \"time_series\"").spec();
    for (toml, part) in
        [("shortest_days = 0.0", "above 0"), ("longest_days = 0.5", "above 1"), ("frequencies = 0", "1 to")]
    {
        let section = Section::from_toml("modality.lc.tokenizer", &format!("{TOKENIZER}\n{toml}")).unwrap();
        let context = panchroma_core::TokenizerContext {
            modality: "lc",
            arrays: &spec,
            parameters: &panchroma_core::Parameters::new(0, &candle_core::Device::Cpu),
        };
        let error = registry.tokenizers.build(&section, &context).err().unwrap();
        assert!(error.to_string().contains(part), "{toml}: {error}");
    }
}

#[test]
fn the_tokenizer_refuses_other_modalities() {
    let spec = panchroma_core::ArraysSpec {
        fields: vec![],
        valid_axes: &["L"],
        sizes: vec![("L", 3), ("F", 2)],
        labels: vec![],
    };
    let section = Section::from_toml("modality.x.tokenizer", TOKENIZER).unwrap();
    let context = panchroma_core::TokenizerContext {
        modality: "x",
        arrays: &spec,
        parameters: &panchroma_core::Parameters::new(0, &candle_core::Device::Cpu),
    };
    let error = Registry::linked().unwrap().tokenizers.build(&section, &context).err().unwrap();
    assert!(error.to_string().contains("time_series"), "{error}");
}

#[test]
fn tokens_are_no_more_than_the_spec_says() {
    let modality = build_modality("kind = \"time_series\"\nmax_observations = 7");
    assert_eq!(build_tokenizer(TOKENIZER, &modality.spec()).spec().max_tokens, 7);
}

#[test]
fn defaults_are_those_of_the_manual() {
    let config = TimeSeriesConfig::read(&Section::from_toml("modality.lc", "kind = \"time_series\"").unwrap()).unwrap();
    assert_eq!((config.max_observations, config.min_observations), (128, 1));
    assert_eq!(config.column, "lightcurve");
}

#[test]
fn real_supernovae_have_known_bands_and_features_of_order_one() {
    let toml = "kind = \"time_series\"\nflux_softening = 100.0";
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/supernovae");
    let catalogue = Catalogue::open(&DataConfig::at(folder), &build_modality(toml).columns()).unwrap();
    let every: Vec<u32> = (0..catalogue.len() as u32).collect();
    let rows = catalogue.read(&every).unwrap();
    let context = PrepareContext { mode: Mode::Evaluate, seed: 1, epoch: 0, modality: "lc" };
    let arrays = fitted(toml, &rows).prepare(&rows, &context).unwrap();
    // 1952 of 2771 objects have a light curve.
    assert_eq!(arrays.present.iter().filter(|p| **p).count(), 1952);

    let (_, valid) = arrays.valid().unwrap();
    let (_, values) = arrays.f32("values").unwrap();
    let seen: Vec<&[f32]> =
        values.chunks(FEATURES.len()).zip(valid).filter(|(_, v)| **v == 1).map(|(f, _)| f).collect();
    let mean = |i: usize| seen.iter().map(|f| f64::from(f[i])).sum::<f64>() / seen.len() as f64;
    assert!(mean(6) > 0.97, "share of observations with a known band: {}", mean(6));
    assert!((0.9..1.0).contains(&mean(5)), "share with a known error: {}", mean(5));
    for i in [0, 2] {
        let square = seen.iter().map(|f| f64::from(f[i]).powi(2)).sum::<f64>() / seen.len() as f64;
        assert!(mean(i).abs() < 0.01 && (0.95..1.05).contains(&square), "{}: {} {square}", FEATURES[i], mean(i));
    }

    let few = Objects::from_rows(catalogue.read(&every[..24]).unwrap());
    let measured = &["time", "values", "wavelength"];
    conformance(&Case { modality: toml, tokenizer: TOKENIZER, objects: &few, measured, reconstruction: Some(0.0) });
}

#[test]
fn columns_that_the_catalogue_lacks_are_an_error_of_the_loader() {
    let columns = build_modality("kind = \"time_series\"\nflux = \"fluxx\"").columns();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/supernovae");
    let error = Catalogue::open(&DataConfig::at(folder), &columns).err().unwrap();
    assert!(error.to_string().contains("`lightcurve.fluxx`"), "{error}");
}

#[test]
fn what_was_not_seen_is_an_observation_of_nothing() {
    let arrays = evaluate("limit = \"limit\"\nlimit_sigma = 3.0\ntime_origin = \"first\"", &some());
    // The NaN flux at 20 has a limit of 7.5; the flux of -1 at 10 is measured, whatever its limit.
    assert_eq!(valid_row(&arrays, "time", 0), [0.0, 1.0, 2.0, 10.0]);
    let values = valid_row(&arrays, "values", 0);
    let flags: Vec<f32> = values.chunks(8).map(|v| v[7]).collect();
    assert_eq!(flags, [0.0, 0.0, 0.0, 1.0]);
    // Its significance is 0 and it has an error.
    assert_eq!(values[3 * 8 + 5], 1.0);
}

#[test]
fn phases_are_fractions_of_the_period_from_the_origin() {
    let arrays = evaluate("period_column = \"period\"", &some());
    // Days -1, 0 and 1 in periods of 0.75.
    let phases = valid_row(&arrays, "phase", 0);
    assert!(phases.iter().zip([2.0 / 3.0, 0.0, 1.0 / 3.0]).all(|(p, e)| (p - e as f32).abs() < 1e-6), "{phases:?}");
    assert!(valid_row(&arrays, "phase", 2).iter().all(|p| *p == UNKNOWN));
    let modality = fitted("kind = \"time_series\"\nperiod_column = \"period\"", &some().rows());
    let tokenizer = build_tokenizer(TOKENIZER, &modality.spec());
    let tokens = tokenizer.tokenize(&arrays, &panchroma_core::Forward::evaluate()).unwrap();
    let coordinates = tokens.coordinates.to_vec3::<f32>().unwrap();
    assert_eq!(tokenizer.spec().coordinates[2].name, "phase");
    assert!((coordinates[0][0][2] - 2.0 / 3.0).abs() < 1e-6 && coordinates[2][0][2].is_nan());
}

#[test]
fn channels_are_told_apart_without_wavelengths() {
    let modality = fitted("kind = \"time_series\"\nchannels = [\"X\", \"g\"]", &some().rows());
    let arrays = prepare(&*modality, &some(), Mode::Evaluate, 0);
    assert_eq!(valid_row(&arrays, "channel", 0), [UNKNOWN, 0.0, 1.0]);
}

#[test]
fn a_patch_says_when_each_of_its_observations_was() {
    let modality = fitted("kind = \"time_series\"\ntime_origin = \"first\"", &some().rows());
    let arrays = prepare(&*modality, &some(), Mode::Evaluate, 0);
    let tokenizer = build_tokenizer("kind = \"time_patches\"\nobservations = 2\npatch_days = 0.5", &modality.spec());
    let tokens = tokenizer.tokenize(&arrays, &panchroma_core::Forward::evaluate()).unwrap();
    assert_eq!(tokens.valid.to_vec2::<u8>().unwrap()[0], [1, 1, 0, 0]);
    assert_eq!(tokens.coordinates.to_vec3::<f32>().unwrap()[0][..2], [[0.5], [2.0]]);
    let panchroma_core::TokenValues::Patches(values) = &tokens.values else { panic!("patches are values") };
    let first = values.to_vec3::<f32>().unwrap()[0][0].clone();
    // 7 features, then time, wavelength and 1.
    assert!((first[7] + 1f32.asinh()).abs() < 1e-6 && (first[17] - 1f32.asinh()).abs() < 1e-6, "{first:?}");
    assert_eq!((first[9], first[19]), (1.0, 1.0));
}

#[test]
fn an_unknown_band_is_an_error_if_asked_for() {
    let text = "kind = \"time_series\"\nstrict_bands = true";
    let mut modality = build_modality(text);
    let error = modality.fit(&mut std::iter::once(Ok(some().rows()))).unwrap_err().to_string();
    let expected = "object `a`, column `lightcurve.band`: the wavelength of band `X` is not known; say it with \
                    `bands = { \"X\" = 5000.0 }` (Angstrom), name it in `channels`, or allow it with `strict_bands = false`";
    assert_eq!(error, expected);
}

#[test]
fn series_of_no_and_of_very_many_observations_work() {
    let many = 100_000;
    let times: Vec<f64> = (0..many).map(|i| f64::from(i) * 0.01).collect();
    let flux: Vec<f64> = (0..many).map(|i| f64::from(i).sin()).collect();
    let objects = objects(&json!([
        {"object_id": "long", "lightcurve": {"time": times, "flux": flux, "flux_err": vec![0.1; many as usize], "band": vec!["g"; many as usize]}},
        {"object_id": "none", "lightcurve": {"time": [], "flux": [], "flux_err": [], "band": []}},
    ]));
    let all = evaluate("max_observations = 65536", &objects);
    assert_eq!((all.valid().unwrap().0, all.present.clone()), (&[2, 65_536][..], vec![true, false]));
    let few = evaluate("max_observations = 100", &objects);
    let kept = valid_row(&few, "time", 0);
    assert!((kept[99] - kept[0] - 999.99).abs() < 1e-2, "both ends stay");
}

#[test]
fn regular_series_need_no_times() {
    let objects =
        objects(&json!([{"object_id": "a", "lightcurve": {"flux": [1.0, 2.0, 3.0], "band": ["g", "g", "g"]}}]));
    let arrays = evaluate("time = \"\"\ncadence = 0.25\ntime_origin = \"first\"", &objects);
    assert_eq!(valid_row(&arrays, "time", 0), [0.0, 0.25, 0.5]);
    for bad in ["time = \"\"", "cadence = 1.0", "time = \"\"\ncadence = 0.0", "channels = [\"a\", \"a\"]"] {
        let section = Section::from_toml("modality.test", &format!("kind = \"time_series\"\n{bad}\n")).unwrap();
        assert!(TimeSeriesConfig::read(&section).is_err(), "{bad}");
    }
}

#[test]
fn the_error_of_what_was_not_seen_comes_from_its_limit() {
    let text = |sigma: &str| format!("kind = \"time_series\"\nlimit = \"limit\"\nlimit_sigma = {sigma}");
    let modality = fitted(&text("3.0"), &some().rows());
    // The same scaler, or the change would hide in it.
    let mut other = build_modality(&text("30.0"));
    other.restore(&modality.fitted()).unwrap();
    let error =
        |modality: &dyn Modality| valid_row(&prepare(modality, &some(), Mode::Evaluate, 0), "values", 0)[3 * 8 + 3];
    let deviation = modality.fitted()["deviation"][3].as_f64().unwrap();
    // A tenth of the error is 1 less in its logarithm.
    assert!((f64::from(error(&*modality) - error(&*other)) * deviation - 1.0).abs() < 1e-5);
}

fn tokens(toml: &str, objects: &Objects, tokenizer: &str) -> panchroma_core::Tokens {
    let toml = format!("kind = \"time_series\"\n{toml}");
    let modality = fitted(&toml, &objects.rows());
    let arrays = prepare(&*modality, objects, Mode::Evaluate, 0);
    let tokenizer = build_tokenizer(tokenizer, &modality.spec());
    tokenizer.tokenize(&arrays, &panchroma_core::Forward::evaluate()).unwrap()
}

#[test]
fn a_band_of_unknown_wavelength_says_nothing_of_it() {
    let found = tokens("", &some(), TOKENIZER).coordinates.to_vec3::<f32>().unwrap();
    assert_eq!(found[0][0][1], 6190f64.ln() as f32);
    assert!(found[0][1][1].is_nan(), "band X: {:?}", found[0]);
    // Gamma rays have a wavelength below one Angstrom, whose logarithm is negative.
    let gamma = tokens("bands = { X = 1e-4 }", &some(), TOKENIZER).coordinates.to_vec3::<f32>().unwrap();
    assert_eq!(gamma[0][1][1], 1e-4f64.ln() as f32);
    // Without bands there is no such coordinate at all.
    assert_eq!(tokens("band = \"\"", &some(), TOKENIZER).coordinates.dim(2).unwrap(), 1);
}

#[test]
fn values_of_small_errors_weigh_more_in_either_tokenizer() {
    // Brightness is asinh of the flux: its errors are 1 / hypot(0, 1) = 1 and 2 / hypot(3.9, 1) = 0.497, whose inverse squares 1 and
    // 4.0525 have the mean 2.52625. Of the relative flux 1 and 1/4 have 5/8; of asinh(flux / error) 1 and 1 + 1.95^2 = 4.8025
    // have 2.90125. What has no error weighs 1, and so does all of the last observation.
    let list = json!([{"object_id": "a", "lightcurve": {
        "time": [1.0, 2.0, 3.0], "flux": [0.0, 3.9, 3.0], "flux_err": [1.0, 2.0, "NaN"], "band": ["g", "g", "g"]}}]);
    let rows = [[0.39584, 1.6, 1.0, 1.0, 0.34468, 1.0, 1.0], [1.60416, 0.4, 1.0, 1.0, 1.65532, 1.0, 1.0], [1.0; 7]];
    let near = |found: &[f32], expected: &[f32; 7]| found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-4);
    let weights = |tokenizer| {
        let found = tokens("", &objects(&list), tokenizer).weights.unwrap();
        found.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    let found = weights(TOKENIZER);
    assert!(found.chunks(7).zip(&rows).all(|(f, r)| near(f, r)), "{found:?}");
    // Of a patch, time, wavelength and 1 are not measured.
    let found = weights("kind = \"time_patches\"\nobservations = 3");
    assert!(found.chunks(10).zip(&rows).all(|(f, r)| near(f, r) && f[7..] == [0.0; 3]), "{found:?}");
}

#[test]
fn phases_wrap_and_stay_when_training_moves_the_times() {
    // Just before the origin: a phase that single precision rounds to 1 is 0.
    let list = json!([{"object_id": "a", "explosion": 100.0, "period": 10.0, "lightcurve": {
        "time": [99.999_999_9, 97.5, 102.5], "flux": [1.0, 2.0, 3.0], "flux_err": [1.0, 1.0, 1.0], "band": ["g", "g", "g"]}}]);
    let toml =
        "kind = \"time_series\"\norigin_column = \"explosion\"\nperiod_column = \"period\"\ntime_jitter_days = 5.0\n";
    let objects = objects(&list);
    let modality = fitted(toml, &objects.rows());
    let still = prepare(&*modality, &objects, Mode::Evaluate, 0);
    assert_eq!(valid_row(&still, "phase", 0), [0.75, 0.0, 0.25]);
    for epoch in 0..5 {
        let moved = prepare(&*modality, &objects, Mode::Train, epoch);
        assert_ne!(valid_row(&moved, "time", 0), valid_row(&still, "time", 0));
        let apart = valid_row(&moved, "phase", 0).into_iter().zip([0.75f32, 0.0, 0.25]).map(|(a, b)| (a - b).abs());
        assert!(apart.map(|d| d.min(1.0 - d)).all(|d| d < 1e-6));
    }
}

#[test]
fn fields_may_be_columns_themselves() {
    let field = |name: &str, leaf| Field::new(name, DataType::List(Arc::new(Field::new("element", leaf, true))), true);
    let fields = vec![field("t", DataType::Float64), field("f", DataType::Float32)];
    let objects = Objects::new(&json!([{"object_id": "a", "t": [1.0, 2.0], "f": [3.0, 4.0]}]), fields);
    let arrays = evaluate("column = \"\"\ntime = \"t\"\nflux = \"f\"\nflux_err = \"\"\nband = \"\"", &objects);
    assert_eq!(arrays.present, [true]);
}

#[test]
fn a_sketch_has_the_fluxes_of_the_data() {
    let modality = fitted("kind = \"time_series\"", &some().rows());
    let arrays = prepare(&*modality, &some(), Mode::Evaluate, 0);
    let Some(Sketch::Samples { axis, groups, .. }) = modality.sketch(&arrays, 0).unwrap() else { panic!("samples") };
    assert_eq!(axis[1], "day");
    let names: Vec<&str> = groups.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["4720 Å", "6190 Å", "unknown band"]);
    let found: Vec<[f64; 3]> = groups.iter().flat_map(|(_, all)| all).map(|s| [s.at, s.value, s.error]).collect();
    for (found, expected) in found.iter().zip([[1.0, 5.0, 1.0], [-1.0, -1.0, 0.0], [0.0, 50.0, 2.0]]) {
        assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-3 * e.abs().max(0.1)), "{found:?}");
    }
    assert!(modality.sketch(&arrays, 1).unwrap().is_none(), "absent");
    // Each band from the first to the last time of the object.
    let closely = modality.closely(&arrays).unwrap().unwrap();
    closely.check("lc", &modality.spec()).unwrap();
    let times = valid_row(&closely, "time", 0);
    assert_eq!((times.len(), times[0], times[times.len() - 1]), (180, -1.0, 1.0));
    assert_eq!(closely.present, arrays.present);
    assert!(valid_row(&closely, "time", 1).is_empty());
}
