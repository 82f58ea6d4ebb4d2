//! Why the engine did not do it: stable codes, and the engine's own words.

use drover_sdk::Failure;
use serde::Deserialize;

/// Nobody listens on the engine's socket.
pub(crate) const ENGINE_UNREACHABLE: &str = "engine-unreachable";
/// The engine broke off an answer, or answered what makes no sense.
pub(crate) const ENGINE_BROKEN: &str = "engine-broken";
/// The engine says that the fault is its own.
pub(crate) const ENGINE_FAILED: &str = "engine-failed";
/// The engine is older than what this plugin knows.
pub(crate) const ENGINE_TOO_OLD: &str = "engine-too-old";
/// The node's grants do not allow the request.
pub(crate) const DENIED: &str = "denied";
/// There is no such container, image, volume, network, …
pub(crate) const NOT_FOUND: &str = "not-found";
/// It is in a state in which this cannot be done, or the name is taken.
pub(crate) const CONFLICT: &str = "conflict";
/// The engine does not take the arguments.
pub(crate) const INVALID: &str = "invalid";
/// A registry does not take the credentials.
pub(crate) const UNAUTHORIZED: &str = "unauthorized";
/// The engine refuses it in principle.
pub(crate) const FORBIDDEN: &str = "forbidden";
/// There is more than an answer can hold.
pub(crate) const TOO_LONG: &str = "too-long";

/// Whether the same request may well succeed a while later: the engine is away,
/// or has a problem of its own.
pub(crate) fn may_pass(failure: &Failure) -> bool {
    [ENGINE_UNREACHABLE, ENGINE_BROKEN, ENGINE_FAILED].contains(&failure.code.as_str())
}

/// What the engine answers when it refuses.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

/// The engine's own words in the body of a refusal.
pub(super) fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    match serde_json::from_str::<Refusal>(&text) {
        Ok(refusal) => refusal.message.trim().to_owned(),
        Err(_) => text.trim().to_owned(),
    }
}

/// The failure that a refusal is. `what` completes "cannot …".
pub(super) fn refused(status: u16, words: &str, what: &str) -> Failure {
    let code = code(status, words);
    let words = if words.is_empty() { "it does not say why" } else { words };
    Failure::new(code, format!("cannot {what}: the engine answered with status {status}: {words}"))
}

/// The engine reports what it was told by a registry with status 500.
fn code(status: u16, words: &str) -> &'static str {
    match status {
        400 => INVALID,
        401 => UNAUTHORIZED,
        403 => FORBIDDEN,
        404 => NOT_FOUND,
        409 => CONFLICT,
        _ => message_code(words).unwrap_or(ENGINE_FAILED),
    }
}

/// The code for a failure that the engine has only words for, such as those in
/// the middle of a pull.
pub(crate) fn message_code(words: &str) -> Option<&'static str> {
    let words = words.to_ascii_lowercase();
    let says = |any: &[&str]| any.iter().any(|text| words.contains(text));
    if says(&["unauthorized", "authentication required", "no basic auth", "access denied"]) {
        Some(UNAUTHORIZED)
    } else if says(&["manifest unknown", "not found", "no such image", "does not exist"]) {
        Some(NOT_FOUND)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_code_and_the_engine_has_the_word() {
        for (status, body, expected) in [
            (404, r#"{"message":"No such container: web"}"#, NOT_FOUND),
            (409, r#"{"message":"name is in use"}"#, CONFLICT),
            (400, "bad", INVALID),
            (500, r#"{"message":"oops"}"#, ENGINE_FAILED),
            (500, r#"{"message":"manifest unknown: manifest unknown"}"#, NOT_FOUND),
            (500, r#"{"message":"Head: no basic auth credentials"}"#, UNAUTHORIZED),
            (503, "", ENGINE_FAILED),
        ] {
            let failure = refused(status, &words(body.as_bytes()), "start container web");
            assert_eq!(failure.code, expected, "{status} {body}");
            assert!(failure.message.starts_with("cannot start container web: "), "{failure:?}");
        }
        assert_eq!(words(br#"{"message":"No such container: web\n"}"#), "No such container: web");
    }
}
