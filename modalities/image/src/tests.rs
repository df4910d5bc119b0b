//! The modality and its tokenizer together, on a few small images and on real ones.

use arrow_schema::{DataType, Field};
use panchroma_core::data::{Catalogue, DataConfig};
use panchroma_core::sketch::Sketch;
use panchroma_core::{Arrays, Encoding, Forward, Modality, Mode, PrepareContext, Section, TokenKind};
use panchroma_testing::{Case, Objects, build_modality, build_tokenizer, conformance, fitted};
use serde_json::{Value, json};

mod codecs;
mod pixels;

const SMALL: &str = "kind = \"image\"\nchannels = [\"r\", \"g\"]\nsize = 4\n";
const RAW: &str = "scaling = \"linear\"\nsoftening = 1\nbackground = \"none\"\n";

fn fields() -> Vec<Field> {
    let planes = |leaf| {
        let line = DataType::new_list(leaf, true);
        DataType::new_list(DataType::new_list(line, true), true)
    };
    let inner = vec![
        Field::new("band", DataType::new_list(DataType::Utf8, true), true),
        Field::new("flux", planes(DataType::Float32), true),
        Field::new("ivar", planes(DataType::Float32), true),
        Field::new("mask", planes(DataType::Boolean), true),
        Field::new("psf_fwhm", DataType::new_list(DataType::Float32, true), true),
        Field::new("scale", DataType::new_list(DataType::Float32, true), true),
    ];
    let ebv = Field::new("ebv", DataType::Float64, true);
    vec![Field::new("image", DataType::Struct(inner.into()), true), ebv]
}

/// A plane whose pixel at line y, place x is `start + 10 y + x`.
fn plane(start: f64, height: usize, width: usize) -> Value {
    let line = |y: usize| (0..width).map(|x| start + (10 * y + x) as f64).collect::<Vec<_>>();
    json!((0..height).map(line).collect::<Vec<_>>())
}

fn objects() -> Objects {
    let mut mask = vec![vec![vec![false; 4]; 4]; 2];
    mask[0][1][2] = true;
    for line in &mut mask[1][..2] {
        line[..2].fill(true);
    }
    let list = json!([
        { "object_id": "both", "image": { "band": ["g", "r"], "flux": [plane(0.0, 4, 4), plane(100.0, 4, 4)], "mask": mask } },
        { "object_id": "none" },
        { "object_id": "large", "ebv": 0.2, "image": { "band": ["r", "z", "g"], "psf_fwhm": [1.2, 1.0, "NaN"], "scale": [0.2, 0.2, 0.4], "flux": [plane(5.0, 7, 6), plane(0.0, 7, 6), plane(-9.0, 7, 6)] } },
        { "object_id": "one", "image": { "band": ["g"], "flux": [plane(3.0, 2, 2)], "ivar": [[[1.0, 0.0], [2.0, 1.0]]] } },
        { "object_id": "other", "image": { "band": ["z"], "flux": [plane(3.0, 4, 4)] } },
        { "object_id": "empty", "image": { "band": [], "flux": [] } },
    ]);
    Objects::new(&list, fields())
}

fn prepare(modality: &dyn Modality, objects: &Objects, mode: Mode, epoch: u64) -> panchroma_core::Result<Arrays> {
    modality.prepare(&objects.rows(), &PrepareContext { mode, seed: 1, epoch, modality: "test" })
}

#[test]
fn the_contracts_are_kept() {
    let turned = format!("{SMALL}{RAW}flip = true\nrotate = true\n");
    let changed = format!("{SMALL}shift = 1\nnoise = 1\nblur = 2\nredden = 0.1\nebv = \"ebv\"\n");
    let stretched = format!("{SMALL}resize = \"stretch\"\nblur = 1\n");
    let without = format!("{SMALL}ivar = \"\"\nmask = \"\"\n");
    for modality in [SMALL, &turned, &changed, &stretched, &without] {
        let all = "patch = 2\nlayout = \"per_band\"\nmetadata = [\"psf_fwhm\", \"scale\", \"noise\"]";
        let across = "patch = 2\nmetadata = [\"scale\"]";
        for tokenizer in ["patch = 2", across, "patch = 2\nlayout = \"per_band\"", all, "patch = 4"] {
            conformance(&Case {
                modality,
                tokenizer: &format!("kind = \"patches\"\n{tokenizer}\n"),
                objects: &objects(),
                measured: &["flux"],
                reconstruction: Some(0.0),
            });
        }
    }
}

