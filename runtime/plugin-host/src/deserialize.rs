//! The one unsafe step: handing compiled code to wasmtime.

use std::fs::File;
use std::os::fd::AsRawFd;

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::cache::Verified;

/// Maps the compiled code of a component into memory.
#[expect(unsafe_code, reason = "wasmtime cannot check that machine code is harmless")]
pub(crate) fn component(engine: &Engine, code: &Verified) -> wasmtime::Result<Component> {
    let path = path_of(code.file());
    // SAFETY: wasmtime asks for a file that an engine of this version wrote and
    // nobody changed. A `Verified` exists only for an open file whose content
    // matched an HMAC under a key that is readable to this user alone, made by
    // `Cache::store` over the output of our own compile child. The path names
    // that very file by its descriptor, so swapping the directory entry has no
    // effect. The directory is open to this user alone, and the cache replaces
    // its files by renaming and never writes into one.
    unsafe { Component::deserialize_file(engine, path) }
}

/// A path that leads to this open file and no other.
fn path_of(file: &File) -> String {
    let directory = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
    format!("{directory}/{}", file.as_raw_fd())
}
