//! The job's streams, which the test fills and reads.

use std::io;

use super::HOST;
use crate::bindings::drover::plugin::streams::Error;

/// How much is read at once: little, so that a plugin is not made for whole files.
const CHUNK: usize = 1000;

#[derive(Debug)]
pub(crate) struct Input {
    left: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Output(());

pub(crate) fn input() -> Result<Input, Error> {
    HOST.with_borrow_mut(|host| {
        let Some((host, heard)) = host else { return Ok(Input { left: Vec::new() }) };
        if std::mem::replace(&mut heard.has_asked_for_input, true) {
            return Err(Error::Taken);
        }
        Ok(Input { left: [&host.job_data[..], &host.input[..]].concat() })
    })
}

pub(crate) fn output() -> Result<Output, Error> {
    HOST.with_borrow_mut(|host| {
        let Some((host, heard)) = host else { return Err(Error::NotWanted) };
        match heard.output {
            _ if host.wants_no_output => Err(Error::NotWanted),
            Some(_) => Err(Error::Taken),
            None => {
                heard.output = Some(Vec::new());
                Ok(Output(()))
            }
        }
    })
}

#[expect(clippy::unnecessary_wraps, reason = "the real stream may be broken")]
impl Input {
    pub(crate) fn read(&mut self) -> io::Result<Vec<u8>> {
        Ok(self.take(usize::MAX))
    }
}

impl Input {
    /// What is left, at most so much of it, and at most what is read at once.
    pub(crate) fn take(&mut self, most: usize) -> Vec<u8> {
        let rest = self.left.split_off(self.left.len().min(most).min(CHUNK));
        std::mem::replace(&mut self.left, rest)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the real stream may be broken")]
impl Output {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        HOST.with_borrow_mut(|host| {
            if let Some((_, heard)) = host {
                heard.output.get_or_insert_default().extend_from_slice(bytes);
            }
        });
        Ok(bytes.len())
    }
}