#[test]
fn the_contracts_are_kept_at_a_given_width_of_pixels() {
    let list = json!([
        { "object_id": "coarse", "image": { "band": ["r", "g"], "flux": [plane(0.0, 5, 5), plane(3.0, 6, 4)], "scale": [0.4, 0.5] } },
        { "object_id": "none" },
        { "object_id": "fine", "image": { "band": ["r"], "flux": [plane(1.0, 9, 9)], "ivar": [vec![vec![0.5; 9]; 9]], "scale": [0.2] } },
    ]);
    conformance(&Case {
        modality: &format!("{SMALL}shift = 1\nnoise = 1\nblur = 2\npixel_scale = 0.3\n"),
        tokenizer: "kind = \"patches\"\npatch = 2\nmetadata = [\"scale\", \"noise\"]\n",
        objects: &Objects::new(&list, fields()),
        measured: &["flux"],
        reconstruction: Some(0.0),
    });
}

#[test]
fn the_descriptors_are_true() {
    let modality = panchroma_testing::modality_descriptor("image");
    let tokenizer = panchroma_testing::tokenizer_descriptor("patches", &modality.spec());
    // 64 pixels in squares of 8; three channels of 8 x 8 pixels.
    assert_eq!(tokenizer.spec().max_tokens, 64);
    assert_eq!(tokenizer.spec().kind, TokenKind::Patches { width: 192 });
}

#[test]
fn channels_come_in_the_order_of_the_config() {
    let arrays = prepare(build_modality(&format!("{SMALL}{RAW}clip = 1000\n")).as_ref(), &objects(), Mode::Evaluate, 0);
    let arrays = arrays.expect("fits");
    assert_eq!(arrays.present, [true, false, true, true, false, false]);
    let (_, flux) = arrays.f32("flux").expect("flux");
    let (_, valid) = arrays.valid().expect("u8");
    // `r` of the first object starts at 100; its four pixels at the corner and one of `g` are flagged.
    assert_eq!(&flux[..8], &[0., 0., 102., 103., 0., 0., 112., 113.]);
    assert_eq!(&valid[..8], &[0, 0, 1, 1, 0, 0, 1, 1]);
    assert_eq!(valid[16 + 6], 0);
    assert_eq!(flux[16 + 5], 11.0);
    // 7 x 6 pixels lose one line above and two below, one place at each side.
    assert_eq!(flux[2 * 32], 5.0 + 10.0 + 1.0);
    // 2 x 2 pixels are padded by one around; one has no inverse variance; `r` is missing.
    assert!(valid[3 * 32..3 * 32 + 16].iter().all(|v| *v == 0));
    let padded = &valid[3 * 32 + 16..4 * 32];
    assert_eq!(padded, [0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]);
}

#[test]
fn the_training_split_ends_up_with_mean_0_and_deviation_1() {
    let objects = objects();
    let arrays = prepare(fitted(SMALL, &objects.rows()).as_ref(), &objects, Mode::Evaluate, 0).expect("fits");
    let (_, flux) = arrays.f32("flux").expect("flux");
    let (_, valid) = arrays.valid().expect("u8");
    for channel in 0..2 {
        let own = (0..flux.len()).filter(|i| i / 16 % 2 == channel && valid[*i] == 1);
        let values: Vec<f64> = own.map(|i| f64::from(flux[i])).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-5, "{mean} {variance}");
    }
}

#[test]
fn a_channel_that_no_object_has_is_an_error() {
    let mut modality = build_modality("kind = \"image\"\nchannels = [\"r\", \"q\"]\nsize = 4\n");
    let error = modality.fit(&mut std::iter::once(Ok(objects().rows()))).expect_err("no `q`");
    assert_eq!(error.to_string(), "column `image.flux, plane q` of [modality.test] has no value in the training split");
}

#[test]
fn training_turns_all_channels_alike() {
    let modality = build_modality(&format!("{SMALL}{RAW}clip = 1000\nflip = true\nrotate = true\n"));
    let list =
        json!([{ "object_id": "a", "image": { "band": ["r", "g"], "flux": [plane(0.0, 4, 4), plane(100.0, 4, 4)] } }]);
    let objects = Objects::new(&list, fields());
    let mut seen = std::collections::BTreeSet::new();
    for epoch in 0..60 {
        let arrays = prepare(modality.as_ref(), &objects, Mode::Train, epoch).expect("fits");
        let (_, flux) = arrays.f32("flux").expect("flux");
        for (r, g) in flux[..16].iter().zip(&flux[16..]) {
            assert_eq!(r + 100.0, *g);
        }
        seen.insert(flux[..16].iter().map(|v| *v as u32).collect::<Vec<_>>());
    }
    assert_eq!(seen.len(), 8);
    let plain = prepare(modality.as_ref(), &objects, Mode::Evaluate, 0).expect("fits");
    assert_eq!(&plain.f32("flux").expect("flux").1[..5], &[0., 1., 2., 3., 10.]);
}

