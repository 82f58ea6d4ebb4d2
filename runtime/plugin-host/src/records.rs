//! The log records of one job.

use drover_api::{Level, Record, Timestamp};

/// The longest message, in bytes; see `wit/log.wit`.
const MESSAGE: usize = 64 << 10;
/// Records of one job that are kept; see `wit/log.wit`.
const RECORDS: usize = 1_000;
/// Bytes of all messages of one job that are kept; see `wit/log.wit`.
const ALL_MESSAGES: usize = 4 << 20;

/// A record of now, its message cut if it is too long.
pub(crate) fn record(level: Level, message: &str) -> Record {
    Record { time: Timestamp::now(), level, data: cut(message, MESSAGE).to_owned() }
}

/// Collects the records of a job, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Records {
    kept: Vec<Record>,
    bytes: usize,
    left_out: u64,
}

impl Records {
    /// Adds a record, or counts it if there are too many.
    pub(crate) fn push(&mut self, record: &Record) {
        // Once one is left out, all that follow are: no holes in the middle.
        let is_full = self.left_out > 0
            || self.kept.len() == RECORDS
            || self.bytes + record.data.len() > ALL_MESSAGES;
        if is_full {
            self.left_out += 1;
            return;
        }
        self.bytes += record.data.len();
        self.kept.push(record.clone());
    }

    /// What is kept; if anything was left out, the last record says how much.
    pub(crate) fn finish(self) -> Vec<Record> {
        let mut records = self.kept;
        if self.left_out > 0 {
            records.push(Record {
                time: Timestamp::now(),
                level: Level::WARNING,
                data: format!("{} more records were left out", self.left_out),
            });
        }
        records
    }
}

/// The start of `text`: at most `bytes` long, and no character cut.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_keep_their_order() {
        let mut records = Records::default();
        records.push(&record(Level::PUBLIC, "one"));
        records.push(&record(Level::ERROR, "two"));
        let kept: Vec<_> = records.finish().into_iter().map(|r| (r.level, r.data)).collect();
        assert_eq!(kept, [(Level::PUBLIC, "one".into()), (Level::ERROR, "two".into())]);
    }

    #[test]
    fn the_last_record_counts_those_left_out() {
        let mut records = Records::default();
        (0..RECORDS + 3).for_each(|_| records.push(&record(Level::DEBUG, "x")));
        let kept = records.finish();
        assert_eq!(kept.len(), RECORDS + 1);
        assert_eq!(kept[RECORDS].data, "3 more records were left out");
    }

    #[test]
    fn long_messages_are_cut_and_bounded_together() {
        let mut records = Records::default();
        let long = "ä".repeat(MESSAGE);
        (0..100).for_each(|_| records.push(&record(Level::TEXT, &long)));
        let kept = records.finish();
        assert!(kept.iter().all(|record| record.data.len() <= MESSAGE));
        assert!(kept.iter().map(|record| record.data.len()).sum::<usize>() <= ALL_MESSAGES + 100);
        assert_eq!(kept.len(), ALL_MESSAGES / MESSAGE + 1);
    }
}
