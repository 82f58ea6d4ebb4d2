//! A plugin that describes itself well and then answers with what is no JSON,
//! or fails with a code that is none.
#![cfg(target_family = "wasm")]

use drover_sdk::__private::{Guest, export};
use drover_sdk::{Description, Failure, Kind, RunError};

struct Garbage;

impl Guest for Garbage {
    fn describe() -> Vec<Description> {
        ["answer", "fail"].map(describe).into()
    }

    fn run(operation: String, _: String) -> Result<String, RunError> {
        match operation.as_str() {
            "answer" => Ok("{no JSON".to_owned()),
            _ => Err(RunError::Failed(Failure::new("No Code!\n", "\u{1b}[31mred"))),
        }
    }
}

fn describe(name: &str) -> Description {
    Description {
        name: name.to_owned(),
        kind: Kind::Task,
        doc: "Answers with garbage.".to_owned(),
        arguments: r#"{"type":"object"}"#.to_owned(),
        returns: "{}".to_owned(),
    }
}

export!(Garbage with_types_in drover_sdk::bindings);
