//! Files end, are dropped, and are found again.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use drover_api::Level;
use drover_logs::store::{OpenError, Start};

use super::*;

fn finished_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "db"))
        .filter(|path| path.file_stem().unwrap() != "current")
        .collect();
    files.sort();
    files
}

/// Writes numbered records until `count` files are complete.
fn fill(store: &LogStore, dir: &Path, count: usize) -> u32 {
    let (origin, padding) = (origin("a"), "x".repeat(200));
    let mut number = 0;
    while finished_files(dir).len() < count {
        for _ in 0..100 {
            store.append_blocking(batch(&origin, 1, [&*format!("{number} {padding}")])).unwrap();
            number += 1;
        }
        store.flush_blocking().unwrap();
    }
    number
}

fn numbers(records: &[StoredRecord]) -> Vec<u32> {
    records.iter().map(|r| r.text().split(' ').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn files_end_at_their_size_and_all_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = LogStore::open(small_files(dir.path())).unwrap();
    let count = fill(&store, dir.path(), 4);
    let expected: Vec<u32> = (0..count).collect();
    assert_eq!(numbers(&all(&store, &Filter::default())), expected);
    for file in finished_files(dir.path()) {
        let bytes = fs::metadata(&file).unwrap().len();
        assert!((300_000..600_000).contains(&bytes), "{} has {bytes} bytes", file.display());
    }
    drop(store);
    let store = LogStore::open(small_files(dir.path())).unwrap();
    assert_eq!(numbers(&all(&store, &Filter::default())), expected);
    let reversed: Vec<u32> = expected.into_iter().rev().collect();
    assert_eq!(numbers(&pages(&store, &of_job("a"), Order::Newest, 777)), reversed);
}

#[test]
fn the_oldest_files_are_dropped_and_that_is_written_down() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { max_total_bytes: 1_500_000, ..small_files(dir.path()) };
    let store = LogStore::open(config).unwrap();
    let mut follower = store.follow(of_job("a"), Start::Backlog(0));
    let (origin, padding) = (origin("a"), "x".repeat(200));
    for number in 0..20_000 {
        store.append_blocking(batch(&origin, 1, [&*format!("{number} {padding}")])).unwrap();
        if number % 100 == 0 {
            store.flush_blocking().unwrap();
        }
    }
    store.flush_blocking().unwrap();
    let total: u64 = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "db"))
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    assert!(total <= 1_700_000, "{total} bytes are too many");
    let kept = numbers(&all(&store, &of_job("a")));
    assert!(kept.len() > 2000 && kept.len() < 10_000, "{} were kept", kept.len());
    assert!(kept.is_sorted() && *kept.last().unwrap() == 19_999);

    let dropped = all(&store, &of_job("drover.logs"));
    assert!(!dropped.is_empty());
    assert!(dropped.iter().all(|record| record.level == Level::WARNING));
    assert!(dropped[0].text().contains("were dropped"), "{}", dropped[0].text());

    let missed = follower.missed().unwrap();
    assert!(missed.first.0 == 1 && missed.last.0 > 10_000, "{missed:?}");
    assert_eq!(follower.missed(), None);
    assert_eq!(numbers(&follower.read(1))[0], kept[0]);
}

#[test]
fn queries_run_while_files_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = LogStore::open(small_files(dir.path())).unwrap();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for order in [Order::Oldest, Order::Newest] {
            let (store, is_done) = (&store, &is_done);
            scope.spawn(move || {
                while !is_done.load(Ordering::Relaxed) {
                    let mut found = numbers(&pages(store, &of_job("a"), order, 500));
                    if order == Order::Newest {
                        found.reverse();
                    }
                    let expected: Vec<u32> = (0..).take(found.len()).collect();
                    assert_eq!(found, expected, "records were lost, doubled or out of order");
                }
            });
        }
        fill(&store, dir.path(), 8);
        is_done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn ids_go_on_after_a_restart_and_after_everything_was_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let store = open(dir.path());
        log(&store, "a", 1, 1, "x");
        log(&store, "a", 1, 1, "y");
        for record in all(&store, &Filter::default()) {
            assert!(seen.insert(record.id.0), "{} was given twice", record.id);
        }
        store.delete(&Filter::default()).unwrap();
    }
    assert_eq!(seen, (1..=6).collect());
    // Without its memory, the store leaves out what may have been given.
    log(&open(dir.path()), "a", 1, 1, "x");
    fs::remove_file(dir.path().join("state.json")).unwrap();
    let store = open(dir.path());
    log(&store, "a", 1, 1, "y");
    let ids: Vec<u32> = all(&store, &Filter::default()).iter().map(|record| record.id.0).collect();
    assert!(ids[0] == 7 && ids[1] > 1000, "{ids:?}");
}

