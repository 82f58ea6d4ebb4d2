//! Cases: an operation, its arguments, and what has to come of it.

use std::path::Path;

use drover_api::{JobResult, JobState};
use drover_grants::PluginGrants;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::diff::diff;

/// What stands for the project's folder in a file of cases.
const PROJECT: &str = "${project}";

/// A file of cases, which run one after the other.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cases {
    /// What the plugin is granted meanwhile.
    #[serde(default)]
    pub(super) grants: PluginGrants,
    /// The cases.
    #[serde(default, rename = "case")]
    pub(super) cases: Vec<Case>,
}

/// One run of an operation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    /// What it shows; its number in the file if it says nothing.
    #[serde(default)]
    pub(super) name: String,
    /// The operation, without the plugin's name.
    pub(super) operation: String,
    #[serde(default)]
    pub(super) args: Map<String, Value>,
    /// What the plugin gets beside the arguments.
    #[serde(default)]
    pub(super) data: String,
    /// The whole answer.
    answer: Option<Value>,
    /// A part of the answer: of objects some fields, everything else as it is.
    like: Option<Value>,
    /// The error, if it has to fail.
    error: Option<WantedError>,
    /// Texts that have to be in its log, each in another record, in this order.
    #[serde(default)]
    log: Vec<String>,
}

/// An error as it has to be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedError {
    /// The plugin's own code, or the host's.
    code: Option<String>,
    /// A part of the message.
    message: Option<String>,
}

impl Cases {
    /// Reads a file of cases of the project in `dir`.
    ///
    /// # Errors
    ///
    /// If it is wrong; says where.
    pub(super) fn parse(text: &str, is_json: bool, dir: &Path) -> Result<Self, String> {
        // A path as it would be written within quotes, in both languages.
        let dir = Value::from(dir.to_string_lossy()).to_string();
        let text = text.replace(PROJECT, &dir[1..dir.len() - 1]);
        let mut cases: Self = match is_json {
            true => serde_json::from_str(&text).map_err(|error| error.to_string())?,
            false => toml::from_str(&text).map_err(|error| error.to_string())?,
        };
        for (index, case) in cases.cases.iter_mut().enumerate() {
            if case.name.is_empty() {
                case.name = format!("case {}", index + 1);
            }
            let wanted = [case.answer.is_some(), case.like.is_some(), case.error.is_some()];
            if wanted.iter().filter(|&&is_there| is_there).count() > 1 {
                return Err(format!("{}: say one of `answer`, `like` and `error`", case.name));
            }
        }
        Ok(cases)
    }
}

impl Case {
    /// What is wrong with a result; none if it is as it has to be.
    pub(super) fn judge(&self, result: &JobResult) -> Option<String> {
        self.judge_answer(result).or_else(|| self.judge_log(result))
    }

    fn judge_answer(&self, result: &JobResult) -> Option<String> {
        let failed = match &result.error {
            _ if result.state == JobState::Ok => None,
            Some(error) => Some(format!("it failed ({}): {}", error.code, error.message)),
            None => Some("it failed".to_owned()),
        };
        match (&self.error, failed) {
            (Some(wanted), Some(failed)) => (!wanted.is(result)).then_some(failed),
            (Some(_), None) => {
                Some(format!("it did not fail; its answer is\n{}", pretty(&result.data)))
            }
            (None, Some(failed)) => Some(failed),
            (None, None) => match (&self.answer, &self.like) {
                (Some(wanted), _) => differs(wanted, &result.data),
                (None, Some(like)) => differs(like, &alike(like, &result.data)),
                (None, None) => None,
            },
        }
    }

    fn judge_log(&self, result: &JobResult) -> Option<String> {
        let mut records = result.records.iter();
        let missing = self.log.iter().find(|text| !records.any(|r| r.data.contains(*text)))?;
        let said: Vec<_> = result.records.iter().map(|record| record.data.as_str()).collect();
        Some(format!("{missing:?} is not in its log, or not in this order:\n{}", said.join("\n")))
    }
}

impl WantedError {
    fn is(&self, result: &JobResult) -> bool {
        let Some(error) = &result.error else { return false };
        let own = error.detail.get("code").and_then(Value::as_str);
        let code = error.code.to_string();
        self.code.as_ref().is_none_or(|wanted| own == Some(wanted) || code == *wanted)
            && self.message.as_ref().is_none_or(|wanted| error.message.contains(wanted))
    }
}

fn differs(wanted: &Value, answer: &Value) -> Option<String> {
    (wanted != answer).then(|| {
        let lines = diff(&pretty(wanted), &pretty(answer));
        format!("its answer is another (- wanted, + answered)\n{lines}")
    })
}

