//! The macros behind `drover-sdk`; its front page says how they are used.
//!
//! `task` and `service` leave the function as it is, without what only they
//! understand, and put a hidden static beside it: a `drover_sdk` operation
//! with the name, the kind, the doc text, the schemas and a function that
//! decodes arguments, calls, and encodes the answer. `plugin!` gathers those
//! statics, and puts `plugin.toml` into the component, which is the one file that
//! is read. Nothing here keeps state; all generated paths start with
//! `::drover_sdk`, which is all that an author's crate has to depend on.

#![forbid(unsafe_code)]

mod data;
mod manifest;
mod operation;
mod parameter;
mod plugin;

use proc_macro::TokenStream;

/// Makes a task of a function: an operation that ends by itself.
///
/// See the front page of `drover-sdk`. With its feature `async` it may be an `async fn`.
#[proc_macro_attribute]
pub fn task(options: TokenStream, function: TokenStream) -> TokenStream {
    operation::expand(operation::Kind::Task, options.into(), function.into()).into()
}

/// Makes a service of a function: an operation that runs until it is stopped.
///
/// Written like a task. The function should return soon after
/// `drover_sdk::job::is_cancelled` says so.
#[proc_macro_attribute]
pub fn service(options: TokenStream, function: TokenStream) -> TokenStream {
    operation::expand(operation::Kind::Service, options.into(), function.into()).into()
}

/// Lets a struct or an enum travel as an argument or as an answer.
///
/// Derives `Serialize`, `Deserialize` and `JsonSchema`. Doc comments become
/// the schema's descriptions. Fields that the type does not have are refused,
/// unless one of its own is `#[serde(flatten)]`. Attributes of `serde` and
/// `schemars` work as always.
#[proc_macro_attribute]
pub fn data(options: TokenStream, item: TokenStream) -> TokenStream {
    data::expand(options.into(), item.into()).into()
}

/// Makes the crate a plugin that offers the listed operations.
///
/// `plugin!(greet, files::list)` lists functions that carry `#[task]` or
/// `#[service]`, by the paths under which they can be called. It exports them
/// to the host and defines `PLUGIN`, a `drover_sdk::Plugin` for unit tests. A
/// crate has one `plugin!`.
///
/// `plugin!(greet, async copy)` says of `copy` that it is an `async fn`.
///
/// `plugin!(greet, parser = Lines)` names a type that implements
/// `drover_sdk::lines::LineParser` as well; it may also stand alone.
///
/// The component gets a manifest of what `plugin.toml` beside `Cargo.toml` says,
/// if there is one, and of version, description, authors and licence of the package.
#[proc_macro]
pub fn plugin(operations: TokenStream) -> TokenStream {
    plugin::expand(operations.into()).into()
}