#[test]
fn tokens_say_where_they_are_and_what_they_hold() {
    let modality = build_modality(&format!("{SMALL}{RAW}clip = 1000\n"));
    let arrays = prepare(modality.as_ref(), &objects(), Mode::Evaluate, 0).expect("fits");
    let spec = modality.spec();
    let tokenizer = build_tokenizer("kind = \"patches\"\npatch = 2\nlayout = \"per_band\"\n", &spec);
    let tokens = tokenizer.tokenize(&arrays, &Forward::evaluate()).expect("fits");
    // The second square of `g` in the first object: right of and above the centre.
    let panchroma_core::TokenValues::Patches(values) = &tokens.values else { unreachable!("patches are values") };
    assert_eq!(values.to_vec3::<f32>().expect("f32")[0][5], [2.0, 3.0, 0.0, 13.0]);
    assert_eq!(tokens.coordinates.to_vec3::<f32>().expect("f32")[0][5], [1.0, -1.0, 1.0, 4720f32.ln()]);
    assert_eq!(tokens.valid.to_vec2::<u8>().expect("u8")[0], [0, 1, 1, 1, 1, 1, 1, 1]);
    assert_eq!(tokens.weights.expect("always").to_vec3::<f32>().expect("f32")[0][5], [1.0, 1.0, 0.0, 1.0]);
    assert_eq!(tokenizer.spec().coordinates[2].encoding, Encoding::Category { size: 2 });
    let across = build_tokenizer("kind = \"patches\"\npatch = 2\n", &spec).spec();
    assert_eq!((across.kind, across.max_tokens), (TokenKind::Patches { width: 8 }, 4));
}

#[test]
fn bad_rows_are_named() {
    let error = |image: Value| {
        let list = json!([{ "object_id": "a1", "image": image }]);
        let result = prepare(build_modality(SMALL).as_ref(), &Objects::new(&list, fields()), Mode::Evaluate, 0);
        result.expect_err("refused").to_string()
    };
    assert_eq!(
        error(json!({ "band": ["g"], "flux": [[[1.0, 2.0], [3.0]]] })),
        "object `a1`, column `image.flux`: expected a rectangle, but plane `g` has 2 pixels in its first line and 1 in line 1"
    );
    assert_eq!(
        error(json!({ "band": ["g"], "flux": [plane(0.0, 2, 2), plane(0.0, 2, 2)] })),
        "object `a1`, column `image.band`: expected a name for each of 2 planes, got 1"
    );
    assert_eq!(
        error(json!({ "band": ["g", "g"], "flux": [plane(0.0, 2, 2), plane(0.0, 2, 2)] })),
        "object `a1`, column `image.band`: two planes are called `g`; does another field tell them apart (`channels_from`)?"
    );
    assert_eq!(
        error(json!({ "band": ["g"], "flux": [plane(0.0, 2, 2)], "mask": [[[true, false]]] })),
        "object `a1`, column `image.mask`: expected 2 lines of 2 pixels in `g`, as `flux` has, got 1 of 2"
    );
    assert_eq!(
        error(json!({ "band": ["g"], "flux": [plane(0.0, 1, 2)], "ivar": [[[1.0, -2.0]]] })),
        "object `a1`, column `image.ivar`: expected inverse variances of 0 and more in `g`, got -2"
    );
    assert_eq!(
        error(json!({ "band": ["g"], "flux": [plane(0.0, 1, 2)], "scale": [0.2, 0.3] })),
        "object `a1`, column `image.scale`: expected a value for each of 1 planes, got 2"
    );
}

#[test]
fn pixels_of_a_width_that_makes_no_sense_are_an_error() {
    let list = json!([{ "object_id": "a", "image": { "band": ["r"], "flux": [plane(0.0, 4, 4)], "scale": [1e-6] } }]);
    let modality = build_modality(&format!("{SMALL}pixel_scale = 0.2\n"));
    let error = prepare(modality.as_ref(), &Objects::new(&list, fields()), Mode::Evaluate, 0).expect_err("too small");
    assert!(error.to_string().starts_with("object `a`, column `image.scale`: pixels of `r` are"), "{error}");
}

