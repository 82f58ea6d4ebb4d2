//! `drover plugin run`: runs one operation of a plugin file.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use drover_api::{JobResult, JobState, OperationKind};
use drover_plugin_host::{Host, JobStreams, Meters, PipeReader, PipeWriter, pipe};
use tokio_util::sync::CancellationToken;

use super::super::call::{JobFlags, one_reads_stdin};
use super::super::report;
use super::live::{self, Wish};
use super::surroundings::{Surroundings, explain};
use super::trial;
use crate::arguments::Arguments;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::streams::Chunks;
use crate::transfer::{Files, Sink};

/// What is taken from the plugin at once, in bytes.
const PIECE: usize = 64 << 10;

/// Loads a plugin file as an agent would and runs one of its operations; what
/// it says is shown as it says it.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// The component
    file: PathBuf,
    /// The name of the operation, without the plugin's
    operation: String,
    #[command(flatten)]
    arguments: Arguments,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    job: JobFlags,
    /// Show what the plugin measures, on standard error
    #[arg(long)]
    metrics: bool,
    #[command(flatten)]
    surroundings: Surroundings,
}

pub(super) async fn run(run: Run) -> Result<Exit, Failure> {
    one_reads_stdin(&run.arguments, &run.files)?;
    let data = run.job.data()?;
    let arguments = run.arguments.with_input()?;
    let meters = run.metrics.then(|| -> Arc<dyn Meters> { Arc::new(trial::Shown) });
    let host = run.surroundings.host(&run.file, meters)?;
    let plugin = host.load_file(&run.file).await.map_err(explain)?;
    let operation = plugin.operations.iter().find(|operation| operation.name == run.operation);
    let schema = operation.map(|operation| operation.arguments.clone()).unwrap_or_default();
    let kind = operation.map_or(OperationKind::Task, |operation| operation.kind);
    let wish = Wish {
        plugin: plugin.name,
        operation: run.operation,
        kind,
        arguments: arguments.read(&schema)?,
        data,
        timeout: run.job.timeout,
        limits: run.job.limits.into(),
    };
    let result = streamed(&host, wish, &run.files).await;
    host.shutdown().await;
    let result = result?;
    match run.files.writes_stdout() {
        true => report::beside_output(&result, "", run.job.json),
        false => report::ending(&result, "", run.job.json),
    }
}

/// Runs it with files as its streams.
async fn streamed(host: &Host, wish: Wish, files: &Files) -> Result<JobResult, Failure> {
    let (source, sink) = files.open()?;
    let (mut streams, cancel, over) =
        (JobStreams::default(), CancellationToken::new(), CancellationToken::new());
    let feeding = source.map(|source| {
        let (writer, reader) = pipe();
        streams.input = Some(reader);
        over.run_until_cancelled(feed(source, writer))
    });
    let taking = sink.map(|sink| {
        let (writer, reader) = pipe();
        streams.output = Some(writer);
        take(reader, sink)
    });
    let feeding = async {
        let fed = match feeding {
            Some(feeding) => feeding.await.unwrap_or(Ok(())),
            None => Ok(()),
        };
        fed.inspect_err(|_| cancel.cancel())
    };
    let taking = async {
        match taking {
            Some(taking) => {
                let (sink, taken) = taking.await;
                (Some(sink), taken.inspect_err(|_| cancel.cancel()))
            }
            None => (None, Ok(())),
        }
    };
    let running = async {
        let result = live::run(host, wish, streams, &cancel).await;
        over.cancel();
        result
    };
    let (result, fed, (sink, taken)) = tokio::join!(running, feeding, taking);
    let broken = fed.context("the input broke off").and(taken.context("cannot write the output"));
    let is_whole = broken.is_ok() && matches!(&result, Ok(JobResult { state: JobState::Ok, .. }));
    match sink {
        Some(sink) if is_whole => sink.finish().await?,
        Some(sink) => output::note(&format!("drover: {}", sink.abandon())),
        None => {}
    }
    broken?;
    Ok(result?)
}

/// Passes on what is read, no faster than the plugin takes it.
async fn feed(mut source: Chunks, mut input: PipeWriter) -> io::Result<()> {
    while let Some(piece) = source.recv().await {
        // A plugin that reads no more is none the worse for it.
        if input.write(piece?.into()).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Has all that the plugin writes written.
async fn take(mut output: PipeReader, mut sink: Sink) -> (Sink, io::Result<()>) {
    loop {
        let room = sink.room();
        let next = async { (room.await, output.read(PIECE).await) };
        tokio::select! {
            (room, piece) = next => {
                let Some(piece) = piece else { return (sink, Ok(())) };
                // Where there is no room, writing has failed, which is told below.
                if let Some(room) = room {
                    room.send(piece.into());
                }
            }
            written = sink.written() => if let Err(error) = written {
                return (sink, Err(error));
            },
        }
    }
}
