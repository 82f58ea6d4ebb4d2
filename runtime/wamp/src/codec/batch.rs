//! Several messages in one frame: in binary forms each has its length before
//! it, four bytes with the highest first, in JSON each has a mark behind it.

use bytes::{Buf, BufMut, Bytes};

use super::binary::cut_off;
use super::{DecodeError, Form};

/// Stands behind a message in JSON, which itself has no control characters.
const MARK: u8 = 0x18;

/// The bytes of a length.
const PREFIX: usize = 4;

/// Takes the first message off a frame that is not empty.
///
/// It is a copy: arguments that wait somewhere must not keep a whole batch in
/// memory. In JSON the last mark may be missing, for that can mean only one thing.
pub(crate) fn take(form: Form, frame: &mut Bytes) -> Result<Bytes, DecodeError> {
    if form == Form::Json {
        let end = frame.iter().position(|byte| *byte == MARK);
        let message = frame.split_to(end.unwrap_or(frame.len()));
        frame.advance(usize::from(end.is_some()));
        return Ok(Bytes::copy_from_slice(&message));
    }
    let length = frame.first_chunk().map(|prefix| u32::from_be_bytes(*prefix));
    let length = length.and_then(|length| usize::try_from(length).ok());
    match length {
        Some(length) if length <= frame.len() - PREFIX => {
            frame.advance(PREFIX);
            Ok(Bytes::copy_from_slice(&frame.split_to(length)))
        }
        _ => Err(DecodeError::Malformed(cut_off())),
    }
}

/// How much longer a message makes a frame, at most.
pub(crate) fn length(message: &[u8]) -> usize {
    PREFIX + message.len()
}

/// Adds a message to a frame; one of 4 GiB or more has no form there.
pub(crate) fn append(form: Form, frame: &mut Vec<u8>, message: &[u8]) {
    frame.reserve(length(message));
    if form == Form::Json {
        frame.extend_from_slice(message);
        frame.push(MARK);
    } else {
        // Limits on messages are far below.
        frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        frame.extend_from_slice(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_together_comes_apart() {
        for form in Form::ALL {
            let messages = [&b"[1]"[..], b"[2,3]", &[b'x'; 1000]];
            let mut frame = Vec::new();
            for message in messages {
                append(form, &mut frame, message);
            }
            let mut frame = Bytes::from(frame);
            for message in messages {
                assert_eq!(take(form, &mut frame).unwrap(), message);
            }
            assert!(frame.is_empty());
        }
    }

    #[test]
    fn frames_are_as_the_specification_says() {
        let frame_of = |form| {
            let mut frame = Vec::new();
            append(form, &mut frame, b"[1]");
            frame
        };
        assert_eq!(frame_of(Form::Json), b"[1]\x18");
        assert_eq!(frame_of(Form::Cbor), b"\0\0\0\x03[1]");
        assert_eq!(frame_of(Form::Msgpack), frame_of(Form::Cbor));
    }

    #[test]
    fn a_frame_that_is_cut_off_is_refused_and_a_missing_mark_is_not() {
        for frame in [&b"\0"[..], b"\0\0\0", b"\0\0\0\x04[1]", b"\xff\xff\xff\xff[1]"] {
            let mut frame = Bytes::copy_from_slice(frame);
            assert!(take(Form::Msgpack, &mut frame).is_err(), "{frame:?}");
        }
        let mut frame = Bytes::from_static(b"[1]");
        assert_eq!(take(Form::Json, &mut frame).unwrap(), "[1]");
        assert!(frame.is_empty());
    }
}