#[test]
fn bad_config_is_refused_at_the_key() {
    let spec = build_modality("kind = \"image\"\nchannels = [\"r\"]\nsize = 63\n").spec();
    let context = panchroma_core::TokenizerContext {
        modality: "test",
        arrays: &spec,
        parameters: &panchroma_core::Parameters::new(0, &candle_core::Device::Cpu),
    };
    let section = Section::from_toml("modality.test.tokenizer", "kind = \"patches\"\npatch = 10\n").expect("TOML");
    let error = crate::Patches::build(&section, &context).expect_err("10 does not divide 63");
    let text = "`patch = 10` does not divide `size = 63`; the nearest that do: `9` and `21`";
    assert!(error.to_string().contains(text), "{error}");
    assert_eq!(error.place().expect("a place").line(), 2);
    for bad in [
        "channels = []\nsize = 4",
        "channels = [\"r\", \"r\"]\nsize = 4",
        "channels = [\"r\"]\nsize = 0",
        "channels = [\"r\"]\nsize = 4\nsoftening = 0",
        "channels = [\"r\"]\nsize = 4\nclip = -1",
        "channels = [\"r\"]\nsize = 4\nshift = 5",
        "channels = [\"r\"]\nsize = 4\npixel_scale = 0.2\nresize = \"stretch\"",
        "channels = [\"r\"]\nsize = 4\nbands = { r = -1.0 }",
    ] {
        let section = Section::from_toml("modality.test", &format!("kind = \"image\"\n{bad}\n")).expect("TOML");
        assert!(crate::ImageConfig::read(&section).is_err(), "{bad}");
    }
}

#[test]
fn real_alerts_are_read_by_view() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/ztf_alerts");
    let text = "kind = \"image\"\nchannels_from = \"view\"\nchannels = [\"science\", \"template\", \"difference\"]\nsize = 63\n";
    let catalogue = Catalogue::open(&DataConfig::at(path), &build_modality(text).columns()).expect("a catalogue");
    let all: Vec<u32> = (0..).take(catalogue.len()).collect();
    let rows = catalogue.read(&all).expect("readable");
    let modality = fitted(text, &rows);
    let arrays = modality
        .prepare(&rows, &PrepareContext { mode: Mode::Evaluate, seed: 1, epoch: 0, modality: "image" })
        .expect("no bad row");
    arrays.check("image", &modality.spec()).expect("the contract");
    assert_eq!(arrays.present.iter().filter(|p| **p).count(), 309);
    let (_, valid) = arrays.valid().expect("u8");
    // Counted with NumPy: of 309 x 3 x 63 x 63 pixels 51,917 are flagged, 136 others hold about -3.4e38.
    assert_eq!(valid.iter().filter(|v| **v == 0).count(), 51_917 + 136);
    let tokenizer = build_tokenizer("kind = \"patches\"\npatch = 9\n", &modality.spec());
    let tokens = tokenizer.tokenize(&arrays, &Forward::evaluate()).expect("fits");
    let back = tokenizer.reconstruct(&tokens, None, &Forward::evaluate()).expect("fits").expect("possible");
    assert_eq!((&back.fields["flux"], &back.valid), (&arrays.fields["flux"], &arrays.valid));
    // Read off the catalogue with pyarrow.
    let (_, seeing) = arrays.f32("psf_fwhm").expect("f32");
    assert!(seeing.iter().all(|s| (1.0..7.0).contains(s)));
    assert!(arrays.f32("scale").expect("f32").1.iter().all(|s| (*s - 1.01).abs() < 1e-6));
}

#[test]
fn what_is_known_of_an_image_reaches_its_tokens() {
    let modality = fitted(SMALL, &objects().rows());
    let arrays = prepare(modality.as_ref(), &objects(), Mode::Evaluate, 0).expect("fits");
    let coordinates = |tokenizer: &str| {
        let tokenizer = build_tokenizer(&format!("kind = \"patches\"\npatch = 4\n{tokenizer}\n"), &modality.spec());
        let tokens = tokenizer.tokenize(&arrays, &Forward::evaluate()).expect("fits");
        tokens.coordinates.to_vec3::<f32>().expect("f32")
    };
    let per_band = coordinates("layout = \"per_band\"\nmetadata = [\"scale\", \"psf_fwhm\"]");
    // `large`: r then g, whose seeing is NaN.
    assert_eq!(per_band[2][0], [0.0, 0.0, 0.0, 6190f32.ln(), 0.2, 1.2]);
    assert_eq!(per_band[2][1][..5], [0.0, 0.0, 1.0, 4720f32.ln(), 0.4]);
    assert!(per_band[2][1][5].is_nan() && per_band[0][0][4].is_nan());
    let across = coordinates("metadata = [\"scale\", \"noise\"]");
    assert!((across[2][0][2] - 0.3).abs() < 1e-6 && across[2][0][3] > 1.0);
}

