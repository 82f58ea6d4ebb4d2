//! From the arguments of a command to a spec.

mod take;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use super::template::Places;
use super::{
    CronSchedule, Environment, Inherit, LevelTexts, MaxTime, OnAgentRestart, ParseSpec,
    ProcessLimits, ProcessSpec, ReadyPattern, Recurrence, RestartPolicy, Script, StdinPolicy,
};
use take::Arguments;

/// What specs are read against: the node's own side of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecContext {
    /// What the names in paths stand for.
    pub places: Places,
    /// The interpreters that `execute_script` may use: the program and the
    /// arguments that come before the script's path.
    pub interpreters: BTreeMap<String, Vec<String>>,
    /// The time between TERM and KILL of commands that do not say.
    pub grace: Duration,
    /// The time between two measurements for commands that do not say.
    pub stats_interval: Duration,
}

/// An argument that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {problem}")]
pub struct SpecError {
    /// The argument, with the path inside it.
    pub key: String,
    /// What is wrong with it, and what it may be.
    pub problem: String,
}

impl SpecError {
    fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into() }
    }
}

impl ProcessSpec {
    /// Reads the arguments of `process.execute`; `data` goes to standard input.
    ///
    /// | key | value |
    /// |---|---|
    /// | `cmd` | the program, with `$agentroot`, `$root` and `$tmp` filled in; must be there |
    /// | `args` | list of texts and numbers; one that begins with such a name as a path has it filled in |
    /// | `working_dir`, `workingdir` | an absolute path; `/` |
    /// | `env` | an object, or a list of `"NAME=value"` |
    /// | `inherit_env` | `true` for all of the agent's environment, or a list of names; nothing |
    /// | `stdin` | `"close"` after the data, or `"open"` for more; `"close"` |
    /// | `domain`, `name` | texts; empty, and the program's file name |
    /// | `max_time` | a time for each run; `0` for none, `-1` for ever and remembered; `0` |
    /// | `max_restart` | how many failures within five minutes are followed by a restart, `-1` for all; `0`, or `-1` if `max_time` is |
    /// | `restart_delay`, `restart_delay_max` | times, the second bounds the doubling of the first; 1 s, 60 s |
    /// | `recurring_period` | a time from start to start; `0` for one run |
    /// | `cron`, `timezone` | a pattern, and the zone it is read in; UTC |
    /// | `start_delay` | a time; `0` |
    /// | `after` | a list of job ids and names |
    /// | `ready` | a regular expression |
    /// | `queue` | the name of a serial queue |
    /// | `grace` | a time from TERM to KILL |
    /// | `on_agent_restart` | `"adopt"` or `"end"`; adopt if `max_time` is `-1` |
    /// | `stats_interval` | a time |
    /// | `loglevels`, `loglevels_db`, `loglevels_ac` | level sets, as text or one number |
    /// | `parse` | an object of `plugin`, `format` and `options`: what parses lines of the output that have no level |
    /// | `user`, `group` | names or numbers |
    /// | `limits` | an object of `memory`, `processes`, `open_files`, `nice` |
    ///
    /// Times are numbers of seconds, or texts such as `"10s"`, `"1m 30s"`,
    /// `"250ms"`. A null is as good as nothing.
    ///
    /// # Errors
    ///
    /// For the first argument that is missing, unknown or of no use.
    pub fn execute(
        context: &SpecContext,
        args: &Map<String, Value>,
        data: &str,
    ) -> Result<Self, SpecError> {
        let mut args = Arguments::new(args);
        let cmd = args.word("cmd")?.ok_or_else(|| {
            SpecError::new("cmd", "is missing: name the program, with its full path")
        })?;
        let cmd = context.places.fill(&cmd);
        let arguments = arguments(&mut args, context)?;
        let program = Program { cmd, args: arguments, script: None, input: data.to_owned() };
        program.under_rules(args, context)
    }

