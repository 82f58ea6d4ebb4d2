//! The plugin `container` in a real host: each story is told to a simulated engine
//! and to a real one, and has to end the same way. Faults on demand are the
//! simulated engine's; a real one is killed, and starts again.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod capture;
mod component;
mod desired;
mod events;
mod images;
mod kit;
mod life;
mod networks;
mod policy;
mod programs;
mod rancher;
mod site;
mod trouble;

/// The program under test, which compiles components.
const DROVER: &str = env!("CARGO_BIN_EXE_drover-under-test");
