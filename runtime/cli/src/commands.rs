//! The subcommands, one file each.

pub(crate) mod agent;
pub(crate) mod call;
pub(crate) mod compile;
pub(crate) mod completions;
pub(crate) mod controller;
mod daemon;
pub(crate) mod keeper;
pub(crate) mod logs;
pub(crate) mod nodes;
pub(crate) mod ops;
pub(crate) mod plugin;
mod report;
