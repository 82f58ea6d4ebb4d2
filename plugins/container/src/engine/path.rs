//! Paths and queries out of what callers say.

use std::fmt::Write;

use drover_sdk::Failure;

use super::failure;

/// A name or an id as one segment of a path.
///
/// # Errors
///
/// If it is empty or nothing but dots, which would name another resource.
pub(crate) fn segment(kind: &str, name: &str) -> Result<String, Failure> {
    check(kind, name)?;
    Ok(encode(name, |byte| byte == b':'))
}

/// A reference to an image, such as `registry:5000/team/app:1`, which keeps
/// its slashes.
///
/// # Errors
///
/// Like [`segment`], for each part.
pub(crate) fn image(reference: &str) -> Result<String, Failure> {
    for part in reference.split('/') {
        check("image", part)?;
    }
    Ok(encode(reference, |byte| matches!(byte, b'/' | b':' | b'@')))
}

fn check(kind: &str, name: &str) -> Result<(), Failure> {
    if name.bytes().all(|byte| byte == b'.') {
        let message = format!("`{name}` is no name of a {kind}");
        return Err(Failure::new(failure::INVALID, message));
    }
    Ok(())
}

/// A value in a query.
pub(crate) fn query_value(value: &str) -> String {
    encode(value, |byte| matches!(byte, b'/' | b':' | b',' | b'@'))
}

fn encode(text: &str, keep: impl Fn(u8) -> bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') || keep(byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_its_segment() {
        assert_eq!(segment("container", "web_1.a-b").unwrap(), "web_1.a-b");
        assert_eq!(segment("container", "a/b?c#d").unwrap(), "a%2Fb%3Fc%23d");
        for name in ["", ".", "..", "..."] {
            assert_eq!(segment("container", name).unwrap_err().code, failure::INVALID, "{name}");
        }
    }

    #[test]
    fn an_image_keeps_its_slashes_and_leaves_the_path_by_none() {
        assert_eq!(image("r:5000/team/app:1").unwrap(), "r:5000/team/app:1");
        assert_eq!(image("app@sha256:0a").unwrap(), "app@sha256:0a");
        for reference in ["", "/a", "a//b", "a/../b", "a/"] {
            assert!(image(reference).is_err(), "{reference}");
        }
    }

    #[test]
    fn a_value_cannot_begin_a_second_parameter() {
        assert_eq!(query_value("a&b=c +"), "a%26b%3Dc%20%2B");
    }
}
