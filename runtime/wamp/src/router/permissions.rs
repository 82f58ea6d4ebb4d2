//! What a role may do: rules over URIs, the best of which decides.
//!
//! For a name (a call, a publication, an exact registration or subscription)
//! the best rule is the one that a call would go to, were the rules
//! registrations: the exact one, else the longest prefix, else the wildcard
//! whose first words are the most exact. A name without a rule is denied.
//!
//! A pattern stands for every name that it matches, so it is allowed only if
//! each of these is: it must lie within one rule, and no better rule for some
//! of the names may deny them. Whoever subscribes to `a.` as a prefix can thus
//! never see `a.secret` when a rule keeps that from the role.
//!
//! Names are looked up without a scan. Patterns are held against every rule,
//! whose number is the admin's and not a peer's.

use super::config::{Allow, Disclose, Disclosure, Permission};
use super::patterns::Patterns;
use crate::uri::MatchPolicy;

/// What a session wants to do with a name or pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Call,
    Register,
    Publish,
    Subscribe,
}

/// A role may not do something; the text names what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the role `{role}` may not {} `{uri}`{}", .action.words(), in_words(*.policy))]
pub(super) struct Denied {
    role: String,
    action: Action,
    uri: String,
    policy: MatchPolicy,
}

/// The rules of one role.
#[derive(Debug)]
pub(super) struct Permissions {
    role: String,
    /// Set if one rule decides over all names, which then need no look-up.
    everything: Option<Grant>,
    names: Patterns<Grant>,
    rules: Vec<Permission>,
}

/// What the best rule says of a name.
#[derive(Debug, Clone, Copy)]
struct Grant {
    allow: Allow,
    disclose: Disclose,
}

impl Permissions {
    pub(super) fn new(role: &str, rules: &[Permission]) -> Self {
        let grant = |rule: &Permission| Grant { allow: rule.allow, disclose: rule.disclose };
        let mut names = Patterns::default();
        for rule in rules {
            names.insert(&rule.uri, rule.policy, grant(rule));
        }
        let everything = match rules {
            [rule] if rule.policy == MatchPolicy::Prefix && rule.uri.is_empty() => {
                Some(grant(rule))
            }
            _ => None,
        };
        let rules = rules.iter().filter(|rule| has_names(rule)).cloned().collect();
        Self { role: role.to_owned(), everything, names, rules }
    }

    /// Whether the role may do something with a name; and if it does, whether
    /// others learn who did.
    pub(super) fn check(&self, action: Action, uri: &str) -> Result<Disclosure, Denied> {
        match self.everything.or_else(|| self.names.best(uri)) {
            Some(grant) if grant.allow.includes(action) => Ok(grant.disclose.of(action)),
            _ => Err(self.denied(action, uri, MatchPolicy::Exact)),
        }
    }

    /// Whether the role may do something with every name that a pattern matches.
    pub(super) fn check_pattern(
        &self,
        action: Action,
        pattern: &str,
        policy: MatchPolicy,
    ) -> Result<(), Denied> {
        let is_name = match policy {
            MatchPolicy::Exact => true,
            MatchPolicy::Prefix => false,
            MatchPolicy::Wildcard => pattern.split('.').all(|word| !word.is_empty()),
        };
        if is_name {
            return self.check(action, pattern).map(|_| ());
        }
        let is_allowed = match self.everything {
            Some(grant) => grant.allow.includes(action),
            None => self
                .deciding(pattern, policy)
                .is_some_and(|rules| rules.iter().all(|rule| rule.allow.includes(action))),
        };
        if is_allowed { Ok(()) } else { Err(self.denied(action, pattern, policy)) }
    }

