//! What happens to an object whose measurement makes no sense: it stops the run, or counts as without it.
//!
//! The object stays in its split either way, so that vectors, labels and results keep their rows.

use crate::data::{BadRowsPolicy, DataError};
use crate::{Arrays, Error, Modality, PrepareContext, Result, Rows};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A measurement that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BadRow {
    /// The user's name of the modality.
    pub modality: String,
    /// The object.
    pub object: String,
    /// Column, and what is wrong in it.
    pub reason: String,
}

/// What was found so far. Shared by the loader's threads.
#[derive(Debug, Default)]
pub(super) struct BadRows {
    policy: BadRowsPolicy,
    /// Reason by modality and object, and whether it was told.
    found: Mutex<BTreeMap<(String, String), (String, bool)>>,
}

impl BadRows {
    pub(super) fn new(policy: BadRowsPolicy) -> Self {
        Self { policy, found: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String), (String, bool)>> {
        // A thread that panicked can't have left anything half done: every change is one insertion.
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found since the last call.
    pub(super) fn news(&self) -> Vec<BadRow> {
        let mut found = self.lock();
        let fresh = found.iter_mut().filter(|(_, (_, told))| !told).map(|((modality, object), (reason, told))| {
            *told = true;
            BadRow { modality: modality.clone(), object: object.clone(), reason: reason.clone() }
        });
        fresh.collect()
    }

    /// Remembers the object that `error` is about.
    ///
    /// # Errors
    /// `error`, if it is about none of `rows`, or the policy is to stop.
    fn remember(&self, modality: &str, rows: &Rows, error: Error) -> Result<()> {
        match (&error, self.policy) {
            (Error::Data(data), BadRowsPolicy::Absent) => match &**data {
                DataError::BadValue { object, column, reason } if rows.ids().contains(object) => {
                    let reason = format!("column `{column}`: {reason}");
                    self.lock().insert((modality.into(), object.clone()), (reason, false));
                    Ok(())
                }
                _ => Err(error),
            },
            (Error::Foreign(plugin), BadRowsPolicy::Absent) => match plugin.object() {
                Some(object) if rows.ids().iter().any(|id| id == object) => {
                    self.lock().insert((modality.into(), object.into()), (plugin.to_string(), false));
                    Ok(())
                }
                _ => Err(error),
            },
            _ => Err(error),
        }
    }

    /// Numbers of the rows that are not known to be bad.
    fn good(&self, modality: &str, rows: &Rows) -> Vec<usize> {
        let found = self.lock();
        let known = |id: &String| found.contains_key(&(modality.to_owned(), id.clone()));
        (0..rows.len()).filter(|i| found.is_empty() || !rows.ids().get(*i).is_some_and(known)).collect()
    }

    /// What `modality` makes of `rows`; bad ones are absent.
    ///
    /// # Errors
    /// Those of the modality.
    pub(super) fn prepare(&self, modality: &dyn Modality, rows: &Rows, context: &PrepareContext<'_>) -> Result<Arrays> {
        // Each turn finds one more bad row, so this ends.
        loop {
            let good = self.good(context.modality, rows);
            let all = good.len() == rows.len();
            let rest = if all { rows.clone() } else { rows.take(&good)? };
            match modality.prepare(&rest, context) {
                Err(error) => self.remember(context.modality, &rest, error)?,
                Ok(arrays) => return Ok(if all { arrays } else { arrays.spread(&good, rows.len()) }),
            }
        }
    }

    /// `arrays` without the object that `error` of their tokenizer is about, which counts as bad from now on.
    ///
    /// # Errors
    /// `error`, if it is about none of `rows` or one that is left out already, or the policy is to stop.
    pub(super) fn without(&self, modality: &str, rows: &Rows, arrays: &Arrays, error: Error) -> Result<Arrays> {
        let before = self.good(modality, rows);
        self.remember(modality, &rows.take(&before)?, error)?;
        let good = self.good(modality, rows);
        Ok(arrays.take(&good).spread(&good, rows.len()))
    }

    /// Lets `modality` learn from all rows that are not bad.
    ///
    /// # Errors
    /// Those of the modality, or of reading.
    pub(super) fn fit<I: Iterator<Item = Result<Rows>>>(
        &self,
        name: &str,
        modality: &mut dyn Modality,
        mut rows: impl FnMut() -> I,
    ) -> Result<()> {
        let first = modality.fit(&mut rows());
        let bad = |error: &Error| match error {
            Error::Data(e) => matches!(**e, DataError::BadValue { .. }),
            Error::Foreign(e) => e.object().is_some(),
            _ => false,
        };
        match first {
            Err(error) if self.policy == BadRowsPolicy::Absent && bad(&error) => {}
            done => return done,
        }
        // A part at a time, so that a bad row costs a part and not all that came before it. What a part teaches is void.
        for part in rows() {
            let part = part?;
            loop {
                let rest = part.take(&self.good(name, &part))?;
                match modality.fit(&mut std::iter::once(Ok(rest.clone()))) {
                    Err(error) if bad(&error) => self.remember(name, &rest, error)?,
                    // A part may hold nothing to learn from; the whole has the last word.
                    _ => break,
                }
            }
        }
        modality.fit(&mut rows().map(|part| {
            let part = part?;
            part.take(&self.good(name, &part))
        }))
    }
}

#[cfg(test)]
mod tests;
