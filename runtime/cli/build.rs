//! Puts the SDK's sources and the contract into the program, so that
//! `drover plugin new` needs nothing but this program and the crates registry.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What is taken along, from the repository's root.
const TAKEN: [&str; 2] = ["sdk/rust", "wit"];
/// What a plugin's author needs not.
const LEFT: [&str; 2] = ["tests", "target"];

fn main() -> io::Result<()> {
    let variable = |name: &str| env::var_os(name).map(PathBuf::from).ok_or(io::ErrorKind::NotFound);
    let root = variable("CARGO_MANIFEST_DIR")?.join("../..").canonicalize()?;
    let mut files = Vec::new();
    for taken in TAKEN {
        println!("cargo::rerun-if-changed={}", root.join(taken).display());
        list(&root.join(taken), &mut files)?;
    }
    files.sort();
    let mut text = String::from("&[\n");
    for file in files {
        let name = file.strip_prefix(&root).unwrap_or(&file);
        let _ = writeln!(text, "    ({name:?}, include_str!({file:?})),");
    }
    text.push_str("]\n");
    fs::write(variable("OUT_DIR")?.join("sdk_files.rs"), text)
}

fn list(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if LEFT.iter().any(|left| name == *left) || name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        match entry.file_type()?.is_dir() {
            true => list(&entry.path(), files)?,
            false => files.push(entry.path()),
        }
    }
    Ok(())
}
