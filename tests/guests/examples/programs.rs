//! A plugin that runs programs. Its manifest asks for nothing: the tests pack it
//! with others.

use std::time::Duration;

use drover_sdk::process::{Command, Ending, Error, OutputStream};
use drover_sdk::{data, plugin, task};

plugin!(complete, converse, leave, kill, several);

/// What a program wrote, and how it ended.
#[data]
struct Completed {
    /// How it ended.
    ending: Ending,
    /// Standard output.
    stdout: String,
    /// Standard error.
    stderr: String,
    /// What was left out of the two.
    left_out: [u64; 2],
}

/// Runs a program to its end.
#[task]
fn complete(
    /// The program and its arguments.
    line: Vec<String>,
    /// Its variables.
    #[default(Vec::new())]
    env: Vec<(String, String)>,
    /// Where it starts.
    directory: Option<String>,
    /// What it reads.
    #[default(String::new())]
    input: String,
    /// How much is kept.
    #[default(1 << 20)]
    most: u32,
    /// How long it may run.
    max_time_ms: Option<u64>,
) -> Result<Completed, Error> {
    let mut command = command(&line).input(input).most_output(most);
    for (name, value) in env {
        command = command.env(name, value);
    }
    if let Some(directory) = directory {
        command = command.directory(directory);
    }
    if let Some(time) = max_time_ms {
        command = command.max_time(Duration::from_millis(time));
    }
    let output = command.run()?;
    Ok(Completed {
        ending: output.ending,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        left_out: [output.stdout_left_out, output.stderr_left_out],
    })
}

/// Writes each text when the program has answered the one before; the answers.
#[task]
fn converse(
    /// The program and its arguments.
    line: Vec<String>,
    /// What it is told.
    texts: Vec<String>,
) -> Result<(Vec<String>, Option<Ending>), Error> {
    let child = command(&line).spawn()?;
    let mut answers = Vec::new();
    for text in texts {
        child.write(text.as_bytes())?;
        if let Some((OutputStream::Stdout, answer)) = child.read(LONG) {
            answers.push(String::from_utf8_lossy(&answer).into_owned());
        }
    }
    child.close_input();
    assert!(child.write(b"more").is_err(), "its input is closed");
    assert!(child.read(LONG).is_none(), "it has said all");
    Ok((answers, child.wait(LONG)))
}

/// Starts a program, waits until it says something, and ends in some way.
#[task]
fn leave(
    /// The program and its arguments.
    line: Vec<String>,
    /// How: `answer`, `trap`, `spin` or `wait` for its end.
    how: String,
) -> Result<String, Error> {
    let child = command(&line).spawn()?;
    let said = child.read(LONG).map(|(_, bytes)| bytes).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    drover_sdk::log::text(&said);
    if how == "wait" {
        while child.wait(LONG).is_none() {}
    }
    // So that nothing is dropped in good order.
    std::mem::forget(child);
    match &*how {
        "trap" => panic!("on purpose"),
        "spin" => loop {
            std::hint::black_box(());
        },
        _ => Ok(said),
    }
}

/// Starts a program, waits until it says something, and ends it.
#[task]
fn kill(
    /// The program and its arguments.
    line: Vec<String>,
) -> Result<(String, Ending, Option<Ending>), Error> {
    let child = command(&line).spawn()?;
    let said = child.read(LONG).map(|(_, bytes)| bytes).unwrap_or_default();
    let ending = child.kill()?;
    Ok((String::from_utf8_lossy(&said).into_owned(), ending, child.wait(Duration::ZERO)))
}

/// Starts so many of a program; then drops one and starts one more.
#[task]
fn several(
    /// The program and its arguments.
    line: Vec<String>,
    /// How many.
    count: u32,
) -> (usize, Option<String>, bool) {
    let mut children = Vec::new();
    let mut error = None;
    for _ in 0..count {
        match command(&line).spawn() {
            Ok(child) => children.push(child),
            Err(refused) => error = Some(refused.to_string()),
        }
    }
    let running = children.len();
    children.pop();
    (running, error, command(&line).spawn().is_ok())
}

const LONG: Duration = Duration::from_secs(60);

fn command(line: &[String]) -> Command {
    let (program, arguments) = line.split_first().expect("a line has a program");
    Command::new(program).args(arguments)
}
