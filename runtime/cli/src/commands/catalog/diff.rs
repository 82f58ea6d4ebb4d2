//! `drover catalog diff`: what whoever updates has to know.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Args;
use drover_api::{CatalogDetail, Operation};
use drover_grants::Manifest;
use serde_json::Value;

use super::detail;
use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::output;

/// Shows what differs between two versions of a plugin: operations that came,
/// went or take other arguments, and what it asks for that it did not ask for
/// before, which every node's admin has to grant.
#[derive(Debug, Args)]
pub(super) struct Diff {
    /// The plugin
    name: String,
    /// The version or channel to start from
    old: String,
    /// The version or channel to compare with it
    new: String,
    #[command(flatten)]
    address: Address,
}

pub(super) async fn run(command: &Diff) -> Result<Exit, Failure> {
    let session = command.address.connect().await?;
    let old = detail(&session, &command.name, Some(&command.old)).await?;
    let new = detail(&session, &command.name, Some(&command.new)).await?;
    session.close().await;
    output::answer(&differences(&old, &new))?;
    Ok(Exit::Done)
}

/// The differences, a line each: `+` came, `-` went, `~` changed.
fn differences(old: &CatalogDetail, new: &CatalogDetail) -> String {
    let mut text = format!("{} {} -> {}\n", old.name, old.version.version, new.version.version);
    let mut section = |title: &str, lines: Vec<String>| {
        if lines.is_empty() {
            let _ = writeln!(text, "{title}: the same");
            return;
        }
        let _ = writeln!(text, "{title}");
        lines.iter().for_each(|line| {
            let _ = writeln!(text, "    {line}");
        });
    };
    section("operations", compare(&by_name(&old.operations), &by_name(&new.operations), changed));
    let formats = |detail: &CatalogDetail| -> BTreeMap<String, Value> {
        let formats = detail.formats.iter();
        formats.map(|format| (format.name.clone(), format.options.clone())).collect()
    };
    section("log lines", compare(&formats(old), &formats(new), schema));
    section("asks", compare(&asks(old), &asks(new), |_, _| Vec::new()));
    text
}

/// The lines that say what came, went and changed.
fn compare<T: PartialEq>(
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
    how: impl Fn(&T, &T) -> Vec<String>,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, before) in old {
        match new.get(name) {
            None => lines.push(format!("- {name}")),
            Some(after) if before != after => {
                let how = how(before, after);
                lines.push(format!("~ {name}"));
                lines.extend(how.into_iter().map(|line| format!("      {line}")));
            }
            Some(_) => {}
        }
    }
    let came = new.keys().filter(|name| !old.contains_key(*name));
    lines.extend(came.map(|name| format!("+ {name}")));
    lines
}

fn by_name(operations: &[Operation]) -> BTreeMap<String, Operation> {
    operations.iter().map(|operation| (operation.name.clone(), operation.clone())).collect()
}

/// How an operation changed.
fn changed(old: &Operation, new: &Operation) -> Vec<String> {
    let mut lines = Vec::new();
    if old.kind != new.kind {
        lines.push(format!("was a {:?}, is a {:?}", old.kind, new.kind).to_lowercase());
    }
    lines.extend(schema(&old.arguments, &new.arguments));
    if old.returns != new.returns {
        lines.push("answers in another form".to_owned());
    }
    if lines.is_empty() {
        lines.push("says something else of itself".to_owned());
    }
    lines
}

/// How the arguments of a schema changed.
fn schema(old: &Value, new: &Value) -> Vec<String> {
    let arguments = |schema: &Value| -> BTreeMap<String, Value> {
        let properties = schema.get("properties").and_then(Value::as_object);
        let properties = properties.into_iter().flatten();
        properties.map(|(name, schema)| (name.clone(), schema.clone())).collect()
    };
    let required = |schema: &Value| -> Vec<String> {
        let names = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
    };
    let mut lines = compare(&arguments(old), &arguments(new), |_, _| Vec::new());
    let (needed, needs) = (required(old), required(new));
    let begins = needs.iter().filter(|name| !needed.contains(name));
    lines.extend(begins.map(|name| format!("needs {name} now")));
    let ends = needed.iter().filter(|name| !needs.contains(name));
    lines.extend(ends.map(|name| format!("does without {name} now")));
    if lines.is_empty() && old != new {
        lines.push("takes its arguments by other rules".to_owned());
    }
    lines
}

/// What a version asks for, and why.
fn asks(detail: &CatalogDetail) -> BTreeMap<String, ()> {
    let manifest = serde_json::from_value::<Manifest>(detail.manifest.clone()).unwrap_or_default();
    let asked = manifest.asks.describe().into_iter();
    asked.map(|(what, reason)| (format!("{what}: {reason}"), ())).collect()
}

#[cfg(test)]
mod tests {
    use drover_api::{CatalogVersion, OperationKind, Timestamp};
    use serde_json::json;

    use super::*;

    fn version(number: &str, operations: Vec<Operation>, manifest: Value) -> CatalogDetail {
        CatalogDetail {
            name: "hello".to_owned(),
            version: CatalogVersion {
                version: number.to_owned(),
                hash: String::new(),
                length: 1,
                signed_by: String::new(),
                pushed_by: String::new(),
                pushed_at: Timestamp(0),
                yanked: None,
            },
            signature: String::new(),
            manifest,
            operations,
            formats: Vec::new(),
        }
    }

    fn operation(name: &str, arguments: Value) -> Operation {
        Operation {
            name: name.to_owned(),
            kind: OperationKind::Task,
            doc: String::new(),
            arguments,
            returns: json!({}),
        }
    }

    #[test]
    fn what_came_went_and_changed_is_told() {
        let greet = |arguments| operation("greet", arguments);
        let old = version(
            "1.0.0",
            vec![
                greet(json!({"properties": {"name": {}, "loud": {}}})),
                operation("wave", json!({})),
            ],
            json!({"format": 1}),
        );
        let new = version(
            "2.0.0",
            vec![
                greet(json!({
                    "properties": {"name": {"type": "string"}, "times": {}},
                    "required": ["times"],
                })),
                operation("bow", json!({})),
            ],
            json!({"format": 1, "asks": {"sysinfo": {"reason": "sees who is there"}}}),
        );
        let expected = "hello 1.0.0 -> 2.0.0\n\
            operations\n    ~ greet\n          - loud\n          ~ name\n          + times\n          \
            needs times now\n    - wave\n    + bow\n\
            log lines: the same\n\
            asks\n    + what the node is made of: sees who is there\n";
        assert_eq!(differences(&old, &new), expected);
        let same = differences(&old, &old);
        assert_eq!(same.matches("the same").count(), 3, "{same}");
    }
}
