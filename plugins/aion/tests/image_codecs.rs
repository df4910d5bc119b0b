//! Codecs of images and maps against what the Python package gives, for every fixture that has one.

use candle_core::{DType, Device, Tensor};
use panchroma_aion::field::read_field;
use panchroma_aion::image::read_image;
use panchroma_core::Parameters;
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

struct Fixture {
    folder: PathBuf,
    about: Value,
    inputs: HashMap<String, Tensor>,
    expected: HashMap<String, Tensor>,
}

/// All that hold a codec in this folder.
fn fixtures(codec: &str) -> Vec<Fixture> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let folders = std::fs::read_dir(&root).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut folders: Vec<PathBuf> = folders.filter(|folder| folder.join("codecs").join(codec).is_dir()).collect();
    folders.sort();
    let open = |folder: PathBuf| {
        let tensors = |file: &str| candle_core::safetensors::load(folder.join(file), &Device::Cpu).expect("tensors");
        let about = std::fs::read_to_string(folder.join("fixture.json")).expect("a file");
        Fixture {
            about: serde_json::from_str(&about).expect("JSON"),
            inputs: tensors("inputs.safetensors"),
            expected: tensors("expected.safetensors"),
            folder,
        }
    };
    folders.into_iter().map(open).collect()
}

impl Fixture {
    fn name(&self) -> String {
        self.folder.file_name().expect("a name").to_string_lossy().into_owned()
    }

    fn bands(&self, key: &str) -> Vec<&str> {
        self.about[key].as_array().expect("a list").iter().map(|band| band.as_str().expect("a name")).collect()
    }

    fn codes(&self, name: &str) -> Tensor {
        self.expected[name].to_dtype(DType::U32).expect("codes")
    }

    /// At most one code in a thousand differs.
    fn assert_codes(&self, name: &str, codes: &Tensor) {
        let expected = self.codes(name);
        assert_eq!(codes.dims(), expected.dims(), "{name}");
        let whole = |t: &Tensor| t.flatten_all().expect("values").to_vec1::<u32>().expect("codes");
        let (got, expected) = (whole(codes), whole(&expected));
        let wrong = got.iter().zip(&expected).filter(|(a, b)| a != b).count();
        assert!(wrong * 1000 <= got.len(), "{}, {name}: {wrong} of {} codes differ", self.name(), got.len());
    }

    /// The largest difference is at most this times the root mean square.
    fn assert_values(&self, name: &str, values: &Tensor, tolerance: f64) {
        let expected = &self.expected[name];
        assert_eq!(values.dims(), expected.dims(), "{name}");
        let numbers = |t: &Tensor| t.flatten_all().expect("values").to_vec1::<f32>().expect("numbers");
        let (got, expected) = (numbers(values), numbers(expected));
        let rms = (expected.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / expected.len() as f64).sqrt();
        let worst = got.iter().zip(&expected).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
        assert!(worst <= tolerance * rms, "{}, {name}: {worst:.3e} off, rms {rms:.3e}", self.name());
    }
}

#[test]
fn images_have_the_published_codes_and_come_back_the_same() {
    let fixtures = fixtures("image");
    assert!(fixtures.len() >= 2);
    for fixture in fixtures {
        let bands = fixture.bands("bands");
        let wanted = if fixture.about.get("decode").is_some() { fixture.bands("decode") } else { bands.clone() };
        let read = |as_reference| {
            let parameters = Parameters::new(0, &Device::Cpu).pp("codec");
            read_image(&fixture.folder.join("codecs/image"), &parameters, as_reference).unwrap()
        };
        let codec = read(false);
        fixture.assert_codes("image.tokens", &codec.encode(&fixture.inputs["image.flux"], &bands).unwrap());
        let codes = fixture.codes("image.tokens");
        let decoded = read(true).decode(&codes, &wanted).unwrap();
        fixture.assert_values("image.decoded", &decoded, 2e-4);
        // The zero point that the Python package forgets: 27 of the Hyper Suprime-Cam, 22.5 of the Legacy Survey.
        let own = codec.decode(&codes, &wanted).unwrap();
        let factor = if wanted[0].starts_with("HSC") { 10f64.powf(4.5 / 2.5) } else { 1.0 };
        fixture.assert_values("image.decoded", &(own / factor).unwrap(), 2e-4);
    }
}

#[test]
fn maps_have_the_published_codes_and_come_back_the_same() {
    let fixtures = fixtures("segmentation_map");
    assert!(fixtures.len() >= 2);
    for fixture in fixtures {
        let parameters = Parameters::new(0, &Device::Cpu);
        let codec = read_field(&fixture.folder.join("codecs/segmentation_map"), &parameters).unwrap();
        fixture.assert_codes("tok_segmap.tokens", &codec.encode(&fixture.inputs["tok_segmap.field"]).unwrap());
        let decoded = codec.decode(&fixture.codes("tok_segmap.tokens")).unwrap();
        fixture.assert_values("tok_segmap.decoded", &decoded, 1e-5);
    }
}

/// A copy of a codec's folder with its config or tensors changed.
fn changed(codec: &str, config: &[(&str, Value)], tensors: impl Fn(&mut HashMap<String, Tensor>)) -> tempfile::TempDir {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/aion-gelu/codecs").join(codec);
    let copy = tempfile::tempdir().expect("a folder");
    let mut json: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("config.json")).expect("a file")).expect("JSON");
    for (key, value) in config {
        json[*key] = value.clone();
    }
    std::fs::write(copy.path().join("config.json"), json.to_string()).expect("written");
    let mut all = candle_core::safetensors::load(folder.join("model.safetensors"), &Device::Cpu).expect("tensors");
    tensors(&mut all);
    candle_core::safetensors::save(&all, copy.path().join("model.safetensors")).expect("written");
    copy
}

fn image_error(config: &[(&str, Value)], tensors: impl Fn(&mut HashMap<String, Tensor>)) -> String {
    let copy = changed("image", config, tensors);
    read_image(copy.path(), &Parameters::new(0, &Device::Cpu), false).expect_err("refused").to_string()
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let all = |parts: &[&str], error: String| {
        for part in parts {
            assert!(error.contains(part), "no `{part}` in: {error}");
        }
    };
    let name = "model.conv_in.conv.weight";
    all(&[name, "model.safetensors"], image_error(&[], |t| drop(t.remove(name))));
    let one = Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
    all(&["one_more", "model.safetensors"], image_error(&[], |t| drop(t.insert("one_more".into(), one.clone()))));
    let shapes = image_error(&[("multisurvey_projection_dims", 17.into())], |_| {});
    all(&["subsample_in.weight", "[17, 9]", "[16, 9]"], shapes);
    all(&["config.json", "embedding_dim", "5"], image_error(&[("embedding_dim", 4.into())], |_| {}));
    let levels = vec![7, 5, 5, 5, 6].into();
    all(
        &["_quantizer.levels", "[7, 5, 5, 5, 6]", "[7, 5, 5, 5, 5]"],
        image_error(&[("quantizer_levels", levels)], |_| {}),
    );
    all(&["config.json", "hidden", "multiple of 4"], image_error(&[("hidden_dims", 30.into())], |_| {}));
    all(&["config.json", "\"wide\"", "line 1"], image_error(&[("hidden_dims", "wide".into())], |_| {}));
    let copy = changed("segmentation_map", &[("variational", true.into())], |_| {});
    let error = read_field(copy.path(), &Parameters::new(0, &Device::Cpu)).expect_err("refused");
    all(&["config.json", "variational"], error.to_string());
}
