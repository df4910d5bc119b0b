//! Codecs of spectra and of numbers against what the Python package gives: the published layout, and other sizes and switches.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use candle_core::{DType, Device, Tensor};
use panchroma_aion::modalities::CodecClass;
use panchroma_aion::scalar::Scalars;
use panchroma_aion::sources::read_sources;
use panchroma_aion::spectrum::read_spectrum;
use panchroma_core::Parameters;
use panchroma_spectrum::codec::{MaskRule, Spectra, SpectrumCodec};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

struct Fixture {
    folder: PathBuf,
    inputs: HashMap<String, Tensor>,
    expected: HashMap<String, Tensor>,
}

impl Fixture {
    fn open(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
        let read = |file: &str| candle_core::safetensors::load(folder.join(file), &Device::Cpu).unwrap();
        Self { inputs: read("inputs.safetensors"), expected: read("expected.safetensors"), folder }
    }

    fn codec(&self, name: &str) -> PathBuf {
        self.folder.join("codecs").join(name)
    }

    /// All codes equal. The published tolerance lets one in a thousand differ; on these inputs none does.
    fn assert_codes(&self, name: &str, codes: &Tensor) {
        let expected = &self.expected[name];
        assert_eq!(codes.dims(), expected.dims(), "{name}");
        assert_eq!(codes.dtype(), DType::U32, "{name}");
        let whole = |t: &Tensor| t.to_dtype(DType::I64).unwrap().flatten_all().unwrap().to_vec1::<i64>().unwrap();
        let (got, expected) = (whole(codes), whole(expected));
        let wrong = got.iter().zip(&expected).filter(|(a, b)| a != b).count();
        assert_eq!(wrong, 0, "{name}: {wrong} of {} codes differ: {got:?}, not {expected:?}", got.len());
    }

    fn assert_values(&self, name: &str, values: &Tensor, tolerance: f64) {
        let expected = &self.expected[name];
        assert_eq!(values.dims(), expected.dims(), "{name}");
        let numbers = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let (got, expected) = (numbers(values), numbers(expected));
        let rms = (expected.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / expected.len() as f64).sqrt();
        let worst = got.iter().zip(&expected).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
        assert!(worst <= tolerance * rms, "{name}: {worst:.3e} off, rms {rms:.3e}");
    }

    fn scalars(&self, folder: &str, token: &str, class: CodecClass) {
        let codec = Scalars::read(&self.codec(folder), class).unwrap();
        self.assert_codes(&format!("{token}.tokens"), &codec.encode(&self.inputs[&format!("{token}.value")]).unwrap());
        let decoded = codec.decode(&self.expected[&format!("{token}.tokens")]).unwrap();
        self.assert_values(&format!("{token}.decoded"), &decoded, 1e-6);
    }

    fn spectrum(&self) -> SpectrumCodec {
        let parameters = Parameters::new(0, &Device::Cpu).pp("codec");
        let codec = read_spectrum(&self.codec("spectrum"), &parameters).unwrap();
        let of = |name: &str| &self.inputs[&format!("spectrum.{name}")];
        let (flux, ivar, mask, wavelength) = (of("flux"), of("ivar"), of("mask"), of("wavelength"));
        let codes = codec.encode(Spectra { flux, ivar, mask, wavelength }).unwrap();
        self.assert_codes("spectrum.tokens", &codes);
        let codes = &self.expected["spectrum.tokens"];
        for (name, wavelength) in [("spectrum.decoded", Some(wavelength)), ("spectrum.decoded_latent_grid", None)] {
            let decoded = codec.decode(codes, wavelength, MaskRule::AsReference).unwrap();
            self.assert_values(name, &decoded.flux, 2e-5);
            if let Some(mask) = self.expected.get(&format!("{name}_mask")) {
                let bits = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<u8>().unwrap();
                assert_eq!(bits(&decoded.mask), bits(mask), "{name}");
            }
        }
        codec
    }
}

