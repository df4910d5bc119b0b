//! The sequence of batches depends on the plan alone.

use super::order::Order;
use super::*;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn plan(catalogue: &Arc<Catalogue>) -> LoaderPlan {
    LoaderPlan {
        catalogue: Arc::clone(catalogue),
        rows: (0..100).filter(|row| row % 3 != 0).collect(),
        batch: 8,
        seed: 1,
        threads: 2,
        prefetch: 3,
        shard: (0, 1),
        position: Position::default(),
        epochs: Some(2),
        shuffle: true,
    }
}

fn catalogue() -> (tempfile::TempDir, Arc<Catalogue>) {
    let folder = folder();
    let config = DataConfig { shuffle_window: 20, ..DataConfig::at(folder.path()) };
    let catalogue = Catalogue::open(&config, &columns()).unwrap();
    (folder, Arc::new(catalogue))
}

type Ids = Vec<String>;

/// Names of the objects of each batch, made at uneven speed.
fn start(plan: LoaderPlan) -> Loader<Ids> {
    let make = |rows: Rows, position: Position| {
        std::thread::sleep(Duration::from_millis((position.batch * 7 + position.epoch) % 5));
        assert_eq!(rows.numbers("x")?.len(), rows.len());
        Ok(rows.ids().to_vec())
    };
    Loader::start(plan, Arc::new(make)).unwrap()
}

fn sequence(plan: LoaderPlan) -> Vec<(Position, Ids)> {
    start(plan).map(Result::unwrap).collect()
}

#[test]
fn any_number_of_threads_gives_the_same_sequence() {
    let (_folder, catalogue) = catalogue();
    let one = sequence(LoaderPlan { threads: 1, prefetch: 0, ..plan(&catalogue) });
    // 66 rows: 8 full batches, twice.
    assert_eq!(one.len(), 16);
    for threads in [2, 4] {
        assert_eq!(one, sequence(LoaderPlan { threads, ..plan(&catalogue) }), "{threads} threads");
    }
    let epochs: Vec<BTreeSet<&String>> =
        one.chunks(8).map(|epoch| epoch.iter().flat_map(|(_, ids)| ids).collect()).collect();
    assert!(epochs.iter().all(|ids| ids.len() == 64));
    assert_ne!(one[0].1, one[8].1);
    assert_ne!(one[0].1, sequence(LoaderPlan { seed: 2, ..plan(&catalogue) })[0].1);
}

#[test]
fn a_loader_goes_on_exactly_from_any_position() {
    let (_folder, catalogue) = catalogue();
    let whole = sequence(plan(&catalogue));
    for taken in [0, 3, 7, 8, 9, 16] {
        let mut first = start(plan(&catalogue));
        first.by_ref().take(taken).for_each(|batch| assert!(batch.is_ok()));
        let stored = serde_json::to_string(&first.position()).unwrap();
        drop(first);
        let position = serde_json::from_str(&stored).unwrap();
        assert_eq!(sequence(LoaderPlan { position, ..plan(&catalogue) }), whole[taken..], "{taken}");
    }
}

#[test]
fn a_position_past_the_end_of_an_epoch_is_the_start_of_the_next() {
    let (_folder, catalogue) = catalogue();
    let position = Position { epoch: 0, batch: 8 };
    let first = start(LoaderPlan { position, ..plan(&catalogue) }).next().unwrap().unwrap().0;
    assert_eq!(first, Position { epoch: 1, batch: 0 });
}

#[test]
fn evaluation_gives_every_row_once_in_its_order() {
    let (_folder, catalogue) = catalogue();
    let evaluate = LoaderPlan { shuffle: false, epochs: Some(1), ..plan(&catalogue) };
    let batches = sequence(evaluate.clone());
    assert_eq!(batches.iter().map(|(_, ids)| ids.len()).collect::<Vec<_>>(), [8, 8, 8, 8, 8, 8, 8, 8, 2]);
    let expected: Vec<_> = evaluate.rows.iter().map(|row| format!("o{row}")).collect();
    assert_eq!(batches.into_iter().flat_map(|(_, ids)| ids).collect::<Vec<_>>(), expected);
}

#[test]
fn a_split_smaller_than_a_batch_is_one_batch() {
    let (_folder, catalogue) = catalogue();
    let batches = sequence(LoaderPlan { batch: 70, ..plan(&catalogue) });
    assert_eq!(batches.iter().map(|(_, ids)| ids.len()).collect::<Vec<_>>(), [66, 66]);
}

#[test]
fn without_an_end_it_goes_on_and_without_rows_it_ends() {
    let (_folder, catalogue) = catalogue();
    let endless = start(LoaderPlan { epochs: None, ..plan(&catalogue) });
    assert_eq!(endless.batches_per_epoch(), 8);
    let last = endless.take(30).last().unwrap().unwrap().0;
    assert_eq!(last, Position { epoch: 3, batch: 5 });
    let none = LoaderPlan { rows: Arc::from([]), epochs: None, ..plan(&catalogue) };
    assert_eq!(sequence(none), []);
}

