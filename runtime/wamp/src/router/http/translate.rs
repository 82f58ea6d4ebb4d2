//! From the JSON of the bridge to WAMP and back.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::client::ApplicationError;
use crate::message::PublishDetails;
use crate::payload::{Payload, PayloadError};

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Call,
    Publish,
}

/// A request to the bridge.
#[derive(Debug)]
pub(super) enum Asked {
    Call { procedure: String, payload: Payload },
    Publish { topic: String, payload: Payload, details: Box<PublishDetails> },
}

/// The body of a request. What is unknown is ignored.
#[derive(Deserialize)]
struct Body<'a> {
    procedure: Option<String>,
    topic: Option<String>,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
    #[serde(borrow)]
    kwargs: Option<&'a RawValue>,
    options: Option<BTreeMap<String, Value>>,
}

impl Service {
    pub(super) fn at(path: &str) -> Option<Self> {
        match path {
            "/call" => Some(Self::Call),
            "/publish" => Some(Self::Publish),
            _ => None,
        }
    }
}

/// Reads a request, or says what is wrong with it.
pub(super) fn request(service: Service, body: &[u8]) -> Result<Asked, String> {
    let body: Body<'_> = serde_json::from_slice(body)
        .map_err(|error| format!("the body is no JSON object as it should be: {error}"))?;
    let (args, kwargs) = (given(body.args, "[]"), given(body.kwargs, "{}"));
    let payload = Payload::from_json(args, kwargs)
        .map_err(|error| format!("`args` is a list and `kwargs` an object: {error}"))?;
    match service {
        Service::Call => {
            let procedure = body.procedure.ok_or("the body has no `procedure`")?;
            Ok(Asked::Call { procedure, payload })
        }
        Service::Publish => {
            let topic = body.topic.ok_or("the body has no `topic`")?;
            let details = Box::new(publish_details(body.options.unwrap_or_default())?);
            Ok(Asked::Publish { topic, payload, details })
        }
    }
}

/// Arguments as they were written. Some languages write an empty map as a
/// list, so that whatever is empty stands for none.
fn given<'a>(part: Option<&'a RawValue>, none: &'static str) -> &'a str {
    match part.map(RawValue::get) {
        None | Some("null" | "[]" | "{}" | "false" | "\"\"") => none,
        Some(written) => written,
    }
}

/// The options of PUBLISH, where null is none, and one name is a list of one.
fn publish_details(options: BTreeMap<String, Value>) -> Result<PublishDetails, String> {
    let options = options.into_iter().filter_map(|(key, value)| match value {
        Value::Null => None,
        Value::Number(_) | Value::String(_) => Some((key, json!([value]))),
        _ => Some((key, value)),
    });
    let details: PublishDetails = serde_json::from_value(Value::Object(options.collect()))
        .map_err(|error| format!("the `options` cannot be used: {error}"))?;
    Ok(PublishDetails { acknowledge: true, ..details })
}

