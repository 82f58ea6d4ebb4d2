//! Any bytes are a message or an error, and what is a message can be passed on.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| drover_wamp::fuzzing::codec(data));
