//! Standard input, where a flag asks for it.

use std::io::{IsTerminal, Read};

use anyhow::Context;

use crate::output;

/// Reads standard input to its end.
///
/// # Errors
///
/// If it cannot be read, or is no text in UTF-8.
pub(crate) fn read(what: &str) -> anyhow::Result<String> {
    let text = String::from_utf8(read_bytes(what)?);
    text.with_context(|| format!("{what} from standard input must be text in UTF-8"))
}

/// The same of what need not be text.
///
/// # Errors
///
/// If it cannot be read.
pub(crate) fn read_bytes(what: &str) -> anyhow::Result<Vec<u8>> {
    let mut input = std::io::stdin();
    if input.is_terminal() {
        output::note(&format!("reading {what} from the terminal; Ctrl-D ends it"));
    }
    let mut bytes = Vec::new();
    input
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {what} from standard input"))?;
    Ok(bytes)
}
