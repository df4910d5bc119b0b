//! Spectra as codes through the conformance suite, where tokens lie, and what is decoded.

use super::*;
use arrow_schema::{DataType, Field};
use panchroma_core::{Modality, ModalityContext, Mode, Parameters, PrepareContext, Registry};
use panchroma_testing::{Case, Objects, build_modality, build_tokenizer, conformance, fitted, tokenizer_descriptor};
use serde_json::{Value, json};

const OWN: &str = "kind = \"spectrum\"\nwavelength_min = 3800\nwavelength_max = 5400\nsamples = 400\ngrid = \"own\"\n\
                   channels = [\"normalised\"]\nnormalise = \"none\"\nclip = 1e6\n";
const CODEC: &str = "kind = \"spectrum_codec\"\nwavelength_min = 4000.0\nwavelength_step = 10.0\nsamples = 128\n\
                     encoder_depths = [1, 1]\nencoder_widths = [8, 16]\ndecoder_depths = [1, 1]\ndecoder_widths = [8, 1]\n\
                     code_bits = 6\nnormalisation_codes = 64\n";

fn fields() -> Vec<Field> {
    let list = |name: &str, item| Field::new(name, DataType::new_list(item, true), true);
    let numbers = ["flux", "ivar", "lambda"].map(|name| list(name, DataType::Float32));
    let inner: Vec<Field> = numbers.into_iter().chain([list("mask", DataType::Boolean)]).collect();
    vec![Field::new("spectrum", DataType::Struct(inner.into()), true)]
}

fn spectrum(from: f64, step: f64, n: usize, brightness: f64, ivar: bool) -> Value {
    let wavelength: Vec<f64> = (0..n).map(|i| from + step * i as f64).collect();
    let line = |w: &f64| brightness * (1.0 - 0.5 * (-((w - 4500.0) / 20.0).powi(2)).exp());
    let flux: Vec<f64> = wavelength.iter().map(line).collect();
    json!({ "flux": flux, "lambda": wavelength, "ivar": ivar.then(|| vec![25.0; n]), "mask": vec![false; n] })
}

fn objects() -> Objects {
    let mut flagged = spectrum(4200.0, 4.0, 150, 3.0, true);
    flagged["mask"] = (0..150).map(|i| i % 50 == 7).collect();
    let list = json!([
        { "object_id": "wide", "spectrum": spectrum(3900.0, 5.0, 260, 1.0, true) },
        { "object_id": "none" },
        { "object_id": "narrow", "spectrum": flagged },
        { "object_id": "coarse", "spectrum": spectrum(3800.0, 60.0, 25, 300.0, false) },
    ]);
    Objects::new(&list, fields())
}

fn arrays(modality: &dyn Modality, objects: &Objects) -> Arrays {
    let context = PrepareContext { mode: Mode::Evaluate, seed: 1, epoch: 0, modality: "test" };
    modality.prepare(&objects.rows(), &context).unwrap()
}

#[test]
fn the_contracts_are_kept() {
    let common = "kind = \"spectrum\"\nwavelength_min = 4000\nwavelength_max = 5000\nsamples = 60\nchannels = [\"normalised\"]\n";
    let masks = CODEC.replace("decoder_widths = [8, 1]", "decoder_widths = [8, 2]");
    let every = format!("{CODEC}skip_unmeasured = false\nflux_unit = 100.0\n");
    for modality in [OWN, common] {
        for tokenizer in [CODEC, &every, &masks] {
            // What it decodes before training means nothing, and is of the order of the flux.
            let (objects, measured) = (objects(), ["flux"].as_slice());
            conformance(&Case { modality, tokenizer, objects: &objects, measured, reconstruction: Some(1e6) });
        }
    }
}

#[test]
fn descriptors_are_true() {
    let _ = tokenizer_descriptor("spectrum_codec", &build_modality(OWN).spec());
}

