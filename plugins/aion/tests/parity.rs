//! Every fixture in the repository against what the Python package computed.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use candle_core::{Device, Tensor};
use panchroma_aion::parity::compare;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// All folders with a transformer.
fn fixtures() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(fixture("")).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.join("fixture.json").is_file()).collect();
    folders.sort();
    folders
}

#[test]
fn every_tensor_is_computed_and_within_its_tolerance() {
    let folders = fixtures();
    assert!(folders.len() >= 3);
    for folder in folders {
        let rows = compare(&folder, &Device::Cpu).unwrap();

        assert!(!rows.is_empty());
        for row in rows {
            assert!(row.pass, "{}: {row:?}", folder.display());
        }
    }
}

/// A copy of a fixture's transformer with tensors or config changed; only tensors of the model are expected.
fn changed(config: impl Fn(String) -> String, tensors: impl Fn(&mut HashMap<String, Tensor>)) -> tempfile::TempDir {
    let (from, copy) = (fixture("aion-swiglu"), tempfile::tempdir().unwrap());
    for file in ["fixture.json", "inputs.safetensors"] {
        std::fs::copy(from.join(file), copy.path().join(file)).unwrap();
    }
    let text = std::fs::read_to_string(from.join("config.json")).unwrap();
    std::fs::write(copy.path().join("config.json"), config(text)).unwrap();
    let load = |file: &str| candle_core::safetensors::load(from.join(file), &Device::Cpu).unwrap();
    let mut all = load("model.safetensors");
    tensors(&mut all);
    candle_core::safetensors::save(&all, copy.path().join("model.safetensors")).unwrap();
    let mut expected = load("expected.safetensors");
    expected.retain(|name, _| name == "model.logits_z_from_all");
    expected.insert("model.more".into(), Tensor::new(1f32, &Device::Cpu).unwrap());
    candle_core::safetensors::save(&expected, copy.path().join("expected.safetensors")).unwrap();
    copy
}

/// Why the logits fail.
fn note(copy: &tempfile::TempDir) -> String {
    let rows = compare(copy.path(), &Device::Cpu).unwrap();
    let row = rows.into_iter().find(|row| row.name == "model.logits_z_from_all").unwrap();
    assert!(!row.pass);
    row.note
}

#[test]
fn a_tensor_that_is_wrong_missing_or_too_many_fails_by_name() {
    let same = |text: String| text;
    let name = "encoder.1.mlp.fc3.weight";
    assert!(note(&changed(same, |t| drop(t.remove(name)))).contains(name));
    let one = Tensor::new(&[1f32], &Device::Cpu).unwrap();
    assert!(note(&changed(same, |t| drop(t.insert("one.more".into(), one.clone())))).contains("`one.more`"));
    let said = note(&changed(|text| text.replace("\"mlp_ratio\": 4.0", "\"mlp_ratio\": 2.0"), |_| {}));
    assert!(said.contains("mlp.fc1.weight") && said.contains("[21, 16]") && said.contains("[42, 16]"), "{said}");
    let said = note(&changed(|text| text.replace("\"dim\": 16", "\"dimm\": 16"), |_| {}));
    assert!(said.contains("dimm") && said.contains("config.json"), "{said}");
    let said = note(&changed(same, |t| {
        let bias = t["encoder_norm.bias"].ones_like().unwrap();
        t.insert("encoder_norm.bias".into(), bias);
    }));
    assert!(said.contains("encoder_norm.bias") && said.contains("norm_bias"), "{said}");
    let name = "encoder_embeddings.tok_image.pos_emb";
    let said = note(&changed(same, |t| {
        let other = (&t[name] + 0.5).unwrap();
        t.insert(name.into(), other);
    }));
    assert!(said.contains(name) && said.contains("decoder_embeddings.tok_image.pos_emb"), "{said}");
    // One wrong value is enough.
    let name = "decoder.0.cross_attn.kv.weight";
    let wrong = changed(same, |t| {
        let other = (&t[name] * 1.01).unwrap();
        t.insert(name.into(), other);
    });
    let rows = compare(wrong.path(), &Device::Cpu).unwrap();
    assert!(rows.iter().all(|row| !row.pass));
    assert!(rows.iter().any(|row| row.value.is_some()));
    assert!(rows.iter().any(|row| row.name == "model.more" && row.note.contains("not computed")));
}
