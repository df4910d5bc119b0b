//! Batches prepared ahead on threads, given out strictly in order.
//!
//! Which rows a batch has is a function of its [`Position`] alone, and what is made of them must be
//! one too; so any number of threads gives the same sequence, and one that starts at a position
//! gives exactly what an uninterrupted one would have given from there.

use super::catalogue::Catalogue;
use super::error::DataError;
use super::lock;
use super::order::Order;
use super::rows::Rows;
use crate::Result;
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// A batch's place in the sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// How often all rows were given before, from 0.
    pub epoch: u64,
    /// Batch in the epoch, from 0.
    pub batch: u64,
}

/// What a loader gives, and how it runs.
#[derive(Clone, Debug)]
pub struct LoaderPlan {
    /// Where the rows are.
    pub catalogue: Arc<Catalogue>,
    /// Which rows: those of a split.
    pub rows: Arc<[u32]>,
    /// Rows in a batch.
    pub batch: usize,
    /// The run's seed; the order depends on it and on the epoch.
    pub seed: u64,
    /// Threads; doesn't change what is given.
    pub threads: usize,
    /// Batches prepared ahead; doesn't change what is given.
    pub prefetch: usize,
    /// First batch to give.
    pub position: Position,
    /// Stop before this epoch; none: never.
    pub epochs: Option<u64>,
    /// Which share this is, from 0, of how many: each of several processes gets batches of its own, next to each other, so that it also
    /// reads files of its own. Training gives all the same number, and leaves out what is over. `(0, 1)` is all of them.
    pub shard: (u64, u64),
    /// Training: change the order every epoch, leave out a last batch that is not full. Else rows
    /// come as they stand in `rows`, all of them.
    pub shuffle: bool,
}

/// What is made of a batch on a loader thread.
type Make<T> = dyn Fn(Rows, Position) -> Result<T> + Send + Sync;

/// An iterator over batches; each comes with its position. Dropping it stops its threads.
///
/// An error stands in the sequence where its batch would have been; later batches follow it.
pub struct Loader<T> {
    shared: Arc<Shared<T>>,
    threads: Vec<JoinHandle<()>>,
    position: Position,
    given: u64,
}

struct Shared<T> {
    plan: LoaderPlan,
    order: Order,
    /// Batches in an epoch, of this shard, and which of all is its first.
    batches: u64,
    first: u64,
    make: Arc<Make<T>>,
    state: Mutex<State<T>>,
    /// Something changed in `state`.
    changed: Condvar,
    /// Orders of the epochs in work.
    epochs: Mutex<BTreeMap<u64, Arc<[u32]>>>,
}

struct State<T> {
    /// Next batch that a thread may take, and how many were taken before.
    next: Position,
    taken: u64,
    /// How many were given out.
    given: u64,
    /// Finished, by number in the sequence.
    ready: BTreeMap<u64, Result<T>>,
    stop: bool,
}

impl<T: Send + 'static> Loader<T> {
    /// Starts the threads. `make` is called on them with the rows of a batch.
    ///
    /// # Errors
    /// [`DataError::Thread`] if the system gives no thread; [`DataError::TooFewBatches`] if this share of an epoch is empty
    /// though the epoch is not.
    pub fn start(plan: LoaderPlan, make: Arc<Make<T>>) -> Result<Self> {
        let order = Order {
            rows: Arc::clone(&plan.rows),
            starts: plan.catalogue.run_starts(),
            seed: plan.seed,
            window: plan.catalogue.config().shuffle_window,
            shuffle: plan.shuffle,
        };
        let (all, (rank, ranks)) = (order.batches(plan.batch), plan.shard);
        let share = if plan.shuffle { all / ranks.max(1) } else { all.div_ceil(ranks.max(1)) };
        let first = rank.saturating_mul(share).min(all);
        let batches = if rank < ranks { share.min(all - first) } else { 0 };
        if batches == 0 && all > 0 && plan.shuffle {
            return Err(DataError::TooFewBatches { batches: all, batch: plan.batch, processes: ranks }.into());
        }
        let position = normal(plan.position, batches);
        let threads = plan.threads.max(1);
        let state = State { next: position, taken: 0, given: 0, ready: BTreeMap::new(), stop: false };
        let shared = Arc::new(Shared {
            plan,
            order,
            batches,
            first,
            make,
            state: Mutex::new(state),
            changed: Condvar::new(),
            epochs: Mutex::default(),
        });
        let mut loader = Self { shared, threads: Vec::with_capacity(threads), position, given: 0 };
        for number in 0..threads {
            let shared = Arc::clone(&loader.shared);
            let thread = std::thread::Builder::new().name(format!("loader-{number}"));
            // On failure `loader` is dropped, which stops the threads that did start.
            loader.threads.push(thread.spawn(move || shared.work()).map_err(|source| DataError::Thread { source })?);
        }
        Ok(loader)
    }
}

