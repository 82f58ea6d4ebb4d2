//! A job in a host of this program, shown as it runs.

use std::future::ready;
use std::pin::Pin;
use std::time::Duration;

use anyhow::Context;
use drover_api::{Command, JobLimits, JobResult, NodeId, OperationKind};
use drover_plugin_host::{Host, Job, JobStreams, Outcome, Published, Said};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::report;
use crate::output;

/// What is said and waits to be shown; the plugin waits while it is full.
const SAID: usize = 64;

/// What is to be run.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) plugin: String,
    pub(super) operation: String,
    /// A service runs until it is cancelled.
    pub(super) kind: OperationKind,
    pub(super) arguments: Map<String, Value>,
    pub(super) data: Vec<u8>,
    pub(super) timeout: Option<Duration>,
    pub(super) limits: JobLimits,
}

/// Runs it to its end, and shows what it says as it does. `cancel` is cancelled
/// by Ctrl-C as well.
///
/// # Errors
///
/// If Ctrl-C cannot be heard.
pub(super) async fn run(
    host: &Host,
    wish: Wish,
    streams: JobStreams,
    cancel: &CancellationToken,
) -> anyhow::Result<JobResult> {
    let (reports, mut progress) = mpsc::channel(8);
    let (said, mut heard) = mpsc::channel(SAID);
    let mut command = Command::new(format!("{}.{}", wish.plugin, wish.operation));
    command.args = wish.arguments.clone();
    let job = Job {
        id: command.id.clone(),
        plugin: wish.plugin,
        operation: wish.operation,
        arguments: wish.arguments,
        data: wish.data,
        timeout: wish.timeout,
        limits: wish.limits,
        progress: Some(reports),
        said: Some(said),
        cancel: cancel.clone(),
        caller: None,
        streams,
    };
    let mut lines = Lines::default();
    let (feed, mut values) = mpsc::channel(SAID);
    let mut ending: Pin<Box<dyn Future<Output = Outcome> + Send>> = match wish.kind {
        OperationKind::Task => Box::pin(host.run(job)),
        OperationKind::Service => match host.start_service(job, feed) {
            Ok(service) => Box::pin(service.ended()),
            Err(error) => Box::pin(ready(Outcome::refused(error))),
        },
    };
    let outcome = loop {
        tokio::select! {
            biased;
            Some(report) = progress.recv() => report::progress(&report),
            Some(said) = heard.recv() => lines.show(said),
            Some(value) = values.recv() => show_value(&value),
            outcome = &mut ending => break outcome,
            signalled = tokio::signal::ctrl_c(), if !cancel.is_cancelled() => {
                signalled.context("cannot listen for Ctrl-C")?;
                cancel.cancel();
            }
        }
    };
    while let Ok(report) = progress.try_recv() {
        report::progress(&report);
    }
    while let Ok(said) = heard.try_recv() {
        lines.show(said);
    }
    while let Ok(value) = values.try_recv() {
        show_value(&value);
    }
    lines.finish();
    // No node ran it, and 0.0 is none's id.
    Ok(outcome.into_result(NodeId::new(0, 0), command))
}

fn show_value(value: &Published) {
    output::note(&format!("published {}", value.json));
}

/// Output that is no whole line yet.
#[derive(Debug, Default)]
struct Lines {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Lines {
    fn show(&mut self, said: Said) {
        match said {
            Said::Record { record, .. } => report::record(&record),
            Said::Stdout(bytes) => show_lines("stdout", &mut self.stdout, &bytes),
            Said::Stderr(bytes) => show_lines("stderr", &mut self.stderr, &bytes),
        }
    }

    fn finish(&mut self) {
        for (name, rest) in [("stdout", &mut self.stdout), ("stderr", &mut self.stderr)] {
            if !rest.is_empty() {
                show_lines(name, rest, b"\n");
            }
        }
    }
}

fn show_lines(name: &str, rest: &mut Vec<u8>, bytes: &[u8]) {
    rest.extend_from_slice(bytes);
    for line in take_lines(rest) {
        output::note(&format!("{name}: {line}"));
    }
}

/// Takes the whole lines out of what has come.
fn take_lines(rest: &mut Vec<u8>) -> Vec<String> {
    let Some(end) = rest.iter().rposition(|&byte| byte == b'\n') else { return Vec::new() };
    let whole: Vec<u8> = rest.drain(..=end).collect();
    String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_when_they_are_whole() {
        let mut rest = b"one\ntw".to_vec();
        assert_eq!(take_lines(&mut rest), ["one"]);
        assert!(take_lines(&mut rest).is_empty());
        rest.extend_from_slice(b"o\n\nthree\n");
        assert_eq!(take_lines(&mut rest), ["two", "", "three"]);
        assert!(rest.is_empty());
    }
}
