//! What a benchmark found: rows of numbers, each with its bar if it has one.

use serde::{Serialize, Serializer};

/// One finding.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) ours: Option<f64>,
    pub(crate) peer: Option<f64>,
    pub(crate) limit: Option<f64>,
    pub(crate) bar: Option<Bar>,
}

/// What ours must come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bar {
    /// So many times the peer or more.
    AtLeastTimesPeer(f64),
    /// The peer divided by so much, or less.
    AtMostPartOfPeer(f64),
    /// So many times the limit or more.
    AtLeastTimesLimit(f64),
    /// So many times the limit or less.
    AtMostTimesLimit(f64),
    /// So much or more, in the row's unit.
    AtLeast(f64),
    /// So much or less, in the row's unit.
    AtMost(f64),
    /// Less than so much, in the row's unit.
    Below(f64),
    /// Less than so much where nothing else keeps the machine busy; on a busy
    /// machine it says nothing and is not judged.
    BelowIfQuiet(f64),
}

/// Whether a bar is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is met.
    Met,
    /// It is missed, or what it needs was not measured.
    Missed,
    /// The machine was too busy to tell.
    NotJudged,
    /// The row has no bar.
    NoBar,
}

/// The findings of one run, in order.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    /// Whether nothing else kept the machine busy.
    pub(crate) is_quiet: bool,
}

/// A row as programs read it. `ok` is null where nothing was judged.
#[derive(Serialize)]
struct JsonRow<'a> {
    name: &'a str,
    unit: &'a str,
    #[serde(serialize_with = "rounded")]
    ours: Option<f64>,
    #[serde(serialize_with = "rounded")]
    peer: Option<f64>,
    #[serde(serialize_with = "rounded")]
    limit: Option<f64>,
    #[serde(serialize_with = "rounded")]
    ratio: Option<f64>,
    bar: Option<String>,
    ok: Option<bool>,
}

impl Row {
    /// Ours divided by what the bar compares it with; without such a bar by
    /// the peer, or by the limit where there is no peer.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let other = match self.bar {
            Some(Bar::AtMostTimesLimit(_) | Bar::AtLeastTimesLimit(_)) => self.limit,
            Some(Bar::AtLeastTimesPeer(_) | Bar::AtMostPartOfPeer(_)) => self.peer,
            _ => self.peer.or(self.limit),
        };
        other.filter(|&other| other > 0.0).and_then(|other| Some(self.ours? / other))
    }

    pub(crate) fn verdict(&self, is_quiet: bool) -> Verdict {
        let Some(bar) = self.bar else { return Verdict::NoBar };
        let is_met = match bar {
            Bar::BelowIfQuiet(_) if !is_quiet => return Verdict::NotJudged,
            Bar::AtLeastTimesPeer(bar) | Bar::AtLeastTimesLimit(bar) => {
                self.ratio().is_some_and(|ratio| bar <= ratio)
            }
            Bar::AtMostPartOfPeer(bar) => self.ratio().is_some_and(|ratio| ratio * bar <= 1.0),
            Bar::AtMostTimesLimit(bar) => self.ratio().is_some_and(|ratio| ratio <= bar),
            Bar::AtLeast(bar) => self.ours.is_some_and(|ours| bar <= ours),
            Bar::AtMost(bar) => self.ours.is_some_and(|ours| ours <= bar),
            Bar::Below(bar) | Bar::BelowIfQuiet(bar) => self.ours.is_some_and(|ours| ours < bar),
        };
        if is_met { Verdict::Met } else { Verdict::Missed }
    }
}

impl Report {
    /// Whether no bar is missed.
    pub(crate) fn is_ok(&self) -> bool {
        self.rows.iter().all(|row| row.verdict(self.is_quiet) != Verdict::Missed)
    }

    /// The rows as an indented JSON array.
    pub(crate) fn to_json(&self) -> serde_json::Result<String> {
        let rows: Vec<_> = self.rows.iter().map(|row| self.json_row(row)).collect();
        serde_json::to_string_pretty(&rows)
    }

    fn json_row<'a>(&self, row: &'a Row) -> JsonRow<'a> {
        JsonRow {
            name: &row.name,
            unit: row.unit,
            ours: row.ours,
            peer: row.peer,
            limit: row.limit,
            ratio: row.ratio(),
            bar: row.bar.map(|bar| bar.to_string()),
            ok: match row.verdict(self.is_quiet) {
                Verdict::Met => Some(true),
                Verdict::Missed => Some(false),
                Verdict::NotJudged | Verdict::NoBar => None,
            },
        }
    }
}

