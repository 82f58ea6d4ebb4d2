//! The schema of an operation's arguments: what fits it, and what to say about
//! what does not.

use drover_api::{ErrorCode, JobError};
use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::LocationSegment;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value, json};

use crate::records::cut;

/// Problems that one answer lists.
const PROBLEMS: usize = 20;
/// The longest value that a message repeats.
const QUOTED: usize = 100;

/// A compiled schema and its text.
#[derive(Debug)]
pub struct ArgumentSchema {
    schema: Value,
    validator: Validator,
}

/// An argument and what is wrong with it.
#[derive(Debug, PartialEq)]
struct Problem {
    /// Where, as a path with dots; empty for the arguments as a whole.
    argument: String,
    /// For people.
    problem: String,
}

impl ArgumentSchema {
    /// Compiles a schema.
    ///
    /// It is a plugin's text: it may not make the host fetch another schema,
    /// and its patterns run in linear time.
    ///
    /// # Errors
    ///
    /// If it is no schema, says what is wrong with it.
    pub fn compile(schema: Value) -> Result<Self, String> {
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_pattern_options(PatternOptions::regex())
            .offline()
            .build(&schema)
            .map_err(|error| cut(&error.to_string(), 1024).to_owned())?;
        Ok(Self { schema, validator })
    }

    /// Checks the arguments of `subject`, a plugin's operation or a command of
    /// the host's own.
    ///
    /// # Errors
    ///
    /// If they do not fit: everything that is wrong with them.
    pub fn check(&self, subject: &str, arguments: &Value) -> Result<(), JobError> {
        let problems = self.problems(arguments);
        if problems.is_empty() {
            return Ok(());
        }
        let (text, list) = report(&problems);
        let message = format!("`{subject}` cannot run with these arguments: {text}");
        Err(JobError::new(ErrorCode::InvalidArguments, message).with_detail(list))
    }

    /// Everything that is wrong with `arguments`; empty if they fit.
    fn problems(&self, arguments: &Value) -> Vec<Problem> {
        if self.validator.is_valid(arguments) {
            return Vec::new();
        }
        let errors = self.validator.iter_errors(arguments).take(PROBLEMS);
        errors.flat_map(|error| self.explain(&error)).take(PROBLEMS).collect()
    }

    fn explain(&self, error: &ValidationError<'_>) -> Vec<Problem> {
        let path = path(error);
        let problem =
            |name: &str, problem: String| Problem { argument: join(&path, name), problem };
        match error.kind() {
            ValidationErrorKind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                let allowed = self.allowed(&join(&path, name));
                vec![problem(name, format!("is missing{}", prefixed(": ", &allowed)))]
            }
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                let known = self.known(&path);
                let text = match known.is_empty() {
                    true => "is unknown; there are no arguments".to_owned(),
                    false => format!("is unknown; there are: {}", known.join(", ")),
                };
                unexpected.iter().map(|name| problem(name, text.clone())).collect()
            }
            _ => {
                let value = cut(&error.instance().to_string(), QUOTED).to_owned();
                let allowed = self.allowed(&path);
                let text = match allowed.is_empty() {
                    true => cut(&error.to_string(), 4 * QUOTED).to_owned(),
                    false => format!("cannot be {value}: {allowed}"),
                };
                vec![problem("", text)]
            }
        }
    }

    /// What the schema says of an argument; empty if it is not so simple.
    fn allowed(&self, path: &str) -> String {
        let Some(schema) = self.part(path) else { return String::new() };
        let mut words = Vec::new();
        match schema.get("type") {
            Some(Value::String(name)) => words.push(name.clone()),
            Some(Value::Array(names)) => {
                let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
                words.push(names.join(" or "));
            }
            _ => {}
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            let values: Vec<_> = values.iter().take(PROBLEMS).map(Value::to_string).collect();
            words.push(format!("one of {}", values.join(", ")));
        }
        for (keyword, text) in [
            ("const", "exactly"),
            ("minimum", "at least"),
            ("exclusiveMinimum", "more than"),
            ("maximum", "at most"),
            ("exclusiveMaximum", "less than"),
            ("minLength", "of a length of at least"),
            ("maxLength", "of a length of at most"),
            ("pattern", "matching"),
        ] {
            if let Some(value) = schema.get(keyword) {
                words.push(format!("{text} {}", cut(&value.to_string(), QUOTED)));
            }
        }
        let mut text = words.join(", ");
        if let Some(doc) = schema.get("description").and_then(Value::as_str)
            && let Some(line) = doc.lines().next()
        {
            text =
                format!("{text}{}{}", if text.is_empty() { "" } else { "; " }, cut(line, QUOTED));
        }
        if text.is_empty() { text } else { format!("it is {text}") }
    }

    /// The names that the object at `path` may have.
    fn known(&self, path: &str) -> Vec<String> {
        let properties = self.part(path).and_then(|schema| schema.get("properties"));
        let names = properties.and_then(Value::as_object).map(Map::keys);
        names.into_iter().flatten().cloned().collect()
    }

    /// The schema of what is at `path`, as far as `properties`, `items` and
    /// references within the schema lead to it.
    fn part(&self, path: &str) -> Option<&Value> {
        let mut schema = &self.schema;
        for name in path.split('.').filter(|name| !name.is_empty()) {
            schema = self.resolve(schema);
            schema = match name.parse::<usize>() {
                Ok(_) if schema.get("items").is_some() => schema.get("items")?,
                _ => schema.get("properties")?.get(name)?,
            };
        }
        Some(self.resolve(schema))
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let target = schema.get("$ref").and_then(Value::as_str);
        let target = target.and_then(|target| self.schema.pointer(target.strip_prefix('#')?));
        target.unwrap_or(schema)
    }
}

