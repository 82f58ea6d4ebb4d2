//! Where lines end.
//!
//! A search for each line begins anew each time, which takes a plugin as long as the
//! search itself. So sixty-four bytes are looked at at once, and what is marked in
//! them is remembered for the lines that come.

use std::cell::Cell;

use super::marks::{BLOCK, marks};

/// The ends of the lines of one text, asked for one after the other.
#[derive(Debug)]
pub(super) struct Ends {
    /// Where the block begins that was looked at; none yet at the very end.
    block: Cell<usize>,
    /// A bit for each line end in it.
    marks: Cell<u64>,
}

impl Ends {
    pub(super) fn new() -> Self {
        Self { block: Cell::new(usize::MAX), marks: Cell::new(0) }
    }

    /// The first line end of this text that is not before `from`.
    #[inline]
    pub(super) fn next(&self, text: &[u8], from: usize) -> Option<usize> {
        let mut block = from - from % BLOCK;
        if block != self.block.get() {
            self.look(text, block);
        }
        let mut marks = self.marks.get() & (u64::MAX << (from % BLOCK));
        while marks == 0 {
            block += BLOCK;
            if block >= text.len() {
                return None;
            }
            self.look(text, block);
            marks = self.marks.get();
        }
        Some(block + marks.trailing_zeros() as usize)
    }

    #[inline]
    fn look(&self, text: &[u8], block: usize) {
        let rest = text.get(block..).unwrap_or_default();
        let found = match rest.first_chunk() {
            Some(whole) => marks(whole),
            None => {
                // No line ends where there is no text.
                let mut padded = [0; BLOCK];
                padded[..rest.len()].copy_from_slice(rest);
                marks(&padded)
            }
        };
        self.block.set(block);
        self.marks.set(found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_found_from_wherever() {
        for (length, every) in [(0, 1), (1, 1), (64, 1), (129, 7), (300, 63), (300, 64), (300, 299)]
        {
            let text: Vec<u8> =
                (1..=length).map(|at| if at % every == 0 { b'\n' } else { b'x' }).collect();
            let (onwards, ends) = (Ends::new(), Ends::new());
            for from in 0..=length {
                let expected = text[from..].iter().position(|byte| *byte == b'\n');
                let expected = expected.map(|index| from + index);
                assert_eq!(onwards.next(&text, from), expected, "{length} {every} {from}");
                // Back and forth.
                let jump = from * 97 % (length + 1);
                let expected = text[jump..].iter().position(|byte| *byte == b'\n');
                assert_eq!(ends.next(&text, jump), expected.map(|index| jump + index));
            }
        }
    }
}
