//! What callers see of functions: names, documentation, schemas, answers, errors.

#![allow(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "helpers of tests fail and read like tests"
)]

use std::collections::{BTreeMap, HashMap};
use std::num::ParseIntError;

use drover_sdk::serde_json::{self, Value, json};
use drover_sdk::{Failure, Kind, OrFail, RunError, data, plugin, service, task};

plugin!(
    repeat,
    nothing,
    typed,
    flattened,
    parse,
    parse_with_code,
    by_alias,
    unwritable,
    elsewhere::r#type,
    elsewhere::watch
);

/// Repeats a text.
///
/// Details, over
/// two lines.
///
///     kept as it is
#[task]
fn repeat(
    /// What to repeat.
    text: String,
    /// How often.
    #[default(2)]
    #[schemars(range(min = 1, max = 9))]
    mut times: usize,
    /// What to put between;
    /// nothing unless given.
    separator: Option<String>,
    #[default("!")] end: String,
) -> String {
    times = times.min(9);
    vec![text; times].join(&separator.unwrap_or_default()) + &end
}

#[task]
fn nothing() {}

/// A point of a map.
#[data]
#[derive(Debug, PartialEq)]
struct Point {
    /// To the right.
    x: i32,
    #[serde(default)]
    y: i32,
}

/// Takes and gives types of its own.
#[task]
fn typed(points: Vec<Point>, weights: BTreeMap<String, f64>) -> Option<Point> {
    assert!(weights.len() < 10);
    points.into_iter().next()
}

#[data]
struct Flattened {
    #[serde(flatten)]
    rest: HashMap<String, Value>,
}

#[task]
fn flattened(value: Flattened) -> usize {
    value.rest.len()
}

#[derive(Debug)]
struct ParseError(ParseIntError);

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no number")
    }
}

impl std::error::Error for ParseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[task]
fn parse(text: String) -> Result<u8, ParseError> {
    text.parse().map_err(ParseError)
}

#[task]
fn parse_with_code(text: String) -> Result<u8, Failure> {
    let number = text.parse().or_fail("bad-number", format_args!("cannot read `{text}`"))?;
    if number == 0 {
        return Err(Failure::new("zero", "give a number from 1"));
    }
    Ok(number)
}

#[task]
fn by_alias(path: String) -> std::io::Result<usize> {
    Ok(std::fs::read(path)?.len())
}

#[task]
fn unwritable() -> BTreeMap<Vec<u8>, u8> {
    BTreeMap::from([(vec![1], 2)])
}

mod elsewhere {
    use super::*;

    /// Has a keyword for a name.
    #[task]
    pub(crate) fn r#type(r#match: bool) -> bool {
        r#match
    }

    /// Runs on.
    #[service]
    pub(crate) fn watch() -> Result<(), Failure> {
        Ok(())
    }
}

fn run(operation: &str, arguments: Value) -> Result<Value, RunError> {
    let answer = PLUGIN.run(operation, &arguments.to_string())?;
    Ok(serde_json::from_str(&answer).unwrap())
}

fn failure(operation: &str, arguments: Value) -> (String, String) {
    match run(operation, arguments) {
        Err(RunError::Failed(failure)) => (failure.code, failure.message),
        other => panic!("{other:?}"),
    }
}

fn refusal(operation: &str, arguments: &str) -> String {
    match PLUGIN.run(operation, arguments) {
        Err(RunError::InvalidArguments(message)) => message,
        other => panic!("{other:?}"),
    }
}

/// The schemas of the arguments and of the answer.
fn schemas(operation: &str) -> (Value, Value) {
    let all = PLUGIN.describe();
    let described = all.iter().find(|described| described.name == operation).unwrap();
    let parse = |schema| serde_json::from_str(schema).unwrap();
    (parse(&described.arguments), parse(&described.returns))
}

#[test]
fn operations_come_in_the_order_of_the_list_with_name_kind_and_doc() {
    let described = PLUGIN.describe();
    let names: Vec<_> = described.iter().map(|operation| operation.name.as_str()).collect();
    let expected = [
        "repeat",
        "nothing",
        "typed",
        "flattened",
        "parse",
        "parse_with_code",
        "by_alias",
        "unwritable",
        "type",
        "watch",
    ];
    assert_eq!(names, expected);
    assert_eq!(
        described[0].doc,
        "Repeats a text.\n\nDetails, over\ntwo lines.\n\n    kept as it is"
    );
    assert_eq!(described[1].doc, "");
    assert!(matches!(described[0].kind, Kind::Task));
    assert!(matches!(described[9].kind, Kind::Service));
}