#[test]
fn tokens_without_a_measurement_are_left_out_and_the_others_say_where_they_are() {
    let modality = fitted(OWN, &objects().rows());
    let tokenizer = build_tokenizer(CODEC, &modality.spec());
    let tokens = tokenizer.tokenize(&arrays(&*modality, &objects()), &Forward::evaluate()).unwrap();
    let valid = tokens.valid.to_vec2::<u8>().unwrap();
    // 16 pieces of 80 Angstrom from 3995 on: the last begins at 5195, where `wide` ends. `narrow` is from 4200 to 4796, `coarse` from 3800 to 5240 in steps of 60.
    let measured =
        |row: &[u8]| row.iter().enumerate().filter(|(_, v)| **v == 1).map(|(i, _)| i).collect::<Vec<usize>>();
    assert_eq!(measured(&valid[0]), (0..=16).collect::<Vec<usize>>());
    assert_eq!(measured(&valid[2]), [0, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    assert!(valid[1].iter().all(|v| *v == 0));
    assert_eq!(measured(&valid[3]), (0..=16).collect::<Vec<usize>>());
    let places = tokens.coordinates.to_vec3::<f32>().unwrap();
    assert!(places[0][0][0].is_nan());
    let expected = (0..8).map(|i| (4000.0 + 10.0 * f64::from(i)).ln()).sum::<f64>() / 8.0;
    assert!((f64::from(places[0][1][0]) - expected).abs() < 1e-5);
}

#[test]
fn fluxes_come_back_in_their_unit_at_the_wavelengths_that_are_asked_for() {
    let modality = fitted(OWN, &objects().rows());
    let arrays = arrays(&*modality, &objects());
    let tokenizer = build_tokenizer(&format!("{CODEC}flux_unit = 100.0\n"), &modality.spec());
    let tokens = tokenizer.tokenize(&arrays, &Forward::evaluate()).unwrap();
    let like = tokenizer.reconstruct(&tokens, Some(&arrays), &Forward::evaluate()).unwrap().unwrap();
    let (_, valid) = like.valid().unwrap();
    // `wide` has 260 samples from 3900, of which the first 20 lie before the grid.
    assert!(valid[..20].iter().all(|v| *v == 0) && valid[20..260].iter().all(|v| *v == 1));
    assert!(valid[260..400].iter().all(|v| *v == 0));
    let own = tokenizer.reconstruct(&tokens, None, &Forward::evaluate()).unwrap().unwrap();
    let (shape, flux) = own.f32("flux").unwrap();
    assert_eq!(shape, [4, 1, 128]);
    // Before training the network gives little: what is left is the normalisation, 300 of the last.
    let mean = flux[3 * 128..].iter().sum::<f32>() / 128.0;
    assert!(mean > 50.0 && mean < 1500.0, "{mean}");
}

#[test]
fn errors_that_are_unknown_are_assumed_and_bad_samples_bridged() {
    let modality = fitted(OWN, &objects().rows());
    let section = panchroma_core::Section::from_toml("modality.test.tokenizer", CODEC).unwrap();
    let (spec, parameters) = (modality.spec(), Parameters::new(0, &Device::Cpu));
    let context = TokenizerContext { modality: "test", arrays: &spec, parameters: &parameters };
    let tokenizer = SpectrumCodes::build(&section, &context).unwrap();
    let rows = tokenizer.rows(&arrays(&*modality, &objects())).unwrap();
    let [Some(wide), None, Some(narrow), Some(coarse)] = rows.as_slice() else { panic!("four objects, one without") };
    assert!(wide.ivar.iter().all(|v| (v - 25.0).abs() < 1e-4));
    // A tenth of 300.
    assert!(coarse.ivar.iter().all(|v| (v * 900.0 - 1.0).abs() < 0.2), "{:?}", coarse.ivar);
    assert_eq!(narrow.flux.len(), narrow.wavelength.len());
    for l in 1..narrow.flux.len() - 1 {
        if narrow.bad[l] == 1 {
            let between = 0.5 * (narrow.flux[l - 1] + narrow.flux[l + 1]);
            assert!((narrow.flux[l] - between).abs() < 1e-4 && narrow.ivar[l] == 0.0);
        }
    }
}

#[test]
fn modalities_of_other_channels_are_refused() {
    let registry = Registry::linked().unwrap();
    let refused = |table: &str, toml: &str| {
        let modality = panchroma_core::Section::from_toml("modality.t", table).unwrap();
        let arrays = registry.modalities.build(&modality, &ModalityContext { name: "t" }).unwrap().spec();
        let section = panchroma_core::Section::from_toml("modality.t.tokenizer", toml).unwrap();
        let context =
            TokenizerContext { modality: "t", arrays: &arrays, parameters: &Parameters::new(0, &Device::Cpu) };
        registry.tokenizers.build(&section, &context).err().unwrap().to_string()
    };
    let two = OWN.replace("channels = [\"normalised\"]\n", "");
    assert!(refused(&two, CODEC).contains("channels = [\"normalised\"]"));
    assert!(refused(&format!("{OWN}scale_token = true\n"), CODEC).contains("no `scale_token`"));
    let error = refused(OWN, &CODEC.replace("samples = 128", "samples = 100"));
    assert!(error.contains("multiple of 8"), "{error}");
}
