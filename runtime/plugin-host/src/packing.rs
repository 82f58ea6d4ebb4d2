//! Events and fields of parsed lines in two numbers each; see
//! `wit/packed-lines.wit`.

use crate::bindings::packing::exports::drover::plugin::packed_lines::Packed;
use crate::bindings::parsing::exports::drover::plugin::line_parsing::{Event, Field, Parsed};

/// Numbers for each event and each field.
const NUMBERS: usize = 2;

/// An event or a field as it comes.
pub(crate) type Numbers = [u64; NUMBERS];

/// The events or fields of an answer; none if there is a half.
pub(crate) fn numbers(list: &[u64]) -> Option<&[Numbers]> {
    match list.as_chunks() {
        (all, []) => Some(all),
        _ => None,
    }
}

/// The event of these numbers.
#[inline]
pub(crate) fn event([first, time]: Numbers) -> Event {
    Event {
        length: first as u32,
        fields: (first >> 32) as u16,
        level: (first >> 48) as u8,
        status: (first >> 56) as u8,
        time,
    }
}

/// The field of these numbers.
#[inline]
pub(crate) fn field([first, value]: Numbers) -> Field {
    Field { name: first as u16, kind: (first >> 16) as u16, length: (first >> 32) as u32, value }
}

/// The answer of a plugin that has only records.
pub(crate) fn packed(answer: Parsed) -> Packed {
    let Parsed { events, fields, names, rewritten } = answer;
    Packed {
        events: events.iter().flat_map(of_event).collect(),
        fields: fields.iter().flat_map(of_field).collect(),
        names,
        rewritten,
    }
}

fn of_event(event: &Event) -> Numbers {
    let Event { length, fields, level, status, time } = *event;
    let rest = u64::from(fields) << 32 | u64::from(level) << 48 | u64::from(status) << 56;
    [u64::from(length) | rest, time]
}

fn of_field(field: &Field) -> Numbers {
    let Field { name, kind, length, value } = *field;
    [u64::from(name) | u64::from(kind) << 16 | u64::from(length) << 32, value]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_as_the_contract_says_and_comes_back() {
        let one = Event { length: 65_537, fields: 258, level: 11, status: 1, time: u64::MAX };
        let text = Field { name: 259, kind: 1, length: 70_000, value: 1 << 40 };
        assert_eq!(of_event(&one)[0], 0x010b_0102_0001_0001);
        assert_eq!(of_field(&text)[0], 0x0001_1170_0001_0103);
        assert_eq!(format!("{:?}", event(of_event(&one))), format!("{one:?}"));
        assert_eq!(format!("{:?}", field(of_field(&text))), format!("{text:?}"));
        assert_eq!(numbers(&[1, 2, 3]), None);
        assert_eq!(numbers(&[1, 2]), Some(&[[1, 2]][..]));
    }
}
