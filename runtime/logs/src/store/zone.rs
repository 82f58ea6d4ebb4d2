//! Summaries of stretches of records, by which queries skip what they need not
//! look at.
//!
//! An index on job and time would cost the writer as much as the records
//! themselves. Instead, whenever some thousand records are written, their zone
//! is written too: which times and levels occur in it, and, for each job, in
//! which runs of ids its records stand. That costs a few bytes for each change
//! from one job to another, and nothing while a job talks on.

use drover_api::{JobId, Level, NodeId, Timestamp};

use super::record::{Flags, Sequence};
use crate::level_set::LevelSet;

/// Records in a zone. Those after the last zone have no summary, so this is how
/// many a query may look at in vain.
pub(super) const ZONE_RECORDS: u64 = 8192;

/// The zone that is being filled.
#[derive(Debug, Default)]
pub(super) struct OpenZone {
    summary: Option<ZoneSummary>,
    records: u64,
    runs: Vec<(u64, Run)>,
    /// The runs of the nodes that sent the records, if nodes did.
    node_runs: Vec<(u64, Run)>,
}

/// What occurs in a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ZoneSummary {
    pub(super) first: Sequence,
    pub(super) last: Sequence,
    pub(super) earliest: Timestamp,
    pub(super) latest: Timestamp,
    pub(super) levels: LevelSet,
    pub(super) has_forwarded: bool,
}

/// Records with ids that follow each other, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) last: u64,
}

/// Where in a zone the records of one job are, or those that one node sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    /// The number of the job or node.
    pub(super) job: u64,
    pub(super) first: u64,
    /// As [`decode_runs`] reads them.
    pub(super) runs: Vec<u8>,
}

impl OpenZone {
    /// Takes note of a record; ids go up.
    pub(super) fn add(
        &mut self,
        id: Sequence,
        job: u64,
        (time, level, flags): (Timestamp, Level, Flags),
    ) {
        self.records += 1;
        let summary = self.summary.get_or_insert(ZoneSummary {
            first: id,
            last: id,
            earliest: time,
            latest: time,
            levels: LevelSet::NONE,
            has_forwarded: false,
        });
        summary.last = id;
        summary.earliest = summary.earliest.min(time);
        summary.latest = summary.latest.max(time);
        summary.levels.insert(level);
        summary.has_forwarded |= flags.has(Flags::FORWARD);
        extend(&mut self.runs, job, id.0);
    }

    /// Takes note of the node that sent the record that was added last.
    pub(super) fn add_node(&mut self, id: Sequence, node: u64) {
        extend(&mut self.node_runs, node, id.0);
    }

    pub(super) fn is_full(&self) -> bool {
        self.records >= ZONE_RECORDS
    }

    /// Ends the zone: its summary, and each job's span, in the order of their
    /// table. The zone is empty afterwards.
    pub(super) fn finish(&mut self) -> Option<(ZoneSummary, Vec<Span>)> {
        let summary = self.summary.take()?;
        self.records = 0;
        let mut runs = std::mem::take(&mut self.runs);
        runs.append(&mut self.node_runs);
        runs.sort_unstable();
        let spans = runs.chunk_by(|(a, _), (b, _)| a == b).map(|runs| {
            let (job, Run { first, .. }) = runs[0];
            Span { job, first, runs: encode_runs(runs.iter().map(|(_, run)| *run)) }
        });
        Some((summary, spans.collect()))
    }
}

fn extend(runs: &mut Vec<(u64, Run)>, number: u64, id: u64) {
    match runs.last_mut() {
        Some((of, run)) if *of == number && run.last + 1 == id => run.last = id,
        _ => runs.push((number, Run { first: id, last: id })),
    }
}

/// The number by which a job's records are found. Two jobs may share one, so
/// what is found is compared with the job's id. FNV-1a: it is written to disk,
/// and must be the same for ever.
pub(super) fn job_number(job: &JobId) -> u64 {
    fnv(job.as_str().bytes())
}

/// The number by which the records are found that a node sent. The slash is in
/// no job's id.
pub(super) fn node_number(node: NodeId) -> u64 {
    fnv(format!("/{node}").bytes())
}

fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Writes runs as the distance to each and its length, seven bits to the byte.
fn encode_runs(runs: impl Iterator<Item = Run>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut at = None;
    for run in runs {
        encode_number(&mut bytes, run.first - at.unwrap_or(run.first));
        encode_number(&mut bytes, run.last - run.first);
        at = Some(run.last);
    }
    bytes
}

/// Reads what [`encode_runs`] wrote for runs that begin at `first`. Stops where
/// the bytes make no sense.
pub(super) fn decode_runs(first: u64, bytes: &[u8]) -> Vec<Run> {
    let mut runs = Vec::new();
    let (mut at, mut rest) = (first, bytes);
    while let Some((distance, length)) = decode_number(&mut rest).zip(decode_number(&mut rest)) {
        let Some(first) = at.checked_add(distance) else { break };
        let Some(last) = first.checked_add(length) else { break };
        runs.push(Run { first, last });
        at = last;
    }
    runs
}

fn encode_number(bytes: &mut Vec<u8>, number: u64) {
    let mut rest = number;
    while rest >= 0x80 {
        bytes.push(u8::try_from(rest & 0x7f).unwrap_or_default() | 0x80);
        rest >>= 7;
    }
    bytes.push(u8::try_from(rest).unwrap_or_default());
}

fn decode_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn note(zone: &mut OpenZone, id: u64, job: u64) {
        zone.add(Sequence(id), job, (Timestamp(id), Level(1), Flags(0)));
    }

    #[test]
    fn a_job_that_talks_on_costs_two_bytes() {
        let mut zone = OpenZone::default();
        (1..100_u64).for_each(|id| note(&mut zone, id, 7));
        let (summary, spans) = zone.finish().unwrap();
        assert_eq!((summary.first, summary.last), (Sequence(1), Sequence(99)));
        assert_eq!(spans, [Span { job: 7, first: 1, runs: vec![0, 98] }]);
        assert!(zone.finish().is_none());
    }

    #[test]
    fn the_number_of_a_job_never_changes() {
        assert_eq!(job_number(&"a".parse().unwrap()), 0xaf63_dc4c_8601_ec8c);
    }

    #[test]
    fn jobs_of_one_node_share_its_span() {
        let mut zone = OpenZone::default();
        for id in 1..10 {
            note(&mut zone, id, id);
            zone.add_node(Sequence(id), 70);
        }
        let (_, spans) = zone.finish().unwrap();
        assert_eq!(spans.len(), 10);
        assert!(spans.contains(&Span { job: 70, first: 1, runs: vec![0, 8] }));
    }

    proptest! {
        #[test]
        fn every_record_is_found_in_the_runs_of_its_job(
            steps in prop::collection::vec((1..300_u64, 0..4_u64), 1..200),
        ) {
            let mut zone = OpenZone::default();
            let mut expected = Vec::new();
            let mut id = 0;
            for (step, job) in steps {
                id += step;
                note(&mut zone, id, job);
                expected.push((job, id));
            }
            let (_, spans) = zone.finish().unwrap();
            let mut found = Vec::new();
            for Span { job, first, runs } in spans {
                for run in decode_runs(first, &runs) {
                    found.extend((run.first..=run.last).map(|id| (job, id)));
                }
            }
            expected.sort_unstable();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn damaged_runs_are_no_panic(first: u64, bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            decode_runs(first, &bytes);
        }
    }
}
