//! A parser of log lines whose answers are numbers: right ones, or half an event.
#![cfg(target_family = "wasm")]

use std::cell::Cell;

use drover_sdk::__private::packing::exports::drover::plugin::packed_lines::Packed;
use drover_sdk::__private::parsing::exports::drover::plugin::line_parsing::{
    Format, OpenError, Parsed,
};
use drover_sdk::__private::{
    LineParsingGuest, PackedLinesGuest, export_line_parsing, export_packed_lines, packing, parsing,
};

struct Lines;

thread_local! {
    static IS_HALF: Cell<bool> = const { Cell::new(false) };
}

impl LineParsingGuest for Lines {
    fn describe() -> Vec<Format> {
        let format = |name: &str| Format {
            name: name.to_owned(),
            doc: "Lines.".to_owned(),
            options: r#"{"type":"object"}"#.to_owned(),
        };
        ["half", "whole"].map(format).into()
    }

    fn open(format: String, _options: String) -> Result<(), OpenError> {
        IS_HALF.set(format == "half");
        Ok(())
    }

    fn parse(_lines: Vec<u8>, _is_last: bool) -> Parsed {
        panic!("a host that knows numbers takes them")
    }
}

impl PackedLinesGuest for Lines {
    /// One event of everything: its length as an integer and its first byte as a text.
    fn parse(lines: Vec<u8>, _is_last: bool) -> Packed {
        let length = lines.len() as u64;
        let event = [length | 2 << 32 | 7 << 48 | 1 << 56, 1_700_000_000_000];
        Packed {
            events: event[usize::from(IS_HALF.get())..].to_vec(),
            fields: vec![2 << 16, length, 1 | 1 << 32, 0],
            names: vec!["length".to_owned(), "first".to_owned()],
            rewritten: Vec::new(),
        }
    }
}

export_line_parsing!(Lines with_types_in parsing);
export_packed_lines!(Lines with_types_in packing);
