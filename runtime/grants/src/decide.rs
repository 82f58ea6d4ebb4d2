//! Whether both keys turn: what a plugin asks for against what it is granted.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::allowance::{Allowance, AllowedDirectory, AllowedProgram};
use crate::ask::Asks;
use crate::edit::{Lines, Value};
use crate::grant::Access;
use crate::http::HttpAllowance;
use crate::load::{Granted, Grants};
use crate::pattern::ArgumentPattern;
use crate::secret::Secret;

/// What becomes of a plugin's asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// All is granted.
    Allowed {
        /// What the plugin may touch.
        allowance: Allowance,
        /// What is granted and not asked for, which gives the plugin nothing.
        unasked: Vec<String>,
    },
    /// Something is not granted, so the plugin may not be loaded.
    Missing(Missing),
}

/// What a plugin asks for and is not granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    plugin: String,
    lines: Lines,
    troubles: Vec<String>,
}

impl Missing {
    /// The lines to add to the plugin's grants.
    #[must_use]
    pub fn lines(&self) -> &Lines {
        &self.lines
    }

    /// What no line would change, such as a secret that cannot be read.
    #[must_use]
    pub fn troubles(&self) -> &[String] {
        &self.troubles
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plugin, lines, troubles } = self;
        if !lines.is_empty() {
            write!(
                f,
                "it asks for what is not granted; look at it, and run `drover plugin grant {plugin}` \
                 or have this in the grants:\n\n[{plugin}]\n{lines}"
            )?;
        }
        for (index, trouble) in troubles.iter().enumerate() {
            let separator = if index == 0 && lines.is_empty() { "" } else { "\n" };
            write!(f, "{separator}{trouble}")?;
        }
        Ok(())
    }
}

/// Decides what a plugin of this name gets. Does no I/O.
///
/// A plugin gets what is asked for *and* granted: a directory that it asks to
/// read and that it may change, it gets to read.
#[must_use]
pub fn decide(plugin: &str, asks: &Asks, grants: &Grants) -> Decision {
    let nothing = Granted::default();
    let granted = grants.of(plugin).unwrap_or(&nothing);
    let mut weighing = Weighing::new(granted);
    weighing.sysinfo(asks);
    weighing.state(asks);
    weighing.env(asks);
    weighing.settings(asks);
    weighing.secrets(asks);
    weighing.directories(asks);
    weighing.http(asks);
    weighing.programs(asks);
    if weighing.lines.is_empty() && weighing.troubles.is_empty() {
        return Decision::Allowed {
            allowance: weighing.allowance,
            unasked: unasked(asks, granted),
        };
    }
    let Weighing { lines, troubles, .. } = weighing;
    Decision::Missing(Missing { plugin: plugin.to_owned(), lines, troubles })
}

struct Weighing<'a> {
    granted: &'a Granted,
    allowance: Allowance,
    lines: Lines,
    troubles: Vec<String>,
}

impl<'a> Weighing<'a> {
    fn new(granted: &'a Granted) -> Self {
        Self {
            granted,
            allowance: Allowance::default(),
            lines: Lines::default(),
            troubles: Vec::new(),
        }
    }

    fn sysinfo(&mut self, asks: &Asks) {
        let Some(ask) = &asks.sysinfo else { return };
        match self.granted.grants.sysinfo {
            true => self.allowance.sysinfo = true,
            false => self.lines.push(Value::Sysinfo, &ask.reason),
        }
    }

    fn state(&mut self, asks: &Asks) {
        let Some(ask) = &asks.state else { return };
        match self.granted.grants.state {
            Some(size) if size >= ask.size => {
                self.allowance.state_bytes = Some(size.as_u64());
            }
            _ => self.lines.push(Value::State(ask.size), &ask.reason),
        }
    }

    fn env(&mut self, asks: &Asks) {
        for ask in &asks.env {
            if !self.granted.grants.env.contains(&ask.name) {
                self.lines.push(Value::Env(ask.name.clone()), &ask.reason);
            } else if let Some(value) = self.granted.env.get(&ask.name) {
                self.allowance.env.insert(ask.name.to_string(), value.clone());
            }
        }
    }

