//! How bad a line is: the words and numbers of other systems in our levels.

use drover_sdk::data;
use drover_sdk::lines::Level;

/// A level, as options name it.
#[data]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LevelName {
    /// For the end user.
    Public,
    /// For the operator.
    Operator,
    /// Nothing special.
    Text,
    /// Surprising.
    Warning,
    /// Something an operator must look at.
    Error,
    /// Somebody should be woken.
    Critical,
    /// For the author.
    Debug,
}

impl From<LevelName> for Level {
    fn from(name: LevelName) -> Self {
        match name {
            LevelName::Public => Self::Public,
            LevelName::Operator => Self::Operator,
            LevelName::Text => Self::Text,
            LevelName::Warning => Self::Warning,
            LevelName::Error => Self::Error,
            LevelName::Critical => Self::Critical,
            LevelName::Debug => Self::Debug,
        }
    }
}

/// The words of syslog and of the libraries that programs log with.
const WORDS: &[(Level, &[&str])] = &[
    (Level::Critical, &["emerg", "emergency", "panic", "alert", "crit", "critical", "fatal", "f"]),
    (Level::Error, &["err", "error", "severe", "failure", "e"]),
    (Level::Warning, &["warn", "warning", "w"]),
    (Level::Text, &["notice", "info", "information", "informational", "config", "i", "n"]),
    (Level::Debug, &["debug", "trace", "verbose", "fine", "finer", "finest", "d", "t"]),
];

/// The level that a word stands for, in whatever case.
pub(crate) fn of_word(word: &[u8]) -> Option<Level> {
    let stands_for = |words: &[&str]| words.iter().any(|w| word.eq_ignore_ascii_case(w.as_bytes()));
    WORDS.iter().find(|(_, words)| stands_for(words)).map(|(level, _)| *level)
}

/// The level of a severity of syslog; 0 is the worst.
pub(crate) fn of_severity(severity: u8) -> Level {
    match severity {
        0..=2 => Level::Critical,
        3 => Level::Error,
        4 => Level::Warning,
        5 | 6 => Level::Text,
        _ => Level::Debug,
    }
}

/// The level of a number in a structured line: up to 7 it is a severity of
/// syslog, from 10 on the scale that begins with trace at 10 and ends with
/// fatal at 60.
pub(crate) fn of_number(number: i64) -> Option<Level> {
    match number {
        0..=7 => Some(of_severity(number as u8)),
        10..=29 => Some(Level::Debug),
        30..=39 => Some(Level::Text),
        40..=49 => Some(Level::Warning),
        50..=59 => Some(Level::Error),
        60..=69 => Some(Level::Critical),
        _ => None,
    }
}

/// The names of syslog's severities.
pub(crate) const SEVERITIES: [&str; 8] =
    ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// The names of syslog's facilities.
pub(crate) const FACILITIES: [&str; 24] = [
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "security",
    "console",
    "solaris-cron",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_of_others_are_understood() {
        assert_eq!(of_word(b"WARN"), Some(Level::Warning));
        assert_eq!(of_word(b"Fatal"), Some(Level::Critical));
        assert_eq!(of_word(b"notice"), Some(Level::Text));
        assert_eq!(of_word(b"whatever"), None);
        assert_eq!(of_number(3), Some(Level::Error));
        assert_eq!(of_number(50), Some(Level::Error));
        assert_eq!(of_number(-1), None);
    }
}
