//! Fields as logs write them: quoted texts, numbers, and `-` for nothing.

use std::borrow::Cow;

use drover_sdk::lines::{Event, Name};
use memchr::{memchr, memchr2};

/// Eight bytes that are all one.
const ONES: u64 = 0x0101_0101_0101_0101;
/// The highest bit of each of eight bytes.
const HIGHEST: u64 = 0x8080_8080_8080_8080;

/// Which of eight bytes are zero: the highest bit of the first of them is set, and
/// none of those before it.
#[inline]
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHEST
}

/// Eight bytes of a text with those that are `byte` zero.
#[inline]
fn differing(word: [u8; 8], byte: u8) -> u64 {
    u64::from_le_bytes(word) ^ (u64::from(byte) * ONES)
}

/// Looks at the first bytes of a text by eights, up to three times, and then at
/// its last eight if that is all there is: most values are shorter than what a fast
/// search needs to get going, and a loop over bytes is slow where each round is
/// counted. Where the first byte is that `marks` marks with its highest bit, or
/// from where on to search.
#[inline]
fn find_early(text: &[u8], marks: impl Fn([u8; 8]) -> u64) -> Result<Option<usize>, usize> {
    let (words, rest) = text.as_chunks::<8>();
    for (number, word) in words.iter().take(3).enumerate() {
        let marked = marks(*word);
        if marked != 0 {
            return Ok(Some(number * 8 + marked.trailing_zeros() as usize / 8));
        }
    }
    match text.last_chunk::<8>() {
        Some(word) if words.len() <= 3 => {
            let marked = marks(*word);
            let place = marked.trailing_zeros() as usize / 8;
            Ok((marked != 0).then_some(text.len() - word.len() + place))
        }
        Some(_) => Err(3 * 8),
        None => {
            // The bytes that are not there are nobody's mark.
            let marked = rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
            let marked = marks(marked.to_le_bytes()) & ((1 << (8 * rest.len())) - 1);
            Ok((marked != 0).then_some(marked.trailing_zeros() as usize / 8))
        }
    }
}

/// Where `byte` is.
#[inline]
pub(crate) fn find_byte(byte: u8, text: &[u8]) -> Option<usize> {
    match find_early(text, |word| zeros(differing(word, byte))) {
        Ok(found) => found,
        Err(seen) => memchr(byte, &text[seen..]).map(|index| seen + index),
    }
}

/// Where the first of two bytes is.
#[inline]
fn find_either(byte: u8, other: u8, text: &[u8]) -> Option<usize> {
    let marks = |word| zeros(differing(word, byte)) | zeros(differing(word, other));
    match find_early(text, marks) {
        Ok(found) => found,
        Err(seen) => memchr2(byte, other, &text[seen..]).map(|index| seen + index),
    }
}

/// Where `stop` is; an empty one is at the end.
#[inline]
pub(crate) fn find(stop: &[u8], text: &[u8]) -> Option<usize> {
    let [first, others @ ..] = stop else { return Some(text.len()) };
    let mut from = 0;
    loop {
        let index = from + find_byte(*first, &text[from..])?;
        if begins_with(&text[index + 1..], others) {
            return Some(index);
        }
        from = index + 1;
    }
}

/// Whether a text begins with a stop, which is a few bytes long: too few for a call
/// of what compares long texts.
#[inline]
pub(crate) fn begins_with(text: &[u8], stop: &[u8]) -> bool {
    match (text, stop) {
        (_, []) => true,
        ([first, ..], [a]) => first == a,
        ([first, second, ..], [a, b]) => first == a && second == b,
        ([first, second, third, ..], [a, b, c]) => first == a && second == b && third == c,
        _ => text.starts_with(stop),
    }
}

/// What is before the closing quotation mark of a text that begins after the
/// opening one, and whether there are escapes in it.
#[inline]
pub(crate) fn quoted(text: &[u8]) -> Option<(&[u8], bool)> {
    let first = find_either(b'"', b'\\', text)?;
    if text[first] == b'"' {
        return Some((&text[..first], false));
    }
    let mut at = first;
    loop {
        // Whatever is escaped is not the end.
        at += 2;
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some((&text[..at], true));
        }
    }
}

