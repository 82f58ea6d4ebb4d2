//! Records on their way to the controller.

use drover_api::NodeId;
use drover_logs::store::{Forwarder, Sent};

use super::*;

fn forwarding_origin(job: &str) -> Arc<Origin> {
    Arc::new(Origin { forward: "7-9".parse().unwrap(), ..Origin::clone(&origin(job)) })
}

fn add(store: &LogStore, numbers: std::ops::Range<u32>) {
    let origin = forwarding_origin("a");
    for number in numbers {
        let mut batch = Batch::new(Arc::clone(&origin));
        batch.push(Timestamp(1), message(1, b"stays here"));
        batch.push(Timestamp(1), message(8, number.to_string().as_bytes()));
        store.append_blocking(batch).unwrap();
    }
    store.flush_blocking().unwrap();
}

/// Takes and acknowledges everything that waits.
fn take_all(forwarder: &mut Forwarder) -> Vec<String> {
    let mut taken = Vec::new();
    while let Some(batch) = forwarder.batch(7, 1_000_000) {
        assert!(batch.records.len() <= 7 && batch.missed.is_none());
        taken.extend(texts(&batch.records));
        forwarder.acknowledge(batch.acknowledgement).unwrap();
    }
    taken
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[test]
fn records_are_forwarded_in_order_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = LogStore::open(small_files(dir.path())).unwrap();
    add(&store, 0..100);
    let mut forwarder = store.forwarder("controller");
    assert_eq!(take_all(&mut forwarder), numbers(0..100));
    add(&store, 100..120);
    assert_eq!(take_all(&mut forwarder), numbers(100..120));
    assert_eq!(forwarder.batch(7, 1000), None);
}

#[test]
fn what_was_not_acknowledged_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    add(&store, 0..20);
    let mut forwarder = store.forwarder("controller");
    let first = forwarder.batch(5, 1_000_000).unwrap();
    assert_eq!(forwarder.batch(5, 1_000_000).as_ref(), Some(&first), "the same until it arrived");
    forwarder.acknowledge(first.acknowledgement).unwrap();
    let second = forwarder.batch(5, 1_000_000).unwrap();
    assert_eq!(texts(&second.records), numbers(5..10));
    drop((forwarder, store));

    let store = open(dir.path());
    add(&store, 20..25);
    assert_eq!(take_all(&mut store.forwarder("controller")), numbers(5..25));
    // Another receiver begins at the beginning.
    assert_eq!(take_all(&mut store.forwarder("archive")), numbers(0..25));
}

#[test]
fn what_was_dropped_before_it_was_sent_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { max_total_bytes: 1_200_000, ..small_files(dir.path()) };
    let store = LogStore::open(config).unwrap();
    for start in (0..20_000).step_by(500) {
        add(&store, start..start + 500);
    }
    let mut forwarder = store.forwarder("controller");
    let batch = forwarder.batch(5, 10_000_000).unwrap();
    let missed = batch.missed.unwrap();
    assert_eq!(missed.first.0, 1);
    assert!(missed.place < batch.places[0] && batch.places.is_sorted());
    assert!(batch.records[0].id.0 > missed.last.0);
    forwarder.acknowledge(batch.acknowledgement).unwrap();
    let rest = take_all(&mut forwarder);
    assert_eq!(rest.last().unwrap(), "19999");
}

/// Puts what waits for `receiver` into another store, as a controller does.
fn send(from: &LogStore, receiver: &str, node: NodeId, to: &LogStore) {
    let mut forwarder = from.forwarder(receiver);
    while let Some(sent) = forwarder.batch(50, 1_000_000) {
        for (record, &place) in sent.records.iter().zip(&sent.places) {
            let origin = Origin::new(Source::clone(&record.source));
            let mut batch = Batch::new(Arc::new(origin));
            batch.push_sent(record, Sent { node, place });
            to.append_blocking(batch).unwrap();
        }
        forwarder.acknowledge(sent.acknowledgement).unwrap();
    }
    to.flush_blocking().unwrap();
}

#[test]
fn a_log_of_many_nodes_tells_them_apart() {
    let (dir_a, dir_all) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, all_nodes) = (open(dir_a.path()), LogStore::open(small_files(dir_all.path())).unwrap());
    add(&a, 0..500);
    let nodes: Vec<_> = (1..=20).map(|nid| NodeId::new(1, nid)).collect();
    for node in &nodes {
        send(&a, &node.to_string(), *node, &all_nodes);
    }
    let end = all_nodes.end();
    send(&a, "late", NodeId::new(9, 9), &all_nodes);

    for node in &nodes {
        let of_node = Filter { node: Some(*node), ..Filter::default() };
        let records = all(&all_nodes, &of_node);
        assert_eq!(texts(&records), numbers(0..500));
        assert!(records.iter().all(|record| record.sent.unwrap().node == *node));
        assert!(records.is_sorted_by_key(|record| record.sent.unwrap().place));
        assert_eq!(pages(&all_nodes, &of_node, Order::Newest, 7).len(), 500);
        let of_job = Filter { job: Some("a".parse().unwrap()), ..of_node };
        assert_eq!(all(&all_nodes, &of_job).len(), 500);
    }
    let later = Query { order: Order::Oldest, cursor: Some(end), ..Query::default() };
    let later = all_nodes.query(&later).records;
    assert_eq!(later.len(), 500);
    assert!(later.iter().all(|record| record.sent.unwrap().node == NodeId::new(9, 9)));
}

#[tokio::test]
async fn a_forwarder_is_woken_by_new_records() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut forwarder = store.forwarder("controller");
    assert_eq!(forwarder.batch(10, 1000), None);
    let adder = store.clone();
    let thread = std::thread::spawn(move || add(&adder, 0..1));
    loop {
        tokio::time::timeout(PATIENCE, forwarder.changed()).await.unwrap().unwrap();
        if let Some(batch) = forwarder.batch(10, 1000) {
            assert_eq!(texts(&batch.records), ["0"]);
            break;
        }
    }
    thread.join().unwrap();
}
