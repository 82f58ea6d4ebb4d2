//! Takes typed values out of a map of arguments; what is left is unknown.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value};

use super::SpecError;
use crate::spec::amount;

/// The characters of a foreign text that an error repeats.
const SHOWN: usize = 60;

/// Arguments, and which of them have been asked for.
pub(super) struct Arguments<'a> {
    values: &'a Map<String, Value>,
    /// What the keys in errors begin with.
    prefix: &'static str,
    asked: BTreeSet<&'static str>,
    default_name: Option<String>,
}

impl<'a> Arguments<'a> {
    pub(super) fn new(values: &'a Map<String, Value>) -> Self {
        Self { values, prefix: "", asked: BTreeSet::new(), default_name: None }
    }

    /// What the job is called if the caller does not say.
    pub(super) fn default_name(&mut self, name: String) {
        self.default_name = Some(name);
    }

    /// The value of `key`; a null counts as nothing.
    pub(super) fn take(&mut self, key: &'static str) -> Option<&'a Value> {
        self.asked.insert(key);
        self.values.get(key).filter(|value| !value.is_null())
    }

    /// Any text without NUL.
    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<String>, SpecError> {
        let path = self.path(key);
        self.take(key).map(|value| text(&path, value)).transpose()
    }

    /// A text that is not empty.
    pub(super) fn word(&mut self, key: &'static str) -> Result<Option<String>, SpecError> {
        match self.text(key)? {
            Some(text) if text.is_empty() => {
                Err(SpecError::new(self.path(key), "is empty: write it, or leave it out"))
            }
            other => Ok(other),
        }
    }

    /// A text that is not empty, or a number in its place.
    pub(super) fn word_or_number(
        &mut self,
        key: &'static str,
    ) -> Result<Option<String>, SpecError> {
        match self.take(key) {
            Some(Value::Number(number)) if number.is_u64() => Ok(Some(number.to_string())),
            _ => self.word(key),
        }
    }

    /// A set of levels, which the agent parses: a text or one number.
    pub(super) fn level_set(&mut self, key: &'static str) -> Result<Option<String>, SpecError> {
        self.word_or_number(key)
    }

    pub(super) fn words(&mut self, key: &'static str) -> Result<Option<Vec<String>>, SpecError> {
        let path = self.path(key);
        self.take(key).map(|value| words(&path, value)).transpose()
    }

    pub(super) fn time(&mut self, key: &'static str) -> Result<Option<Duration>, SpecError> {
        self.parsed(key, amount::time, amount::TIME_RULE)
    }

    pub(super) fn size(&mut self, key: &'static str) -> Result<Option<u64>, SpecError> {
        self.parsed(key, amount::size, amount::SIZE_RULE)
    }

    pub(super) fn nice(&mut self, key: &'static str) -> Result<Option<i32>, SpecError> {
        let nice = |value: &Value| {
            value.as_i64().filter(|nice| (-20..=19).contains(nice))?.try_into().ok()
        };
        self.parsed(key, nice, "a whole number from -20 to 19")
    }

    pub(super) fn count(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, SpecError> {
        if self.is_minus_one(key) && self.asked.contains(key) {
            return Ok(None);
        }
        let rule = format!("a whole number from {} to {}", range.start(), range.end());
        self.parsed(key, |value| value.as_u64().filter(|count| range.contains(count)), &rule)
    }

    /// Whether the value is -1, which then counts as taken.
    pub(super) fn take_if_minus_one(&mut self, key: &'static str) -> bool {
        let is_minus_one = self.is_minus_one(key);
        if is_minus_one {
            self.asked.insert(key);
        }
        is_minus_one
    }

    fn is_minus_one(&self, key: &str) -> bool {
        match self.values.get(key) {
            Some(Value::Number(number)) => number.as_f64() == Some(-1.0),
            Some(Value::String(text)) => text.trim() == "-1",
            _ => false,
        }
    }

    /// One of a few words; the first if nothing is said.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Result<T, SpecError> {
        let value = self.take(key);
        let found = match value {
            None => choices.first(),
            Some(value) => choices.iter().find(|(word, _)| value.as_str() == Some(word)),
        };
        let rule = || {
            let mut words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            words.sort_unstable();
            words.join(" or ")
        };
        found
            .map(|(_, choice)| *choice)
            .ok_or_else(|| refused(&self.path(key), value.unwrap_or(&Value::Null), &rule()))
    }

    /// An object of texts, or a list of `NAME=value`.
    pub(super) fn variables(
        &mut self,
        key: &'static str,
    ) -> Result<BTreeMap<String, String>, SpecError> {
        let pairs = match self.take(key) {
            None => Vec::new(),
            Some(Value::Object(map)) => map
                .iter()
                .map(|(name, value)| Ok((name.clone(), word(&format!("{key}.{name}"), value)?)))
                .collect::<Result<_, SpecError>>()?,
            Some(list @ Value::Array(_)) => words(key, list)?
                .into_iter()
                .enumerate()
                .map(|(index, item)| {
                    let pair = item.split_once('=').ok_or_else(|| {
                        SpecError::new(format!("{key}[{index}]"), "has no `=`: write NAME=value")
                    })?;
                    Ok((pair.0.to_owned(), pair.1.to_owned()))
                })
                .collect::<Result<_, SpecError>>()?,
            Some(other) => {
                let rule = "an object of names and values, or a list of \"NAME=value\"";
                return Err(refused(key, other, rule));
            }
        };
        let is_bad = |name: &str| name.is_empty() || name.contains(['=', '\0']);
        match pairs.iter().find(|(name, _)| is_bad(name)) {
            Some((name, _)) => Err(SpecError::new(
                key,
                format!("{name:?} is no name of a variable: it may not be empty or have `=` in it"),
            )),
            None => Ok(pairs.into_iter().collect()),
        }
    }

    /// The name of the job: what the caller says, else what fits the program.
    pub(super) fn name(&mut self, cmd: &str) -> Result<String, SpecError> {
        if let Some(name) = self.text("name")? {
            return Ok(name);
        }
        let file = || cmd.rsplit('/').next().unwrap_or(cmd).to_owned();
        Ok(self.default_name.take().unwrap_or_else(file))
    }

    pub(super) fn object(&mut self, key: &'static str) -> Result<Option<Arguments<'a>>, SpecError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Object(values)) => Ok(Some(Self { prefix: key, ..Arguments::new(values) })),
            Some(other) => Err(refused(&self.path(key), other, "an object")),
        }
    }

    /// Refuses the first argument that nobody has asked for.
    pub(super) fn refuse_the_rest(self) -> Result<(), SpecError> {
        let Some(key) = self.values.keys().find(|key| !self.asked.contains(key.as_str())) else {
            return Ok(());
        };
        let known: Vec<_> = self.asked.iter().copied().collect();
        let shown: String = key.chars().take(SHOWN).collect();
        let problem = format!("is unknown: leave it out, or use one of {}", known.join(", "));
        Err(SpecError::new(self.path(&shown), problem))
    }

    fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Value) -> Option<T>,
        rule: &str,
    ) -> Result<Option<T>, SpecError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        parse(value).map(Some).ok_or_else(|| refused(&self.path(key), value, rule))
    }

    fn path(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}.{key}", self.prefix) }
    }
}