/// As much of an answer as `wanted` speaks of.
fn alike(wanted: &Value, answer: &Value) -> Value {
    match (wanted, answer) {
        (Value::Object(wanted), Value::Object(answer)) => {
            let known = answer
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), alike(wanted.get(name)?, value))));
            Value::Object(known.collect())
        }
        (Value::Array(wanted), Value::Array(answer)) if wanted.len() == answer.len() => {
            wanted.iter().zip(answer).map(|(wanted, answer)| alike(wanted, answer)).collect()
        }
        _ => answer.clone(),
    }
}

fn pretty(value: &Value) -> String {
    // Only maps with keys that are no text cannot be written.
    serde_json::to_string_pretty(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use drover_api::{Command, ErrorCode, JobError, JobId, Level, Record, Timestamp};
    use serde_json::json;

    use super::*;

    fn parse(text: &str) -> Result<Cases, String> {
        Cases::parse(text, false, Path::new("/a \"b\""))
    }

    fn case(text: &str) -> Case {
        parse(&format!("[[case]]\noperation = \"x\"\n{text}")).unwrap().cases.remove(0)
    }

    fn result(data: Value, error: Option<JobError>) -> JobResult {
        let command = Command::new("p.x");
        let state = if error.is_some() { JobState::Error } else { JobState::Ok };
        let record = |text: &str| Record {
            time: Timestamp::now(),
            level: Level::TEXT,
            data: text.to_owned(),
        };
        JobResult {
            id: JobId::generate(),
            gid: drover_api::Gid(0),
            nid: drover_api::Nid(0),
            cmd: command.cmd,
            args: command.args,
            state,
            data: data.into(),
            error,
            streams: Default::default(),
            exit: None,
            critical: None,
            records: vec![record("began"), record("ended well")],
            starttime: Timestamp::now(),
            time: 0.0,
        }
    }

    fn own(code: &str) -> JobError {
        JobError::new(ErrorCode::Failed, "there is no disk").with_detail(json!({ "code": code }))
    }

    #[test]
    fn an_answer_is_compared_as_a_whole_and_shown_where_it_differs() {
        let case = case("answer = { a = 1, b = 2 }");
        assert_eq!(case.judge(&result(json!({ "b": 2, "a": 1 }), None)), None);
        let said = case.judge(&result(json!({ "a": 1, "b": 3 }), None)).unwrap();
        assert!(said.contains("-   \"b\": 2") && said.contains("+   \"b\": 3"), "{said}");
    }

    #[test]
    fn what_is_like_it_may_have_more() {
        let case = case("like = { a = { b = 1 }, list = [{ c = 1 }, { c = 2 }] }");
        let list = json!([{ "c": 1, "d": 0 }, { "c": 2 }]);
        let right = json!({ "a": { "b": 1, "x": 0 }, "y": 0, "list": list });
        assert_eq!(case.judge(&result(right, None)), None);
        assert!(case.judge(&result(json!({ "a": { "b": 1 } }), None)).is_some());
    }

    #[test]
    fn an_error_is_known_by_its_code_and_by_words_of_it() {
        let right = case("error = { code = \"no-disk\", message = \"no disk\" }");
        assert_eq!(right.judge(&result(Value::Null, Some(own("no-disk")))), None);
        assert!(right.judge(&result(Value::Null, Some(own("other")))).is_some());
        assert!(right.judge(&result(json!(1), None)).unwrap().contains("did not fail"));
        let of_host = case("error = { code = \"failed\" }");
        assert_eq!(of_host.judge(&result(Value::Null, Some(own("no-disk")))), None);
        let wanted_none = case("answer = 1").judge(&result(Value::Null, Some(own("x")))).unwrap();
        assert!(wanted_none.contains("there is no disk"), "{wanted_none}");
    }

    #[test]
    fn records_have_to_be_there_in_their_order() {
        let fine = result(json!(1), None);
        assert_eq!(case("log = [\"began\", \"ended\"]").judge(&fine), None);
        assert!(case("log = [\"ended\", \"began\"]").judge(&fine).is_some());
    }

    #[test]
    fn a_wrong_file_is_told_with_its_line() {
        for (text, words) in [
            ("[[case]]\nargs = {}", "operation"),
            ("[[case]]\noperation = \"x\"\nanswr = 1", "line 3"),
            ("[grants]\nall = true", "line 2"),
            ("[[case]]\noperation = \"x\"\nanswer = 1\nlike = 1", "one of"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn the_projects_folder_can_be_named_and_json_is_as_good() {
        let text = "[[case]]\noperation = \"x\"\nargs = { path = \"${project}/f\" }";
        assert_eq!(parse(text).unwrap().cases[0].args["path"], "/a \"b\"/f");
        let json = r#"{"case": [{"operation": "x", "answer": null}]}"#;
        assert_eq!(Cases::parse(json, true, Path::new("/")).unwrap().cases[0].name, "case 1");
    }
}
