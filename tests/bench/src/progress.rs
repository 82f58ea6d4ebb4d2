//! What the benchmark is at, on standard error.

use std::io::{self, Write};

/// Prints a line. That it cannot be printed is nothing anybody could be told.
pub(crate) fn step(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
