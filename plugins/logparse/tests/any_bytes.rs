//! Whatever is in a log, its lines come out again: all of them, in order, once.

use drover_sdk::lines::parse_all;
use drover_sdk::serde_json::{Value, json};
use logparse::Parser;
use proptest::collection::vec;
use proptest::prelude::*;

fn formats() -> Vec<(&'static str, Value)> {
    let join = |traces| json!({ "multiline": { "join": traces, "max_lines": 5 } });
    vec![
        ("nginx", json!({})),
        ("nginx", json!({ "form": "$a-$b [$msec] \"$request\" $status" })),
        ("apache", json!({ "form": "vhost_combined" })),
        ("nginx-error", json!({})),
        ("apache-error", join("java")),
        ("syslog", join("indented")),
        ("kernel", json!({ "booted": "2024-01-31T11:00:00Z" })),
        ("json", json!({})),
        ("logfmt", json!({})),
        ("regex", json!({ "pattern": "(?<a>[0-9]+)(?<time>.*)" })),
        ("lines", join("python")),
        ("lines", json!({ "multiline": { "start": "^[<{\\[]", "max_bytes": 40 } })),
    ]
}

/// Parts of lines that parsers look for, so that they get somewhere.
fn part() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "\n",
        "\r\n",
        " ",
        "\"",
        "\\",
        "[",
        "]",
        "{",
        "}",
        ":",
        ",",
        "=",
        "<34>",
        "1 ",
        "- ",
        "-",
        "10/Oct/2000:13:55:36 -0700",
        "2024-01-31T12:00:00Z",
        "Oct 11 22:14:15",
        "[   12.5] ",
        "GET / HTTP/1.1",
        "\"GET /x?y HTTP/1.1\"",
        "200",
        "6,339,5140900,-;",
        "error",
        "key=",
        "\"a\":",
        "null",
        "\\u00e4",
        "\\ud83d",
        "Traceback (most recent call last):\n",
        "\tat x\n",
        "[Fri Sep 09 10:42:29.902022 2011] ",
        "[core:error] ",
        "client: ",
        ", client: ",
        "127.0.0.1 - - [",
    ]);
    prop_oneof![known.prop_map(|text: &str| text.as_bytes().to_vec()), vec(any::<u8>(), 1..4)]
}

proptest! {
    #[test]
    fn no_line_is_lost_and_nobody_panics(parts in vec(part(), 0..60)) {
        let text = parts.concat();
        for (format, options) in formats() {
            let events = parse_all::<Parser>(format, &options.to_string(), &text).unwrap();
            let all: Vec<u8> = events.iter().flat_map(|event| event.text.clone()).collect();
            prop_assert_eq!(&all, &text, "{}", format);
        }
    }
}
