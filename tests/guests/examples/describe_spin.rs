//! A plugin whose `describe` never comes back.
#![cfg(target_family = "wasm")]

use std::hint::black_box;

use drover_sdk::__private::{Guest, export};
use drover_sdk::{Description, RunError};

struct Spin;

impl Guest for Spin {
    fn describe() -> Vec<Description> {
        let mut turns = 0_u64;
        loop {
            turns = black_box(turns.wrapping_add(1));
        }
    }

    fn run(_: String, _: String) -> Result<String, RunError> {
        Err(RunError::UnknownOperation)
    }
}

export!(Spin with_types_in drover_sdk::bindings);
