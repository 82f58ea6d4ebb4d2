//! Parsers of log lines: what they are given, what is made of their answers,
//! and how they fail.

use std::time::Duration;

use bytes::Bytes;
use drover_api::{ErrorCode, JobError, Level, Timestamp};
use drover_plugin_host::{FieldValue, Host, Limits, Parser, ParserSpec, Patience};
use serde_json::{Value, json};

use crate::kit::{assert_says, component, host, job};

fn spec(format: &str, options: Value) -> ParserSpec {
    ParserSpec { plugin: "parse_lines".into(), format: format.into(), options }
}

async fn parsers(limits: Limits) -> Host {
    let host = host(limits);
    host.load_file(&component("parse_lines")).await.expect("the parser loads");
    host
}

async fn open(host: &Host, format: &str) -> Parser {
    host.open_parser(&spec(format, json!({}))).await.unwrap()
}

async fn open_error(host: &Host, spec: &ParserSpec) -> JobError {
    host.open_parser(spec).await.err().unwrap()
}

#[tokio::test]
async fn a_plugin_may_parse_lines_and_have_no_operations() {
    let host = parsers(Limits::default()).await;
    let plugins = host.plugins();
    assert!(plugins[0].operations.is_empty());
    let formats: Vec<_> = plugins[0].formats.iter().map(|format| &*format.name).collect();
    assert_eq!(formats[..3], ["allocate", "leave", "lines"]);
    let mut job = job("lines", json!({}));
    job.plugin = "parse_lines".into();
    let error = host.run(job).await.error.unwrap();
    assert_eq!(error.code, ErrorCode::UnknownCommand);

    let inspection = host.inspect(&component("parse_lines")).await.unwrap();
    assert_eq!(inspection.formats, plugins[0].formats);
    assert_eq!(inspection.refusal, None);
}