    fn settings(&mut self, asks: &Asks) {
        for ask in &asks.settings {
            match self.granted.grants.settings.get(&ask.name) {
                Some(value) => {
                    let value = Secret::new(value.clone());
                    self.allowance.settings.insert(ask.name.to_string(), value);
                }
                None => self.lines.push(Value::Setting(ask.name.clone(), None), &ask.reason),
            }
        }
    }

    fn secrets(&mut self, asks: &Asks) {
        for ask in &asks.secrets {
            match self.granted.secrets.get(&ask.name) {
                Some(Ok(value)) => {
                    self.allowance.settings.insert(ask.name.to_string(), value.clone());
                }
                Some(Err(why)) => {
                    self.troubles
                        .push(format!("its secret `{}` is not to be had: {why}", ask.name));
                }
                None => self.lines.push(Value::Secret(ask.name.clone(), None), &ask.reason),
            }
        }
    }

    fn directories(&mut self, asks: &Asks) {
        for ask in &asks.directories {
            let path = match self.granted.grants.directories.get(&ask.path) {
                Some(grant) if grant.access >= ask.access => {
                    self.allowance.directories.push(AllowedDirectory {
                        seen_as: ask.path.to_string(),
                        path: grant.path.as_path().to_owned(),
                        access: ask.access,
                    });
                    continue;
                }
                Some(grant) => Some(grant.path.as_path().to_owned()),
                None => None,
            };
            self.lines.push(Value::Directory(ask.path.clone(), path, ask.access), &ask.reason);
        }
    }

    /// Fewer requests than were asked for are the admin's choice, and denied
    /// one by one.
    fn http(&mut self, asks: &Asks) {
        for ask in &asks.http {
            match self.granted.http.get(&ask.authority) {
                Some(Ok(granted)) => self.allowance.http.push(HttpAllowance {
                    target: Arc::clone(&granted.target),
                    asked: ask.allow.as_slice().into(),
                    granted: Arc::clone(&granted.allow),
                }),
                Some(Err(why)) => self.troubles.push(why.clone()),
                None => self.lines.push(Value::Http(ask.clone()), &ask.reason),
            }
        }
    }

    fn programs(&mut self, asks: &Asks) {
        for ask in &asks.programs {
            let Some(grant) = self.granted.grants.programs.get(&ask.program) else {
                let value = Value::Program(ask.program.clone(), ask.args.clone(), ask.env.clone());
                self.lines.push(value, &ask.reason);
                continue;
            };
            let is_granted =
                |asked: &ArgumentPattern| grant.args.iter().any(|granted| granted.covers(asked));
            let args: Vec<_> = ask.args.iter().filter(|args| !is_granted(args)).cloned().collect();
            let env: Vec<_> =
                ask.env.iter().filter(|name| !grant.env.contains(*name)).cloned().collect();
            if !args.is_empty() || !env.is_empty() {
                self.lines.push(Value::Program(ask.program.clone(), args, env), &ask.reason);
                continue;
            }
            let program = AllowedProgram {
                asked: ask.args.clone(),
                granted: grant.args.clone(),
                env: ask.env.iter().map(ToString::to_string).collect(),
                user: grant.user.clone(),
                memory_bytes: grant.memory.map(|memory| memory.as_u64()),
                processes: grant.processes,
                max_time: grant.max_time,
            };
            self.allowance.programs.insert(ask.program.to_string(), program);
        }
    }
}

/// What is granted and not asked for, by the words of the grants.
fn unasked(asks: &Asks, granted: &Granted) -> Vec<String> {
    let grants = &granted.grants;
    let mut unasked = Vec::new();
    if grants.sysinfo && asks.sysinfo.is_none() {
        unasked.push("sysinfo".to_owned());
    }
    if grants.state.is_some() && asks.state.is_none() {
        unasked.push("state".to_owned());
    }
    let env = grants.env.iter().filter(|name| !asks.env.iter().any(|ask| ask.name == **name));
    unasked.extend(env.map(|name| format!("env {name}")));
    let settings = asks.settings.iter().map(|ask| &ask.name);
    unasked.extend(others(&grants.settings, settings, "settings"));
    let secrets = asks.secrets.iter().map(|ask| &ask.name);
    unasked.extend(others(&grants.secrets, secrets, "secrets"));
    let directories = asks.directories.iter().map(|ask| &ask.path);
    unasked.extend(others(&grants.directories, directories, "directories"));
    let http = asks.http.iter().map(|ask| &ask.authority);
    unasked.extend(others(&grants.http, http, "http"));
    let programs = asks.programs.iter().map(|ask| &ask.program);
    unasked.extend(others(&grants.programs, programs, "programs"));
    for ask in &asks.directories {
        let granted = grants.directories.get(&ask.path).map(|grant| grant.access);
        if ask.access == Access::Read && granted == Some(Access::ReadWrite) {
            unasked.push(format!("directories.{} to write", ask.path));
        }
    }
    unasked
}

