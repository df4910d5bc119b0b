//! The promises of a modality.

use super::made_up::{Like, MadeUp};
use super::{Outcome, Steps, heap, on_threads, request, said, throughput};
use crate::call::{Fault, Function};
use crate::instance::Chosen;
use crate::mask::Mapping;
use crate::modality::{Described, Local, Prepare};
use panchroma_abi as abi;
use panchroma_core::plugins::NotFinitePolicy;
use panchroma_core::{Arrays, Values};
use serde_json::Value;
use std::collections::BTreeMap;

/// Rows of one batch that holds every kind.
const MIXED: [Like; 9] = [
    Like::Plain(5),
    Like::Missing,
    Like::Plain(1),
    Like::Empty,
    Like::NotFinite,
    Like::Plain(2),
    Like::Extreme,
    Like::Plain(17),
    Like::Plain(5),
];

/// Tries a modality.
pub(super) fn check(steps: &mut Steps<'_>, chosen: &Chosen, config: &Value) {
    let mut made: Option<(Local, Described)> = None;
    steps.step("describe", || {
        let (local, described) = Local::new(chosen.clone(), &request(config, None)).map_err(said)?;
        let again = Local::new(chosen.clone(), &request(config, None)).map_err(said)?.1;
        if (&again.spec, &again.wanted) != (&described.spec, &described.wanted) {
            return Err("a second instance of the same config describes itself differently".into());
        }
        let remark = format!("{} columns, {} arrays", described.wanted.len(), described.spec.fields.len());
        made = Some((local, described));
        Ok(remark)
    });
    let Some((local, described)) = made else { return };
    let mut tried = Tried { local, described };
    if tried.described.fits {
        steps.step("learn and take back", || tried.learn(chosen, config));
    }
    steps.step("plain rows", || {
        let arrays = tried.arrays(&[Like::Plain(4); 8])?;
        let present = arrays.present.iter().filter(|p| **p).count();
        if present == 0 {
            Ok("no made-up row made sense to it".into())
        } else {
            Ok(format!("{present} of 8 rows are present"))
        }
    });
    steps.step("no rows", || tried.arrays(&[]).map(|_| String::new()));
    steps.step("missing rows", || {
        let arrays = tried.arrays(&[Like::Missing; 3])?;
        // Columns may all be optional, or none be asked for.
        Ok(if arrays.present.contains(&true) { "present all the same" } else { "absent" }.into())
    });
    for (name, like) in [
        ("empty rows", Like::Empty),
        ("NaN and infinity", Like::NotFinite),
        ("extreme numbers", Like::Extreme),
        ("rows longer than its axes", Like::Plain(5000)),
    ] {
        steps.step(name, || tried.refusable(&[like; 2]));
    }
    steps.step("rows on their own", || tried.independent());
    steps.step("errors without a buffer", || tried.without_buffer());
    let deterministic = tried.described.flags & abi::DETERMINISTIC != 0;
    let first = tried.good().ok();
    match (deterministic, &first) {
        (false, _) => steps.say("same bits", Outcome::Skipped("it does not say that it is deterministic".into())),
        (true, None) => steps.say("same bits", Outcome::Skipped("no batch to try it on".into())),
        (true, Some(first)) => {
            steps.step("same bits", || match tried.good()? == *first {
                true => Ok(String::new()),
                false => Err("the same rows gave other bits, though it says that it is deterministic".into()),
            });
        }
    }
    steps.step("threads", || {
        let expected = first.clone().filter(|_| deterministic);
        on_threads(expected.as_ref(), || tried.good())
    });
    steps.step("leaks", || {
        heap::leaks(|| {
            let (local, described) = Local::new(chosen.clone(), &request(config, None)).map_err(said)?;
            let mut tried = Tried { local, described };
            if tried.described.fits {
                tried.fit()?;
            }
            tried.good().map(|_| ())
        })
    });
    steps.step("throughput", || {
        let rows = MadeUp::new(&tried.described.wanted, &[Like::Plain(16); 256], tried.described.flags);
        throughput(256, || tried.local.prepare(&rows.batch(abi::EVALUATE)).map(|_| ()).map_err(said))
    });
}

struct Tried {
    local: Local,
    described: Described,
}

impl Tried {
    /// Learns from made-up rows.
    fn fit(&mut self) -> Result<Value, String> {
        for rows in [&[Like::Plain(5), Like::Missing, Like::Plain(9)][..], &[Like::Plain(3); 4]] {
            let made = MadeUp::new(&self.described.wanted, rows, self.described.flags);
            self.local.fit(Some(&made.batch(abi::EVALUATE))).map_err(said)?;
        }
        self.local.fit(None).map_err(said)?;
        self.local.fitted().map_err(said)
    }

    /// Another instance that takes back what this one learned must give the same.
    fn learn(&mut self, chosen: &Chosen, config: &Value) -> Result<String, String> {
        let learned = self.fit()?;
        let (mut other, _) = Local::new(chosen.clone(), &request(config, None)).map_err(said)?;
        other.restore(&learned).map_err(said)?;
        let other = Self { local: other, described: self.described.clone() };
        let deterministic = self.described.flags & abi::DETERMINISTIC != 0;
        if deterministic && other.good()? != self.good()? {
            return Err("what it learned, taken back, gives other values".into());
        }
        Ok(format!("{} bytes", learned.to_string().len()))
    }

