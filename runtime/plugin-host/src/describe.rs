//! Asking a plugin what it offers, and checking what it says.

use std::sync::Arc;

use drover_api::{Operation, OperationKind};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use wasmtime::Store;

use crate::Limits;
use crate::bindings::exports::drover::plugin::operations::{self, Kind};
use crate::call::Call;
use crate::failure;
use crate::host::Shared;
use crate::instance::{self, Base, State, Streams};
use crate::operations::Interface;
use crate::schema::ArgumentSchema;

/// Operations of one plugin.
const OPERATIONS: usize = 256;
/// The longest doc text, in bytes.
const DOC: usize = 16 << 10;
/// The longest schema, in bytes.
const SCHEMA: usize = 256 << 10;
/// The longest name, in characters.
const NAME: usize = 64;

/// What is wrong with a plugin's description.
#[derive(Debug, thiserror::Error)]
pub enum DescribeError {
    /// It took too long.
    #[error("`describe` took longer than {0} ms and was ended: it must only list operations")]
    TooSlow(u128),
    /// It crashed.
    #[error("{0}")]
    Crashed(String),
    /// There is nothing to call.
    #[error("it lists no operations")]
    Empty,
    /// There are too many operations.
    #[error("it lists {0} operations, and {OPERATIONS} are allowed")]
    TooMany(usize),
    /// A name breaks the rules.
    #[error(
        "operation {0:?} is no name: use lower-case letters, digits, `-` and `_`, starting with a letter, at most {NAME}"
    )]
    Name(String),
    /// Two operations have the same name.
    #[error("there are two operations `{0}`")]
    Duplicate(String),
    /// A text is too long.
    #[error("the {part} of `{operation}` has {length} bytes, and {limit} are allowed")]
    TooLong {
        /// Whose text it is, an operation's or a format's.
        operation: String,
        /// Which text.
        part: &'static str,
        /// Its length.
        length: usize,
        /// The longest that is allowed.
        limit: usize,
    },
    /// A schema is none.
    #[error("the schema of the {part} of `{operation}` is wrong: {reason}")]
    Schema {
        /// Whose schema it is, an operation's or a format's.
        operation: String,
        /// Which schema.
        part: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// There are too many formats.
    #[error("it lists {0} formats of log lines, and 256 are allowed")]
    TooManyFormats(usize),
    /// The name of a format breaks the rules.
    #[error(
        "format {0:?} is no name: use lower-case letters, digits, `-` and `_`, starting with a letter, at most {NAME}"
    )]
    FormatName(String),
    /// Two formats have the same name.
    #[error("there are two formats `{0}`")]
    DuplicateFormat(String),
}

/// Calls `describe` of an interface in an instance of its own. The operations
/// come in the order of their names, each with its compiled schema.
pub(crate) async fn describe(
    shared: &Shared,
    plugin: Arc<str>,
    interface: &Interface,
    limits: &Limits,
) -> Result<Vec<(Operation, ArgumentSchema)>, DescribeError> {
    // The semaphore is never closed, and instances are limited anyway.
    let _turn = shared.describing.acquire().await;
    let limit = limits.describe_deadline;
    let deadline = Instant::now() + limit;
    let base = Base { shared, engine: interface.engine(), limits };
    let call = call(base, plugin, interface, deadline);
    let operations = timeout_at(deadline, call)
        .await
        .unwrap_or(Err(DescribeError::TooSlow(limit.as_millis())))?;
    check(operations)
}

async fn call(
    base: Base<'_>,
    plugin: Arc<str>,
    interface: &Interface,
    deadline: Instant,
) -> Result<Vec<operations::Operation>, DescribeError> {
    let mut describing = Describing::new(base, plugin, deadline)?;
    let work = interface.describe(&mut describing.store);
    let result = base.shared.ticker.while_polled(work).await;
    result.map_err(|error| describing.crashed(&error))
}

/// The instance in which a plugin describes itself.
pub(crate) struct Describing<'a> {
    pub(crate) store: Store<State>,
    subject: String,
    streams: Streams,
    limits: &'a Limits,
}

impl<'a> Describing<'a> {
    pub(crate) fn new(
        base: Base<'a>,
        plugin: Arc<str>,
        deadline: Instant,
    ) -> Result<Self, DescribeError> {
        let subject = format!("{plugin}'s describe");
        let streams = Streams::default();
        let call = Call::describe(plugin, deadline);
        let store = instance::store(base, &streams, call)
            .map_err(|error| DescribeError::Crashed(error.to_string()))?;
        Ok(Self { store, subject, streams, limits: base.limits })
    }

    /// Why it ended without an answer.
    pub(crate) fn crashed(&self, error: &wasmtime::Error) -> DescribeError {
        let has_refused = self.store.data().memory.has_refused();
        let stderr = self.streams.stderr.text();
        let error = failure::explain(&self.subject, error, &stderr, has_refused, self.limits);
        DescribeError::Crashed(error.message)
    }
}

