//! A realm keeps its promises, whatever its sessions send.

#![no_main]

libfuzzer_sys::fuzz_target!(|script: &[u8]| drover_wamp::fuzzing::router(script));
