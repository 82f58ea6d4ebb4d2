//! One rule: which requests, and what they may have in them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Serialize, Serializer};

use super::HttpRequest;
use super::body::BodyCondition;
use super::path::{RequestPath, escaped};
use super::route::Route;

/// A rule that allows requests. It is written as its route alone, or as a table
/// with conditions, all of which have to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRule {
    /// Methods and path.
    route: Route,
    /// The parameters that a request may have; none: any.
    query: Option<BTreeSet<String>>,
    /// Whether the connection may become a stream of bytes.
    upgrade: bool,
    /// Conditions on a JSON body; empty: the body may be anything.
    pub(super) body: Arc<[BodyCondition]>,
}

impl HttpRule {
    /// Whether the rule is about such a request and nothing but the body is
    /// left to look at.
    pub(super) fn fits(&self, request: &HttpRequest<'_>, path: &RequestPath<'_>) -> bool {
        (self.upgrade || !request.is_upgrade)
            && self.route.matches(request.method, path)
            && self.query.as_ref().is_none_or(|allowed| has_only(request.query, allowed))
    }

    /// Whether it has no conditions beside its route.
    fn is_plain(&self) -> bool {
        self.query.is_none() && !self.upgrade && self.body.is_empty()
    }
}

/// Whether all parameters of a query are allowed, for readers who part them at
/// `&` and for those who part them at `;` as well.
fn has_only(query: Option<&str>, allowed: &BTreeSet<String>) -> bool {
    let words = query.unwrap_or_default().split(['&', ';']);
    words.filter(|word| !word.is_empty()).all(|word| {
        let name = word.split('=').next().unwrap_or_default();
        decode(name).is_some_and(|name| allowed.contains(&name))
    })
}

fn decode(name: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        match byte {
            b'%' => {
                decoded.push(escaped(rest)?);
                rest = &rest[2..];
            }
            b'+' => decoded.push(b' '),
            byte => decoded.push(*byte),
        }
    }
    String::from_utf8(decoded).ok()
}

/// A rule with conditions, as one writes it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    request: Route,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    query: Option<BTreeSet<String>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    upgrade: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    body: Vec<BodyCondition>,
}

impl From<Route> for HttpRule {
    fn from(route: Route) -> Self {
        Self { route, query: None, upgrade: false, body: Arc::default() }
    }
}

impl From<Table> for HttpRule {
    fn from(Table { request, query, upgrade, body }: Table) -> Self {
        Self { route: request, query, upgrade, body: body.into() }
    }
}

impl Serialize for HttpRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_plain() {
            return serializer.collect_str(&self.route);
        }
        let table = Table {
            request: self.route.clone(),
            query: self.query.clone(),
            upgrade: self.upgrade,
            body: self.body.to_vec(),
        };
        table.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for HttpRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RuleVisitor)
    }
}

struct RuleVisitor;

impl<'de> Visitor<'de> for RuleVisitor {
    type Value = HttpRule;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a rule such as \"GET /v1/**\" or { request = \"POST /v1/items\", … }")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<HttpRule, E> {
        text.parse::<Route>().map(HttpRule::from).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<HttpRule, A::Error> {
        Table::deserialize(MapAccessDeserializer::new(table)).map(HttpRule::from)
    }
}

impl fmt::Display for HttpRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.route.fmt(f)?;
        let conditions = [
            (self.query.is_some(), "certain parameters"),
            (self.upgrade, "a stream of bytes"),
            (!self.body.is_empty(), "conditions on the body"),
        ];
        for (_, words) in conditions.iter().filter(|(is_there, _)| *is_there) {
            write!(f, " with {words}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn only_parameters_that_are_allowed_are_in_the_query() {
        let allowed = ["all".to_owned(), "a b".to_owned()].into();
        for (query, is_allowed) in [
            (None, true),
            (Some(""), true),
            (Some("all"), true),
            (Some("all=1&all=2&"), true),
            (Some("a+b=1&a%20b=2&%61ll=3"), true),
            (Some("All=1"), false),
            (Some("all=1&force=1"), false),
            (Some("all=1;force=1"), false),
            (Some("=1"), false),
            (Some("all%3D1"), false),
            (Some("all%=1"), false),
            (Some("%ff=1"), false),
        ] {
            assert_eq!(has_only(query, &allowed), is_allowed, "{query:?}");
        }
    }

    #[test]
    fn a_rule_is_a_text_or_a_table_and_is_written_as_it_was() {
        let text = "allow = [\"GET /**\", { request = \"POST /x\", query = [\"all\"], upgrade = true, \
                    body = [{ at = \"/a\", one_of = [1, \"b\"] }, { at = \"/n\", at_most = 7 }, \
                    { at = \"/e\", empty = true }, { at = \"/m\", matches = [\"**\"] }] }]";
        let rules: BTreeMap<String, Vec<HttpRule>> = toml::from_str(text).unwrap();
        let json = serde_json::to_string(&rules).unwrap();
        assert_eq!(serde_json::from_str::<BTreeMap<String, Vec<HttpRule>>>(&json).unwrap(), rules);
        assert!(json.starts_with("{\"allow\":[\"GET /**\",{\"request\":\"POST /x\""), "{json}");
        assert!(toml::from_str::<BTreeMap<String, HttpRule>>("a = 7").is_err());
        assert!(toml::from_str::<BTreeMap<String, HttpRule>>("a = { request = \"x\" }").is_err());
        assert!(toml::from_str::<BTreeMap<String, HttpRule>>("a = { path = \"x\" }").is_err());
    }
}
