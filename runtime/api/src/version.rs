//! The version of this program.
//!
//! It is in one place of the program's file, after words that can be looked for,
//! with room behind it: whoever packages the program can give it a version of their
//! own without building it anew, and so can a test.

use std::sync::LazyLock;

/// The words before the version in the file.
pub const STAMP: &str = "the version of this drover is: ";

/// The room for the version in the file, in bytes; what is not used is zero.
pub const STAMP_ROOM: usize = 64;

#[used]
static STAMPED: [u8; STAMP.len() + STAMP_ROOM] = stamped();

const fn stamped() -> [u8; STAMP.len() + STAMP_ROOM] {
    let (words, version) = (STAMP.as_bytes(), env!("CARGO_PKG_VERSION").as_bytes());
    let mut bytes = [0; STAMP.len() + STAMP_ROOM];
    let mut at = 0;
    while at < words.len() + version.len() {
        bytes[at] = if at < words.len() { words[at] } else { version[at - words.len()] };
        at += 1;
    }
    bytes
}

/// The version of this program, such as `1.2.0`.
#[must_use]
pub fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        // What is in the file counts, not what the compiler knows.
        let stamped = std::hint::black_box(&STAMPED);
        let version = stamped[STAMP.len()..].iter().take_while(|byte| **byte != 0);
        String::from_utf8_lossy(&version.copied().collect::<Vec<_>>()).into_owned()
    });
    &VERSION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_nobody_stamped_has_the_version_of_its_package() {
        assert_eq!(version(), env!("CARGO_PKG_VERSION"));
        assert!(STAMPED.starts_with(STAMP.as_bytes()));
    }
}
