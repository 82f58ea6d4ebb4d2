//! Health checks: a command that runs in a container again and again.
//!
//! ```text
//! starting → healthy ⇄ unhealthy
//! ```
//!
//! A check that nobody runs any more, as the container does not, counts as
//! unhealthy.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::defaults::strings;
use super::lifecycle::compile_in;
use super::{Container, Model, Outcome, State};
use crate::engine::answer::Refusal;
use crate::engine::program::{Effect, Missing, Process};

/// Results that are kept.
const RESULTS: usize = 5;

/// The engine's defaults for the interval and the timeout.
const USUALLY: Duration = Duration::from_secs(30);

/// The engine's default for failures in a row that make a container unhealthy.
const RETRIES: u64 = 3;

/// The code of a check that could not be made, or took too long.
const NOT_MADE: i32 = -1;

/// How a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Starting,
    Healthy,
    Unhealthy,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// The health of a container that was started with a check.
#[derive(Debug)]
pub(crate) struct Health {
    check: Check,
    status: Status,
    failing_streak: u64,
    results: VecDeque<Value>,
    /// When the check runs next; none while nobody runs it.
    next: Option<Timestamp>,
    under_way: Option<UnderWay>,
    started: Timestamp,
}

/// What is checked, and how often.
#[derive(Debug, Clone, PartialEq)]
struct Check {
    command: Vec<String>,
    interval: Duration,
    timeout: Duration,
    start_period: Duration,
    retries: u64,
}

/// A check that runs.
#[derive(Debug)]
struct UnderWay {
    exec: String,
    process: Process,
    began: Timestamp,
    late: Option<Timestamp>,
    output: String,
}

impl Check {
    /// The check that a container's configuration has; none if it has none or says
    /// that there is none.
    fn of(config: &Value) -> Option<Self> {
        let wanted = &config["Healthcheck"];
        let mut words = strings(&wanted["Test"]).map(str::to_owned);
        let command: Vec<String> = match words.next()?.as_str() {
            "CMD" => words.collect(),
            "CMD-SHELL" => ["/bin/sh", "-c"].into_iter().map(str::to_owned).chain(words).collect(),
            _ => return None,
        };
        let or = |name: &str, usual| match wanted[name].as_u64() {
            None | Some(0) => usual,
            Some(nanoseconds) => Duration::from_nanos(nanoseconds),
        };
        Some(Self {
            command,
            interval: or("Interval", USUALLY),
            timeout: or("Timeout", USUALLY),
            start_period: or("StartPeriod", Duration::ZERO),
            retries: wanted["Retries"].as_u64().filter(|retries| *retries > 0).unwrap_or(RETRIES),
        })
    }
}

/// Refuses a check that no engine runs.
pub(super) fn check_health(wanted: &Value) -> Outcome<()> {
    let check = &wanted["Healthcheck"];
    for name in ["Interval", "Timeout", "StartPeriod"] {
        let nanoseconds = check[name].as_i64().unwrap_or(0);
        if nanoseconds != 0 && nanoseconds < 1_000_000 {
            let text = format!("{name} in Healthcheck cannot be less than 1ms");
            return Err(Refusal::bad_request(text));
        }
    }
    if check["Retries"].as_i64().unwrap_or(0) < 0 {
        return Err(Refusal::bad_request("Retries in Healthcheck cannot be negative"));
    }
    Ok(())
}

impl Health {
    /// The health of a container with such a configuration that starts now.
    pub(super) fn starting(config: &Value, now: Timestamp) -> Option<Self> {
        let check = Check::of(config)?;
        let next = now.checked_add(check.interval).ok();
        Some(Self {
            check,
            status: Status::Starting,
            failing_streak: 0,
            results: VecDeque::new(),
            next,
            under_way: None,
            started: now,
        })
    }

    pub(crate) fn status(&self) -> Status {
        self.status
    }

    /// When there is something to do again.
    pub(super) fn wake(&self) -> Option<Timestamp> {
        match &self.under_way {
            Some(running) => running.process.wake().into_iter().chain(running.late).min(),
            None => self.next,
        }
    }

    /// Runs the check no more.
    pub(super) fn stop(&mut self) {
        self.under_way = None;
        if self.next.take().is_some() {
            self.status = Status::Unhealthy;
        }
    }

    /// Runs the check again, after a pause of its container.
    pub(super) fn go_on(&mut self, now: Timestamp) {
        self.next = now.checked_add(self.check.interval).ok();
    }

    /// As `inspect` shows it.
    pub(super) fn describe(&self) -> Value {
        json!({
            "Status": self.status.name(),
            "FailingStreak": self.failing_streak,
            "Log": self.results,
        })
    }

    fn take(&mut self, began: Timestamp, code: i32, output: &str, now: Timestamp) {
        self.results.push_back(json!({
            "Start": began.to_string(),
            "End": now.to_string(),
            "ExitCode": code,
            "Output": output,
        }));
        if self.results.len() > RESULTS {
            self.results.pop_front();
        }
        self.next = now.checked_add(self.check.interval).ok();
        if code == 0 {
            self.failing_streak = 0;
            self.status = Status::Healthy;
            return;
        }
        let may_fail = self.started.checked_add(self.check.start_period).ok();
        if self.status == Status::Starting && may_fail.is_some_and(|until| now < until) {
            return;
        }
        self.failing_streak += 1;
        if self.failing_streak >= self.check.retries {
            self.status = Status::Unhealthy;
        }
    }
}

/// What a look at a check came to.
enum Turn {
    /// Nothing is due.
    Rest,
    /// The check is to be started.
    Begin,
    /// It has ended, with this code.
    Ended(i32),
}

