//! One object of a catalogue as a picture or a page.

use super::charts::object::{Drawing, drawings};
use super::charts::{escape, paint};
use super::{Table, page};
use panchroma_builder::describe::Measured;
use panchroma_core::train::checkpoint::write_atomically;
use panchroma_core::{Error, Result};
use std::path::Path;

/// What to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Picture {
    /// Pixels.
    Png,
    /// A page that needs nothing but itself.
    Html,
}

/// Everything that is shown of an object.
pub(crate) struct ObjectPage {
    id: String,
    drawings: Vec<Drawing>,
    facts: Vec<(String, String)>,
    /// What can't be drawn, and why.
    sentences: Vec<String>,
}

impl ObjectPage {
    /// What `id` measured, and its plain columns.
    pub(crate) fn new(id: &str, measured: &[Measured], facts: Vec<(String, String)>) -> Self {
        let (drawings, undrawn) = drawings(measured);
        let sentences = undrawn.iter().map(|(column, reason)| format!("`{column}` can't be drawn: {reason}"));
        // Some catalogues have objects whose name is empty.
        let id = if id.trim().is_empty() { format!("object `{id}`") } else { id.to_owned() };
        Self { id, drawings, facts, sentences: sentences.collect() }
    }

    /// Writes it, so that `path` is either as before or complete.
    ///
    /// # Errors
    /// If the file can't be written.
    pub(crate) fn write(&self, path: &Path, picture: Picture) -> Result<()> {
        match picture {
            Picture::Html => write_atomically(path, self.html()?.as_bytes()),
            Picture::Png => {
                // The encoder goes by the ending.
                let mut name = path.file_name().unwrap_or_default().to_os_string();
                name.push(".partial.png");
                let partial = path.with_file_name(name);
                // Where nothing can be written, the system says so better than the encoder.
                std::fs::File::create(&partial).map_err(Error::io("write", path))?;
                let painted = paint(&partial, &self.id, &self.facts, &self.sentences, &self.drawings);
                let painted = painted.map_err(|reason| Error::Io {
                    action: "draw",
                    path: path.into(),
                    source: std::io::Error::other(reason),
                });
                let done = painted.and_then(|()| std::fs::rename(&partial, path).map_err(Error::io("write", path)));
                if done.is_err() {
                    let _ = std::fs::remove_file(&partial);
                }
                done
            }
        }
    }

    fn html(&self) -> Result<String> {
        let figures = self.drawings.iter().map(Drawing::figure).collect::<Result<Vec<_>>>()?;
        let facts = Table {
            title: String::new(),
            columns: vec!["column".into(), "value".into()],
            rows: self.facts.iter().map(|(name, value)| vec![name.clone(), value.clone()]).collect(),
            note: String::new(),
        };
        let undrawn = self.sentences.iter().map(|s| format!("<p class=\"note\">{}</p>\n", escape(s)));
        let measured = page::figures(&figures) + &undrawn.collect::<String>();
        let sections = page::section("measured", "Measured", &measured)
            + &page::section("columns", "Columns", &page::table(&facts));
        Ok(page::frame("Panchroma object", &self.id, "", &sections))
    }
}
