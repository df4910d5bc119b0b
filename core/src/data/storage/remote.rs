//! Files behind an address: `s3://`, `https://` (and `http://`), `hf://`.
//!
//! Reading is by ranges: of a Parquet file only its footer and the columns that are wanted cross the network.

use super::blocks::{BLOCK, Blocks};
use super::hub::{self, Hub};
use crate::data::{DataError, lock};
use crate::{Error, Result};
use ::parquet::errors::ParquetError;
use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::aws::{AmazonS3Builder, resolve_bucket_region};
use object_store::http::HttpBuilder;
use object_store::path::Path as Key;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt, RetryConfig};
use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long a request is tried again. Longer than a router takes to start, shorter than anyone waits.
const PATIENCE: Duration = Duration::from_secs(120);

/// One bucket, server or data set.
#[derive(Debug)]
struct Store {
    files: Arc<dyn ObjectStore>,
    /// Set for a data set of the Hugging Face Hub, which has a listing of its own.
    hub: Option<Hub>,
    /// Whether the place can say which files it has.
    lists: bool,
    /// Sizes that a listing told.
    sizes: Mutex<BTreeMap<Key, u64>>,
    blocks: Mutex<Blocks>,
}

/// A file far away.
#[derive(Clone, Debug)]
pub(super) struct Object {
    store: Arc<Store>,
    key: Key,
    path: PathBuf,
    size: u64,
}

impl Object {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let (store, key) = place(path)?;
        let known = lock(&store.sizes).get(&key).copied();
        let size = match known {
            Some(size) => size,
            None => wait(path, store.files.head(&key))?.size,
        };
        lock(&store.sizes).insert(key.clone(), size);
        Ok(Self { store, key, path: path.into(), size })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of the file, from the blocks that are here; what is missing comes in one request.
    pub(super) fn bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let end = start.saturating_add(length as u64);
        if end > self.size {
            return Err(ParquetError::EOF(format!("bytes {start} to {end} asked for, of {}", self.size)));
        }
        if length == 0 {
            return Ok(Bytes::new());
        }
        let (first, last) = (start / BLOCK, (end - 1) / BLOCK);
        let mut found: Vec<Option<Bytes>> = {
            let mut blocks = lock(&self.store.blocks);
            (first..=last).map(|number| blocks.get(&self.key, number)).collect()
        };
        let missing = || (first..).zip(&found).filter(|(_, block)| block.is_none()).map(|(number, _)| number);
        if let (Some(from), Some(to)) = (missing().next(), missing().last()) {
            let range = from * BLOCK..((to + 1) * BLOCK).min(self.size);
            let expected = range.end - range.start;
            let got = wait(&self.path, self.store.files.get_range(&self.key, range))
                .map_err(|e| ParquetError::External(Box::new(e)))?;
            if got.len() as u64 != expected {
                return Err(ParquetError::EOF(format!("{expected} bytes asked for, {} came", got.len())));
            }
            let mut blocks = lock(&self.store.blocks);
            for number in from..=to {
                let at = ((number - from) * BLOCK) as usize;
                // A copy, so that a block doesn't hold what came with it.
                let block = Bytes::copy_from_slice(&got[at..got.len().min(at + BLOCK as usize)]);
                if let Some(place) = found.get_mut((number - first) as usize) {
                    *place = Some(block.clone());
                }
                blocks.put(&self.key, number, block);
            }
        }
        let skip = (start - first * BLOCK) as usize;
        let parts: Vec<Bytes> = found.into_iter().flatten().collect();
        if let [whole] = parts.as_slice() {
            return Ok(whole.slice(skip..skip + length));
        }
        Ok(Bytes::from(parts.concat()).slice(skip..skip + length))
    }

    pub(super) fn read_from(&self, start: u64) -> impl Read + use<> {
        // Headers of pages are read byte by byte.
        BufReader::new(Stream { object: self.clone(), at: start })
    }
}

struct Stream {
    object: Object,
    at: u64,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.object.size.saturating_sub(self.at);
        let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let bytes = self.object.bytes(self.at, length).map_err(io::Error::other)?;
        buffer[..length].copy_from_slice(&bytes);
        self.at += length as u64;
        Ok(length)
    }
}

/// A small text, if it is there.
pub(super) fn bytes(path: &Path) -> Option<Vec<u8>> {
    let (store, key) = place(path).ok()?;
    let bytes = wait(path, async { store.files.get(&key).await?.bytes().await }).ok()?;
    Some(bytes.to_vec())
}

/// Names, relative to `folder`, of all files below it.
pub(super) fn list(folder: &Path) -> Result<Vec<String>> {
    let (store, prefix) = place(folder)?;
    let found: Vec<(Key, u64)> = if let Some(hub) = &store.hub {
        let failed = |source| DataError::Remote { path: folder.into(), source }.into();
        block_on(folder, async { hub.list(prefix.as_ref()).await.map_err(failed) })?
            .into_iter()
            .map(|(name, size)| (Key::from(name), size))
            .collect()
    } else if store.lists {
        let all = store.files.list(Some(&prefix)).map_ok(|file| (file.location, file.size));
        wait(folder, all.try_collect())?
    } else {
        return partitions(folder);
    };
    let below = |key: &Key| -> Option<String> {
        let parts: Vec<_> = key.prefix_match(&prefix)?.map(|part| part.as_ref().to_owned()).collect();
        Some(parts.join("/"))
    };
    let names = found.iter().filter_map(|(key, _)| below(key)).collect();
    lock(&store.sizes).extend(found);
    Ok(names)
}

