//! How many different ways wildcard patterns have of being empty.

use std::collections::HashMap;

/// The most shapes that a realm's wildcard patterns may have. A look-up follows
/// at most one path of the tree for each, so this bounds what a call or an event
/// costs, whatever patterns somebody thinks of.
pub(super) const MAX_SHAPES: usize = 64;

/// The shapes in use, and how many patterns have each.
#[derive(Debug, Default)]
pub(super) struct Shapes(HashMap<Shape, usize>);

/// How many words a pattern has, and which of them are empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Shape {
    words: usize,
    /// A bit for each; a pattern has at most [`crate::uri::MAX_WILDCARD_COMPONENTS`].
    empty: u32,
}

impl Shapes {
    /// Whether a pattern may be added.
    pub(super) fn have_room(&self, pattern: &str) -> bool {
        self.0.len() < MAX_SHAPES || self.0.contains_key(&Shape::of(pattern))
    }

    pub(super) fn add(&mut self, pattern: &str) {
        *self.0.entry(Shape::of(pattern)).or_insert(0) += 1;
    }

    pub(super) fn remove(&mut self, pattern: &str) {
        let shape = Shape::of(pattern);
        if let Some(count) = self.0.get_mut(&shape) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&shape);
            }
        }
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Shape {
    fn of(pattern: &str) -> Self {
        let (mut words, mut empty) = (0, 0_u32);
        for word in pattern.split('.') {
            empty = empty << 1 | u32::from(word.is_empty());
            words += 1;
        }
        Self { words, empty }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_a_known_shape_always_have_room() {
        let mut shapes = Shapes::default();
        let pattern = |bits: usize| {
            let words = (0..8).map(|bit| if bits >> bit & 1 == 1 { "" } else { "a" });
            words.collect::<Vec<_>>().join(".")
        };
        for bits in 0..MAX_SHAPES {
            assert!(shapes.have_room(&pattern(bits)));
            shapes.add(&pattern(bits));
        }
        assert!(!shapes.have_room(&pattern(MAX_SHAPES)));
        assert!(shapes.have_room(&pattern(3).replace('a', "b")));
        shapes.remove(&pattern(3));
        assert!(shapes.have_room(&pattern(MAX_SHAPES)));
        for bits in (0..MAX_SHAPES).filter(|bits| *bits != 3) {
            shapes.remove(&pattern(bits));
        }
        assert!(shapes.is_empty());
    }
}