impl Model {
    /// Runs the check of a container if it is due.
    pub(super) fn advance_health(&mut self, id: &str, now: Timestamp) {
        loop {
            let Some(container) = self.containers.get_mut(id) else { return };
            if container.state != State::Running {
                return;
            }
            match turn(container, now) {
                Turn::Rest => return,
                Turn::Begin => self.begin_check(id, now),
                Turn::Ended(code) => self.end_check(id, code, now),
            }
        }
    }

    fn begin_check(&mut self, id: &str, now: Timestamp) {
        let exec = self.new_id();
        let Some(container) = self.containers.get_mut(id) else { return };
        let env = container.env();
        let Some(mut health) = container.health.take() else { return };
        let steps = compile_in(container, &health.check.command, &env);
        let command = health.check.command.join(" ");
        let (steps, is_missing, output) = match steps {
            Ok(steps) => (steps, false, String::new()),
            Err(Missing(program)) => {
                let output = format!(
                    "OCI runtime exec failed: exec failed: unable to start container process: \
                     exec: \"{program}\": executable file not found in $PATH: unknown"
                );
                (Vec::new(), true, output)
            }
        };
        let process = Process::start(steps, false);
        let late = now.checked_add(health.check.timeout).ok();
        health.under_way = Some(UnderWay { exec: exec.clone(), process, began: now, late, output });
        container.health = Some(health);
        for action in ["exec_create", "exec_start"] {
            let more = [("execID", exec.clone())];
            self.container_event(id, &format!("{action}: {command}"), &more, now);
        }
        if is_missing {
            self.end_check(id, NOT_MADE, now);
        }
    }

    fn end_check(&mut self, id: &str, code: i32, now: Timestamp) {
        let Some(health) = self.containers.get_mut(id).and_then(|one| one.health.as_mut()) else {
            return;
        };
        let Some(UnderWay { exec, began, output, .. }) = health.under_way.take() else { return };
        let before = health.status;
        health.take(began, code, &output, now);
        let after = health.status;
        if code != NOT_MADE {
            let more = [("execID", exec), ("exitCode", code.to_string())];
            self.container_event(id, "exec_die", &more, now);
        }
        if before != after {
            self.container_event(id, &format!("health_status: {}", after.name()), &[], now);
        }
    }
}

fn turn(container: &mut Container, now: Timestamp) -> Turn {
    let Some(health) = &mut container.health else { return Turn::Rest };
    let Some(UnderWay { process, late, output, .. }) = &mut health.under_way else {
        return if health.next.is_some_and(|next| next <= now) { Turn::Begin } else { Turn::Rest };
    };
    let mut files = Vec::new();
    for effect in process.advance(now) {
        match effect {
            Effect::Output(_, text) => output.push_str(&String::from_utf8_lossy(&text)),
            Effect::File { path, content } => files.push((path, content)),
            Effect::OutOfMemory => {}
        }
    }
    let ended = match process.exit_code() {
        Some(code) => Turn::Ended(code),
        None if late.is_some_and(|late| late <= now) => {
            *output = format!("Health check exceeded timeout ({})", written(health.check.timeout));
            Turn::Ended(NOT_MADE)
        }
        None => Turn::Rest,
    };
    for (path, content) in files {
        container.write_file(&path, content.into());
    }
    ended
}

/// A duration as the engine's language writes it, for whole units.
fn written(duration: Duration) -> String {
    match duration.as_millis() {
        millis if millis % 1000 == 0 => format!("{}s", duration.as_secs()),
        millis => format!("{millis}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn health(more: Value) -> Health {
        let mut check = json!({ "Test": ["CMD", "true"], "Interval": 1_000_000_000 });
        super::super::merge(&mut check, more);
        Health::starting(&json!({ "Healthcheck": check }), at(0)).unwrap()
    }

    #[test]
    fn no_check_is_none() {
        for test in [json!(["NONE"]), json!([]), json!(null), json!(["BOGUS", "x"])] {
            let config = json!({ "Healthcheck": { "Test": test } });
            assert!(Health::starting(&config, at(0)).is_none(), "{config}");
        }
    }

    #[test]
    fn as_many_failures_in_a_row_as_allowed_make_it_unhealthy_and_one_success_healthy() {
        let mut health = health(json!({ "Retries": 2 }));
        for (second, (code, status, streak)) in [
            (1, Status::Starting, 1),
            (1, Status::Unhealthy, 2),
            (1, Status::Unhealthy, 3),
            (0, Status::Healthy, 0),
            (1, Status::Healthy, 1),
            (0, Status::Healthy, 0),
        ]
        .into_iter()
        .enumerate()
        {
            let now = at(second as i64);
            health.take(now, code, "", now);
            assert_eq!((health.status, health.failing_streak), (status, streak), "{second}");
        }
        assert_eq!(health.describe()["Log"].as_array().unwrap().len(), RESULTS);
    }

    #[test]
    fn failures_while_it_may_still_start_do_not_count() {
        let mut health = health(json!({ "Retries": 1, "StartPeriod": 10_000_000_000_u64 }));
        health.take(at(9), 1, "", at(9));
        assert_eq!((health.status, health.failing_streak), (Status::Starting, 0));
        health.take(at(10), 1, "", at(10));
        assert_eq!(health.status, Status::Unhealthy);
    }

    #[test]
    fn a_check_that_nobody_runs_is_unhealthy_and_never_due() {
        let mut health = health(json!({}));
        health.take(at(1), 0, "", at(1));
        assert_eq!(health.wake(), Some(at(2)));
        health.stop();
        assert_eq!((health.status, health.wake()), (Status::Unhealthy, None));
        health.go_on(at(5));
        assert_eq!(health.wake(), Some(at(6)));
    }
}
