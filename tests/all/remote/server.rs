//! A web server over `data/`, which answers as a plain one, as the Hugging Face Hub and as S3 do.

use crate::support::ROOT;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

/// Serves until the test ends.
pub(super) struct Server {
    url: String,
}

impl Server {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let own = url.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let own = own.clone();
                std::thread::spawn(move || while answer(&stream, &own).is_some() {});
            }
        });
        Self { url }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

/// Answers one request; none once the other side has gone.
fn answer(stream: &TcpStream, url: &str) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let (method, target) = first.split_once(' ').and_then(|(m, rest)| Some((m, rest.split_once(' ')?.0)))?;
    let mut range = None;
    while let Some(line) = lines.next().and_then(Result::ok).filter(|line| !line.is_empty()) {
        if let Some(bytes) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            let (from, to) = bytes.split_once('-')?;
            range = Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()?));
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    // S3 is asked for `Norder%3D0`.
    let path = path.trim_start_matches('/').replace("%3D", "=");
    let path = path.as_str();
    let data = Path::new(ROOT).join("data");
    let rest = |prefix: &str| path.strip_prefix(prefix);
    if let Some(name) = rest("files/").or(rest("bucket/").filter(|name| !name.is_empty())) {
        return match std::fs::read(data.join(name)) {
            Ok(bytes) => send_range(stream, method, &bytes, range),
            Err(_) => send(stream, method, "404 Not Found", "", b""),
        };
    }
    if path == "bucket" || path == "bucket/" {
        let prefix = query.split('&').find_map(|part| part.strip_prefix("prefix=")).unwrap_or("");
        let xml = bucket(&data, &prefix.replace("%2F", "/").replace("%3D", "="));
        return send(stream, method, "200 OK", "", xml.as_bytes());
    }
    for revision in ["main", "refs%2Fpr%2F1"] {
        if let Some(name) = rest(&format!("datasets/owner/name/resolve/{revision}/")) {
            // As the Hub does: the file is elsewhere.
            return send(stream, method, "302 Found", &format!("Location: {url}/files/{name}\r\n"), b"");
        }
        if let Some(folder) = rest(&format!("api/datasets/owner/name/tree/{revision}/")) {
            let mut files = files(&data.join(folder));
            files.sort();
            let half = files.len() / 2;
            let (link, page) = match query.contains("cursor=2") {
                true => (String::new(), files.split_off(half)),
                false => {
                    files.truncate(half);
                    (format!("Link: <{url}/{path}?recursive=true&cursor=2>; rel=\"next\"\r\n"), files)
                }
            };
            let entries = page.iter().map(|(file, size)| {
                serde_json::json!({ "type": "file", "path": relative(&data, file), "size": size, "oid": "0" })
            });
            let folder = serde_json::json!({ "type": "directory", "path": folder, "size": 0, "oid": "0" });
            let page: Vec<serde_json::Value> = entries.chain([folder]).collect();
            return send(stream, method, "200 OK", &link, serde_json::to_string(&page).ok()?.as_bytes());
        }
    }
    match path {
        "forbidden/part.parquet" => send(stream, method, "403 Forbidden", "", b""),
        "short/part.parquet" => send_range(stream, method, b"PAR1", range),
        _ => send(stream, method, "404 Not Found", "", b""),
    }
}

fn send_range(stream: &TcpStream, method: &str, bytes: &[u8], range: Option<(usize, usize)>) -> Option<()> {
    let Some((from, to)) = range else { return send(stream, method, "200 OK", "", bytes) };
    let to = to.min(bytes.len() - 1);
    let header = format!("Content-Range: bytes {from}-{to}/{}\r\n", bytes.len());
    send(stream, method, "206 Partial Content", &header, &bytes[from..=to])
}

fn send(mut stream: &TcpStream, method: &str, status: &str, headers: &str, body: &[u8]) -> Option<()> {
    let length = body.len();
    let modified = "Last-Modified: Tue, 24 Nov 2026 00:00:00 GMT\r\nETag: \"1\"\r\n";
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{modified}{headers}\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    if method != "HEAD" {
        stream.write_all(body).ok()?;
    }
    stream.flush().ok()
}

/// Every file below, with its size.
fn files(folder: &Path) -> Vec<(PathBuf, u64)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let each = entries.flatten().map(|entry| entry.path()).map(|path| match path.is_dir() {
        true => files(&path),
        false => vec![(path.clone(), std::fs::metadata(&path).map_or(0, |m| m.len()))],
    });
    each.flatten().collect()
}

fn relative(root: &Path, file: &Path) -> String {
    file.strip_prefix(root).expect("below the root").to_string_lossy().into_owned()
}

fn bucket(data: &Path, prefix: &str) -> String {
    let mut xml = String::from("<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>false</IsTruncated>");
    for (file, size) in files(data) {
        let key = relative(data, &file);
        if key.starts_with(prefix) {
            let modified = "2026-11-24T00:00:00.000Z";
            let _ = write!(
                xml,
                "<Contents><Key>{key}</Key><LastModified>{modified}</LastModified><ETag>\"1\"</ETag><Size>{size}</Size></Contents>"
            );
        }
    }
    xml + "</ListBucketResult>"
}
