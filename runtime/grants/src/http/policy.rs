//! Whether a request may be sent.

use std::sync::Arc;

use super::body::{BODY_LIMIT, BodyCondition};
use super::json::Json;
use super::path::RequestPath;
use super::rule::HttpRule;
use super::{HttpTarget, Scheme};

/// One place that a plugin may send requests to, and which. A request has to
/// fit one rule of those that were asked for and one of those granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAllowance {
    /// Where requests go.
    pub target: Arc<HttpTarget>,
    pub(crate) asked: Arc<[HttpRule]>,
    pub(crate) granted: Arc<[HttpRule]>,
}

/// What a request is judged by before its body is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpRequest<'a> {
    /// The method, which is in capitals if it is one of the usual.
    pub method: &'a str,
    /// The path, as it is sent.
    pub path: &'a str,
    /// The query, as it is sent, without its `?`.
    pub query: Option<&'a str>,
    /// Whether the connection is to become a stream of bytes.
    pub is_upgrade: bool,
}

/// What the body of a request has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyRule {
    /// The body has to keep one of each.
    alternatives: Vec<Vec<Arc<[BodyCondition]>>>,
}

/// Why a request is not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpDenial {
    /// What is checked here might not be what is understood there.
    #[error("its path is ambiguous: {0}")]
    Ambiguous(String),
    /// The plugin did not say that it sends such requests.
    #[error("its manifest does not ask for it")]
    NotAsked,
    /// The admin does not allow such requests.
    #[error("no rule of its grants allows it")]
    NotGranted,
    /// The body cannot be judged.
    #[error("its body cannot be checked: {0}")]
    Body(String),
    /// The body is what no rule allows.
    #[error("no rule of its grants allows what its body has at `{0}`")]
    Condition(String),
}

impl HttpAllowance {
    /// Whether it is about the place that a URL with this scheme and authority
    /// names.
    #[must_use]
    pub fn is_at(&self, scheme: Scheme, authority: &str) -> bool {
        let HttpTarget { authority: own, place, .. } = &*self.target;
        place.scheme() == scheme && own.is_named(authority, scheme)
    }

    /// Judges a request. If the answer has a rule for the body, that has to
    /// pass it, before anything is sent.
    ///
    /// # Errors
    ///
    /// If the request may not be sent, whatever its body is.
    pub fn check(&self, request: &HttpRequest<'_>) -> Result<Option<BodyRule>, HttpDenial> {
        let path = RequestPath::parse(request.path)
            .map_err(|error| HttpDenial::Ambiguous(error.to_string()))?;
        let asked = fitting(&self.asked, request, &path).ok_or(HttpDenial::NotAsked)?;
        let granted = fitting(&self.granted, request, &path).ok_or(HttpDenial::NotGranted)?;
        let mut alternatives = vec![asked, granted];
        alternatives.retain(|alternatives| !alternatives.is_empty());
        Ok((!alternatives.is_empty()).then_some(BodyRule { alternatives }))
    }
}

/// The conditions of each rule that fits; empty if there is a rule without any.
fn fitting(
    rules: &[HttpRule],
    request: &HttpRequest<'_>,
    path: &RequestPath<'_>,
) -> Option<Vec<Arc<[BodyCondition]>>> {
    let mut alternatives = None;
    for rule in rules.iter().filter(|rule| rule.fits(request, path)) {
        if rule.body.is_empty() {
            return Some(Vec::new());
        }
        alternatives.get_or_insert_with(Vec::new).push(rule.body.clone());
    }
    alternatives
}

impl BodyRule {
    /// Judges a whole body, of which there are at most [`BODY_LIMIT`] bytes.
    /// One that is empty has nothing in it that could be wrong.
    ///
    /// # Errors
    ///
    /// If it is too long, no JSON, ambiguous, or breaks a condition.
    pub fn check(&self, body: &[u8]) -> Result<(), HttpDenial> {
        if body.len() > BODY_LIMIT {
            return Err(HttpDenial::Body(format!("it has more than {BODY_LIMIT} bytes")));
        }
        let body = match body.is_empty() {
            true => Json::Null,
            false => Json::parse(body).map_err(|error| {
                HttpDenial::Body(format!("it is no JSON with each key once: {error}"))
            })?,
        };
        self.alternatives.iter().try_for_each(|alternatives| one_of(alternatives, &body))
    }
}