impl<T> Loader<T> {
    /// Position of the next batch: what a checkpoint stores to go on from here.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Batches in an epoch.
    #[must_use]
    pub fn batches_per_epoch(&self) -> u64 {
        self.shared.batches
    }
}

/// `position` without a batch number past the end of its epoch.
fn normal(position: Position, batches: u64) -> Position {
    if position.batch >= batches { Position { epoch: position.epoch.saturating_add(1), batch: 0 } } else { position }
}

fn after(position: Position, batches: u64) -> Position {
    normal(Position { batch: position.batch + 1, ..position }, batches)
}

impl<T> Shared<T> {
    fn ended(&self, position: Position) -> bool {
        self.batches == 0 || self.plan.epochs.is_some_and(|epochs| position.epoch >= epochs)
    }

    /// A thread's life: take the next number, make its batch, put it down.
    fn work(&self) {
        let ahead = (self.plan.prefetch + self.plan.threads).max(1) as u64;
        loop {
            let (number, position) = {
                let mut state = lock(&self.state);
                while !state.stop && state.taken >= state.given + ahead {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                if state.stop || self.ended(state.next) {
                    return;
                }
                let taken = (state.taken, state.next);
                state.taken += 1;
                state.next = after(state.next, self.batches);
                taken
            };
            // Without this a panic would leave a gap that the reader waits for forever.
            let made = catch_unwind(AssertUnwindSafe(|| self.make(position)));
            let made = made.unwrap_or_else(|panic| {
                let reason = message(panic.as_ref());
                Err(DataError::Panicked { epoch: position.epoch, batch: position.batch, reason }.into())
            });
            lock(&self.state).ready.insert(number, made);
            self.changed.notify_all();
        }
    }

    fn make(&self, position: Position) -> Result<T> {
        let order = self.epoch(position.epoch);
        let range = self.order.range(self.plan.batch, self.first + position.batch);
        let rows = self.plan.catalogue.read(order.get(range).unwrap_or_default())?;
        (self.make)(rows, position)
    }

    fn epoch(&self, epoch: u64) -> Arc<[u32]> {
        let mut epochs = lock(&self.epochs);
        let order = Arc::clone(epochs.entry(epoch).or_insert_with(|| self.order.epoch(epoch)));
        // Threads may be at the end of one epoch and the start of the next.
        while epochs.len() > 3 {
            epochs.pop_first();
        }
        order
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".into())
}

impl<T> Iterator for Loader<T> {
    type Item = Result<(Position, T)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.shared.ended(self.position) {
            return None;
        }
        let made = {
            let mut state = lock(&self.shared.state);
            loop {
                if let Some(made) = state.ready.remove(&self.given) {
                    state.given += 1;
                    break made;
                }
                state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        };
        self.shared.changed.notify_all();
        let position = self.position;
        self.given += 1;
        self.position = after(position, self.shared.batches);
        Some(made.map(|value| (position, value)))
    }
}

impl<T> Drop for Loader<T> {
    fn drop(&mut self) {
        lock(&self.shared.state).stop = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // Panics were caught and reported in the sequence.
            let _ = thread.join();
        }
    }
}
