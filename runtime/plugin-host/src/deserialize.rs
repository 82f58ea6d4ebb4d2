//! The one unsafe step: handing compiled code to wasmtime.

use std::os::fd::AsRawFd;

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::cache::Verified;

/// Maps the compiled code of a component into memory.
#[expect(unsafe_code, reason = "wasmtime cannot check that machine code is harmless")]
pub(crate) fn component(engine: &Engine, code: &Verified) -> wasmtime::Result<Component> {
    let path = format!("/proc/self/fd/{}", code.file().as_raw_fd());
    // SAFETY: wasmtime asks for a file that an engine of this version wrote and
    // nobody changes. A `Verified` is made in one place, from bytes that matched
    // an HMAC under a key that this user alone can read and that `Cache::store`
    // alone puts under the output of our own compile child, for this engine's
    // fingerprint. The bytes that were checked are in a sealed memory file,
    // which nobody can write to, and the path leads to no other.
    unsafe { Component::deserialize_file(engine, path) }
}
