//! The level protocol: `7::text` is a message of level 7, `7:::` opens one of many
//! lines, which ends at a line that begins with `:::`.

use drover_sdk::log::{self, Level};
use serde_json::{Value, json};

use crate::engine::frames::Stream;

/// The longest message in one piece, in bytes; a longer one is written in pieces.
const LONGEST: usize = 60 << 10;

/// One stream of a container on its way to records.
#[derive(Debug)]
pub(super) struct Levels {
    stream: Stream,
    /// A line that has not ended yet.
    line: String,
    /// A message of many lines that has not ended yet.
    block: Option<(Level, Vec<String>)>,
}

impl Levels {
    pub(super) fn of(stream: Stream) -> Self {
        Self { stream, line: String::new(), block: None }
    }

    /// Takes a piece of text, and writes what it completes under a name.
    pub(super) fn take(&mut self, text: &str, name: &str) {
        for part in text.split_inclusive('\n') {
            self.line.push_str(part);
            if part.ends_with('\n') || self.line.len() > LONGEST {
                let line = std::mem::take(&mut self.line);
                self.take_line(line.trim_end_matches(['\n', '\r']), name);
            }
        }
    }

    /// Writes what is left when the stream has ended.
    pub(super) fn end(&mut self, name: &str) {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.take_line(&line, name);
        }
        if let Some((level, lines)) = self.block.take() {
            write(level, &lines.join("\n"), name, self.stream);
        }
    }

    fn take_line(&mut self, line: &str, name: &str) {
        if let Some((level, lines)) = &mut self.block {
            let Some(after) = line.strip_prefix(":::") else {
                lines.push(line.to_owned());
                if lines.iter().map(String::len).sum::<usize>() > LONGEST {
                    write(*level, &std::mem::take(lines).join("\n"), name, self.stream);
                }
                return;
            };
            write(*level, &lines.join("\n"), name, self.stream);
            self.block = None;
            if !after.is_empty() {
                self.take_line(after, name);
            }
            return;
        }
        match prefixed(line) {
            Some((level, rest)) => match rest.strip_prefix(':') {
                Some("") => self.block = Some((level, Vec::new())),
                Some(first) => self.block = Some((level, vec![first.to_owned()])),
                None => write(level, rest, name, self.stream),
            },
            None => write(Level::Text, line, name, self.stream),
        }
    }
}

/// The level in front of a line, and what follows its two colons. A level that
/// records cannot have is text.
fn prefixed(line: &str) -> Option<(Level, &str)> {
    let (digits, rest) = line.split_once("::")?;
    let is_number = matches!(digits.len(), 1..=3) && digits.bytes().all(|b| b.is_ascii_digit());
    let level = match digits.parse::<u8>() {
        Ok(1 | 2 | 5) if is_number => Level::Text,
        Ok(3) if is_number => Level::Public,
        Ok(4) if is_number => Level::Operator,
        Ok(6) if is_number => Level::Structured,
        Ok(7) if is_number => Level::Warning,
        Ok(8) if is_number => Level::Error,
        Ok(9) if is_number => Level::Critical,
        Ok(11) if is_number => Level::Debug,
        _ => return None,
    };
    Some((level, rest))
}

fn write(level: Level, text: &str, name: &str, stream: Stream) {
    let fields = [("container", name.into()), ("stream", stream.word().into())];
    if level == Level::Structured
        && let Ok(message) = serde_json::from_str::<Value>(text)
    {
        let message = json!({ "container": name, "message": message });
        log::write_with_fields(level, message, &fields);
        return;
    }
    log::write_with_fields(level, format_args!("{name}: {text}"), &fields);
}

#[cfg(test)]
mod tests {
    use drover_sdk::testing::{Host, with_host};
    use proptest::prelude::*;

    use super::*;

    fn records(pieces: &[&str]) -> Vec<(Level, String)> {
        let ((), heard) = with_host(Host::default(), || {
            let mut levels = Levels::of(Stream::Stdout);
            pieces.iter().for_each(|piece| levels.take(piece, "web"));
            levels.end("web");
        });
        heard.records.into_iter().map(|record| (record.level, record.message)).collect()
    }

    #[test]
    fn lines_and_blocks_have_their_levels() {
        let text = "plain\n7::nearly full\n8:::first\n\n9::inside\n::: after\n10::a:1|c\n6::{\"a\":1}\n300::x\n11:::\nopen";
        let expected = [
            (Level::Text, "web: plain"),
            (Level::Warning, "web: nearly full"),
            (Level::Error, "web: first\n\n9::inside"),
            (Level::Text, "web:  after"),
            (Level::Text, "web: 10::a:1|c"),
            (Level::Structured, "{\"container\":\"web\",\"message\":{\"a\":1}}"),
            (Level::Text, "web: 300::x"),
            (Level::Debug, "web: open"),
        ];
        let expected = expected.map(|(level, text)| (level, text.to_owned()));
        assert_eq!(records(&[text]), expected);
    }

    proptest! {
        #[test]
        fn records_are_the_same_however_the_text_is_cut(
            lines in prop::collection::vec("(7::|8:::|:::)?[a-z]{0,4}", 0..9), cuts in prop::collection::vec(1usize..6, 1..5),
        ) {
            let text = lines.join("\n");
            let (mut pieces, mut rest, mut cuts) = (Vec::new(), text.as_str(), cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                pieces.push(piece);
                rest = after;
            }
            prop_assert_eq!(records(&pieces), records(&[&text]));
        }
    }
}
