//! Operations that misbehave, each in one way, for the tests of the host.
//!
//! `cargo build --profile plugin --target wasm32-wasip2 -p drover-guests
//! --lib --examples` makes `guests.wasm`, the plugin below, and in `examples/`
//! one component for each way to be wrong as a whole: while it describes
//! itself, by what it imports, or by what it lacks.

mod crash;
mod flood;
mod host;
mod measure;
mod serve;
mod stream;
mod wait;

use drover_sdk::serde_json::Value;
use drover_sdk::{Failure, plugin, task};

plugin!(
    empty,
    echo,
    data,
    fail,
    crash::panic,
    crash::recurse,
    crash::allocate,
    crash::exit,
    flood::print,
    flood::print_forever,
    flood::print_bytes,
    flood::log,
    flood::progress,
    flood::big_answer,
    wait::spin,
    wait::sleep,
    wait::until_cancelled,
    wait::ignore_cancel,
    wait::serve,
    serve::idle,
    serve::deaf,
    serve::busy,
    serve::publish,
    serve::die,
    serve::finish,
    serve::publish_as_task,
    host::job,
    host::count,
    host::read_file,
    host::list_directory,
    host::environment,
    measure::measure,
    measure::measure_many,
    stream::pass,
);

/// Does nothing.
#[task]
fn empty() {}

/// Gives back what it got.
#[task]
fn echo(
    /// Anything.
    value: Value,
) -> Value {
    value
}

/// Gives back the command's data, which need not be text.
#[task]
fn data() -> drover_sdk::Binary {
    drover_sdk::job::data().into()
}

/// Fails.
#[task]
fn fail(
    /// The failure's code.
    code: String,
    /// The failure's message.
    message: String,
) -> Result<(), Failure> {
    Err(Failure::new(code, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_harmless_ones_work() {
        assert_eq!(PLUGIN.run("empty", "{}").unwrap(), "null");
        assert_eq!(PLUGIN.run("echo", r#"{"value":[1,null]}"#).unwrap(), "[1,null]");
        assert_eq!(PLUGIN.run("big_answer", r#"{"bytes":3}"#).unwrap(), r#""xxx""#);
    }
}
