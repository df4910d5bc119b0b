//! The tokenizers `image_codec` and `field_codec` on the modality.

use super::{RAW, SMALL, objects, prepare};
use candle_core::Device;
use panchroma_core::{Array, Forward, Mode, Parameters, Registry, SUMS, Section, TokenizerContext, Values};
use panchroma_testing::{Case, build_modality, build_tokenizer, conformance, fitted};

const CODEC: &str = "kind = \"image_codec\"\nbands = [\"r\", \"g\"]\ncrop = 4\nprojection = 4\nhidden = 8\n\
                     compressions = 1\nconsecutive = 1\nlevels = [5, 4]\nrange = 0.5\nfactor = 1\n";
const FIELD: &str = "kind = \"field_codec\"\ncrop = 4\nhidden = 8\nresidual_hidden = 4\nresidual_units = 1\n\
                     halvings = 1\nlevels = [5, 4]\nlow = -3\nhigh = 3\n";
const PLANE: &str = "kind = \"image\"\nchannels = [\"g\"]\nsize = 4\n";

#[test]
fn the_contracts_are_kept() {
    let wide = SMALL.replace("size = 4", "size = 7");
    for (modality, tokenizer) in [(SMALL, CODEC), (&wide, CODEC), (PLANE, FIELD)] {
        conformance(&Case {
            modality,
            tokenizer,
            objects: &objects(),
            measured: &["flux"],
            // It has not learned yet: what comes back is of the right kind and size.
            reconstruction: Some(1e3),
        });
    }
}

#[test]
fn the_descriptors_are_true() {
    let modality = panchroma_testing::modality_descriptor("image");
    let tokenizer = panchroma_testing::tokenizer_descriptor("image_codec", &modality.spec());
    assert_eq!(tokenizer.spec().max_tokens, 256);
    let one = build_modality("kind = \"image\"\nchannels = [\"g\"]\nsize = 64\n");
    assert_eq!(panchroma_testing::tokenizer_descriptor("field_codec", &one.spec()).spec().max_tokens, 256);
}

