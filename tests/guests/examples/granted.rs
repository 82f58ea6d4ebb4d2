//! A plugin that touches all that can be granted. Its manifest asks for nothing:
//! the tests pack it with others.

use std::collections::BTreeMap;
use std::{fs, io};

use drover_sdk::{Failure, OrFail, config, plugin, state, sysinfo, task};

plugin!(
    cores,
    setting,
    environment,
    read,
    write,
    list,
    remove,
    rename,
    link,
    read_often,
    remember,
    recall,
    replace,
    forget,
    keys,
    open_often,
);

/// Counts the cores.
#[task]
fn cores() -> u32 {
    sysinfo::cpu().logical_cores
}

/// Reads a setting.
#[task]
fn setting(name: String) -> Result<String, config::Denied> {
    config::get(&name)
}

/// Lists the environment.
#[task]
fn environment() -> BTreeMap<String, String> {
    std::env::vars().collect()
}

/// Reads a file.
#[task]
fn read(path: String) -> io::Result<String> {
    fs::read_to_string(path)
}

/// Opens a file so often and keeps it open; how often that was done.
#[task]
fn open_often(path: String, times: u32) -> io::Result<usize> {
    let files = (0..times).map(|_| fs::File::open(&path)).collect::<io::Result<Vec<_>>>()?;
    Ok(files.len())
}

/// Writes a file.
#[task]
fn write(path: String, text: String) -> io::Result<()> {
    fs::write(path, text)
}

/// Lists a directory.
#[task]
fn list(path: String) -> io::Result<Vec<String>> {
    fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Removes a file.
#[task]
fn remove(path: String) -> io::Result<()> {
    fs::remove_file(path)
}

/// Renames a file.
#[task]
fn rename(from: String, to: String) -> io::Result<()> {
    fs::rename(from, to)
}

/// Makes a hard link.
#[task]
fn link(from: String, to: String) -> io::Result<()> {
    fs::hard_link(from, to)
}

/// Reads a file again and again; the different texts that came.
#[task]
fn read_often(path: String, times: u32) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..times {
        if let Ok(text) = fs::read_to_string(&path)
            && !texts.contains(&text)
        {
            texts.push(text);
        }
    }
    texts
}

/// Keeps a value.
#[task]
fn remember(key: String, value: String) -> Result<(), Failure> {
    state::set(&key, value.as_bytes()).or_fail("state", "remembering")
}

/// The value that was kept.
#[task]
fn recall(key: String) -> Result<Option<String>, state::Error> {
    Ok(state::get(&key)?.map(|value| String::from_utf8_lossy(&value).into_owned()))
}

/// Replaces a value.
#[task]
fn replace(key: String, old: Option<String>, new: Option<String>) -> Result<bool, state::Error> {
    state::replace(&key, old.as_deref().map(str::as_bytes), new.as_deref().map(str::as_bytes))
}

/// Removes a value.
#[task]
fn forget(key: String) -> Result<bool, state::Error> {
    state::delete(&key)
}

/// Lists keys.
#[task]
fn keys(prefix: String) -> Result<Vec<String>, state::Error> {
    state::keys(&prefix)
}