    /// The rules that decide over the names of a pattern, or none if there are
    /// names without a rule.
    fn deciding(&self, pattern: &str, policy: MatchPolicy) -> Option<Vec<&Permission>> {
        let of = |kind: MatchPolicy| self.rules.iter().filter(move |rule| rule.policy == kind);
        let beginning = head(pattern, policy);
        // The rule that decides where no better one does: it matches every name.
        let widest_prefix = of(MatchPolicy::Prefix)
            .filter(|rule| beginning.starts_with(&rule.uri))
            .max_by_key(|rule| rule.uri.len());
        let base = match (widest_prefix, policy) {
            (Some(rule), _) => rule,
            // Names of any number of words, and each wildcard has its own number.
            (None, MatchPolicy::Exact | MatchPolicy::Prefix) => return None,
            (None, MatchPolicy::Wildcard) => of(MatchPolicy::Wildcard)
                .filter(|rule| covers(&rule.uri, pattern))
                .max_by_key(|rule| rank(&rule.uri))?,
        };
        // Names and prefixes go before wildcards, which may have no name left then.
        let is_left_out = |wildcard: &str| {
            let common = common(wildcard, pattern);
            let beginning = head(&common, MatchPolicy::Wildcard);
            of(MatchPolicy::Exact).any(|rule| rule.uri == common)
                || of(MatchPolicy::Prefix).any(|rule| beginning.starts_with(&rule.uri))
        };
        let better = self.rules.iter().filter(|rule| match (rule.policy, base.policy) {
            (MatchPolicy::Exact, _) => policy.matches(pattern, &rule.uri),
            (MatchPolicy::Prefix, MatchPolicy::Prefix) if rule.uri.len() <= base.uri.len() => false,
            (MatchPolicy::Prefix, _) if policy == MatchPolicy::Prefix => {
                rule.uri.starts_with(pattern)
            }
            (MatchPolicy::Prefix, _) => has_prefix(pattern, &rule.uri),
            (MatchPolicy::Wildcard, MatchPolicy::Prefix) => false,
            (MatchPolicy::Wildcard, _) => {
                rank(&rule.uri) > rank(&base.uri)
                    && meets(&rule.uri, pattern)
                    && !is_left_out(&rule.uri)
            }
        });
        Some(std::iter::once(base).chain(better).collect())
    }

    fn denied(&self, action: Action, uri: &str, policy: MatchPolicy) -> Denied {
        // The start is enough to recognise it, whatever was sent.
        let uri = uri.chars().take(100).collect();
        Denied { role: self.role.clone(), action, uri, policy }
    }
}

impl Action {
    fn words(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Register => "register",
            Self::Publish => "publish to",
            Self::Subscribe => "subscribe to",
        }
    }
}

impl Allow {
    fn includes(self, action: Action) -> bool {
        match action {
            Action::Call => self.call,
            Action::Register => self.register,
            Action::Publish => self.publish,
            Action::Subscribe => self.subscribe,
        }
    }
}

impl Disclose {
    fn of(self, action: Action) -> Disclosure {
        match action {
            Action::Call => self.caller,
            Action::Publish => self.publisher,
            Action::Register | Action::Subscribe => Disclosure::Never,
        }
    }
}

fn in_words(policy: MatchPolicy) -> &'static str {
    match policy {
        MatchPolicy::Exact => "",
        MatchPolicy::Prefix => " as a prefix: a rule denies some of the names, or none allows them",
        MatchPolicy::Wildcard => {
            " as a wildcard: a rule denies some of the names, or none allows them"
        }
    }
}

/// What every name of a pattern begins with.
fn head(pattern: &str, policy: MatchPolicy) -> &str {
    if policy != MatchPolicy::Wildcard {
        return pattern;
    }
    let mut length = 0;
    for word in pattern.split('.') {
        if word.is_empty() {
            return &pattern[..length];
        }
        length += word.len() + 1;
    }
    pattern
}

/// Whether there are names that a rule is for: no word of a name is empty.
fn has_names(rule: &Permission) -> bool {
    let mut words = rule.uri.split('.');
    match rule.policy {
        MatchPolicy::Exact => words.all(|word| !word.is_empty()),
        MatchPolicy::Prefix => {
            // The last one may go on.
            words.next_back();
            words.all(|word| !word.is_empty())
        }
        MatchPolicy::Wildcard => true,
    }
}

/// Whether some name of a wildcard begins with a text.
fn has_prefix(wildcard: &str, prefix: &str) -> bool {
    let mut words = wildcard.split('.');
    let mut rest = prefix.split('.').peekable();
    while let Some(part) = rest.next() {
        let Some(word) = words.next() else { return false };
        let is_last = rest.peek().is_none();
        let fits = word.is_empty() || word == part || is_last && word.starts_with(part);
        if !fits {
            return false;
        }
    }
    true
}

/// Whether a wildcard matches every name that `other` matches.
fn covers(wildcard: &str, other: &str) -> bool {
    MatchPolicy::Wildcard.matches(wildcard, other)
}

/// Whether two wildcards have a name in common.
fn meets(one: &str, other: &str) -> bool {
    let (one, other) = (one.split('.'), other.split('.'));
    one.clone().count() == other.clone().count()
        && one.zip(other).all(|(a, b)| a == b || a.is_empty() || b.is_empty())
}

/// The wildcard of the names that two wildcards have in common.
fn common(one: &str, other: &str) -> String {
    let words = one.split('.').zip(other.split('.'));
    let words: Vec<_> = words.map(|(a, b)| if a.is_empty() { b } else { a }).collect();
    words.join(".")
}

/// Orders wildcards that match one name: the more exact first words win.
fn rank(wildcard: &str) -> Vec<bool> {
    wildcard.split('.').map(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests;
