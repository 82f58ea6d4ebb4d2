//! A client's session keeps its promises, whatever its router sends.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| drover_wamp::fuzzing::session(data));
