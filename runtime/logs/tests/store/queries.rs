//! What is found, in which order, and what is deleted.

use std::collections::BTreeSet;

use drover_api::{Level, Timestamp};
use drover_logs::store::{Batch, Filter, LossyAppender, Order, Origin, Query, Start, StoreConfig};
use drover_logs::{LevelSet, Message, Part};
use proptest::prelude::*;

use super::*;

#[test]
fn a_record_comes_back_as_it_was_added() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut batch = Batch::new(origin("job-1"));
    let data = [&b"text"[..], b"\0nul\0", b"\xff\xfe not utf-8", b""];
    for data in data {
        let message = Message { level: Level(42), data, part: Part::Middle };
        batch.push(Timestamp(1_700_000_000_123), message);
    }
    store.append_blocking(batch).unwrap();
    store.flush_blocking().unwrap();
    let records = all(&store, &Filter::default());
    assert_eq!(records.iter().map(|record| &record.data[..]).collect::<Vec<_>>(), data);
    for (record, id) in records.iter().zip(1..) {
        assert_eq!(record.source, origin("job-1").source);
        assert_eq!((record.id.0, record.time.0, record.level.0), (id, 1_700_000_000_123, 42));
        assert_eq!(record.part, Part::Middle);
    }
}

#[test]
fn levels_that_nobody_wants_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let wanted = Origin {
        store: "1-4".parse().unwrap(),
        forward: "7-9".parse().unwrap(),
        ..Origin::clone(&origin("a"))
    };
    let mut batch = Batch::new(Arc::new(wanted));
    (0..12).for_each(|level| batch.push(Timestamp(0), message(level, b"x")));
    store.append_blocking(batch).unwrap();
    store.flush_blocking().unwrap();
    let levels: Vec<u8> = all(&store, &Filter::default()).iter().map(|r| r.level.0).collect();
    assert_eq!(levels, [1, 2, 3, 4, 7, 8, 9]);
}

/// A record as the model of the store knows it.
#[derive(Debug, Clone)]
struct Known {
    job: usize,
    time: u64,
    level: u8,
    text: String,
}

fn known() -> impl Strategy<Value = Known> {
    (0..4_usize, 0..50_u64, 0..12_u8, "[abc]{0,3}").prop_map(|(job, time, level, text)| Known {
        job,
        time,
        level,
        text,
    })
}

fn filter() -> impl Strategy<Value = Filter> {
    let time = || prop::option::of((0..50_u64).prop_map(Timestamp));
    (
        prop::option::of((0..5_usize).prop_map(|job| format!("job-{job}").parse().unwrap())),
        prop::option::of((0..12_u8, 0..12_u8)),
        time(),
        time(),
        prop::option::of("[abc]{0,2}"),
        prop::option::of((0..400_u32).prop_map(drover_logs::store::RecordId)),
    )
        .prop_map(|(job, levels, from, until, text, after)| Filter {
            job,
            levels: levels.map_or(LevelSet::ALL, |(a, b)| LevelSet::range(Level(a), Level(b))),
            from,
            until,
            text,
            after,
            ..Filter::default()
        })
}

fn is_meant(filter: &Filter, id: u32, known: &Known, newest: u32) -> bool {
    let job = format!("job-{}", known.job);
    filter.job.as_ref().is_none_or(|of| of.as_str() == job)
        && filter.levels.contains(Level(known.level))
        && filter.from.is_none_or(|from| from.0 <= known.time)
        && filter.until.is_none_or(|until| known.time < until.0)
        && filter.text.as_ref().is_none_or(|text| known.text.contains(text))
        && filter.after.is_none_or(|after| id > after.0.min(newest))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    /// Over several files, with clocks that jump and jobs that take turns.
    #[test]
    fn queries_find_what_a_plain_search_finds(
        records in prop::collection::vec(known(), 1..300),
        filters in prop::collection::vec(filter(), 10),
        limit in 1..50_usize,
    ) {
        let dir = tempfile::tempdir().unwrap();
        // Every transaction ends a file.
        let config = StoreConfig { max_file_bytes: 1, ..StoreConfig::new(dir.path()) };
        let store = LogStore::open(config).unwrap();
        let origins: Vec<_> = (0..4).map(|job| origin(&format!("job-{job}"))).collect();
        for (i, known) in records.iter().enumerate() {
            let mut batch = Batch::new(Arc::clone(&origins[known.job]));
            batch.push(Timestamp(known.time), message(known.level, known.text.as_bytes()));
            store.append_blocking(batch).unwrap();
            if i % 64 == 63 {
                store.flush_blocking().unwrap();
            }
        }
        store.flush_blocking().unwrap();
        let newest = u32::try_from(records.len()).unwrap();
        for filter in filters {
            let mut expected: Vec<u32> = records
                .iter()
                .zip(1..)
                .filter(|(known, id)| is_meant(&filter, *id, known, newest))
                .map(|(_, id)| id)
                .collect();
            for order in [Order::Oldest, Order::Newest] {
                let found = pages(&store, &filter, order, limit);
                let ids: Vec<u32> = found.iter().map(|record| record.id.0).collect();
                prop_assert_eq!(&ids, &expected, "{:?}", filter);
                expected.reverse();
            }
        }
    }
}

