//! The table of nodes: who is there, since when, and what they said of
//! themselves. Pure: no I/O, and the clock is an argument.
//!
//! ```text
//!             heartbeat                    session left, or
//!  (unknown) ----------> waiting for the   no heartbeat for `lost_after`
//!                        description       +--------------------------+
//!                            |             |                          v
//!                            +--described--> present <--heartbeat-- lost
//!                                                                     |
//!                                     forgotten after `forget_after` <+
//! ```
//!
//! A node is listed once it has described itself. Those that were known before the
//! controller's start are in the [`Store`]; they are lost until they are heard of.

mod store;

use std::collections::BTreeMap;
use std::time::Duration;

use drover_api::{Heartbeat, NodeDescription, NodeId, NodeStatus, Presence, Timestamp};

pub(crate) use store::{Changed, Kept, Store};

/// When silence means what.
#[derive(Debug, Clone, Copy)]
pub struct Presences {
    /// A node without a heartbeat for this long is lost.
    pub lost_after: Duration,
    /// A node that is lost for this long is forgotten.
    pub forget_after: Duration,
}

/// What became of a node, for the log and for those who follow the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It came, or came back.
    Present(NodeId),
    /// It is lost.
    Lost(NodeId),
    /// It is there as before, and says something else of itself.
    Described(NodeId),
    /// It was lost for so long that it is forgotten.
    Forgotten(NodeId),
}

impl Change {
    /// The node that it is about.
    #[must_use]
    pub fn node(self) -> NodeId {
        match self {
            Self::Present(node)
            | Self::Lost(node)
            | Self::Described(node)
            | Self::Forgotten(node) => node,
        }
    }
}

/// What a heartbeat calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Nothing: everything about the node is known.
    None,
    /// The node must be asked for its description.
    Describe,
}

/// Every node that has been heard of.
#[derive(Debug)]
pub struct Nodes {
    rules: Presences,
    nodes: BTreeMap<NodeId, Node>,
}

#[derive(Debug)]
struct Node {
    session: u64,
    presence: Presence,
    since: Timestamp,
    last_seen: Timestamp,
    description: Option<Described>,
}

#[derive(Debug)]
struct Described {
    /// None if it was before the controller's start.
    session: Option<u64>,
    revision: u64,
    description: NodeDescription,
}

impl Nodes {
    /// An empty table.
    #[must_use]
    pub fn new(rules: Presences) -> Self {
        Self { rules, nodes: BTreeMap::new() }
    }

    /// Takes up what was known of nodes before the start.
    pub fn restore(&mut self, known: Vec<NodeStatus>, now: Timestamp) {
        for NodeStatus { description, presence, since, last_seen } in known {
            let since = match presence {
                Presence::Present => now,
                Presence::Lost => since,
            };
            let id = description.id();
            // Whoever is heard of is asked.
            let description = Some(Described { session: None, revision: 0, description });
            let presence = Presence::Lost;
            self.nodes.insert(id, Node { session: 0, presence, since, last_seen, description });
        }
    }

    /// Takes a sign of life.
    pub fn heartbeat(&mut self, beat: Heartbeat, now: Timestamp) -> (Reaction, Option<Change>) {
        let node = self.nodes.entry(beat.node).or_insert(Node {
            session: beat.session,
            presence: Presence::Lost,
            since: now,
            last_seen: now,
            description: None,
        });
        node.session = beat.session;
        node.last_seen = now;
        let is_known = node.description.as_ref().is_some_and(|known| {
            known.session == Some(beat.session) && known.revision == beat.revision
        });
        if !is_known {
            return (Reaction::Describe, None);
        }
        (Reaction::None, node.turn(beat.node, Presence::Present, now))
    }

    /// Takes the description that was asked for because of `beat`. One that
    /// speaks for another node, or for a session that is over, is ignored.
    pub fn described(
        &mut self,
        beat: Heartbeat,
        description: NodeDescription,
        now: Timestamp,
    ) -> Option<Change> {
        let node = self.nodes.get_mut(&beat.node)?;
        if description.id() != beat.node || node.session != beat.session {
            return None;
        }
        node.description =
            Some(Described { session: Some(beat.session), revision: beat.revision, description });
        Some(node.turn(beat.node, Presence::Present, now).unwrap_or(Change::Described(beat.node)))
    }

    /// Takes the end of a session, whosever it was.
    pub fn session_left(&mut self, session: u64, now: Timestamp) -> Option<Change> {
        let (id, node) = self.nodes.iter_mut().find(|(_, node)| node.session == session)?;
        // Session ids are never 0, so nothing is taken for this one again.
        node.session = 0;
        node.turn(*id, Presence::Lost, now)
    }

