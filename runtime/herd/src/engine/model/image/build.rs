//! Images built from a Dockerfile, as far as tests need: one stage, and programs
//! that are known.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Image;
use crate::engine::answer::Refusal;
use crate::engine::model::files::absolute;
use crate::engine::model::{Files, Model, Node, Outcome, Reference, defaults, short};
use crate::engine::program::{Effect, Missing, Process, Surroundings, compile};

/// What a build is made from.
pub(crate) struct Build<'a> {
    pub(crate) context: &'a Files,
    /// The path of the Dockerfile in the context.
    pub(crate) dockerfile: &'a str,
    pub(crate) names: Vec<Reference>,
    pub(crate) labels: Value,
    pub(crate) arguments: Value,
    pub(crate) use_cache: bool,
}

/// A build that began and could not be ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BuildFailure {
    pub(crate) message: String,
    /// The code of the command that failed.
    pub(crate) code: Option<i32>,
}

/// How long a command of a build may take, in the time of the programs: none
/// really waits.
const PATIENCE_IN_TURNS: usize = 1000;

/// One line of a Dockerfile.
struct Instruction {
    keyword: String,
    rest: String,
}

/// What a build has come to.
struct Stage {
    image: String,
    config: Value,
    files: Files,
    history: Vec<Value>,
}

impl Model {
    /// Builds an image. `say` gets the text for the client, line by line.
    ///
    /// # Errors
    ///
    /// Without a Dockerfile, or with one that cannot be read; later failures are
    /// a part of the answer, so they come as the inner error.
    pub(crate) fn build(
        &mut self,
        build: &Build<'_>,
        say: &mut Vec<String>,
        now: Timestamp,
    ) -> Outcome<Result<String, BuildFailure>> {
        let path = absolute(build.dockerfile);
        let text = build.context.content(&path).ok_or_else(|| {
            let text = format!("Cannot locate specified Dockerfile: {}", build.dockerfile);
            Refusal::internal(text)
        })?;
        let instructions = read(&String::from_utf8_lossy(&text))?;
        let built = self.carry_out(build, &instructions, say, now);
        if let Ok(id) = &built {
            say.push(format!("Successfully built {}\n", short(id)));
            for name in &build.names {
                self.tag(id, name.clone(), now);
                say.push(format!("Successfully tagged {name}\n"));
            }
        }
        Ok(built)
    }

    fn carry_out(
        &mut self,
        build: &Build<'_>,
        instructions: &[Instruction],
        say: &mut Vec<String>,
        now: Timestamp,
    ) -> Result<String, BuildFailure> {
        let total = instructions.len();
        let mut stage = None;
        for (index, instruction) in instructions.iter().enumerate() {
            let Instruction { keyword, rest } = instruction;
            say.push(format!("Step {}/{total} : {keyword} {rest}", index + 1));
            say.push("\n".to_owned());
            stage = match stage {
                None => Some(self.begin(keyword, rest, say)?),
                Some(stage) => Some(self.continue_with(build, stage, instruction, say, now)?),
            };
        }
        let mut stage =
            stage.ok_or_else(|| failure("No image was generated. Is your Dockerfile empty?"))?;
        if build.labels.as_object().is_some_and(|labels| !labels.is_empty()) {
            let mut labels = json!(defaults::entries(&stage.config["Labels"]));
            defaults::merge(&mut labels, build.labels.clone());
            stage.config["Labels"] = labels;
            self.commit(&mut stage, "LABEL", now);
        }
        Ok(stage.image)
    }

    fn begin(
        &self,
        keyword: &str,
        rest: &str,
        say: &mut Vec<String>,
    ) -> Result<Stage, BuildFailure> {
        if keyword != "FROM" {
            return Err(failure("no build stage in current context"));
        }
        let name = rest.split_whitespace().next().unwrap_or_default();
        if name == "scratch" {
            say.push(" ---> \n".to_owned());
            let config = defaults::config(&Value::Null);
            let image = String::new();
            return Ok(Stage { image, config, files: Files::default(), history: Vec::new() });
        }
        let Some(image) = self.image_id(name).and_then(|id| self.images.get(&id)) else {
            return Err(failure(&format!(
                "pull access denied for {name}, repository does not exist or may require 'docker \
                 login': denied: requested access to the resource is denied"
            )));
        };
        say.push(format!(" ---> {}\n", short(&image.id)));
        Ok(Stage {
            image: image.id.clone(),
            config: image.config.clone(),
            files: image.files.clone(),
            history: image.history.clone(),
        })
    }

