//! The part of the configuration that says what runs whenever the agent starts.

use std::collections::BTreeMap;

use drover_api::JobId;
use drover_process::{ProcessSpec, SpecContext};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use super::ConfigError;
use crate::processes::levels_of;

/// What the ids of the jobs begin with; the name follows.
pub(crate) const PREFIX: &str = "startup.";

/// Programs that run whenever the agent starts: `[startup.NAME]`, with the
/// arguments of `process.execute`, or with an `interpreter` those of
/// `process.execute_script`, and `data`.
///
/// Printed without the values of their environment and without their data,
/// which can be secrets.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Startup(BTreeMap<String, Map<String, Value>>);

/// What stands for a value that is not printed.
const HIDDEN: &str = "(hidden)";

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StartupJob {
    pub(crate) id: JobId,
    pub(crate) spec: ProcessSpec,
}

impl Startup {
    /// What they come to, each behind those that it waits for.
    ///
    /// # Errors
    ///
    /// If one of them could not be run.
    pub(crate) fn jobs(&self, context: &SpecContext) -> Result<Vec<StartupJob>, ConfigError> {
        let jobs = self.0.iter().map(|(name, arguments)| {
            job(name, arguments, context)
                .map_err(|reason| ConfigError::Startup { name: name.clone(), reason })
        });
        in_order(jobs.collect::<Result<_, _>>()?)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Startup {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, arguments)| {
            let shown = arguments.iter().map(|(key, value)| (key.clone(), shown(key, value)));
            (name, shown.collect::<Map<_, _>>())
        }))
    }
}

/// What is printed of an argument.
fn shown(key: &str, value: &Value) -> Value {
    match (key, value) {
        ("data", _) => HIDDEN.into(),
        ("env", Value::Object(variables)) => {
            variables.keys().map(|name| (name.clone(), Value::from(HIDDEN))).collect()
        }
        ("env", Value::Array(pairs)) => pairs.iter().map(shown_pair).collect(),
        _ => value.clone(),
    }
}

fn shown_pair(pair: &Value) -> Value {
    let name = pair.as_str().and_then(|pair| pair.split_once('=')).map(|(name, _)| name);
    format!("{}={HIDDEN}", name.unwrap_or_default()).into()
}

fn job(
    name: &str,
    arguments: &Map<String, Value>,
    context: &SpecContext,
) -> Result<StartupJob, String> {
    let id = format!("{PREFIX}{name}").parse().map_err(|_| {
        "the name becomes the job's id: use letters, digits, `-`, `_`, `.` and `:`, 120 at most"
            .to_owned()
    })?;
    let mut arguments = arguments.clone();
    arguments.entry("name").or_insert_with(|| name.into());
    let data = match arguments.remove("data") {
        None => String::new(),
        Some(Value::String(text)) => text,
        Some(other) => return Err(format!("`data`: {other} is no text: put it in quotes")),
    };
    let read = match arguments.contains_key("interpreter") {
        true => ProcessSpec::execute_script,
        false => ProcessSpec::execute,
    };
    let spec = read(context, &arguments, &data).map_err(|error| error.to_string())?;
    levels_of(&spec).map_err(|error| error.message)?;
    Ok(StartupJob { id, spec })
}

/// A job is behind those that it waits for; whom else it waits for shows when it
/// is started.
fn in_order(mut jobs: Vec<StartupJob>) -> Result<Vec<StartupJob>, ConfigError> {
    let mut ordered = Vec::new();
    while !jobs.is_empty() {
        let waits = |job: &StartupJob| job.spec.after.iter().any(|wanted| is_among(&jobs, wanted));
        let (waiting, free): (Vec<_>, Vec<_>) = jobs.iter().cloned().partition(waits);
        if let (true, Some(job)) = (free.is_empty(), waiting.first()) {
            let name = job.id.as_str().trim_start_matches(PREFIX).to_owned();
            let reason = "`after`: it waits for itself, perhaps by way of others: leave one out";
            return Err(ConfigError::Startup { name, reason: reason.to_owned() });
        }
        ordered.extend(free);
        jobs = waiting;
    }
    Ok(ordered)
}

/// Whether one of the jobs has this id or this name.
fn is_among(jobs: &[StartupJob], wanted: &str) -> bool {
    jobs.iter().any(|job| job.id.as_str() == wanted || job.spec.name == wanted)
}

#[cfg(test)]
mod tests {
    use crate::Config;

    fn ids(text: &str) -> Vec<String> {
        let config = Config::parse(text).unwrap();
        let jobs = config.startup_jobs().unwrap();
        jobs.iter().map(|job| job.id.to_string()).collect()
    }

    #[test]
    fn those_that_others_wait_for_come_first() {
        let text = "[startup.a]\ncmd = \"a\"\nafter = [\"b\", \"elsewhere\"]\n\
                    [startup.b]\ncmd = \"b\"\nafter = [\"startup.c\"]\n\
                    [startup.c]\ninterpreter = \"sh\"\ndata = \"true\"\n";
        assert_eq!(ids(text), ["startup.c", "startup.b", "startup.a"]);
        let jobs = Config::parse(text).unwrap().startup_jobs().unwrap();
        assert_eq!((jobs[2].spec.name.as_str(), jobs[2].spec.cmd.as_str()), ("a", "a"));
    }

    #[test]
    fn a_configuration_with_some_is_printed_so_that_it_reads_back() {
        let text = "[startup.web]\ncmd = \"/bin/web\"\nargs = [\"-p\", 80]\nmax_time = -1\n\
                    limits = { nice = 5 }\n";
        let config = Config::parse(text).unwrap();
        assert_eq!(Config::parse(&config.to_toml()).unwrap(), config);
    }

    #[test]
    fn what_can_be_a_secret_is_not_printed() {
        for text in [
            "[startup.a]\ncmd = \"/bin/a\"\nenv = { TOKEN = \"s3cret\" }\ndata = \"s3cret\"\n",
            "[startup.a]\ncmd = \"/bin/a\"\nenv = [\"TOKEN=s3cret=\"]\n",
        ] {
            let printed = Config::parse(text).unwrap().to_toml();
            assert!(!printed.contains("s3cret"), "{printed}");
            assert!(printed.contains("TOKEN"), "{printed}");
            assert!(Config::parse(&printed).is_ok(), "{printed}");
        }
    }

    #[test]
    fn a_bad_one_is_refused_with_its_name_its_key_and_the_cure() {
        for (text, parts) in [
            ("[startup.a]\nargs = []", ["startup.a", "`cmd`"]),
            ("[startup.a]\ncmd = \"x\"\nmax_tmie = 3", ["startup.a", "`max_tmie`"]),
            ("[startup.a]\ncmd = \"x\"\nworking_dir = \"y\"", ["`working_dir`", "absolute"]),
            ("[startup.a]\ncmd = \"x\"\nloglevels = \"9-7\"", ["startup.a", "`loglevels`"]),
            ("[startup.a]\ncmd = \"x\"\ndata = 7", ["startup.a", "quotes"]),
            ("[startup.a]\ninterpreter = \"perl\"\ndata = \"x\"", ["`interpreter`", "python"]),
            ("[startup.\"a b\"]\ncmd = \"x\"", ["startup.a b", "letters"]),
            ("[startup.a]\ncmd = \"x\"\nafter = [\"a\"]", ["startup.a", "waits for itself"]),
            ("startup = 3", ["startup", "expected"]),
        ] {
            let error = Config::parse(text).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
        }
    }
}
