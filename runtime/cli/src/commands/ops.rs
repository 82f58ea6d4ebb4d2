//! `drover ops`: what can be called.

use std::fmt::Write as _;

use clap::Args;
use drover_api::{LogFormat, NodeOperations, Operation, OperationKind};
use serde::Serialize;
use serde_json::Value;

use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::{controller, output, render};

/// Lists the operations of one node, or of all nodes that are present, with
/// their arguments, and the log lines that plugins parse, with their options.
#[derive(Debug, Args)]
pub(crate) struct Ops {
    /// The node, by name or id; all that are present without it
    node: Option<String>,
    #[command(flatten)]
    address: Address,
    /// Print a JSON array, with the schemas of arguments and answers
    #[arg(long)]
    json: bool,
}

/// One operation and where it can be called.
#[derive(Debug, Serialize)]
struct Callable<'a> {
    /// `<plugin>.<operation>`, or a command of the host's own.
    cmd: String,
    /// The names of the nodes that have it in just this form.
    nodes: Vec<&'a str>,
    #[serde(flatten)]
    operation: &'a Operation,
}

pub(crate) fn run(command: &Ops) -> Result<Exit, Failure> {
    let answers = controller::runtime()?.block_on(async {
        let session = command.address.connect().await?;
        let nodes = controller::nodes(&session).await?;
        let chosen = match &command.node {
            Some(wanted) => vec![controller::find_present(&nodes, wanted)?],
            None => nodes.iter().collect(),
        };
        let answers = controller::ask_each(&session, &chosen, |session, node| async move {
            controller::operations(&session, &node, None).await
        });
        let answers = answers.await;
        session.close().await;
        Ok::<_, Failure>(answers)
    })?;
    let mut offers = Vec::new();
    let mut failure = None;
    for (node, answer) in answers {
        match answer {
            Ok(operations) => offers.push((node.description.name, operations)),
            // The others are shown all the same.
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    let callables = callables(&offers);
    if command.json {
        output::json(&callables)?;
    } else if callables.is_empty() && failure.is_none() {
        output::note("no operations: no node is present");
    } else {
        let operations = callables
            .iter()
            .map(|callable| describe(&callable.cmd, &callable.nodes, callable.operation));
        let formats = formats(&offers);
        let formats =
            formats.iter().map(|(plugin, format, nodes)| describe_format(plugin, nodes, format));
        let texts: Vec<_> = operations.chain(formats).collect();
        output::answer(&texts.join("\n"))?;
    }
    failure.map_or(Ok(Exit::Done), Err)
}

/// Every operation of `nodes`, alike ones once.
fn callables(nodes: &[(String, NodeOperations)]) -> Vec<Callable<'_>> {
    let mut callables: Vec<Callable<'_>> = Vec::new();
    for (name, operations) in nodes {
        for (cmd, operation) in operations.all() {
            let known = callables.iter_mut().find(|c| c.cmd == cmd && c.operation == operation);
            match known {
                Some(callable) => callable.nodes.push(name),
                None => callables.push(Callable { cmd, nodes: vec![name], operation }),
            }
        }
    }
    callables.sort_by(|a, b| a.cmd.cmp(&b.cmd));
    callables
}

/// Every format of log lines of `nodes` with its plugin and where it is known,
/// alike ones once.
fn formats(nodes: &[(String, NodeOperations)]) -> Vec<(&str, &LogFormat, Vec<&str>)> {
    let mut formats: Vec<(&str, &LogFormat, Vec<&str>)> = Vec::new();
    for (node, operations) in nodes {
        for plugin in &operations.plugins {
            for format in &plugin.formats {
                let known = |(name, other, _): &&mut (&str, &LogFormat, _)| {
                    *name == plugin.name && *other == format
                };
                match formats.iter_mut().find(known) {
                    Some((.., names)) => names.push(node),
                    None => formats.push((&plugin.name, format, vec![node])),
                }
            }
        }
    }
    formats
}

/// A format of log lines as text, like an operation. `nodes` may be empty.
pub(super) fn describe_format(plugin: &str, nodes: &[&str], format: &LogFormat) -> String {
    let mut text = format!("{plugin}, format {}  (log lines", format.name);
    if !nodes.is_empty() {
        let _ = write!(text, " on {}", nodes.join(", "));
    }
    text.push_str(")\n");
    describe_rest(&mut text, &format.doc, "option", &format.options);
    text
}

/// An operation as text: a line with its name, its documentation, its
/// arguments. `nodes` may be empty.
pub(super) fn describe(cmd: &str, nodes: &[&str], operation: &Operation) -> String {
    let kind = match operation.kind {
        OperationKind::Task => "task",
        OperationKind::Service => "service",
    };
    let mut text = format!("{cmd}  ({kind}");
    if !nodes.is_empty() {
        let _ = write!(text, " on {}", nodes.join(", "));
    }
    text.push_str(")\n");
    describe_rest(&mut text, &operation.doc, "argument", &operation.arguments);
    text
}

/// The documentation, and what is in the schema; `what` that is.
fn describe_rest(text: &mut String, doc: &str, what: &str, schema: &Value) {
    for line in doc.lines() {
        let _ = writeln!(text, "    {line}");
    }
    let rows = arguments(schema);
    if !rows.is_empty() {
        for line in render::table(&[what, "type", "", "meaning"], rows).lines() {
            let _ = writeln!(text, "      {line}");
        }
    }
}

fn arguments(schema: &Value) -> Vec<[String; 4]> {
    let empty = serde_json::Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let row = |(name, property): (&String, &Value)| {
        let need = match property.get("default") {
            Some(default) if !default.is_null() => format!("default {default}"),
            _ if required.contains(&name.as_str()) => "required".to_owned(),
            _ => "optional".to_owned(),
        };
        let meaning = property.get("description").and_then(Value::as_str).unwrap_or_default();
        [name.clone(), type_name(property, schema), need, meaning.to_owned()]
    };
    properties.iter().map(row).collect()
}

/// A schema's type in a few words.
fn type_name(property: &Value, schema: &Value) -> String {
    if let Some(at) = property.get("$ref").and_then(Value::as_str) {
        let definition = at.strip_prefix('#').and_then(|at| schema.pointer(at));
        return definition.map_or_else(|| "object".to_owned(), |d| type_name(d, schema));
    }
    if let Some(values) = property.get("enum").and_then(Value::as_array) {
        return values.iter().map(Value::to_string).collect::<Vec<_>>().join(" or ");
    }
    if let Some(value) = property.get("const") {
        return value.to_string();
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(alternatives) = property.get(key).and_then(Value::as_array) {
            let names = alternatives.iter().map(|each| type_name(each, schema));
            return names.filter(|name| name != "null").collect::<Vec<_>>().join(" or ");
        }
    }
    match property.get("type") {
        Some(Value::String(name)) => name.clone(),
        Some(Value::Array(names)) => {
            let names = names.iter().filter_map(Value::as_str).filter(|&name| name != "null");
            names.collect::<Vec<_>>().join(" or ")
        }
        _ => "any".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_operation_is_described_with_its_arguments() {
        let operation = Operation {
            name: "greet".to_owned(),
            kind: OperationKind::Task,
            doc: "Greets somebody.".to_owned(),
            arguments: json!({
                "properties": {
                    "name": {"type": "string", "description": "Who to greet."},
                    "order": {"$ref": "#/$defs/Order"},
                    "times": {"type": ["integer", "null"], "default": 1},
                },
                "required": ["name"],
                "$defs": {"Order": {"enum": ["up", "down"]}},
            }),
            returns: json!({}),
        };
        let text = describe("hello.greet", &["a", "b"], &operation);
        assert!(text.starts_with("hello.greet  (task on a, b)\n    Greets somebody.\n"), "{text}");
        let has = |words: &[&str]| {
            text.lines().any(|line| {
                line.split_whitespace().collect::<Vec<_>>().join(" ") == words.join(" ")
            })
        };
        assert!(has(&["name", "string", "required", "Who to greet."]), "{text}");
        assert!(has(&["order", "\"up\" or \"down\"", "optional"]), "{text}");
        assert!(has(&["times", "integer", "default 1"]), "{text}");
    }
}
