//! Conditions on the JSON body of a request.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::glob::Glob;
use super::json::{Json, fold};

/// The longest body that a rule with conditions lets through, in bytes.
pub const BODY_LIMIT: usize = 1 << 20;

/// The longest text that patterns are compared with, in bytes.
const MOST_TEXT: usize = 4 << 10;

/// A condition on all values at one place of a JSON body.
///
/// What is not there, or is null, keeps it. A place that is inside of a text or
/// a number, where the body should have a list or an object, breaks it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Table", into = "Table")]
pub struct BodyCondition {
    at: Place,
    test: Test,
}

impl Eq for BodyCondition {}

/// Where values are: like a JSON pointer, with `*` for any key or element.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    steps: Vec<Step>,
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Each,
    /// Folded.
    Key(String),
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    OneOf(Vec<Value>),
    Matches(Vec<Glob>),
    Empty,
    Within { least: Option<Number>, most: Option<Number> },
}

impl BodyCondition {
    pub(super) fn holds(&self, body: &Json) -> bool {
        holds(&self.at.steps, body, &self.test)
    }

    /// The place, as it was written.
    pub(super) fn place(&self) -> &str {
        &self.at.text
    }
}

fn holds(steps: &[Step], value: &Json, test: &Test) -> bool {
    let Some((step, rest)) = steps.split_first() else { return test.passes(value) };
    match (value, step) {
        (Json::Null, _) => true,
        (Json::List(list), Step::Each) => list.iter().all(|value| holds(rest, value, test)),
        (Json::Object(object), Step::Each) => object.values().all(|value| holds(rest, value, test)),
        (Json::Object(object), Step::Key(key)) => {
            object.get(key).is_none_or(|value| holds(rest, value, test))
        }
        _ => false,
    }
}

impl Test {
    fn passes(&self, value: &Json) -> bool {
        match (self, value) {
            (_, Json::Null) => true,
            (Self::Empty, value) => value.is_empty(),
            (Self::OneOf(allowed), value) => allowed.iter().any(|allowed| is_same(allowed, value)),
            (Self::Matches(patterns), Json::Text(text)) => {
                // What is above a directory is not meant by a pattern for what is in it.
                let climbs = text.contains("/..") || text.contains("../") || text == "..";
                !climbs
                    && text.len() <= MOST_TEXT
                    && patterns.iter().any(|pattern| pattern.matches(text.as_bytes()))
            }
            (Self::Within { least, most }, Json::Number(number)) => {
                least.as_ref().is_none_or(|least| is_at_most(least, number))
                    && most.as_ref().is_none_or(|most| is_at_most(number, most))
            }
            _ => false,
        }
    }
}

fn is_same(allowed: &Value, value: &Json) -> bool {
    match (allowed, value) {
        (Value::Bool(one), Json::Bool(other)) => one == other,
        (Value::String(one), Json::Text(other)) => one == other,
        (Value::Number(one), Json::Number(other)) => {
            is_at_most(one, other) && is_at_most(other, one)
        }
        _ => false,
    }
}

/// Exact between whole numbers.
fn is_at_most(one: &Number, other: &Number) -> bool {
    match (one.as_i128(), other.as_i128()) {
        (Some(one), Some(other)) => one <= other,
        _ => match (one.as_f64(), other.as_f64()) {
            (Some(one), Some(other)) => one <= other,
            _ => false,
        },
    }
}

/// A condition as one writes it.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    one_of: Option<Vec<Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    matches: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    empty: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at_least: Option<Number>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at_most: Option<Number>,
}

