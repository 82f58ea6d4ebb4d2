//! What a job measures: checked, counted, and written as statsd has it.
//!
//! Nothing that a plugin says gets into a line without a check, so that no name
//! or tag can be the beginning of another metric.

use std::collections::HashSet;
use std::fmt::Write;

use crate::bindings::drover::plugin::metrics::{Error, Measure, Sample};

/// Series of one job; see `wit/metrics.wit`.
pub(crate) const SERIES: usize = 200;
/// The longest name of a metric, in bytes.
const NAME: usize = 128;
/// The longest name of a tag, in bytes.
const TAG_NAME: usize = 64;
/// The longest value of a tag, in bytes.
const TAG_VALUE: usize = 128;
/// Tags of one metric.
const TAGS: usize = 16;
/// The longest member of a set, in bytes.
const MEMBER: usize = 512;

/// The series of one job.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    series: HashSet<String>,
}

impl Measured {
    /// Writes a sample as a line behind `lines`, which is as it was if the sample
    /// is refused.
    pub(crate) fn write(&mut self, sample: &Sample, lines: &mut String) -> Result<(), Error> {
        let Sample { name, tags, measure } = sample;
        check(name, NAME, "the name of a metric")?;
        if tags.len() > TAGS {
            return Err(Error::Invalid(format!("`{name}` has more than {TAGS} tags")));
        }
        for (tag, value) in tags {
            check(tag, TAG_NAME, "the name of a tag")?;
            check_text(value, TAG_VALUE, &['|', ','], "the value of a tag")?;
        }
        let kind = match measure {
            Measure::Count(value) => finite(*value).map(|()| "c")?,
            Measure::Gauge(value) => finite(*value).map(|()| "kv")?,
            Measure::GaugeChange(change) => finite(*change).map(|()| "g")?,
            Measure::Timing(ms) => finite(*ms).map(|()| "ms")?,
            Measure::Member(member) => {
                check_text(member, MEMBER, &['|'], "a member of a set").map(|()| "s")?
            }
        };
        let mut tags: Vec<_> = tags.iter().map(|(tag, value)| format!("{tag}:{value}")).collect();
        tags.sort_unstable();
        let tags = tags.join(",");
        // Setting and changing a gauge is one series.
        let series = format!("{}|{name}|{tags}", if kind == "kv" { "g" } else { kind });
        if !self.series.contains(&series) {
            if self.series.len() == SERIES {
                return Err(Error::TooManySeries(SERIES as u32));
            }
            self.series.insert(series);
        }
        let value = match measure {
            Measure::Count(value) | Measure::Gauge(value) | Measure::Timing(value) => {
                value.to_string()
            }
            Measure::GaugeChange(change) => format!("{change:+}"),
            Measure::Member(member) => member.clone(),
        };
        let tags = if tags.is_empty() { tags } else { format!("|#{tags}") };
        writeln!(lines, "{name}:{value}|{kind}{tags}").expect("a text takes everything");
        Ok(())
    }
}

fn finite(value: f64) -> Result<(), Error> {
    if value.is_finite() { Ok(()) } else { Err(Error::NotFinite) }
}

/// Checks a name. What begins with `_` is the host's own.
fn check(name: &str, most: usize, what: &str) -> Result<(), Error> {
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || ".-_/".contains(letter);
    let is_right = name.len() <= most
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(is_allowed);
    match is_right {
        true => Ok(()),
        false => Err(Error::Invalid(format!(
            "{:?} is not {what}: use letters, digits, `.`, `-`, `_` and `/`, beginning with a \
             letter, at most {most}",
            start_of(name)
        ))),
    }
}

