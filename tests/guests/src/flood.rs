//! Operations that say more than anybody wants to hear.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the host captures it")]

use std::io::{self, Write};

use drover_sdk::{data, job, log, task};

/// Where to print.
#[data]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// Prints the numbers from 1, a line each.
#[task]
pub(crate) fn print(
    /// How many.
    lines: u32,
    /// Where to.
    #[default(Stream::Output)]
    stream: Stream,
) {
    for line in 1..=lines {
        match stream {
            Stream::Output => println!("{line}"),
            Stream::Error => eprintln!("{line}"),
        }
    }
}

/// Prints for ever.
#[task]
pub(crate) fn print_forever() {
    loop {
        println!("and another line");
    }
}

/// Prints bytes as they are, text or not.
#[task]
pub(crate) fn print_bytes(
    /// Which.
    bytes: Vec<u8>,
) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(&bytes)?;
    output.flush()
}

/// Writes log records with the numbers from 1.
#[task]
pub(crate) fn log(
    /// How many.
    records: u32,
    /// What each is filled up to, in bytes.
    #[default(0)]
    bytes: usize,
) {
    for record in 1..=records {
        log::operator(format_args!("{record:<bytes$}"));
    }
}

/// Reports progress with the numbers from 1.
#[task]
pub(crate) fn progress(
    /// How many reports.
    reports: u32,
    /// What each is filled up to, in bytes.
    #[default(0)]
    bytes: usize,
) -> Result<(), job::ProgressError> {
    let filler = "x".repeat(bytes);
    for report in 1..=reports {
        job::progress(&(report, &filler))?;
    }
    Ok(())
}

/// Answers with a long text.
#[task]
pub(crate) fn big_answer(
    /// How long.
    bytes: usize,
) -> String {
    "x".repeat(bytes)
}