    /// Marks silent nodes as lost and forgets the long lost.
    pub fn sweep(&mut self, now: Timestamp) -> Vec<Change> {
        let rules = self.rules;
        let mut changes = Vec::new();
        self.nodes.retain(|id, node| match (&node.description, node.presence) {
            (Some(_), Presence::Present) => true,
            (Some(_), Presence::Lost) => {
                let stays = now.since(node.since) < rules.forget_after;
                changes.extend((!stays).then_some(Change::Forgotten(*id)));
                stays
            }
            (None, _) => now.since(node.last_seen) < rules.lost_after,
        });
        let silent = self
            .nodes
            .iter_mut()
            .filter(|(_, node)| now.since(node.last_seen) >= rules.lost_after)
            .filter_map(|(id, node)| node.turn(*id, Presence::Lost, now));
        changes.extend(silent);
        changes
    }

    /// Has a node be known by other labels than it says itself.
    pub fn relabel(&mut self, node: NodeId, labels: &[String]) -> Option<Change> {
        let described = self.nodes.get_mut(&node)?.description.as_mut()?;
        if described.description.labels == labels {
            return None;
        }
        described.description.labels = labels.to_vec();
        Some(Change::Described(node))
    }

    /// Forgets a node; it comes back if it is heard of again.
    pub fn forget(&mut self, node: NodeId) {
        self.nodes.remove(&node);
    }

    /// Every node that has described itself, by id.
    #[must_use]
    pub fn list(&self) -> Vec<NodeStatus> {
        self.nodes.values().filter_map(Node::status).collect()
    }

    /// The grid of every node that has described itself, and whether it is there.
    pub(crate) fn presences(&self) -> impl Iterator<Item = (u32, Presence)> {
        let described = self.nodes.iter().filter(|(_, node)| node.description.is_some());
        described.map(|(id, node)| (id.gid.0, node.presence))
    }

    /// One node, if it has described itself.
    #[must_use]
    pub fn status(&self, node: NodeId) -> Option<NodeStatus> {
        self.nodes.get(&node)?.status()
    }
}

impl Node {
    fn status(&self) -> Option<NodeStatus> {
        Some(NodeStatus {
            presence: self.presence,
            since: self.since,
            last_seen: self.last_seen,
            description: self.description.as_ref()?.description.clone(),
        })
    }