#[test]
fn scalars_of_the_published_layout_have_the_codes_of_the_python_package() {
    for name in ["aion-swiglu", "aion-gelu"] {
        let fixture = Fixture::open(name);
        fixture.scalars("Z", "tok_z", CodecClass::Grid);
        fixture.scalars("FLUX_G", "tok_flux_g", CodecClass::LogQuantiles);
        fixture.scalars("FLUX_R", "tok_flux_r", CodecClass::LogQuantiles);
        fixture.scalars("FLUX_Z", "tok_flux_z", CodecClass::LogQuantiles);
        fixture.scalars("EBV", "tok_ebv", CodecClass::Quantiles);
        fixture.scalars("ra", "tok_ra", CodecClass::Quantiles);
        fixture.scalars("bp_coefficients", "tok_xp_bp", CodecClass::Several);
    }
}

#[test]
fn scalars_of_other_sizes_with_odd_values_have_them_too() {
    let fixture = Fixture::open("codecs-other");
    fixture.scalars("dec", "dec", CodecClass::Quantiles);
    fixture.scalars("parallax", "parallax", CodecClass::LogQuantiles);
    fixture.scalars("FLUX_W1", "FLUX_W1", CodecClass::LogQuantiles);
    fixture.scalars("Z", "Z", CodecClass::Grid);
    fixture.scalars("rp_coefficients", "rp_coefficients", CodecClass::Several);
}

#[test]
fn spectra_have_the_codes_and_decoded_values_of_the_python_package() {
    for name in ["aion-swiglu", "aion-gelu"] {
        let codec = Fixture::open(name).spectrum();
        assert_eq!((codec.config().tokens(), codec.config().vocabulary()), (273, 1024));
    }
}

#[test]
fn spectra_of_another_codec_with_nan_and_a_mask_have_them_too() {
    Fixture::open("codecs-other").spectrum();
}

/// A copy of a codec's folder, to be spoilt.
fn copied(name: &str) -> tempfile::TempDir {
    let target = tempfile::tempdir().unwrap();
    let source = Fixture::open("codecs-other").codec(name);
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(source.join(file), target.path().join(file)).unwrap();
    }
    target
}

fn spoil(folder: &Path, change: impl FnOnce(&mut HashMap<String, Tensor>)) {
    let file = folder.join("model.safetensors");
    let mut tensors = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();
    change(&mut tensors);
    candle_core::safetensors::save(&tensors, &file).unwrap();
}

fn refused(folder: &Path) -> String {
    let error = read_spectrum(folder, &Parameters::new(0, &Device::Cpu)).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains(&folder.display().to_string()), "names no file: {error}");
    error
}

#[test]
fn a_tensor_that_is_missing_too_many_or_of_another_shape_is_named() {
    let name = "encoder.stages.1.0.pwconv1.weight";
    let folder = copied("spectrum");
    spoil(folder.path(), |tensors| drop(tensors.remove(name)));
    let said = refused(folder.path());
    assert!(said.contains(name) && said.contains("has no tensor"), "{said}");

    let folder = copied("spectrum");
    spoil(folder.path(), |tensors| drop(tensors.insert("more".into(), Tensor::new(&[1.0_f32], &Device::Cpu).unwrap())));
    let said = refused(folder.path());
    assert!(said.contains("`more`"), "{said}");

    let folder = copied("spectrum");
    spoil(folder.path(), |tensors| {
        let narrow = tensors[name].narrow(0, 0, 39).unwrap();
        tensors.insert(name.into(), narrow);
    });
    let said = refused(folder.path());
    assert!(said.contains(name) && said.contains("[40, 10]") && said.contains("[39, 10]"), "{said}");

    // Another grid than the config says.
    let folder = copied("spectrum");
    let file = folder.path().join("config.json");
    let text = std::fs::read_to_string(&file).unwrap().replace("\"resolution\": 3.3", "\"resolution\": 3.4");
    std::fs::write(&file, text).unwrap();
    let said = refused(folder.path());
    assert!(said.contains("latent_grid.resolution") && said.contains("3.4") && said.contains("3.3"), "{said}");
}

