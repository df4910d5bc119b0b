//! What stands beside the tiles: `hats.properties`, `partition_info.csv`, `_metadata`, `_common_metadata`.

use super::{Layout, Tile};
use panchroma_core::{Error, Result};
use parquet::errors::ParquetError;
use parquet::file::metadata::{FileMetaData, ParquetMetaData, ParquetMetaDataWriter, RowGroupMetaData};
use std::fs;
use std::path::Path;

pub(super) fn write(
    root: &Path,
    tiles: &[Tile],
    parts: &[(&str, &ParquetMetaData)],
    rows: u64,
    layout: &Layout,
) -> Result<()> {
    let mut info = String::from("Norder,Npix\n");
    for tile in tiles {
        info += &format!("{},{}\n", tile.order, tile.pixel);
    }
    save(&root.join("partition_info.csv"), info.as_bytes())?;
    let order = tiles.iter().map(|t| t.order).max().unwrap_or(0);
    let bytes: u64 = parts.iter().flat_map(|p| p.1.row_groups()).map(|g| g.compressed_size().unsigned_abs()).sum();
    // Twelve pixels of order 0 are the sky.
    let sky: f64 = tiles.iter().map(|t| 1.0 / (12.0 * 4f64.powi(t.order.into()))).sum();
    let largest = tiles.iter().map(|t| t.rows).max().unwrap_or(0);
    let properties = format!(
        "#HATS catalog\nobs_collection={}\ndataproduct_type=object\nhats_nrows={rows}\nhats_col_ra=ra\nhats_col_dec=dec\n\
         hats_col_healpix=_healpix_29\nhats_col_healpix_order=29\nhats_npix_suffix=.parquet\nhats_max_rows={largest}\n\
         hats_estsize={}\nmoc_sky_fraction={sky}\nhats_builder=panchroma {}\nhats_version=v1.0\nhats_order={order}\n",
        layout.name.replace(['\n', '='], " "),
        bytes.div_ceil(1024),
        env!("CARGO_PKG_VERSION"),
    );
    // Both names: older readers know the second alone.
    save(&root.join("hats.properties"), properties.as_bytes())?;
    save(&root.join("properties"), properties.as_bytes())?;
    let Some((_, first)) = parts.first() else { return Ok(()) };
    let groups = parts
        .iter()
        .flat_map(|(path, metadata)| metadata.row_groups().iter().map(move |group| (*path, group)))
        .map(|(path, group)| located(path, group))
        .collect::<std::result::Result<Vec<_>, _>>();
    let path = root.join("dataset/_metadata");
    let damaged = |e: ParquetError| Error::Io { action: "write", path: path.clone(), source: std::io::Error::other(e) };
    let about = |rows: u64| {
        let file = first.file_metadata();
        FileMetaData::new(
            file.version(),
            i64::try_from(rows).unwrap_or(i64::MAX),
            file.created_by().map(str::to_owned),
            file.key_value_metadata().cloned(),
            file.schema_descr_ptr(),
            None,
        )
    };
    let groups = groups.map_err(damaged)?;
    save(&path, &footer(&ParquetMetaData::new(about(rows), groups)).map_err(damaged)?)?;
    let common = footer(&ParquetMetaData::new(about(0), Vec::new())).map_err(damaged)?;
    save(&root.join("dataset/_common_metadata"), &common)
}

/// A row group with the file that it is in.
fn located(path: &str, group: &RowGroupMetaData) -> std::result::Result<RowGroupMetaData, ParquetError> {
    let columns = group.columns().iter().map(|column| {
        let builder = column.clone().into_builder().set_file_path(path.to_owned());
        // Places of indexes are not valid in another file.
        let builder = builder.set_column_index_offset(None).set_column_index_length(None);
        builder.set_offset_index_offset(None).set_offset_index_length(None).build()
    });
    let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
    group.clone().into_builder().set_column_metadata(columns).build()
}

fn footer(metadata: &ParquetMetaData) -> std::result::Result<Vec<u8>, ParquetError> {
    // The writer gives the end of a Parquet file alone.
    let mut bytes = b"PAR1".to_vec();
    ParquetMetaDataWriter::new(&mut bytes, metadata).finish()?;
    Ok(bytes)
}

fn save(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(Error::io("write", path))
}
