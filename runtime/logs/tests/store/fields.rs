//! Records with fields, and what is remembered with records.

use std::fs;

use drover_api::Timestamp;
use drover_logs::store::{Batch, Collector, Delivery, Filter, LogStore, StoreConfig};
use drover_logs::{FieldRef, Fields};
use rusqlite::Connection;

use super::*;

/// A batch of answers of a web server.
fn answers(statuses: &[i64]) -> Batch {
    let mut batch = Batch::new(origin("web"));
    for status in statuses {
        let fields = [
            ("status", FieldRef::Integer(*status)),
            ("took", FieldRef::Float(0.5)),
            ("path", FieldRef::Text("/a \"b\"")),
        ];
        let text = format!("answered {status}");
        batch.push_with_fields(Timestamp(1), message(1, text.as_bytes()), fields.into_iter());
        batch.push(Timestamp(1), message(1, b"no fields"));
    }
    batch
}

fn where_fields(conditions: &[&str]) -> Filter {
    let fields = conditions.iter().map(|condition| condition.parse().unwrap()).collect();
    Filter { fields, ..Filter::default() }
}

#[test]
fn records_are_found_by_their_fields_and_keep_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.append_blocking(answers(&[200, 404, 500, 503])).unwrap();
    store.flush_blocking().unwrap();
    let found = all(&store, &where_fields(&["status>=404", "status<503", "path~b"]));
    assert_eq!(texts(&found), ["answered 404", "answered 500"]);
    let json = serde_json::to_value(&found[0]).unwrap();
    let fields = serde_json::json!({ "status": 404, "took": 0.5, "path": "/a \"b\"" });
    assert_eq!(json["fields"], fields);
    let all = all(&store, &Filter::default());
    assert_eq!(all.len(), 8);
    assert!(all.iter().skip(1).step_by(2).all(|record| record.fields.is_empty()));
    assert_eq!(store.delete(&where_fields(&["status=200"])).unwrap(), 1);
}

#[test]
fn a_log_of_many_nodes_keeps_the_fields() {
    let (node, site) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(node.path());
    let collector = Collector::open(StoreConfig::new(site.path())).unwrap();
    store.append_blocking(answers(&[500])).unwrap();
    store.flush_blocking().unwrap();
    let records = all(&store, &Filter::default());
    let delivery = Delivery {
        node: drover_api::NodeId::new(1, 7),
        log: "x".into(),
        places: (1..=records.len() as u64).collect(),
        records: records.clone(),
        missed: None,
    };
    // As it is on the link.
    let delivery = serde_json::from_str(&serde_json::to_string(&delivery).unwrap()).unwrap();
    collector.take(&delivery).unwrap();
    let found = all(collector.store(), &where_fields(&["status=500"]));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].fields, records[0].fields);
}

/// What the versions left before files had numbers, and the texts in it.
const EARLIER: [(&str, &[&str]); 3] = [
    (include_str!("../schemas/records-1.sql"), &["hello", "problem"]),
    (include_str!("../schemas/records-2.sql"), &["hello", "problem", "from afar"]),
    (include_str!("../schemas/records-3.sql"), &["hello", "problem", "from afar", "answered 500"]),
];

#[test]
fn files_of_every_earlier_version_are_read_and_go_on() {
    for (dump, said) in EARLIER {
        let dir = tempfile::tempdir().unwrap();
        let place = |shift: i64| format!("UPDATE logs SET id = id + {shift}");
        for (name, shift) in [("1000.db", 0), ("current.db", 10)] {
            let old = Connection::open(dir.path().join(name)).unwrap();
            old.execute_batch(dump).unwrap();
            old.execute(&place(shift), []).unwrap();
        }
        let store = open(dir.path());
        let both = [said, said].concat();
        assert_eq!(texts(&all(&store, &Filter::default())), both);
        let mut batch = answers(&[404]);
        batch.mark("position", Some("9".into()));
        store.append_blocking(batch).unwrap();
        store.flush_blocking().unwrap();
        assert_eq!(texts(&all(&store, &where_fields(&["status=404"]))), ["answered 404"]);
        drop(store);
        let store = open(dir.path());
        assert_eq!(store.marks()["position"], "9");
        assert!(all(&store, &Filter::default()).len() > both.len());
        let odd = all(&store, &where_fields(&["status=500"]));
        assert_eq!(odd.len(), if said.len() == 4 { 2 } else { 0 });
    }
}

#[test]
fn a_file_of_a_later_version_is_set_aside_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    for (name, dump) in [("1000.db", EARLIER[2].0), ("current.db", EARLIER[2].0)] {
        let later = Connection::open(dir.path().join(name)).unwrap();
        later.execute_batch(dump).unwrap();
        later.pragma_update(None, "user_version", 99).unwrap();
    }
    let store = open(dir.path());
    store.append_blocking(answers(&[200])).unwrap();
    store.flush_blocking().unwrap();
    assert_eq!(texts(&all(&store, &where_fields(&["status=200"]))), ["answered 200"]);
    let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let aside = names.filter(|name| name.to_string_lossy().ends_with(".damaged")).count();
    assert_eq!(aside, 2);
}

#[test]
fn fields_that_are_damaged_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.append_blocking(answers(&[500])).unwrap();
    store.close();
    let file = Connection::open(dir.path().join("current.db")).unwrap();
    file.execute("UPDATE logs SET fields = '{' WHERE fields IS NOT NULL", []).unwrap();
    drop((store, file));
    let store = open(dir.path());
    let records = all(&store, &Filter::default());
    assert_eq!(records[0].fields, Fields::default());
    assert_eq!(all(&store, &where_fields(&["status=500"])), []);
}

/// Adds a record and what is to be remembered with it.
fn mark(store: &LogStore, name: &str, value: Option<&str>) {
    let mut batch = batch(&origin("a"), 1, ["x"]);
    batch.mark(name, value.map(str::to_owned));
    store.append_blocking(batch).unwrap();
    store.flush_blocking().unwrap();
}

#[test]
fn marks_outlive_every_file_and_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x".repeat(1000);
    let store = LogStore::open(small_files(dir.path())).unwrap();
    mark(&store, "kept", Some("1"));
    mark(&store, "changed", Some("1"));
    mark(&store, "forgotten", Some("1"));
    for round in 0..5 {
        let texts = std::iter::repeat_n(long.as_str(), 400);
        store.append_blocking(batch(&origin("a"), 1, texts)).unwrap();
        store.flush_blocking().unwrap();
        mark(&store, "changed", Some(&round.to_string()));
    }
    mark(&store, "forgotten", None);
    let expected = [("changed", "4"), ("kept", "1")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    assert_eq!(store.marks(), expected);
    // As a crash leaves it: the files, and nothing closed.
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    assert_eq!(LogStore::open(small_files(copy.path())).unwrap().marks(), expected);
    // The file that was being written is gone altogether.
    drop(store);
    fs::remove_file(dir.path().join("current.db")).unwrap();
    let marks = LogStore::open(small_files(dir.path())).unwrap().marks();
    assert_eq!(marks["kept"], "1");
}

#[test]
fn a_mark_without_a_record_is_remembered_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut batch = Batch::new(origin("a"));
    batch.mark("position", Some("1".into()));
    store.append_blocking(batch).unwrap();
    store.flush_blocking().unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.marks()["position"], "1");
    assert_eq!(all(&store, &Filter::default()), []);
}