    fn continue_with(
        &mut self,
        build: &Build<'_>,
        mut stage: Stage,
        instruction: &Instruction,
        say: &mut Vec<String>,
        now: Timestamp,
    ) -> Result<Stage, BuildFailure> {
        let Instruction { keyword, rest } = instruction;
        let created_by = match keyword.as_str() {
            "RUN" => format!("/bin/sh -c {rest}"),
            _ => format!("/bin/sh -c #(nop) {keyword} {rest}"),
        };
        let before = stage.files.clone();
        let output = stage.apply(build, keyword, rest)?;
        // A file that changed is a step that changed.
        let cached = self.images.values().find(|image| {
            build.use_cache
                && image.parent == stage.image
                && !stage.image.is_empty()
                && image.files == stage.files
                && image.history.last().is_some_and(|last| last["created_by"] == created_by)
        });
        if let Some(image) = cached {
            say.push(" ---> Using cache\n".to_owned());
            say.push(format!(" ---> {}\n", short(&image.id)));
            stage.image.clone_from(&image.id);
            stage.history.clone_from(&image.history);
            return Ok(stage);
        }
        let is_file_step = ["COPY", "ADD"].contains(&keyword.as_str());
        let container = self.new_id();
        if !is_file_step {
            say.push(format!(" ---> Running in {}\n", short(&container)));
        }
        if let Some((text, code)) = output {
            if !text.is_empty() {
                say.push(text);
            }
            if code != 0 {
                stage.files = before;
                return Err(BuildFailure {
                    message: format!(
                        "The command '/bin/sh -c {rest}' returned a non-zero code: {code}"
                    ),
                    code: Some(code),
                });
            }
        }
        self.commit(&mut stage, &created_by, now);
        if !is_file_step {
            say.push(format!("Removing intermediate container {}\n", short(&container)));
        }
        say.push(format!(" ---> {}\n", short(&stage.image)));
        Ok(stage)
    }

    /// Keeps what a build has come to as an image.
    fn commit(&mut self, stage: &mut Stage, created_by: &str, now: Timestamp) {
        stage.history.push(json!({"created": now.to_string(), "created_by": created_by}));
        stage.config["Image"] = json!(stage.image);
        let mut image = Image::new(&stage.config, stage.files.clone(), &stage.history, "", now);
        image.parent.clone_from(&stage.image);
        stage.image = self.add_image(image);
    }
}

impl Stage {
    /// Carries out one instruction. A command gives its output and its code.
    fn apply(
        &mut self,
        build: &Build<'_>,
        keyword: &str,
        rest: &str,
    ) -> Result<Option<(String, i32)>, BuildFailure> {
        let config = &mut self.config;
        match keyword {
            "RUN" => return Ok(Some(self.run(build, rest))),
            "COPY" | "ADD" => self.copy(build, rest)?,
            "CMD" | "ENTRYPOINT" => {
                let name = if keyword == "CMD" { "Cmd" } else { "Entrypoint" };
                config[name] =
                    serde_json::from_str(rest).unwrap_or_else(|_| json!(["/bin/sh", "-c", rest]));
                if keyword == "ENTRYPOINT" {
                    config["Cmd"] = Value::Null;
                }
            }
            "ENV" => {
                if config["Env"].is_null() {
                    config["Env"] = json!([
                        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
                    ]);
                }
                let mut env: Vec<String> =
                    defaults::strings(&config["Env"]).map(str::to_owned).collect();
                for (name, value) in pairs(rest) {
                    env.retain(|line| line.split('=').next() != Some(&name));
                    env.push(format!("{name}={value}"));
                }
                config["Env"] = json!(env);
            }
            "LABEL" => {
                let mut labels = defaults::entries(&config["Labels"]);
                labels.extend(pairs(rest).into_iter().map(|(name, value)| (name, json!(value))));
                config["Labels"] = json!(labels);
            }
            "WORKDIR" => config["WorkingDir"] = json!(absolute(rest)),
            "USER" => config["User"] = json!(rest),
            "STOPSIGNAL" => config["StopSignal"] = json!(rest),
            "EXPOSE" | "VOLUME" => {
                let name = if keyword == "EXPOSE" { "ExposedPorts" } else { "Volumes" };
                let mut all = defaults::entries(config.get(name).unwrap_or(&Value::Null));
                let listed: Vec<String> = serde_json::from_str(rest)
                    .unwrap_or_else(|_| rest.split_whitespace().map(str::to_owned).collect());
                for one in listed {
                    let is_bare_port = keyword == "EXPOSE" && !one.contains('/');
                    all.insert(if is_bare_port { format!("{one}/tcp") } else { one }, json!({}));
                }
                config[name] = json!(all);
            }
            _ => {}
        }
        Ok(None)
    }

