//! Takes down what a plugin says while its job runs.

use std::pin::{Pin, pin};
use std::time::Duration;

use drover_api::JobId;
use drover_logs::Stream;
use drover_logs::store::StoreClosed;
use drover_plugin_host::{Host, Job, Outcome, Said};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::logs::JobLog;

/// What a plugin says between it and its log; more makes the plugin wait.
pub(crate) const SAID_BACKLOG: usize = 8;

/// How long the answer to a job waits for the log to take what it said. A job
/// whose answer is there finds its records in the log, unless the disk fails.
const WRITE_PATIENCE: Duration = Duration::from_secs(1);

/// What a job said that the log has not taken yet. To be awaited by whoever
/// answers, after the answer.
pub(crate) type Unwritten = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs a job to its end and takes down what it says.
pub(crate) async fn run(host: &Host, mut job: Job, log: JobLog) -> (Outcome, Option<Unwritten>) {
    let (said, heard) = mpsc::channel(SAID_BACKLOG);
    job.said = Some(said);
    take_down(job.id.clone(), heard, log, host.run(job)).await
}

/// Takes down what is heard of a job while it runs, to its end.
pub(crate) async fn take_down(
    id: JobId,
    heard: mpsc::Receiver<Said>,
    log: JobLog,
    running: impl Future<Output = Outcome>,
) -> (Outcome, Option<Unwritten>) {
    let (end, ended) = oneshot::channel();
    let mut writing: Unwritten = Box::pin(async move {
        if let Err(error) = write(heard, ended, log).await {
            tracing::warn!(job = %id, %error, "what the job said is not in the log");
        }
    });
    let mut running = pin!(running);
    let outcome = tokio::select! {
        outcome = &mut running => outcome,
        // Over before the job: the log is closed, and takes nothing any more.
        () = &mut writing => return (running.await, None),
    };
    let _ = end.send(());
    let is_written = timeout(WRITE_PATIENCE, &mut writing).await.is_ok();
    (outcome, (!is_written).then_some(writing))
}

/// Writes down all that is heard until the job has ended.
async fn write(
    mut heard: mpsc::Receiver<Said>,
    mut ended: oneshot::Receiver<()>,
    mut log: JobLog,
) -> Result<(), StoreClosed> {
    loop {
        tokio::select! {
            biased;
            said = heard.recv() => match said {
                Some(said) => take(&mut log, &said),
                None => break,
            },
            _ = &mut ended => break,
        }
        while let Ok(said) = heard.try_recv() {
            take(&mut log, &said);
        }
        log.write().await?;
    }
    log.end_output(&mut |_, _| {});
    log.write().await
}

fn take(log: &mut JobLog, said: &Said) {
    match said {
        Said::Record { record, fields } => log.record_with_fields(record, fields),
        Said::Stdout(bytes) => log.output(Stream::Stdout, bytes, &mut |_, _| {}),
        Said::Stderr(bytes) => log.output(Stream::Stderr, bytes, &mut |_, _| {}),
    }
}