    fn run(&self, rows: &[Like]) -> Result<Arrays, Fault> {
        let made = MadeUp::new(&self.described.wanted, rows, self.described.flags);
        let buffers = self.local.prepare(&made.batch(abi::EVALUATE))?;
        self.described.spec.finish(Function::Run, buffers, rows.len(), NotFinitePolicy::Error)
    }

    fn arrays(&self, rows: &[Like]) -> Result<Arrays, String> {
        self.run(rows).map_err(said)
    }

    /// Either it makes something of the rows, or it says of one that it makes no sense.
    fn refusable(&self, rows: &[Like]) -> Result<String, String> {
        match self.run(rows) {
            Ok(arrays) => Ok(format!("{} of {} present", arrays.present.iter().filter(|p| **p).count(), rows.len())),
            Err(fault) => refused(fault),
        }
    }

    /// What rows give that it accepts.
    fn good(&self) -> Result<Arrays, String> {
        self.arrays(&[Like::Plain(5), Like::Missing, Like::Plain(2), Like::Plain(3)])
    }

    /// Whether a row gives the same alone as among others.
    fn independent(&self) -> Result<String, String> {
        // Only rows that it accepts: one that it refuses takes the batch with it.
        let accepted = |like: &Like| self.run(&[*like]).is_ok();
        let rows: Vec<Like> = MIXED.into_iter().filter(accepted).collect();
        let together = self.arrays(&rows)?;
        for (row, like) in rows.iter().enumerate() {
            let alone = self.arrays(&[*like])?;
            if alone.present.first() != together.present.get(row) {
                return Err(format!("row {row} is present among others and not alone, or the other way round"));
            }
            if self.measured(&alone, 0) != self.measured(&together, row) {
                return Err(format!("row {row} gives other values among others than alone"));
            }
        }
        Ok(format!("{} rows", rows.len()))
    }

    /// Bits of all values of a row that were measured, by field and place.
    fn measured(&self, arrays: &Arrays, row: usize) -> BTreeMap<(String, Vec<usize>), u64> {
        let mut found = BTreeMap::new();
        let Ok((valid_shape, valid)) = arrays.valid() else { return found };
        let spec = &self.described.spec;
        let mask = &spec.valid_axes;
        let per_row: usize = valid_shape.iter().skip(1).product();
        // Length of each axis, from whatever has it.
        let mut all = spec.longest();
        let shapes = spec.fields.iter().filter_map(|f| Some((&f.axes, arrays.fields.get(&f.name)?.shape.as_slice())));
        for (axes, shape) in shapes.chain([(mask, valid_shape)]) {
            axes.iter().zip(shape.iter().skip(1)).for_each(|(axis, length)| all[*axis] = *length);
        }
        for field in &self.described.spec.fields {
            let Some(array) = arrays.fields.get(&field.name) else { continue };
            let lengths = array.shape.get(1..).unwrap_or_default();
            let width: usize = lengths.iter().product();
            let mapping = Mapping::new(&field.axes, mask, &all);
            for place in 0..width {
                let mut rest = place;
                let mut index: Vec<usize> = lengths
                    .iter()
                    .rev()
                    .map(|n| {
                        let i = rest % n;
                        rest /= n;
                        i
                    })
                    .collect();
                index.reverse();
                if !mapping.measured(place, valid.get(row * per_row..(row + 1) * per_row).unwrap_or_default()) {
                    continue;
                }
                let at = row * width + place;
                let bits = match &array.values {
                    Values::F32(v) => v.get(at).map(|v| u64::from(v.to_bits())),
                    Values::F64(v) => v.get(at).map(|v| v.to_bits()),
                    Values::U8(v) => v.get(at).map(|v| u64::from(*v)),
                    Values::U32(v) => v.get(at).map(|v| u64::from(*v)),
                };
                found.extend(bits.map(|bits| ((field.name.clone(), index), bits)));
            }
        }
        found
    }

    /// A null pointer in place of the buffer for errors, which the interface allows.
    fn without_buffer(&self) -> Result<String, String> {
        for like in MIXED {
            let made = MadeUp::new(&self.described.wanted, &[like], self.described.flags);
            // Whatever it answers: it must come back.
            let _ = self.local.prepare_unheard(&made.batch(abi::EVALUATE));
        }
        Ok(String::new())
    }
}

/// Whether a fault is a decent refusal of a row.
pub(super) fn refused(fault: Fault) -> Result<String, String> {
    let reason = &fault.reason;
    let decent = fault.row.is_some() && !reason.starts_with("failed: ") && !reason.starts_with("caught a panic");
    match decent && !reason.contains("it gave no message") && !reason.starts_with("gave the unknown") {
        true => Ok(format!("refused: {reason}")),
        false => Err(said(fault)),
    }
}
