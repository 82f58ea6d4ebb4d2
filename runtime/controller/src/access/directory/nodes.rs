//! How agents become nodes, change their keys, and are no nodes any more.

use drover_api::{Enrol, Enrolled, KnownNode, LabelNode, NewJoinToken, NodeId, Timestamp};

use super::{Change, Decision, Directory, JoinToken, Owner, Refusal};
use crate::access::secret::{NewSecret, Shown};

/// The longest life of a join token.
const MAX_JOIN_LIFE_MS: u64 = 366 * 24 * 3600 * 1000;

/// The longest name and label, and how many labels.
const MAX_TEXT: usize = 255;
const MAX_LABELS: usize = 64;

/// Somebody has approved a node.
#[derive(Debug, Clone)]
pub(crate) struct Approval {
    pub(crate) key: String,
    pub(crate) name: String,
    /// The number that it gets; with `is_fixed`, no other.
    pub(crate) node: NodeId,
    pub(crate) is_fixed: bool,
    pub(crate) labels: Vec<String>,
    pub(crate) by: String,
}

impl Directory {
    /// Makes a join token; the secret was just drawn.
    pub(crate) fn make_join_token(
        &self,
        wanted: &NewJoinToken,
        by: &str,
        secret: &NewSecret,
        now: Timestamp,
    ) -> Decision<Timestamp> {
        if wanted.uses == 0 || wanted.life_ms == 0 || wanted.life_ms > MAX_JOIN_LIFE_MS {
            let text = "a join token has at least one use, and lives up to a year";
            return Err(Refusal::wrong(text));
        }
        if wanted.node.is_some() && wanted.uses != 1 {
            return Err(Refusal::wrong("a token for one node has one use"));
        }
        check_labels(&wanted.labels)?;
        if let Some(node) = wanted.node {
            self.check_free(node)?;
        }
        let expires = Timestamp(now.0.saturating_add(wanted.life_ms));
        let join = JoinToken {
            id: secret.id.clone(),
            hash: secret.hash.clone(),
            uses: wanted.uses,
            expires,
            labels: wanted.labels.clone(),
            node: wanted.node,
            by: by.to_owned(),
        };
        let dead = self.joins.values().filter(|join| join.expires < now);
        let mut changes: Vec<_> = dead.map(|join| Change::JoinGone(join.id.clone())).collect();
        changes.push(Change::Join(join));
        Ok((expires, changes))
    }

    /// Makes a node of whoever has `key`, and a token that counts. Asked again
    /// with the same key, it answers the same and takes no other use.
    pub(crate) fn enrol(&self, key: &str, asked: &Enrol, now: Timestamp) -> Decision<Enrolled> {
        if let Some(enrolled) = self.enrolled(key)? {
            return Ok((enrolled, vec![]));
        }
        let Some(text) = &asked.token else {
            return Err(Refusal::wrong("there is no join token"));
        };
        let shown = Shown::read(text);
        let join =
            shown.and_then(|shown| self.joins.get(shown.id).filter(|join| shown.is(&join.hash)));
        let Some(join) = join else {
            return Err(Refusal::denied(
                "the join token is unknown: it was used up, has expired long ago, or is of another \
                 controller; `drover node token` makes another one",
            ));
        };
        if join.expires <= now {
            let text = "the join token has expired: `drover node token` makes another one";
            return Err(Refusal::denied(text));
        }
        let (enrolled, mut changes) = self.approve(
            &Approval {
                key: key.to_owned(),
                name: asked.name.clone(),
                node: join.node.unwrap_or(asked.node),
                is_fixed: join.node.is_some(),
                labels: join.labels.clone(),
                by: format!("join token {} of {}", join.id, join.by),
            },
            now,
        )?;
        changes.push(match join.uses {
            0 | 1 => Change::JoinGone(join.id.clone()),
            more => Change::Join(JoinToken { uses: more - 1, ..join.clone() }),
        });
        Ok((enrolled, changes))
    }

    /// What whoever has a key is already.
    pub(crate) fn enrolled(&self, key: &str) -> Result<Option<Enrolled>, Refusal> {
        match self.owner(key) {
            None => Ok(None),
            Some(Owner::User(name)) => {
                Err(Refusal::denied(format!("the key is that of the user `{name}`")))
            }
            Some(Owner::Node(node)) => match self.node(*node) {
                Some(KnownNode { revoked: None, labels, .. }) => {
                    Ok(Some(Enrolled { node: *node, labels: labels.clone() }))
                }
                _ => Err(Refusal::denied(format!(
                    "the node {node} was revoked, and its key with it: remove the agent's \
                     identity, and join with a new token"
                ))),
            },
        }
    }

    /// Makes a node of whoever has a key, by somebody's word.
    pub(crate) fn approve(&self, approval: &Approval, now: Timestamp) -> Decision<Enrolled> {
        let Approval { key, name, labels, .. } = approval;
        check_labels(labels)?;
        if name.is_empty() || name.len() > MAX_TEXT || name.chars().any(char::is_control) {
            let text = format!("a name has up to {MAX_TEXT} characters, none of control");
            return Err(Refusal::wrong(text));
        }
        let node = match self.check_free(approval.node) {
            Ok(()) => approval.node,
            Err(refusal) if approval.is_fixed => return Err(refusal),
            Err(_) => self.next_free(approval.node.gid.0)?,
        };
        let known = KnownNode {
            node,
            name: name.clone(),
            labels: labels.clone(),
            keys: vec![key.clone()],
            since: now,
            by: approval.by.clone(),
            revoked: None,
        };
        Ok((Enrolled { node, labels: labels.clone() }, vec![Change::Node(known)]))
    }

