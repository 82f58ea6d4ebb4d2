//! What a parser made of a batch: checked once, then read without copying.

use bytes::Bytes;
use drover_api::{Level, Record, Timestamp};

use crate::bindings::packing::exports::drover::plugin::packed_lines::Packed;
use crate::bindings::parsing::exports::drover::plugin::line_parsing::Field as FieldSpan;
use crate::packing::{self, Numbers, numbers};

/// The kinds of fields; see `wit/line-parsing.wit`.
const TEXT: u16 = 0;
const REWRITTEN: u16 = 1;
const INTEGER: u16 = 2;
const FLOAT: u16 = 3;

/// The events of a batch, in the order of their lines.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The lines that the events are of, end to end.
    text: Bytes,
    /// Whole ones: two numbers each.
    events: Vec<u64>,
    fields: Vec<u64>,
    names: Vec<String>,
    rewritten: Vec<u8>,
    records: Vec<Record>,
    unparsed: usize,
}

/// One event: a line, or several that belong together.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// When it happened; none if the lines do not say.
    pub time: Option<Timestamp>,
    /// Who it is for and how bad it is.
    pub level: Level,
    /// The lines as they were, with their ends.
    pub text: &'a [u8],
    /// Whether the lines are of the parser's format.
    pub is_parsed: bool,
    fields: &'a [Numbers],
    of: &'a Parsed,
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FieldValue<'a> {
    /// A text, which need not be UTF-8.
    Text(&'a [u8]),
    /// A whole number.
    Integer(i64),
    /// Any other number, and what floating point has beside numbers.
    Float(f64),
}

impl Parsed {
    /// Checks what a plugin answered about `lines`; says what is wrong with it.
    pub(crate) fn check(
        lines: &Bytes,
        answer: Packed,
        records: Vec<Record>,
    ) -> Result<Self, String> {
        let Packed { events, fields, names, rewritten } = answer;
        let half = |what: &str, list: &[u64]| format!("{} numbers of {what} are odd", list.len());
        let all = numbers(&events).ok_or_else(|| half("events", &events))?;
        let mut unchecked = numbers(&fields).ok_or_else(|| half("fields", &fields))?;
        let (mut covered, mut unparsed) = (0_usize, 0);
        for (number, event) in all.iter().map(|event| packing::event(*event)).enumerate() {
            let length = event.length as usize;
            covered += length;
            if covered > lines.len() {
                let total = lines.len();
                return Err(format!("event {number} ends at byte {covered} of {total}"));
            }
            let Some((own, rest)) = unchecked.split_at_checked(event.fields.into()) else {
                return Err(format!("event {number} has more fields than there are"));
            };
            unchecked = rest;
            for field in own.iter().map(|field| packing::field(*field)) {
                if !is_inside(&field, length, names.len(), rewritten.len()) {
                    return Err(format!("a field of event {number} is not there: {field:?}"));
                }
            }
            unparsed += usize::from(event.status == 0);
        }
        if !unchecked.is_empty() {
            return Err(format!("{} fields are of no event", unchecked.len()));
        }
        let text = lines.slice(..covered);
        Ok(Self { text, events, fields, names, rewritten, records, unparsed })
    }

    /// The events, in the order of their lines.
    pub fn events(&self) -> impl Iterator<Item = Event<'_>> {
        // Both lists were checked to have no halves.
        let (mut text, mut fields) = (&self.text[..], self.fields.as_chunks().0);
        self.events.as_chunks().0.iter().map(move |event| {
            let span = packing::event(*event);
            let (own_text, later_text) = text.split_at(span.length as usize);
            let (own_fields, later_fields) = fields.split_at(span.fields.into());
            (text, fields) = (later_text, later_fields);
            Event {
                time: (span.time != 0).then_some(Timestamp(span.time)),
                level: level(span.level),
                text: own_text,
                is_parsed: span.status != 0,
                fields: own_fields,
                of: self,
            }
        })
    }

    /// The lines of all events, end to end.
    #[must_use]
    pub fn text(&self) -> &Bytes {
        &self.text
    }

    /// How many lines the events have.
    #[must_use]
    pub fn lines(&self) -> usize {
        let ends = self.text.iter().filter(|byte| **byte == b'\n').count();
        let has_rest = self.text.last().is_some_and(|byte| *byte != b'\n');
        ends + usize::from(has_rest)
    }

    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.as_chunks::<2>().0.len()
    }

    /// Whether there are no events.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// How many events are of lines that are not of the parser's format.
    #[must_use]
    pub fn unparsed(&self) -> usize {
        self.unparsed
    }

    /// What the plugin logged meanwhile; of very much only the beginning.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }
}

impl<'a> Event<'a> {
    /// The fields, in the plugin's order. Of two with the same name, the later
    /// one counts.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&'a str, FieldValue<'a>)> {
        let (of, text) = (self.of, self.text);
        self.fields.iter().map(move |field| {
            let field = packing::field(*field);
            let start = field.value as usize;
            let value = match field.kind {
                TEXT => FieldValue::Text(&text[start..start + field.length as usize]),
                REWRITTEN => FieldValue::Text(&of.rewritten[start..start + field.length as usize]),
                INTEGER => FieldValue::Integer(field.value.cast_signed()),
                _ => FieldValue::Float(f64::from_bits(field.value)),
            };
            (of.names[usize::from(field.name)].as_str(), value)
        })
    }
}

