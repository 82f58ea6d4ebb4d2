//! One line of statsd: `name:value|kind`, with what clients add to it.

use serde::{Deserialize, Serialize};

/// What a metric's numbers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MetricKind {
    /// `c`: numbers to be added up.
    Counter,
    /// `g`: a level, which stays until it is set again; a sign changes it by
    /// so much. `kv`, JumpScale's plain number, is one whose sign is its own.
    Gauge,
    /// `ms`: how long something took, in milliseconds.
    Timer,
    /// `h`: how large something was.
    Histogram,
    /// `d`: as a histogram, to be summed up over many nodes.
    Distribution,
    /// `s`: anything; how many different ones there were is what counts.
    Set,
}

/// One line, as borrowed from the text it came in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric<'a> {
    /// The series that the numbers belong to, together with `kind` and `tags`.
    pub name: &'a [u8],
    /// What the numbers mean.
    pub kind: MetricKind,
    /// Whether the sign of a gauge's number says that it is a change.
    pub sign_is_change: bool,
    /// One value, or several with colons between them; of a set always one.
    pub values: &'a [u8],
    /// How often the client told: 0.1 is one time in ten. Above 0, at most 1.
    pub rate: f64,
    /// Tags with commas between them, in the client's order; empty if none.
    pub tags: &'a [u8],
}

/// The longest line, and the longest part of a packet without a line end.
const LONGEST_LINE: usize = 8 * 1024;

impl<'a> Metric<'a> {
    /// Reads one line without its end; `None` if it is no metric. The values
    /// are looked at by [`Metric::numbers`] only.
    ///
    /// Taken are the fields `@rate` and `#tags`; others that DogStatsD clients
    /// send (container, timestamp) say nothing about the number and are
    /// ignored. Its events (`_e`) and service checks (`_sc`) are no metrics.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        if line.len() > LONGEST_LINE {
            return None;
        }
        let (name, rest) = split_at_byte(line, b':')?;
        let (values, rest) = split_at_byte(rest, b'|')?;
        let (kind, mut fields) = split_at_byte(rest, b'|').unwrap_or((rest, b""));
        if name.is_empty() || values.is_empty() {
            return None;
        }
        let (kind, sign_is_change) = match kind {
            b"c" => (MetricKind::Counter, false),
            b"g" => (MetricKind::Gauge, true),
            b"kv" => (MetricKind::Gauge, false),
            b"ms" => (MetricKind::Timer, false),
            b"h" => (MetricKind::Histogram, false),
            b"d" => (MetricKind::Distribution, false),
            b"s" => (MetricKind::Set, false),
            _ => return None,
        };
        let mut metric = Self { name, kind, sign_is_change, values, rate: 1.0, tags: b"" };
        while !fields.is_empty() {
            let (field, rest) = split_at_byte(fields, b'|').unwrap_or((fields, b""));
            match field.split_first() {
                Some((b'@', rate)) => metric.rate = parse_rate(rate)?,
                Some((b'#', tags)) => metric.tags = tags,
                _ => {}
            }
            fields = rest;
        }
        Some(metric)
    }

    /// The values as numbers; an item is `None` if it is no finite number.
    pub fn numbers(&self) -> impl Iterator<Item = Option<Number>> + use<'a> {
        self.values.split(|&byte| byte == b':').map(|text| {
            let has_sign = matches!(text.first(), Some(b'+' | b'-'));
            parse_number(text).map(|value| Number { value, has_sign })
        })
    }
}

/// One value of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number {
    /// The number; always finite.
    pub value: f64,
    /// Whether it was written with a sign, which makes it a gauge's change.
    pub has_sign: bool,
}

/// A line is short: a plain loop is done before a vector search has begun.
fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&b| b == byte)?;
    Some((&text[..at], &text[at + 1..]))
}

fn parse_rate(text: &[u8]) -> Option<f64> {
    parse_number(text).filter(|rate| *rate > 0.0 && *rate <= 1.0)
}

