//! TensorBoard's event files, written without TensorBoard or protobuf: scalars only.
//!
//! A file is a chain of TFRecords: length (u64), checksum of the length, data, checksum of the data, all little
//! endian; the checksums are CRC-32C, rotated and shifted as TensorFlow does ("masked"). The data is one `Event`
//! message of `tensorflow/core/util/event.proto`, of which this module writes five fields.

use crate::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

// Field numbers of the messages, shifted by three, with the wire type in the low bits.
const EVENT_WALL_TIME: u8 = 1 << 3 | 1;
const EVENT_STEP: u8 = 2 << 3;
const EVENT_FILE_VERSION: u8 = 3 << 3 | 2;
const EVENT_SUMMARY: u8 = 5 << 3 | 2;
const EVENT_SESSION_LOG: u8 = 7 << 3 | 2;
const SESSION_LOG_STATUS: u8 = 1 << 3;
const SUMMARY_VALUE: u8 = 1 << 3 | 2;
const VALUE_TAG: u8 = 1 << 3 | 2;
const VALUE_SIMPLE: u8 = 2 << 3 | 5;

/// `SessionLog::START`: what older files of the folder hold from this step on is void.
const START: u8 = 1;

/// Appends scalars to an event file.
pub struct EventWriter {
    path: PathBuf,
    file: BufWriter<File>,
    started: Duration,
    clock: Instant,
    announced: bool,
}

impl EventWriter {
    /// Starts `events.out.tfevents.<seconds of started>.panchroma` in `folder`; goes on with the file if there is one
    /// of that second.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(folder: &Path, started: SystemTime) -> Result<Self> {
        // A clock before 1970 is wrong anyway; the file is still good.
        let started = started.duration_since(UNIX_EPOCH).unwrap_or_default();
        // TensorBoard reads the files of a folder in the order of their names; ten digits keep that the order of time.
        let path = folder.join(format!("events.out.tfevents.{:010}.panchroma", started.as_secs()));
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(Error::io("create", &path))?;
        let mut writer = Self { path, file: BufWriter::new(file), started, clock: Instant::now(), announced: false };
        writer.write(0, |event| delimited(event, EVENT_FILE_VERSION, b"brain.Event:2"))?;
        writer.flush()?;
        Ok(writer)
    }

    /// Appends `value` of `tag` at `step`. Tags with a `/` are grouped by what stands before it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn scalar(&mut self, tag: &str, step: u64, value: f32) -> Result<()> {
        if !self.announced {
            // A resumed run takes some steps again; this hides the first take.
            self.write(step, |event| delimited(event, EVENT_SESSION_LOG, &[SESSION_LOG_STATUS, START]))?;
            self.announced = true;
        }
        self.write(step, |event| delimited(event, EVENT_SUMMARY, &summary(tag, value)))
    }

    /// Hands what was written to the system.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(Error::io("write", &self.path))
    }

    fn write(&mut self, step: u64, what: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let wall_time = self.started + self.clock.elapsed();
        let record = record(&event(wall_time.as_secs_f64(), step, what));
        self.file.write_all(&record).map_err(Error::io("write", &self.path))
    }
}

/// An `Event` message: seconds since 1970, the step, and what `what` appends.
fn event(wall_time: f64, step: u64, what: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut message = vec![EVENT_WALL_TIME];
    message.extend(wall_time.to_le_bytes());
    message.push(EVENT_STEP);
    varint(&mut message, step);
    what(&mut message);
    message
}

/// A `Summary` message with one value.
fn summary(tag: &str, value: f32) -> Vec<u8> {
    let mut inner = Vec::new();
    delimited(&mut inner, VALUE_TAG, tag.as_bytes());
    inner.push(VALUE_SIMPLE);
    inner.extend(value.to_le_bytes());
    let mut message = Vec::new();
    delimited(&mut message, SUMMARY_VALUE, &inner);
    message
}

/// Appends a field of text or of a message.
fn delimited(message: &mut Vec<u8>, key: u8, contents: &[u8]) {
    message.push(key);
    varint(message, contents.len() as u64);
    message.extend(contents);
}

/// Appends seven bits a byte, lowest first, the high bit set in all but the last.
fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

/// A TFRecord.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let checksums = [masked(&length), masked(data)];
    [length.as_slice(), &checksums[0], data, &checksums[1]].concat()
}

/// TensorFlow's masked CRC-32C, `tensorflow/core/lib/hash/crc32c.h`.
fn masked(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_scalar_has_the_bytes_that_tensorflow_writes() {
        let bytes = record(&event(1.5, 300, |event| delimited(event, EVENT_SUMMARY, &summary("loss", 0.25))));
        // Made with Python: tensorboard.compat.proto's Event(wall_time=1.5, step=300, summary=...) written by
        // tensorboard.summary.writer.record_writer.RecordWriter.
        let expected = "1b000000000000001a0d9e1309000000000000f83f10ac022a0d0a0b0a046c6f7373150000803e9908deed";
        assert_eq!(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>(), expected);
    }

    #[test]
    fn files_start_with_their_version_and_grow_by_whole_records() -> Result<()> {
        let folder = tempfile::tempdir().map_err(Error::io("create", Path::new("temporary")))?;
        let mut writer = EventWriter::create(folder.path(), UNIX_EPOCH + Duration::from_secs(1_700_000_000))?;
        writer.scalar("train/loss", 1, 2.0)?;
        writer.scalar("train/loss", 2, 1.0)?;
        writer.flush()?;
        let path = folder.path().join("events.out.tfevents.1700000000.panchroma");
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        let mut rest = bytes.as_slice();
        let mut records = Vec::new();
        while let Some((head, tail)) = rest.split_at_checked(12) {
            assert_eq!(head[8..], masked(&head[..8]));
            let length = u64::from_le_bytes(head[..8].try_into().unwrap()) as usize;
            assert_eq!(tail[length..length + 4], masked(&tail[..length]));
            records.push(tail[..length].to_vec());
            rest = &tail[length + 4..];
        }
        // Version, start of the session, two scalars.
        assert_eq!(records.len(), 4);
        assert!(records[0].ends_with(b"brain.Event:2"));
        assert!(records[1].ends_with(&[EVENT_SESSION_LOG, 2, SESSION_LOG_STATUS, START]));
        assert!(records[3].ends_with(&1.0_f32.to_le_bytes()));
        Ok(())
    }
}
