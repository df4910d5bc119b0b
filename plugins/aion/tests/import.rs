//! A published folder as a run: what it makes of a catalogue, and what its model predicts, is what the Python package gives.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use candle_core::{DType, Device, Tensor};
use panchroma_aion::import::{ImportOptions, Imported, import};
use panchroma_core::reexport::arrow_array::builder::{BooleanBuilder, Float32Builder, ListBuilder, StringBuilder};
use panchroma_core::reexport::arrow_array::{Array, ArrayRef, Float32Array, RecordBatch, StructArray};
use panchroma_core::reexport::arrow_schema::Field;
use panchroma_core::train::load_run;
use panchroma_core::{Batch, Forward, Masks, Mode, Registry, Result, Rows, TokenMask, TokenValues, Tokens};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/aion-swiglu")
}

fn tensors(file: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(fixture().join(file), &Device::Cpu).unwrap()
}

fn imported(out: &Path, from: &Path, partial: bool) -> Result<Imported> {
    let options = ImportOptions { from: from.to_path_buf(), out: out.to_path_buf(), data: "nowhere".into(), partial };
    import(&options, &Registry::linked()?)
}

fn rows_of(tensor: &Tensor) -> Vec<Vec<f32>> {
    tensor.to_dtype(DType::F32).unwrap().flatten_from(1).unwrap().to_vec2().unwrap()
}

/// A column of lists.
fn lists(rows: &[Vec<f32>]) -> ArrayRef {
    let mut builder = ListBuilder::new(Float32Builder::new());
    for row in rows {
        builder.values().append_slice(row);
        builder.append(true);
    }
    Arc::new(builder.finish())
}

fn record(fields: Vec<(&str, ArrayRef)>) -> ArrayRef {
    let named =
        fields.into_iter().map(|(name, array)| (Arc::new(Field::new(name, array.data_type().clone(), true)), array));
    Arc::new(StructArray::from(named.collect::<Vec<_>>()))
}

/// The inputs of the first two objects as a catalogue has them.
fn catalogue(inputs: &HashMap<String, Tensor>, bands: &[&str]) -> Rows {
    let of = |name: &str| &inputs[name];
    let mut mask = ListBuilder::new(BooleanBuilder::new());
    for row in rows_of(of("spectrum.mask")) {
        row.iter().for_each(|bad| mask.values().append_value(*bad != 0.0));
        mask.append(true);
    }
    let spectrum = record(vec![
        ("flux", lists(&rows_of(of("spectrum.flux")))),
        ("ivar", lists(&rows_of(of("spectrum.ivar")))),
        ("mask", Arc::new(mask.finish())),
        ("lambda", lists(&rows_of(of("spectrum.wavelength")))),
    ]);
    let (_, planes, height, width) = of("image.flux").dims4().unwrap();
    let mut flux = ListBuilder::new(ListBuilder::new(ListBuilder::new(Float32Builder::new())));
    let mut band = ListBuilder::new(StringBuilder::new());
    for row in rows_of(of("image.flux")) {
        for plane in row.chunks(height * width) {
            for line in plane.chunks(width) {
                flux.values().values().values().append_slice(line);
                flux.values().values().append(true);
            }
            flux.values().append(true);
        }
        flux.append(true);
        bands.iter().take(planes).for_each(|name| band.values().append_value(name));
        band.append(true);
    }
    let image = record(vec![("flux", Arc::new(flux.finish())), ("band", Arc::new(band.finish()))]);
    let number = |name: &str| -> ArrayRef {
        let values = of(name).to_dtype(DType::F32).unwrap().to_vec1::<f32>().unwrap();
        Arc::new(Float32Array::from(values[..2].to_vec()))
    };
    let columns = RecordBatch::try_from_iter([
        ("spectrum", spectrum),
        ("image", image),
        ("Z", number("tok_z.value")),
        ("FLUX_G", number("tok_flux_g.value")),
        ("FLUX_R", number("tok_flux_r.value")),
        ("bp_coefficients", lists(&rows_of(of("tok_xp_bp.value")))),
    ])
    .unwrap();
    Rows::new(vec!["a".into(), "b".into()], columns).unwrap()
}

