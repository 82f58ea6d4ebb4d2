//! Patterns for text: `*` is any run of characters without a `/`, `**` any run
//! at all.

/// A pattern, ready to compare with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob {
    tokens: Vec<Token>,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// `*`
    Within,
    /// `**`
    Across,
}

impl Glob {
    /// Reads a pattern; any text is one.
    pub(super) fn new(text: &str) -> Self {
        let mut tokens = Vec::with_capacity(text.len());
        let mut bytes = text.bytes().peekable();
        while let Some(byte) = bytes.next() {
            tokens.push(match byte {
                b'*' if bytes.next_if_eq(&b'*').is_some() => Token::Across,
                b'*' => Token::Within,
                byte => Token::Byte(byte),
            });
        }
        Self { tokens, text: text.to_owned() }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the whole of `text` fits. Takes at most as many steps as the
    /// product of both lengths.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        let (mut token, mut at) = (0, 0);
        // Where to go on if it does not fit: after the last wildcard of each
        // kind, which then takes one byte more.
        let (mut within, mut across) = (None, None);
        loop {
            match self.tokens.get(token) {
                Some(Token::Across) => {
                    token += 1;
                    (across, within) = (Some((token, at)), None);
                    continue;
                }
                Some(Token::Within) => {
                    token += 1;
                    within = Some((token, at));
                    continue;
                }
                Some(Token::Byte(byte)) if text.get(at) == Some(byte) => {
                    (token, at) = (token + 1, at + 1);
                    continue;
                }
                None if at == text.len() => return true,
                _ => {}
            }
            let takes_more = |until: usize| text.get(until).is_some_and(|byte| *byte != b'/');
            if let Some((after, until)) = within.filter(|(_, until)| takes_more(*until)) {
                within = Some((after, until + 1));
                (token, at) = (after, until + 1);
            } else if let Some((after, until)) = across.filter(|(_, until)| *until < text.len()) {
                (across, within) = (Some((after, until + 1)), None);
                (token, at) = (after, until + 1);
            } else {
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, which takes for ever on long texts.
    fn defined(tokens: &[Token], text: &[u8]) -> bool {
        match tokens {
            [] => text.is_empty(),
            [Token::Byte(byte), rest @ ..] => {
                text.first() == Some(byte) && defined(rest, &text[1..])
            }
            [wildcard, rest @ ..] => {
                let longest = match wildcard {
                    Token::Across => text.len(),
                    _ => text.iter().position(|byte| *byte == b'/').unwrap_or(text.len()),
                };
                (0..=longest).any(|taken| defined(rest, &text[taken..]))
            }
        }
    }

    #[test]
    fn stars_take_what_they_say() {
        for (pattern, text, fits) in [
            ("", "", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("*", "a/b", false),
            ("**", "a/b", true),
            ("/srv/data/*", "/srv/data/x", true),
            ("/srv/data/*", "/srv/data/x/y", false),
            ("/srv/**:ro", "/srv/a/b:/c:ro", true),
            ("v*.json", "v1.41.json", true),
            ("*é*", "xéy", true),
        ] {
            assert_eq!(Glob::new(pattern).matches(text.as_bytes()), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let pattern = Glob::new(&"**a".repeat(100));
        assert!(!pattern.matches("b".repeat(4_000).as_bytes()));
        let pattern = Glob::new(&"*a**".repeat(100));
        assert!(!pattern.matches("ab/".repeat(99).as_bytes()));
    }

    proptest! {
        #[test]
        fn it_matches_what_is_defined(pattern in "[ab/*]{0,8}", text in "[ab/]{0,8}") {
            let glob = Glob::new(&pattern);
            prop_assert_eq!(glob.matches(text.as_bytes()), defined(&glob.tokens, text.as_bytes()));
        }
    }
}