#[test]
fn ids_begin_anew_after_four_bytes_and_order_holds() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("state.json"), r#"{"next": 4294967290}"#).unwrap();
    let store = open(dir.path());
    let texts_of_all: Vec<String> = (0..12).map(|i: u32| i.to_string()).collect();
    for text in &texts_of_all {
        log(&store, "a", 1, 1, text);
    }
    let records = all(&store, &Filter::default());
    assert_eq!(texts(&records), texts_of_all);
    let ids: Vec<u32> = records.iter().map(|record| record.id.0).collect();
    assert_eq!(
        ids[..7],
        [
            4_294_967_290,
            4_294_967_291,
            4_294_967_292,
            4_294_967_293,
            4_294_967_294,
            4_294_967_295,
            0
        ]
    );
    // What comes after a record is what was stored after it.
    let after = |index: usize| Filter { after: Some(records[index].id), ..Filter::default() };
    assert_eq!(texts(&all(&store, &after(3))), texts_of_all[4..]);
    assert_eq!(texts(&all(&store, &after(8))), texts_of_all[9..]);
}

#[test]
fn a_clock_that_goes_back_changes_no_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for (time, text) in [(1000, "a"), (2000, "b"), (500, "c"), (3000, "d")] {
        log(&store, "a", time, 1, text);
    }
    assert_eq!(texts(&all(&store, &Filter::default())), ["a", "b", "c", "d"]);
    let early = Filter { until: Some(Timestamp(1500)), ..Filter::default() };
    assert_eq!(texts(&all(&store, &early)), ["a", "c"]);
}

#[test]
fn a_clock_that_jumps_hides_nothing_in_any_file() {
    const DAY: u64 = 24 * 3600 * 1000;
    let dir = tempfile::tempdir().unwrap();
    let store = LogStore::open(small_files(dir.path())).unwrap();
    let (origin, padding) = (origin("a"), "x".repeat(1000));
    // Days in the order in which the clock showed them; each fills some files.
    let days = [100, 900, 2, 101];
    for day in days {
        for number in 0..1000 {
            let text = format!("{day} {number} {padding}");
            store.append_blocking(batch(&origin, day * DAY + number, [&*text])).unwrap();
        }
        store.flush_blocking().unwrap();
    }
    let days_of = |filter: &Filter| {
        let texts = texts(&all(&store, filter));
        let mut days: Vec<u64> =
            texts.iter().map(|text| text.split(' ').next().unwrap().parse().unwrap()).collect();
        assert_eq!(days.len() % 1000, 0, "a day is there in whole or not at all");
        days.dedup();
        days
    };
    let between = |from: u64, until: u64| Filter {
        from: Some(Timestamp(from * DAY)),
        until: Some(Timestamp(until * DAY)),
        ..of_job("a")
    };
    assert_eq!(days_of(&of_job("a")), days, "in the order in which they came");
    assert_eq!(days_of(&between(0, 50)), [2]);
    assert_eq!(days_of(&between(100, 102)), [100, 101]);
    assert_eq!(days_of(&between(500, 1000)), [900]);
    assert_eq!(days_of(&between(3, 100)), [0; 0]);
}

#[test]
fn a_store_is_open_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let impatient = StoreConfig { lock_patience: Duration::ZERO, ..StoreConfig::new(dir.path()) };
    let second = LogStore::open(impatient);
    assert!(matches!(second, Err(OpenError::InUse { .. })), "{second:?}");
    drop(store);
    open(dir.path());
}

#[test]
fn a_store_that_is_going_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let config = StoreConfig { lock_patience: PATIENCE, ..StoreConfig::new(dir.path()) };
    let next = std::thread::spawn(move || LogStore::open(config).map(drop));
    drop(store);
    next.join().unwrap().unwrap();
}
