//! Files here as the input and the output of a job.
//!
//! An output file appears under its name when the job has ended well and all of it
//! is there; before that, and when the transfer is interrupted, it is not there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::Context;
use clap::Args;
use tokio::sync::mpsc;

use crate::streams::{self, Chunks};
use crate::whole_file::WholeFile;

/// Pieces that wait to be written; more wait at the session.
const BACKLOG: usize = 16;

/// What is streamed.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Files {
    /// Send a file to the operation while it runs; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    input: Option<PathBuf>,
    /// Write what the operation gives while it runs into a file; - is standard
    /// output, and then the answer goes to standard error
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Files {
    pub(crate) fn is_none(&self) -> bool {
        self.input.is_none() && self.output.is_none()
    }

    pub(crate) fn reads_stdin(&self) -> bool {
        self.input.as_deref().is_some_and(is_standard)
    }

    pub(crate) fn writes_stdout(&self) -> bool {
        self.output.as_deref().is_some_and(is_standard)
    }

    /// Opens the input and begins the output, as far as there are any.
    pub(crate) fn open(&self) -> anyhow::Result<(Option<Chunks>, Option<Sink>)> {
        let source = self.input.as_deref().map(|path| match is_standard(path) {
            true => streams::read_stdin().context("cannot read standard input"),
            false => {
                let file = File::open(path).and_then(streams::read);
                file.with_context(|| format!("cannot read {}", path.display()))
            }
        });
        let sink = self.output.as_deref().map(|path| {
            Sink::open(path).with_context(|| format!("cannot write {}", path.display()))
        });
        Ok((source.transpose()?, sink.transpose()?))
    }
}

fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

/// Takes an output, on a thread of its own.
#[derive(Debug)]
pub(crate) struct Sink {
    pieces: mpsc::Sender<Vec<u8>>,
    written: mpsc::Receiver<io::Result<usize>>,
    bytes: u64,
    name: String,
    /// None where what is written is seen at once.
    file: Option<WholeFile>,
}

impl Sink {
    fn open(path: &Path) -> io::Result<Self> {
        let name = path.display().to_string();
        if is_standard(path) {
            return Self::start("standard output".to_owned(), io::stdout(), None);
        }
        // A device or a named pipe stays what it is.
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
            return Self::start(name, OpenOptions::new().write(true).open(path)?, None);
        }
        let file = WholeFile::begin(path)?;
        Self::start(name, file.file().try_clone()?, Some(file))
    }

    fn start(
        name: String,
        mut output: impl Write + Send + 'static,
        file: Option<WholeFile>,
    ) -> io::Result<Self> {
        let (pieces, mut to_write) = mpsc::channel::<Vec<u8>>(BACKLOG);
        let (tell, written) = mpsc::channel(BACKLOG);
        thread::Builder::new().name("output".to_owned()).spawn(move || {
            while let Some(piece) = to_write.blocking_recv() {
                let outcome = output.write_all(&piece).and_then(|()| output.flush());
                let is_over = outcome.is_err();
                if tell.blocking_send(outcome.map(|()| piece.len())).is_err() || is_over {
                    return;
                }
            }
        })?;
        Ok(Self { pieces, written, bytes: 0, name, file })
    }

    /// Waits until there is room for a piece; none if nothing is written any more.
    pub(crate) fn room(&self) -> impl Future<Output = Option<mpsc::OwnedPermit<Vec<u8>>>> + use<> {
        let room = self.pieces.clone().reserve_owned();
        async { room.await.ok() }
    }

    /// Waits until something was written, and says how much; pending when nothing
    /// more can be.
    pub(crate) async fn written(&mut self) -> io::Result<usize> {
        match self.written.recv().await {
            Some(written) => {
                let bytes = written?;
                self.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
                Ok(bytes)
            }
            None => std::future::pending().await,
        }
    }

    /// Waits until all is written, and puts it in place.
    ///
    /// # Errors
    ///
    /// If something could not be written; then nothing is in place.
    pub(crate) async fn finish(self) -> anyhow::Result<()> {
        let Self { pieces, mut written, name, file, .. } = self;
        drop(pieces);
        let finish = async {
            while let Some(written) = written.recv().await {
                written?;
            }
            file.map_or(Ok(()), WholeFile::keep)
        };
        finish.await.with_context(|| format!("cannot write {name}"))
    }

    /// Gives up, and says what that means.
    pub(crate) fn abandon(self) -> String {
        let Self { bytes, name, file, .. } = self;
        match file {
            Some(_) => format!("the transfer broke off after {bytes} bytes; {name} is not written"),
            None => format!("the transfer broke off after {bytes} bytes to {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(input: Option<PathBuf>, output: PathBuf) -> Files {
        Files { input, output: Some(output) }
    }

    #[tokio::test]
    async fn an_output_file_is_there_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (input, output) = (dir.path().join("in"), dir.path().join("out"));
        fs::write(&input, b"content").unwrap();
        let (source, sink) = files(Some(input), output.clone()).open().unwrap();
        let (mut source, mut sink) = (source.unwrap(), sink.unwrap());
        while let Some(piece) = source.recv().await {
            sink.room().await.unwrap().send(piece.unwrap());
        }
        assert_eq!(sink.written().await.unwrap(), 7);
        assert!(!output.exists());
        sink.finish().await.unwrap();
        assert_eq!(fs::read(&output).unwrap(), b"content");
    }

    #[tokio::test]
    async fn a_transfer_that_breaks_off_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("out");
        fs::write(&output, b"before").unwrap();
        let (_, sink) = files(None, output.clone()).open().unwrap();
        let mut sink = sink.unwrap();
        sink.room().await.unwrap().send(b"half".to_vec());
        sink.written().await.unwrap();
        let told = sink.abandon();
        assert!(told.contains("after 4 bytes") && told.contains("is not written"), "{told}");
        assert_eq!(fs::read(&output).unwrap(), b"before");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
