//! The end of a stream, for a job's result.

use std::collections::VecDeque;

/// How much of a stream a result has.
const KEPT: usize = 64 << 10;

/// The end of a stream and how much went before it.
#[derive(Debug, Default)]
pub(super) struct Tail {
    kept: VecDeque<u8>,
    left_out: u64,
}

impl Tail {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let skipped = bytes.len().saturating_sub(KEPT);
        let bytes = &bytes[skipped..];
        let excess = (self.kept.len() + bytes.len()).saturating_sub(KEPT);
        self.kept.drain(..excess);
        self.kept.extend(bytes);
        self.left_out += (skipped + excess) as u64;
    }

    /// The text; where something was left out, the first line says how much.
    pub(super) fn text(mut self) -> String {
        let bytes = self.kept.make_contiguous();
        if self.left_out == 0 {
            return String::from_utf8_lossy(bytes).into_owned();
        }
        // The cut may be in the middle of a character.
        let is_inside = |byte: &&u8| **byte & 0b1100_0000 == 0b1000_0000;
        let broken = bytes.iter().take(3).take_while(is_inside).count();
        let left_out = self.left_out + broken as u64;
        let text = String::from_utf8_lossy(&bytes[broken..]);
        format!("[{left_out} bytes before this were left out]\n{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_and_the_first_line_says_what_is_not() {
        let mut tail = Tail::default();
        tail.push("ä".as_bytes());
        tail.push(&vec![b'x'; KEPT - 4]);
        tail.push(b"end");
        let mut longer = Tail::default();
        longer.push("ä".as_bytes());
        longer.push(&vec![b'x'; KEPT - 4]);
        assert!(longer.text().starts_with("äx"));
        let text = tail.text();
        assert!(text.starts_with("[2 bytes before this were left out]\nx"), "{}", &text[..50]);
        assert!(text.ends_with("xend"));
    }
}
