//! What runs in a simulated container: a few known commands, compiled to steps
//! and carried out without a process.

mod shell;
mod words;

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

pub(crate) use shell::{Missing, Surroundings, compile};

/// Where a program writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// One thing that a program does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    Print(Stream, Vec<u8>),
    Sleep(Duration),
    SleepForever,
    /// Copies input to output until the input ends.
    CopyInput,
    WriteFile {
        path: String,
        content: Vec<u8>,
    },
    /// From here on, TERM ends the program with this code.
    TrapTerm(i32),
    JumpTo(usize),
    /// Takes memory until there is none.
    FillMemory,
    Exit(i32),
}

/// What a step did to the world outside the program.
#[derive(Debug, PartialEq)]
pub(crate) enum Effect {
    Output(Stream, Vec<u8>),
    File { path: String, content: Vec<u8> },
    OutOfMemory,
}

/// A program that has been started.
#[derive(Debug)]
pub(crate) struct Process {
    steps: Vec<Step>,
    next: usize,
    wake: Option<Timestamp>,
    input: VecDeque<u8>,
    input_open: bool,
    term_code: Option<i32>,
    exit_code: Option<i32>,
}

/// How many steps run before the others get a turn: a program may loop for ever.
const TURN: usize = 200;

/// How long a program that used up its turn waits for the next one.
const BETWEEN_TURNS: Duration = Duration::from_millis(5);

const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

impl Process {
    /// Starts a program. Without `has_input`, it reads the end of file at once.
    pub(crate) fn start(steps: Vec<Step>, has_input: bool) -> Self {
        Self {
            steps,
            next: 0,
            wake: None,
            input: VecDeque::new(),
            input_open: has_input,
            term_code: None,
            exit_code: None,
        }
    }

    pub(crate) fn exit_code(&self) -> Option<i32> {
        self.exit_code
    }

    /// When the program has something to do again, unless it waits for input.
    pub(crate) fn wake(&self) -> Option<Timestamp> {
        if self.exit_code.is_some() { None } else { self.wake }
    }

    pub(crate) fn feed(&mut self, input: &[u8]) {
        if self.input_open {
            self.input.extend(input);
        }
    }

    pub(crate) fn close_input(&mut self) {
        self.input_open = false;
    }

    /// Delivers a signal. The first process of a container ignores what it does
    /// not handle, KILL excepted; any other process ends by it.
    pub(crate) fn signal(&mut self, signal: i32, is_first: bool) {
        if self.exit_code.is_some() {
            return;
        }
        match (signal, self.term_code) {
            (SIGKILL, _) => self.exit_code = Some(128 + SIGKILL),
            (SIGTERM, Some(code)) => self.exit_code = Some(code),
            (SIGINT | SIGTERM, None) if !is_first => self.exit_code = Some(128 + signal),
            _ => {}
        }
    }

    /// Runs until the program waits, has used its turn, or has ended.
    pub(crate) fn advance(&mut self, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.wake.is_some_and(|wake| now < wake) {
            return effects;
        }
        self.wake = None;
        for _ in 0..TURN {
            if self.exit_code.is_some() || !self.step(now, &mut effects) {
                return effects;
            }
        }
        self.wake = now.checked_add(BETWEEN_TURNS).ok();
        effects
    }

    /// Does one step, and says whether the next one can follow at once.
    fn step(&mut self, now: Timestamp, effects: &mut Vec<Effect>) -> bool {
        let step = self.steps.get(self.next).cloned().unwrap_or(Step::Exit(0));
        self.next += 1;
        match step {
            Step::Print(stream, text) => effects.push(Effect::Output(stream, text)),
            Step::WriteFile { path, content } => effects.push(Effect::File { path, content }),
            Step::TrapTerm(code) => self.term_code = Some(code),
            Step::JumpTo(target) => self.next = target,
            Step::Exit(code) => self.exit_code = Some(code),
            Step::Sleep(duration) => {
                self.wake = now.checked_add(duration).ok();
                return false;
            }
            Step::SleepForever => {
                self.next -= 1;
                return false;
            }
            Step::CopyInput => {
                if !self.input.is_empty() {
                    effects.push(Effect::Output(Stream::Stdout, self.input.drain(..).collect()));
                }
                if self.input_open {
                    self.next -= 1;
                    return false;
                }
            }
            Step::FillMemory => {
                effects.push(Effect::OutOfMemory);
                self.exit_code = Some(128 + SIGKILL);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_sleep_holds_back_what_follows() {
        let steps = vec![
            Step::Sleep(Duration::from_secs(2)),
            Step::Print(Stream::Stdout, b"late\n".to_vec()),
        ];
        let mut process = Process::start(steps, false);
        assert!(process.advance(at(0)).is_empty());
        assert!(process.advance(at(1)).is_empty());
        assert_eq!(process.wake(), Some(at(2)));
        assert_eq!(process.advance(at(2)), [Effect::Output(Stream::Stdout, b"late\n".to_vec())]);
        assert_eq!(process.exit_code(), Some(0));
    }

    #[test]
    fn an_endless_loop_leaves_time_for_others() {
        let mut process = Process::start(vec![Step::JumpTo(0)], false);
        process.advance(at(0));
        assert!(process.wake() > Some(at(0)));
    }

    #[test]
    fn the_first_process_ignores_term_unless_it_traps_it() {
        let mut process = Process::start(vec![Step::SleepForever], false);
        process.signal(SIGTERM, true);
        assert_eq!(process.exit_code(), None);
        let mut trapping = Process::start(vec![Step::TrapTerm(3), Step::SleepForever], false);
        trapping.advance(at(0));
        trapping.signal(SIGTERM, true);
        assert_eq!(trapping.exit_code(), Some(3));
    }

    #[test]
    fn input_is_copied_until_it_ends() {
        let mut process = Process::start(vec![Step::CopyInput], true);
        process.feed(b"hello");
        assert_eq!(process.advance(at(0)), [Effect::Output(Stream::Stdout, b"hello".to_vec())]);
        assert_eq!(process.exit_code(), None);
        process.close_input();
        process.advance(at(0));
        assert_eq!(process.exit_code(), Some(0));
    }
}