/// A quoted text as it was meant: `\"`, `\\`, `\n`, `\r`, `\t`, `\/`, `\xHH` and
/// `\uHHHH`. Other escapes stay as they are.
pub(crate) fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(index) = memchr(b'\\', rest) {
        plain.extend_from_slice(&rest[..index]);
        let escape = &rest[index..];
        let length = match escape {
            [_, b'n', ..] => put(&mut plain, b"\n", 2),
            [_, b'r', ..] => put(&mut plain, b"\r", 2),
            [_, b't', ..] => put(&mut plain, b"\t", 2),
            [_, b'b', ..] => put(&mut plain, b"\x08", 2),
            [_, b'f', ..] => put(&mut plain, b"\x0c", 2),
            [_, c @ (b'"' | b'\\' | b'/' | b'\'' | b']'), ..] => put(&mut plain, &[*c], 2),
            [_, b'x', ..] => match hex(escape, 2..4) {
                Some(byte) => put(&mut plain, &[byte as u8], 4),
                None => put(&mut plain, b"\\", 1),
            },
            [_, b'u', ..] => unicode(escape, &mut plain),
            _ => put(&mut plain, b"\\", 1),
        };
        rest = &escape[length..];
    }
    plain.extend_from_slice(rest);
    plain
}

fn put(plain: &mut Vec<u8>, bytes: &[u8], length: usize) -> usize {
    plain.extend_from_slice(bytes);
    length
}

/// Writes the character of `\uHHHH`, or of two of these that are one.
fn unicode(escape: &[u8], plain: &mut Vec<u8>) -> usize {
    let Some(first) = hex(escape, 2..6) else { return put(plain, b"\\", 1) };
    let low = match escape.get(6..8) {
        Some(b"\\u") if (0xd800..0xdc00).contains(&first) => hex(escape, 8..12),
        _ => None,
    };
    let (code, length) = match low {
        Some(low @ 0xdc00..0xe000) => (0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00), 12),
        _ => (first, 6),
    };
    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    put(plain, character.encode_utf8(&mut [0; 4]).as_bytes(), length)
}

fn hex(text: &[u8], place: std::ops::Range<usize>) -> Option<u32> {
    text.get(place)?
        .iter()
        .try_fold(0, |number, digit| Some(number << 4 | char::from(*digit).to_digit(16)?))
}

/// A text without its escapes, copied only if it has any.
pub(crate) fn plain(text: &[u8], has_escapes: bool) -> Cow<'_, [u8]> {
    if has_escapes { Cow::Owned(unescaped(text)) } else { Cow::Borrowed(text) }
}

/// A whole number of digits, all of the text.
#[inline]
pub(crate) fn integer(text: &[u8]) -> Option<i64> {
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    // 18 digits always fit.
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let number = match *digits {
        // Statuses and sizes, without a round for each digit.
        [a, b, c] => joined([b'0', b'0', a, b, c])?,
        [a, b, c, d] => joined([b'0', a, b, c, d])?,
        [a, b, c, d, e] => joined([a, b, c, d, e])?,
        _ => digits.iter().try_fold(0, |number, digit| Some(number * 10 + value(*digit)?))?,
    };
    Some(if is_negative { -number } else { number })
}

#[inline]
fn value(digit: u8) -> Option<i64> {
    let value = digit.wrapping_sub(b'0');
    (value <= 9).then_some(i64::from(value))
}

#[inline]
fn joined([a, b, c, d, e]: [u8; 5]) -> Option<i64> {
    let thousands = value(a)? * 10_000 + value(b)? * 1_000;
    Some(thousands + value(c)? * 100 + value(d)? * 10 + value(e)?)
}

/// A number with a fraction, all of the text.
pub(crate) fn float(text: &[u8]) -> Option<f64> {
    let looks_right = text.len() <= 32
        && text.iter().any(u8::is_ascii_digit)
        && text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'));
    let number: f64 = looks_right.then(|| std::str::from_utf8(text).ok()?.parse().ok())??;
    number.is_finite().then_some(number)
}

