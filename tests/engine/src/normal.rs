//! Answers without what differs between any two engines: ids, times, sizes,
//! addresses.

use regex::Regex;
use serde_json::{Map, Value, json};

/// Fields whose number is another one each time.
const NUMBERS: [&str; 11] = [
    "Created",
    "NFd",
    "NGoroutines",
    "Pid",
    "Size",
    "SizeRootFs",
    "SizeRw",
    "SpaceReclaimed",
    "VirtualSize",
    "time",
    "timeNano",
];

/// Fields of which only the presence counts: the real engine tells what an
/// intermediate container was, or where its files are.
const OPAQUE: [&str; 6] =
    ["Container", "ContainerConfig", "GraphDriver", "History", "mode", "percpu_usage"];

/// What the real engine warns of because of how it is started.
const WARNING: &str = "IPv4 forwarding is disabled. Networking will not work.";

/// Remembers the ids of one story, so that the same id has the same name in it.
pub(crate) struct Normal {
    ids: Vec<String>,
    id: Regex,
    time: Regex,
    address: Regex,
    mac: Regex,
    path: Regex,
    span: Regex,
}

impl Normal {
    pub(crate) fn new() -> Self {
        let regex = |text| Regex::new(text).unwrap();
        Self {
            ids: Vec::new(),
            id: regex(r"\b(sha256:)?([0-9a-f]{64}|[0-9a-f]{12})\b"),
            time: regex(r"[12]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"),
            address: regex(r"\b172\.\d+\.\d+\.\d+\b"),
            mac: regex(r"02:42(:[0-9a-f]{2}){4}"),
            span: regex(r"Less than a second|1 second|\d+ seconds"),
            path: regex(r"(/[\w.-]+)*/(data|exec|docker)/[\w./-]+"),
        }
    }

    /// The text with names for what differs.
    pub(crate) fn text(&mut self, text: &str) -> String {
        let text = self.span.replace_all(text, "<span>");
        let text = self.path.replace_all(&text, "<path>");
        let text = self.time.replace_all(&text, "<time>").into_owned();
        let text = self.mac.replace_all(&text, "<mac>").into_owned();
        let text = self.address.replace_all(&text, "<address>").into_owned();
        let mut named = String::new();
        let mut end = 0;
        for found in self.id.captures_iter(&text) {
            let (whole, digits) = (found.get(0).unwrap(), found.get(2).unwrap().as_str());
            named.push_str(&text[end..whole.start()]);
            let short = if digits.len() == 12 { "short " } else { "" };
            let number = number(&mut self.ids, digits);
            named.push_str(&format!("<{short}id {number}>"));
            end = whole.end();
        }
        named + &text[end..]
    }

    pub(crate) fn json(&mut self, value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| {
                    let known = self.field(name, value);
                    (self.text(name), known)
                });
                Value::Object(fields.collect::<Map<_, _>>())
            }
            Value::Array(values) => values
                .iter()
                .filter(|value| *value != WARNING)
                .map(|value| self.json(value))
                .collect(),
            Value::String(text) => json!(self.text(text)),
            other => other.clone(),
        }
    }

    fn field(&mut self, name: &str, value: &Value) -> Value {
        if OPAQUE.contains(&name) {
            return json!("<opaque>");
        }
        if NUMBERS.contains(&name) && value.is_number() {
            return if value == 0 { json!(0) } else { json!("<number>") };
        }
        if name == "Mounts"
            && let Value::Array(mounts) = value
        {
            return self.json(&sorted_mounts(mounts));
        }
        self.json(value)
    }
}

/// What is mounted in a container, by its place: the real engine tells it in the
/// order of a hash table. What was asked for has no `Destination` and stays as it is.
fn sorted_mounts(mounts: &[Value]) -> Value {
    let mut mounts = mounts.to_vec();
    mounts.sort_by_key(|mount| mount["Destination"].to_string());
    mounts.into()
}

/// Which id of the story this is; one may be the beginning of the other.
fn number(ids: &mut Vec<String>, digits: &str) -> usize {
    let known = ids.iter().position(|id| id.starts_with(digits) || digits.starts_with(id));
    known.unwrap_or_else(|| {
        ids.push(digits.to_owned());
        ids.len() - 1
    })
}

/// A value with the kinds of its parts instead of their content, and of each list
/// the first part.
pub(crate) fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), shape(value)));
            Value::Object(fields.collect())
        }
        Value::Array(values) => values.iter().take(1).map(shape).collect(),
        Value::String(_) => json!("<text>"),
        Value::Number(_) => json!("<number>"),
        Value::Bool(_) => json!("<flag>"),
        Value::Null => Value::Null,
    }
}
