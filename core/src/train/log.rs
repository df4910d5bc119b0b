//! `log.jsonl`, one object per line, and TensorBoard's events with the same numbers.

use super::EventWriter;
use super::checkpoint::write_atomically;
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Writes both logs.
pub struct RunLog {
    path: PathBuf,
    file: File,
    events: EventWriter,
}

impl RunLog {
    /// Opens the logs of a run; lines of steps after `step`, which a resumed run takes again, are
    /// dropped.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(folder: &Path, step: u64) -> Result<Self> {
        let path = folder.join("log.jsonl");
        if path.exists() {
            let kept: String = Self::read(folder)?
                .into_iter()
                .filter(|line| line.get("step").and_then(Value::as_u64).is_some_and(|s| s <= step))
                .map(|line| format!("{}\n", Value::Object(line)))
                .collect();
            write_atomically(&path, kept.as_bytes())?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(Error::io("write", &path))?;
        let events = EventWriter::create(folder, SystemTime::now())?;
        Ok(Self { path, file, events })
    }

    /// Writes one line and flushes it, so that a killed run keeps what it logged.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&mut self, step: u64, values: &Map<String, Value>) -> Result<()> {
        let mut line = Map::new();
        line.insert("step".into(), step.into());
        line.extend(values.clone());
        let text = format!("{}\n", Value::Object(line));
        self.file.write_all(text.as_bytes()).map_err(Error::io("write", &self.path))?;
        for (name, value) in values {
            if let Some(value) = value.as_f64() {
                self.events.scalar(&name.replace('.', "/"), step, value as f32)?;
            }
        }
        self.events.flush()
    }

    /// The lines of a run's log; a last line that a killed run left half-written is skipped.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn read(folder: &Path) -> Result<Vec<Map<String, Value>>> {
        let path = folder.join("log.jsonl");
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }
}
