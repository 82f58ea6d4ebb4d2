//! A parser of log lines alone, which does what its format is called: it
//! answers well, holds lines back, or breaks the rules of the contract.
#![cfg(target_family = "wasm")]

use std::cell::Cell;

use drover_sdk::__private::parsing::exports::drover::plugin::line_parsing::{
    Event, Field, Format, Guest, OpenError, Parsed,
};
use drover_sdk::__private::{export_line_parsing, parsing};
use drover_sdk::log;

struct Lines;

thread_local! {
    static FORMAT: Cell<&str> = const { Cell::new("") };
}

const FORMATS: &[&str] = &[
    // One event for each line, with its length and its first byte as fields.
    "lines",
    // One event for all lines up to an empty one.
    "paragraphs",
    // Wrong options, whatever they are.
    "unhappy",
    "panic",
    "spin",
    "allocate",
    "outside",
    "leave",
];

impl Guest for Lines {
    fn describe() -> Vec<Format> {
        let format = |name: &&str| Format {
            name: (*name).to_owned(),
            doc: "Lines.".to_owned(),
            options: r#"{"type":"object","properties":{"x":{"type":"integer"}}}"#.to_owned(),
        };
        FORMATS.iter().map(format).collect()
    }

    fn open(format: String, options: String) -> Result<(), OpenError> {
        let known = FORMATS.iter().find(|known| **known == format);
        FORMAT.set(known.ok_or(OpenError::UnknownFormat)?);
        match *known.ok_or(OpenError::UnknownFormat)? {
            "unhappy" => Err(OpenError::InvalidOptions(format!("not with {options}"))),
            _ => Ok(()),
        }
    }

    fn parse(lines: Vec<u8>, is_last: bool) -> Parsed {
        log::warning(format_args!("{} bytes", lines.len()));
        let mut parsed = Parsed {
            events: Vec::new(),
            fields: Vec::new(),
            names: vec!["length".to_owned(), "first".to_owned()],
            rewritten: Vec::new(),
        };
        match FORMAT.get() {
            "paragraphs" => {
                let end = match lines.windows(2).rposition(|pair| pair == b"\n\n") {
                    _ if is_last => lines.len(),
                    Some(index) => index + 2,
                    None => 0,
                };
                if end > 0 {
                    parsed.events.push(event(end, 0));
                }
            }
            "panic" => panic!("no lines today"),
            "spin" => loop {
                std::hint::spin_loop();
            },
            "allocate" => {
                let mut all = Vec::new();
                loop {
                    all.push(vec![1_u8; 1 << 20]);
                }
            }
            "outside" => parsed.events.push(event(lines.len() + 1, 0)),
            "leave" => {}
            _ => {
                for line in lines.split_inclusive(|byte| *byte == b'\n') {
                    parsed.events.push(event(line.len(), 2));
                    let length = line.len() as u64;
                    parsed.fields.push(Field { name: 0, kind: 2, length: 0, value: length });
                    parsed.fields.push(Field { name: 1, kind: 0, length: 1, value: 0 });
                }
            }
        }
        parsed
    }
}

fn event(length: usize, fields: u16) -> Event {
    Event { length: length as u32, fields, level: 7, status: 1, time: 1_700_000_000_000 }
}

export_line_parsing!(Lines with_types_in parsing);