impl TryFrom<Table> for BodyCondition {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        let Table { at, one_of, matches, empty, at_least, at_most } = table;
        let at = Place::parse(at)?;
        let numbers = at_least.iter().chain(&at_most);
        let values = one_of.iter().flatten().filter_map(|value| match value {
            Value::Number(number) => Some(number),
            _ => None,
        });
        // TOML has no larger ones, in which the condition may have to be written.
        if numbers.chain(values).any(|number| number.is_u64() && !number.is_i64()) {
            return Err(format!("a number of {at} is larger than {}", i64::MAX));
        }
        let is_ranged = at_least.is_some() || at_most.is_some();
        let test = match (one_of, matches, empty, is_ranged) {
            (Some(values), None, false, false) => {
                let is_plain = |value: &Value| {
                    matches!(value, Value::Bool(_) | Value::Number(_) | Value::String(_))
                };
                if !values.iter().all(is_plain) {
                    return Err(format!("`one_of` of {at} has texts, numbers, `true` and `false`"));
                }
                Test::OneOf(values)
            }
            (None, Some(patterns), false, false) => {
                if patterns.iter().any(|pattern| pattern.len() > MOST_TEXT) {
                    return Err(format!("a pattern of {at} has more than 4 KiB"));
                }
                Test::Matches(patterns.iter().map(|pattern| Glob::new(pattern)).collect())
            }
            (None, None, true, false) => Test::Empty,
            (None, None, false, true) => Test::Within { least: at_least, most: at_most },
            _ => {
                return Err(format!(
                    "say of {at} one of: `one_of`, `matches`, `empty = true`, or `at_least` and `at_most`"
                ));
            }
        };
        Ok(Self { at, test })
    }
}

impl From<BodyCondition> for Table {
    fn from(condition: BodyCondition) -> Self {
        let table = Self { at: condition.at.text, ..Self::default() };
        match condition.test {
            Test::OneOf(values) => Self { one_of: Some(values), ..table },
            Test::Matches(patterns) => {
                let patterns = patterns.iter().map(|pattern| pattern.as_str().to_owned());
                Self { matches: Some(patterns.collect()), ..table }
            }
            Test::Empty => Self { empty: true, ..table },
            Test::Within { least, most } => Self { at_least: least, at_most: most, ..table },
        }
    }
}