#[test]
fn a_config_that_does_not_fit_its_weights_is_an_error_of_both() {
    let folder = copied("dec");
    std::fs::write(folder.path().join("config.json"), r#"{"codebook_size": 65, "reservoir_size": 37}"#).unwrap();
    let said = Scalars::read(folder.path(), CodecClass::Quantiles).unwrap_err().to_string();
    assert!(said.contains("_index_to_val") && said.contains("[65]") && said.contains("[64]"), "{said}");
    let said = Scalars::read(folder.path(), CodecClass::Grid).unwrap_err().to_string();
    assert!(said.contains("quantizer.buckets") && said.contains("has no tensor"), "{said}");
    std::fs::write(folder.path().join("config.json"), r#"{"codebook_size": 64}"#).unwrap();
    let said = Scalars::read(folder.path(), CodecClass::Quantiles).unwrap_err().to_string();
    assert!(said.contains("config.json") && said.contains("reservoir_size"), "{said}");
    let said = Scalars::read(&folder.path().join("none"), CodecClass::Grid).unwrap_err().to_string();
    assert!(said.contains("none"), "{said}");
}

#[test]
fn spectra_that_do_not_fit_are_refused() {
    let fixture = Fixture::open("codecs-other");
    let codec = read_spectrum(&fixture.codec("spectrum"), &Parameters::new(0, &Device::Cpu)).unwrap();
    let of = |name: &str| fixture.inputs[&format!("spectrum.{name}")].clone();
    let (flux, ivar, mask, wavelength) = (of("flux"), of("ivar"), of("mask"), of("wavelength"));
    let said = |flux: &Tensor, wavelength: &Tensor| {
        let spectra = Spectra { flux, ivar: &ivar, mask: &mask, wavelength };
        codec.encode(spectra).map(|_| ()).unwrap_err().to_string()
    };
    let far = (&wavelength + 2000.0).unwrap();
    let text = said(&flux, &far);
    assert!(text.contains("3000 to 4052.7") && text.contains("4900 to 6200"), "{text}");
    let text = said(&flux.narrow(1, 0, 400).unwrap(), &wavelength);
    assert!(text.contains("[3, 400]") && text.contains("[3, 411]"), "{text}");
    let codes = Tensor::full(256_u32, (1, 21), &Device::Cpu).unwrap();
    let text = codec.decode(&codes, None, MaskRule::Sensible).map(|_| ()).unwrap_err().to_string();
    assert!(text.contains("0 to 255") && text.contains("256"), "{text}");
    let text =
        codec.decode(&codes.narrow(1, 0, 20).unwrap(), None, MaskRule::Sensible).map(|_| ()).unwrap_err().to_string();
    assert!(text.contains("[B, 21]") && text.contains("[1, 20]"), "{text}");
}

#[test]
fn a_sensible_mask_is_bad_outside_of_the_grid_alone() {
    let fixture = Fixture::open("aion-swiglu");
    let codec = read_spectrum(&fixture.codec("spectrum"), &Parameters::new(0, &Device::Cpu)).unwrap();
    let codes = fixture.expected["spectrum.tokens"].narrow(0, 0, 1).unwrap();
    let wavelength = Tensor::new(&[[3499.0_f32, 3500.0, 6000.0, 10462.0, 10463.0]], &Device::Cpu).unwrap();
    let mask = |masks| codec.decode(&codes, Some(&wavelength), masks).unwrap().mask.to_vec2::<u8>().unwrap();
    assert_eq!(mask(MaskRule::Sensible), [[1, 0, 0, 0, 1]]);
    assert_eq!(mask(MaskRule::AsReference), [[0, 1, 1, 1, 0]]);
}

#[test]
fn sources_have_the_codes_and_values_of_the_python_package() {
    let fixture = Fixture::open("codecs-other");
    let codec = read_sources(&fixture.codec("catalog")).unwrap();
    assert_eq!((codec.vocabulary(), codec.padding()), (3264, 9999));
    let columns: Vec<Tensor> =
        codec.fields().iter().map(|(key, _)| fixture.inputs[&format!("catalog.{key}")].clone()).collect();
    fixture.assert_codes("catalog.tokens", &codec.encode(&columns).unwrap());
    let decoded = codec.decode(&fixture.expected["catalog.tokens"]).unwrap();
    for ((key, _), values) in codec.fields().iter().zip(decoded) {
        let expected = &fixture.expected[&format!("catalog.decoded.{key}")];
        assert_eq!((values.dtype(), values.dims()), (expected.dtype(), expected.dims()), "{key}");
        let numbers = |t: &Tensor| t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(numbers(&values), numbers(expected), "{key}");
    }
}
