//! Whole lines out of what was read of a file.

/// What becomes of bytes that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Split {
    /// Bytes at the beginning that are left out: the rest of a line that was
    /// cut, and zeros, which are where a file has a hole.
    pub(crate) skipped: usize,
    /// Bytes after those that are lines. The last has its end, unless it is cut.
    pub(crate) taken: usize,
    /// Whether the last line goes on beyond what is taken of it.
    pub(crate) is_cut: bool,
    /// Whether the next bytes belong to a line that was cut.
    pub(crate) is_inside_line: bool,
}

impl Split {
    /// Bytes that are dealt with.
    pub(crate) fn consumed(self) -> usize {
        self.skipped + self.taken
    }
}

/// Splits what was read, at most `most` bytes. If there are fewer, they are all
/// that there is at present, and what has no line end waits for it.
pub(crate) fn split(bytes: &[u8], most: usize, is_inside_line: bool) -> Split {
    let skipped = match (is_inside_line, memchr::memchr(b'\n', bytes)) {
        (true, None) => {
            let (skipped, taken) = (bytes.len(), 0);
            return Split { skipped, taken, is_cut: false, is_inside_line: true };
        }
        (true, Some(end)) => end + 1,
        (false, _) => 0,
    };
    let zeros = bytes[skipped..].iter().take_while(|byte| **byte == 0).count();
    let skipped = skipped + zeros;
    let rest = &bytes[skipped..];
    let whole = memchr::memrchr(b'\n', rest).map_or(0, |end| end + 1);
    // Room for the line end that a cut line is given.
    let is_cut = whole == 0 && skipped == 0 && bytes.len() >= most;
    let taken = if is_cut { most - 1 } else { whole };
    Split { skipped, taken, is_cut, is_inside_line: is_cut }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The lines of a file that is read in steps of at most `most` bytes.
    fn read(file: &[u8], most: usize) -> (Vec<Vec<u8>>, usize) {
        let (mut offset, mut is_inside_line) = (0, false);
        let mut lines = Vec::new();
        loop {
            let bytes = &file[offset..file.len().min(offset + most)];
            let split = split(bytes, most, is_inside_line);
            let taken = &bytes[split.skipped..split.consumed()];
            assert!(taken.len() < most || !split.is_cut);
            lines.extend(taken.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec));
            is_inside_line = split.is_inside_line;
            offset += split.consumed();
            if split.consumed() == 0 {
                return (lines, offset);
            }
        }
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_is_whole() {
        let (lines, _) = read(b"0123456789abcdef\nnext\n", 8);
        assert_eq!(lines, [b"0123456".to_vec(), b"next\n".to_vec()]);
        let (lines, _) = read(b"0123456\n89\n", 8);
        assert_eq!(lines, [b"0123456\n".to_vec(), b"89\n".to_vec()], "it just fits");
    }

    #[test]
    fn holes_are_left_out() {
        let (lines, _) = read(b"\0\0\0\0\0\0\0\0\0\0\0one\ntwo\n", 8);
        assert_eq!(lines, [b"one\n".to_vec(), b"two\n".to_vec()]);
    }

    proptest! {
        #[test]
        fn lines_that_fit_come_as_they_are_and_an_end_without_one_waits(
            lines in prop::collection::vec("[ab]{0,6}", 0..50),
            rest in "[ab]{0,6}",
        ) {
            let lines: Vec<_> = lines.iter().map(|line| format!("{line}\n").into_bytes()).collect();
            let mut file = lines.concat();
            let whole = file.len();
            file.extend(rest.as_bytes());
            let (read, offset) = read(&file, 8);
            prop_assert_eq!(offset, whole);
            prop_assert_eq!(read, lines);
        }

        #[test]
        fn whatever_is_read_is_dealt_with(
            bytes in prop::collection::vec(prop::sample::select(vec![b'a', b'\n', 0]), 0..200),
            most in 2..20_usize,
        ) {
            let (lines, offset) = read(&bytes, most);
            prop_assert!(offset + most > bytes.len() || offset == bytes.len());
            prop_assert!(lines.iter().all(|line| line.len() <= most));
        }
    }
}
