//! The page that Prometheus reads, in the text format of OpenMetrics 1.0.

use std::fmt::Write as _;

use crate::{Counter, Histogram};

/// The content type of a page.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Units that a family's name may end in.
const UNITS: [&str; 2] = ["seconds", "bytes"];

/// A page under way: families, one after the other.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

/// The samples of one family.
#[derive(Debug)]
pub struct Family<'a> {
    page: &'a mut Page,
    name: &'static str,
    /// What the names of samples end in.
    suffix: &'static str,
}

impl Page {
    /// A page without families.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What only grows; `name` is without the `_total` that its samples have.
    pub fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "counter", "_total", help)
    }

    /// What goes up and down.
    pub fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", "", help)
    }

    /// How long things take, by how many take at most so long.
    pub fn histogram(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "histogram", "", help)
    }

    /// How many things there were, and how long they took together.
    pub fn summary(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "summary", "", help)
    }

    /// What does not change while the program runs: labels say it; `name` is without
    /// the `_info` that its samples have.
    pub fn info(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "info", "_info", help)
    }

    /// The text of the page.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.text.push_str("# EOF\n");
        self.text
    }

    fn family(
        &mut self,
        name: &'static str,
        kind: &str,
        suffix: &'static str,
        help: &str,
    ) -> Family<'_> {
        self.line(format_args!("# TYPE {name} {kind}"));
        let unit = name.rsplit('_').next().filter(|unit| UNITS.contains(unit));
        if let Some(unit) = unit {
            self.line(format_args!("# UNIT {name} {unit}"));
        }
        self.line(format_args!("# HELP {name} {}", escaped(help)));
        Family { page: self, name, suffix }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string never fails.
        let _ = self.text.write_fmt(line);
        self.text.push('\n');
    }
}

impl Family<'_> {
    /// A sample that counts.
    pub fn count(&mut self, labels: &[(&str, &str)], count: u64) -> &mut Self {
        self.sample(self.suffix, labels, None, format_args!("{count}"))
    }

    /// What a counter has.
    pub fn counted(&mut self, labels: &[(&str, &str)], counter: &Counter) -> &mut Self {
        self.count(labels, counter.read())
    }

    /// A sample that measures.
    pub fn value(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        self.sample(self.suffix, labels, None, format_args!("{}", Number(value)))
    }

    /// What a histogram has.
    pub fn buckets(&mut self, labels: &[(&str, &str)], histogram: &Histogram) -> &mut Self {
        let buckets = histogram.read();
        for (bound, count) in &buckets.at_most {
            self.sample("_bucket", labels, Some(*bound), format_args!("{count}"));
        }
        let count = buckets.at_most.last().map_or(0, |(_, count)| *count);
        self.sum(labels, count, buckets.sum)
    }

    /// What a summary has: how many, and their sum.
    pub fn sum(&mut self, labels: &[(&str, &str)], count: u64, sum: f64) -> &mut Self {
        self.sample("_count", labels, None, format_args!("{count}"));
        self.sample("_sum", labels, None, format_args!("{}", Number(sum)))
    }

    fn sample(
        &mut self,
        suffix: &str,
        labels: &[(&str, &str)],
        bound: Option<f64>,
        value: std::fmt::Arguments<'_>,
    ) -> &mut Self {
        let mut all: Vec<_> =
            labels.iter().map(|(name, text)| format!("{name}=\"{}\"", escaped(text))).collect();
        all.extend(bound.map(|bound| format!("le=\"{}\"", Bound(bound))));
        let labels = if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) };
        self.page.line(format_args!("{}{suffix}{labels} {value}", self.name));
        self
    }
}

/// A number as the format has it.
struct Number(f64);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            number => write!(f, "{number}"),
        }
    }
}

/// A bound as the format has it: never without a fraction.
struct Bound(f64);

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            bound if bound.is_finite() => write!(f, "{bound:?}"),
            bound => Number(bound).fmt(f),
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_page_is_what_the_format_says() {
        let (counter, histogram) = (Counter::new(), Histogram::default());
        counter.add(3);
        histogram.observe(Duration::from_millis(30));
        let mut page = Page::new();
        page.counter("drover_jobs", "Jobs that have ended.").counted(&[("state", "OK")], &counter);
        page.gauge("drover_age_seconds", "How old.").value(&[], 1.5).value(&[("a", "b")], 2.0);
        page.info("drover_build", "What runs.").count(&[("version", "0.1\n\"x\\")], 1);
        page.summary("drover_run_seconds", "How long.").sum(&[], 2, 0.25);
        let expected = "\
            # TYPE drover_jobs counter\n\
            # HELP drover_jobs Jobs that have ended.\n\
            drover_jobs_total{state=\"OK\"} 3\n\
            # TYPE drover_age_seconds gauge\n\
            # UNIT drover_age_seconds seconds\n\
            # HELP drover_age_seconds How old.\n\
            drover_age_seconds 1.5\n\
            drover_age_seconds{a=\"b\"} 2\n\
            # TYPE drover_build info\n\
            # HELP drover_build What runs.\n\
            drover_build_info{version=\"0.1\\n\\\"x\\\\\"} 1\n\
            # TYPE drover_run_seconds summary\n\
            # UNIT drover_run_seconds seconds\n\
            # HELP drover_run_seconds How long.\n\
            drover_run_seconds_count 2\n\
            drover_run_seconds_sum 0.25\n\
            # EOF\n";
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn a_histogram_ends_with_all_there_are() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_secs(7200));
        let mut page = Page::new();
        page.histogram("x_seconds", "Long.").buckets(&[("way", "live")], &histogram);
        let text = page.finish();
        for line in [
            "x_seconds_bucket{way=\"live\",le=\"0.0001\"} 0",
            "x_seconds_bucket{way=\"live\",le=\"3600.0\"} 0",
            "x_seconds_bucket{way=\"live\",le=\"+Inf\"} 1",
            "x_seconds_count{way=\"live\"} 1",
            "x_seconds_sum{way=\"live\"} 7200",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}: {text}");
        }
    }
}