    fn turn(&mut self, id: NodeId, to: Presence, now: Timestamp) -> Option<Change> {
        if self.presence == to {
            return None;
        }
        self.presence = to;
        self.since = now;
        Some(match to {
            Presence::Present => Change::Present(id),
            Presence::Lost => Change::Lost(id),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const RULES: Presences =
        Presences { lost_after: Duration::from_secs(15), forget_after: Duration::from_secs(100) };

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    fn beat(nid: u32, session: u64, revision: u64) -> Heartbeat {
        Heartbeat { node: NodeId::new(1, nid), session, revision }
    }

    pub(crate) fn description(nid: u32) -> NodeDescription {
        let id = NodeId::new(1, nid);
        NodeDescription {
            gid: id.gid,
            nid: id.nid,
            name: format!("node-{nid}"),
            labels: vec![],
            version: String::new(),
            program: None,
            started: at(0),
            plugins: vec![],
            refused: vec![],
            trouble: None,
        }
    }

    fn with_one_node() -> Nodes {
        let mut nodes = Nodes::new(RULES);
        assert_eq!(nodes.heartbeat(beat(7, 100, 1), at(0)), (Reaction::Describe, None));
        let change = nodes.described(beat(7, 100, 1), description(7), at(0));
        assert_eq!(change, Some(Change::Present(NodeId::new(1, 7))));
        nodes
    }

    #[test]
    fn a_node_is_listed_once_it_has_described_itself() {
        let mut nodes = Nodes::new(RULES);
        nodes.heartbeat(beat(7, 100, 1), at(0));
        assert_eq!(nodes.list(), []);
        nodes.described(beat(7, 100, 1), description(7), at(1));
        assert_eq!(nodes.list()[0].presence, Presence::Present);
        assert_eq!(nodes.list()[0].since, at(1));
    }

    #[test]
    fn a_known_node_is_not_asked_again_until_its_revision_or_session_changes() {
        let mut nodes = with_one_node();
        assert_eq!(nodes.heartbeat(beat(7, 100, 1), at(5)).0, Reaction::None);
        assert_eq!(nodes.heartbeat(beat(7, 100, 2), at(6)).0, Reaction::Describe);
        assert_eq!(nodes.heartbeat(beat(7, 101, 1), at(7)).0, Reaction::Describe);
    }

    #[test]
    fn what_a_present_node_says_anew_is_a_change_too() {
        let mut nodes = with_one_node();
        nodes.heartbeat(beat(7, 100, 2), at(6));
        let anew = NodeDescription { labels: vec!["web".to_owned()], ..description(7) };
        let change = nodes.described(beat(7, 100, 2), anew.clone(), at(6)).unwrap();
        assert_eq!(change, Change::Described(NodeId::new(1, 7)));
        assert_eq!(nodes.status(change.node()).unwrap().description, anew);
        assert_eq!(nodes.status(NodeId::new(1, 8)), None);
    }

    #[test]
    fn a_node_is_lost_when_its_session_ends_and_present_when_it_joins_again() {
        let mut nodes = with_one_node();
        let id = NodeId::new(1, 7);
        assert_eq!(nodes.session_left(100, at(3)), Some(Change::Lost(id)));
        assert_eq!(nodes.session_left(100, at(3)), None);
        nodes.heartbeat(beat(7, 101, 1), at(9));
        assert_eq!(nodes.list()[0].presence, Presence::Lost);
        let change = nodes.described(beat(7, 101, 1), description(7), at(9));
        assert_eq!(change, Some(Change::Present(id)));
        assert_eq!(nodes.list()[0].since, at(9));
    }

    #[test]
    fn a_silent_node_is_lost_after_the_stated_time_and_not_before() {
        let mut nodes = with_one_node();
        assert_eq!(nodes.sweep(at(14)), []);
        assert_eq!(nodes.sweep(at(15)), [Change::Lost(NodeId::new(1, 7))]);
        assert_eq!(nodes.sweep(at(16)), []);
        let (_, change) = nodes.heartbeat(beat(7, 100, 1), at(17));
        assert_eq!(change, Some(Change::Present(NodeId::new(1, 7))));
    }

    #[test]
    fn a_long_lost_node_is_forgotten() {
        let mut nodes = with_one_node();
        nodes.session_left(100, at(10));
        assert_eq!(nodes.sweep(at(109)), []);
        assert_eq!(nodes.list().len(), 1);
        assert_eq!(nodes.sweep(at(110)), [Change::Forgotten(NodeId::new(1, 7))]);
        assert_eq!(nodes.list(), []);
    }

    #[test]
    fn what_was_known_before_the_start_is_lost_until_it_is_heard_of() {
        let mut former = with_one_node();
        former.heartbeat(beat(8, 200, 1), at(0));
        former.described(beat(8, 200, 1), description(8), at(0));
        former.session_left(200, at(2));
        let mut nodes = Nodes::new(RULES);
        nodes.restore(former.list(), at(50));
        let list = nodes.list();
        assert!(list.iter().all(|node| node.presence == Presence::Lost), "{list:?}");
        // Who was there has all its time from now on, and who was not had some of it.
        assert_eq!([list[0].since, list[1].since], [at(50), at(2)]);
        assert_eq!(nodes.session_left(0, at(51)), None);
        assert_eq!(nodes.heartbeat(beat(7, 100, 1), at(52)), (Reaction::Describe, None));
        let change = nodes.described(beat(7, 100, 1), description(7), at(52));
        assert_eq!(change, Some(Change::Present(NodeId::new(1, 7))));
        assert_eq!(
            nodes.sweep(at(102)),
            [Change::Forgotten(NodeId::new(1, 8)), Change::Lost(NodeId::new(1, 7))]
        );
    }

    #[test]
    fn another_label_is_a_change_and_the_same_is_none() {
        let mut nodes = with_one_node();
        let (id, labels) = (NodeId::new(1, 7), ["web".to_owned()]);
        assert_eq!(nodes.relabel(id, &labels), Some(Change::Described(id)));
        assert_eq!(nodes.status(id).unwrap().description.labels, labels);
        assert_eq!(nodes.relabel(id, &labels), None);
        nodes.forget(id);
        assert_eq!((nodes.list(), nodes.relabel(id, &labels)), (vec![], None));
    }

    #[test]
    fn what_never_described_itself_is_forgotten_when_it_is_silent() {
        let mut nodes = Nodes::new(RULES);
        nodes.heartbeat(beat(7, 100, 1), at(0));
        nodes.sweep(at(15));
        assert!(nodes.nodes.is_empty());
    }

    #[test]
    fn an_old_sessions_end_does_not_touch_the_new_one() {
        let mut nodes = with_one_node();
        nodes.heartbeat(beat(7, 101, 1), at(1));
        assert_eq!(nodes.session_left(100, at(2)), None);
    }

    #[test]
    fn a_description_that_speaks_for_another_node_is_ignored() {
        let mut nodes = Nodes::new(RULES);
        nodes.heartbeat(beat(7, 100, 1), at(0));
        assert_eq!(nodes.described(beat(7, 100, 1), description(8), at(0)), None);
        assert_eq!(nodes.list(), []);
    }

    #[test]
    fn a_clock_that_goes_back_loses_nobody() {
        let mut nodes = Nodes::new(RULES);
        nodes.heartbeat(beat(7, 100, 1), at(1000));
        nodes.described(beat(7, 100, 1), description(7), at(1000));
        assert_eq!(nodes.sweep(at(10)), []);
    }
}
