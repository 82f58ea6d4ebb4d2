//! A plugin whose `describe` takes memory until there is none.
#![cfg(target_family = "wasm")]

use std::hint::black_box;

use drover_sdk::__private::{Guest, export};
use drover_sdk::{Description, RunError};

struct Allocate;

impl Guest for Allocate {
    fn describe() -> Vec<Description> {
        let mut hoard = Vec::new();
        loop {
            hoard.push(black_box(vec![1_u8; 1024 * 1024]));
        }
    }

    fn run(_: String, _: String) -> Result<String, RunError> {
        Err(RunError::UnknownOperation)
    }
}

export!(Allocate with_types_in drover_sdk::bindings);
