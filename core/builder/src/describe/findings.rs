//! What is wrong in a catalogue, gathered while it is read.

use serde::Serialize;
use std::collections::BTreeMap;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Whether training or matching would fail or be wrong; otherwise it is only odd.
    pub error: bool,
    /// The first file in which it was found, relative to the catalogue.
    pub file: String,
    /// The column, or empty.
    pub column: String,
    /// What is wrong.
    pub problem: String,
    /// How many objects have it; 0 if it is about a whole file.
    pub objects: u64,
    /// Name of the first of them.
    pub first: Option<String>,
}

/// What was found so far.
#[derive(Default)]
pub(super) struct Report {
    /// By file, if it is about a whole file, and by column and problem.
    found: BTreeMap<(String, String, String), Finding>,
    /// What is read now.
    pub(super) file: String,
}

impl Report {
    pub(super) fn add(&mut self, error: bool, column: &str, problem: &str, object: Option<&str>) {
        let file = self.file.clone();
        let key = if column.is_empty() { file.clone() } else { String::new() };
        let finding = self.found.entry((key, column.into(), problem.into())).or_insert_with(|| Finding {
            error,
            file,
            column: column.into(),
            problem: problem.into(),
            objects: 0,
            first: object.map(Into::into),
        });
        finding.objects += u64::from(object.is_some());
    }

    pub(super) fn error(&mut self, column: &str, problem: &str, object: Option<&str>) {
        self.add(true, column, problem, object);
    }

    pub(super) fn odd(&mut self, column: &str, problem: &str, object: Option<&str>) {
        self.add(false, column, problem, object);
    }

    /// What is wrong comes first, and what many objects have.
    pub(super) fn findings(self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.found.into_values().collect();
        findings.sort_by(|a, b| b.error.cmp(&a.error).then(b.objects.cmp(&a.objects)));
        findings
    }
}