/// Reads a finite number. Plain decimals of up to 15 digits, which is what
/// clients write, take a short way that is exact; others the library's.
fn parse_number(text: &[u8]) -> Option<f64> {
    const POWERS: [f64; 16] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let (digits, sign) = match text.split_first()? {
        (b'-', digits) => (digits, -1.0),
        (b'+', digits) => (digits, 1.0),
        _ => (text, 1.0),
    };
    let (mut number, mut decimals, mut seen_point) = (0_u64, 0_usize, false);
    for &byte in digits.iter().take(17) {
        match byte {
            b'0'..=b'9' => {
                number = number * 10 + u64::from(byte - b'0');
                decimals += usize::from(seen_point);
            }
            b'.' if !seen_point => seen_point = true,
            _ => return parse_any_number(text),
        }
    }
    let count = digits.len() - usize::from(seen_point);
    if count == 0 || count > 15 {
        return parse_any_number(text);
    }
    #[expect(clippy::cast_precision_loss, reason = "15 digits fit")]
    let number = number as f64;
    Some(sign * number / POWERS[decimals])
}

#[cold]
fn parse_any_number(text: &[u8]) -> Option<f64> {
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Name, kind, numbers, rate and tags.
    type Read = (String, MetricKind, Vec<Option<f64>>, f64, String);

    fn parse(line: &str) -> Option<Read> {
        let metric = Metric::parse(line.as_bytes())?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let numbers = metric.numbers().map(|n| n.map(|n| n.value)).collect();
        Some((text(metric.name), metric.kind, numbers, metric.rate, text(metric.tags)))
    }

    #[test]
    fn what_clients_send_is_read() {
        use MetricKind::{Counter, Distribution, Gauge, Histogram, Timer};
        for (line, name, kind, number, rate, tags) in [
            ("gorets:1|c", "gorets", Counter, 1.0, 1.0, ""),
            ("gorets:-1|c|@0.1", "gorets", Counter, -1.0, 0.1, ""),
            ("glork:320|ms|@0.5", "glork", Timer, 320.0, 0.5, ""),
            ("gaugor:+10.25|g", "gaugor", Gauge, 10.25, 1.0, ""),
            ("a.b:1e3|kv", "a.b", Gauge, 1000.0, 1.0, ""),
            ("a:1|h|#x:1,y|@1", "a", Histogram, 1.0, 1.0, "x:1,y"),
            ("a:2|d|@0.5|#x:1|c:ci-8|T1656581400", "a", Distribution, 2.0, 0.5, "x:1"),
            ("a b/ü:.5|g", "a b/ü", Gauge, 0.5, 1.0, ""),
        ] {
            let expected = (name.to_owned(), kind, vec![Some(number)], rate, tags.to_owned());
            assert_eq!(parse(line), Some(expected), "{line}");
        }
    }

    #[test]
    fn one_line_may_hold_several_values() {
        let metric = Metric::parse(b"a:1:2.5:x|ms").unwrap();
        let numbers: Vec<_> = metric.numbers().map(|n| n.map(|n| n.value)).collect();
        assert_eq!(numbers, [Some(1.0), Some(2.5), None]);
        // What is counted in a set may be anything.
        assert_eq!(Metric::parse(b"a:x:y|s").unwrap().values, b"x:y");
    }

    #[test]
    fn what_is_no_metric_is_refused() {
        for line in
            ["", "a", "a:1", "a|c", ":1|c", "a:|c", "a:1|x", "a:1|c|@2", "a:1|c|@0", "a:1|c|@x"]
        {
            assert_eq!(Metric::parse(line.as_bytes()), None, "{line}");
        }
        assert_eq!(Metric::parse(b"_e{5,4}:title|text"), None);
        assert_eq!(Metric::parse(b"_sc|name|0"), None);
        assert_eq!(Metric::parse(&[b'x'; LONGEST_LINE + 1]), None);
        for number in ["", "x", "1x", "1.2.3", "--1", ".", "nan", "inf", "1e999"] {
            assert_eq!(parse_number(number.as_bytes()), None, "{number}");
        }
    }

    proptest! {
        #[test]
        fn the_short_way_reads_numbers_as_the_library_does(
            text in "[+-]?[0-9]{1,9}(\\.[0-9]{0,9})?",
        ) {
            prop_assert_eq!(parse_number(text.as_bytes()), Some(text.parse().unwrap()));
        }

        #[test]
        fn no_bytes_panic(line in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(metric) = Metric::parse(&line) {
                let _ = metric.numbers().count();
            }
        }
    }
}
