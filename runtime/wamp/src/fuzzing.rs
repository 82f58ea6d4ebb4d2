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

/// Has a realm receive whatever sessions might send; a script, which `router/trial` explains.
pub fn router(script: &[u8]) {
    crate::router::trial::run(script);
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
        vec(any::<u8>(), 0..400)
    }

    /// Any line of the scripts that a fuzzer begins with, for any session.
    fn any_line() -> impl Strategy<Value = String> {
        const SCRIPTS: [&str; 3] = [
            include_str!("../fuzz/seeds/router/calls.txt"),
            include_str!("../fuzz/seeds/router/events.txt"),
            include_str!("../fuzz/seeds/router/meta.txt"),
        ];
        let lines: Vec<_> = SCRIPTS.iter().flat_map(|script| script.lines()).collect();
        (select(lines), 0..4_u8).prop_map(|(line, session)| match line.split_once('[') {
            Some((_, message)) => format!("{session}[{message}"),
            None => line.to_owned(),
        })
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

        #[test]
        fn a_realm_keeps_its_promises_whatever_comes(lines in vec(any_line(), 0..60)) {
            super::router(format!("+!\n+\n+!\n{}", lines.join("\n")).as_bytes());
        }
    }
}
