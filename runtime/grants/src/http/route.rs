//! Methods and a path, as one writes them: `GET|HEAD /v1/**`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::path::{PathPattern, RequestPath};
use crate::text::TextError;

/// Methods that no rule allows: one asks for a tunnel, the other for the
/// request itself, with the headers that the host has added.
const NEVER: [&str; 2] = ["CONNECT", "TRACE"];

/// Which requests a rule is about, by method and path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Route {
    /// Empty: any.
    methods: Vec<String>,
    path: PathPattern,
}

impl Route {
    pub(super) fn matches(&self, method: &str, path: &RequestPath<'_>) -> bool {
        let is_named = self.methods.iter().any(|own| own == method);
        (is_named || self.methods.is_empty() && !NEVER.contains(&method)) && self.path.matches(path)
    }
}

impl std::str::FromStr for Route {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let wrong = |rule| {
            let text = text.chars().take(128).collect();
            Err(TextError { text, what: "rule for requests", rule })
        };
        let Some((methods, path)) = text.split_once(' ') else {
            return wrong("write methods and a path, such as `GET /v1/**` or `GET|HEAD /v1/items`");
        };
        let path = match PathPattern::parse(path) {
            Ok(path) => path,
            Err(rule) => return wrong(rule),
        };
        if methods == "*" {
            return Ok(Self { methods: Vec::new(), path });
        }
        let methods: Vec<_> = methods.split('|').map(str::to_owned).collect();
        let is_method = |method: &String| {
            (1..=32).contains(&method.len())
                && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
        };
        if !methods.iter().all(is_method) {
            return wrong("write methods in capitals, with `|` between them, or `*` for any");
        }
        if methods.iter().any(|method| NEVER.contains(&method.as_str())) {
            return wrong("CONNECT and TRACE are not for plugins");
        }
        Ok(Self { methods, path })
    }
}

impl TryFrom<String> for Route {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        text.parse()
    }
}

impl From<Route> for String {
    fn from(route: Route) -> Self {
        route.to_string()
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods = match self.methods.is_empty() {
            true => "*".to_owned(),
            false => self.methods.join("|"),
        };
        write!(f, "{methods} {}", self.path.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_exact() {
        let path = RequestPath::parse("/a").unwrap();
        let fits = |route: &str, method| route.parse::<Route>().unwrap().matches(method, &path);
        assert!(fits("GET|HEAD /a", "GET") && fits("GET|HEAD /a", "HEAD"));
        assert!(!fits("GET /a", "POST") && !fits("GET /a", "get") && !fits("GET /b", "GET"));
        assert!(fits("* /a", "PROPFIND") && !fits("* /a", "CONNECT") && !fits("* /a", "TRACE"));
    }

    #[test]
    fn a_route_is_written_as_it_was() {
        for text in ["GET /", "GET|HEAD /v1/**", "* /*/x", "M-SEARCH /v*/a"] {
            assert_eq!(text.parse::<Route>().unwrap().to_string(), text);
        }
        for text in ["", "GET", "/a", "get /a", "GET  /a", "GET|| /a", "GET a", "TRACE /", " /a"] {
            assert!(text.parse::<Route>().is_err(), "{text}");
        }
    }
}
