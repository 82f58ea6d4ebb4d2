//! Events and fields in two numbers each; see `wit/packed-lines.wit`.

use super::contract::{Event, Field, Parsed};
use super::{Packed, contract};

/// Numbers for each event and each field.
pub(super) const NUMBERS: usize = 2;

#[inline]
pub(super) fn event(event: &Event) -> [u64; NUMBERS] {
    let contract::Event { length, fields, level, status, time } = *event;
    let rest = u64::from(fields) << 32 | u64::from(level) << 48 | u64::from(status) << 56;
    [u64::from(length) | rest, time]
}

#[inline]
pub(super) fn field(field: &Field) -> [u64; NUMBERS] {
    let contract::Field { name, kind, length, value } = *field;
    [u64::from(name) | u64::from(kind) << 16 | u64::from(length) << 32, value]
}

/// The same as records, for hosts that take nothing else.
pub(super) fn unpacked(packed: Packed) -> Parsed {
    let Packed { events, fields, names, rewritten } = packed;
    let (events, _) = events.as_chunks::<NUMBERS>();
    let (fields, _) = fields.as_chunks::<NUMBERS>();
    Parsed {
        events: events.iter().map(event_of).collect(),
        fields: fields.iter().map(field_of).collect(),
        names,
        rewritten,
    }
}

fn event_of([first, time]: &[u64; NUMBERS]) -> Event {
    Event {
        length: *first as u32,
        fields: (first >> 32) as u16,
        level: (first >> 48) as u8,
        status: (first >> 56) as u8,
        time: *time,
    }
}

fn field_of([first, value]: &[u64; NUMBERS]) -> Field {
    Field {
        name: *first as u16,
        kind: (first >> 16) as u16,
        length: (first >> 32) as u32,
        value: *value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_back() {
        let large = Event { length: 65_537, fields: 258, level: 11, status: 1, time: u64::MAX };
        let none = Event { length: 0, fields: 0, level: 0, status: 0, time: 0 };
        let text = Field { name: 259, kind: 1, length: 70_000, value: 1 << 40 };
        let packed = Packed {
            events: [event(&large), event(&none)].concat(),
            fields: field(&text).to_vec(),
            names: vec!["a".to_owned()],
            rewritten: vec![7],
        };
        assert_eq!(packed.events[0], 0x010b_0102_0001_0001);
        assert_eq!(packed.fields[0], 0x0001_1170_0001_0103);
        let parsed = unpacked(packed);
        assert_eq!(format!("{:?}", parsed.events), format!("{:?}", [large, none]));
        assert_eq!(format!("{:?}", parsed.fields), format!("{:?}", [text]));
        assert_eq!((parsed.names, parsed.rewritten), (vec!["a".to_owned()], vec![7]));
    }
}
