//! A plugin whose `describe` panics.
#![cfg(target_family = "wasm")]

use drover_sdk::__private::{Guest, export};
use drover_sdk::{Description, RunError};

struct Trap;

impl Guest for Trap {
    fn describe() -> Vec<Description> {
        panic!("nothing to say");
    }

    fn run(_: String, _: String) -> Result<String, RunError> {
        Err(RunError::UnknownOperation)
    }
}

export!(Trap with_types_in drover_sdk::bindings);
