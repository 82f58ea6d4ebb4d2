//! Selectors: which nodes are meant.

mod parse;
mod pattern;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Gid, NodeDescription, NodeId};
pub use parse::SelectorError;
use pattern::Pattern;

/// Which nodes are meant. Written, and serialised, as text:
///
/// ```text
///   selector  = all { "or" all }
///   all       = not { ( "and" | "," ) not }
///   not       = "not" not | "(" selector ")" | condition
///   condition = "*"                  every node
///             | 1.7                  the node with this id
///             | 1.*  | grid=1        the nodes of a grid
///             | name=web-?           nodes by name
///             | web  | label=web     nodes that have this label
/// ```
///
/// `web,eu` are the nodes that have both labels, and perhaps more; `(web or db)
/// and not name=web-7` all of one kind or the other but one. Names and labels are
/// patterns: `*` is any run of characters, `?` any one. They are compared letter by
/// letter, in the case in which they are written. What has spaces, commas,
/// parentheses or quotes in it is written in quotes, `name="web 7"`; a whole
/// condition in quotes is a label, whatever it looks like. A label may have an `=`
/// in it, as in `zone=eu`, unless it begins like one of the conditions above.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Selector(Rule);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    One(Condition),
    Not(Box<Rule>),
    /// Two at least.
    All(Vec<Rule>),
    /// Two at least.
    Any(Vec<Rule>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Everything,
    Id(NodeId),
    Grid(Gid),
    Name(Pattern),
    Label(Pattern),
}

/// What a selector chose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The nodes that match, in the order in which they were given.
    pub nodes: Vec<NodeId>,
    /// If none does, those that came nearest to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nearly: Vec<NearMiss>,
}

/// A node that would match but for a few conditions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearMiss {
    /// Its id.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// The conditions that failed, as they are written.
    pub failed: Vec<String>,
}

/// Near misses that are told: more would hide what is wrong.
const NEARLY: usize = 5;

impl Selector {
    /// Every node.
    #[must_use]
    pub fn everything() -> Self {
        Self(Rule::One(Condition::Everything))
    }

    /// One node.
    #[must_use]
    pub fn node(id: NodeId) -> Self {
        Self(Rule::One(Condition::Id(id)))
    }

    /// Whether a node is meant.
    #[must_use]
    pub fn matches(&self, node: &NodeDescription) -> bool {
        self.0.matches(node)
    }

    /// Chooses among `nodes`; if none matches, tells which nearly did.
    pub fn choose<'a>(&self, nodes: impl IntoIterator<Item = &'a NodeDescription>) -> Choice {
        let mut choice = Choice::default();
        for node in nodes {
            let failed = self.0.failed(node);
            if failed.is_empty() {
                choice.nodes.push(node.id());
            } else if choice.nodes.is_empty() {
                choice.nearly.push(NearMiss { node: node.id(), name: node.name.clone(), failed });
            }
        }
        if !choice.nodes.is_empty() {
            choice.nearly.clear();
        }
        let nearest = choice.nearly.iter().map(|miss| miss.failed.len()).min().unwrap_or_default();
        choice.nearly.retain(|miss| miss.failed.len() == nearest);
        choice.nearly.truncate(NEARLY);
        choice
    }
}

impl Choice {
    /// Why no node matches `selector`, in words; nothing if one does.
    #[must_use]
    pub fn why_none(&self, selector: &Selector) -> Option<String> {
        if !self.nodes.is_empty() {
            return None;
        }
        let mut text = format!("no node matches `{selector}`");
        if self.nearly.is_empty() {
            text += ": no node has joined yet";
        }
        for (index, miss) in self.nearly.iter().enumerate() {
            let before = if index == 0 { "; nearest are" } else { "," };
            let failed = miss.failed.join("` and `");
            text += &format!("{before} {} ({}) but for `{failed}`", miss.name, miss.node);
        }
        // `web-*` alone is taken for labels, by those who know the node `web-1` for names.
        let meant = self.nearly.iter().find_map(|miss| {
            let names = |word: &&String| {
                Pattern::new((*word).clone()).is_some_and(|word| word.matches(&miss.name))
            };
            miss.failed.iter().find(names)
        });
        if let Some(word) = meant {
            text +=
                &format!("; a word alone is a label, and `name={word}` the nodes of such a name");
        }
        Some(text)
    }
}

impl Rule {
    fn matches(&self, node: &NodeDescription) -> bool {
        match self {
            Self::One(condition) => condition.matches(node),
            Self::Not(rule) => !rule.matches(node),
            Self::All(rules) => rules.iter().all(|rule| rule.matches(node)),
            Self::Any(rules) => rules.iter().any(|rule| rule.matches(node)),
        }
    }

    /// The fewest conditions that keep the node from matching; empty if it does.
    fn failed(&self, node: &NodeDescription) -> Vec<String> {
        if self.matches(node) {
            return Vec::new();
        }
        match self {
            Self::One(_) | Self::Not(_) => vec![self.to_string()],
            Self::All(rules) => rules.iter().flat_map(|rule| rule.failed(node)).collect(),
            Self::Any(rules) => {
                let ways = rules.iter().map(|rule| rule.failed(node));
                ways.min_by_key(Vec::len).unwrap_or_default()
            }
        }
    }

    /// Writes the rule where one that is part of another has to stand.
    fn write_part(&self, f: &mut fmt::Formatter<'_>, needs_parentheses: bool) -> fmt::Result {
        if needs_parentheses { write!(f, "({self})") } else { write!(f, "{self}") }
    }
}

impl Condition {
    fn matches(&self, node: &NodeDescription) -> bool {
        match self {
            Self::Everything => true,
            Self::Id(id) => node.id() == *id,
            Self::Grid(gid) => node.gid == *gid,
            Self::Name(pattern) => pattern.matches(&node.name),
            Self::Label(pattern) => node.labels.iter().any(|label| pattern.matches(label)),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rules, between) = match self {
            Self::One(condition) => return condition.fmt(f),
            Self::Not(rule) => {
                f.write_str("not ")?;
                return rule.write_part(f, matches!(**rule, Self::All(_) | Self::Any(_)));
            }
            Self::All(rules) => (rules, " and "),
            Self::Any(rules) => (rules, " or "),
        };
        for (index, rule) in rules.iter().enumerate() {
            if index > 0 {
                f.write_str(between)?;
            }
            let is_looser = match self {
                Self::All(_) => matches!(rule, Self::All(_) | Self::Any(_)),
                _ => matches!(rule, Self::Any(_)),
            };
            rule.write_part(f, is_looser)?;
        }
        Ok(())
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("*"),
            Self::Id(id) => id.fmt(f),
            Self::Grid(gid) => write!(f, "grid={gid}"),
            Self::Name(pattern) => write!(f, "name={}", parse::quoted_if_needed(pattern.as_str())),
            Self::Label(pattern) => f.write_str(&parse::label(pattern.as_str())),
        }
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse::parse(text).map(Self)
    }
}

impl TryFrom<String> for Selector {
    type Error = SelectorError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> Self {
        selector.to_string()
    }
}

#[cfg(test)]
mod tests;
