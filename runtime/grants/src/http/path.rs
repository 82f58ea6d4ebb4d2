//! Paths of requests, and patterns for them, segment by segment.

use std::borrow::Cow;

use super::glob::Glob;

/// The longest path of a request, in bytes.
const MOST_BYTES: usize = 8 << 10;
/// The longest pattern, in bytes.
const MOST_PATTERN: usize = 1 << 10;

/// A pattern: `*` in a segment is any text, a segment of its own is `*` for any
/// one and `**` for any number of them, none included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathPattern {
    segments: Vec<Segment>,
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// `*`: one that is not empty.
    One,
    /// `**`
    Any,
    Text(Glob),
}

impl PathPattern {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let Some(rest) = text.strip_prefix('/') else { return Err("the path begins with `/`") };
        if text.len() > MOST_PATTERN {
            return Err("the path has at most 1024 bytes");
        }
        if text.contains(['%', '?', '#', '\\', ';']) || text.chars().any(is_unfit) {
            return Err(
                "the path is written as it is after decoding, without `%`, `?`, `#`, `\\`, `;` and spaces",
            );
        }
        let words: Vec<_> = rest.split('/').collect();
        let (_, before) = words.split_last().unwrap_or((&"", &[]));
        if before.contains(&"") || words.iter().any(|word| matches!(*word, "." | "..")) {
            return Err("the path has no `//`, `.` and `..`, as no request has");
        }
        if words.iter().any(|word| word.contains("**") && *word != "**") {
            return Err("`**` is a segment of its own");
        }
        let segments = words.into_iter().map(|word| match word {
            "*" => Segment::One,
            "**" => Segment::Any,
            word => Segment::Text(Glob::new(word)),
        });
        Ok(Self { segments: segments.collect(), text: text.to_owned() })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn matches(&self, path: &RequestPath<'_>) -> bool {
        let (mut pattern, mut at) = (0, 0);
        // Where to go on if it does not fit: after the last `**`, which then
        // takes one segment more.
        let mut any = None;
        loop {
            match (self.segments.get(pattern), path.0.get(at)) {
                (Some(Segment::Any), _) => {
                    pattern += 1;
                    any = Some((pattern, at));
                    continue;
                }
                (Some(segment), Some(word)) if segment.is(word) => {
                    (pattern, at) = (pattern + 1, at + 1);
                    continue;
                }
                (None, None) => return true,
                _ => {}
            }
            match any {
                Some((after, until)) if until < path.0.len() => {
                    any = Some((after, until + 1));
                    (pattern, at) = (after, until + 1);
                }
                _ => return false,
            }
        }
    }
}

impl Segment {
    fn is(&self, word: &[u8]) -> bool {
        match self {
            Self::One | Self::Any => !word.is_empty(),
            Self::Text(glob) => glob.matches(word),
        }
    }
}

fn is_unfit(letter: char) -> bool {
    letter.is_control() || letter.is_whitespace()
}

/// The path of a request: its segments, decoded.
#[derive(Debug)]
pub(super) struct RequestPath<'a>(Vec<Cow<'a, [u8]>>);

/// Why a path could mean one thing here and another where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum PathError {
    #[error("it does not begin with `/`")]
    NotAbsolute,
    #[error("it has more than 8 KiB")]
    TooLong,
    #[error("it has `//` in it")]
    EmptySegment,
    #[error("it has `.` or `..` as a segment")]
    Dots,
    #[error("it has a `%` without two digits")]
    Escape,
    #[error("it has an encoded `/`, `\\`, `.`, `;` or `%`")]
    Encoded,
    #[error("it has a space, `\\`, control or non-ASCII byte in it")]
    Byte,
}

impl<'a> RequestPath<'a> {
    /// Takes a path apart, and refuses whatever is ambiguous.
    pub(super) fn parse(path: &'a str) -> Result<Self, PathError> {
        let rest = path.strip_prefix('/').ok_or(PathError::NotAbsolute)?;
        if path.len() > MOST_BYTES {
            return Err(PathError::TooLong);
        }
        if path.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'\\') {
            return Err(PathError::Byte);
        }
        let mut segments = Vec::with_capacity(8);
        let mut words = rest.split('/').peekable();
        while let Some(word) = words.next() {
            // Some servers cut parameters off before they look for dots.
            match word.split(';').next() {
                Some("") if words.peek().is_some() || !word.is_empty() => {
                    return Err(PathError::EmptySegment);
                }
                Some("." | "..") => return Err(PathError::Dots),
                _ => segments.push(decode(word.as_bytes())?),
            }
        }
        Ok(Self(segments))
    }
}

fn decode(word: &[u8]) -> Result<Cow<'_, [u8]>, PathError> {
    if !word.contains(&b'%') {
        return Ok(Cow::Borrowed(word));
    }
    let mut decoded = Vec::with_capacity(word.len());
    let mut rest = word;
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let byte = escaped(rest).ok_or(PathError::Escape)?;
        rest = &rest[2..];
        match byte {
            b'/' | b'\\' | b'.' | b';' | b'%' => return Err(PathError::Encoded),
            byte if byte.is_ascii_control() => return Err(PathError::Byte),
            byte => decoded.push(byte),
        }
    }
    Ok(Cow::Owned(decoded))
}

