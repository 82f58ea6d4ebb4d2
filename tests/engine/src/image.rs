//! The image that the tests run: busybox, or what stands for it.

use std::fs;

use crate::real::installed;

/// The programs that both kinds of engine know.
const PROGRAMS: [&str; 16] = [
    "cat", "echo", "env", "false", "hostname", "printf", "ps", "seq", "sh", "sleep", "tail",
    "test", "top", "touch", "true", "yes",
];

/// A tar archive for `POST /images/create?fromSrc=-`: the statically linked
/// busybox of Debian under the names of its programs.
///
/// # Panics
///
/// If the set-up did not fetch it.
#[must_use]
pub fn base_image() -> Vec<u8> {
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
