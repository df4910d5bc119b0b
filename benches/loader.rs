//! One pass over images and spectra, in batches of 64 in random order: `benches/compare loader`.
//!
//! Without a folder it does little, so that `cargo test --benches` is quick. With one, it reads `objects.parquet` there and also says
//! how many megabytes of values a core decodes per second.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its result")]

use panchroma_core::Column;
use panchroma_core::data::{Catalogue, DataConfig, Fractions, Loader, LoaderPlan, Position, Split};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const COLUMNS: [(&str, usize); 3] = [("image.flux", 3), ("spectrum.flux", 1), ("spectrum.ivar", 1)];
const THREADS: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let Some(folder) = std::env::args().nth(1).filter(|a| !a.starts_with('-')) else {
        println!("usage: loader FOLDER (see benches/compare)");
        return Ok(());
    };
    let start = Instant::now();
    let columns = COLUMNS.map(|(path, depth)| Column::number(path).depth(depth));
    let config = DataConfig {
        split: Fractions { train: 1.0, validation: 0.0, test: 0.0 },
        shuffle_window: 1024,
        // One pass needs nothing twice; the cache holds the window.
        cache_mib: 256,
        ..DataConfig::at(Path::new(&folder).join("objects.parquet"))
    };
    let catalogue = Arc::new(Catalogue::open(&config, &columns)?);
    let plan = LoaderPlan {
        rows: catalogue.split(Split::Train)?,
        batch: 64,
        seed: 1,
        threads: THREADS,
        prefetch: 4,
        shard: (0, 1),
        position: Position::default(),
        epochs: Some(1),
        shuffle: true,
        catalogue,
    };
    // What a modality would get: flat values and offsets per list level.
    let loader = Loader::start(
        plan,
        Arc::new(|rows, _| {
            let lists = COLUMNS.map(|(path, _)| rows.ragged_f32(path));
            Ok((rows.len(), lists.into_iter().collect::<panchroma_core::Result<Vec<_>>>()?))
        }),
    )?;
    let (mut rows, mut values, mut sum) = (0, 0, 0.0f64);
    for batch in loader {
        let (_, (count, lists)) = batch?;
        rows += count;
        for list in lists {
            values += list.values.len();
            sum += list.values.iter().map(|v| f64::from(*v)).sum::<f64>();
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let rate = 4e-6 * values as f64 / seconds;
    eprintln!("ours: {rate:.0} MB/s, {:.0} MB/s per core", rate / THREADS as f64);
    println!("seconds={seconds:.6} rows={rows} values={values} sum={sum:.3}");
    Ok(())
}
