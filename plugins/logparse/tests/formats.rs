//! Lines as programs write them, and what becomes of them.

#![expect(
    clippy::unwrap_used,
    reason = "clippy allows it in the test functions, and not beside them"
)]

use drover_sdk::lines::{LineParser, OpenError, Tried, parse_all};
use drover_sdk::serde_json::{Value, json};
use logparse::Parser;

const TEXT: u8 = 5;
const WARNING: u8 = 7;
const ERROR: u8 = 8;
const CRITICAL: u8 = 9;
const DEBUG: u8 = 11;

fn events(format: &str, options: &Value, text: &[u8]) -> Vec<Tried> {
    let events = parse_all::<Parser>(format, &options.to_string(), text).unwrap();
    let all: Vec<u8> = events.iter().flat_map(|event| event.text.clone()).collect();
    assert_eq!(all, text, "the events are the lines");
    events
}

/// The event of one line, which is of its format.
fn event(format: &str, options: &Value, line: &str) -> Tried {
    let mut events = events(format, options, line.as_bytes());
    assert_eq!(events.len(), 1, "{line}");
    let event = events.remove(0);
    assert!(event.is_parsed, "{line}");
    event
}

fn is_parsed(format: &str, options: &Value, line: &[u8]) -> bool {
    events(format, options, line)[0].is_parsed
}

fn expect(event: &Tried, time_ms: u64, level: u8, fields: &Value) {
    assert_eq!(Value::Object(event.fields.clone()), *fields);
    assert_eq!((event.time_ms, event.level), (time_ms, level), "{event:?}");
}

