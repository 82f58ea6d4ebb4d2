//! What goes through.

use std::io;

use drover_sdk::{Failure, streams, task};

/// Gives the input back as the output.
#[task]
pub(crate) fn pass() -> Result<u64, Failure> {
    let (mut input, mut output) = (streams::input()?, streams::output()?);
    Ok(io::copy(&mut input, &mut output)?)
}