    /// Puts an end to a node, by its number or its name.
    pub(crate) fn revoke(&self, name: &str, now: Timestamp) -> Decision<NodeId> {
        let node = self.meant(name)?;
        let revoked = KnownNode { revoked: Some(now), ..node.clone() };
        Ok((node.node, vec![Change::Node(revoked)]))
    }

    /// Changes the labels of a node; answers with all that it has then.
    pub(crate) fn label(&self, asked: &LabelNode) -> Decision<Vec<String>> {
        let node = self.meant(&asked.node)?;
        check_labels(&asked.add)?;
        let key = |label: &str| label.split_once('=').map(|(key, _)| key.to_owned());
        let mut labels = node.labels.clone();
        for gone in &asked.remove {
            let before = labels.len();
            labels.retain(|label| label != gone && key(label).as_ref() != Some(gone));
            if labels.len() == before {
                let text = format!(
                    "node {} has no label `{gone}`, only: {}",
                    node.node,
                    node.labels.join(" ")
                );
                return Err(Refusal::wrong(text));
            }
        }
        for new in &asked.add {
            let key_of_new = key(new);
            labels
                .retain(|label| label != new && (key_of_new.is_none() || key(label) != key_of_new));
            labels.push(new.clone());
        }
        check_labels(&labels)?;
        let changes = match labels == node.labels {
            true => vec![],
            false => vec![Change::Node(KnownNode { labels: labels.clone(), ..node.clone() })],
        };
        Ok((labels, changes))
    }

    /// Forgets a node and its keys, so that its number is free.
    pub(crate) fn forget(&self, node: NodeId) -> Decision<()> {
        let change = self.node(node).map(|known| Change::NodeGone(known.node));
        Ok(((), change.into_iter().collect()))
    }

    /// The one node that has a number or a name and was not revoked.
    fn meant(&self, name: &str) -> Result<&KnownNode, Refusal> {
        let id = name.parse::<NodeId>().ok();
        let mut meant = self
            .nodes
            .values()
            .filter(|node| node.revoked.is_none() && (id == Some(node.node) || node.name == name));
        match (meant.next(), meant.next()) {
            (Some(node), None) => Ok(node),
            (Some(_), Some(_)) => {
                let text = format!("more than one node is named `{name}`: use the number");
                Err(Refusal::wrong(text))
            }
            (None, _) => {
                let text = format!("no node `{name}` has joined with a key: `drover node list`");
                Err(Refusal::wrong(text))
            }
        }
    }

    /// Knows a node by another key as well, and asked for the same key again by
    /// that one alone.
    pub(crate) fn rotate(&self, node: NodeId, key: &str) -> Decision<()> {
        let known = self.node(node).filter(|known| known.revoked.is_none());
        let Some(known) = known else {
            return Err(Refusal::denied(format!("{node} is no node that has joined with a key")));
        };
        match self.owner(key) {
            None => {}
            // Asked again, the node has stored the new one.
            Some(Owner::Node(owner)) if *owner == node => {
                return Ok(((), self.settle_key(node, key).into_iter().collect()));
            }
            Some(_) => return Err(Refusal::denied("somebody else has this key")),
        }
        // One that was never used gives way.
        let current = known.keys.first().cloned();
        let keys = current.into_iter().chain([key.to_owned()]).collect();
        Ok(((), vec![Change::Node(KnownNode { keys, ..known.clone() })]))
    }

    /// Forgets the former key of a node that has used its new one.
    pub(crate) fn settle_key(&self, node: NodeId, key: &str) -> Option<Change> {
        let known = self.node(node)?;
        let is_new = known.keys.len() > 1 && known.keys.last().is_some_and(|last| last == key);
        is_new.then(|| Change::Node(KnownNode { keys: vec![key.to_owned()], ..known.clone() }))
    }

    fn check_free(&self, node: NodeId) -> Result<(), Refusal> {
        if self.nodes.contains_key(&node) {
            return Err(Refusal::wrong(format!("there is a node {node} already, or was one")));
        }
        Ok(())
    }

    fn next_free(&self, gid: u32) -> Result<NodeId, Refusal> {
        let of_grid = NodeId::new(gid, 0)..=NodeId::new(gid, u32::MAX);
        let last = self.nodes.range(of_grid).next_back().map_or(0, |(node, _)| node.nid.0);
        let next = last.checked_add(1).map(|nid| NodeId::new(gid, nid));
        next.ok_or_else(|| Refusal::wrong(format!("the grid {gid} has no numbers left")))
    }
}

fn check_labels(labels: &[String]) -> Result<(), Refusal> {
    let is_wrong = |label: &String| {
        label.is_empty() || label.len() > MAX_TEXT || label.chars().any(char::is_control)
    };
    if labels.len() > MAX_LABELS || labels.iter().any(is_wrong) {
        let text = format!(
            "up to {MAX_LABELS} labels, each of 1 to {MAX_TEXT} characters, none of control"
        );
        return Err(Refusal::wrong(text));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