fn why_not(format: &str, options: &Value) -> String {
    match Parser::open(format, &options.to_string()) {
        Err(OpenError::InvalidOptions(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn lines_of_one_second_and_of_others_have_their_own_times() {
    let line = |time| format!("::1 - - [10/Oct/2000:13:55:{time}] \"-\" 200 0 \"-\" \"-\"\n");
    let times =
        ["36 -0700", "36 -0700", "37 -0700", "99 -0700", "37 -0700", "37 +0000", "36 -0700"];
    let events = events("nginx", &json!({}), times.map(line).concat().as_bytes());
    let read: Vec<_> = events.iter().map(|event| event.time_ms).collect();
    let (six, seven) = (971_211_336_000, 971_211_337_000);
    assert_eq!(read, [six, six, seven, 0, seven, seven - 7 * 3_600_000, six]);
}

#[test]
fn combined_lines_of_nginx() {
    let line = r#"203.0.113.7 - ada [10/Oct/2000:13:55:36 -0700] "GET /a/b?c=d HTTP/1.1" 200 2326 "https://example.org/" "Mozilla/5.0 (X11)""#;
    expect(
        &event("nginx", &json!({}), line),
        971_211_336_000,
        TEXT,
        &json!({
            "client": "203.0.113.7", "user": "ada", "method": "GET", "path": "/a/b", "query": "c=d",
            "protocol": "HTTP/1.1", "status": 200, "bytes": 2326,
            "referer": "https://example.org/", "agent": "Mozilla/5.0 (X11)",
        }),
    );
    let line = r#"2001:db8::1 - - [10/Oct/2000:13:55:36 -0700] "-" 400 0 "-" "a \x22b\x22""#;
    expect(
        &event("nginx", &json!({}), line),
        971_211_336_000,
        TEXT,
        &json!({
            "client": "2001:db8::1", "status": 400, "bytes": 0, "agent": "a \"b\"",
        }),
    );
    let line = r#"::1 - - [10/Oct/2000:13:55:36 -0700] "\x16\x03\x01" 502 150 "-" "-""#;
    expect(
        &event("nginx", &json!({}), line),
        971_211_336_000,
        ERROR,
        &json!({
            "client": "::1", "request": "\u{16}\u{3}\u{1}", "status": 502, "bytes": 150,
        }),
    );
}

#[test]
fn the_level_of_an_answer_can_be_chosen() {
    let line = |status| {
        format!(r#"::1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" {status} 0 "-" "-""#)
    };
    let options = json!({ "client_errors": "warning", "server_errors": "critical" });
    for (status, level) in [(304, TEXT), (404, WARNING), (503, CRITICAL)] {
        assert_eq!(event("nginx", &options, &line(status)).level, level);
    }
}

#[test]
fn lines_of_a_log_format_of_ones_own() {
    let form = r#"$host ${remote_addr} [$time_iso8601] "$request" $status rt=$request_time uct="$upstream_response_time" $cache"#;
    let line = r#"example.org 198.51.100.1 [2024-01-31T12:00:00+01:00] "POST /x HTTP/2.0" 201 rt=0.042 uct="0.001, 0.2" HIT"#;
    expect(
        &event("nginx", &json!({ "form": form }), line),
        1_706_698_800_000,
        TEXT,
        &json!({
            "host": "example.org", "client": "198.51.100.1", "method": "POST", "path": "/x",
            "protocol": "HTTP/2.0", "status": 201, "request_time": 0.042,
            "upstream_response_time": "0.001, 0.2", "cache": "HIT",
        }),
    );
    assert!(why_not("nginx", &json!({ "form": "$a$b" })).contains("where `a` ends and `b` begins"));
    assert!(why_not("nginx", &json!({ "form": "common" })).contains("no variables"));
}

#[test]
fn lines_of_apache() {
    let line =
        r#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326"#;
    expect(
        &event("apache", &json!({ "form": "common" }), line),
        971_211_336_000,
        TEXT,
        &json!({
            "client": "127.0.0.1", "user": "frank", "method": "GET", "path": "/apache_pb.gif",
            "protocol": "HTTP/1.0", "status": 200, "bytes": 2326,
        }),
    );
    let line = r#"www.example.org:443 ::1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 304 - "-" "say \"hi\"""#;
    expect(
        &event("apache", &json!({ "form": "vhost_combined" }), line),
        971_211_336_000,
        TEXT,
        &json!({
            "host": "www.example.org", "port": 443, "client": "::1", "method": "GET", "path": "/",
            "protocol": "HTTP/1.1", "status": 304, "agent": "say \"hi\"",
        }),
    );
    let form = r#"%a %{X-Forwarded-For}i %t \"%r\" %>s %D %{msec}t %I 100%%"#;
    let line = r#"10.0.0.1 192.0.2.1 [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 1234 971211336123 77 100%"#;
    expect(
        &event("apache", &json!({ "form": form }), line),
        971_211_336_123,
        TEXT,
        &json!({
            "client": "10.0.0.1", "forwarded_for": "192.0.2.1", "method": "GET", "path": "/",
            "protocol": "HTTP/1.1", "status": 200, "duration_us": 1234, "received_bytes": 77,
        }),
    );
    assert!(why_not("apache", &json!({ "form": "%h %" })).contains("no directive"));
}

#[test]
fn errors_of_nginx() {
    let line = r#"2024/01/31 12:00:00 [error] 31#32: *908 open() "/srv/x, y" failed (2: No such file or directory), client: 192.0.2.1, server: example.org, request: "GET /x HTTP/1.1", host: "example.org", referrer: "https://example.org/""#;
    expect(
        &event("nginx-error", &json!({ "zone": "+01:00" }), line),
        1_706_698_800_000,
        ERROR,
        &json!({
            "pid": 31, "tid": 32, "connection": 908,
            "message": "open() \"/srv/x, y\" failed (2: No such file or directory)",
            "client": "192.0.2.1", "server": "example.org", "request": "GET /x HTTP/1.1",
            "host": "example.org", "referer": "https://example.org/",
        }),
    );
    let line =
        "2024/01/31 11:00:00 [emerg] 1#1: bind() to [::]:80 failed (98: Address already in use)";
    expect(
        &event("nginx-error", &json!({}), line),
        1_706_698_800_000,
        CRITICAL,
        &json!({
            "pid": 1, "tid": 1, "message": "bind() to [::]:80 failed (98: Address already in use)",
        }),
    );
}

#[test]
fn errors_of_apache() {
    let line = "[Fri Sep 09 10:42:29.902022 2011] [core:error] [pid 35708:tid 4328636416] [client 72.15.99.187:5410] AH00124: File does not exist: /usr/local/favicon.ico";
    expect(
        &event("apache-error", &json!({}), line),
        1_315_564_949_902,
        ERROR,
        &json!({
            "module": "core", "pid": 35708, "tid": 4_328_636_416_i64, "client": "72.15.99.187",
            "code": "AH00124", "message": "File does not exist: /usr/local/favicon.ico",
        }),
    );
    let line = "[Wed Oct 11 14:32:52 2000] [warn] [client ::1] client denied by server configuration: /export";
    expect(
        &event("apache-error", &json!({}), line),
        971_274_772_000,
        WARNING,
        &json!({
            "client": "::1", "message": "client denied by server configuration: /export",
        }),
    );
    let line = "[Wed Oct 11 14:32:52 2000] [ssl:trace4] [pid 7] (70014)End of file found";
    expect(
        &event("apache-error", &json!({}), line),
        971_274_772_000,
        DEBUG,
        &json!({
            "module": "ssl", "pid": 7, "message": "(70014)End of file found",
        }),
    );
}

#[test]
fn syslog_of_both_kinds() {
    let line = r#"<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog 77 ID47 [exampleSDID@32473 iut="3" eventSource="Appl\"ication"][x@1 y="z\]"] An event"#;
    expect(
        &event("syslog", &json!({}), line),
        1_065_910_455_003,
        TEXT,
        &json!({
            "facility": "local4", "severity": "notice", "host": "mymachine.example.com",
            "program": "evntslog", "pid": 77, "message_id": "ID47",
            "exampleSDID@32473.iut": "3", "exampleSDID@32473.eventSource": "Appl\"ication",
            "x@1.y": "z]", "message": "An event",
        }),
    );
    let line = "<34>1 - - su - - - \u{feff}'su root' failed";
    expect(
        &event("syslog", &json!({}), line),
        0,
        CRITICAL,
        &json!({
            "facility": "auth", "severity": "crit", "program": "su", "message": "'su root' failed",
        }),
    );
    let event =
        event("syslog", &json!({}), "<27>Oct 11 22:14:15 web-1 sshd[812]: Failed password: x");
    assert!(event.time_ms > 1_700_000_000_000, "{event:?}");
    assert_eq!(event.level, ERROR);
    assert_eq!(
        Value::Object(event.fields),
        json!({
            "facility": "daemon", "severity": "err", "host": "web-1", "program": "sshd", "pid": 812,
            "message": "Failed password: x",
        })
    );
}

#[test]
fn what_daemons_write_to_files_has_no_priority() {
    let line = "2024-01-31T12:00:00.123456+01:00 host systemd[1]: Started a thing.";
    expect(
        &event("syslog", &json!({}), line),
        1_706_698_800_123,
        TEXT,
        &json!({
            "host": "host", "program": "systemd", "pid": 1, "message": "Started a thing.",
        }),
    );
    let event = event("syslog", &json!({}), "Feb 29 01:02:03 host last message repeated 3 times");
    assert_eq!(event.fields["message"], "last message repeated 3 times");
    assert!(!is_parsed("syslog", &json!({}), b"<999>1 - - - - - -"));
    assert!(!is_parsed("syslog", &json!({}), b"hello"));
}

#[test]
fn json_lines() {
    let line = r#"{"ts": 1706698800.5, "level":"warn", "msg":"a \"b\" \u00e4","http":{"status":200,"took":0.25,"ok":true,"none":null},"tags":["a",{"b":1}],"big":12345678901234567890}"#;
    expect(
        &event("json", &json!({}), line),
        1_706_698_800_500,
        WARNING,
        &json!({
            "level": "warn", "message": "a \"b\" ä", "http.status": 200, "http.took": 0.25,
            "http.ok": "true", "tags": r#"["a",{"b":1}]"#, "big": 12345678901234567890.0,
        }),
    );
    let line = r#"{"when":"2024-01-31T11:00:00Z","how":50,"what":"x","time":"later"}"#;
    let options = json!({ "time": "when", "level": "how", "message": "what" });
    expect(
        &event("json", &options, line),
        1_706_698_800_000,
        ERROR,
        &json!({
            "how": 50, "message": "x", "time": "later",
        }),
    );
    for wrong in ["{", "{}x", r#"{"a":}"#, "[]", r#"{"a":01x}"#, "x", r#"{"a" 1}"#, r#"{"a":nul}"#]
    {
        assert!(!is_parsed("json", &json!({}), wrong.as_bytes()), "{wrong}");
    }
    let deep = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    assert!(!is_parsed("json", &json!({}), deep.as_bytes()));
    let deep = format!(r#"{{"a":{}"#, "[".repeat(60_000));
    assert!(!is_parsed("json", &json!({}), deep.as_bytes()));
}

#[test]
fn logfmt_lines() {
    let line =
        r#"ts=2024-01-31T11:00:00Z lvl=error msg="it \"broke\"" status=500 took=1.5 id=007 dry"#;
    expect(
        &event("logfmt", &json!({}), line),
        1_706_698_800_000,
        ERROR,
        &json!({
            "lvl": "error", "message": "it \"broke\"", "status": 500, "took": 1.5, "id": "007",
            "dry": "true",
        }),
    );
    for wrong in ["", "no pairs here", r#"a="x"#, "=x"] {
        assert!(wrong.is_empty() || !is_parsed("logfmt", &json!({}), wrong.as_bytes()), "{wrong}");
    }
}

#[test]
fn lines_of_the_kernel() {
    let booted = json!({ "booted": "2024-01-31T11:00:00Z" });
    let message = "usb 1-1: new device";
    expect(
        &event("kernel", &booted, "[   12.500000] usb 1-1: new device"),
        1_706_698_812_500,
        TEXT,
        &json!({ "uptime": 12.5, "message": message }),
    );
    expect(
        &event("kernel", &json!({}), "[    0.000000] usb 1-1: new device"),
        0,
        TEXT,
        &json!({ "uptime": 0.0, "message": message }),
    );
    expect(
        &event("kernel", &json!({}), "[Wed Jan 31 11:00:00 2024] usb 1-1: new device"),
        1_706_698_800_000,
        TEXT,
        &json!({ "message": message }),
    );
    let decoded = "kern  :warn  : [   12.500000] usb 1-1: new device";
    assert!(!is_parsed("kernel", &json!({}), b"kern  :what  : [   12.500000] x"));
    expect(
        &event("kernel", &json!({}), decoded),
        0,
        WARNING,
        &json!({
            "facility": "kern", "severity": "warn", "uptime": 12.5, "message": message,
        }),
    );
    expect(
        &event("kernel", &json!({}), "<3>[   12.500000] usb 1-1: new device"),
        0,
        ERROR,
        &json!({
            "facility": "kern", "severity": "err", "uptime": 12.5, "message": message,
        }),
    );
    expect(
        &event("kernel", &booted, "6,339,5140900,-;NET: Registered"),
        1_706_698_805_140,
        TEXT,
        &json!({
            "facility": "kern", "severity": "info", "sequence": 339, "uptime": 5.1409,
            "message": "NET: Registered",
        }),
    );
    let journal = event(
        "kernel",
        &json!({}),
        "Jan 31 11:00:00 host kernel: [   12.500000] usb 1-1: new device",
    );
    assert!(journal.time_ms > 0);
    assert_eq!(journal.fields["host"], "host");
    assert!(!is_parsed("kernel", &json!({}), b"Jan 31 11:00:00 host sshd: x"));
    assert!(why_not("kernel", &json!({ "booted": "yesterday" })).contains("is no time"));
}

#[test]
fn a_pattern_of_ones_own() {
    let options = json!({
        "pattern": r"^(?<time>\S+ \S+) \[(?<thread>[^\]]*)\] (?<level>\w+)\s+took (?<took>\S+) in (?<times>\d+)(?: for (?<who>\w+))?$",
        "zone": "+01:00",
    });
    let line = "2024-01-31 12:00:00,250 [main] WARN  took 1.5 in 3";
    expect(
        &event("regex", &options, line),
        1_706_698_800_250,
        WARNING,
        &json!({
            "thread": "main", "level": "WARN", "took": 1.5, "times": 3,
        }),
    );
    assert!(!is_parsed("regex", &options, b"something else"));
    assert!(why_not("regex", &json!({ "pattern": "(" })).contains("cannot be used as a pattern"));
    assert!(why_not("regex", &json!({ "pattern": "a+" })).contains("no named groups"));
    assert!(
        why_not("regex", &json!({ "pattern": "(?<a>(?:x{1000}){1000})" }))
            .contains("cannot be used")
    );
    assert!(why_not("syslog", &json!({ "zone": "Europe/Atlantis" })).contains("+02:00"));
    // What takes other engines until the end of time.
    let options = json!({ "pattern": "^(?<x>(?:a|a)*)*b$" });
    assert!(!is_parsed("regex", &options, "a".repeat(30_000).as_bytes()));
}

#[test]
fn traces_are_one_record_with_the_line_that_they_are_about() {
    let java = "2024-01-31 12:00:00 ERROR it broke\n\
        java.lang.IllegalStateException: no\n\tat a.B.c(B.java:1)\n\t... 3 more\n\
        Caused by: java.io.IOException\n\tat a.B.d(B.java:2)\n\
        2024-01-31 12:00:01 INFO on it goes\n";
    let pattern = r"^(?<time>\S+ \S+) (?<level>\w+) (?<message>.*)$";
    let options = json!({ "pattern": pattern, "multiline": { "join": "java" } });
    let records = events("regex", &options, java.as_bytes());
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].fields["message"], "it broke");
    assert!(records[0].text.ends_with(b"(B.java:2)\n"));

    let python = "before\nERROR:root:x\nTraceback (most recent call last):\n  File \"a.py\", line 1\n    f()\n\
        KeyError: 'a'\n\nDuring handling of the above exception, another exception occurred:\n\n\
        Traceback (most recent call last):\n  File \"a.py\", line 3\nValueError: b\nafter\n";
    let records = events("lines", &json!({ "multiline": { "join": "python" } }), python.as_bytes());
    let firsts: Vec<_> =
        records.iter().map(|record| record.text.split(|b| *b == b'\n').next().unwrap()).collect();
    assert_eq!(firsts, [&b"before"[..], b"ERROR:root:x", b"after"]);

    let options = json!({ "multiline": { "start": "^-- " }, "level": "debug" });
    let records = events("lines", &options, b"x\n-- a\nb\n-- c\n");
    assert_eq!(records.len(), 3);
    assert_eq!((records[1].text.as_slice(), records[1].level), (&b"-- a\nb\n"[..], DEBUG));
    assert!(why_not("lines", &json!({ "multiline": {} })).contains("either"));
}

#[test]
fn a_record_has_a_bound_in_lines_and_in_bytes() {
    let options = json!({ "multiline": { "join": "indented", "max_lines": 3 } });
    let records = events("lines", &options, b"a\n b\n c\n d\n e\nf\n");
    let lengths: Vec<_> = records.iter().map(|record| record.text.len()).collect();
    assert_eq!(lengths, [8, 6, 2]);
    let options = json!({ "multiline": { "join": "indented", "max_bytes": 10 } });
    let text = format!("a\n {}\n b\n", "x".repeat(20));
    assert_eq!(events("lines", &options, text.as_bytes()).len(), 3);
    // Far more than a batch.
    let text = " x\n".repeat(100_000);
    let options = json!({ "multiline": { "join": "indented" } });
    assert_eq!(events("lines", &options, text.as_bytes()).len(), 200);
}

#[test]
fn broken_and_endless_lines_are_kept_as_they_are() {
    let whole =
        r#"203.0.113.7 - - [10/Oct/2000:13:55:36 -0700] "GET /\xff HTTP/1.1" 200 2326 "-" "x""#;
    for end in 0..whole.len() {
        assert!(
            whole[..end].is_empty() || !is_parsed("nginx", &json!({}), &whole.as_bytes()[..end])
        );
    }
    let mut broken = whole.as_bytes().to_vec();
    broken[0] = 0xff;
    let events_of = events("nginx", &json!({}), &broken);
    assert_eq!(events_of[0].fields["client"], "\u{fffd}03.0.113.7");
    let long = whole.replace("GET /", &format!("GET /{}", "y".repeat(65_000)));
    let event = event("nginx", &json!({}), &long);
    assert!(event.fields["path"].as_str().unwrap().len() > 65_000);
    assert!(!is_parsed("nginx", &json!({}), &vec![b'"'; 65_536]));
    assert!(!is_parsed("nginx", &json!({}), b"\n"));
}