/// The byte that two hexadecimal digits stand for.
pub(super) fn escaped(digits: &[u8]) -> Option<u8> {
    let digit = |index: usize| char::from(*digits.get(index)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fits(pattern: &str, path: &str) -> bool {
        PathPattern::parse(pattern).unwrap().matches(&RequestPath::parse(path).unwrap())
    }

    #[test]
    fn patterns_go_by_segments() {
        for (pattern, path, is_fit) in [
            ("/", "/", true),
            ("/", "/a", false),
            ("/a", "/a", true),
            ("/a", "/a/", false),
            ("/a", "/A", false),
            ("/a/", "/a/", true),
            ("/*", "/", false),
            ("/*", "/a", true),
            ("/*", "/a/b", false),
            ("/*/b", "/a/b", true),
            ("/v*/b", "/v1.41/b", true),
            ("/v*/b", "/w/b", false),
            ("/**", "/", true),
            ("/**", "/a/b/c", true),
            ("/a/**", "/a", true),
            ("/a/**", "/a/", true),
            ("/a/**", "/ab", false),
            ("/a/**/z", "/a/z", true),
            ("/a/**/z", "/a/b/z/c/z", true),
            ("/a/**/z", "/a/b/z/c", false),
            ("/**/x/*", "/x/x/x", true),
            ("/a b", "/a%20b", true),
            ("/ü", "/%C3%BC", true),
            ("/b:c@d", "/b%3Ac@d", true),
        ] {
            let pattern = pattern.replace(' ', "*");
            assert_eq!(fits(&pattern, path), is_fit, "{pattern} {path}");
        }
    }

    #[test]
    fn whatever_is_ambiguous_is_refused() {
        use PathError::*;
        for (path, error) in [
            ("", NotAbsolute),
            ("*", NotAbsolute),
            ("a", NotAbsolute),
            ("//", EmptySegment),
            ("/a//b", EmptySegment),
            ("/a/;x/b", EmptySegment),
            ("/a/;x", EmptySegment),
            ("/.", Dots),
            ("/a/..", Dots),
            ("/a/../b", Dots),
            ("/a/..;x/b", Dots),
            ("/a/%2e%2e/b", Encoded),
            ("/a/.%2E/b", Encoded),
            ("/a%2fb", Encoded),
            ("/a%5Cb", Encoded),
            ("/a%252e", Encoded),
            ("/a%3bb", Encoded),
            ("/a\\b", Byte),
            ("/a%00", Byte),
            ("/a%0a", Byte),
            ("/a%7f", Byte),
            ("/a b", Byte),
            ("/ä", Byte),
            ("/a%", Escape),
            ("/a%2", Escape),
            ("/a%2/b", Escape),
            ("/a%zz", Escape),
            ("/a%+1", Escape),
        ] {
            assert_eq!(RequestPath::parse(path).unwrap_err(), error, "{path}");
        }
        assert_eq!(RequestPath::parse(&"/a".repeat(5_000)).unwrap_err(), TooLong);
    }

    #[test]
    fn patterns_are_written_plainly() {
        for text in [
            "", "a", "/a//b", "/./a", "/..", "/a%20b", "/a b", "/a?b", "/a#b", "/a**", "/***", "//",
        ] {
            assert!(PathPattern::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_request_leaves_its_prefix(path in "[a-b/.%25eEfF;\\\\]{0,16}") {
            let path = format!("/open/{path}");
            if let Ok(parsed) = RequestPath::parse(&path) {
                // However often it is decoded, and whatever is resolved.
                let mut text = path.clone();
                for _ in 0..3 {
                    prop_assert!(!text.split(['/', '\\']).any(|word| matches!(word.split(';').next(), Some("." | ".."))));
                    let bytes = text.as_bytes();
                    let mut decoded = Vec::new();
                    let mut at = 0;
                    while at < bytes.len() {
                        match escaped(&bytes[at + 1..]) {
                            Some(byte) if bytes[at] == b'%' => { decoded.push(byte); at += 3; }
                            _ => { decoded.push(bytes[at]); at += 1; }
                        }
                    }
                    text = String::from_utf8_lossy(&decoded).into_owned();
                }
                prop_assert!(PathPattern::parse("/open/**").unwrap().matches(&parsed));
                prop_assert!(!PathPattern::parse("/other/**").unwrap().matches(&parsed));
            }
        }

        #[test]
        fn no_text_makes_it_panic(pattern in "\\PC{0,40}", path in "\\PC{0,40}") {
            if let (Ok(pattern), Ok(path)) = (PathPattern::parse(&pattern), RequestPath::parse(&path)) {
                let _ = pattern.matches(&path);
            }
        }
    }
}
