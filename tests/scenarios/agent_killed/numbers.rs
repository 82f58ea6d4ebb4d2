//! Numbered lines of a child whose agent was killed again and again.
//!
//! What the README promises of them: they are in order and none is there twice; at
//! each kill at most the lines that had been read and not been committed are lost,
//! and what follows them may be the end of a line.

/// What may be lost with one agent: what waits in its log, what is being written,
/// and what is on the way there from one child.
const WINDOW_BYTES: u64 = (4 << 20) + (2 << 20) + (384 << 10);

/// What was lost.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) gaps: u32,
    pub(super) lines: u64,
    /// Ends of lines whose beginning is lost.
    pub(super) ends: u32,
}

/// Checks the texts of all records of a child, oldest first.
pub(super) fn check(prefix: &str, texts: &[String], kills: u32) -> Lost {
    let mut lost = Lost::default();
    let mut expected = 0;
    let mut follows_end = false;
    for text in texts {
        let Some(number) = number(text) else {
            assert!(is_end_of_a_line(prefix, text), "{text:?} was never written");
            assert!(!follows_end, "two ends of lines in a row");
            follows_end = true;
            lost.ends += 1;
            continue;
        };
        assert!(number >= expected, "number {number} comes after {}", expected - 1);
        let missing = number - expected;
        assert!(
            missing > 0 || !follows_end,
            "the end of a line that is there came before {number}"
        );
        if missing > 0 {
            lost.gaps += 1;
            lost.lines += missing;
            let bytes = missing * line(prefix, number).len() as u64;
            assert!(bytes <= WINDOW_BYTES, "{missing} lines before {number} are lost");
        }
        expected = number + 1;
        follows_end = false;
    }
    assert!(lost.gaps <= kills && lost.ends <= kills, "{lost:?} at {kills} kills");
    lost
}

fn line(prefix: &str, number: u64) -> String {
    format!("{prefix}number {number:08} of many\n")
}

fn number(text: &str) -> Option<u64> {
    let number = text.strip_prefix("number ")?.strip_suffix(" of many")?;
    if number.len() == 8 { number.parse().ok() } else { None }
}

/// Whether a text is what is left of a line without its beginning.
fn is_end_of_a_line(prefix: &str, text: &str) -> bool {
    let any_number = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "0");
    any_number(line(prefix, 0).trim_end()).ends_with(&any_number(text))
}

#[test]
fn gaps_are_counted_and_doubled_or_foreign_lines_are_found() {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let number = |number: u64| line("", number).trim_end().to_owned();
    let whole: Vec<_> = (0..5).map(number).collect();
    assert_eq!(check("", &whole, 0), Lost::default());
    let with_gap = [number(0), "0004 of many".to_owned(), number(5)];
    assert_eq!(check("", &with_gap, 1), Lost { gaps: 1, lines: 4, ends: 1 });
    for wrong in [
        texts(&["number 00000000 of many", "number 00000000 of many"]),
        texts(&["number 00000000 of many", "of many", "number 00000001 of many"]),
        texts(&["number 00000000 of few"]),
        texts(&["number 00000001 of many"]),
    ] {
        let found = std::panic::catch_unwind(|| check("", &wrong, 0));
        assert!(found.is_err(), "{wrong:?}");
    }
}
