//! Patterns for names and labels: `*` is any run of characters, `?` any one.

/// A pattern. It has one character at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(String);

impl Pattern {
    /// Any text but none is a pattern.
    pub(super) fn new(text: String) -> Option<Self> {
        (!text.is_empty()).then_some(Self(text))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole of `text` fits. Takes at most as many steps as the product
    /// of both lengths.
    pub(super) fn matches(&self, text: &str) -> bool {
        let (mut pattern, mut rest) = (self.0.chars(), text.chars());
        // Where to go on if it does not fit: after the last `*`, which then takes
        // one character more.
        let mut after_star = None;
        loop {
            let fits = match (pattern.next(), rest.clone().next()) {
                (None, None) => return true,
                (Some('*'), _) => {
                    after_star = Some((pattern.clone(), rest.clone()));
                    continue;
                }
                (Some(wanted), Some(found)) => wanted == '?' || wanted == found,
                (None, Some(_)) | (Some(_), None) => false,
            };
            if fits {
                rest.next();
                continue;
            }
            let Some((after, mut taken)) = after_star.take() else { return false };
            if taken.next().is_none() {
                return false;
            }
            (pattern, rest) = (after.clone(), taken.clone());
            after_star = Some((after, taken));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a pattern means, written down without thought for time.
    fn defined(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', rest @ ..] => (0..=text.len()).any(|taken| defined(rest, &text[taken..])),
            ['?', rest @ ..] => !text.is_empty() && defined(rest, &text[1..]),
            [first, rest @ ..] => text.first() == Some(first) && defined(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_it_means(pattern in "[ab*?ä]{1,8}", text in "[abä]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let fits = Pattern::new(pattern.clone()).unwrap().matches(&text);
            prop_assert_eq!(fits, defined(&chars(&pattern), &chars(&text)));
        }
    }

    #[test]
    fn a_long_pattern_takes_no_long_time() {
        let pattern = Pattern::new("*a".repeat(500)).unwrap();
        assert!(!pattern.matches(&"a".repeat(499)));
    }
}
