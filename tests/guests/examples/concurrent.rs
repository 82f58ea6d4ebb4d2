//! Asynchronous operations: one that is as it should be, and those that are not.

use std::future::poll_fn;
use std::mem;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use drover_sdk::async_streams::{input, output};
use drover_sdk::bindings::concurrent::wit_stream;
use drover_sdk::{Failure, data, job, plugin, streams, task};

plugin!(
    plain,
    async empty,
    async copy,
    async fails,
    async panics,
    async takes_twice,
    async reads_some,
    async reads_into_much,
    async never_reads,
    async waits_for_nothing,
    async writes_for_ever,
    async writes_at_once,
    async returns_while_it_writes,
    async opens_for_ever,
    async sleeps,
    async spins,
    async hoards,
);

/// A plain task beside the others.
#[task]
fn plain(value: u32) -> u32 {
    value
}

/// Does nothing.
#[task]
async fn empty() {}

/// What has gone through.
#[data]
struct Passed {
    bytes: u64,
}

/// Gives the input back as the output.
#[task]
async fn copy() -> Result<Passed, Failure> {
    let (mut input, mut output) = (input()?, output()?);
    let (mut buffer, mut bytes) = (Vec::new(), 0);
    loop {
        buffer = input.read(buffer).await;
        if buffer.is_empty() {
            return Ok(Passed { bytes });
        }
        bytes += buffer.len() as u64;
        buffer = output.write(buffer).await?;
    }
}

/// Has a reason not to.
#[task]
async fn fails() -> Result<(), Failure> {
    Err(Failure::new("full", "there is no room"))
}

/// Crashes, and says why.
#[task]
async fn panics() {
    panic!("these are the last words");
}

/// Asks for each stream again, here and in the other interface.
#[task]
async fn takes_twice() -> Result<Vec<String>, Failure> {
    let _held = (input()?, output()?);
    let errors = [input().err(), output().err(), streams::input().err(), streams::output().err()];
    Ok(errors.iter().flatten().map(ToString::to_string).collect())
}

/// Has enough after the first bytes, and says how many those were.
#[task]
async fn reads_some() -> Result<Passed, Failure> {
    let bytes = input()?.read(Vec::with_capacity(1000)).await.len() as u64;
    Ok(Passed { bytes })
}

/// Reads into a buffer that is larger than anything there is.
#[task]
async fn reads_into_much() -> Result<Passed, Failure> {
    let bytes = input()?.read(Vec::with_capacity(32 << 20)).await.len() as u64;
    Ok(Passed { bytes })
}

/// Holds the input, and never looks at it.
#[task]
async fn never_reads() -> Result<(), Failure> {
    let _held = input()?;
    let _ = job::wait(Duration::MAX);
    Ok(())
}

/// Waits for what nobody can bring.
#[task]
async fn waits_for_nothing() {
    let (_writer, mut reader) = wit_stream::new::<u8>();
    reader.read(Vec::with_capacity(1)).await;
}

/// Writes as long as it may.
#[task]
async fn writes_for_ever() -> Result<(), Failure> {
    let mut output = output()?;
    let mut buffer = Vec::new();
    loop {
        buffer.resize(1 << 20, b'x');
        buffer = output.write(buffer).await?;
    }
}

/// Writes much in one piece.
#[task]
async fn writes_at_once() -> Result<(), Failure> {
    output()?.write(vec![b'x'; 32 << 20]).await?;
    Ok(())
}

/// Is done before its output is.
#[task]
async fn returns_while_it_writes() -> Result<(), Failure> {
    let mut output = output()?;
    let mut write = pin!(output.write(vec![b'x'; 8 << 20]));
    poll_fn(|context| Poll::Ready(write.as_mut().poll(context).is_ready())).await;
    Ok(())
}

/// Makes streams that nobody uses, without end.
#[task]
async fn opens_for_ever() {
    loop {
        let (writer, reader) = wit_stream::new::<u8>();
        mem::forget((writer, reader));
    }
}

/// Sleeps so that all of the instance does.
#[task]
#[expect(clippy::disallowed_methods, reason = "that is what it is for")]
async fn sleeps() {
    std::thread::sleep(Duration::from_secs(3600));
}

/// Computes for ever.
#[task]
async fn spins() {
    let mut number = 0_u64;
    loop {
        number = std::hint::black_box(number.wrapping_add(1));
    }
}

/// Takes memory for ever.
#[task]
async fn hoards() {
    let mut all = Vec::new();
    loop {
        all.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
}