/// One text of all problems, and the same as a list for programs.
fn report(problems: &[Problem]) -> (String, Value) {
    let line = |problem: &Problem| match problem.argument.is_empty() {
        true => format!("the arguments: {}", problem.problem),
        false => format!("`{}` {}", problem.argument, problem.problem),
    };
    let text = problems.iter().map(line).collect::<Vec<_>>().join("; ");
    let list = problems.iter().map(|p| json!({ "argument": p.argument, "problem": p.problem }));
    (text, list.collect())
}

fn path(error: &ValidationError<'_>) -> String {
    let segments = error.instance_path().segments().map(|segment| match segment {
        LocationSegment::Property(name) => name.into_owned(),
        LocationSegment::Index(index) => index.to_string(),
    });
    segments.collect::<Vec<_>>().join(".")
}

fn join(path: &str, name: &str) -> String {
    match (path.is_empty(), name.is_empty()) {
        (true, _) => name.to_owned(),
        (_, true) => path.to_owned(),
        _ => format!("{path}.{name}"),
    }
}

fn prefixed(prefix: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{prefix}{text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> ArgumentSchema {
        ArgumentSchema::compile(json!({
            "type": "object",
            "properties": {
                "name": { "type": "string", "description": "Who to greet.\nMore." },
                "times": { "type": "integer", "minimum": 1, "maximum": 9 },
                "tone": { "$ref": "#/$defs/Tone" },
                "disks": { "type": "array", "items": { "type": "object",
                    "properties": { "size": { "type": ["integer", "null"] } } } },
            },
            "required": ["name"],
            "additionalProperties": false,
            "$defs": { "Tone": { "enum": ["warm", "cold"] } },
        }))
        .unwrap()
    }

    fn said(arguments: &Value) -> String {
        report(&schema().problems(arguments)).0
    }

    #[test]
    fn what_fits_has_no_problems() {
        let fitting =
            json!({ "name": "x", "times": 3, "tone": "warm", "disks": [{ "size": null }] });
        assert!(schema().problems(&fitting).is_empty());
    }

    #[test]
    fn each_problem_names_the_argument_and_what_is_allowed() {
        for (arguments, expected) in [
            (json!({}), "`name` is missing: it is string; Who to greet."),
            (json!({ "name": 7 }), "`name` cannot be 7: it is string; Who to greet."),
            (
                json!({ "name": "x", "times": 10 }),
                "`times` cannot be 10: it is integer, at least 1, at most 9",
            ),
            (
                json!({ "name": "x", "tone": "loud" }),
                "`tone` cannot be \"loud\": it is one of \"warm\", \"cold\"",
            ),
            (
                json!({ "name": "x", "disks": [{ "size": "big" }] }),
                "`disks.0.size` cannot be \"big\": it is integer or null",
            ),
            (
                json!({ "name": "x", "nme": 1 }),
                "`nme` is unknown; there are: disks, name, times, tone",
            ),
        ] {
            assert_eq!(said(&arguments), expected);
        }
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let problems = schema().problems(&json!({ "times": 0, "x": 1, "y": 2 }));
        let names: Vec<_> = problems.iter().map(|problem| problem.argument.as_str()).collect();
        assert_eq!(problems.len(), 4, "{names:?}");
        for name in ["name", "times", "x", "y"] {
            assert!(names.contains(&name), "{names:?}");
        }
    }

    #[test]
    fn a_large_value_is_not_repeated() {
        assert!(said(&json!({ "name": vec![0; 10_000] })).len() < 300);
        let many = json!({ "name": "x", "disks": vec![json!({ "size": "x" }); 1000] });
        assert!(schema().problems(&many).len() <= PROBLEMS);
    }

    #[test]
    fn a_schema_of_nonsense_does_not_compile() {
        for schema in [json!({ "type": "strnig" }), json!(7), json!({ "pattern": "(" })] {
            assert!(ArgumentSchema::compile(schema.clone()).is_err(), "{schema}");
        }
    }

    #[test]
    fn a_schema_makes_the_host_fetch_nothing() {
        for target in ["http://localhost:1/x", "file:///etc/passwd"] {
            assert!(ArgumentSchema::compile(json!({ "$ref": target })).is_err(), "{target}");
        }
    }

    #[test]
    fn a_pattern_takes_linear_time_or_is_refused() {
        let slow = json!({ "properties": { "a": { "pattern": "^(a+)+$" } } });
        let schema = ArgumentSchema::compile(slow).unwrap();
        assert_eq!(schema.problems(&json!({ "a": "a".repeat(5000) + "!" })).len(), 1);
        assert!(ArgumentSchema::compile(json!({ "pattern": "(?=a)\\1" })).is_err());
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = json!({ "properties": { "a": { "$ref": "#/properties/a" } } });
        if let Ok(schema) = ArgumentSchema::compile(schema) {
            schema.part("a.a.a");
        }
    }
}
