//! Catalogues behind an address give what the same files on a disk give.
//!
//! The servers are small ones of our own: there is no network where tests run.

#[cfg(feature = "remote")]
mod server;

use super::support::{fails, small};
use tempfile::TempDir;

#[test]
fn an_address_is_no_place_to_write() {
    let folder = TempDir::new().expect("a folder");
    let table = folder.path().join("table.csv");
    std::fs::write(&table, "object_id,ra,dec\na,1,2\n").expect("written");
    let table = table.to_str().expect("UTF-8");
    let said = fails(3, &["data", "match", table, table, "--out", "s3://bucket/x"], &[]);
    assert!(said.contains("only folders on a disk can be written"), "{said}");
    let config = small(folder.path());
    let set = "run.output=\"s3://bucket/run\"";
    let said = fails(3, &["train", config.to_str().expect("UTF-8"), "--set", set], &[]);
    assert!(said.contains("only folders on a disk can be written"), "{said}");
}

#[cfg(not(feature = "remote"))]
#[test]
fn a_build_without_addresses_says_so() {
    for address in ["s3://bucket/catalogue", "https://example.org/catalogue/part.parquet", "hf://datasets/a/b"] {
        let said = fails(3, &["data", "stats", address], &[]);
        assert!(said.contains("build it with `--features remote`"), "{said}");
    }
}

#[cfg(feature = "remote")]
mod reading {
    use super::server::Server;
    use crate::support::{command, small, succeeds};
    use std::path::Path;
    use tempfile::TempDir;

    /// Runs the command with the server as the only one there is.
    fn run(server: &Server, arguments: &[&str]) -> (bool, String, String) {
        let output = command(arguments)
            .env("HF_ENDPOINT", server.url())
            .env("HF_HOME", "/nowhere")
            .env("AWS_ENDPOINT", server.url())
            .env("AWS_ALLOW_HTTP", "true")
            .env("NO_PROXY", "127.0.0.1")
            .output()
            .expect("the command starts");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
        (output.status.success(), text(output.stdout), text(output.stderr))
    }

    /// The addresses of one folder of `data/`.
    fn addresses(server: &Server, folder: &str) -> [String; 4] {
        [
            format!("{}/files/{folder}", server.url()),
            format!("hf://datasets/owner/name/{folder}"),
            format!("hf://datasets/owner/name@refs/pr/1/{folder}"),
            format!("s3://bucket/{folder}"),
        ]
    }

    #[test]
    fn every_kind_of_address_gives_the_same_statistics() {
        let server = Server::start();
        let here = succeeds(&["data", "stats", "data/supernovae", "--json"]);
        let here: serde_json::Value = serde_json::from_str(&here).expect("JSON");
        for address in addresses(&server, "supernovae") {
            let (fine, out, errors) = run(&server, &["data", "stats", &address, "--json"]);
            assert!(fine, "{address}: {errors}");
            let mut there: serde_json::Value = serde_json::from_str(&out).expect("JSON");
            let mut here = here.clone();
            for stats in [&mut there, &mut here] {
                stats.as_object_mut().expect("a table").remove("path");
            }
            assert_eq!(there, here, "{address}");
        }
    }

    #[test]
    fn training_reads_only_what_it_needs_and_gives_the_same_run() {
        let server = Server::start();
        let folder = TempDir::new().expect("a folder");
        let config = small(folder.path());
        let config = config.to_str().expect("UTF-8");
        let losses = |place: &str| -> String {
            let log = std::fs::read_to_string(Path::new(place).join("log.jsonl")).expect("a log");
            let loss = |line: &str| -> Option<String> {
                let line: serde_json::Value = serde_json::from_str(line).ok()?;
                line.get("loss").map(ToString::to_string)
            };
            let all: Vec<String> = log.lines().filter_map(loss).collect();
            assert!(!all.is_empty(), "{log}");
            all.join(" ")
        };
        let mut found = Vec::new();
        for (number, data) in ["data/supernovae", "s3://bucket/supernovae"].into_iter().enumerate() {
            let out = folder.path().join(format!("run{number}"));
            let out = out.to_str().expect("UTF-8");
            let (output, path) = (format!("run.output={out:?}"), format!("data.path={data:?}"));
            let (fine, _, errors) = run(&server, &["train", config, "--set", &output, "--set", &path]);
            assert!(fine, "{data}: {errors}");
            found.push(losses(out));
        }
        assert_eq!(found.first(), found.last());
    }

    #[test]
    fn errors_name_the_address_and_the_reason() {
        let server = Server::start();
        for (path, expected) in [
            ("files/nothing.parquet", "doesn't exist"),
            ("files/nothing", "a web server lists no files"),
            ("forbidden/part.parquet", "403"),
            ("files/supernovae/partition_info.parquet", "doesn't exist"),
            ("short/part.parquet", "file too small"),
        ] {
            let (fine, _, errors) = run(&server, &["data", "stats", &format!("{}/{path}", server.url())]);
            assert!(!fine && errors.contains(expected) && errors.contains(path), "{path}: {errors}");
        }
        for (address, expected) in [
            ("hf://datasets/owner", "hf://datasets/OWNER/NAME[@REVISION]/FOLDER"),
            ("hf://datasets/owner/other/x", "404"),
            ("s3://bucket/nothing", "no Parquet file"),
            ("gopher://a/b", "`gopher://` is unknown"),
        ] {
            let (fine, _, errors) = run(&server, &["data", "stats", address]);
            assert!(!fine && errors.contains(expected), "{address}: {errors}");
        }
    }
}
