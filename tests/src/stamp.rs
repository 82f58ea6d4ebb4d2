//! Other versions of a program, made without building it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use drover_api::{STAMP, STAMP_ROOM};

/// Makes `to` a copy of the program `from` that has another version, without what only
/// a debugger reads.
///
/// # Panics
///
/// If it has no version, or cannot be copied.
pub fn stamp(from: &Path, to: &Path, version: &str) {
    assert!(version.len() < STAMP_ROOM);
    let stripped = Command::new("strip").arg("-o").arg(to).arg(from).status();
    if !stripped.is_ok_and(|status| status.success()) {
        fs::copy(from, to).unwrap();
    }
    let mut bytes = fs::read(to).unwrap();
    let room = find(&bytes, STAMP.as_bytes());
    bytes[room..room + STAMP_ROOM].fill(0);
    bytes[room..room + version.len()].copy_from_slice(version.as_bytes());
    fs::write(to, bytes).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Where the room behind the words is: zeros end it, which is not so where the words
/// are but talked about.
fn find(bytes: &[u8], words: &[u8]) -> usize {
    let mut from = 0;
    loop {
        let rest = &bytes[from..];
        let at = rest.windows(words.len()).position(|window| window == words);
        let after = from + at.expect("the program has a version") + words.len();
        let room = &bytes[after..after + STAMP_ROOM];
        if room[0].is_ascii_digit() && room[STAMP_ROOM - 1] == 0 {
            return after;
        }
        from = after;
    }
}