#[test]
fn a_job_is_found_among_many_that_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    let store = LogStore::open(small_files(dir.path())).unwrap();
    let origins: Vec<_> = (0..50).map(|job| origin(&format!("job-{job}"))).collect();
    for round in 0..1000 {
        for origin in &origins {
            store.append_blocking(batch(origin, round, [&*round.to_string()])).unwrap();
        }
    }
    store.flush_blocking().unwrap();
    let expected: Vec<String> = (0..1000).map(|round| round.to_string()).collect();
    for order in [Order::Oldest, Order::Newest] {
        let mut found = texts(&pages(&store, &of_job("job-7"), order, 300));
        if order == Order::Newest {
            found.reverse();
        }
        assert_eq!(found, expected, "{order:?}");
    }
    assert_eq!(all(&store, &of_job("job-77")).len(), 0);
}

#[test]
fn a_page_of_the_newest_goes_on_where_it_ended_though_records_come() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for i in 0..10 {
        log(&store, "a", i, 1, &i.to_string());
    }
    let mut query = Query { limit: 4, ..Query::default() };
    let page = store.query(&query);
    assert_eq!(texts(&page.records), ["9", "8", "7", "6"]);
    log(&store, "a", 99, 1, "new");
    query.cursor = page.next;
    assert_eq!(texts(&store.query(&query).records), ["5", "4", "3", "2"]);
}

#[test]
fn what_is_deleted_is_gone_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = LogStore::open(small_files(dir.path())).unwrap();
    let (a, b) = (origin("a"), origin("b"));
    let long = "x".repeat(100);
    for i in 0..4000_u64 {
        let of = if i % 3 == 0 { &a } else { &b };
        store.append_blocking(batch(of, i, [&*long])).unwrap();
    }
    store.flush_blocking().unwrap();
    let kept: BTreeSet<u32> = all(&store, &of_job("a")).iter().map(|record| record.id.0).collect();
    assert_eq!(store.delete(&of_job("b")).unwrap(), 2666);
    let left: BTreeSet<u32> =
        all(&store, &Filter::default()).iter().map(|record| record.id.0).collect();
    assert_eq!(left, kept);
    assert_eq!(store.delete(&Filter::default()).unwrap(), 1334);
    assert_eq!(all(&store, &Filter::default()), []);
    log(&store, "a", 1, 1, "after");
    assert_eq!(texts(&all(&store, &Filter::default())), ["after"]);
}

#[tokio::test]
async fn who_follows_sees_every_record_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = LogStore::open(small_files(dir.path())).unwrap();
    for i in 0..100_u64 {
        store.append(batch(&origin("a"), i, [&*i.to_string()])).await.unwrap();
    }
    store.flush().await.unwrap();
    let mut follower = store.follow(of_job("a"), Start::Backlog(50));
    let writer = store.clone();
    let thread = std::thread::spawn(move || {
        for i in 100..20_000_u64 {
            let other = batch(&origin("b"), i, ["other"]);
            writer.append_blocking(other).unwrap();
            writer.append_blocking(batch(&origin("a"), i, [&*i.to_string()])).unwrap();
        }
    });
    let mut seen = Vec::new();
    while seen.len() < 19_950 {
        let records = follower.read(333);
        if records.is_empty() {
            tokio::time::timeout(PATIENCE, follower.changed()).await.unwrap().unwrap();
        }
        seen.extend(texts(&records));
    }
    let expected: Vec<String> = (50..20_000).map(|i: u64| i.to_string()).collect();
    assert_eq!(seen, expected);
    thread.join().unwrap();
    assert!(follower.read(10).is_empty());
    store.close();
    follower.changed().await.unwrap_err();
}

#[test]
fn one_may_follow_from_now_or_after_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for i in 0..4 {
        log(&store, "a", i, 1, &i.to_string());
    }
    let third = all(&store, &Filter::default())[2].id;
    let mut now = store.follow(Filter::default(), Start::Now);
    let mut after = store.follow(Filter::default(), Start::After(third));
    log(&store, "a", 4, 1, "4");
    assert_eq!(texts(&now.read(10)), ["4"]);
    assert_eq!(texts(&after.read(10)), ["3", "4"]);
}

#[test]
fn what_finds_no_room_is_counted_in_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { max_queue_bytes: 20_000, ..StoreConfig::new(dir.path()) };
    let store = LogStore::open(config).unwrap();
    let origin = origin("a");
    let line = "x".repeat(100);
    let mut appender: LossyAppender = store.lossy_appender();
    let (mut added, mut refused) = (0_u64, 0_u64);
    while refused < 1000 {
        let is_added = appender.append(batch(&origin, 1, vec![&*line; 10])).unwrap();
        *if is_added { &mut added } else { &mut refused } += 10;
    }
    store.flush_blocking().unwrap();
    let records = all(&store, &Filter::default());
    let (gaps, kept): (Vec<_>, Vec<_>) = records.iter().partition(|record| record.is_gap);
    assert_eq!(kept.len() as u64, added);
    let counted = gaps.iter().map(|gap| {
        assert_eq!((gap.level, &gap.source), (Level::WARNING, &origin.source));
        gap.text().split(' ').next().unwrap().parse::<u64>().unwrap()
    });
    assert_eq!(counted.sum::<u64>(), refused);
}
