//! The `filters` of a request: names with the values that pass.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Outcome;
use crate::engine::answer::Refusal;

/// Names, each with the values of which one must fit.
#[derive(Debug, Default, Clone)]
pub(crate) struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Reads the parameter: `{"name": ["value"]}`, or in the older form
    /// `{"name": {"value": true}}`.
    pub(crate) fn read(text: Option<&str>) -> Outcome<Self> {
        let text = text.unwrap_or_default();
        if text.is_empty() {
            return Ok(Self::default());
        }
        let read: BTreeMap<String, Value> =
            serde_json::from_str(text).map_err(|_| Refusal::internal(not_json(text)))?;
        let mut filters = BTreeMap::new();
        for (name, values) in read {
            let values = match values {
                Value::Array(values) => values
                    .into_iter()
                    .filter_map(|value| Some(value.as_str()?.to_owned()))
                    .collect(),
                Value::Object(values) => values
                    .into_iter()
                    .filter(|(_, wanted)| *wanted != Value::Bool(false))
                    .map(|(value, _)| value)
                    .collect(),
                _ => Vec::new(),
            };
            filters.insert(name, values);
        }
        Ok(Self(filters))
    }

    /// Refuses names that are not `accepted`.
    pub(crate) fn check(self, accepted: &[&str]) -> Outcome<Self> {
        match self.0.keys().find(|name| !accepted.contains(&name.as_str())) {
            None => Ok(self),
            Some(name) => Err(Refusal::bad_request(format!("Invalid filter '{name}'"))),
        }
    }

    pub(crate) fn values(&self, name: &str) -> &[String] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        !self.values(name).is_empty()
    }

    /// Whether one of the values fits, or none is asked for.
    pub(crate) fn any(&self, name: &str, fits: impl Fn(&str) -> bool) -> bool {
        !self.has(name) || self.values(name).iter().any(|value| fits(value))
    }

    /// Whether all values fit.
    pub(crate) fn all(&self, name: &str, fits: impl Fn(&str) -> bool) -> bool {
        self.values(name).iter().all(|value| fits(value))
    }

    /// The one value of a yes-or-no filter.
    pub(crate) fn flag(&self, name: &str) -> Outcome<Option<bool>> {
        match self.values(name) {
            [] => Ok(None),
            [value] if ["1", "true"].contains(&value.as_str()) => Ok(Some(true)),
            [value] if ["0", "false"].contains(&value.as_str()) => Ok(Some(false)),
            values => {
                let text = format!("Invalid filter '{name}=[{}]'", values.join(" "));
                Err(Refusal::bad_request(text))
            }
        }
    }
}

/// Whether `labels` has the label `wanted`, a key or `key=value`.
pub(crate) fn has_label(labels: &Value, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).and_then(Value::as_str) == Some(value),
        None => labels.get(wanted).is_some(),
    }
}

/// The decoder's complaint, for the start of a text; later ones are all the same.
fn not_json(text: &str) -> String {
    match text.chars().next() {
        Some(first) if !"{[\"-0123456789tfn".contains(first) => {
            format!("invalid character '{first}' looking for beginning of value")
        }
        _ => "unexpected EOF".to_owned(),
    }
}