fn check_text(text: &str, most: usize, refused: &[char], what: &str) -> Result<(), Error> {
    let is_refused = |letter: char| letter.is_control() || refused.contains(&letter);
    match (1..=most).contains(&text.len()) && !text.contains(is_refused) {
        true => Ok(()),
        false => Err(Error::Invalid(format!(
            "{:?} is not {what}: use 1 to {most} bytes, without control characters and {}",
            start_of(text),
            refused.iter().map(|letter| format!("`{letter}`")).collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// As much of a text as people need to recognise it.
fn start_of(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(name: &str, tags: &[(&str, &str)], measure: Measure) -> Sample {
        let tags = tags.iter().map(|&(tag, value)| (tag.to_owned(), value.to_owned())).collect();
        Sample { name: name.to_owned(), tags, measure }
    }

    fn line(sample: &Sample) -> Result<String, Error> {
        let mut lines = String::new();
        Measured::default().write(sample, &mut lines).map(|()| lines)
    }

    #[test]
    fn samples_are_lines_of_statsd() {
        for (measure, tags, expected) in [
            (Measure::Count(2.0), &[][..], "a.b:2|c\n"),
            (Measure::Gauge(-0.5), &[("y", "2"), ("x", "/ 1")], "a.b:-0.5|kv|#x:/ 1,y:2\n"),
            (Measure::GaugeChange(3.0), &[], "a.b:+3|g\n"),
            (Measure::GaugeChange(-3.0), &[], "a.b:-3|g\n"),
            (Measure::Timing(12.5), &[("x", "a:b")], "a.b:12.5|ms|#x:a:b\n"),
            (Measure::Member("ada:1".to_owned()), &[], "a.b:ada:1|s\n"),
        ] {
            assert_eq!(line(&sample("a.b", tags, measure)).unwrap(), expected);
        }
    }

    #[test]
    fn nothing_that_breaks_a_rule_becomes_a_line() {
        let one = || Measure::Count(1.0);
        let long = "x".repeat(513);
        for wrong in [
            sample("", &[], one()),
            sample("_cpu_", &[], one()),
            sample("1a", &[], one()),
            sample("a b", &[], one()),
            sample("a:1|c\nb", &[], one()),
            sample("ä", &[], one()),
            sample(&long, &[], one()),
            sample("a", &[("", "x")], one()),
            sample("a", &[("x", "")], one()),
            sample("a", &[("x", "1,y:2")], one()),
            sample("a", &[("x", "1|@0.1")], one()),
            sample("a", &[("x", "1\nb:1|c")], one()),
            sample("a", &[("x", &long)], one()),
            sample("a", &[("x", "1"); 17], one()),
            sample("a", &[], Measure::Member(String::new())),
            sample("a", &[], Measure::Member("x|c".to_owned())),
            sample("a", &[], Measure::Member("x\ny".to_owned())),
            sample("a", &[], Measure::Member(long.clone())),
        ] {
            assert!(matches!(line(&wrong), Err(Error::Invalid(_))), "{wrong:?}");
        }
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for measure in [Measure::Count(value), Measure::Gauge(value), Measure::Timing(value)] {
                assert!(matches!(line(&sample("a", &[], measure)), Err(Error::NotFinite)));
            }
        }
    }

    #[test]
    fn a_job_has_so_many_series_and_goes_on_with_those() {
        let mut measured = Measured::default();
        let mut lines = String::new();
        let mut take = |name: &str, tags: &[(&str, &str)], measure| {
            measured.write(&sample(name, tags, measure), &mut lines)
        };
        for index in 0..SERIES {
            take("a", &[("x", &index.to_string()), ("y", "1")], Measure::Gauge(1.0)).unwrap();
        }
        let refused = take("a", &[], Measure::Gauge(1.0));
        assert!(matches!(refused, Err(Error::TooManySeries(200))));
        take("a", &[("y", "1"), ("x", "7")], Measure::GaugeChange(1.0)).unwrap();
        assert_eq!(lines.lines().count(), SERIES + 1);
    }

    proptest! {
        #[test]
        fn a_sample_is_one_line_or_none(name in "[a:|\n]{1,4}", tag in "[a:|,#\n]{1,4}", text in "\\PC{0,6}|[a|\n]{0,3}") {
            let sample = sample(&name, &[("t", &tag)], Measure::Member(text));
            if let Ok(line) = line(&sample) {
                prop_assert_eq!(line.matches('\n').count(), 1);
                prop_assert_eq!(line.matches('|').count(), 2);
            }
        }
    }
}
