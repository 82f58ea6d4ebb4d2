//! What plugins may call: one file for each interface in `wit/`.

mod job;
mod log;
mod sysinfo;

use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::OperationsPlugin;
use crate::instance::State;

/// A linker with everything that is offered. WASI's sockets are in it and are
/// not offered: components that import them are refused before they are linked.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    OperationsPlugin::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    Ok(linker)
}