#[test]
fn tokens_are_valid_where_their_square_was_measured() {
    let objects = objects();
    let modality = fitted(SMALL, &objects.rows());
    let codec = build_tokenizer(CODEC, &modality.spec());
    let mut arrays = prepare(modality.as_ref(), &objects, Mode::Evaluate, 0).expect("fits");
    // Of the first object, only the pixel at line 1, place 2 of the second channel.
    if let Values::U8(valid) = &mut arrays.valid.values {
        valid[..32].fill(0);
        valid[16 + 6] = 1;
    }
    let tokens = codec.tokenize(&arrays, &Forward::evaluate()).expect("tokens");
    assert_eq!(tokens.valid.to_vec2::<u8>().expect("u8")[0], [0, 1, 0, 0]);
    let coordinates = tokens.coordinates.to_vec3::<f32>().expect("f32");
    assert_eq!(coordinates[0], [[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]);
    let back = codec.reconstruct(&tokens, Some(&arrays), &Forward::evaluate()).expect("arrays").expect("a codec");
    let (_, valid) = back.valid().expect("u8");
    let expected = [0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0].repeat(2);
    assert_eq!(valid[..32], expected);
    assert_eq!(back.fields["scale"], arrays.fields["scale"]);
}

#[test]
fn errors_of_objects_are_those_of_the_batch() {
    let objects = objects();
    let modality = fitted(SMALL, &objects.rows());
    let codec = build_tokenizer(CODEC, &modality.spec());
    let arrays = prepare(modality.as_ref(), &objects, Mode::Evaluate, 0).expect("fits");
    let output = codec.learn(&arrays, &Forward::evaluate()).expect("learns");
    let sums = output.predictions[&format!("{SUMS}error")].to_vec2::<f32>().expect("sums");
    let (error, weight) = sums.iter().fold((0.0, 0.0), |(e, w), own| (e + own[0], w + own[1]));
    let loss = output.loss.expect("a loss").to_scalar::<f32>().expect("a scalar");
    assert!((error / weight / loss - 1.0).abs() < 1e-4, "{error} / {weight}, not {loss}");
    // Objects of one value per band have no error by that guess.
    let constant = output.predictions[&format!("{SUMS}error.constant")].to_vec2::<f32>().expect("sums");
    assert!(constant.iter().zip(&sums).all(|(a, b)| a[0] >= 0.0 && a[1] == b[1]));
    assert!(constant[0][0] > 0.0);
}

#[test]
fn fluxes_stay_what_they_are_if_asked_for() {
    let objects = objects();
    let modality = fitted(&format!("{SMALL}{RAW}standardise = false\nclip = 1\n"), &objects.rows());
    let arrays = prepare(modality.as_ref(), &objects, Mode::Evaluate, 0).expect("fits");
    let (_, flux) = arrays.f32("flux").expect("flux");
    assert_eq!(&flux[..8], &[0., 0., 102., 103., 0., 0., 112., 113.]);
}

#[test]
fn tables_that_make_no_sense_are_refused_at_their_key() {
    let refused = |modality: &str, toml: &str| {
        let spec = build_modality(modality).spec();
        let section = Section::from_toml("modality.test.tokenizer", toml).expect("TOML");
        let parameters = Parameters::new(0, &Device::Cpu);
        let context = TokenizerContext { modality: "test", arrays: &spec, parameters: &parameters };
        let registry = Registry::linked().expect("a registry");
        registry.tokenizers.build(&section, &context).err().map(|error| error.to_string()).expect("refused")
    };
    let with = |from: &str, to: &str| CODEC.replace(from, to);
    let all = |error: String, parts: &[&str]| {
        for part in parts {
            assert!(error.contains(part), "no `{part}` in: {error}");
        }
    };
    all(refused(SMALL, &with("crop = 4", "crop = 6")), &["crop", "4 x 4"]);
    all(refused(SMALL, &with("crop = 4", "crop = 3")), &["crop", "multiple of 2"]);
    all(refused(SMALL, &with("hidden = 8", "hidden = 7")), &["hidden", "multiple of 2"]);
    all(refused(SMALL, &with("\"r\", \"g\"]", "\"r\"]")), &["channels", "r"]);
    all(refused(SMALL, &with("crop = 4", "crop = 4\nchannels = [\"r\", \"q\"]")), &["q"]);
    all(refused(SMALL, &with("crop = 4", "crop = 4\nchannels = [\"r\", \"r\"]")), &["channels", "`r` twice"]);
    all(refused(SMALL, "kind = \"image_codec\"\ncrop = 4\n"), &["channels", "HSC-G"]);
    all(refused(SMALL, FIELD), &["one channel", "has 2"]);
    all(refused(PLANE, &FIELD.replace("halvings = 1", "halvings = 3")), &["halvings"]);
}

#[test]
fn one_network_serves_modalities_of_other_bands() {
    let objects = objects();
    let one = fitted(&format!("{PLANE}{RAW}standardise = false\n"), &objects.rows());
    let both = fitted(&format!("{SMALL}{RAW}standardise = false\n"), &objects.rows());
    let alone = build_tokenizer(&format!("{CODEC}channels = [\"g\"]\n"), &one.spec());
    let together = build_tokenizer(CODEC, &both.spec());
    let mut arrays = prepare(both.as_ref(), &objects, Mode::Evaluate, 0).expect("fits");
    // Without the channel `r`, both see the same.
    if let Array { values: Values::U8(valid), .. } = &mut arrays.valid {
        valid.chunks_mut(16).step_by(2).for_each(|plane| plane.fill(0));
    }
    let few = prepare(one.as_ref(), &objects, Mode::Evaluate, 0).expect("fits");
    let codes = |tokens: panchroma_core::Tokens| match tokens.values {
        panchroma_core::TokenValues::Codes(codes) => codes.to_vec2::<u32>().expect("codes"),
        panchroma_core::TokenValues::Patches(_) => Vec::new(),
    };
    let a = codes(alone.tokenize(&few, &Forward::evaluate()).expect("tokens"));
    let b = codes(together.tokenize(&arrays, &Forward::evaluate()).expect("tokens"));
    for row in (0..a.len()).filter(|row| few.present[*row]) {
        assert_eq!(a[row], b[row], "object {row}");
    }
}
