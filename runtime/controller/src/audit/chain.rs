//! How the lines of the audit log hang together. Pure.
//!
//! A line is its hash, a space, and JSON; the hash is the SHA-256 of the hash of
//! the line before, a newline, and the JSON. Before the first line stand 64 zeros.
//! So `{ echo $PREVIOUS; printf %s "$JSON"; } | sha256sum` checks a line by hand.

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::Line;

/// How far a log goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// How many lines there are.
    pub(super) lines: u64,
    /// The hash of the last.
    pub(super) hash: String,
}

/// A line with its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Numbered {
    /// From 1.
    pub(super) number: u64,
    #[serde(flatten)]
    pub(super) line: Line,
}

impl Head {
    /// That of a log without a line.
    pub(super) fn start() -> Self {
        Self { lines: 0, hash: "0".repeat(64) }
    }

    /// The text of the next line, with its end, and how far the log goes then.
    pub(super) fn next(&self, line: &Line) -> serde_json::Result<(String, Self)> {
        let number = self.lines + 1;
        let json = serde_json::to_string(&Numbered { number, line: line.clone() })?;
        let hash = hash(&self.hash, &json);
        let text = format!("{hash} {json}\n");
        Ok((text, Self { lines: number, hash }))
    }

    /// Reads the next line; tells what is wrong with it if it is not what was written.
    pub(super) fn follow(&self, text: &str) -> Result<(Numbered, Self), String> {
        let nth = self.lines + 1;
        let (found, json) =
            text.split_once(' ').ok_or_else(|| format!("line {nth} is no line of an audit log"))?;
        let expected = hash(&self.hash, json);
        if found != expected {
            return Err(format!(
                "line {nth} is not the one that was written after the one before: it was changed \
                 or moved, or others were taken out or put in before it"
            ));
        }
        let numbered: Numbered = serde_json::from_str(json)
            .map_err(|error| format!("line {nth} cannot be read: {error}"))?;
        if numbered.number != nth {
            return Err(format!("line {nth} says that it is line {}", numbered.number));
        }
        Ok((numbered, Self { lines: nth, hash: expected }))
    }
}

fn hash(before: &str, json: &str) -> String {
    let mut context = Context::new(&SHA256);
    for part in [before, "\n", json] {
        context.update(part.as_bytes());
    }
    data_encoding::HEXLOWER.encode(context.finish().as_ref())
}
