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
    let mut input = std::io::stdin();
    if input.is_terminal() {
        output::note(&format!("reading {what} from the terminal; Ctrl-D ends it"));
    }
    let mut text = String::new();
    input
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {what} from standard input"))?;
    Ok(text)
}
