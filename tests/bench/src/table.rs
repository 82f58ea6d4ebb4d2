//! A report as people read it.

use comfy_table::{CellAlignment, Table, presets};

use crate::report::{Report, Row, Verdict};

const HEADER: [&str; 8] = ["what", "", "ours", "peer", "limit", "ratio", "bar", "verdict"];

/// The columns of numbers, which are read from the right.
const NUMBERS: std::ops::RangeInclusive<usize> = 2..=5;

/// Draws the report as a table.
pub(crate) fn draw(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(HEADER);
    for row in &report.rows {
        table.add_row(cells(row, report.is_quiet));
    }
    for index in NUMBERS {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

fn cells(row: &Row, is_quiet: bool) -> [String; 8] {
    let verdict = match row.verdict(is_quiet) {
        Verdict::Met => "met",
        Verdict::Missed => "MISSED",
        Verdict::NotJudged => "not judged: busy",
        Verdict::NoBar => "",
    };
    [
        row.name.clone(),
        row.unit.to_owned(),
        number(row.ours),
        number(row.peer),
        number(row.limit),
        row.ratio().map_or_else(String::new, |ratio| format!("{ratio:.2}")),
        row.bar.map_or_else(String::new, |bar| bar.to_string()),
        verdict.to_owned(),
    ]
}

/// Three digits, and thousands set apart.
fn number(value: Option<f64>) -> String {
    let Some(value) = value else { return "–".to_owned() };
    match value.abs() {
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => grouped(&format!("{value:.0}")),
    }
}

fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Bar;

    #[test]
    fn numbers_have_three_digits_or_all_before_the_point() {
        for (value, text) in [
            (Some(0.0), "0.00"),
            (Some(1.234), "1.23"),
            (Some(45.67), "45.7"),
            (Some(999.4), "999"),
            (Some(1234.5), "1 234"),
            (Some(1_234_567.0), "1 234 567"),
            (None, "–"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_missed_bar_stands_out() {
        let row = Row {
            name: "calls, 64 in flight".to_owned(),
            unit: "1/s",
            ours: Some(5000.0),
            peer: Some(1000.0),
            limit: None,
            bar: Some(Bar::AtLeastTimesPeer(6.0)),
        };
        let text = draw(&Report { rows: vec![row], is_quiet: true });
        let words: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        let expected = "calls, 64 in flight 1/s 5 000 1 000 – 5.00 >= 6 x peer MISSED";
        assert_eq!(words.join(" "), expected);
    }
}
