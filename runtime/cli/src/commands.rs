//! The subcommands, one file each.

pub(crate) mod agent;
pub(crate) mod audit;
pub(crate) mod call;
pub(crate) mod catalog;
pub(crate) mod compile;
pub(crate) mod completions;
pub(crate) mod containers;
pub(crate) mod controller;
mod daemon;
pub(crate) mod desired;
pub(crate) mod doctor;
pub(crate) mod exec;
pub(crate) mod job;
pub(crate) mod keeper;
pub(crate) mod key;
pub(crate) mod kill;
pub(crate) mod login;
pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod node;
pub(crate) mod nodes;
pub(crate) mod ops;
pub(crate) mod plugin;
pub(crate) mod ps;
mod report;
pub(crate) mod rollout;
pub(crate) mod schedule;
pub(crate) mod service;
pub(crate) mod sign;
pub(crate) mod sources;
pub(crate) mod stats;
pub(crate) mod token;
pub(crate) mod user;

pub(crate) use plugin::{Cache, inspect_with_everything};
