//! Programs that a benchmark starts: what they print, and their end.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a line may take to come; a slow start is found by its number, not
/// by this bound.
const LINE_BOUND: Duration = Duration::from_secs(120);

/// How long a program has to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// How many of the last lines an error shows.
const SHOWN_LINES: usize = 20;

/// How much of each: numbers for programs are long.
const SHOWN_CHARS: usize = 400;

/// A running program in a process group of its own, which is killed when this
/// is dropped.
pub(crate) struct Program {
    name: String,
    child: Child,
    group: Pid,
    stdin: Option<ChildStdin>,
    started: Instant,
    output: watch::Receiver<Output>,
    /// The first line that nobody has asked for yet.
    next: usize,
    _readers: JoinSet<()>,
}

/// A line of a program's standard output or standard error.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) text: String,
    /// How long after the start of the program it came.
    pub(crate) after: Duration,
}

/// Everything that a program has printed. The programs here print little.
#[derive(Default)]
struct Output {
    lines: Vec<Line>,
    ended_streams: usize,
}

impl Program {
    /// Starts a program; `name` is what errors call it.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub(crate) fn start(name: &str, command: &mut Command) -> anyhow::Result<Self> {
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().with_context(|| {
            format!("cannot start {name} ({})", command.as_std().get_program().display())
        })?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let group = group.with_context(|| format!("{name} has no process id"))?;

        let (sender, output) = watch::channel(Output::default());
        let mut readers = JoinSet::new();
        if let Some(stream) = child.stdout.take() {
            readers.spawn(read(stream, started, sender.clone()));
        }
        if let Some(stream) = child.stderr.take() {
            readers.spawn(read(stream, started, sender));
        }
        Ok(Self {
            name: name.to_owned(),
            stdin: child.stdin.take(),
            child,
            group,
            started,
            output,
            next: 0,
            _readers: readers,
        })
    }

    /// The id of the program's process group.
    pub(crate) fn group(&self) -> i32 {
        self.group.as_raw()
    }

    /// Waits for the next line that is meant, and passes over those before it.
    ///
    /// # Errors
    ///
    /// If the program ends first, or the line does not come.
    pub(crate) async fn line(
        &mut self,
        what: &str,
        is_meant: impl Fn(&str) -> bool,
    ) -> anyhow::Result<Line> {
        let from = self.next;
        let find =
            |output: &Output| output.lines.iter().skip(from).position(|line| is_meant(&line.text));
        let is_over = |output: &Output| output.ended_streams == 2;
        let waited = self.output.wait_for(|output| find(output).is_some() || is_over(output));
        let failure = match timeout(LINE_BOUND, waited).await {
            Ok(Ok(output)) => match find(&output) {
                Some(index) => {
                    self.next = from + index + 1;
                    return Ok(output.lines[from + index].clone());
                }
                None => "it ended".to_owned(),
            },
            Ok(Err(_)) => "it ended".to_owned(),
            Err(_) => format!("{} s passed", LINE_BOUND.as_secs()),
        };
        bail!("{} did not print {what} before {failure}{}", self.name, self.last_lines());
    }

    /// Waits until the program has ended.
    ///
    /// # Errors
    ///
    /// If it could not be waited for.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<()> {
        self.child.wait().await.with_context(|| format!("cannot wait for {}", self.name))?;
        Ok(())
    }

    /// Writes a line to the program's standard input.
    ///
    /// # Errors
    ///
    /// If it does not read any more.
    pub(crate) async fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        let stdin = self.stdin.as_mut().with_context(|| format!("{} has no input", self.name))?;
        let told = stdin.write_all(format!("{line}\n").as_bytes()).await;
        told.with_context(|| format!("{} does not read its orders any more", self.name))
    }

    /// How long ago the program was started.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Asks the program to end, and kills it if it does not within seconds.
    ///
    /// # Errors
    ///
    /// If it could not be waited for.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop_within(GRACE).await
    }

    async fn stop_within(mut self, grace: Duration) -> anyhow::Result<()> {
        // A program that has just ended is as good as one that ends.
        let _ = killpg(self.group, Signal::SIGTERM);
        if let Ok(ended) = timeout(grace, self.ended()).await {
            return ended;
        }
        self.kill().await
    }

    /// Kills the program and waits for its end.
    ///
    /// # Errors
    ///
    /// If it could not be waited for.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        kill_group(self.group);
        self.ended().await
    }

    /// The end of a message that shows what the program printed last.
    pub(crate) fn last_lines(&self) -> String {
        let output = self.output.borrow();
        let shown = &output.lines[output.lines.len().saturating_sub(SHOWN_LINES)..];
        if shown.is_empty() {
            return "; it printed nothing".to_owned();
        }
        let start = |line: &Line| line.text.chars().take(SHOWN_CHARS).collect::<String>();
        let lines: String = shown.iter().map(|line| format!("\n    {}", start(line))).collect();
        format!("; it printed:{lines}")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        kill_group(self.group);
    }
}

