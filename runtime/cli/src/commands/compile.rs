//! `drover compile-component`: compiles one component and ends. Compiling
//! leaves hundreds of megabytes behind, so the agent has it done elsewhere.

use std::path::{Path, PathBuf};

use clap::Args;
use drover_plugin_host::CompilerCommand;

use crate::exit::Exit;
use crate::output;

/// Compiles INPUT, a component, to OUTPUT.
#[derive(Debug, Args)]
pub(crate) struct CompileComponent {
    /// The component
    input: PathBuf,
    /// Where to write the compiled code
    output: PathBuf,
}

/// What went wrong is all that is printed: the agent shows it as the reason.
pub(crate) fn run(command: &CompileComponent) -> Exit {
    match drover_plugin_host::compile(&command.input, &command.output) {
        Ok(()) => Exit::Done,
        Err(error) => {
            let exit = if error.is_io() { Exit::Io } else { Exit::Failed };
            output::note(&format!("{:#}", anyhow::Error::new(error)));
            exit
        }
    }
}

/// This program, as the compiler of the plugin host.
pub(crate) fn compiler() -> CompilerCommand {
    // The link goes to this very program even after its file was replaced.
    let link = Path::new("/proc/self/exe");
    let program = if link.exists() {
        link.to_path_buf()
    } else {
        std::env::current_exe().unwrap_or_else(|_| PathBuf::from("drover"))
    };
    CompilerCommand { program, args: vec!["compile-component".into()] }
}