/// Errs with the first broken condition of the last alternative.
fn one_of(alternatives: &[Arc<[BodyCondition]>], body: &Json) -> Result<(), HttpDenial> {
    let mut answer = Ok(());
    for conditions in alternatives {
        match conditions.iter().find(|condition| !condition.holds(body)) {
            None => return Ok(()),
            Some(broken) => answer = Err(HttpDenial::Condition(broken.place().to_owned())),
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allowance::Allowance;
    use crate::decide::{Decision, decide};
    use crate::grant::GrantsFile;
    use crate::load::Grants;
    use crate::manifest::Manifest;

    const DOCKER: &str = r#"
http.docker = { socket = "/var/run/docker.sock", allow = [
    "GET|HEAD /**",
    { request = "POST /*/containers/create", query = ["name"], body = [
        { at = "/HostConfig/Privileged", one_of = [false] },
        { at = "/HostConfig/Binds/*", matches = ["/srv/data/**"] },
        { at = "/HostConfig/CapAdd", empty = true },
        { at = "/HostConfig/Memory", at_least = 1, at_most = 1073741824 },
    ] },
    { request = "POST /*/exec/*/start", upgrade = true },
] }
"#;

    fn allowance(asked: &str, granted: &str) -> Allowance {
        let asks =
            format!("[[asks.http]]\nauthority = \"docker\"\nallow = [{asked}]\nreason = \"r\"");
        let asks = Manifest::from_toml(&asks).unwrap().asks;
        let granted = GrantsFile::parse(&format!("[p]\n{granted}")).unwrap();
        match decide("p", &asks, &Grants::of_file(granted)) {
            Decision::Allowed { allowance, .. } => allowance,
            Decision::Missing(missing) => panic!("{missing}"),
        }
    }

    fn all() -> Allowance {
        allowance("{ request = \"* /**\", upgrade = true }", DOCKER)
    }

    fn judge(
        allowance: &Allowance,
        method: &str,
        path: &str,
        body: &str,
    ) -> Result<(), HttpDenial> {
        let docker = &allowance.http[0];
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        let request = HttpRequest { method, path, query, is_upgrade: false };
        match docker.check(&request)? {
            Some(rule) => rule.check(body.as_bytes()),
            None => Ok(()),
        }
    }

    #[test]
    fn a_place_is_found_by_the_scheme_and_authority_of_the_url() {
        let docker = &all().http[0];
        assert!(docker.is_at(Scheme::Http, "docker:80"));
        assert!(!docker.is_at(Scheme::Https, "docker"));
        assert!(!docker.is_at(Scheme::Http, "podman"));
    }

    #[test]
    fn requests_need_a_rule() {
        for (method, path, is_allowed) in [
            ("GET", "/v1.41/info", true),
            ("HEAD", "/_ping", true),
            ("POST", "/v1.41/containers/x/start", false),
            ("DELETE", "/v1.41/containers/x", false),
            ("GET", "/v1.41/../info", false),
            ("get", "/v1.41/info", false),
            ("POST", "/v1.41/containers/create", true),
            ("POST", "/v1.41/containers/create?name=x", true),
            ("POST", "/v1.41/containers/create?platform=x", false),
            ("POST", "/containers/create", false),
        ] {
            assert_eq!(judge(&all(), method, path, "{}").is_ok(), is_allowed, "{method} {path}");
        }
    }

    #[test]
    fn a_body_keeps_all_conditions_of_a_rule() {
        let create = |body: &str| judge(&all(), "POST", "/v1.41/containers/create", body);
        for body in ["", "{}", r#"{"Image":"x","HostConfig":{"Memory":1000,"Binds":null}}"#] {
            assert_eq!(create(body), Ok(()), "{body}");
        }
        for (body, place) in [
            (r#"{"HostConfig":{"Privileged":true}}"#, "/HostConfig/Privileged"),
            (r#"{"HOSTCONFIG":{"binds":["/:/host"]}}"#, "/HostConfig/Binds/*"),
            (r#"{"HostConfig":{"CapAdd":["ALL"]}}"#, "/HostConfig/CapAdd"),
            (r#"{"HostConfig":{"Memory":0}}"#, "/HostConfig/Memory"),
        ] {
            assert_eq!(create(body), Err(HttpDenial::Condition(place.to_owned())), "{body}");
        }
        for body in ["x", "{\"a\":1,\"A\":2}", "{}{}", &" ".repeat(BODY_LIMIT + 1)] {
            assert!(matches!(create(body), Err(HttpDenial::Body(_))));
        }
    }

    #[test]
    fn a_stream_of_bytes_needs_a_rule_that_says_so() {
        let all = all();
        let docker = &all.http[0];
        for (method, path, is_allowed) in
            [("GET", "/info", false), ("POST", "/v1/exec/7/start", true)]
        {
            let request = HttpRequest { method, path, query: None, is_upgrade: true };
            assert_eq!(docker.check(&request).is_ok(), is_allowed, "{path}");
        }
    }

    #[test]
    fn what_was_not_asked_for_is_denied_although_it_is_granted() {
        let some = allowance("\"GET /v1.41/**\"", DOCKER);
        assert_eq!(judge(&some, "GET", "/v1.41/info", ""), Ok(()));
        assert_eq!(judge(&some, "GET", "/info", ""), Err(HttpDenial::NotAsked));
        let create = judge(&some, "POST", "/v1.41/containers/create", "{}");
        assert_eq!(create, Err(HttpDenial::NotAsked));
    }

    #[test]
    fn of_several_rules_one_is_enough() {
        let grant = "http.docker = { socket = \"/s\", allow = [\
                     { request = \"POST /a\", body = [{ at = \"/x\", one_of = [1] }] },\
                     { request = \"POST /**\", body = [{ at = \"/x\", one_of = [2] }] }] }";
        let both = allowance("\"* /**\"", grant);
        assert!(judge(&both, "POST", "/a", r#"{"x":1}"#).is_ok());
        assert!(judge(&both, "POST", "/a", r#"{"x":2}"#).is_ok());
        assert!(judge(&both, "POST", "/a", r#"{"x":3}"#).is_err());
        assert!(judge(&both, "POST", "/b", r#"{"x":1}"#).is_err());
    }
}
