//! What plugins may call: one file for each interface in `wit/`.

mod async_streams;
mod channel;
mod config;
mod feed;
mod files;
mod job;
mod log;
mod metrics;
mod process;
mod state;
mod streams;
mod sysinfo;

use drover_grants::Asks;
use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::concurrent::drover::plugin::async_streams as async_interface;
use crate::bindings::drover::plugin;
use crate::instance::State;

pub(crate) use metrics::Measuring;
pub(crate) use streams::Ends;

/// A linker with what every plugin may call and what this one asks for, which
/// is granted, or else the plugin does not load. WASI's sockets are in it and
/// are not offered: components that import them are refused before they are
/// linked.
pub(crate) fn linker(engine: &Engine, asks: &Asks) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    files::add_to_linker(&mut linker)?;
    plugin::feed::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    plugin::job::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    plugin::log::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    plugin::metrics::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    plugin::streams::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    if engine.get_concurrency_support() {
        async_interface::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    }
    if !asks.settings.is_empty() || !asks.secrets.is_empty() {
        plugin::config::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    }
    if !asks.http.is_empty() {
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        plugin::channel::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    }
    if !asks.programs.is_empty() {
        plugin::process::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    }
    if asks.state.is_some() {
        plugin::state::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    }
    if asks.sysinfo.is_some() {
        plugin::sysinfo::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    }
    Ok(linker)
}