#[tokio::test]
async fn batches_become_events_with_fields_of_the_lines() {
    let host = parsers(Limits::default()).await;
    let mut parser = open(&host, "lines").await;
    for _ in 0..100 {
        let parsed = parser.parse(Bytes::from_static(b"one\nthree\n")).await.unwrap();
        let events: Vec<_> = parsed.events().collect();
        assert_eq!((events.len(), parsed.lines(), parsed.unparsed()), (2, 2, 0));
        assert_eq!((events[1].text, events[1].level), (&b"three\n"[..], Level::WARNING));
        assert_eq!(events[1].time, Some(Timestamp(1_700_000_000_000)));
        let fields: Vec<_> = events[1].fields().collect();
        let expected = [("length", FieldValue::Integer(6)), ("first", FieldValue::Text(&b"t"[..]))];
        assert_eq!(fields, expected);
        assert_eq!(parsed.records()[0].data, "10 bytes");
    }
    assert!(parser.flush().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_parser_that_has_numbers_is_asked_for_them() {
    let host = host(Limits::default());
    host.load_file(&component("pack_lines")).await.expect("the parser loads");
    let spec = |format: &str| ParserSpec { plugin: "pack_lines".into(), ..spec(format, json!({})) };
    let mut parser = host.open_parser(&spec("whole")).await.unwrap();
    let parsed = parser.parse(Bytes::from_static(b"one\ntwo\n")).await.unwrap();
    let event = parsed.events().next().unwrap();
    assert_eq!((event.text, event.level), (&b"one\ntwo\n"[..], Level::WARNING));
    assert_eq!((event.time, event.is_parsed), (Some(Timestamp(1_700_000_000_000)), true));
    let expected = [("length", FieldValue::Integer(8)), ("first", FieldValue::Text(&b"o"[..]))];
    assert_eq!(event.fields().collect::<Vec<_>>(), expected);

    let mut parser = host.open_parser(&spec("half")).await.unwrap();
    let error = parser.parse(Bytes::from_static(b"one\n")).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::InvalidAnswer);
    assert_says(&error.message, &["1 numbers of events are odd"]);
}

#[tokio::test]
async fn lines_that_are_held_back_come_first_in_the_next_answer() {
    let host = parsers(Limits::default()).await;
    let mut parser = open(&host, "paragraphs").await;
    assert!(parser.parse(Bytes::from_static(b"a\n")).await.unwrap().is_empty());
    assert!(parser.is_holding());
    let parsed = parser.parse(Bytes::from_static(b"b\n\nc\n")).await.unwrap();
    assert_eq!(&parsed.text()[..], b"a\nb\n\n");
    let parsed = parser.flush().await.unwrap();
    assert_eq!((&parsed.text()[..], parsed.len()), (&b"c\n"[..], 1));
    assert!(!parser.is_holding());
    parser.parse(Bytes::from_static(b"d\n")).await.unwrap();
    assert_eq!(&parser.into_held()[..], b"d\n");
}

#[tokio::test]
async fn a_failure_names_plugin_and_cause_and_ends_the_parser_alone() {
    let host = parsers(Limits { deadline: Duration::from_secs(3), ..Limits::default() }).await;
    let mut other = open(&host, "lines").await;
    for (format, code, words) in [
        ("panic", ErrorCode::Trapped, "no lines today"),
        ("spin", ErrorCode::Timeout, "was not done after 3 s"),
        ("allocate", ErrorCode::OutOfMemory, "64 MiB"),
        ("outside", ErrorCode::InvalidAnswer, "ends at byte 3 of 2"),
    ] {
        let mut parser = open(&host, format).await;
        let error = parser.parse(Bytes::from_static(b"a\n")).await.unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert_says(&error.message, &[&format!("`parse_lines's format {format}`"), words]);
        let error = parser.parse(Bytes::from_static(b"a\n")).await.unwrap_err();
        assert_says(&error.message, &["open it again"]);
        assert_eq!(other.parse(Bytes::from_static(b"a\n")).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn what_is_left_of_the_last_lines_and_too_much_of_others_is_refused() {
    let host = parsers(Limits::default()).await;
    let mut parser = open(&host, "leave").await;
    parser.parse(Bytes::from_static(b"a\n")).await.unwrap();
    let error = parser.flush().await.unwrap_err();
    assert_says(&error.message, &["it left 2 bytes of the last batch"]);
    assert_eq!(&parser.into_held()[..], b"a\n");

    let mut parser = open(&host, "leave").await;
    let batch = Bytes::from(vec![b'\n'; 64 << 10]);
    parser.parse(batch.clone()).await.unwrap();
    let error = parser.parse(batch).await.unwrap_err();
    assert_says(&error.message, &["left 131072 bytes, and 65536 are allowed"]);

    let mut parser = open(&host, "lines").await;
    let error = parser.parse(Bytes::from(vec![b'\n'; (64 << 10) + 1])).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidArguments);
    assert_eq!(parser.parse(Bytes::from_static(b"a\n")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_opened_is_refused_with_what_there_is() {
    let host = parsers(Limits::default()).await;
    let unknown = ParserSpec { plugin: "parselines".into(), ..spec("lines", json!({})) };
    assert_says(&open_error(&host, &unknown).await.message, &["no plugin", "parse_lines"]);
    let error = open_error(&host, &spec("line", json!({}))).await;
    assert_says(&error.message, &["no format `line`", "lines"]);
    let error = open_error(&host, &spec("lines", json!({ "x": "y" }))).await;
    assert_eq!(error.code, ErrorCode::InvalidArguments);
    let error = open_error(&host, &spec("unhappy", json!({ "x": 1 }))).await;
    assert_eq!(error.code, ErrorCode::InvalidArguments);
    assert_says(&error.message, &["wrong options", r#"not with {"x":1}"#]);
}

#[tokio::test]
async fn a_parser_that_fails_again_and_again_is_put_in_quarantine() {
    let patience = Patience { failures: 2, ..Patience::default() };
    let host = parsers(Limits { patience, ..Limits::default() }).await;
    for _ in 0..2 {
        let mut parser = open(&host, "panic").await;
        parser.parse(Bytes::from_static(b"a\n")).await.unwrap_err();
    }
    let error = open_error(&host, &spec("lines", json!({}))).await;
    assert_eq!(error.code, ErrorCode::Quarantined, "{error}");
}

#[tokio::test]
async fn a_parser_of_a_plugin_that_was_replaced_works_on_and_is_stale() {
    let host = parsers(Limits::default()).await;
    let mut parser = open(&host, "lines").await;
    assert!(!parser.is_stale());
    host.load_file(&component("parse_lines")).await.unwrap();
    assert!(parser.is_stale());
    assert_eq!(parser.parse(Bytes::from_static(b"a\n")).await.unwrap().len(), 1);
    assert!(!open(&host, "lines").await.is_stale());
}

#[tokio::test]
async fn so_many_parsers_are_enough_and_one_that_ends_makes_room() {
    let host = parsers(Limits::default()).await;
    let mut parsers = Vec::new();
    for _ in 0..64 {
        parsers.push(open(&host, "lines").await);
    }
    let error = open_error(&host, &spec("lines", json!({}))).await;
    assert_eq!(error.code, ErrorCode::Busy);
    parsers.pop();
    open(&host, "lines").await;
}