#[test]
fn dust_is_corrected_by_the_wavelength_of_the_band() {
    let text = format!("{SMALL}{RAW}clip = 1000\n");
    let plain = prepare(build_modality(&text).as_ref(), &objects(), Mode::Evaluate, 0).expect("fits");
    let text = format!("{text}ebv = \"ebv\"\n");
    let bright = prepare(build_modality(&text).as_ref(), &objects(), Mode::Evaluate, 0).expect("fits");
    let (_, plain) = plain.f32("flux").expect("flux");
    let (_, bright) = bright.f32("flux").expect("flux");
    // Only `large` has an E(B-V), 0.2; A_r = 0.457 and A_g = 0.660 magnitudes.
    assert_eq!(plain[..64], bright[..64]);
    for (at, magnitudes) in [(64, 0.457), (64 + 16 + 15, 0.660)] {
        let got = 2.5 * f64::from(bright[at] / plain[at]).log10();
        assert!((got - magnitudes).abs() < 0.005, "{got} {magnitudes}");
    }
}

#[test]
fn pixels_of_another_width_show_the_same_piece_of_sky() {
    // A blob of the same width on the sky, in pixels of 0.2 and of 0.4 arcseconds.
    let blob = |n: usize, scale: f64| {
        let at = |i: usize| (i as f64 - 0.5 * (n as f64 - 1.0)) * scale;
        let value = |y: usize, x: usize| scale * scale * (-(at(y).powi(2) + at(x).powi(2)) / 2.0).exp();
        (0..n).map(|y| (0..n).map(|x| value(y, x)).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let list = json!([
        { "object_id": "fine", "image": { "band": ["r"], "flux": [blob(32, 0.2)], "scale": [0.2] } },
        { "object_id": "coarse", "image": { "band": ["r"], "flux": [blob(16, 0.4)], "scale": [0.4] } },
    ]);
    let text = format!("kind = \"image\"\nchannels = [\"r\"]\nsize = 8\npixel_scale = 0.4\n{RAW}");
    let objects = Objects::new(&list, fields());
    let arrays = prepare(build_modality(&text).as_ref(), &objects, Mode::Evaluate, 0).expect("fits");
    let (_, flux) = arrays.f32("flux").expect("flux");
    for (fine, coarse) in flux[..64].iter().zip(&flux[64..]) {
        assert!((fine - coarse).abs() < 0.008, "{fine} {coarse}");
    }
    assert_eq!(arrays.f32("scale").expect("f32").1, [0.4, 0.4]);
}

#[test]
fn bands_that_nobody_knows_say_nothing_of_their_wavelength() {
    let text = "kind = \"image\"\nchannels = [\"q\", \"x\"]\nsize = 2\nbands = { x = 5000.0 }\n";
    let list =
        json!([{ "object_id": "a", "image": { "band": ["q", "x"], "flux": [plane(0.0, 2, 2), plane(1.0, 2, 2)] } }]);
    let arrays =
        prepare(build_modality(text).as_ref(), &Objects::new(&list, fields()), Mode::Evaluate, 0).expect("fits");
    assert_eq!(arrays.f32("wavelength").expect("f32").1, [0.0, 5000f32.ln()]);
}

#[test]
fn a_sketch_has_the_planes_of_the_object() {
    let modality = fitted(&format!("{SMALL}{RAW}"), &objects().rows());
    let arrays = prepare(&*modality, &objects(), Mode::Evaluate, 0).unwrap();
    let Some(Sketch::Planes { planes, .. }) = modality.sketch(&arrays, 0).unwrap() else { panic!("planes") };
    assert_eq!(planes.iter().map(|p| (p.label.as_str(), p.width)).collect::<Vec<_>>(), [("r", 4), ("g", 4)]);
    let (_, flux) = arrays.f32("flux").unwrap();
    // The mask of the object: a corner of `r`, one pixel of `g`.
    assert_eq!(planes[0].values[..3], [None, None, Some(flux[2])]);
    assert_eq!(planes[1].values[6], None);
    assert_eq!(planes[1].values[15], Some(flux[31]));
    let Some(Sketch::Planes { planes, .. }) = modality.sketch(&arrays, 3).unwrap() else { panic!("planes") };
    assert_eq!(planes.iter().map(|p| p.label.as_str()).collect::<Vec<_>>(), ["g"], "what was not measured is left out");
    assert!(modality.sketch(&arrays, 1).unwrap().is_none(), "absent");
}
