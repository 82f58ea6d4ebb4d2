//! Why a configuration cannot be used, in words that hold no secret.

use drover_signing::TrustError;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The text is no TOML, has an unknown key or a value of the wrong type.
    #[error("{0}")]
    Syntax(toml::de::Error),
    /// So has a line with what a program or a service is given, which is not shown.
    #[error(
        "line {line} may hold a secret, so it is not shown, and cannot be used: look for quotes \
         and brackets that are missing, values of the wrong type, and unknown keys"
    )]
    SecretSyntax {
        /// The line, from 1.
        line: usize,
    },
    /// A value is out of range.
    #[error("`{key} = {value}`: {rule}")]
    Range {
        /// The key.
        key: String,
        /// What it was set to.
        value: String,
        /// What it may be.
        rule: &'static str,
    },
    /// A trusted key cannot be used.
    #[error(transparent)]
    TrustedKey(#[from] TrustError),
    /// A service that is to run whenever the agent does cannot be run.
    #[error("[services.{name}]: {reason}")]
    Service {
        /// Its name.
        name: String,
        /// What is wrong with it, and what it may be.
        reason: String,
    },
    /// A program that is to run whenever the agent starts cannot be run.
    #[error("[startup.{name}]: {reason}")]
    Startup {
        /// Its name.
        name: String,
        /// Which argument, what is wrong with it, and what it may be.
        reason: String,
    },
}

/// The tables that say what is run, and which keys of theirs are handed to that.
const GIVEN: ([&str; 2], [&str; 3]) = (["startup", "services"], ["args", "data", "env"]);

impl ConfigError {
    /// What is wrong with a text: with the line, unless that may hold a secret.
    pub(super) fn of_text(text: &str, error: toml::de::Error) -> Self {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let index = before.matches('\n').count();
        let mut lines: Vec<_> = text.lines().take(index + 1).collect();
        let line = lines.pop().unwrap_or_default();
        // A line within a text of several lines has no key.
        let is_within = ["\"\"\"", "'''"].iter().any(|quotes| before.contains(quotes));
        if is_within || may_be_given(&lines, line) {
            Self::SecretSyntax { line: index + 1 }
        } else {
            Self::Syntax(error)
        }
    }
}

/// Whether a line may have something of what a program or a service is given.
fn may_be_given(before: &[&str], line: &str) -> bool {
    let (tables, keys) = GIVEN;
    if is_header(line) {
        return false;
    }
    let header = before.iter().rfind(|line| is_header(line)).copied().unwrap_or_default();
    let is_of = |text: &str| tables.iter().any(|table| text.contains(table));
    if !is_of(header) {
        return is_of(line) && keys.iter().any(|key| line.contains(key));
    }
    // `[startup.shop.env]` has nothing else.
    let is_deep = header.matches('.').count() > 1;
    // What has no key belongs to the one before.
    let key = line.split_once('=').map(|(key, _)| key.trim());
    let is_plain = key.is_some_and(|key| {
        key.chars().all(|c| c.is_ascii_lowercase() || c == '_') && !keys.contains(&key)
    });
    is_deep || !is_plain
}

fn is_header(line: &str) -> bool {
    line.trim_start().starts_with('[') && !line.contains(['"', '\'', ',', '='])
}

#[cfg(test)]
mod tests {
    use crate::Config;

    #[test]
    fn what_programs_and_services_are_given_is_not_shown() {
        for text in [
            "[startup.shop]\ncmd = \"/shop\"\nenv = { TOKEN = \"hunter2 }",
            "[startup.shop]\ncmd = \"/shop\"\nenv = \"TOKEN=hunter2\"",
            "[startup.shop]\ncmd = \"/shop\"\nargs = [\n    \"--password\", hunter2,\n]",
            "[startup.shop]\ncmd = \"/shop\"\nargs = \"--password hunter2\"",
            "[startup.shop]\ncmd = \"/shop\"\nPASSWORD = hunter2",
            "[startup.shop]\ncmd = \"/shop\"\ndata = \"hunter2",
            "[startup.shop]\ncmd = \"/shop\"\ndata = \"\"\"\nset -e\npassword = hunter2",
            "[startup.shop]\ncmd = \"/shop\"\n[startup.shop.env]\ntoken = hunter2",
            "startup.shop.cmd = \"/shop\"\nstartup.shop.env.token = hunter2",
            "[services.tick]\noperation = \"ticker.count\"\nargs = { token = hunter2 }",
            "[services.tick]\noperation = \"ticker.count\"\nargs = \"hunter2\"",
        ] {
            let error = Config::parse(text).unwrap_err();
            let said = format!("{:#}", anyhow::Error::new(error));
            assert!(!said.contains("hunter2"), "{text}: {said}");
            assert!(said.contains("line ") || said.contains("[startup.shop]: "), "{said}");
        }
    }

    #[test]
    fn all_else_is_shown() {
        for (text, shown) in [
            ("nid = seven", "nid = seven"),
            ("[startup.shop]\ncmd = \"/shop\"\nmax_time = fast", "max_time = fast"),
            ("[services.tick]\noperation = \"a.b\"\nrestart = \"often\"", "often"),
            ("[services.tick]\nargs = {}", "missing field `operation`"),
            ("[startup.shop]\ncmd = \"/shop\"\n[limits]\nmemroy = 7", "memroy = 7"),
        ] {
            let said = Config::parse(text).unwrap_err().to_string();
            assert!(said.contains(shown), "{text}: {said}");
        }
    }
}
