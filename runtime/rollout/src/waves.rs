//! Which node has its turn when.

use drover_api::{NodeId, RolloutNode, RolloutNodeState, RolloutPlan, Timestamp};

/// A node that a rollout means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Whether it can be called now.
    pub is_here: bool,
    /// SHA-256 of what it has of the plugin, in hexadecimal.
    pub before: Option<String>,
}

/// A plan that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {problem}")]
pub struct PlanError {
    /// The field of the plan.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

/// The longest that anything in a plan may take: a month.
const LONGEST_MS: u64 = 31 * 24 * 3600 * 1000;

/// The most waves that a plan may name.
const MOST_WAVES: usize = 100;

/// Checks what no node needs to be known for.
///
/// # Errors
///
/// If a time is longer than a month, nobody may be at it, or there are more than a
/// hundred waves.
pub fn check(plan: &RolloutPlan) -> Result<(), PlanError> {
    let times = [
        ("pause_ms", plan.pause_ms),
        ("watch_ms", plan.watch_ms),
        ("node_ms", plan.node_ms),
        ("away_ms", plan.away_ms),
    ];
    if let Some((field, ms)) = times.into_iter().find(|(_, ms)| *ms > LONGEST_MS) {
        let problem = format!("{ms} ms are more than a month");
        return Err(PlanError { field, problem });
    }
    if plan.node_ms == 0 {
        let problem = "a node needs some time to take a version".to_owned();
        return Err(PlanError { field: "node_ms", problem });
    }
    if plan.at_once == 0 {
        let problem = "one node at least has to be at it".to_owned();
        return Err(PlanError { field: "at_once", problem });
    }
    if plan.then.len() > MOST_WAVES {
        let problem = format!("there are more than {MOST_WAVES} waves");
        return Err(PlanError { field: "then", problem });
    }
    Ok(())
}

/// Gives each node its wave. Those that are here come before those that are away, so
/// that the first waves tell something; otherwise they come by id. A wave that would
/// have no node is left out.
#[must_use]
pub fn plan(plan: &RolloutPlan, mut nodes: Vec<Candidate>, now: Timestamp) -> Vec<RolloutNode> {
    nodes.sort_by_key(|one| (!one.is_here, one.node));
    nodes.dedup_by_key(|one| one.node);
    let all = nodes.len();
    let canaries = all.min(usize::try_from(plan.canary).unwrap_or(all));
    let shares = plan.then.iter().map(|share| share.of(all));
    // Where waves end, each after more nodes than the one before.
    let mut ends = Vec::new();
    for end in std::iter::once(canaries).chain(shares).chain([all]) {
        if end > ends.last().copied().unwrap_or_default() {
            ends.push(end);
        }
    }
    let with_wave = nodes.into_iter().enumerate().map(|(index, one)| RolloutNode {
        node: one.node,
        name: one.name,
        wave: u32::try_from(ends.partition_point(|end| *end <= index)).unwrap_or(u32::MAX),
        state: RolloutNodeState::Waiting,
        step: None,
        reason: None,
        before: one.before,
        since: now,
        asked: None,
        is_here: one.is_here,
    });
    with_wave.collect()
}

#[cfg(test)]
mod tests {
    use drover_api::{Selector, Share};

    use super::*;

    fn a_plan(canary: u32, then: &[Share]) -> RolloutPlan {
        RolloutPlan {
            to: Selector::everything(),
            canary,
            then: then.to_vec(),
            pause_ms: 0,
            max_failures: 0,
            watch_ms: 0,
            node_ms: 1,
            away_ms: 0,
            at_once: 1,
            again: false,
            keep: false,
        }
    }

    /// How many nodes each wave has.
    fn waves(canary: u32, then: &[Share], nodes: u32) -> Vec<usize> {
        let candidate = |nid| Candidate {
            node: NodeId::new(1, nid),
            name: String::new(),
            is_here: true,
            before: None,
        };
        let nodes = (0..nodes).map(candidate).collect();
        let planned = plan(&a_plan(canary, then), nodes, Timestamp(0));
        let last = planned.iter().map(|one| one.wave).max().map_or(0, |last| last + 1);
        (0..last).map(|wave| planned.iter().filter(|one| one.wave == wave).count()).collect()
    }

    #[test]
    fn shares_count_all_that_came_before() {
        let then = [Share::Percent(10), Share::Percent(50), Share::Percent(100)];
        assert_eq!(waves(1, &then, 200), [1, 19, 80, 100]);
        assert_eq!(waves(1, &then, 3), [1, 1, 1]);
        assert_eq!(waves(1, &then, 1), [1]);
        assert_eq!(waves(0, &then, 20), [2, 8, 10]);
        assert_eq!(waves(2, &[Share::Count(5), Share::Count(4)], 8), [2, 3, 3]);
        assert_eq!(waves(0, &[], 4), [4]);
        assert_eq!(waves(9, &then, 0), [0; 0]);
    }

    #[test]
    fn those_that_are_here_come_first() {
        let node = |nid, is_here| Candidate {
            node: NodeId::new(1, nid),
            name: String::new(),
            is_here,
            before: None,
        };
        let nodes = vec![node(1, false), node(3, true), node(2, true)];
        let planned = plan(&a_plan(1, &[Share::Count(2)]), nodes, Timestamp(0));
        let waves: Vec<_> = planned.iter().map(|one| (one.node.nid.0, one.wave)).collect();
        assert_eq!(waves, [(2, 0), (3, 1), (1, 2)]);
    }

    #[test]
    fn a_plan_that_cannot_be_carried_out_is_refused() {
        let wrong = |plan: RolloutPlan| check(&plan).unwrap_err().field;
        assert_eq!(check(&a_plan(0, &[])), Ok(()));
        assert_eq!(wrong(RolloutPlan { at_once: 0, ..a_plan(0, &[]) }), "at_once");
        assert_eq!(wrong(RolloutPlan { node_ms: 0, ..a_plan(0, &[]) }), "node_ms");
        assert_eq!(wrong(RolloutPlan { pause_ms: u64::MAX, ..a_plan(0, &[]) }), "pause_ms");
        assert_eq!(wrong(a_plan(0, &[Share::Count(1); 101])), "then");
    }
}
