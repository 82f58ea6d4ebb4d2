//! What msgpack and CBOR have in common: walking over values without decoding them.

use bytes::Bytes;

use super::{Form, MAX_DEPTH, Parts};

/// A form in which every value begins with what it is and how long.
pub(super) trait BinaryForm {
    /// Whether maps with other keys than text and binary are refused, for
    /// receivers are known that end their session for them.
    const KEYS_ARE_TEXTS: bool;

    /// Reads what is at `at`, and tells where the next token begins. Text and
    /// binary are there in whole, and text is UTF-8.
    fn token(bytes: &[u8], at: usize) -> Result<(Token<'_>, usize), String>;
}

/// A scalar, or the beginning of what holds others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Token<'a> {
    Scalar(Scalar<'a>),
    /// A text in pieces; [`super::cbor::gather`] puts them together.
    TextChunks(&'a [u8]),
    /// Binary in pieces.
    BinaryChunks(&'a [u8]),
    /// So many values follow; without a number, until [`Token::End`].
    Sequence(Option<u64>),
    /// So many keys and values follow, each behind its key.
    Map(Option<u64>),
    /// The end of a sequence or map that did not say how long it is.
    End,
}

/// A value that holds no others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scalar<'a> {
    Nil,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'a str),
    /// Bytes, or the bytes of a msgpack extension type.
    Binary(&'a [u8]),
}

/// Whether there are any, and whether they are checked, is for the caller to know.
fn begins<F: BinaryForm>(bytes: &[u8], is: impl Fn(Token<'_>) -> bool) -> bool {
    F::token(bytes, 0).is_ok_and(|(token, _)| is(token))
}

pub(super) fn is_sequence<F: BinaryForm>(bytes: &[u8]) -> bool {
    begins::<F>(bytes, |token| matches!(token, Token::Sequence(_)))
}

pub(super) fn is_map<F: BinaryForm>(bytes: &[u8]) -> bool {
    begins::<F>(bytes, |token| matches!(token, Token::Map(_)))
}

pub(super) fn is_nil<F: BinaryForm>(bytes: &[u8]) -> bool {
    begins::<F>(bytes, |token| token == Token::Scalar(Scalar::Nil))
}

pub(super) fn is_empty<F: BinaryForm>(bytes: &[u8]) -> bool {
    match F::token(bytes, 0) {
        Ok((Token::Sequence(Some(0)) | Token::Map(Some(0)), _)) => true,
        Ok((Token::Sequence(None) | Token::Map(None), at)) => is_end::<F>(bytes, at),
        _ => false,
    }
}

pub(super) fn is_end<F: BinaryForm>(bytes: &[u8], at: usize) -> bool {
    matches!(F::token(bytes, at), Ok((Token::End, _)))
}

/// The first element of a sequence.
pub(super) fn first<F: BinaryForm>(bytes: &Bytes) -> Option<Bytes> {
    let (Token::Sequence(_), start) = F::token(bytes, 0).ok()? else { return None };
    if is_empty::<F>(bytes) {
        return None;
    }
    let end = skip::<F>(bytes, start).ok()?;
    Some(bytes.slice(start..end))
}

/// Finds the elements of a message, and checks all that is in them.
pub(super) fn split<F: BinaryForm>(form: Form, frame: &Bytes) -> Result<Parts<'_>, String> {
    let (Token::Sequence(length), mut at) = F::token(frame, 0)? else {
        return Err("a message is an array".into());
    };
    let mut parts = Parts::new(form, frame);
    let mut elements = 0;
    while length.map_or_else(|| !is_end::<F>(frame, at), |length| elements < length) {
        let end = skip::<F>(frame, at)?;
        parts.push(at..end)?;
        at = end;
        elements += 1;
    }
    if length.is_none() {
        (_, at) = F::token(frame, at)?;
    }
    if at == frame.len() { Ok(parts) } else { Err("bytes after the message".into()) }
}

/// A container around the place where [`skip`] is.
#[derive(Clone, Copy)]
struct Open {
    /// How many values are to come; without a length, more than there can be.
    remaining: u64,
    is_map: bool,
    is_endless: bool,
}

impl Open {
    fn new(length: Option<u64>, is_map: bool) -> Result<Self, String> {
        let values = length
            .map_or(Some(u64::MAX - 1), |length| length.checked_mul(if is_map { 2 } else { 1 }));
        let remaining = values.ok_or_else(cut_off)?;
        Ok(Self { remaining, is_map, is_endless: length.is_none() })
    }

    fn is_at_key(self) -> bool {
        self.is_map && self.remaining.is_multiple_of(2)
    }
}

/// The end of the value at `at`. Allocates nothing, whatever lengths the value
/// claims, and refuses what would break the programs of innocent receivers:
/// nesting beyond [`MAX_DEPTH`], and maps with keys that few programs can take.
pub(super) fn skip<F: BinaryForm>(bytes: &[u8], at: usize) -> Result<usize, String> {
    match F::token(bytes, at)? {
        // Most elements of messages, and not worth what the walk begins with.
        (Token::Scalar(_) | Token::Sequence(Some(0)) | Token::Map(Some(0)), end) => Ok(end),
        _ => skip_container::<F>(bytes, at),
    }
}

fn skip_container<F: BinaryForm>(bytes: &[u8], at: usize) -> Result<usize, String> {
    let mut open = [Open { remaining: 0, is_map: false, is_endless: false }; MAX_DEPTH];
    let mut depth = 0;
    let mut at = at;
    loop {
        let (token, end) = F::token(bytes, at)?;
        at = end;
        let is_key = depth > 0 && open[depth - 1].is_at_key();
        if F::KEYS_ARE_TEXTS
            && is_key
            && !matches!(token, Token::Scalar(Scalar::Text(_) | Scalar::Binary(_)))
        {
            return Err("a map whose key is no text".into());
        }
        let container = match token {
            Token::Scalar(_) | Token::TextChunks(_) | Token::BinaryChunks(_) => None,
            Token::Sequence(length) => Some(Open::new(length, false)?),
            Token::Map(length) => Some(Open::new(length, true)?),
            Token::End => {
                let is_due = |open: &Open| open.is_endless && (!open.is_map || open.is_at_key());
                if depth == 0 || !is_due(&open[depth - 1]) {
                    return Err("an end where nothing can end".into());
                }
                // What has ended is a value of what is around it, and is counted below.
                depth -= 1;
                None
            }
        };
        if let Some(container) = container {
            if is_key {
                return Err("a map whose key is a map or a sequence".into());
            }
            if depth == MAX_DEPTH {
                return Err(format!("values nested more than {MAX_DEPTH} deep"));
            }
            open[depth] = container;
            depth += 1;
        } else if depth > 0 {
            open[depth - 1].remaining -= 1;
        }
        // Whatever is complete completes one element of what is around it.
        while depth > 0 && open[depth - 1].remaining == 0 {
            depth -= 1;
            if depth > 0 {
                open[depth - 1].remaining -= 1;
            }
        }
        if depth == 0 {
            return Ok(at);
        }
    }
}

pub(super) fn cut_off() -> String {
    "the message is cut off".into()
}

/// `N` bytes at `at`.
pub(super) fn fixed<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], String> {
    let rest = bytes.get(at..).ok_or_else(cut_off)?;
    rest.first_chunk().copied().ok_or_else(cut_off)
}

/// A number of `width` bytes, the highest first, and where it ends.
pub(super) fn unsigned(bytes: &[u8], at: usize, width: usize) -> Result<(u64, usize), String> {
    let digits = bytes.get(at..at + width).ok_or_else(cut_off)?;
    let value = digits.iter().fold(0, |value, digit| value << 8 | u64::from(*digit));
    Ok((value, at + width))
}

/// `length` bytes at `at`, and where they end.
pub(super) fn slice(bytes: &[u8], at: usize, length: u64) -> Result<(&[u8], usize), String> {
    let length = usize::try_from(length).map_err(|_| cut_off())?;
    let end = at.checked_add(length).ok_or_else(cut_off)?;
    Ok((bytes.get(at..end).ok_or_else(cut_off)?, end))
}

/// Text of `length` bytes at `at`, and where it ends.
pub(super) fn text(bytes: &[u8], at: usize, length: u64) -> Result<(&str, usize), String> {
    let (text, end) = slice(bytes, at, length)?;
    // A peer that is handed a text that is none may well close its session.
    let text = std::str::from_utf8(text).map_err(|_| "a text that is no UTF-8")?;
    Ok((text, end))
}