/// Whether a field points at what is there.
fn is_inside(field: &FieldSpan, event: usize, names: usize, rewritten: usize) -> bool {
    let is_text_of = |length: usize| {
        let end = field.value.checked_add(field.length.into());
        end.is_some_and(|end| end <= length as u64)
    };
    let has_value = match field.kind {
        TEXT => is_text_of(event),
        REWRITTEN => is_text_of(rewritten),
        INTEGER | FLOAT => true,
        _ => false,
    };
    has_value && usize::from(field.name) < names
}

/// A level that a message can have.
fn level(number: u8) -> Level {
    match Level(number) {
        level @ (Level::PUBLIC
        | Level::OPERATOR
        | Level::TEXT
        | Level::STRUCTURED
        | Level::WARNING
        | Level::ERROR
        | Level::CRITICAL
        | Level::DEBUG) => level,
        _ => Level::TEXT,
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use crate::bindings::parsing::exports::drover::plugin::line_parsing::{
        Event as EventSpan, Parsed as Answer,
    };

    use super::*;

    fn event(length: u32, fields: u16) -> EventSpan {
        EventSpan { length, fields, level: 5, status: 1, time: 0 }
    }

    fn field(name: u16, kind: u16, length: u32, value: u64) -> FieldSpan {
        FieldSpan { name, kind, length, value }
    }

    fn answer(events: Vec<EventSpan>, fields: Vec<FieldSpan>) -> Answer {
        Answer { events, fields, names: vec!["a".into()], rewritten: b"xyz".to_vec() }
    }

    fn check(lines: &'static [u8], answer: Answer) -> Result<Parsed, String> {
        Parsed::check(&Bytes::from_static(lines), packing::packed(answer), Vec::new())
    }

    #[test]
    fn events_are_the_beginning_of_the_lines_and_fields_point_into_them() {
        let fields = vec![
            field(0, TEXT, 2, 1),
            field(0, REWRITTEN, 3, 0),
            field(0, INTEGER, 0, u64::MAX),
            field(0, FLOAT, 0, 1.5_f64.to_bits()),
        ];
        let mut events = vec![event(4, 1), event(3, 3)];
        events[0].time = 7;
        events[1].level = 20;
        events[1].status = 0;
        let parsed = check(b"one\ntw\nthree\n", answer(events, fields)).unwrap();
        let [first, second] = parsed.events().collect::<Vec<_>>().try_into().unwrap();
        assert_eq!((first.text, first.time), (&b"one\n"[..], Some(Timestamp(7))));
        assert_eq!(first.fields().collect::<Vec<_>>(), [("a", FieldValue::Text(b"ne"))]);
        assert_eq!((second.text, second.level), (&b"tw\n"[..], Level::TEXT));
        assert!(first.is_parsed && !second.is_parsed);
        let values: Vec<_> = second.fields().map(|(_, value)| value).collect();
        let expected = [FieldValue::Text(b"xyz"), FieldValue::Integer(-1), FieldValue::Float(1.5)];
        assert_eq!(values, expected);
        assert_eq!((parsed.len(), parsed.unparsed(), parsed.lines()), (2, 1, 2));
        assert_eq!(&parsed.text()[..], b"one\ntw\n");
    }

    #[test]
    fn what_points_elsewhere_is_refused() {
        for (events, fields, words) in [
            (vec![event(3, 0), event(2, 0)], vec![], "event 1 ends at byte 5 of 4"),
            (vec![event(4, 1)], vec![], "more fields"),
            (vec![event(4, 0)], vec![field(0, INTEGER, 0, 0)], "1 fields are of no event"),
            (vec![event(2, 1)], vec![field(0, TEXT, 2, 1)], "not there"),
            (vec![event(4, 1)], vec![field(0, TEXT, 2, u64::MAX)], "not there"),
            (vec![event(4, 1)], vec![field(0, REWRITTEN, 4, 0)], "not there"),
            (vec![event(4, 1)], vec![field(1, INTEGER, 0, 0)], "not there"),
            (vec![event(4, 1)], vec![field(0, 4, 0, 0)], "not there"),
        ] {
            let error = check(b"abc\n", answer(events, fields)).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn half_an_event_or_field_is_refused() {
        for (events, fields) in [(vec![4, 0, 1], vec![]), (vec![1 << 32 | 4, 0], vec![1 << 17])] {
            let packed = Packed { events, fields, names: vec!["a".into()], rewritten: Vec::new() };
            let error =
                Parsed::check(&Bytes::from_static(b"abc\n"), packed, Vec::new()).unwrap_err();
            assert!(error.contains("odd"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_passes_the_check_can_be_read(
            lengths in vec((0..6_u32, 0..3_u16), 0..4),
            spans in vec((0..3_u16, 0..6_u16, 0..6_u32, 0..6_u64), 0..6),
        ) {
            let events = lengths.into_iter().map(|(length, fields)| event(length, fields));
            let fields = spans.into_iter().map(|(name, kind, length, value)| {
                field(name, kind, length, value)
            });
            let checked = check(b"some\nlines\n", answer(events.collect(), fields.collect()));
            if let Ok(parsed) = checked {
                let text: Vec<u8> =
                    parsed.events().flat_map(|event| event.text.to_vec()).collect();
                prop_assert_eq!(&text[..], &parsed.text()[..]);
                prop_assert!(parsed.events().map(|event| event.fields().count()).sum::<usize>() < 6);
            }
        }
    }
}
