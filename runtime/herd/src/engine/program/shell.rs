//! The known commands, and as much of the shell as their tests need.
//!
//! The exit code of each command is known when it is compiled, so `&&` and `||`
//! are decided then.

use std::time::Duration;

use super::words::{Token, cut};
use super::{Step, Stream};

/// What a program finds where it is started.
pub(crate) struct Surroundings<'a> {
    pub(crate) hostname: &'a str,
    /// `NAME=value`.
    pub(crate) env: &'a [String],
    /// The content of a file, by its path.
    pub(crate) file: &'a dyn Fn(&str) -> Option<Vec<u8>>,
}

/// The program does not exist.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Missing(pub(crate) String);

/// How long a script may be: one that grows further is refused as a program that
/// cannot be found.
const MOST_STEPS: usize = 100_000;

/// Compiles a command line to steps.
pub(crate) fn compile(
    arguments: &[String],
    surroundings: &Surroundings<'_>,
) -> Result<Vec<Step>, Missing> {
    let mut script = Script { steps: Vec::new(), background: Vec::new(), surroundings };
    let code = script.command(arguments)?;
    script.steps.push(Step::Exit(code));
    Ok(script.steps)
}

struct Script<'a> {
    steps: Vec<Step>,
    /// What was started with `&`; `wait` waits for it.
    background: Vec<Step>,
    surroundings: &'a Surroundings<'a>,
}

impl Script<'_> {
    /// Adds the steps of one command, and returns the code it ends with.
    fn command(&mut self, arguments: &[String]) -> Result<i32, Missing> {
        let Some((name, arguments)) = arguments.split_first() else { return Ok(0) };
        let program = name.rsplit('/').next().unwrap_or(name);
        match program {
            "true" | ":" => {}
            "false" => return Ok(1),
            "echo" => self.echo(arguments),
            "printf" => self.print(unescape(&arguments.concat())),
            "seq" => self.sequence(arguments),
            "yes" => {
                let start = self.steps.len();
                self.print("y\n".repeat(64));
                self.steps.push(Step::JumpTo(start));
            }
            "sleep" => self.sleep(arguments),
            "cat" => return Ok(self.cat(arguments)),
            "tail" if arguments.iter().any(|argument| argument == "/dev/zero") => {
                self.steps.push(Step::FillMemory);
            }
            "tail" | "top" => self.steps.push(Step::SleepForever),
            "env" => {
                let lines = self.surroundings.env.iter().map(|line| format!("{line}\n"));
                self.print(lines.collect());
            }
            "hostname" => self.print(format!("{}\n", self.surroundings.hostname)),
            "touch" => {
                for path in arguments {
                    self.steps.push(Step::WriteFile { path: path.clone(), content: Vec::new() });
                }
            }
            "test" => return Ok(self.test(arguments)),
            "sh" => match arguments {
                [flag, script, ..] if flag == "-c" => return self.script(script),
                _ => self.steps.push(Step::CopyInput),
            },
            _ => return Err(Missing(name.clone())),
        }
        Ok(0)
    }

    fn print(&mut self, text: String) {
        self.steps.push(Step::Print(Stream::Stdout, text.into_bytes()));
    }

    fn echo(&mut self, arguments: &[String]) {
        match arguments.split_first() {
            Some((flag, rest)) if flag == "-n" => self.print(rest.join(" ")),
            _ => self.print(arguments.join(" ") + "\n"),
        }
    }

    fn sequence(&mut self, arguments: &[String]) {
        let number = |index: usize| arguments.get(index).and_then(|text| text.parse::<i64>().ok());
        let (first, last) = match arguments.len() {
            1 => (1, number(0).unwrap_or(0)),
            _ => (number(0).unwrap_or(1), number(1).unwrap_or(0)),
        };
        let lines = (first..=last).take(MOST_STEPS).map(|number| format!("{number}\n"));
        self.print(lines.collect());
    }

    fn sleep(&mut self, arguments: &[String]) {
        let seconds = arguments.first().and_then(|text| text.parse::<f64>().ok());
        let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        self.steps.push(duration.map_or(Step::SleepForever, Step::Sleep));
    }

    fn cat(&mut self, arguments: &[String]) -> i32 {
        if arguments.is_empty() {
            self.steps.push(Step::CopyInput);
        }
        let mut code = 0;
        for path in arguments {
            if let Some(content) = (self.surroundings.file)(path) {
                self.steps.push(Step::Print(Stream::Stdout, content));
            } else {
                let text = format!("cat: can't open '{path}': No such file or directory\n");
                self.steps.push(Step::Print(Stream::Stderr, text.into_bytes()));
                code = 1;
            }
        }
        code
    }

    fn test(&self, arguments: &[String]) -> i32 {
        match arguments {
            [flag, path] if flag == "-f" || flag == "-e" => {
                i32::from((self.surroundings.file)(path).is_none())
            }
            _ => 1,
        }
    }

    /// Adds a script: commands with `;`, `&&`, `||`, `&`, redirections, and an
    /// endless `while true; do …; done`.
    fn script(&mut self, script: &str) -> Result<i32, Missing> {
        let env = self.surroundings.env;
        let tokens = cut(script, |name| {
            let value = env.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value.unwrap_or_default().to_owned()
        });
        let mut code = 0;
        let mut skip = false;
        let mut loops = Vec::new();
        let mut rest = tokens.as_slice();
        while !rest.is_empty() && self.steps.len() < MOST_STEPS {
            let end = rest.iter().position(is_end).unwrap_or(rest.len());
            let (command, after) = rest.split_at(end);
            let operator = match after.first() {
                Some(Token::Operator(operator)) => *operator,
                _ => ";",
            };
            rest = after.get(1..).unwrap_or_default();
            if !skip {
                code = self.simple(command, operator == "&", code, &mut loops)?;
            }
            skip = match operator {
                "&&" => code != 0,
                "||" => code == 0,
                _ => false,
            };
        }
        Ok(code)
    }

    /// Adds one command of a script, with its redirections.
    fn simple(
        &mut self,
        tokens: &[Token],
        in_background: bool,
        last_code: i32,
        loops: &mut Vec<usize>,
    ) -> Result<i32, Missing> {
        let mut words: Vec<String> = Vec::new();
        let mut to_stderr = false;
        let mut to_file = None;
        let mut tokens = tokens.iter();
        while let Some(token) = tokens.next() {
            match token {
                Token::Word(word) => words.push(word.clone()),
                Token::Operator(">&2") => to_stderr = true,
                Token::Operator(_) => {
                    if let Some(Token::Word(path)) = tokens.next() {
                        to_file = Some(path.clone());
                    }
                }
            }
        }
        if words.first().is_some_and(|word| word == "do") {
            words.remove(0);
        }
        match words.first().map(String::as_str) {
            Some("while") => {
                loops.push(self.steps.len());
                return Ok(0);
            }
            Some("done") => {
                let start = loops.pop().unwrap_or(self.steps.len());
                self.steps.push(Step::JumpTo(start));
                return Ok(0);
            }
            Some("exit") => {
                let code = words.get(1).and_then(|text| text.parse().ok()).unwrap_or(last_code);
                self.steps.push(Step::Exit(code));
                return Ok(code);
            }
            Some("trap") => {
                let action = words.get(1).map(String::as_str).unwrap_or_default();
                let code = action.strip_prefix("exit").and_then(|text| text.trim().parse().ok());
                self.steps.push(Step::TrapTerm(code.unwrap_or(0)));
                return Ok(0);
            }
            Some("wait") => {
                self.steps.append(&mut self.background);
                return Ok(0);
            }
            Some("exec") => {
                words.remove(0);
            }
            _ => {}
        }
        let start = self.steps.len();
        let code = match self.command(&words) {
            Ok(code) => code,
            Err(Missing(name)) => {
                let text = format!("sh: {name}: not found\n");
                self.steps.push(Step::Print(Stream::Stderr, text.into_bytes()));
                127
            }
        };
        if let Some(path) = to_file {
            let written = self.steps.split_off(start);
            let content = written.into_iter().filter_map(|step| match step {
                Step::Print(Stream::Stdout, text) => Some(text),
                _ => None,
            });
            let content = content.flatten().collect();
            self.steps.push(Step::WriteFile { path, content });
        } else if to_stderr {
            for step in &mut self.steps[start..] {
                if let Step::Print(stream, _) = step {
                    *stream = Stream::Stderr;
                }
            }
        }
        if in_background {
            self.background.extend(self.steps.drain(start..));
            return Ok(0);
        }
        Ok(code)
    }
}

