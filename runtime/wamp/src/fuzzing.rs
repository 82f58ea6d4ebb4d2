//! The doors through which a fuzzer reaches the cores, which are private.
//!
//! A door takes any bytes and panics when a core breaks a promise. It is there
//! when a fuzzer builds the crate (`cfg(fuzzing)`), and for the property tests,
//! which go through the same doors with bytes of their own. How to run it all:
//! `cargo xtask fuzz`.

pub(crate) mod choices;

/// Reads the bytes as messages in every form, and writes what it read in every other.
pub fn codec(data: &[u8]) {
    crate::codec::trial::run(data);
}

/// Has a client's session receive whatever a router might send, while its owner
/// asks for this and that.
pub fn session(data: &[u8]) {
    crate::session::trial::run(data);
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
        vec(any::<u8>(), 0..400)
    }

    proptest! {
        #[test]
        fn the_codec_reads_what_it_writes_and_refuses_the_rest(data in any_bytes()) {
            super::codec(&data);
        }

        #[test]
        fn a_session_tells_everybody_who_waits_exactly_once(data in any_bytes()) {
            super::session(&data);
        }
    }
}
