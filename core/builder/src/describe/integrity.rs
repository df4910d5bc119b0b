//! Whether the files of a catalogue are those that were written, and whether what stands beside them agrees with them.

use super::findings::Report;
use super::notes::{Notes, Written};
use crate::hats::{Checksum, DEEPEST};
use panchroma_core::data::{Reader, small_text};
use panchroma_core::{Error, Result};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::ChunkReader;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader};
use std::path::Path;

/// Bytes of a file that are read at once.
const BLOCK: usize = 1 << 20;

/// A file that is there: its name relative to the catalogue, and the rows of its groups if its footer can be read.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) groups: Option<Vec<u64>>,
}

/// What `panchroma.toml` says, as far as it can be read.
pub(super) fn notes(root: &Path, report: &mut Report) -> Option<Notes> {
    let notes = Notes::read(root).unwrap_or_else(|reason| {
        report.file = "panchroma.toml".into();
        report.error("", &format!("can't be read: {reason}"), None);
        None
    });
    notes.filter(|notes| !notes.file.is_empty())
}

/// Compares a file with what was written.
pub(super) fn same_as_written(
    path: &Path,
    found: &Found,
    written: Option<&Written>,
    report: &mut Report,
) -> Result<()> {
    let Some(Written { rows, sha256, .. }) = written else {
        report.error("", "is not among the files that `panchroma.toml` lists", None);
        return Ok(());
    };
    if let Some(own) = found.groups.as_ref().map(|groups| groups.iter().sum::<u64>()).filter(|own| own != rows) {
        report.error("", &format!("has {own} objects, but {rows} in `panchroma.toml`"), None);
    }
    if checksum(path)? != *sha256 {
        report.error("", "is not what was written: its SHA-256 is not that in `panchroma.toml`", None);
    }
    Ok(())
}

fn checksum(path: &Path) -> Result<String> {
    let damaged = |e: parquet::errors::ParquetError| Error::io("read", path)(std::io::Error::other(e));
    let from = Reader::open(path)?.get_read(0).map_err(damaged)?;
    let mut sum = Checksum::new(io::sink());
    io::copy(&mut BufReader::with_capacity(BLOCK, from), &mut sum).map_err(Error::io("read", path))?;
    sum.finish().map_err(Error::io("read", path))
}

/// Checks the lists of files that stand beside the files of a whole catalogue.
pub(super) fn lists(root: &Path, files: &[Found], notes: Option<&Notes>, report: &mut Report) {
    let there: BTreeSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
    for written in notes.iter().flat_map(|notes| &notes.file).filter(|w| !there.contains(w.path.as_str())) {
        report.file.clone_from(&written.path);
        report.error("", "is missing, but `panchroma.toml` lists it", None);
    }
    let tiles: BTreeSet<(i64, i64)> = files.iter().filter_map(|file| tile(Path::new(&file.name))).collect();
    if tiles.is_empty() {
        return;
    }
    report.file = "partition_info.csv".into();
    partitions(root, &tiles, report);
    let folder = if files.iter().all(|file| file.name.starts_with("dataset/")) { "dataset/" } else { "" };
    for name in ["_common_metadata", "_metadata"] {
        report.file = format!("{folder}{name}");
        let path = root.join(&report.file);
        let Ok(reader) = Reader::open(&path) else {
            // Others write the first alone.
            if name == "_common_metadata" || notes.is_some() {
                report.odd("", "is missing: `hats` and `lsdb` read the columns from it", None);
            }
            continue;
        };
        match ParquetMetaDataReader::new().parse_and_finish(&reader) {
            Err(e) => report.error("", &format!("can't be read as Parquet: {e}"), None),
            Ok(metadata) if name == "_metadata" => row_groups(&metadata, folder, files, report),
            Ok(_) => {}
        }
    }
}

/// Compares the tiles of `partition_info.csv` with those that are there.
fn partitions(root: &Path, tiles: &BTreeSet<(i64, i64)>, report: &mut Report) {
    let Some(text) = small_text(&root.join("partition_info.csv")) else {
        report.odd("", "is missing: `hats` and `lsdb` read from it which tiles there are", None);
        return;
    };
    let Some(listed) = listed(&text) else {
        report.error("", "is no list of tiles: expected a line `Norder,Npix`, then a line for each", None);
        return;
    };
    for (order, pixel) in listed.difference(tiles) {
        report.error("", &format!("lists Norder={order}, Npix={pixel}, which is not there"), None);
    }
    for (order, pixel) in tiles.difference(&listed) {
        report.error("", &format!("lacks Norder={order}, Npix={pixel}, which is there"), None);
    }
}

/// Order and pixel of each line; none if it is no such list.
fn listed(text: &str) -> Option<BTreeSet<(i64, i64)>> {
    let mut lines = text.lines().map(|line| line.split(',').map(str::trim).collect::<Vec<_>>());
    let names = lines.next()?;
    let [order, pixel] = ["Norder", "Npix"].map(|name| names.iter().position(|n| *n == name));
    let (order, pixel) = (order?, pixel?);
    let number = |line: &[&str], at: usize| line.get(at)?.parse::<i64>().ok();
    lines.filter(|line| *line != [""]).map(|line| Some((number(&line, order)?, number(&line, pixel)?))).collect()
}

/// Compares the row groups of `_metadata` with those of the files.
fn row_groups(metadata: &ParquetMetaData, folder: &str, files: &[Found], report: &mut Report) {
    let mut said: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for group in metadata.row_groups() {
        let path = group.columns().first().and_then(|column| column.file_path()).unwrap_or_default();
        said.entry(format!("{folder}{path}")).or_default().push(group.num_rows().unsigned_abs());
    }
    for file in files {
        let said = said.remove(&file.name);
        let problem = match (&file.groups, said) {
            (_, None) => format!("lacks `{}`", file.name),
            (Some(own), Some(said)) if *own != said => {
                let rows = |groups: &[u64]| groups.iter().sum::<u64>();
                let (own_rows, said_rows) = (rows(own), rows(&said));
                let (own, said, name) = (own.len(), said.len(), &file.name);
                format!("has {said_rows} objects in {said} groups of `{name}`, the file {own_rows} in {own}")
            }
            _ => continue,
        };
        report.error("", &problem, None);
    }
    for name in said.into_keys() {
        report.error("", &format!("has rows of `{name}`, which is not there"), None);
    }
}

/// Order and number of the pixel that a file of a HATS catalogue is for.
pub(super) fn tile(file: &Path) -> Option<(i64, i64)> {
    let part = |prefix: &str| {
        file.components().rev().find_map(|c| {
            let name = c.as_os_str().to_string_lossy();
            name.strip_prefix(prefix)?.trim_end_matches(".parquet").parse::<i64>().ok()
        })
    };
    Some((part("Norder=").filter(|o| (0..=i64::from(DEEPEST)).contains(o))?, part("Npix=")?))
}