    /// Reads the arguments of `process.execute_script`; `data` is the script.
    ///
    /// Those of [`ProcessSpec::execute`] without `cmd`, and
    ///
    /// | key | value |
    /// |---|---|
    /// | `interpreter` | a name that the node's configuration has; must be there |
    /// | `input` | what the script finds on its standard input; nothing |
    ///
    /// # Errors
    ///
    /// For the first argument that is missing, unknown or of no use.
    pub fn execute_script(
        context: &SpecContext,
        args: &Map<String, Value>,
        data: &str,
    ) -> Result<Self, SpecError> {
        let mut args = Arguments::new(args);
        let known =
            || context.interpreters.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let interpreter = args.word("interpreter")?.ok_or_else(|| {
            SpecError::new("interpreter", format!("is missing: this node allows {}", known()))
        })?;
        let command = context.interpreters.get(&interpreter).map(Vec::as_slice);
        let Some([cmd, first @ ..]) = command else {
            let problem = format!(
                "`{interpreter}` is no interpreter that this node allows: use one of {}, or add \
                 it to `interpreters` in the agent's configuration",
                known()
            );
            return Err(SpecError::new("interpreter", problem));
        };
        if data.is_empty() {
            return Err(SpecError::new("data", "is empty: put the script there"));
        }
        let script = Script { text: data.to_owned(), position: first.len() };
        let input = args.text("input")?.unwrap_or_default();
        let arguments = [first, &arguments(&mut args, context)?].concat();
        args.default_name(interpreter);
        let program = Program { cmd: cmd.clone(), args: arguments, script: Some(script), input };
        program.under_rules(args, context)
    }
}

fn arguments(args: &mut Arguments, context: &SpecContext) -> Result<Vec<String>, SpecError> {
    let arguments = args.words("args")?.unwrap_or_default();
    Ok(arguments.iter().map(|argument| context.places.fill_path(argument)).collect())
}

/// What the two commands do not have in common.
struct Program {
    cmd: String,
    args: Vec<String>,
    script: Option<Script>,
    input: String,
}

impl Program {
    /// Reads the rest of the arguments, which the two commands share.
    fn under_rules(
        self,
        mut args: Arguments,
        context: &SpecContext,
    ) -> Result<ProcessSpec, SpecError> {
        let max_time = max_time(&mut args)?;
        let recurrence = recurrence(&mut args)?;
        let restart = restart(&mut args, max_time)?;
        let spec = ProcessSpec {
            working_dir: working_dir(&mut args, context)?,
            environment: environment(&mut args, context)?,
            stdin: args
                .choice("stdin", &[("close", StdinPolicy::Close), ("open", StdinPolicy::Open)])?,
            domain: args.text("domain")?.unwrap_or_default(),
            name: args.name(&self.cmd)?,
            start_delay: args.time("start_delay")?.unwrap_or_default(),
            after: args.words("after")?.unwrap_or_default(),
            ready: ready(&mut args)?,
            queue: queue(&mut args, max_time)?,
            grace: args.time("grace")?.unwrap_or(context.grace),
            on_agent_restart: on_agent_restart(&mut args, max_time)?,
            stats_interval: stats_interval(&mut args, context)?,
            levels: LevelTexts {
                loglevels: args.level_set("loglevels")?,
                loglevels_db: args.level_set("loglevels_db")?,
                loglevels_ac: args.level_set("loglevels_ac")?,
            },
            parse: parse(&mut args)?,
            user: args.word_or_number("user")?,
            group: args.word_or_number("group")?,
            limits: limits(&mut args)?,
            cmd: self.cmd,
            args: self.args,
            script: self.script,
            input: self.input,
            max_time,
            restart,
            recurrence,
        };
        args.refuse_the_rest()?;
        Ok(spec)
    }
}

fn working_dir(args: &mut Arguments, context: &SpecContext) -> Result<PathBuf, SpecError> {
    let (key, dir) = match (args.word("working_dir")?, args.word("workingdir")?) {
        (Some(_), Some(_)) => {
            return Err(SpecError::new("workingdir", "is there beside `working_dir`: write one"));
        }
        (Some(dir), None) => ("working_dir", dir),
        (None, Some(dir)) => ("workingdir", dir),
        (None, None) => return Ok(PathBuf::from("/")),
    };
    let path = PathBuf::from(context.places.fill(&dir));
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(SpecError::new(key, format!("`{dir}` is no absolute path: begin with / or $root")))
    }
}

fn environment(args: &mut Arguments, context: &SpecContext) -> Result<Environment, SpecError> {
    let inherit = match args.take("inherit_env") {
        None | Some(Value::Bool(false)) => Inherit::Nothing,
        Some(Value::Bool(true)) => Inherit::Everything,
        Some(names @ Value::Array(_)) => Inherit::Names(take::words("inherit_env", names)?),
        Some(other) => {
            let rule = "true for all of the agent's environment, or a list of names";
            return Err(take::refused("inherit_env", other, rule));
        }
    };
    let set = args.variables("env")?;
    let set = set.into_iter().map(|(name, value)| (name, context.places.fill_path(&value)));
    Ok(Environment { inherit, set: set.collect() })
}

fn max_time(args: &mut Arguments) -> Result<MaxTime, SpecError> {
    if args.take_if_minus_one("max_time") {
        return Ok(MaxTime::LongRunning);
    }
    Ok(match args.time("max_time")? {
        None | Some(Duration::ZERO) => MaxTime::Unlimited,
        Some(limit) => MaxTime::Limit(limit),
    })
}

