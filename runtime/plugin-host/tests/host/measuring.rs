//! What plugins measure, and where it goes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use drover_api::{ErrorCode, JobId, JobState, Level};
use drover_grants::Grants;
use drover_plugin_host::{Host, Limits, Meter, Meters, Surroundings};
use serde_json::json;

use crate::kit::{answer, assert_says, component, error, guests, host_around, job};

/// Remembers whose meters there were, what they took and when they were dropped.
#[derive(Debug, Clone, Default)]
struct Book(Arc<Mutex<Vec<String>>>);

impl Book {
    fn write(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Meters for Book {
    fn meter(&self, _job: &JobId, plugin: &str, operation: &str) -> Box<dyn Meter> {
        self.write(&format!("begin {plugin} {operation}"));
        Box::new(BookMeter(self.clone()))
    }
}

struct BookMeter(Book);

impl Meter for BookMeter {
    fn add(&self, lines: &str) {
        lines.lines().for_each(|line| self.0.write(line));
    }
}

impl Drop for BookMeter {
    fn drop(&mut self) {
        self.0.write("end");
    }
}

async fn host_with_book() -> (Host, Book) {
    let book = Book::default();
    let surroundings =
        Surroundings { meters: Some(Arc::new(book.clone())), ..Surroundings::default() };
    let state_dir = PathBuf::from("/nowhere");
    let host = host_around(Limits::default(), Grants::default(), state_dir, surroundings);
    host.load_file(&component("guests")).await.unwrap();
    (host, book)
}

#[tokio::test]
async fn what_a_job_measures_goes_to_a_meter_of_its_own() {
    let (host, book) = host_with_book().await;
    answer(&host, "measure", json!({ "name": "copied", "to": "x" })).await;
    host.shutdown().await;
    let lines = [
        "begin guests measure",
        "copied:2|c|#to:x",
        "copied:5|kv|#to:x",
        "copied:-1.5|g|#to:x",
        "copied:12|ms|#to:x",
        "copied:ada|s|#to:x",
        "end",
    ];
    assert_eq!(book.lines(), lines);
}

#[tokio::test]
async fn nothing_that_breaks_a_rule_is_measured() {
    let (host, book) = host_with_book().await;
    for (name, to) in [("_cpu_", "x"), ("a:1|c\nb", "x"), ("a", "x\ny:1|c"), ("a", "x,y")] {
        let outcome = host.run(job("measure", json!({ "name": name, "to": to }))).await;
        assert_says(&error(&outcome, ErrorCode::Failed).message, &["is not"]);
    }
    assert!(book.lines().is_empty(), "{:?}", book.lines());
}

#[tokio::test]
async fn a_job_measures_so_many_series_and_is_told_once() {
    let (host, book) = host_with_book().await;
    let outcome = host.run(job("measure_many", json!({ "series": 1000 }))).await;
    assert_eq!(outcome.state, JobState::Ok);
    assert_eq!(outcome.data[0], 200);
    assert_eq!(outcome.records.len(), 1);
    assert_eq!(outcome.records[0].level, Level::WARNING);
    assert_says(&outcome.records[0].data, &["`guests.measure_many`", "200 series"]);
    host.shutdown().await;
    assert_eq!(book.lines().len(), 202);
}

#[tokio::test]
async fn where_nobody_takes_it_measuring_is_no_error() {
    let host = guests(Limits::default()).await;
    answer(&host, "measure", json!({ "name": "a", "to": "x" })).await;
}
