//! One record as it comes out of the store.

use std::fmt;
use std::sync::Arc;

use data_encoding::BASE64;
use drover_api::{Level, NodeId, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::fields::Fields;
use crate::protocol::Part;
use crate::source::Source;

/// The number of a record: 4 bytes, unique among those that an agent keeps.
///
/// Later records have higher numbers, until they begin anew after the highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecordId(pub u32);

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The place of a record in everything an agent ever logged. Its lowest four
/// bytes are the record's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Sequence(pub(crate) u64);

impl Sequence {
    #[expect(clippy::cast_possible_truncation, reason = "the id is the lowest four bytes")]
    pub(crate) fn id(self) -> RecordId {
        RecordId(self.0 as u32)
    }

    /// The newest place with this id that is not after `newest`; `newest`
    /// itself if there was none yet.
    pub(crate) fn of(id: RecordId, newest: Self) -> Self {
        let low = u64::from(id.0);
        let here = (newest.0 & !u64::from(u32::MAX)) | low;
        let round = 1 << 32;
        match here {
            _ if here <= newest.0 => Self(here),
            _ if here >= round => Self(here - round),
            _ => newest,
        }
    }
}

/// Where a record comes from that another log sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sent {
    /// The node whose log it was in.
    pub node: NodeId,
    /// Its place there: later records of the same log have higher ones.
    pub place: u64,
}

/// One record as it is kept.
///
/// In JSON: `{id, job, domain, name, time, level, data}`. Data that is not
/// UTF-8 is written as well as it can be in `data`, and exactly in `base64`.
/// `fields` is there if a parser found some, `part` if the message was cut, `gap` if the record stands for
/// others, `node` (as `<gid>.<nid>`) and `place` if a node sent it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRecord {
    /// Its number.
    pub id: RecordId,
    /// The job it comes from, and what that runs.
    pub source: Arc<Source>,
    /// When it was written.
    pub time: Timestamp,
    /// Who it is for.
    pub level: Level,
    /// The message: any bytes.
    pub data: Vec<u8>,
    /// What a parser found in it.
    pub fields: Fields,
    /// Whether this is all of the message. The next record of the same job and
    /// level goes on with it.
    pub part: Part,
    /// Whether the record says that others were not kept.
    pub is_gap: bool,
    /// The node that sent it; absent in that node's own log.
    pub sent: Option<Sent>,
}

impl StoredRecord {
    /// The message as text; what is not UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.data)
    }
}

/// A record as it is on the link.
#[derive(Serialize, Deserialize)]
struct OnTheLink {
    id: RecordId,
    #[serde(flatten)]
    source: Source,
    time: Timestamp,
    level: Level,
    data: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    fields: Fields,
    #[serde(default, skip_serializing_if = "is_whole")]
    part: Part,
    #[serde(default, rename = "gap", skip_serializing_if = "std::ops::Not::not")]
    is_gap: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<u64>,
}

fn is_whole(part: &Part) -> bool {
    *part == Part::Whole
}

impl Serialize for StoredRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_text = std::str::from_utf8(&self.data).is_ok();
        OnTheLink {
            id: self.id,
            source: Source::clone(&self.source),
            time: self.time,
            level: self.level,
            data: self.text().into_owned(),
            base64: (!is_text).then(|| BASE64.encode(&self.data)),
            fields: self.fields.clone(),
            part: self.part,
            is_gap: self.is_gap,
            node: self.sent.map(|sent| sent.node.to_string()),
            place: self.sent.map(|sent| sent.place),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for StoredRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let record = OnTheLink::deserialize(deserializer)?;
        let data = match record.base64 {
            Some(base64) => BASE64.decode(base64.as_bytes()).map_err(de::Error::custom)?,
            None => record.data.into_bytes(),
        };
        let sent = match record.node {
            Some(node) => {
                let node = node.parse().map_err(de::Error::custom)?;
                Some(Sent { node, place: record.place.unwrap_or_default() })
            }
            None => None,
        };
        Ok(Self {
            id: record.id,
            source: Arc::new(record.source),
            time: record.time,
            level: record.level,
            data,
            fields: record.fields,
            part: record.part,
            is_gap: record.is_gap,
            sent,
        })
    }
}

/// What a record's row says besides its columns, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flags(pub(crate) u8);

impl Flags {
    const PART: u8 = 0b0011;
    /// The record is to be forwarded.
    pub(crate) const FORWARD: u8 = 0b0100;
    /// The record stands for others that were not kept.
    pub(crate) const GAP: u8 = 0b1000;

    pub(crate) fn new(part: Part, is_forwarded: bool) -> Self {
        let part = match part {
            Part::Whole => 0,
            Part::First => 1,
            Part::Middle => 2,
            Part::Last => 3,
        };
        Self(part | if is_forwarded { Self::FORWARD } else { 0 })
    }

    pub(crate) fn part(self) -> Part {
        match self.0 & Self::PART {
            1 => Part::First,
            2 => Part::Middle,
            3 => Part::Last,
            _ => Part::Whole,
        }
    }

    pub(crate) fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_means_the_newest_record_that_had_it() {
        let round = 1 << 32;
        for (id, newest, place) in [
            (5, 7, 5),
            (7, 7, 7),
            (9, 7, 7),
            (5, round + 7, round + 5),
            (9, round + 7, 9),
            (u32::MAX, round + 7, round - 1),
        ] {
            assert_eq!(Sequence::of(RecordId(id), Sequence(newest)), Sequence(place));
            let place = Sequence(place);
            assert!(place == Sequence(newest) || place.id() == RecordId(id));
        }
    }

    #[test]
    fn a_record_reads_back_from_json_to_the_byte() {
        let sent = Sent { node: NodeId::new(1, 7), place: 1 << 40 };
        for (data, has_base64, sent) in
            [(&b"text\0\n"[..], false, None), (b"\xff\xfe", true, Some(sent))]
        {
            let record = StoredRecord {
                id: RecordId(7),
                source: Arc::new(Source {
                    job: "a".parse().unwrap(),
                    domain: "web".into(),
                    name: "shop".into(),
                }),
                time: Timestamp(1),
                level: Level(42),
                data: data.to_vec(),
                fields: serde_json::from_str(r#"{"status":500,"took":0.5,"host":"a"}"#).unwrap(),
                part: Part::First,
                is_gap: true,
                sent,
            };
            let json = serde_json::to_value(&record).unwrap();
            assert_eq!((&json["job"], &json["part"]), (&"a".into(), &"first".into()));
            assert_eq!(json.get("base64").is_some(), has_base64);
            assert_eq!(json.get("node").is_some(), sent.is_some());
            assert_eq!(serde_json::from_value::<StoredRecord>(json).unwrap(), record);
        }
    }
}