impl std::fmt::Display for Bar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeastTimesPeer(bar) => write!(f, ">= {bar} x peer"),
            Self::AtMostPartOfPeer(bar) => write!(f, "<= peer / {bar}"),
            Self::AtLeastTimesLimit(bar) => write!(f, ">= {bar} x limit"),
            Self::AtMostTimesLimit(bar) => write!(f, "<= {bar} x limit"),
            Self::AtLeast(bar) => write!(f, ">= {bar}"),
            Self::AtMost(bar) => write!(f, "<= {bar}"),
            Self::Below(bar) => write!(f, "< {bar}"),
            Self::BelowIfQuiet(bar) => write!(f, "< {bar} if quiet"),
        }
    }
}

/// Three decimals are more than was measured, and a file of them is readable.
fn rounded<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    let rounded = value.map(|value| (value * 1000.0).round() / 1000.0);
    rounded.serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: f64, bar: Bar) -> Row {
        Row {
            name: "calls".to_owned(),
            unit: "1/s",
            ours: Some(ours),
            peer: Some(10.0),
            limit: Some(100.0),
            bar: Some(bar),
        }
    }

    #[test]
    fn each_bar_compares_with_what_it_names() {
        for (bar, met, missed) in [
            (Bar::AtLeastTimesPeer(6.0), 60.0, 59.9),
            (Bar::AtMostPartOfPeer(4.0), 2.5, 2.6),
            (Bar::AtLeastTimesLimit(0.5), 50.0, 49.9),
            (Bar::AtMostTimesLimit(1.5), 150.0, 150.1),
            (Bar::AtLeast(8.0), 8.0, 7.9),
            (Bar::AtMost(30.0), 30.0, 30.1),
            (Bar::Below(0.5), 0.4, 0.5),
            (Bar::BelowIfQuiet(1000.0), 999.0, 1000.0),
        ] {
            assert_eq!(row(met, bar).verdict(true), Verdict::Met, "{bar}");
            assert_eq!(row(missed, bar).verdict(true), Verdict::Missed, "{bar}");
        }
    }

    #[test]
    fn a_bar_without_its_numbers_is_missed() {
        for bar in [Bar::AtLeastTimesPeer(6.0), Bar::AtMostTimesLimit(1.5)] {
            let row = Row { peer: None, limit: None, ..row(1000.0, bar) };
            assert_eq!(row.verdict(true), Verdict::Missed);
        }
        let row = Row { ours: None, ..row(0.0, Bar::Below(1.0)) };
        assert_eq!(row.verdict(true), Verdict::Missed);
    }

    #[test]
    fn a_busy_machine_is_no_reason_to_miss_a_bar_for_quiet_ones() {
        assert_eq!(row(2000.0, Bar::BelowIfQuiet(1000.0)).verdict(false), Verdict::NotJudged);
        assert_eq!(row(2000.0, Bar::AtMost(1000.0)).verdict(false), Verdict::Missed);
    }

    #[test]
    fn a_report_fails_with_its_first_missed_bar() {
        let met = row(60.0, Bar::AtLeastTimesPeer(6.0));
        let missed = row(50.0, Bar::AtLeastTimesPeer(6.0));
        let plain = Row { bar: None, ..met.clone() };
        assert!(Report { rows: vec![met.clone(), plain], is_quiet: true }.is_ok());
        assert!(!Report { rows: vec![met, missed], is_quiet: true }.is_ok());
    }

    #[test]
    fn programs_read_every_field_of_every_row() {
        let rows = vec![
            row(75.0, Bar::AtLeastTimesPeer(6.0)),
            Row { limit: None, bar: None, ..row(1.0, Bar::AtMost(0.0)) },
        ];
        let json = Report { rows, is_quiet: true }.to_json().unwrap();
        let rows: serde_json::Value = serde_json::from_str(&json).unwrap();
        let expected = serde_json::json!([
            {"name": "calls", "unit": "1/s", "ours": 75.0, "peer": 10.0, "limit": 100.0,
             "ratio": 7.5, "bar": ">= 6 x peer", "ok": true},
            {"name": "calls", "unit": "1/s", "ours": 1.0, "peer": 10.0, "limit": null,
             "ratio": 0.1, "bar": null, "ok": null},
        ]);
        assert_eq!(rows, expected);
    }
}
