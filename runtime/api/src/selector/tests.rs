//! What selectors choose, and how they are written.

use proptest::prelude::*;

use super::*;
use crate::Timestamp;

fn node(gid: u32, nid: u32, name: &str, labels: &[&str]) -> NodeDescription {
    NodeDescription {
        gid: Gid(gid),
        nid: crate::Nid(nid),
        name: name.to_owned(),
        labels: labels.iter().map(|&label| label.to_owned()).collect(),
        version: String::new(),
        program: None,
        started: Timestamp(0),
        plugins: vec![],
        refused: vec![],
        trouble: None,
    }
}

fn site() -> Vec<NodeDescription> {
    vec![
        node(1, 1, "web-1", &["web", "eu"]),
        node(1, 2, "web-2", &["web", "us", "zone=us-1"]),
        node(1, 3, "db 1", &["db", "eu"]),
        node(2, 1, "edge", &[]),
    ]
}

fn chosen(selector: &str) -> String {
    let selector: Selector = selector.parse().unwrap();
    let ids = selector.choose(&site()).nodes;
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn each_kind_of_condition_chooses_what_it_says() {
    for (selector, nodes) in [
        ("*", "1.1 1.2 1.3 2.1"),
        ("1.2", "1.2"),
        ("1.*", "1.1 1.2 1.3"),
        ("grid=2", "2.1"),
        ("name=web-?", "1.1 1.2"),
        ("name=\"db 1\"", "1.3"),
        ("web", "1.1 1.2"),
        ("label=w*", "1.1 1.2"),
        ("\"*\"", "1.1 1.2 1.3"),
        ("zone=us-*", "1.2"),
        ("web,eu", "1.1"),
        ("web and not eu", "1.2"),
        ("not (web or db)", "2.1"),
        ("db or web and us", "1.2 1.3"),
        ("(db or web) and eu", "1.1 1.3"),
        ("not not web", "1.1 1.2"),
        ("Web", ""),
    ] {
        assert_eq!(chosen(selector), nodes, "{selector}");
    }
}

#[test]
fn what_is_no_selector_is_refused_at_its_place() {
    for (selector, at, problem) in [
        ("", 1, "a condition is wanted"),
        ("web and", 8, "a condition is wanted"),
        ("web or or db", 8, "a condition is wanted"),
        ("web db", 5, "`and`, `or` or the end"),
        ("(web or db", 11, "a `)` is wanted here for the `(` at character 1"),
        ("web)", 4, "there is no `(` for it"),
        ("ä and ()", 8, "a condition is wanted"),
        ("name=", 6, "something has to follow"),
        ("grid=one", 1, "`one` is no number of a grid"),
        ("grid=-1", 1, "`-1` is no number"),
        ("web and \"eu", 9, "the quotes are not closed"),
        ("\"\"", 1, "nothing in the quotes"),
        ("we\"b\"", 3, "quotes go around the whole text"),
    ] {
        let error = selector.parse::<Selector>().unwrap_err();
        assert_eq!(error.at, at, "{selector}: {error}");
        assert!(error.to_string().contains(problem), "{selector}: {error}");
    }
}

#[test]
fn what_would_take_long_or_deep_is_refused() {
    assert!("(".repeat(4000).parse::<Selector>().is_err());
    assert!(format!("{}web", "not ".repeat(33)).parse::<Selector>().is_err());
    assert!(format!("{}web", "not ".repeat(32)).parse::<Selector>().is_ok());
    assert!("x".repeat(5000).parse::<Selector>().is_err());
    assert!(format!("x{}", ",x".repeat(2000)).parse::<Selector>().is_err());
}

#[test]
fn nodes_that_nearly_match_are_told_with_what_they_lack() {
    let selector: Selector = "web,eu and name=db*".parse().unwrap();
    let choice = selector.choose(&site());
    assert_eq!(choice.nodes, []);
    let nearly: Vec<_> = choice.nearly.iter().map(|miss| (&*miss.name, &*miss.failed[0])).collect();
    assert_eq!(nearly, [("web-1", "name=db*"), ("db 1", "web")]);
    assert_eq!(
        choice.why_none(&selector).unwrap(),
        "no node matches `web and eu and name=db*`; nearest are web-1 (1.1) but for `name=db*`, \
         db 1 (1.3) but for `web`"
    );
    let named: Selector = "web-*".parse().unwrap();
    let why = named.choose(&site()).why_none(&named).unwrap();
    assert!(why.ends_with("a word alone is a label, and `name=web-*` the nodes of such a name"));
    let found = "db".parse::<Selector>().unwrap();
    assert_eq!(found.choose(&site()).why_none(&found), None);
    assert!(found.choose(&[]).why_none(&found).unwrap().contains("no node has joined"));
}

#[test]
fn of_several_ways_to_match_the_shortest_is_told() {
    let selector: Selector = "(db and us and name=x) or eu".parse().unwrap();
    let choice = selector.choose(&site()[1..2]);
    assert_eq!(choice.nearly[0].failed, ["eu"]);
}

#[test]
fn it_travels_as_the_text_that_it_is() {
    let selector: Selector = "web,not  eu".parse().unwrap();
    let text = serde_json::to_string(&selector).unwrap();
    assert_eq!(text, "\"web and not eu\"");
    assert_eq!(serde_json::from_str::<Selector>(&text).unwrap(), selector);
    assert!(serde_json::from_str::<Selector>("\"web and\"").is_err());
}

fn conditions() -> impl Strategy<Value = Condition> {
    let text = prop_oneof![
        "[a-z*?=.0-9]{1,6}",
        "[ -~äß\n]{1,6}",
        Just("and".to_owned()),
        Just("name=x".to_owned()),
        Just("1.2".to_owned()),
        Just("1.*".to_owned()),
        Just("*".to_owned()),
    ];
    let pattern = text.prop_map(|text| Pattern::new(text).unwrap());
    prop_oneof![
        Just(Condition::Everything),
        any::<(u32, u32)>().prop_map(|(gid, nid)| Condition::Id(NodeId::new(gid, nid))),
        any::<u32>().prop_map(|gid| Condition::Grid(Gid(gid))),
        pattern.clone().prop_map(Condition::Name),
        pattern.prop_map(Condition::Label),
    ]
}

fn rules() -> impl Strategy<Value = Rule> {
    conditions().prop_map(Rule::One).prop_recursive(4, 24, 3, |rule| {
        let rules = prop::collection::vec(rule.clone(), 2..4);
        prop_oneof![
            rule.prop_map(|rule| Rule::Not(Box::new(rule))),
            rules.clone().prop_map(Rule::All),
            rules.prop_map(Rule::Any),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_reads_back_the_same(rule in rules()) {
        let text = rule.to_string();
        prop_assert_eq!(text.parse::<Selector>().map(|read| read.0), Ok(rule), "{}", text);
    }

    #[test]
    fn no_text_does_harm(text in "[a-z(),\"\\\\ =.*äß\u{1}]{0,40}") {
        if let Ok(selector) = text.parse::<Selector>() {
            prop_assert_eq!(selector.to_string().parse::<Selector>(), Ok(selector));
        }
    }
}
