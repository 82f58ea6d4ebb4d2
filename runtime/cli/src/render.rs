//! Answers as people read them: tables, indented fields, times ago.

use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets};
use drover_api::Timestamp;
use serde_json::{Map, Value};

/// A list of plain values up to this width stays on one line.
const LINE_WIDTH: usize = 100;

/// Rows under a header, columns aligned, no lines.
pub(crate) fn table<R>(header: &[&str], rows: impl IntoIterator<Item = R>) -> String
where
    R: IntoIterator<Item = String>,
{
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|name| name.to_uppercase()));
    for row in rows {
        table.add_row(row.into_iter().map(|cell| cell.replace('\n', " ")));
    }
    let mut text = String::new();
    for line in table.lines() {
        // The preset pads every cell with a space on both sides.
        let line = line.strip_prefix(' ').unwrap_or(&line);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// How long ago, in the largest unit that fits.
pub(crate) fn ago(time: Timestamp) -> String {
    let seconds = Timestamp::now().since(time).as_secs();
    match seconds {
        0..60 => format!("{seconds}s ago"),
        60..3600 => format!("{}m ago", seconds / 60),
        3600..86_400 => format!("{}h ago", seconds / 3600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

/// What a job is called, below what it is sorted under.
pub(crate) fn job_name(domain: &str, name: &str) -> String {
    if domain.is_empty() { name.to_owned() } else { format!("{domain}.{name}") }
}

/// A size in the unit that fits.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    let mut rest = count;
    let mut unit = "B";
    for larger in UNITS {
        if rest < 1000 {
            break;
        }
        if rest < 10_000 {
            return format!("{}.{} {larger}", rest / 1000, rest % 1000 / 100);
        }
        (rest, unit) = (rest / 1000, larger);
    }
    format!("{rest} {unit}")
}

/// How long until then, in the largest unit that fits.
pub(crate) fn until(time: Timestamp) -> String {
    let seconds = time.since(Timestamp::now()).as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        _ => format!("{}h", seconds / 3600),
    }
}

/// A JSON value: fields one a line, lists of alike objects as tables.
pub(crate) fn value(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value, 0);
    text
}

fn write_value(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(fields) => write_fields(text, fields, depth),
        Value::Array(items) => write_items(text, items, depth),
        plain => indent(text, &scalar(plain), depth),
    }
}

fn write_fields(text: &mut String, fields: &Map<String, Value>, depth: usize) {
    let width = fields
        .iter()
        .filter(|(_, field)| one_line(field).is_some())
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    for (name, field) in fields {
        if let Some(line) = one_line(field) {
            indent(text, format!("{name:width$}  {line}").trim_end(), depth);
        } else {
            indent(text, name, depth);
            write_value(text, field, depth + 1);
        }
    }
}

fn write_items(text: &mut String, items: &[Value], depth: usize) {
    if let Some(rows) = as_table(items) {
        for line in rows.lines() {
            indent(text, line, depth);
        }
        return;
    }
    for item in items {
        match one_line(item) {
            Some(line) => indent(text, &format!("- {line}"), depth),
            None => {
                indent(text, "-", depth);
                write_value(text, item, depth + 1);
            }
        }
    }
}

/// Objects whose fields all fit into cells, as a table.
fn as_table(items: &[Value]) -> Option<String> {
    let rows: Vec<_> = items.iter().map(Value::as_object).collect::<Option<_>>()?;
    let mut columns: Vec<&str> = Vec::new();
    for (name, field) in rows.iter().flat_map(|row| row.iter()) {
        one_line(field)?;
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    let cell = |row: &Map<String, Value>, name: &&str| {
        row.get(*name).and_then(one_line).unwrap_or_default()
    };
    let cells =
        rows.iter().map(|row| columns.iter().map(|name| cell(row, name)).collect::<Vec<_>>());
    (!columns.is_empty()).then(|| table(&columns, cells))
}

/// What fits on one line: a plain value, or a short list of them.
fn one_line(value: &Value) -> Option<String> {
    match value {
        Value::Object(_) => None,
        Value::Array(items) => {
            let is_plain = items.iter().all(|item| !item.is_object() && !item.is_array());
            let line = items.iter().map(scalar).collect::<Vec<_>>().join(", ");
            (is_plain && line.len() <= LINE_WIDTH).then_some(line)
        }
        Value::String(text) if text.contains('\n') => None,
        plain => Some(scalar(plain)),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(fraction) if number.is_f64() => format!("{fraction:.2}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

fn indent(text: &mut String, lines: &str, depth: usize) {
    for line in lines.split('\n') {
        let _ = writeln!(text, "{:width$}{line}", "", width = depth * 2);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_have_a_unit_that_fits() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_540, "1.5 kB"),
            (21_500, "21 kB"),
            (999_999, "999 kB"),
            (8_123_456, "8.1 MB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn plain_values_stand_alone() {
        assert_eq!(value(&json!("a\nb")), "a\nb\n");
        assert_eq!(value(&json!(7)), "7\n");
        assert_eq!(value(&json!(null)), "-\n");
    }

    #[test]
    fn fields_are_aligned_and_nested_ones_indented() {
        let text = value(&json!({"total": 8, "cpu": {"load": [0.5, 1.25]}, "n": "x"}));
        assert_eq!(text, "cpu\n  load  0.50, 1.25\nn      x\ntotal  8\n");
    }

    #[test]
    fn alike_objects_become_a_table() {
        let text = value(&json!([{"name": "sda", "size": 1}, {"name": "sdb", "size": 20}]));
        assert_eq!(text, "NAME  SIZE\nsda   1\nsdb   20\n");
    }

    #[test]
    fn objects_that_fit_no_table_become_a_list() {
        let text = value(&json!([{"a": {"b": 1}}, 2]));
        assert_eq!(text, "-\n  a\n    b  1\n- 2\n");
    }

    #[test]
    fn nothing_prints_nothing() {
        assert_eq!(value(&json!([])), "");
        assert_eq!(value(&json!({})), "");
    }

    #[test]
    fn times_are_told_in_the_largest_unit() {
        let before = |seconds: u64| Timestamp(Timestamp::now().0 - seconds * 1000);
        assert_eq!(ago(before(5)), "5s ago");
        assert_eq!(ago(before(125)), "2m ago");
        assert_eq!(ago(before(7200)), "2h ago");
        assert_eq!(ago(before(200_000)), "2d ago");
    }
}
