//! Which rule decides, and that no pattern reaches further than the rules.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use MatchPolicy::{Exact, Prefix, Wildcard};

const POLICIES: [MatchPolicy; 3] = [Exact, Prefix, Wildcard];

/// Rules that say something of subscribing.
fn subscriber(rules: &[(&str, MatchPolicy, bool)]) -> Permissions {
    let rule = |(uri, policy, subscribe): &(&str, MatchPolicy, bool)| Permission {
        uri: (*uri).to_owned(),
        policy: *policy,
        allow: Allow { subscribe: *subscribe, ..Allow::default() },
        disclose: Disclose::default(),
    };
    Permissions::new("tester", &rules.iter().map(rule).collect::<Vec<_>>())
}

fn may(permissions: &Permissions, pattern: &str, policy: MatchPolicy) -> bool {
    permissions.check_pattern(Action::Subscribe, pattern, policy).is_ok()
}

#[test]
fn the_best_rule_decides() {
    let permissions = subscriber(&[
        ("a.b.secret", Exact, false),
        ("a.b.", Prefix, true),
        ("a.", Prefix, false),
        ("x..z", Wildcard, true),
        ("x.y.", Wildcard, false),
    ]);
    for (name, expected) in [
        ("a.b.c", true),
        ("a.b.secret", false),
        ("a.c", false),
        ("x.q.z", true),
        ("x.y.z", false),
        ("nowhere", false),
        ("x.q.q", false),
    ] {
        assert_eq!(may(&permissions, name, Exact), expected, "{name}");
    }
}

#[test]
fn only_what_is_allowed_is_allowed() {
    let rule = Permission {
        uri: "a.".to_owned(),
        policy: Prefix,
        allow: Allow { call: true, publish: true, ..Allow::default() },
        disclose: Disclose { caller: Disclosure::Always, publisher: Disclosure::Never },
    };
    let permissions = Permissions::new("tester", &[rule]);
    assert_eq!(permissions.check(Action::Call, "a.b"), Ok(Disclosure::Always));
    assert_eq!(permissions.check(Action::Publish, "a.b"), Ok(Disclosure::Never));
    let denied = permissions.check(Action::Register, "a.b").unwrap_err();
    assert_eq!(denied.to_string(), "the role `tester` may not register `a.b`");
    assert!(permissions.check(Action::Subscribe, "a.b").is_err());
    assert!(permissions.check(Action::Call, "wamp.session.list").is_err());
}

#[test]
fn a_role_that_may_do_everything_needs_no_look_up_and_one_without_rules_may_nothing() {
    let all = Permissions::new("all", &[Permission::everything()]);
    assert!(all.everything.is_some());
    for policy in POLICIES {
        for uri in ["", "a", "wamp.session.on_join", "..", "a..b"] {
            assert!(may(&all, uri, policy), "{uri}");
            assert!(!may(&Permissions::new("none", &[]), uri, policy), "{uri}");
        }
    }
}

#[test]
fn a_pattern_reaches_no_further_than_the_rules() {
    let permissions = subscriber(&[
        ("a.", Prefix, true),
        ("a.secret.", Prefix, false),
        ("a.diary", Exact, false),
        ("w..x.", Wildcard, true),
        ("w.private.x.", Wildcard, false),
        ("w.p.x.y", Exact, true),
    ]);
    for (pattern, policy, expected) in [
        ("a.b", Prefix, true),
        ("a.b.", Prefix, true),
        ("a.", Prefix, false),
        ("a", Prefix, false),
        ("", Prefix, false),
        ("a.secret.", Prefix, false),
        ("a.se", Prefix, false),
        ("a.sz", Prefix, true),
        ("a.dia", Prefix, false),
        ("a.b.", Wildcard, true),
        ("a..", Wildcard, false),
        ("a..c", Wildcard, false),
        ("a.", Wildcard, false),
        ("a.b..", Wildcard, true),
        (".b", Wildcard, false),
        ("w.b.x.", Wildcard, true),
        ("w.p.x.", Wildcard, true),
        ("w..x.", Wildcard, false),
        ("w.private.x.a", Wildcard, false),
        ("w.b.x.c", Wildcard, true),
        ("w.b.", Prefix, false),
    ] {
        assert_eq!(may(&permissions, pattern, policy), expected, "{pattern} {policy:?}");
    }
    let denied = permissions.check_pattern(Action::Subscribe, "a.", Prefix).unwrap_err();
    let text = denied.to_string();
    assert!(text.contains("`tester` may not subscribe to `a.` as a prefix"), "{text}");
}

#[test]
fn a_rule_that_no_name_is_left_for_denies_nothing() {
    for (rules, pattern) in [
        // No name has an empty word.
        (&[("", Prefix, true), (".", Prefix, false)][..], ".a"),
        // Prefixes and names go before wildcards.
        (&[(".", Wildcard, true), ("a", Prefix, true), ("a.", Wildcard, false)], "."),
        (&[("", Wildcard, true), ("a", Exact, true), ("a", Wildcard, false)], ""),
    ] {
        assert!(may(&subscriber(rules), pattern, Wildcard), "{rules:?}");
    }
}

/// Every name of up to four words, most of which no rule knows.
fn names() -> Vec<String> {
    let words = ["a", "b", "ab", "zz", "azz", "bzz", "abzz"].map(str::to_owned);
    let longer = |names: &[String]| -> Vec<String> {
        names
            .iter()
            .flat_map(|name| words.iter().map(move |word| format!("{name}.{word}")))
            .collect()
    };
    let two = longer(&words);
    let three = longer(&two);
    let four = longer(&three);
    [words.to_vec(), two, three, four].concat()
}

static NAMES: LazyLock<Vec<String>> = LazyLock::new(names);

fn small_uri() -> impl Strategy<Value = String> {
    "(a|b|ab)?(\\.(a|b|ab)?){0,2}"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_pattern_is_allowed_if_each_of_its_names_is(
        rules in prop::collection::btree_map((small_uri(), 0..3_usize), any::<bool>(), 0..8),
        pattern in small_uri(),
        policy in 0..3_usize,
    ) {
        let rules: Vec<_> = rules
            .iter()
            .map(|((uri, policy), allow)| (uri.as_str(), POLICIES[*policy], *allow))
            .collect();
        let permissions = subscriber(&rules);
        let policy = POLICIES[policy];
        let mut matched = NAMES.iter().filter(|name| policy.matches(&pattern, name)).peekable();
        // Nothing is to be had by such a pattern.
        if matched.peek().is_none() {
            return Ok(());
        }
        let denied = matched.find(|name| !may(&permissions, name, Exact));
        prop_assert_eq!(may(&permissions, &pattern, policy), denied.is_none(), "{:?}", denied);
    }
}