    /// Runs a command to its end; nobody waits for its pauses.
    fn run(&mut self, build: &Build<'_>, command: &str) -> (String, i32) {
        let mut env: Vec<String> =
            defaults::strings(&self.config["Env"]).map(str::to_owned).collect();
        env.extend(
            defaults::entries(&build.arguments)
                .iter()
                .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())),
        );
        let files = &self.files;
        let surroundings = Surroundings {
            hostname: "build",
            env: &env,
            file: &|path| files.content(path).map(|content| content.to_vec()),
        };
        let arguments = ["sh", "-c", command].map(str::to_owned);
        let steps = match compile(&arguments, &surroundings) {
            Ok(steps) => steps,
            Err(Missing(program)) => return (format!("{program}: not found\n"), 127),
        };
        let mut process = Process::start(steps, false);
        let mut now = Timestamp::UNIX_EPOCH;
        let mut output = Vec::new();
        for _ in 0..PATIENCE_IN_TURNS {
            for effect in process.advance(now) {
                match effect {
                    Effect::Output(_, text) => output.extend(text),
                    Effect::File { path, content } => {
                        self.files.0.insert(absolute(&path), Node::File(content.into()));
                    }
                    Effect::OutOfMemory => {}
                }
            }
            if process.exit_code().is_some() {
                break;
            }
            now = process.wake().unwrap_or(now);
        }
        let code = process.exit_code().unwrap_or(137);
        (String::from_utf8_lossy(&output).into_owned(), code)
    }

    fn copy(&mut self, build: &Build<'_>, rest: &str) -> Result<(), BuildFailure> {
        let mut paths: Vec<&str> =
            rest.split_whitespace().filter(|word| !word.starts_with("--")).collect();
        let target = paths.pop().unwrap_or_default();
        for source in paths {
            let from = absolute(source);
            let inside = format!("{}/", from.trim_end_matches('/'));
            let found: Vec<_> = build
                .context
                .0
                .iter()
                .filter(|(path, _)| **path == from || path.starts_with(&inside))
                .collect();
            if found.is_empty() {
                return Err(failure(&format!(
                    "COPY failed: file not found in build context or excluded by .dockerignore: \
                     stat {source}: file does not exist"
                )));
            }
            for (path, node) in found {
                let below = path.strip_prefix(&inside).unwrap_or_default();
                let name = from.rsplit('/').next().unwrap_or_default();
                let to = match below {
                    "" if target.ends_with('/') => format!("{target}{name}"),
                    "" => target.to_owned(),
                    below => format!("{target}/{below}"),
                };
                self.files.0.insert(absolute(&to), node.clone());
            }
        }
        Ok(())
    }
}

const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Cuts a Dockerfile into instructions.
fn read(text: &str) -> Outcome<Vec<Instruction>> {
    let mut instructions = Vec::new();
    let mut whole = String::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with('#') || (line.trim().is_empty() && whole.is_empty()) {
            continue;
        }
        if let Some(begun) = line.trim_end().strip_suffix('\\') {
            whole.push_str(begun);
            continue;
        }
        whole.push_str(line);
        let instruction = std::mem::take(&mut whole);
        let (keyword, rest) = instruction.trim().split_once(' ').unwrap_or((&instruction, ""));
        let keyword = keyword.to_ascii_uppercase();
        if !KEYWORDS.contains(&keyword.as_str()) {
            return Err(Refusal::bad_request(format!(
                "dockerfile parse error line {}: unknown instruction: {keyword}",
                index + 1
            )));
        }
        instructions.push(Instruction { keyword, rest: rest.trim().to_owned() });
    }
    Ok(instructions)
}

/// `A=1 B="two"`, or the old form `A 1`.
fn pairs(text: &str) -> Vec<(String, String)> {
    let unquoted = |value: &str| value.trim_matches('"').to_owned();
    let first = text.split_whitespace().next().unwrap_or_default();
    if !first.contains('=') {
        let (name, value) = text.split_once(' ').unwrap_or((text, ""));
        return vec![(name.to_owned(), unquoted(value.trim()))];
    }
    let words = text.split_whitespace().filter_map(|word| word.split_once('='));
    words.map(|(name, value)| (name.to_owned(), unquoted(value))).collect()
}

fn failure(message: &str) -> BuildFailure {
    BuildFailure { message: message.to_owned(), code: None }
}
