//! The image that the tests run: busybox, or what stands for it.

use std::fs;

use crate::Client;
use crate::real::installed;

/// The programs that both kinds of engine know.
const PROGRAMS: [&str; 16] = [
    "cat", "echo", "env", "false", "hostname", "printf", "ps", "seq", "sh", "sleep", "tail",
    "test", "top", "touch", "true", "yes",
];

/// Gives an engine the image `busybox:1`.
pub(crate) fn import_busybox(engine: &Client) {
    let path = "/images/create?fromSrc=-&repo=busybox&tag=1";
    let tar = "Content-Type: application/x-tar\r\n";
    let made = engine.ask("POST", path, tar, &base_image());
    assert_eq!(made.status, 200, "{}", String::from_utf8_lossy(&made.body));
}

/// An archive for an image: the statically linked busybox of Debian under the
/// names of its programs.
fn base_image() -> Vec<u8> {
    let busybox = fs::read(installed("bin/busybox")).unwrap();
    let mut image = tar::Builder::new(Vec::new());
    folder(&mut image, "bin");
    file(&mut image, "bin/busybox", &busybox, 0o755);
    for program in PROGRAMS {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        image.append_link(&mut header, format!("bin/{program}"), "busybox").unwrap();
    }
    folder(&mut image, "tmp");
    image.into_inner().unwrap()
}

/// A tar archive of some files.
///
/// # Panics
///
/// If a name is too long for an archive.
#[must_use]
pub fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        file(&mut archive, name, content.as_bytes(), 0o644);
    }
    archive.into_inner().unwrap()
}

fn folder(archive: &mut tar::Builder<Vec<u8>>, name: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    header.set_mode(0o755);
    archive.append_data(&mut header, format!("{name}/"), std::io::empty()).unwrap();
}

fn file(archive: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8], mode: u32) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    archive.append_data(&mut header, name, content).unwrap();
}