/// The files of a HATS catalogue on a web server, which can't list them: the catalogue does.
fn partitions(folder: &Path) -> Result<Vec<String>> {
    let failed = |reason: &str| DataError::Remote { path: folder.into(), source: reason.into() };
    let text = super::small_text(&folder.join("partition_info.csv")).ok_or_else(|| {
        failed("a web server lists no files: name a HATS catalogue (with `partition_info.csv`) or one `.parquet` file")
    })?;
    let suffix = crate::data::hats::property(folder, "hats_npix_suffix").unwrap_or_else(|| ".parquet".into());
    if suffix == "/" {
        return Err(failed("its pixels are folders of files, which a web server doesn't list").into());
    }
    let mut lines = text.lines().map(|line| line.split(',').map(str::trim).collect::<Vec<_>>());
    let header = lines.next().unwrap_or_default();
    let column = |name: &str| header.iter().position(|h| *h == name);
    let (Some(order), Some(pixel)) = (column("Norder"), column("Npix")) else {
        return Err(failed("`partition_info.csv` lacks the columns Norder and Npix").into());
    };
    let number = |line: &[&str], at: usize| line.get(at).and_then(|value| value.parse::<u64>().ok());
    lines
        .filter(|line| line.iter().any(|value| !value.is_empty()))
        .map(|line| {
            let (Some(order), Some(pixel)) = (number(&line, order), number(&line, pixel)) else {
                return Err(failed("`partition_info.csv` has a line without numbers").into());
            };
            let folder = pixel / 10_000 * 10_000;
            Ok(format!("dataset/Norder={order}/Dir={folder}/Npix={pixel}{suffix}"))
        })
        .collect()
}

/// Store and name of what an address means.
fn place(path: &Path) -> Result<(Arc<Store>, Key)> {
    let failed = |source| Error::from(DataError::Remote { path: path.into(), source });
    let address = path.to_string_lossy();
    let (scheme, rest) = address.split_once("://").unwrap_or_default();
    let (base, rest) = match scheme {
        "hf" => hub::split(rest).map_err(|reason| failed(reason.into()))?,
        _ => rest.split_once('/').map_or((rest.to_owned(), ""), |(host, rest)| (host.to_owned(), rest)),
    };
    let key = match scheme {
        "s3" => Key::from(rest),
        _ => Key::from_url_path(rest).map_err(|e| failed(Box::new(e)))?,
    };
    static STORES: Mutex<BTreeMap<String, Arc<Store>>> = Mutex::new(BTreeMap::new());
    let name = format!("{scheme}://{base}");
    if let Some(store) = lock(&STORES).get(&name) {
        return Ok((Arc::clone(store), key));
    }
    let store = Arc::new(connect(scheme, &base, path)?);
    lock(&STORES).insert(name, Arc::clone(&store));
    Ok((store, key))
}

fn connect(scheme: &str, base: &str, path: &Path) -> Result<Store> {
    // One library of cryptography; that of another crate may have come first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let retry = RetryConfig { retry_timeout: PATIENCE, max_retries: 6, ..RetryConfig::default() };
    let failed = |e| translate(path, e);
    let http = |url: &str, options: ClientOptions| {
        let options = options.with_allow_http(true);
        Ok::<_, Error>(Arc::new(
            HttpBuilder::new()
                .with_url(url)
                .with_retry(retry.clone())
                .with_client_options(options)
                .build()
                .map_err(failed)?,
        ))
    };
    let (mut hub, mut lists) = (None, true);
    let files: Arc<dyn ObjectStore> = match scheme {
        "s3" => Arc::new(bucket(base, path)?.with_retry(retry.clone()).build().map_err(failed)?),
        "http" | "https" => {
            lists = false;
            http(&format!("{scheme}://{base}"), ClientOptions::new())?
        }
        "hf" => {
            let own = Hub::new(base).map_err(|source| DataError::Remote { path: path.into(), source })?;
            let files = http(&own.files(), ClientOptions::new().with_default_headers(own.headers()))?;
            hub = Some(own);
            files
        }
        other => {
            let reason = format!("`{other}://` is unknown; there are s3, https, http and hf");
            return Err(DataError::Remote { path: path.into(), source: reason.into() }.into());
        }
    };
    Ok(Store { files, hub, lists, sizes: Mutex::default(), blocks: Mutex::default() })
}

/// A bucket, by the variables of the environment that AWS's own tools read; without credentials, as anybody.
fn bucket(name: &str, path: &Path) -> Result<AmazonS3Builder> {
    let set = |names: &[&str]| names.iter().any(|name| std::env::var_os(name).is_some());
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(name);
    if !set(&[
        "AWS_ACCESS_KEY_ID",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_SKIP_SIGNATURE",
    ]) {
        builder = builder.with_skip_signature(true);
    }
    if !set(&["AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"]) {
        let region = wait(path, async { resolve_bucket_region(name, &ClientOptions::new()).await })?;
        builder = builder.with_region(region);
    }
    Ok(builder)
}

/// Waits for a request.
fn wait<T>(path: &Path, request: impl Future<Output = object_store::Result<T>>) -> Result<T> {
    block_on(path, async { request.await.map_err(|e| translate(path, e)) })
}

fn block_on<T>(path: &Path, request: impl Future<Output = Result<T>>) -> Result<T> {
    static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
    let start =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("network").enable_all().build();
    match RUNTIME.get_or_init(|| start().ok()) {
        Some(runtime) => runtime.block_on(request),
        None => {
            let reason = "the system gives no thread for the network";
            Err(DataError::Remote { path: path.into(), source: reason.into() }.into())
        }
    }
}

fn translate(path: &Path, error: object_store::Error) -> Error {
    match error {
        object_store::Error::NotFound { .. } => DataError::Missing { path: path.into(), nearest: Vec::new() }.into(),
        other => DataError::Remote { path: path.into(), source: Box::new(other) }.into(),
    }
}