/// Adds a value as the number that it is, or else as a text. Digits behind a
/// zero are a text: they are somebody's number, not an amount.
pub(crate) fn number_or_text(event: &mut Event<'_>, name: Name, value: &[u8]) {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    let is_code = matches!(digits, [b'0', b'0'..=b'9', ..]);
    match digits.first() {
        Some(b'0'..=b'9') if !is_code => {}
        _ => return event.text(name, value),
    }
    if let Some(number) = integer(value) {
        event.integer(name, number);
    } else if value.contains(&b'.')
        && let Some(number) = float(value)
    {
        event.float(name, number);
    } else {
        event.text(name, value);
    }
}

/// Adds a text unless it is empty or the `-` that stands for nothing.
#[inline]
pub(crate) fn text_unless_dash(event: &mut Event<'_>, name: Name, value: &[u8]) {
    if !matches!(value, [] | [b'-']) {
        event.text(name, value);
    }
}

/// Constants for the names of a module's fields, and the list of them.
macro_rules! names {
    ($($name:ident $text:literal),* $(,)?) => {
        #[allow(clippy::upper_case_acronyms, reason = "they are the names of constants")]
        #[allow(non_camel_case_types, reason = "they are the names of constants")]
        enum Index { $($name),* }

        $(const $name: drover_sdk::lines::Name =
            drover_sdk::lines::Name::of(Index::$name as u16);)*

        /// The fields that are known beforehand.
        pub(crate) const NAMES: &[&str] = &[$($text),*];
    };
}
pub(crate) use names;

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_byte_is_found_where_it_is_first(
            text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80),
            byte in 0..4u8,
            spread in 0..80usize,
        ) {
            let mut text = text;
            for at in (0..text.len()).step_by(spread + 1) {
                text[at] %= 4;
            }
            let first = text.iter().position(|other| *other == byte);
            proptest::prop_assert_eq!(find_byte(byte, &text), first);
            let other = byte.wrapping_add(1);
            let either = text.iter().position(|found| *found == byte || *found == other);
            proptest::prop_assert_eq!(find_either(byte, other, &text), either);
        }
    }

    #[test]
    fn a_quoted_text_ends_at_the_first_mark_that_is_not_escaped() {
        assert_eq!(quoted(br#"a b" c"#), Some((&b"a b"[..], false)));
        assert_eq!(quoted(br#"a\"b" c"#), Some((&br#"a\"b"#[..], true)));
        assert_eq!(quoted(br#"a\\" c"#), Some((&br"a\\"[..], true)));
        assert_eq!(quoted(br#"a\""#), None);
        assert_eq!(quoted(b"a\\"), None);
        assert_eq!(quoted(b"a"), None);
    }

    #[test]
    fn escapes_become_what_they_stand_for_and_others_stay() {
        assert_eq!(
            unescaped(br#"\"a\\b\x41\u00e4\ud83d\ude00\q\x4"#),
            "\"a\\bAä😀\\q\\x4".as_bytes()
        );
        assert_eq!(unescaped(br"\ud83d\u0041 \"), "\u{fffd}A \\".as_bytes());
    }

    #[test]
    fn numbers_are_numbers_only_as_a_whole() {
        assert_eq!(integer(b"-12"), Some(-12));
        for number in [0, 7, 42, 304, 5120, 99_999, 123_456] {
            assert_eq!(integer(number.to_string().as_bytes()), Some(number));
        }
        assert_eq!(integer(b"999999999999999999"), Some(999_999_999_999_999_999));
        for text in ["", "-", "1x", "40x", "-4040/", "9999999999999999999", "1.5", " 1"] {
            assert_eq!(integer(text.as_bytes()), None, "{text}");
        }
        assert_eq!(float(b"0.25"), Some(0.25));
        for text in ["", ".", "nan", "inf", "1e999", "1.2.3"] {
            assert_eq!(float(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn stops_of_several_bytes_are_found_as_a_whole() {
        assert_eq!(find(b" [", b"a b [c"), Some(3));
        assert_eq!(find(b"", b"abc"), Some(3));
        assert_eq!(find(b" [", b"a b c "), None);
        assert_eq!(find_byte(b'x', b"0123456789abcdefghx"), Some(18));
    }
}
