//! Who becomes a node, and who does not any more.

use super::*;

const NOW: Timestamp = Timestamp(1_000_000);
const LIFE: u64 = 60_000;

fn wanted(uses: u32) -> NewJoinToken {
    NewJoinToken { uses, life_ms: LIFE, labels: vec!["web".into()], node: None }
}

/// A directory that knows one join token, and its text.
fn with_token(wanted: &NewJoinToken) -> (Directory, String) {
    let mut directory = Directory::default();
    let secret = NewSecret::draw();
    let (_, changes) = directory.make_join_token(wanted, "ada", &secret, NOW).unwrap();
    changes.into_iter().for_each(|change| directory.apply(change));
    (directory, secret.text.reveal().to_owned())
}

fn ask(token: &str) -> Enrol {
    let labels = vec!["prod".into()];
    Enrol { token: Some(token.into()), node: NodeId::new(1, 1), name: "a".into(), labels }
}

fn enrol(directory: &mut Directory, key: &str, token: &str) -> Result<Enrolled, Refusal> {
    let (enrolled, changes) = directory.enrol(key, &ask(token), NOW)?;
    changes.into_iter().for_each(|change| directory.apply(change));
    Ok(enrolled)
}

#[test]
fn a_token_lets_in_as_many_as_it_says_each_with_a_number_and_the_tokens_labels() {
    let (mut directory, token) = with_token(&wanted(2));
    let first = enrol(&mut directory, "k1", &token).unwrap();
    assert_eq!((first.node, first.labels), (NodeId::new(1, 1), vec!["web".to_owned()]));
    // An answer that was lost is asked for again.
    assert_eq!(enrol(&mut directory, "k1", &token).unwrap().node, NodeId::new(1, 1));
    assert_eq!(enrol(&mut directory, "k2", &token).unwrap().node, NodeId::new(1, 2));
    let refusal = enrol(&mut directory, "k3", &token).unwrap_err();
    assert!(refusal.text.contains("used up") && !refusal.text.contains(&token), "{refusal}");
}

#[test]
fn a_token_that_has_expired_or_is_changed_lets_nobody_in() {
    let (directory, token) = with_token(&wanted(1));
    let late = Timestamp(NOW.0 + LIFE);
    assert!(directory.enrol("k1", &ask(&token), late).unwrap_err().text.contains("expired"));
    for wrong in ["", "drt_", &token[..token.len() - 1], &format!("{token}A")] {
        assert!(directory.enrol("k1", &ask(wrong), NOW).is_err(), "{wrong}");
    }
}

#[test]
fn a_token_for_one_node_makes_that_node() {
    let node = NodeId::new(3, 7);
    let (mut directory, token) = with_token(&NewJoinToken { node: Some(node), ..wanted(1) });
    assert_eq!(enrol(&mut directory, "k1", &token).unwrap().node, node);
    let secret = NewSecret::draw();
    let again = NewJoinToken { node: Some(node), ..wanted(1) };
    assert!(directory.make_join_token(&again, "ada", &secret, NOW).is_err(), "it is taken");
}

#[test]
fn a_revoked_node_is_none_whatever_it_brings() {
    let (mut directory, token) = with_token(&wanted(5));
    enrol(&mut directory, "k1", &token).unwrap();
    let (node, changes) = directory.revoke("a", NOW).unwrap();
    assert_eq!(node, NodeId::new(1, 1));
    changes.into_iter().for_each(|change| directory.apply(change));
    assert!(enrol(&mut directory, "k1", &token).unwrap_err().text.contains("revoked"));
    assert!(directory.rotate(node, "k2").is_err());
    assert!(directory.revoke("1.1", NOW).is_err(), "twice is too much");
    // Its number stays its own, so that nobody takes its log over.
    assert_eq!(enrol(&mut directory, "k2", &token).unwrap().node, NodeId::new(1, 2));
}

#[test]
fn a_node_has_two_keys_until_it_has_used_the_new_one() {
    let (mut directory, token) = with_token(&wanted(5));
    let node = enrol(&mut directory, "k1", &token).unwrap().node;
    enrol(&mut directory, "other", &token).unwrap();
    assert!(directory.rotate(node, "other").is_err(), "that key is somebody's");
    for key in ["k2", "k3"] {
        let ((), changes) = directory.rotate(node, key).unwrap();
        changes.into_iter().for_each(|change| directory.apply(change));
    }
    assert_eq!(directory.node(node).unwrap().keys, ["k1", "k3"]);
    assert_eq!(directory.owner("k2"), None);
    assert_eq!(directory.settle_key(node, "k1"), None);
    directory.apply(directory.settle_key(node, "k3").unwrap());
    assert_eq!(directory.owner("k1"), None);
    assert_eq!(directory.owner("k3"), Some(&Owner::Node(node)));
}

#[test]
fn what_is_kept_is_read_again() {
    let (mut directory, token) = with_token(&wanted(2));
    enrol(&mut directory, "k1", &token).unwrap();
    for change in [
        Change::Node(directory.nodes().remove(0)),
        Change::Join(directory.joins.values().next().unwrap().clone()),
    ] {
        let record = change.record().unwrap().unwrap();
        assert_eq!(Change::read(change.place().0, &record).unwrap(), change);
        assert!(!record.contains(&token));
    }
}

#[test]
fn labels_are_given_and_taken_and_one_of_a_key_takes_the_place_of_another() {
    let (mut directory, token) = with_token(&wanted(1));
    enrol(&mut directory, "k1", &token).unwrap();
    let mut label = |add: &[&str], remove: &[&str]| {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let asked = LabelNode { node: "a".into(), add: words(add), remove: words(remove) };
        let (labels, changes) = directory.label(&asked).map_err(|refusal| refusal.text)?;
        changes.into_iter().for_each(|change| directory.apply(change));
        Ok::<_, String>(labels.join(" "))
    };
    assert_eq!(label(&["zone=eu", "db"], &[]).unwrap(), "web zone=eu db");
    assert_eq!(label(&["zone=us"], &["web"]).unwrap(), "db zone=us");
    assert_eq!(label(&["db"], &["zone"]).unwrap(), "db");
    let refusal = label(&[], &["zone"]).unwrap_err();
    assert!(refusal.contains("no label `zone`, only: db"), "{refusal}");
    assert!(label(&["a\nb"], &[]).is_err());
}

#[test]
fn a_node_that_is_forgotten_leaves_its_key_and_its_number() {
    let (mut directory, token) = with_token(&wanted(2));
    let node = enrol(&mut directory, "k1", &token).unwrap().node;
    let (_, changes) = directory.revoke("a", NOW).unwrap();
    changes.into_iter().for_each(|change| directory.apply(change));
    assert!(enrol(&mut directory, "k1", &token).is_err());
    let ((), changes) = directory.forget(node).unwrap();
    changes.into_iter().for_each(|change| directory.apply(change));
    assert_eq!((directory.node(node), directory.owner("k1")), (None, None));
    assert_eq!(enrol(&mut directory, "k1", &token).unwrap().node, node);
}
