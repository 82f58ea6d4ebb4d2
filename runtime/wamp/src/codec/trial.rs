//! What the codec owes to any bytes at all.

use bytes::Bytes;

use super::{Form, batch, decode, encode};

/// The first byte chooses the form, the others are a frame: one message, and a batch.
pub(crate) fn run(data: &[u8]) {
    let Some((choice, frame)) = data.split_first() else { return };
    let form = Form::ALL[usize::from(*choice) % Form::ALL.len()];
    let mut rest = Bytes::copy_from_slice(frame);
    pass_on(form, &rest);
    while !rest.is_empty() {
        let before = rest.len();
        let Ok(message) = batch::take(form, &mut rest) else { break };
        assert!(rest.len() < before, "a batch gets shorter with every message");
        pass_on(form, &message);
    }
}

/// Whatever is let through can be passed on, and says the same to whoever gets it.
fn pass_on(form: Form, frame: &Bytes) {
    let Ok(message) = decode(form, frame) else { return };
    for to in Form::ALL {
        let Ok(passed) = encode(to, &message) else {
            // JSON is not looked into for texts that are none.
            assert_eq!(form, Form::Json, "{message:?} has no form in {to:?}");
            continue;
        };
        let back = decode(to, &passed);
        let back = back.unwrap_or_else(|error| panic!("{error}: {message:?} in {to:?}"));
        assert_eq!(encode(to, &back).as_ref(), Ok(&passed), "{message:?}");
        if to == form {
            assert_eq!(back, message);
        }
    }
}
