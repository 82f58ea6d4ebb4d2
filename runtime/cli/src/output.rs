//! Standard output for answers, standard error for notes. Nothing else in
//! the program prints.

use std::io::{self, Write};

use serde::Serialize;

/// Prints an answer.
///
/// # Errors
///
/// If standard output is closed or full.
pub(crate) fn answer(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.is_empty() && !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Prints an answer for programs, as indented JSON.
///
/// # Errors
///
/// If standard output is closed or full.
pub(crate) fn json<T: Serialize>(value: &T) -> io::Result<()> {
    answer(&serde_json::to_string_pretty(value)?)
}

/// One of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// Prints what a program elsewhere has written, as it is.
///
/// # Errors
///
/// If the stream is closed or full.
pub(crate) fn raw(stream: Stream, bytes: &[u8]) -> io::Result<()> {
    fn write(mut out: impl Write, bytes: &[u8]) -> io::Result<()> {
        out.write_all(bytes)?;
        out.flush()
    }
    match stream {
        Stream::Stdout => write(io::stdout().lock(), bytes),
        Stream::Stderr => write(io::stderr().lock(), bytes),
    }
}

/// Prints a line for the person beside the answer. That it cannot be printed
/// is nothing the program could tell anybody.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