fn kill_group(group: Pid) {
    match killpg(group, Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => crate::progress::step(&format!("cannot kill process group {group}: {error}")),
    }
}

/// Keeps every line of a stream until it ends.
async fn read(stream: impl AsyncRead + Unpin, started: Instant, output: watch::Sender<Output>) {
    let mut stream = BufReader::new(stream);
    let mut bytes = Vec::new();
    while stream.read_until(b'\n', &mut bytes).await.is_ok_and(|length| length > 0) {
        let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        let line = Line { text, after: started.elapsed() };
        output.send_modify(|output| output.lines.push(line));
        bytes.clear();
    }
    output.send_modify(|output| output.ended_streams += 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        Program::start("the shell", Command::new("sh").args(["-c", script])).unwrap()
    }

    #[tokio::test]
    async fn lines_are_found_in_order_and_only_once() {
        let mut program = shell("echo ready 1; echo noise >&2; echo ready 2; cat");
        let is_ready = |line: &str| line.starts_with("ready");
        assert_eq!(program.line("ready", is_ready).await.unwrap().text, "ready 1");
        assert_eq!(program.line("ready", is_ready).await.unwrap().text, "ready 2");
        program.tell("ready 3").await.unwrap();
        let line = program.line("ready", is_ready).await.unwrap();
        assert!(line.text == "ready 3" && line.after <= program.age(), "{line:?}");
        program.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_program_that_ends_instead_is_shown_with_its_last_words() {
        let mut program = shell("echo no such plugin >&2; exit 3");
        let error = program.line("`joined`", |line| line == "joined").await.unwrap_err();
        let expected =
            "the shell did not print `joined` before it ended; it printed:\n    no such plugin";
        assert_eq!(error.to_string(), expected);
    }

    #[tokio::test]
    async fn a_dropped_program_takes_its_children_with_it() {
        let mut program = shell("sleep 1000 & echo $!; wait");
        let child: i32 = program.line("an id", |_| true).await.unwrap().text.parse().unwrap();
        drop(program);
        let bound = Instant::now() + Duration::from_secs(30);
        while is_running(child) {
            assert!(Instant::now() < bound, "process {child} is still there");
            tokio::task::yield_now().await;
        }
    }

    /// A zombie does not run, even if nobody reaps it.
    fn is_running(id: i32) -> bool {
        let stat = procfs::process::Process::new(id).and_then(|process| process.stat());
        stat.is_ok_and(|stat| stat.state != 'Z')
    }

    #[tokio::test]
    async fn a_program_that_is_deaf_to_requests_is_killed() {
        let mut program = shell("trap '' TERM; echo deaf; while :; do sleep 0.1; done");
        program.line("`deaf`", |line| line == "deaf").await.unwrap();
        program.stop_within(Duration::from_millis(1)).await.unwrap();
    }
}