#[test]
fn the_schema_of_the_arguments_has_types_docs_defaults_and_limits() {
    let (arguments, returns) = schemas("repeat");
    let expected = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "text": {"type": "string", "description": "What to repeat."},
            "times": {
                "type": "integer",
                "format": "uint",
                "description": "How often.",
                "default": 2,
                "minimum": 1,
                "maximum": 9,
            },
            "separator": {
                "type": ["string", "null"],
                "description": "What to put between;\nnothing unless given.",
            },
            "end": {"type": "string", "default": "!"},
        },
        "required": ["text"],
        "additionalProperties": false,
    });
    assert_eq!(arguments, expected);
    let schema = "https://json-schema.org/draft/2020-12/schema";
    assert_eq!(returns, json!({"$schema": schema, "type": "string"}));
}

#[test]
fn without_parameters_the_arguments_are_an_empty_object() {
    let (arguments, returns) = schemas("nothing");
    assert_eq!(arguments["type"], "object");
    assert_eq!(arguments["additionalProperties"], false);
    assert_eq!(returns["type"], "null");
    assert_eq!(run("nothing", json!({})).unwrap(), Value::Null);
}

#[test]
fn types_of_the_authors_own_are_described_and_strict() {
    let (arguments, _) = schemas("typed");
    let point = &arguments["$defs"]["Point"];
    assert_eq!(point["description"], "A point of a map.");
    assert_eq!(point["properties"]["x"]["description"], "To the right.");
    assert_eq!(point["additionalProperties"], false);

    let point = run("typed", json!({"points": [{"x": 1}], "weights": {"a": 0.5}}));
    assert_eq!(point.unwrap(), json!({"x": 1, "y": 0}));
    let message = refusal("typed", r#"{"points": [{"x": 1, "z": 2}], "weights": {}}"#);
    assert!(message.contains("`z`"), "{message}");
}

#[test]
fn a_flattened_field_takes_what_is_left() {
    assert_eq!(run("flattened", json!({"value": {"a": 1, "b": 2}})).unwrap(), 2);
}

#[test]
fn arguments_that_are_left_out_have_their_default() {
    assert_eq!(run("repeat", json!({"text": "a"})).unwrap(), "aa!");
    let all = json!({"text": "a", "times": 3, "separator": "-", "end": ""});
    assert_eq!(run("repeat", all).unwrap(), "a-a-a");
}

#[test]
fn arguments_that_do_not_fit_are_refused_by_name() {
    for (arguments, word) in [
        ("{}", "`text`"),
        (r#"{"text": "a", "tmes": 1}"#, "`tmes`"),
        (r#"{"text": 1}"#, "string"),
        (r#"{"text": "a", "times": -1}"#, "usize"),
        (r#"{"text": "a""#, "EOF"),
        (r#""text""#, "Arguments"),
        ("", "EOF"),
    ] {
        let message = refusal("repeat", arguments);
        assert!(message.contains(word), "{arguments}: {message}");
    }
    assert!(refusal("nothing", r#"{"a": 1}"#).contains("`a`"));
}

#[test]
fn an_operation_that_is_not_listed_is_unknown() {
    for name in ["", "Repeat", "repeat ", "elsewhere::watch"] {
        assert!(matches!(PLUGIN.run(name, "{}"), Err(RunError::UnknownOperation)), "{name}");
    }
}

#[test]
fn a_question_mark_keeps_the_error_and_its_sources() {
    let expected = ("failed".to_owned(), "no number: invalid digit found in string".to_owned());
    assert_eq!(failure("parse", json!({"text": "x"})), expected);
    assert_eq!(run("parse", json!({"text": "7"})).unwrap(), 7);
}

#[test]
fn a_failure_has_the_code_it_was_given() {
    let (code, message) = failure("parse_with_code", json!({"text": "x"}));
    assert_eq!(code, "bad-number");
    assert_eq!(message, "cannot read `x`: invalid digit found in string");
    assert_eq!(failure("parse_with_code", json!({"text": "0"})).0, "zero");
}

#[test]
fn an_alias_of_result_can_fail_too() {
    let (_, returns) = schemas("by_alias");
    assert_eq!(returns["type"], "integer");
    let (code, message) = failure("by_alias", json!({"path": "/does/not/exist"}));
    assert_eq!(code, "failed");
    assert!(message.contains("No such file"), "{message}");
}

#[test]
fn an_answer_that_json_cannot_write_is_a_failure() {
    let (code, message) = failure("unwritable", json!({}));
    assert_eq!(code, "unwritable-answer");
    assert!(message.contains("key must be a string"), "{message}");
}

#[test]
fn a_keyword_is_a_name_like_any_other() {
    assert_eq!(run("type", json!({"match": true})).unwrap(), true);
}