fn is_end(token: &Token) -> bool {
    matches!(token, Token::Operator(";" | "&" | "&&" | "||"))
}

fn unescape(text: &str) -> String {
    text.replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(script: &str) -> Vec<Step> {
        let env = ["A=b".to_owned()];
        let file = |path: &str| (path == "/f").then(|| b"content".to_vec());
        let surroundings = Surroundings { hostname: "here", env: &env, file: &file };
        let arguments = ["sh", "-c", script].map(str::to_owned);
        compile(&arguments, &surroundings).unwrap()
    }

    fn out(text: &str) -> Step {
        Step::Print(Stream::Stdout, text.into())
    }

    #[test]
    fn a_script_is_a_row_of_steps() {
        assert_eq!(
            steps("echo $A; echo bad >&2; exit 3"),
            [
                out("b\n"),
                Step::Print(Stream::Stderr, b"bad\n".to_vec()),
                Step::Exit(3),
                Step::Exit(3)
            ]
        );
    }

    #[test]
    fn conditions_are_decided_by_the_code_before_them() {
        assert_eq!(steps("false && echo no || echo yes"), [out("yes\n"), Step::Exit(0)]);
        assert_eq!(steps("test -f /f && cat /f"), [out("content"), Step::Exit(0)]);
    }

    #[test]
    fn a_loop_goes_back_to_its_start() {
        let second = Step::Sleep(Duration::from_secs(1));
        assert_eq!(
            steps("while true; do echo x; sleep 1; done"),
            [out("x\n"), second, Step::JumpTo(0), Step::Exit(0)]
        );
    }

    #[test]
    fn an_unknown_program_is_missing() {
        let surroundings = Surroundings { hostname: "", env: &[], file: &|_| None };
        let compiled = compile(&["nope".to_owned()], &surroundings);
        assert_eq!(compiled, Err(Missing("nope".to_owned())));
        assert_eq!(steps("nope").last(), Some(&Step::Exit(127)));
    }
}