impl Place {
    fn parse(text: String) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no place in a JSON body: write it as `/key/*/key`, from the root, \
                 with `~1` for a `/` in a key and `~0` for a `~`"
            )
        };
        if text.is_empty() {
            return Ok(Self { steps: Vec::new(), text });
        }
        let rest = text.strip_prefix('/').ok_or_else(wrong)?;
        let step = |word: &str| {
            if word == "*" {
                return Ok(Step::Each);
            }
            let key = word.replace("~1", "/").replace("~0", "~");
            match word.replace("~1", "").replace("~0", "").contains('~') {
                true => Err(wrong()),
                false => Ok(Step::Key(fold(&key))),
            }
        };
        let steps = rest.split('/').map(step).collect::<Result<_, _>>()?;
        Ok(Self { steps, text })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(text: &str) -> BodyCondition {
        toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn holds(text: &str, body: &str) -> bool {
        condition(text).holds(&Json::parse(body.as_bytes()).unwrap())
    }

    #[test]
    fn a_value_is_absent_or_one_of_those_allowed() {
        let text = "at = \"/HostConfig/Privileged\"\none_of = [false, 0, \"no\"]";
        for (body, is_kept) in [
            ("{}", true),
            ("null", true),
            (r#"{"HostConfig":null}"#, true),
            (r#"{"HostConfig":{}}"#, true),
            (r#"{"HostConfig":{"Privileged":null}}"#, true),
            (r#"{"HostConfig":{"Privileged":false}}"#, true),
            (r#"{"HostConfig":{"Privileged":0.0}}"#, true),
            (r#"{"HostConfig":{"Privileged":"no"}}"#, true),
            (r#"{"HostConfig":{"Privileged":true}}"#, false),
            (r#"{"hostconfig":{"PRIVILEGED":true}}"#, false),
            (r#"{"ho\u0073tConfig":{"Pr\u0069vileged":true}}"#, false),
            (r#"{"ho\u017ftConfig":{"Privileged":true}}"#, false),
            (r#"{"HostConfig":{"Privileged":"No"}}"#, false),
            (r#"{"HostConfig":{"Privileged":[]}}"#, false),
            (r#"{"HostConfig":[]}"#, false),
            (r#"{"HostConfig":"x"}"#, false),
            ("[]", false),
            ("7", false),
        ] {
            assert_eq!(holds(text, body), is_kept, "{body}");
        }
    }

    #[test]
    fn each_element_and_each_value_counts() {
        let text = "at = \"/HostConfig/Binds/*\"\nmatches = [\"/srv/data/**\", \"vol:*\"]";
        for (binds, is_kept) in [
            ("[]", true),
            (r#"["/srv/data/a:/a", "vol:x"]"#, true),
            (r#"["/srv/data/a:/a", "/etc:/etc"]"#, false),
            (r#"["/srv/data/../../etc:/etc"]"#, false),
            (r#"["/srv/data/..:/a"]"#, false),
            (r#"["/srv/data/\u002e\u002e/x:/a"]"#, false),
            (r#"["vol:x/y"]"#, false),
            ("[7]", false),
            (r#"{"0":"/etc:/etc"}"#, false),
            (r#""/etc:/etc""#, false),
            (r#"[["/etc:/etc"]]"#, false),
        ] {
            let body = format!("{{\"HostConfig\":{{\"Binds\":{binds}}}}}");
            assert_eq!(holds(text, &body), is_kept, "{binds}");
        }
        let long = format!("[\"vol:{}\"]", "x".repeat(5_000));
        assert!(!holds("at = \"/*\"\nmatches = [\"vol:*\"]", &long));
    }

    #[test]
    fn some_things_may_only_be_empty() {
        for (body, is_kept) in [
            ("{}", true),
            (r#"{"CapAdd":[]}"#, true),
            (r#"{"CapAdd":""}"#, true),
            (r#"{"CapAdd":{}}"#, true),
            (r#"{"CapAdd":["X"]}"#, false),
            (r#"{"CapAdd":[null]}"#, false),
            (r#"{"CapAdd":0}"#, false),
            (r#"{"CapAdd":false}"#, false),
        ] {
            assert_eq!(holds("at = \"/CapAdd\"\nempty = true", body), is_kept, "{body}");
        }
        assert!(holds("at = \"\"\nempty = true", "{}") && !holds("at = \"\"\nempty = true", "[1]"));
    }

    #[test]
    fn numbers_stay_within_their_bounds_exactly() {
        let text = "at = \"/m\"\nat_least = 1\nat_most = 9007199254740992";
        for (number, is_kept) in [
            ("1", true),
            ("9007199254740992", true),
            ("9007199254740993", false),
            ("18446744073709551615", false),
            ("99999999999999999999999", false),
            ("0", false),
            ("-1", false),
            ("-9223372036854775809", false),
            ("1e300", false),
            ("1.5", true),
            ("\"1\"", false),
            ("true", false),
            ("[1]", false),
        ] {
            assert_eq!(holds(text, &format!("{{\"m\":{number}}}")), is_kept, "{number}");
        }
    }

    #[test]
    fn keys_may_have_slashes_and_tildes() {
        let text = "at = \"/a~1b/~0c\"\nempty = true";
        assert!(!holds(text, r#"{"a/b":{"~c":1}}"#));
        assert!(holds(text, r#"{"a":{"b":{"~c":1}}}"#));
    }

    #[test]
    fn every_condition_can_be_written_as_toml() {
        let json = |condition| format!("{{\"at\":\"/a\",{condition}}}");
        for text in [json("\"at_most\":1e300"), json("\"one_of\":[-1,\"\\u001b\",true]")] {
            let condition: BodyCondition = serde_json::from_str(&text).unwrap();
            let toml = toml::Value::try_from(&condition).unwrap();
            assert_eq!(toml.try_into::<BodyCondition>().unwrap(), condition);
        }
        for text in
            [json("\"at_most\":9223372036854775808"), json("\"one_of\":[9223372036854775808]")]
        {
            assert!(serde_json::from_str::<BodyCondition>(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_condition_says_one_thing() {
        for (text, words) in [
            ("at = \"/a\"", "one of"),
            ("at = \"/a\"\nempty = false", "one of"),
            ("at = \"/a\"\nempty = true\nat_most = 1", "one of"),
            ("at = \"a\"\nempty = true", "no place"),
            ("at = \"/a~2\"\nempty = true", "no place"),
            ("at = \"/a\"\none_of = [[1]]", "one_of"),
            ("at = \"/a\"\nat_most = \"1\"", "number"),
            ("at = \"/a\"\nis = 1", "unknown field"),
            ("empty = true", "`at`"),
        ] {
            let error = toml::from_str::<BodyCondition>(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