fn check(
    operations: Vec<operations::Operation>,
) -> Result<Vec<(Operation, ArgumentSchema)>, DescribeError> {
    match operations.len() {
        0 => return Err(DescribeError::Empty),
        count if count > OPERATIONS => return Err(DescribeError::TooMany(count)),
        _ => {}
    }
    let mut checked = operations.into_iter().map(check_one).collect::<Result<Vec<_>, _>>()?;
    checked.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    for pair in checked.windows(2) {
        if pair[0].0.name == pair[1].0.name {
            return Err(DescribeError::Duplicate(pair[0].0.name.clone()));
        }
    }
    Ok(checked)
}

fn check_one(
    operation: operations::Operation,
) -> Result<(Operation, ArgumentSchema), DescribeError> {
    let operations::Operation { name, kind, doc, arguments, returns } = operation;
    check_name(&name)?;
    check_length(&name, "doc text", &doc, DOC)?;
    let arguments = parse_schema(&name, "arguments", &arguments)?;
    let returns = parse_schema(&name, "answer", &returns)?;
    let schema = compile(&name, "arguments", arguments.clone())?;
    compile(&name, "answer", returns.clone())?;
    let kind = match kind {
        Kind::Task => OperationKind::Task,
        Kind::Service => OperationKind::Service,
    };
    Ok((Operation { name, kind, doc, arguments, returns }, schema))
}

/// Checks the name of a plugin or an operation.
pub(crate) fn check_name(name: &str) -> Result<(), DescribeError> {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let is_name = name.len() <= NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(is_allowed);
    match is_name {
        true => Ok(()),
        false => Err(DescribeError::Name(name.chars().take(NAME).collect())),
    }
}

pub(crate) fn check_length(
    operation: &str,
    part: &'static str,
    text: &str,
    limit: usize,
) -> Result<(), DescribeError> {
    match text.len() {
        length if length > limit => {
            Err(DescribeError::TooLong { operation: operation.into(), part, length, limit })
        }
        _ => Ok(()),
    }
}

pub(crate) fn parse_schema(
    operation: &str,
    part: &'static str,
    text: &str,
) -> Result<Value, DescribeError> {
    check_length(operation, part, text, SCHEMA)?;
    serde_json::from_str(text).map_err(|error| DescribeError::Schema {
        operation: operation.into(),
        part,
        reason: format!("it is no JSON: {error}"),
    })
}

pub(crate) fn compile(
    operation: &str,
    part: &'static str,
    schema: Value,
) -> Result<ArgumentSchema, DescribeError> {
    ArgumentSchema::compile(schema).map_err(|reason| DescribeError::Schema {
        operation: operation.into(),
        part,
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(name: &str) -> operations::Operation {
        operations::Operation {
            name: name.into(),
            kind: Kind::Task,
            doc: "Does it.".into(),
            arguments: r#"{"type":"object"}"#.into(),
            returns: "true".into(),
        }
    }

    fn refused(operations: Vec<operations::Operation>) -> String {
        check(operations).err().unwrap().to_string()
    }

    #[test]
    fn operations_are_listed_by_name() {
        let checked = check(vec![operation("b"), operation("a-1_x")]).unwrap();
        let names: Vec<_> = checked.iter().map(|(operation, _)| operation.name.as_str()).collect();
        assert_eq!(names, ["a-1_x", "b"]);
    }

    #[test]
    fn names_follow_the_rules_of_the_contract() {
        for name in ["", "1a", "A", "a.b", "ä", "a b", "-a", &"a".repeat(65)] {
            assert!(refused(vec![operation(name)]).contains("is no name"), "{name}");
        }
        assert!(check(vec![operation(&"a".repeat(64))]).is_ok());
        assert!(refused(vec![operation("a"), operation("a")]).contains("two operations `a`"));
    }

    #[test]
    fn number_and_lengths_are_bounded() {
        assert!(refused(vec![]).contains("no operations"));
        let many = (0..=OPERATIONS).map(|index| operation(&format!("a{index}"))).collect();
        assert!(refused(many).contains("257 operations"));
        let long = operations::Operation { doc: "x".repeat(DOC + 1), ..operation("a") };
        assert!(refused(vec![long]).contains("doc text of `a`"));
        let long = operations::Operation { returns: " ".repeat(SCHEMA + 1), ..operation("a") };
        assert!(refused(vec![long]).contains("answer of `a`"));
    }

    #[test]
    fn both_schemas_must_be_schemas() {
        let wrong = operations::Operation { arguments: "{".into(), ..operation("a") };
        assert!(refused(vec![wrong]).contains("no JSON"));
        let wrong = operations::Operation { returns: r#"{"type":7}"#.into(), ..operation("a") };
        assert!(refused(vec![wrong]).contains("schema of the answer of `a`"));
    }
}