fn codes(tokens: &Tokens) -> Vec<u32> {
    let TokenValues::Codes(codes) = &tokens.values else { unreachable!("codes") };
    codes.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn an_imported_run_gives_the_codes_of_the_package_to_rows_of_a_catalogue() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model");
    let done = imported(&out, &fixture(), false)?;
    assert_eq!(done.modalities, ["image", "spectrum_desi", "z", "flux_g", "flux_r", "xp_bp"]);
    assert!(done.left_out.is_empty());
    let (_, model, state) = load_run(&out, &[], &Registry::linked()?, &Device::Cpu)?;
    assert_eq!(state.step, 0);
    let (inputs, expected) = (tensors("inputs.safetensors"), tensors("expected.safetensors"));
    let rows = catalogue(&inputs, &["DES-G", "DES-R", "DES-I", "DES-Z"]);
    let batch = model.prepare(rows, Mode::Evaluate, 0)?;
    for (modality, name) in [
        ("image", "image"),
        ("spectrum_desi", "spectrum"),
        ("z", "tok_z"),
        ("flux_g", "tok_flux_g"),
        ("flux_r", "tok_flux_r"),
        ("xp_bp", "tok_xp_bp"),
    ] {
        let tokens = &batch.tokens[modality];
        assert!(tokens.valid.flatten_all()?.to_vec1::<u8>()?.iter().all(|valid| *valid == 1), "{modality}");
        let wanted = expected[&format!("{name}.tokens")].to_dtype(DType::U32)?.narrow(0, 0, 2)?;
        let (found, wanted) = (codes(tokens), wanted.flatten_all()?.to_vec1::<u32>()?);
        assert_eq!(found.len(), wanted.len(), "{modality}");
        let other = found.iter().zip(&wanted).filter(|(a, b)| a != b).count();
        assert!(other * 1000 <= found.len(), "{modality}: {other} of {} codes differ", found.len());
        assert!(model.reconstruct(modality, tokens, None)?.is_some(), "{modality}");
    }
    Ok(())
}

#[test]
fn an_imported_model_predicts_the_logits_of_the_package() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model");
    imported(&out, &fixture(), false)?;
    let (_, model, _) = load_run(&out, &[], &Registry::linked()?, &Device::Cpu)?;
    let (inputs, expected) = (tensors("inputs.safetensors"), tensors("expected.safetensors"));
    let rows = catalogue(&inputs, &["DES-G", "DES-R", "DES-I", "DES-Z"]);
    let mut tokens = BTreeMap::new();
    let mut masks = Masks { uniform: true, ..Masks::default() };
    for kind in ["image", "spectrum_desi", "flux_g", "flux_r", "xp_bp"] {
        let codes = inputs[&format!("model.tok_{kind}")].to_dtype(DType::U32)?;
        let (batch, count) = codes.dims2()?;
        tokens.insert(kind.to_owned(), Tokens::codes(codes, vec![true; batch])?);
        let given = TokenMask { input: vec![true; batch * count], ..TokenMask::none(batch, count) };
        masks.modality.insert(kind.to_owned(), given);
    }
    tokens.insert("z".into(), Tokens::codes(Tensor::zeros((2, 1), DType::U32, &Device::Cpu)?, vec![true; 2])?);
    masks.modality.insert("z".into(), TokenMask { target: vec![true; 2], ..TokenMask::none(2, 1) });
    let batch = Batch { rows, arrays: BTreeMap::new(), tokens, masks: BTreeMap::new() };
    let out = model.predict(&batch, &masks, &Forward::evaluate())?;
    let logits = out[0].1.predictions["logits.z"].flatten_all()?.to_vec1::<f32>()?;
    // The codec has 1024 codes; what the transformer says of one more is left out.
    let wanted = expected["model.logits_z_from_all"].narrow(2, 0, 1024)?.flatten_all()?.to_vec1::<f32>()?;
    let rms = (wanted.iter().map(|x| x * x).sum::<f32>() / wanted.len() as f32).sqrt();
    let worst = logits.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(logits.len() == wanted.len() && worst < 2e-4 * rms, "{worst} of {rms}");
    Ok(())
}

/// The transformer's files and those codecs that are named.
fn some(codecs: &[&str]) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        std::fs::create_dir_all(copy.path().join(name).parent().unwrap()).unwrap();
        std::fs::copy(fixture().join(name), copy.path().join(name)).unwrap();
    };
    ["config.json", "model.safetensors"].iter().for_each(|name| file(name));
    for codec in codecs {
        ["config.json", "model.safetensors"].iter().for_each(|name| file(&format!("codecs/{codec}/{name}")));
    }
    copy
}

#[test]
fn codecs_that_are_missing_are_named_and_can_be_left_out() {
    let (from, folder) = (some(&["Z", "FLUX_G"]), tempfile::tempdir().unwrap());
    let out = folder.path().join("model");
    let said = imported(&out, from.path(), false).unwrap_err().to_string();
    assert!(
        ["image", "spectrum", "FLUX_R", "bp_coefficients", "--partial"].iter().all(|part| said.contains(part)),
        "{said}"
    );
    assert!(!out.exists() && !out.with_extension("partial").exists());
    let done = imported(&out, from.path(), true).unwrap();
    assert_eq!(done.modalities, ["z", "flux_g"]);
    assert_eq!(done.left_out.len(), 4);
    let said = imported(&out, from.path(), true).unwrap_err().to_string();
    assert!(said.contains("holds another run"), "{said}");
}
