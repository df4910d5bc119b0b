//! What was compiled for an earlier version of the interface goes on working: headers and plugins as they were, in `plugins/abi/history`.

use crate::support::{compiled, config, context, registry};
use panchroma_core::reexport::arrow_array::types::Float64Type;
use panchroma_core::reexport::arrow_array::{LargeListArray, RecordBatch};
use panchroma_core::{ModalityContext, Rows, Section};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn history() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../abi/history")
}

#[test]
fn the_first_plugin_still_works() {
    let first = history().join("1.0");
    let header = std::fs::read_to_string(first.join("panchroma.h")).unwrap();
    assert!(header.contains("#define PANCHROMA_ABI_MINOR 0u") && !header.contains("(*fit)"));
    const { assert!(panchroma_abi::ABI_MAJOR == 1 && panchroma_abi::ABI_MINOR > 0) };
    let library = compiled(&first.join("plugin.c"), &first, "first_light");
    let registry = registry(&config(&library)).unwrap();
    let section = Section::from_toml("modality.x", "kind = \"first_light\"").unwrap();
    let mut modality = registry.modalities.build(&section, &ModalityContext { name: "x" }).unwrap();
    let list = |values: [Option<f64>; 3]| Some(values.to_vec());
    let lists =
        |of: [Option<Vec<Option<f64>>>; 3]| Arc::new(LargeListArray::from_iter_primitive::<Float64Type, _, _>(of)) as _;
    let columns = [
        (
            "first_light.time",
            lists([list([Some(1.0), Some(2.0), Some(4.0)]), None, list([Some(0.0), None, Some(3.0)])]),
            true,
        ),
        (
            "first_light.value",
            lists([list([Some(5.0), Some(6.0), Some(7.0)]), None, list([Some(8.0), Some(9.0), None])]),
            true,
        ),
    ];
    let rows = Rows::new(
        ["a", "b", "c"].map(String::from).to_vec(),
        RecordBatch::try_from_iter_with_nullable(columns).unwrap(),
    )
    .unwrap();
    // It learns nothing, as nothing did then.
    modality.fit(&mut std::iter::once(Ok(rows.clone()))).unwrap();
    assert!(modality.fitted().is_null());
    modality.restore(&serde_json::Value::Null).unwrap();
    let arrays = modality.prepare(&rows, &context()).unwrap();
    arrays.check("x", &modality.spec()).unwrap();
    assert_eq!(arrays.present, [true, false, true]);
    assert_eq!(arrays.valid().unwrap().1, [1, 1, 1, 0, 0, 0, 1, 0, 0]);
}

#[test]
fn every_version_before_this_one_is_kept() {
    for minor in 0..panchroma_abi::ABI_MINOR {
        let folder = history().join(format!("{}.{minor}", panchroma_abi::ABI_MAJOR));
        for file in ["panchroma.h", "plugin.c"] {
            assert!(folder.join(file).is_file(), "{}", folder.join(file).display());
        }
    }
}
