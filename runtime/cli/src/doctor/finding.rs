//! What a check found, and how all of them are shown.

use std::fmt::Write as _;

use serde::Serialize;

/// How well it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// As it is to be.
    Ok,
    /// It works, and will not for long, or not as well as it could.
    Warn,
    /// It does not work.
    Fail,
}

/// What one check found. A check that looks at several things finds something of each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// The check; never renamed, as programs go by it.
    pub(crate) check: &'static str,
    pub(crate) state: State,
    /// What was found, of what.
    pub(crate) what: String,
    /// What to do; of everything but `Ok`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cure: Option<String>,
}

impl Finding {
    pub(crate) fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, state: State::Ok, what: what.into(), cure: None }
    }

    pub(crate) fn warn(
        check: &'static str,
        what: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self { check, state: State::Warn, what: what.into(), cure: Some(cure.into()) }
    }

    pub(crate) fn fail(
        check: &'static str,
        what: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self { check, state: State::Fail, what: what.into(), cure: Some(cure.into()) }
    }
}

/// One line for each, and a cure of several lines below its own.
pub(crate) fn in_lines(findings: &[&Finding]) -> String {
    let widest = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Finding { check, state, what, cure } in findings {
        let state = match state {
            State::Ok => "ok  ",
            State::Warn => "warn",
            State::Fail => "FAIL",
        };
        let what = what.replace('\n', "; ");
        let _ = write!(text, "{state}  {check:widest$}  {what}");
        let mut cure = cure.as_deref().unwrap_or_default().lines();
        if let Some(first) = cure.next() {
            let _ = write!(text, "  cure: {first}");
        }
        for line in cure {
            let _ = write!(text, "\n      {line}");
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finding_is_a_line() {
        let findings = [
            Finding::ok("config", "it is\nfine"),
            Finding::warn("disk.space", "5 % are free", "make room"),
            Finding::fail("plugins.load", "`p` is held", "grant it\n  sysinfo = true"),
        ];
        assert_eq!(
            in_lines(&findings.iter().collect::<Vec<_>>()),
            "ok    config        it is; fine\n\
             warn  disk.space    5 % are free  cure: make room\n\
             FAIL  plugins.load  `p` is held  cure: grant it\n        sysinfo = true"
        );
        assert!(State::Fail > State::Warn && State::Warn > State::Ok);
        let json = serde_json::to_value(&findings[1]).unwrap();
        assert_eq!(json["state"], "warn");
    }
}
