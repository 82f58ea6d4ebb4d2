//! Faults on demand.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What goes wrong with the requests that fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Such as `GET`; any method without it.
    #[serde(default)]
    pub method: Option<String>,
    /// The path without the API version and the query; `*` stands for anything.
    pub path: String,
    /// What happens.
    pub kind: FaultKind,
    /// How many requests it hits; all of them without it.
    #[serde(default)]
    pub times: Option<u32>,
}

/// How a request fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The answer comes this much later, in milliseconds.
    SlowMs(u64),
    /// The connection closes without an answer.
    Refused,
    /// The connection closes in the middle of the answer's body.
    HalfAnswer,
    /// The engine answers with this status and message, and does nothing.
    Status {
        /// Such as 500.
        status: u16,
        /// As in the answer's `message`.
        message: String,
    },
    /// The engine vanishes, as if killed at this request.
    Gone,
}

impl Fault {
    /// A fault of all requests to a path, whatever the method.
    #[must_use]
    pub fn new(path: impl Into<String>, kind: FaultKind) -> Self {
        Self { method: None, path: path.into(), kind, times: None }
    }

    /// The same fault for so many requests only.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    fn fits(&self, method: &str, path: &str) -> bool {
        self.method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && matches(&self.path, path)
    }
}

impl FaultKind {
    /// How long it holds the answer back.
    pub(crate) fn delay(&self) -> Duration {
        match self {
            Self::SlowMs(milliseconds) => Duration::from_millis(*milliseconds),
            _ => Duration::ZERO,
        }
    }
}

/// The faults in force.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// What happens to this request; a fault that has hit often enough is gone.
    pub(crate) fn next(&mut self, method: &str, path: &str) -> Option<FaultKind> {
        let index = self.0.iter().position(|fault| fault.fits(method, path))?;
        let fault = &mut self.0[index];
        let kind = fault.kind.clone();
        if let Some(times) = &mut fault.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                self.0.remove(index);
            }
        }
        Some(kind)
    }
}

/// Whether `text` fits `pattern`, in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = pattern.contains('*').then(|| parts.next_back().unwrap_or_default()) else {
        return rest.is_empty();
    };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        let cases = [
            ("/info", "/info", true),
            ("/info", "/info/x", false),
            ("*", "/anything", true),
            ("/containers/*/start", "/containers/a/start", true),
            ("/containers/*/start", "/containers/a/stop", false),
            ("/containers/*", "/images/json", false),
        ];
        for (pattern, path, fits) in cases {
            assert_eq!(matches(pattern, path), fits, "{pattern} and {path}");
        }
    }

    #[test]
    fn a_counted_fault_ends() {
        let mut faults = Faults::default();
        faults.add(Fault::new("*", FaultKind::Refused).times(1));
        assert_eq!(faults.next("GET", "/x"), Some(FaultKind::Refused));
        assert_eq!(faults.next("GET", "/x"), None);
    }
}
