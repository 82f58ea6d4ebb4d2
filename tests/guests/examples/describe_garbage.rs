//! A plugin that describes an operation with a schema that is no JSON.
#![cfg(target_family = "wasm")]

use drover_sdk::__private::{Guest, export};
use drover_sdk::{Description, Kind, RunError};

struct Garbage;

impl Guest for Garbage {
    fn describe() -> Vec<Description> {
        vec![Description {
            name: "nothing".to_owned(),
            kind: Kind::Task,
            doc: "Does nothing.".to_owned(),
            arguments: "no JSON".to_owned(),
            returns: "{}".to_owned(),
        }]
    }

    fn run(_: String, _: String) -> Result<String, RunError> {
        Err(RunError::UnknownOperation)
    }
}

export!(Garbage with_types_in drover_sdk::bindings);
