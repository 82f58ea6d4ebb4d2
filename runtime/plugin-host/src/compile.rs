//! The body of the compile child. Compiling takes memory that a process never
//! gives back, and the compiler is the largest thing that hostile input meets,
//! so it runs in a process of its own.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::component::{NotAComponent, check_outline};
use crate::engine::{self, Kind};

/// Address space of the child: several times what the largest component takes.
const MEMORY: u64 = 4 << 30;
/// Seconds of processor time, in case nobody is left to stop the child.
const SECONDS: u64 = 600;

/// The same for people.
pub(crate) const MEMORY_IN_WORDS: &str = "4 GiB of memory";
pub(crate) const TIME_IN_WORDS: &str = "10 minutes of processor time";

/// Why a component could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The file is no component.
    #[error(transparent)]
    NotAComponent(#[from] NotAComponent),
    /// The component breaks a rule of WebAssembly.
    #[error("it is no valid component: {0}")]
    Invalid(String),
    /// This processor, or this build, cannot compile at all.
    #[error("the compiler cannot start: {0}")]
    Compiler(String),
    /// The input cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The component.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The output cannot be written.
    #[error("cannot write {path}: is the disk full?")]
    Write {
        /// The compiled code.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl CompileError {
    /// The status for [`CompileError::is_io`]; that of the C library's `EX_IOERR`.
    pub const IO_STATUS: u8 = 74;

    /// Whether a file could not be read or written, as when the disk is full,
    /// so that the same component may be compiled later.
    #[must_use]
    pub fn is_io(&self) -> bool {
        matches!(self, Self::Read { .. } | Self::Write { .. })
    }
}

/// Compiles the component in the file `input` and writes the code to `output`.
///
/// To be called by a process that does nothing else: it limits its own memory
/// and time for good. The host runs that process as its
/// [`CompilerCommand`](crate::CompilerCommand); an error is to be printed to
/// standard error, with its sources, and the process to end with the status
/// [`CompileError::IO_STATUS`] if it [is one of files](CompileError::is_io),
/// and otherwise with another one than 0.
///
/// # Errors
///
/// If the input is no valid component or a file cannot be read or written.
pub fn compile(input: &Path, output: &Path) -> Result<(), CompileError> {
    limit(Resource::RLIMIT_AS, MEMORY);
    limit(Resource::RLIMIT_CPU, SECONDS);
    limit(Resource::RLIMIT_CORE, 0);

    let read_error = |source| CompileError::Read { path: input.to_owned(), source };
    let wasm = fs::read(input).map_err(read_error)?;
    let kind = check_outline(File::open(input).map_err(read_error)?, wasm.len() as u64)?;
    let engine = engine::for_compiling(kind)
        .map_err(|error| CompileError::Compiler(format!("{error:#}")))?;
    let code = engine
        .precompile_component(&wasm)
        .map_err(|error| CompileError::Invalid(explain(&format!("{error:#}"), kind)))?;
    fs::write(output, code)
        .map_err(|source| CompileError::Write { path: output.to_owned(), source })
}

/// What the compiler said, and what to do where that does not say it. Wasmtime has
/// no type for it, only words.
fn explain(reason: &str, kind: Kind) -> String {
    if kind == Kind::Plain && reason.contains("async") {
        return format!(
            "{reason}; asynchronous functions and streams are for plugins that export \
             drover:plugin/async-operations@0.1: have the operations that use them there"
        );
    }
    reason.to_owned()
}

/// Lowers one limit of this process. A system that does not know the limit
/// compiles without it.
fn limit(resource: Resource, value: u64) {
    if let Ok((soft, hard)) = getrlimit(resource) {
        let _ = setrlimit(resource, soft.min(value), hard);
    }
}