/// A list of texts and numbers, as texts.
pub(super) fn words(key: &str, value: &Value) -> Result<Vec<String>, SpecError> {
    let Value::Array(items) = value else {
        return Err(refused(key, value, "a list of texts"));
    };
    let items = items.iter().enumerate();
    items.map(|(index, item)| word(&format!("{key}[{index}]"), item)).collect()
}

/// A text, or a number or a truth value as text.
fn word(key: &str, value: &Value) -> Result<String, SpecError> {
    match value {
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => text(key, value),
    }
}

fn text(key: &str, value: &Value) -> Result<String, SpecError> {
    match value {
        Value::String(text) if !text.contains('\0') => Ok(text.clone()),
        _ => Err(refused(key, value, "a text without NUL characters")),
    }
}

/// What the program itself is given, which can be secret.
const GIVEN: [&str; 4] = ["args", "data", "env", "input"];

/// The refusal of a value that has to be something else.
pub(super) fn refused(key: &str, value: &Value, rule: &str) -> SpecError {
    let is_given = key.split(['.', '[']).next().is_some_and(|first| GIVEN.contains(&first));
    if is_given {
        return SpecError::new(key, format!("must be {rule}"));
    }
    let mut shown: String = value.to_string().chars().take(SHOWN).collect();
    if shown.chars().count() == SHOWN {
        shown.push('…');
    }
    SpecError::new(key, format!("must be {rule}, not {shown}"))
}