#[test]
fn errors_and_panics_stand_where_their_batch_would_have_been() {
    let (_folder, catalogue) = catalogue();
    let make = |rows: Rows, position: Position| match position.batch {
        2 => {
            Err(DataError::BadValue { object: rows.ids()[0].clone(), column: "x".into(), reason: "bad".into() }.into())
        }
        4 => panic!("a plugin's fault"),
        _ => Ok(()),
    };
    let loader = Loader::start(LoaderPlan { epochs: Some(1), ..plan(&catalogue) }, Arc::new(make)).unwrap();
    let results: Vec<_> = loader.map(|r| r.map(|(p, ())| p.batch).map_err(|e| e.to_string())).collect();
    assert_eq!(results.len(), 8);
    for (batch, result) in results.iter().enumerate() {
        match (batch, result) {
            (2, Err(error)) => assert!(error.ends_with("column `x`: bad"), "{error}"),
            (4, Err(error)) => assert_eq!(error, "batch 4 of epoch 0 can't be prepared: a plugin's fault"),
            (_, Ok(given)) => assert_eq!(*given, batch as u64),
            (_, Err(error)) => panic!("batch {batch}: {error}"),
        }
    }
}

#[test]
fn no_more_is_made_ahead_than_asked_for_and_dropping_stops() {
    let (_folder, catalogue) = catalogue();
    let made = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&made);
    let make = move |_: Rows, _: Position| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok(())
    };
    let mut loader = Loader::start(LoaderPlan { epochs: None, ..plan(&catalogue) }, Arc::new(make)).unwrap();
    loader.next().unwrap().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    // One given, 3 ahead, and 2 that the threads hold.
    assert_eq!(made.load(Ordering::SeqCst), 6);
    drop(loader);
    assert_eq!(Arc::strong_count(&made), 1);
}

#[test]
fn an_epoch_has_every_row_once_and_mixes_within_windows_only() {
    let order = Order { rows: (0..100).collect(), starts: vec![0, 30, 60], seed: 5, window: 10, shuffle: true };
    let (first, second) = (order.epoch(0), order.epoch(1));
    for epoch in [&first, &second] {
        assert_eq!(epoch.iter().copied().collect::<BTreeSet<_>>(), (0..100).collect());
        // Runs of 30, 30 and 40 rows are cut into windows of 10 without a rest.
        for window in epoch.chunks(10) {
            let lowest = window.iter().min().unwrap();
            assert!(window.iter().all(|row| row - lowest < 10), "{window:?}");
            assert!(!window.is_sorted(), "{window:?}");
        }
    }
    assert_ne!(first, second);
    assert_eq!(first, order.epoch(0));
    assert_eq!(Order { shuffle: false, ..order }.epoch(3)[..3], [0, 1, 2]);
}

#[test]
fn runs_come_in_another_order_every_epoch_and_stay_together() {
    let order = Order { rows: (0..100).collect(), starts: vec![0, 30, 60], seed: 5, window: 1, shuffle: true };
    let starts: BTreeSet<Vec<u32>> = (0..20)
        .map(|epoch| {
            let rows = order.epoch(epoch);
            let begins = |i: &usize| *i == 0 || rows[*i] != rows[*i - 1] + 1;
            // Runs that follow each other as in the file show as one.
            (0..rows.len()).filter(begins).map(|i| rows[i]).collect()
        })
        .collect();
    // Of the six orders of three runs, 20 draws miss three with a chance below 1e-3.
    assert!(starts.len() >= 4, "{starts:?}");
    assert!(starts.iter().flatten().all(|row| [0, 30, 60].contains(row)), "{starts:?}");
}

#[test]
fn more_processes_than_batches_are_refused() {
    let (_folder, catalogue) = catalogue();
    let make = |rows: Rows, _: Position| Ok(rows.ids().to_vec());
    let error = data_error(Loader::start(LoaderPlan { shard: (0, 9), ..plan(&catalogue) }, Arc::new(make)).map(|_| ()));
    assert_eq!(error.to_string(), "8 batches of 8 objects can't be divided between 9 processes");
    assert!(error.hint().unwrap().contains("lower `batch`"));
}

#[test]
fn shards_share_an_epoch_and_go_on_where_they_were() {
    let (_folder, catalogue) = catalogue();
    let whole = sequence(plan(&catalogue));
    for ranks in [2, 3, 7] {
        let mut seen = Vec::new();
        for rank in 0..ranks {
            let own = sequence(LoaderPlan { shard: (rank, ranks), epochs: Some(1), ..plan(&catalogue) });
            assert_eq!(own.len() as u64, start(plan(&catalogue)).batches_per_epoch() / ranks, "all take as many steps");
            let position = Position { epoch: 0, batch: 1 };
            let later = sequence(LoaderPlan { shard: (rank, ranks), epochs: Some(1), position, ..plan(&catalogue) });
            assert_eq!(later[..], own[1.min(own.len())..]);
            seen.extend(own.into_iter().map(|(_, rows)| rows));
        }
        let first_epoch: Vec<_> = whole.iter().filter(|(p, _)| p.epoch == 0).map(|(_, rows)| rows.clone()).collect();
        assert_eq!(seen[..], first_epoch[..seen.len()]);
        // Evaluation leaves none out.
        let evaluate =
            |rank| sequence(LoaderPlan { shard: (rank, ranks), shuffle: false, epochs: Some(1), ..plan(&catalogue) });
        let rows: usize = (0..ranks).flat_map(evaluate).map(|(_, rows)| rows.len()).sum();
        assert_eq!(rows, plan(&catalogue).rows.len());
    }
}
