//! What it costs to call a modality through the C interface, and in a child process, against the same one compiled in.
//!
//! Each object has 4 KiB: 1,024 numbers in one list. All three hand them on as they are. `read` has what a loader's thread does:
//! reading batches of a Parquet file and preparing them; `prepare` is the call alone. Rounds alternate; medians of ratios.
//!
//! `cargo bench --bench plugins`, or with the number of rounds: `cargo bench --bench plugins -- 31`.

#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use arrow_array::types::Float32Type;
use arrow_array::{ArrayRef, LargeListArray, RecordBatch, StringArray};
use panchroma_core::data::{Catalogue, DataConfig};
use panchroma_core::plugins::Isolate;
use panchroma_core::{
    Array, ArrayField, Arrays, ArraysSpec, Column, Modality, ModalityContext, Mode, PluginsConfig, PrepareContext,
    Registry, Result, Rows, Section, ValueType, Values,
};
use parquet::arrow::ArrowWriter;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

const OBJECTS: usize = 4096;
const LENGTH: usize = 1024;
const BATCH: usize = 256;

/// The same as `plugins/noop.c`, compiled in.
struct CompiledIn;

impl Modality for CompiledIn {
    fn columns(&self) -> Vec<Column> {
        vec![Column::number("values").list()]
    }

    fn spec(&self) -> ArraysSpec {
        let fields = vec![ArrayField { name: "values", axes: &["L"], unit: String::new(), values: ValueType::F32 }];
        ArraysSpec { fields, valid_axes: &[], sizes: vec![("L", LENGTH)], labels: Vec::new() }
    }

    fn prepare(&self, rows: &Rows, _: &PrepareContext<'_>) -> Result<Arrays> {
        let lists = rows.ragged_f32("values")?;
        let mut values = vec![0.0; rows.len() * LENGTH];
        for (row, to) in values.chunks_mut(LENGTH).enumerate() {
            let own = lists.row(row);
            if own.len() == LENGTH {
                to.copy_from_slice(own);
            }
        }
        let valid = lists.present.iter().map(|p| u8::from(*p)).collect();
        Ok(Arrays {
            present: lists.present,
            valid: Array::new(&[rows.len()], Values::U8(valid))?,
            fields: BTreeMap::from([("values".into(), Array::f32(&[rows.len(), LENGTH], values)?)]),
        })
    }
}

fn loaded(library: &Path, isolate: bool) -> Result<Box<dyn Modality>> {
    let config = PluginsConfig {
        paths: vec![library.to_path_buf()],
        isolate: Isolate::All(isolate),
        time_limit: 60.0,
        ..PluginsConfig::default()
    };
    let mut registry = Registry::linked()?;
    panchroma_host::add(&mut registry, &config)?;
    registry.modalities.build(&Section::from_toml("modality.x", "kind = \"noop\"")?, &ModalityContext { name: "x" })
}

fn catalogue(folder: &Path) -> Result<Catalogue> {
    let value = |i: usize| Some((i % 1013) as f32);
    let list = |object: usize| Some((0..LENGTH).map(move |i| value(object * 31 + i)).collect::<Vec<_>>());
    let lists = LargeListArray::from_iter_primitive::<Float32Type, _, _>((0..OBJECTS).map(list));
    let ids = (0..OBJECTS).map(|i| Some(format!("o{i}"))).collect::<StringArray>();
    let columns: [(&str, ArrayRef); 2] = [("object_id", Arc::new(ids)), ("values", Arc::new(lists))];
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    let file = std::fs::File::create(folder.join("part.parquet")).expect("created");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
    let section = Section::from_toml("data", &format!("path = {folder:?}\ncache_mib = 1\n"))?;
    Catalogue::open(&DataConfig::read(&section)?, &CompiledIn.columns())
}

/// Seconds of preparing everything, and of reading and preparing it.
fn round(modality: &dyn Modality, catalogue: &Catalogue, batches: &[Rows]) -> Result<[f64; 2]> {
    let context = PrepareContext { mode: Mode::Train, seed: 0, epoch: 0, modality: "x" };
    let spec = modality.spec();
    let started = Instant::now();
    for rows in batches {
        modality.prepare(rows, &context)?.check("x", &spec)?;
    }
    let prepare = started.elapsed().as_secs_f64();
    let numbers: Vec<u32> = (0..OBJECTS as u32).collect();
    let started = Instant::now();
    for chunk in numbers.chunks(BATCH) {
        modality.prepare(&catalogue.read(chunk)?, &context)?.check("x", &spec)?;
    }
    Ok([prepare, started.elapsed().as_secs_f64()])
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Result<()> {
    // A child process of the isolated plugin is this program.
    if std::env::args().skip(1).eq(panchroma_host::COMMAND.map(String::from)) {
        return panchroma_host::serve();
    }
    let rounds = std::env::args().filter_map(|a| a.parse().ok()).next().unwrap_or(15);
    let folder = tempfile::tempdir().expect("a folder");
    let library = folder.path().join("libnoop.so");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let compiled = Command::new("cc")
        .args(["-std=c99", "-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-I"])
        .arg(here.join("plugins/abi"))
        .arg("-o")
        .arg(&library)
        .arg(here.join("benches/plugins/noop.c"))
        .status();
    assert!(compiled.is_ok_and(|status| status.success()), "a C compiler is needed");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("created");
    let catalogue = catalogue(&data)?;
    let numbers: Vec<u32> = (0..OBJECTS as u32).collect();
    let batches = numbers.chunks(BATCH).map(|chunk| catalogue.read(chunk)).collect::<Result<Vec<_>>>()?;
    let modalities: [(&str, Box<dyn Modality>); 3] = [
        ("compiled in", Box::new(CompiledIn)),
        ("C interface", loaded(&library, false)?),
        ("isolated", loaded(&library, true)?),
    ];
    let mut seconds: Vec<Vec<[f64; 2]>> = vec![Vec::new(); modalities.len()];
    for turn in 0..rounds + 2 {
        for (own, (_, modality)) in seconds.iter_mut().zip(&modalities) {
            let taken = round(&**modality, &catalogue, &batches)?;
            // The first rounds warm caches, and make the children.
            if turn >= 2 {
                own.push(taken);
            }
        }
    }
    println!("{OBJECTS} objects of {} KiB in batches of {BATCH}, {rounds} rounds", LENGTH * 4 / 1024);
    println!("{:12} {:>22} {:>10} {:>22} {:>10}", "", "prepare, us/object", "ratio", "read, objects/s", "ratio");
    for ((name, _), own) in modalities.iter().zip(&seconds) {
        let ratio = |of: usize| median(own.iter().zip(&seconds[0]).map(|(a, b)| a[of] / b[of]).collect());
        let each = |of: usize| median(own.iter().map(|s| s[of]).collect()) / OBJECTS as f64;
        println!("{name:12} {:22.3} {:10.3} {:22.0} {:10.3}", 1e6 * each(0), ratio(0), 1.0 / each(1), ratio(1));
    }
    Ok(())
}