fn others<'a, K: Ord + fmt::Display + 'a, V>(
    granted: &BTreeMap<K, V>,
    asked: impl Iterator<Item = &'a K>,
    kind: &str,
) -> Vec<String> {
    let asked: Vec<_> = asked.collect();
    let others = granted.keys().filter(|key| !asked.contains(key));
    others.map(|key| format!("{kind}.{key}")).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::grant::GrantsFile;
    use crate::manifest::Manifest;

    /// One ask, the grant that answers it, and the same grant with too little.
    const CASES: [(&str, &str, &str); 8] = [
        ("sysinfo = { reason = \"r\" }", "sysinfo = true", "sysinfo = false"),
        ("state = { size = 1000, reason = \"r\" }", "state = 1000", "state = 999"),
        ("env = [{ name = \"PATH\", reason = \"r\" }]", "env = [\"PATH\"]", "env = [\"PAT\"]"),
        (
            "settings = [{ name = \"s\", reason = \"r\" }]",
            "settings.s = \"v\"",
            "settings.t = \"v\"",
        ),
        (
            "secrets = [{ name = \"k\", reason = \"r\" }]",
            "secrets.k = { env = \"PATH\" }",
            "secrets.k = { env = \"NO_SUCH_VARIABLE\" }",
        ),
        (
            "directories = [{ path = \"/d\", access = \"read-write\", reason = \"r\" }]",
            "directories.\"/d\" = { path = \"/srv\", access = \"read-write\" }",
            "directories.\"/d\" = { path = \"/srv\", access = \"read\" }",
        ),
        (
            "http = [{ authority = \"a.b\", allow = [\"GET /**\"], reason = \"r\" }]",
            "http.\"a.b\" = { allow = [] }",
            "http.\"a.b:80\" = { allow = [] }",
        ),
        (
            "programs = [{ program = \"/p\", args = [[\"a\", \"b*\"]], env = [\"E\"], reason = \"r\" }]",
            "programs.\"/p\" = { args = [[\"x\"], [\"a\", \"*\"]], env = [\"E\"] }",
            "programs.\"/p\" = { args = [[\"a\", \"bc*\"]], env = [\"E\"] }",
        ),
    ];

    fn asks(lines: &str) -> Asks {
        Manifest::from_toml(&format!("[asks]\n{lines}")).unwrap().asks
    }

    fn grants(lines: &str) -> Grants {
        Grants::of_file(GrantsFile::parse(&format!("[p]\n{lines}")).unwrap())
    }

    fn allowed(ask: &str, grant: &str) -> (Allowance, Vec<String>) {
        match decide("p", &asks(ask), &grants(grant)) {
            Decision::Allowed { allowance, unasked } => (allowance, unasked),
            Decision::Missing(missing) => panic!("{ask} against {grant}: {missing}"),
        }
    }

    fn missing(ask: &str, grant: &str) -> String {
        match decide("p", &asks(ask), &grants(grant)) {
            Decision::Missing(missing) => missing.to_string(),
            Decision::Allowed { .. } => panic!("{ask} against {grant} is allowed"),
        }
    }

    #[test]
    fn what_is_asked_and_granted_is_allowed_and_leaves_nothing_over() {
        for (ask, grant, _) in CASES {
            let (allowance, unasked) = allowed(ask, grant);
            assert_ne!(allowance, Allowance::default(), "{ask}");
            assert!(unasked.is_empty(), "{ask}: {unasked:?}");
        }
    }

    #[test]
    fn what_is_asked_and_not_granted_is_missing() {
        for (ask, _, too_little) in CASES {
            missing(ask, "");
            missing(ask, too_little);
        }
    }

    #[test]
    fn what_is_granted_and_not_asked_is_a_warning_and_gives_nothing() {
        for (_, grant, _) in CASES {
            let (allowance, unasked) = allowed("", grant);
            assert_eq!(allowance, Allowance::default(), "{grant}");
            assert_eq!(unasked.len(), 1, "{grant}: {unasked:?}");
        }
    }

    #[test]
    fn the_grants_of_one_plugin_are_not_anothers() {
        for (ask, grant, _) in CASES {
            let decision = decide("q", &asks(ask), &grants(grant));
            assert!(matches!(decision, Decision::Missing(_)), "{ask}");
        }
    }

    #[test]
    fn a_directory_that_is_asked_for_reading_cannot_be_changed() {
        let ask = "directories = [{ path = \"/d\", access = \"read\", reason = \"r\" }]";
        let grant = "directories.\"/d\" = { path = \"/srv\", access = \"read-write\" }";
        let (allowance, unasked) = allowed(ask, grant);
        assert_eq!(allowance.directories[0].access, Access::Read);
        assert_eq!(allowance.directories[0].path, Path::new("/srv"));
        assert_eq!(unasked, ["directories./d to write"]);
    }

    #[test]
    fn a_program_is_called_only_as_is_both_asked_and_granted() {
        let ask = "programs = [{ program = \"/p\", args = [[\"a\", \"b*\"]], reason = \"r\" }]";
        let grant = "programs.\"/p\" = { args = [[\"x\"], [\"a\", \"*\"]], env = [\"E\"] }";
        let (allowance, _) = allowed(ask, grant);
        let program = &allowance.programs["/p"];
        let permits =
            |args: &[&str]| program.permits(&args.iter().map(|&a| a.into()).collect::<Vec<_>>());
        assert!(permits(&["a", "bc"]));
        assert!(!permits(&["a", "c"]) && !permits(&["x"]) && !permits(&[]));
        assert!(program.env.is_empty());
    }

    #[test]
    fn what_is_missing_is_shown_as_lines_that_grant_it() {
        for (ask, _, _) in CASES {
            let text = missing(ask, "");
            assert!(text.contains("`drover plugin grant p`"), "{text}");
            let lines = &text[text.find("[p]").unwrap()..];
            let file = GrantsFile::parse(lines).unwrap_or_else(|error| panic!("{lines}: {error}"));
            let _ = Grants::of_file(file);
        }
    }

    #[test]
    fn a_secret_that_cannot_be_read_says_why() {
        let (ask, _, grant) = CASES[4];
        let text = missing(ask, grant);
        assert!(text.contains("`k`") && text.contains("NO_SUCH_VARIABLE"), "{text}");
    }

    #[test]
    fn a_header_that_cannot_be_read_says_why() {
        let (ask, ..) = CASES[6];
        let header = "headers.authorization = { env = \"NO_SUCH_VARIABLE\" }";
        let text = missing(ask, &format!("http.\"a.b\" = {{ {header}, allow = [] }}"));
        assert!(text.contains("`authorization`") && text.contains("NO_SUCH_VARIABLE"), "{text}");
    }

    proptest! {
        #[test]
        fn a_plugin_never_gets_what_is_not_both_asked_and_granted(
            asked in proptest::collection::vec(any::<bool>(), 8),
            given in proptest::collection::vec(any::<bool>(), 8),
        ) {
            let lines = |chosen: &[bool], line: fn(&(&'static str, &'static str, &'static str)) -> &'static str| {
                let cases = CASES.iter().zip(chosen).filter(|(_, chosen)| **chosen);
                cases.map(|(case, _)| line(case)).collect::<Vec<_>>().join("\n")
            };
            let decision = decide("p", &asks(&lines(&asked, |case| case.0)), &grants(&lines(&given, |case| case.1)));
            let is_all_granted = asked.iter().zip(&given).all(|(asked, given)| !asked || *given);
            match decision {
                Decision::Missing(_) => prop_assert!(!is_all_granted),
                Decision::Allowed { allowance, .. } => {
                    prop_assert!(is_all_granted);
                    let got = [
                        allowance.sysinfo,
                        allowance.state_bytes.is_some(),
                        !allowance.env.is_empty(),
                        allowance.settings.contains_key("s"),
                        allowance.settings.contains_key("k"),
                        !allowance.directories.is_empty(),
                        !allowance.http.is_empty(),
                        !allowance.programs.is_empty(),
                    ];
                    prop_assert_eq!(&got[..], &asked[..]);
                }
            }
        }
    }
}
