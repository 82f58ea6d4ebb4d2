//! What children say, and where it is kept.
//!
//! A child's output goes through an [`OutputParser`], one for each stream,
//! which finds the level of every line and block. Result levels go to a
//! [`ResultCollector`], metrics to [`statsd`], and all that is to be kept to the
//! [`store`], which is the only one that knows SQLite. A [`service`] answers
//! what callers ask of a store. [`LevelSet`] is how a command says which levels
//! it wants where. What a parser found in a line are the [`Fields`] of its record.

#![forbid(unsafe_code)]

mod fields;
mod level_set;
mod protocol;
mod result_data;
pub mod service;
mod source;
pub mod statsd;
pub mod store;

pub use fields::{FieldCondition, FieldConditionError, FieldRef, FieldValue, Fields};
pub use level_set::{LevelSet, LevelSetError};
pub use protocol::{Message, OutputParser, Part, Stream, Unfinished};
pub use result_data::{ResultCollector, ResultData, ResultDataError};
pub use source::Source;
