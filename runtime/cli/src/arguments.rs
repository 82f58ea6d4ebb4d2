//! Arguments of an operation from the command line.
//!
//! `key=value` pairs are read as the operation's schema wants them: where it
//! wants a string the text is taken as it stands, elsewhere it is read as
//! JSON. Whether they fit is for the node to say.

use clap::Args;
use serde_json::{Map, Value};

use crate::exit::{Exit, Failure};
use crate::input;

/// The arguments of the operation.
#[derive(Debug, Clone, Args)]
pub(crate) struct Arguments {
    /// One argument, such as limit=5; values that are no text are JSON
    #[arg(value_name = "KEY=VALUE")]
    pairs: Vec<String>,
    /// All arguments as one JSON object; - reads it from standard input
    #[arg(long, value_name = "JSON", conflicts_with = "pairs")]
    args: Option<String>,
}

impl Arguments {
    /// The same with what stands for standard input read from there. Done
    /// before anything is opened that would not wait for a person.
    pub(crate) fn with_input(mut self) -> Result<Self, Failure> {
        if self.reads_stdin() {
            self.args = Some(input::read("the arguments")?);
        }
        Ok(self)
    }

    /// Whether they are read from standard input.
    pub(crate) fn reads_stdin(&self) -> bool {
        self.args.as_deref() == Some("-")
    }

    /// Puts the arguments together; `schema` is that of the operation.
    pub(crate) fn read(&self, schema: &Value) -> Result<Map<String, Value>, Failure> {
        match &self.args {
            Some(text) => object(text),
            None => self.pairs.iter().map(|pair| split(pair, schema)).collect(),
        }
    }
}

fn object(text: &str) -> Result<Map<String, Value>, Failure> {
    serde_json::from_str(text).map_err(|error| {
        let message = format!("--args must be a JSON object such as '{{\"limit\": 5}}': {error}");
        Failure::text(Exit::Usage, message)
    })
}

fn split(pair: &str, schema: &Value) -> Result<(String, Value), Failure> {
    let Some((key, text)) = pair.split_once('=').filter(|(key, _)| !key.is_empty()) else {
        let message = format!("`{pair}` is no argument: write KEY=VALUE, such as limit=5");
        return Err(Failure::text(Exit::Usage, message));
    };
    let wanted = schema.get("properties").and_then(|properties| properties.get(key));
    Ok((key.to_owned(), read(text, wanted.map_or(&Value::Null, |wanted| resolve(wanted, schema)))))
}

fn read(text: &str, wanted: &Value) -> Value {
    let as_text = || Value::String(text.to_owned());
    match serde_json::from_str::<Value>(text) {
        // `name=7` is the text "7" where the schema wants text and nothing else fits.
        Ok(parsed) if !allows(wanted, "string") || allows(wanted, type_of(&parsed)) => parsed,
        _ => as_text(),
    }
}

/// Follows a reference into the schema's own definitions.
fn resolve<'a>(wanted: &'a Value, schema: &'a Value) -> &'a Value {
    let reference = wanted.get("$ref").and_then(Value::as_str).and_then(|at| at.strip_prefix('#'));
    reference.and_then(|at| schema.pointer(at)).unwrap_or(wanted)
}

fn allows(wanted: &Value, kind: &str) -> bool {
    let is_kind = |value: &Value| value == kind || (kind == "integer" && value == "number");
    match wanted.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(is_kind),
        Some(one) => is_kind(one),
        None => {
            let alternatives = ["anyOf", "oneOf"].iter().filter_map(|key| wanted.get(key));
            let mut alternatives = alternatives.filter_map(Value::as_array).flatten();
            alternatives.any(|alternative| allows(alternative, kind))
                || (kind == "string" && wanted.get("enum").is_some())
        }
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "properties": {
                "name": {"type": "string"},
                "limit": {"type": ["integer", "null"]},
                "either": {"type": ["string", "integer"]},
                "order": {"$ref": "#/$defs/Order"},
                "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                "tags": {"type": "array"},
            },
            "$defs": {"Order": {"enum": ["cpu", "memory"]}},
        })
    }

    fn read_pairs(pairs: &[&str]) -> Result<Map<String, Value>, Failure> {
        let pairs = pairs.iter().map(|&pair| pair.to_owned()).collect();
        Arguments { pairs, args: None }.read(&schema())
    }

    #[test]
    fn the_schema_decides_what_a_text_means() {
        let read = read_pairs(&[
            "name=7",
            "limit=7",
            "either=7",
            "order=cpu",
            "maybe=true",
            "tags=[1,2]",
            "free=x=y",
            "other=1.5",
        ]);
        let expected = json!({
            "name": "7", "limit": 7, "either": 7, "order": "cpu", "maybe": "true", "tags": [1, 2],
            "free": "x=y", "other": 1.5,
        });
        assert_eq!(Value::Object(read.unwrap()), expected);
    }

    #[test]
    fn a_text_for_a_number_is_left_for_the_node_to_refuse() {
        assert_eq!(read_pairs(&["limit=many"]).unwrap()["limit"], json!("many"));
    }

    #[test]
    fn what_is_no_pair_is_refused_by_name() {
        for pair in ["limit", "=5", ""] {
            let failure = read_pairs(&[pair]).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.error.to_string().contains(&format!("`{pair}`")));
        }
    }

    #[test]
    fn all_arguments_can_come_as_one_object() {
        let arguments = |text: &str| Arguments { pairs: vec![], args: Some(text.to_owned()) };
        let read = arguments(r#"{"limit": 5}"#).read(&schema()).unwrap();
        assert_eq!(read["limit"], json!(5));
        assert!(arguments("[5]").read(&schema()).is_err());
        assert!(arguments("{").read(&schema()).is_err());
    }
}
