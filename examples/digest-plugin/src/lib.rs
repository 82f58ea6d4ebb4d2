//! Checksums of what is streamed, in as much memory as a piece of it takes.

use std::fmt::Write as _;
use std::io::{self, BufRead, Write};

use drover_sdk::{Failure, data, plugin, streams, task};
use sha2::{Digest, Sha256};

plugin!(sum, copy);

/// Reads the input and answers with its SHA-256.
///
/// Try it with `drover call NODE digest.sum --input FILE`.
#[task]
fn sum() -> Result<Sum, Failure> {
    Ok(pass(streams::input()?, io::sink())?)
}

/// Gives the input back as the output, and answers with its SHA-256.
#[task]
fn copy(
    /// How much is enough, in bytes; everything if it is left out.
    most: Option<u64>,
) -> Result<Sum, Failure> {
    let (input, output) = (streams::input()?, streams::output()?);
    Ok(match most {
        Some(most) => pass(io::Read::take(input, most), output)?,
        None => pass(input, output)?,
    })
}

/// What has gone through.
#[data]
struct Sum {
    /// How much it was.
    bytes: u64,
    /// Its SHA-256, in hexadecimal digits.
    sha256: String,
}

fn pass(mut input: impl BufRead, mut output: impl Write) -> io::Result<Sum> {
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    loop {
        let piece = input.fill_buf()?;
        if piece.is_empty() {
            break;
        }
        hash.update(piece);
        output.write_all(piece)?;
        let length = piece.len();
        bytes += length as u64;
        input.consume(length);
    }
    let sha256 = hash.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a text does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    Ok(Sum { bytes, sha256 })
}

#[cfg(test)]
mod tests {
    use drover_sdk::testing::{Host, with_host};

    use super::*;

    const SUM_OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn host(input: &[u8]) -> Host {
        Host { input: input.to_vec(), ..Host::default() }
    }

    #[test]
    fn what_goes_in_is_summed_up() {
        let (summed, heard) = with_host(host(b"abc"), sum);
        assert_eq!(summed.unwrap().sha256, SUM_OF_ABC);
        assert_eq!(heard.output, None);
    }

    #[test]
    fn what_goes_in_comes_out_as_far_as_is_wanted() {
        let input: Vec<u8> = (0..5_000_u32).flat_map(u32::to_be_bytes).collect();
        let (copied, heard) = with_host(host(&input), || copy(None));
        assert_eq!(copied.unwrap().bytes, 20_000);
        assert!(heard.output.unwrap() == input);
        let (copied, heard) = with_host(host(b"abcdef"), || copy(Some(3)));
        assert_eq!(copied.unwrap().sha256, SUM_OF_ABC);
        assert_eq!(heard.output.unwrap(), b"abc");
    }

    #[test]
    fn one_who_takes_no_output_is_told_how_to() {
        let host = Host { wants_no_output: true, ..Host::default() };
        let failure = with_host(host, || copy(None)).0.err().unwrap();
        assert!(failure.message.contains("--output"), "{failure:?}");
    }
}