fn restart(args: &mut Arguments, max_time: MaxTime) -> Result<RestartPolicy, SpecError> {
    let unbounded = args.take_if_minus_one("max_restart");
    let max = match args.count("max_restart", 0..=1_000_000)? {
        None if unbounded || max_time == MaxTime::LongRunning => None,
        None => Some(0),
        Some(max) => Some(u32::try_from(max).unwrap_or(u32::MAX)),
    };
    let first = args.time("restart_delay")?.unwrap_or(Duration::from_secs(1));
    let longest = args.time("restart_delay_max")?.unwrap_or(Duration::from_secs(60)).max(first);
    if max.is_none() && first.is_zero() {
        let problem = "is 0 without a bound on restarts: set `max_restart`, or some delay";
        return Err(SpecError::new("restart_delay", problem));
    }
    Ok(RestartPolicy { max, first, longest })
}

fn recurrence(args: &mut Arguments) -> Result<Option<Recurrence>, SpecError> {
    let period = args.time("recurring_period")?.filter(|period| !period.is_zero());
    let pattern = args.word("cron")?;
    let zone = args.word("timezone")?;
    match (period, pattern) {
        (Some(_), Some(_)) => {
            Err(SpecError::new("cron", "is there beside `recurring_period`: write one"))
        }
        (_, None) if zone.is_some() => {
            Err(SpecError::new("timezone", "is of use only beside `cron`: leave it out"))
        }
        (Some(period), None) => Ok(Some(Recurrence::Every(period))),
        (None, None) => Ok(None),
        (None, Some(pattern)) => CronSchedule::new(&pattern, zone.as_deref().unwrap_or("UTC"))
            .map(|schedule| Some(Recurrence::Cron(Box::new(schedule))))
            .map_err(|error| SpecError::new(error.key(), error.to_string())),
    }
}

fn ready(args: &mut Arguments) -> Result<Option<ReadyPattern>, SpecError> {
    let Some(pattern) = args.word("ready")? else { return Ok(None) };
    let refuse = |error| SpecError::new("ready", format!("is no regular expression: {error}"));
    ReadyPattern::new(&pattern).map(Some).map_err(refuse)
}

/// A job that runs for ever would never let the next one of its queue begin.
fn queue(args: &mut Arguments, max_time: MaxTime) -> Result<Option<String>, SpecError> {
    let queue = args.word("queue")?;
    if queue.is_some() && max_time == MaxTime::LongRunning {
        let problem = "cannot hold a job that runs for ever: leave it out, or set `max_time`";
        return Err(SpecError::new("queue", problem));
    }
    Ok(queue)
}

fn on_agent_restart(args: &mut Arguments, max_time: MaxTime) -> Result<OnAgentRestart, SpecError> {
    let (adopt, end) = (("adopt", OnAgentRestart::Adopt), ("end", OnAgentRestart::End));
    let choices = if max_time == MaxTime::LongRunning { [adopt, end] } else { [end, adopt] };
    args.choice("on_agent_restart", &choices)
}

fn stats_interval(args: &mut Arguments, context: &SpecContext) -> Result<Duration, SpecError> {
    let interval = args.time("stats_interval")?.filter(|interval| !interval.is_zero());
    Ok(interval.unwrap_or(context.stats_interval).max(Duration::from_millis(100)))
}

fn parse(args: &mut Arguments) -> Result<Option<ParseSpec>, SpecError> {
    let Some(mut parse) = args.object("parse")? else { return Ok(None) };
    let missing = |key| move || SpecError::new(key, "is missing: name the plugin and its format");
    let found = ParseSpec {
        plugin: parse.word("plugin")?.ok_or_else(missing("parse.plugin"))?,
        format: parse.word("format")?.ok_or_else(missing("parse.format"))?,
        options: match parse.take("options") {
            None => Map::new(),
            Some(Value::Object(options)) => options.clone(),
            Some(other) => return Err(take::refused("parse.options", other, "an object")),
        },
    };
    parse.refuse_the_rest()?;
    Ok(Some(found))
}

fn limits(args: &mut Arguments) -> Result<ProcessLimits, SpecError> {
    let Some(mut limits) = args.object("limits")? else { return Ok(ProcessLimits::default()) };
    let found = ProcessLimits {
        memory: limits.size("memory")?,
        processes: limits.count("processes", 1..=4_194_304)?,
        open_files: limits.count("open_files", 3..=1_048_576)?,
        nice: limits.nice("nice")?,
    };
    limits.refuse_the_rest()?;
    Ok(found)
}

#[cfg(test)]
mod tests;