/// The result of a call. A procedure without one answers null.
pub(super) fn result(payload: &Payload) -> Result<String, PayloadError> {
    let (args, kwargs) = payload.to_json()?;
    Ok(match (args.as_str(), kwargs.as_str()) {
        ("[]", "{}") => r#"{"args":[null]}"#.to_owned(),
        ("[]", kwargs) => format!(r#"{{"kwargs":{kwargs}}}"#),
        (args, "{}") => format!(r#"{{"args":{args}}}"#),
        (args, kwargs) => format!(r#"{{"args":{args},"kwargs":{kwargs}}}"#),
    })
}

/// The answer to a publication.
pub(super) fn published(publication: Option<u64>) -> String {
    json!({"id": publication}).to_string()
}

/// An error of the called procedure, or of the router.
pub(super) fn error(error: &ApplicationError) -> Result<String, PayloadError> {
    let (args, kwargs) = error.payload.to_json()?;
    let uri = json!(error.uri);
    Ok(format!(r#"{{"error":{uri},"args":{args},"kwargs":{kwargs}}}"#))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SessionId;

    fn call(body: &str) -> Result<(String, Value, Value), String> {
        match request(Service::Call, body.as_bytes())? {
            Asked::Call { procedure, payload } => {
                Ok((procedure, payload.args().unwrap(), payload.kwargs().unwrap()))
            }
            other @ Asked::Publish { .. } => panic!("{other:?}"),
        }
    }

    fn details(options: &str) -> Result<PublishDetails, String> {
        let body = format!(r#"{{"topic": "a.b", "options": {options}}}"#);
        match request(Service::Publish, body.as_bytes())? {
            Asked::Publish { details, .. } => Ok(*details),
            other @ Asked::Call { .. } => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_call_has_a_name_and_may_have_arguments() {
        for (body, args, kwargs) in [
            (r#"{"procedure": "a.b"}"#, json!([]), json!({})),
            (r#"{"procedure": "a.b", "args": null, "kwargs": null}"#, json!([]), json!({})),
            (r#"{"procedure": "a.b", "args": {}, "kwargs": []}"#, json!([]), json!({})),
            (r#"{"procedure": "a.b", "args": [1, "x"], "other": 1}"#, json!([1, "x"]), json!({})),
            (r#" {"kwargs": {"k": [{}]}, "procedure": "a.b"} "#, json!([]), json!({"k": [{}]})),
        ] {
            assert_eq!(call(body).unwrap(), ("a.b".to_owned(), args, kwargs), "{body}");
        }
    }

    #[test]
    fn what_is_no_call_is_refused_in_words() {
        for (body, words) in [
            ("", "no JSON object"),
            ("[]", "no JSON object"),
            ("{", "no JSON object"),
            (r#"{"procedure": 1}"#, "no JSON object"),
            (r#"{"procedure": "a.b"} x"#, "no JSON object"),
            ("{\"procedure\": \"\u{0}\"}", "no JSON object"),
            (r#"{"topic": "a.b"}"#, "`procedure`"),
            (r#"{"procedure": "a.b", "args": {"x": 1}}"#, "`args`"),
            (r#"{"procedure": "a.b", "args": "x"}"#, "`args`"),
            (r#"{"procedure": "a.b", "kwargs": [1]}"#, "`kwargs`"),
        ] {
            let text = call(body).unwrap_err();
            assert!(text.contains(words), "{body}: {text}");
        }
        assert!(request(Service::Call, b"{\"procedure\": \"\xff\"}").is_err());
        let missing = request(Service::Publish, br#"{"procedure": "a.b"}"#).unwrap_err();
        assert!(missing.contains("`topic`"), "{missing}");
    }

    #[test]
    fn a_publication_is_acknowledged_whatever_its_options_say() {
        let plain = PublishDetails { acknowledge: true, ..PublishDetails::default() };
        assert_eq!(details("{}").unwrap(), plain);
        assert_eq!(details("null").unwrap(), plain);
        let nothing = r#"{"acknowledge": false, "exclude_me": null, "x": 1, "exclude": null}"#;
        assert_eq!(details(nothing).unwrap(), plain);
        let some = details(r#"{"exclude_me": false, "exclude": 7, "eligible_authrole": ["a"]}"#);
        let some = some.unwrap();
        let audience = some.audience.unwrap();
        assert!(!some.exclude_me);
        assert_eq!(audience.exclude, Some(vec![SessionId(7)]));
        assert_eq!(audience.eligible_authrole, Some(vec!["a".to_owned()]));
        assert!(details(r#"{"retain": [1]}"#).unwrap_err().contains("`options`"));
    }

    #[test]
    fn a_result_has_what_there_is() {
        let payload = |args, kwargs| Payload::from_json(args, kwargs).unwrap();
        for (payload, json) in [
            (payload("[]", "{}"), r#"{"args":[null]}"#),
            (payload("[1,\"x\"]", "{}"), r#"{"args":[1,"x"]}"#),
            (payload("[]", r#"{"k":1}"#), r#"{"kwargs":{"k":1}}"#),
            (payload("[1]", r#"{"k":1}"#), r#"{"args":[1],"kwargs":{"k":1}}"#),
        ] {
            assert_eq!(result(&payload).unwrap(), json);
        }
        let failed = ApplicationError::new("a.\"b", "no");
        assert_eq!(error(&failed).unwrap(), r#"{"error":"a.\"b","args":["no"],"kwargs":{}}"#);
    }
}
