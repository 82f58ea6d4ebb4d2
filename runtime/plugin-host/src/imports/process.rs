//! `wit/process.wit`: programs, if they and their arguments are granted.

use std::path::PathBuf;
use std::time::Duration;

use wasmtime::component::Resource;

use crate::bindings::drover::plugin::process::{
    Command, Completed, Ending as GuestEnding, Error, Host, HostChild, OutputStream,
};
use crate::children::Child;
use crate::instance::State;
use crate::programs::{Ending, NotStarted, Program, ProgramOutput, ProgramStream};

/// Arguments of one program; see `wit/process.wit`.
const ARGUMENTS: usize = 1_000;
/// Bytes of all arguments and variables; see `wit/process.wit`.
const ARGUMENT_BYTES: usize = 128 << 10;
/// The most that `run` gives of each stream; see `wit/process.wit`.
const MOST: usize = 4 << 20;

impl Host for State {
    async fn run(
        &mut self,
        command: Command,
        input: Vec<u8>,
        most: u32,
    ) -> wasmtime::Result<Result<Completed, Error>> {
        match self.start("process.run", command, !input.is_empty()).await {
            Ok(child) => Ok(Ok(complete(child, &input, (most as usize).min(MOST)).await)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn spawn(
        &mut self,
        command: Command,
    ) -> wasmtime::Result<Result<Resource<Child>, Error>> {
        match self.start("process.spawn", command, true).await {
            Ok(child) => Ok(Ok(self.table.push(child)?)),
            Err(error) => Ok(Err(error)),
        }
    }
}

impl HostChild for State {
    async fn id(&mut self, child: Resource<Child>) -> wasmtime::Result<String> {
        Ok(self.table.get(&child)?.id().to_string())
    }

    async fn write(
        &mut self,
        child: Resource<Child>,
        bytes: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Error>> {
        let control = self.table.get(&child)?.control();
        Ok(control.write(&bytes).await.map_err(|_| Error::Closed))
    }

    async fn close_input(&mut self, child: Resource<Child>) -> wasmtime::Result<()> {
        let control = self.table.get(&child)?.control();
        control.close_input().await;
        Ok(())
    }

    async fn read(
        &mut self,
        child: Resource<Child>,
        wait_ms: u64,
    ) -> wasmtime::Result<Option<(OutputStream, Vec<u8>)>> {
        let output = self.table.get_mut(&child)?.read(Duration::from_millis(wait_ms)).await;
        Ok(output.map(|ProgramOutput { stream, bytes }| {
            let stream = match stream {
                ProgramStream::Stdout => OutputStream::Stdout,
                ProgramStream::Stderr => OutputStream::Stderr,
            };
            (stream, bytes.into())
        }))
    }

    async fn wait(
        &mut self,
        child: Resource<Child>,
        wait_ms: u64,
    ) -> wasmtime::Result<Option<GuestEnding>> {
        let ending = self.table.get_mut(&child)?.wait(Duration::from_millis(wait_ms)).await;
        Ok(ending.map(in_guests_words))
    }

    async fn kill(
        &mut self,
        child: Resource<Child>,
    ) -> wasmtime::Result<Result<GuestEnding, Error>> {
        let killed = self.table.get_mut(&child)?.kill().await;
        Ok(killed.map(in_guests_words).map_err(Error::StillThere))
    }

    async fn drop(&mut self, child: Resource<Child>) -> wasmtime::Result<()> {
        let mut child = self.table.delete(child)?;
        // What is still there after that is told at the end of the job.
        let _ = child.kill().await;
        Ok(())
    }
}

impl State {
    /// Starts a program, if that is granted, and waits until it runs.
    async fn start(
        &mut self,
        call: &str,
        command: Command,
        has_input: bool,
    ) -> Result<Child, Error> {
        let program = match self.program(command, has_input) {
            Ok(program) => program,
            Err(Refused::Denied { argument, reason }) => {
                self.denied(call, &argument).await;
                return Err(Error::Denied(reason));
            }
            Err(Refused::Invalid(reason)) => return Err(Error::Invalid(reason)),
        };
        let Some(programs) = self.surroundings.programs.clone() else {
            let reason = "this host runs no programs";
            return Err(Error::NotStarted(reason.to_owned()));
        };
        let place = self.call.children.place().map_err(Error::TooMany)?;
        let mut started = programs.start(program);
        let (_, nothing) = tokio::sync::oneshot::channel();
        let began = std::mem::replace(&mut started.began, nothing);
        let mut child = self.call.children.enter(started, place);
        match began.await {
            Ok(Ok(())) => Ok(child),
            Ok(Err(NotStarted(reason))) => {
                child.ending().await;
                Err(Error::NotStarted(reason))
            }
            Err(_) => Err(Error::NotStarted("the node is shutting down".to_owned())),
        }
    }

    /// The program of a command that is granted.
    fn program(&self, command: Command, has_input: bool) -> Result<Program, Refused> {
        let Command { program: path, arguments, environment, directory, max_time_ms } = command;
        let allowance = &self.call.allowance;
        if self.call.job.is_empty() {
            let reason = "there is no job that the program could belong to".to_owned();
            return Err(Refused::Denied { argument: in_words(&path, &arguments), reason });
        }
        let Some(granted) = allowance.programs.get(&path) else {
            let reason = format!("the program {path:?} is not granted");
            return Err(Refused::Denied { argument: in_words(&path, &arguments), reason });
        };
        if !granted.permits(&arguments) {
            let reason = format!("{path} is not granted with these arguments");
            return Err(Refused::Denied { argument: in_words(&path, &arguments), reason });
        }
        if let Some((name, _)) = environment.iter().find(|(name, _)| !granted.env.contains(name)) {
            let argument = format!("{path} with {name}");
            let reason = format!("the variable {name:?} is not granted for {path}");
            return Err(Refused::Denied { argument, reason });
        }
        let directory = match directory {
            None => PathBuf::from("/"),
            Some(wanted) => match allowance.directories.iter().find(|dir| dir.seen_as == wanted) {
                Some(directory) => directory.path.clone(),
                None => {
                    let argument = format!("{path} in {wanted}");
                    let reason = format!("the directory {wanted:?} is not granted");
                    return Err(Refused::Denied { argument, reason });
                }
            },
        };
        check_size(&arguments, &environment)?;
        let wanted = max_time_ms.map(Duration::from_millis);
        Ok(Program {
            plugin: self.call.plugin.to_string(),
            path,
            arguments,
            environment: environment.into_iter().collect(),
            directory,
            has_input,
            user: granted.user.clone(),
            memory_bytes: granted.memory_bytes,
            processes: granted.processes,
            max_time: [wanted, granted.max_time].into_iter().flatten().min(),
        })
    }
}

/// Why a command becomes no program.
enum Refused {
    Denied {
        /// For the record.
        argument: String,
        /// For the plugin.
        reason: String,
    },
    Invalid(String),
}

fn check_size(arguments: &[String], environment: &[(String, String)]) -> Result<(), Refused> {
    let of_variables = environment.iter().map(|(name, value)| name.len() + value.len());
    let bytes = arguments.iter().map(String::len).chain(of_variables).sum::<usize>();
    let problem = if arguments.len() > ARGUMENTS {
        format!("there are more than {ARGUMENTS} arguments")
    } else if bytes > ARGUMENT_BYTES {
        format!("arguments and environment have more than {ARGUMENT_BYTES} bytes")
    } else if environment.iter().any(|(_, value)| value.contains('\0')) {
        "a variable has a NUL in it".to_owned()
    } else {
        return Ok(());
    };
    Err(Refused::Invalid(problem))
}

/// A command for people, in which no two look the same.
fn in_words(path: &str, arguments: &[String]) -> String {
    let needs_quotes = |letter: char| letter.is_whitespace() || "\"'\\".contains(letter);
    let quoted = |word: &String| match word.is_empty() || word.contains(needs_quotes) {
        true => format!(" {word:?}"),
        false => format!(" {word}"),
    };
    path.to_owned() + &arguments.iter().map(quoted).collect::<String>()
}

/// Runs a program to its end, and keeps the beginning of its output.
async fn complete(mut child: Child, input: &[u8], most: usize) -> Completed {
    let control = child.control();
    let feed = async {
        if !input.is_empty() {
            // A program that does not read its input has its reasons.
            let _ = control.write(input).await;
            control.close_input().await;
        }
    };
    tokio::pin!(feed);
    let mut is_fed = false;
    let mut kept = [Kept::default(), Kept::default()];
    loop {
        tokio::select! {
            output = child.read_next() => match output {
                Some(ProgramOutput { stream, bytes }) => kept[stream as usize].take(&bytes, most),
                None => break,
            },
            () = &mut feed, if !is_fed => is_fed = true,
        }
    }
    let ending = in_guests_words(child.ending().await);
    let [stdout, stderr] = kept;
    Completed {
        ending,
        stdout: stdout.bytes,
        stderr: stderr.bytes,
        stdout_left_out: stdout.left_out,
        stderr_left_out: stderr.left_out,
    }
}

/// The beginning of a stream.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    left_out: u64,
}

impl Kept {
    fn take(&mut self, bytes: &[u8], most: usize) {
        let (kept, rest) = bytes.split_at(bytes.len().min(most - self.bytes.len()));
        self.bytes.extend_from_slice(kept);
        self.left_out += rest.len() as u64;
    }
}

fn in_guests_words(ending: Ending) -> GuestEnding {
    match ending {
        Ending::Code(code) => GuestEnding::Code(code),
        Ending::Signal(signal) => GuestEnding::Signal(signal),
        Ending::OutOfMemory => GuestEnding::OutOfMemory,
        Ending::Timeout => GuestEnding::Timeout,
        Ending::Killed => GuestEnding::Killed,
        Ending::Unknown => GuestEnding::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_stream_is_kept_and_the_rest_is_counted() {
        let mut kept = Kept::default();
        for piece in [b"abc".as_slice(), b"de", b"fgh"] {
            kept.take(piece, 4);
        }
        assert_eq!((kept.bytes.as_slice(), kept.left_out), (b"abcd".as_slice(), 4));
    }

    #[test]
    fn a_command_is_told_so_that_one_argument_is_not_two() {
        let words = |arguments: &[&str]| {
            in_words("/a", &arguments.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(words(&["b", "c d", ""]), "/a b \"c d\" \"\"");
        assert_ne!(words(&["b c"]), words(&["b", "c"]));
        assert_ne!(words(&["b\" \"c"]), words(&["b", "c"]));
    }

    #[test]
    fn a_command_is_bounded() {
        let variable = |value: &str| vec![("X".to_owned(), value.to_owned())];
        assert!(check_size(&["a".to_owned()], &variable("x")).is_ok());
        assert!(check_size(&vec![String::new(); ARGUMENTS + 1], &[]).is_err());
        assert!(check_size(&["x".repeat(ARGUMENT_BYTES + 1)], &[]).is_err());
        assert!(check_size(&[], &variable("a\0")).is_err());
    }
}
