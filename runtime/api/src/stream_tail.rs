//! What a result has of a stream: its end.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// The end of a stream of bytes, at most [`StreamTail::KEPT`] of them, and how
/// much went before it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct StreamTail {
    #[serde(with = "one_char_each")]
    kept: VecDeque<u8>,
    left_out: u64,
}

impl StreamTail {
    /// How much of a stream is kept, the line about the rest not counted.
    pub const KEPT: usize = 64 << 10;

    /// Takes what was written next.
    pub fn push(&mut self, bytes: &[u8]) {
        let skipped = bytes.len().saturating_sub(Self::KEPT);
        let bytes = &bytes[skipped..];
        let excess = (self.kept.len() + bytes.len()).saturating_sub(Self::KEPT);
        self.kept.drain(..excess);
        self.kept.extend(bytes);
        self.left_out += (skipped + excess) as u64;
    }

    /// The text; where something was left out, the first line says how much.
    #[must_use]
    pub fn text(&self) -> String {
        let (front, back) = self.kept.as_slices();
        let bytes = [front, back].concat();
        if self.left_out == 0 {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
        // The cut may be in the middle of a character.
        let is_inside = |byte: &&u8| **byte & 0b1100_0000 == 0b1000_0000;
        let broken = bytes.iter().take(3).take_while(is_inside).count();
        let left_out = self.left_out + broken as u64;
        let text = String::from_utf8_lossy(&bytes[broken..]);
        format!("[{left_out} bytes before this were left out]\n{text}")
    }
}

/// Bytes as a text of the first 256 characters: short where they are one, and nothing of
/// them is lost where they are none.
mod one_char_each {
    use std::collections::VecDeque;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        bytes: &VecDeque<u8>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text: String = bytes.iter().copied().map(char::from).collect();
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<VecDeque<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.chars().map(|char| u8::try_from(char).map_err(D::Error::custom)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: usize = StreamTail::KEPT;

    fn written(parts: &[&[u8]]) -> String {
        let mut tail = StreamTail::default();
        parts.iter().for_each(|part| tail.push(part));
        tail.text()
    }

    #[test]
    fn what_is_written_down_is_read_again_to_the_byte() {
        let mut tail = StreamTail::default();
        let all: Vec<u8> = (0..=255).cycle().take(KEPT + 5).collect();
        tail.push(&all);
        let text = serde_json::to_string(&tail).unwrap();
        let again: StreamTail = serde_json::from_str(&text).unwrap();
        assert_eq!((again.kept, again.left_out), (tail.kept, 5));
    }

    #[test]
    fn what_fits_is_kept_as_it_is() {
        assert_eq!(written(&[b"one\n", b"two"]), "one\ntwo");
        let full = vec![b'x'; KEPT];
        assert_eq!(written(&[&full]).len(), KEPT);
    }

    #[test]
    fn the_end_is_kept_and_the_first_line_says_what_is_not() {
        let long = vec![b'x'; KEPT];
        let text = written(&[b"start", &long, b"end"]);
        let (first, rest) = text.split_once('\n').unwrap();
        assert_eq!(first, "[8 bytes before this were left out]");
        assert_eq!(rest.len(), KEPT);
        assert!(rest.ends_with("xend"));
    }

    #[test]
    fn one_write_longer_than_what_is_kept_is_counted_too() {
        let text = written(&[b"ab", &vec![b'x'; KEPT + 10]]);
        assert!(text.starts_with("[12 bytes before this were left out]\nx"), "{}", &text[..50]);
    }

    #[test]
    fn a_character_that_was_cut_is_left_out_whole() {
        let text = written(&["ä".as_bytes(), &vec![b'x'; KEPT - 1]]);
        assert!(text.starts_with("[2 bytes before this were left out]\nx"), "{}", &text[..50]);
    }

    #[test]
    fn what_is_no_text_is_shown_as_well_as_it_can_be() {
        assert_eq!(written(&[b"a\xffb"]), "a\u{fffd}b");
    }
}
