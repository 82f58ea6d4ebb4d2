//! What is registered or subscribed under names and patterns, found without a scan.

mod shapes;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use crate::uri::MatchPolicy;
use shapes::{MAX_SHAPES, Shapes};

/// Values under (pattern, policy), at most one each.
///
/// A look-up costs the same however many unrelated patterns there are: exact
/// names by hash, prefixes by a few steps in an ordered map, wildcards by a
/// tree over their components, in which as many paths are followed as there are
/// shapes of patterns.
#[derive(Debug)]
pub(super) struct Patterns<V> {
    exact: HashMap<String, V>,
    prefix: BTreeMap<String, V>,
    wildcard: Node<V>,
    shapes: Shapes,
}

/// There are wildcard patterns of too many shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the wildcard patterns of this realm have {MAX_SHAPES} different shapes already: leave words \
     empty where another pattern does, or use a prefix"
)]
pub(super) struct TooManyShapes;

#[derive(Debug)]
struct Node<V> {
    value: Option<V>,
    words: HashMap<String, Node<V>>,
    any: Option<Box<Node<V>>>,
}

impl<V> Default for Node<V> {
    fn default() -> Self {
        Self { value: None, words: HashMap::new(), any: None }
    }
}

impl<V> Default for Patterns<V> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            prefix: BTreeMap::new(),
            wildcard: Node::default(),
            shapes: Shapes::default(),
        }
    }
}

impl<V: Copy> Patterns<V> {
    /// What is kept under exactly this pattern.
    pub(super) fn get(&self, pattern: &str, policy: MatchPolicy) -> Option<V> {
        match policy {
            MatchPolicy::Exact => self.exact.get(pattern).copied(),
            MatchPolicy::Prefix => self.prefix.get(pattern).copied(),
            MatchPolicy::Wildcard => self.wildcard.get(pattern.split('.')),
        }
    }

    /// Makes sure that a look-up stays cheap with this pattern among the others.
    pub(super) fn check_room(
        &self,
        pattern: &str,
        policy: MatchPolicy,
    ) -> Result<(), TooManyShapes> {
        let is_fine = policy != MatchPolicy::Wildcard || self.shapes.have_room(pattern);
        is_fine.then_some(()).ok_or(TooManyShapes)
    }

    /// Keeps a value under a pattern; replaces the one that was there.
    pub(super) fn insert(&mut self, pattern: &str, policy: MatchPolicy, value: V) {
        match policy {
            MatchPolicy::Exact => {
                self.exact.insert(pattern.to_owned(), value);
            }
            MatchPolicy::Prefix => {
                self.prefix.insert(pattern.to_owned(), value);
            }
            MatchPolicy::Wildcard => {
                if self.get(pattern, policy).is_none() {
                    self.shapes.add(pattern);
                }
                self.wildcard.insert(pattern.split('.'), value);
            }
        }
    }

    /// Forgets a pattern.
    pub(super) fn remove(&mut self, pattern: &str, policy: MatchPolicy) {
        match policy {
            MatchPolicy::Exact => {
                self.exact.remove(pattern);
            }
            MatchPolicy::Prefix => {
                self.prefix.remove(pattern);
            }
            MatchPolicy::Wildcard => {
                if self.get(pattern, policy).is_some() {
                    self.shapes.remove(pattern);
                }
                self.wildcard.remove(pattern.split('.'));
            }
        }
    }

    /// The one value that a call of `uri` goes to: the exact name, else the
    /// longest prefix, else the wildcard whose first words are the most exact.
    pub(super) fn best(&self, uri: &str) -> Option<V> {
        self.exact
            .get(uri)
            .copied()
            .or_else(|| self.prefixes_of(uri).next())
            .or_else(|| self.wildcard.best(uri.split('.')))
    }

    /// Every value whose pattern matches `uri`.
    pub(super) fn all(&self, uri: &str) -> Vec<V> {
        let mut found: Vec<V> = self.exact.get(uri).copied().into_iter().collect();
        found.extend(self.prefixes_of(uri));
        self.wildcard.all(uri.split('.'), &mut found);
        found
    }

    /// Whether nothing is kept, not even an empty branch.
    #[cfg(any(test, fuzzing))]
    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty()
            && self.prefix.is_empty()
            && self.wildcard.is_empty()
            && self.shapes.is_empty()
    }

    /// The values of all prefixes of `uri`, the longest first.
    ///
    /// The greatest key that is not above `uri` either is a prefix of it, or
    /// shows by how much they agree that every longer prefix is absent: keys
    /// between a prefix of `uri` and `uri` itself all begin with that prefix.
    fn prefixes_of(&self, uri: &str) -> impl Iterator<Item = V> {
        let uri = uri.as_bytes();
        let mut upper = Some(Bound::Included(uri.len()));
        std::iter::from_fn(move || {
            loop {
                let bound = upper?;
                let text = |length: usize| std::str::from_utf8(&uri[..length]).ok();
                let below = match bound {
                    Bound::Included(length) => Bound::Included(text(length)?),
                    Bound::Excluded(length) => Bound::Excluded(text(length)?),
                    Bound::Unbounded => return None,
                };
                let nearest = self.prefix.range::<str, _>((Bound::Unbounded, below)).next_back();
                let (key, value) = nearest?;
                let mut common = key.bytes().zip(uri).take_while(|(a, b)| a == *b).count();
                if common == key.len() {
                    upper = Some(Bound::Excluded(common));
                    return Some(*value);
                }
                // Keys are texts, so they can only end where a character does.
                while !key.is_char_boundary(common) {
                    common -= 1;
                }
                upper = Some(Bound::Included(common));
            }
        })
    }
}

impl<V: Copy> Node<V> {
    fn get<'a>(&self, mut words: impl Iterator<Item = &'a str>) -> Option<V> {
        let mut node = self;
        words.try_for_each(|word| {
            node = if word.is_empty() { node.any.as_deref()? } else { node.words.get(word)? };
            Some(())
        })?;
        node.value
    }

    fn insert<'a>(&mut self, words: impl Iterator<Item = &'a str>, value: V) {
        let mut node = self;
        for word in words {
            node = if word.is_empty() {
                node.any.get_or_insert_default()
            } else {
                node.words.entry(word.to_owned()).or_default()
            };
        }
        node.value = Some(value);
    }

    fn remove<'a>(&mut self, mut words: impl Iterator<Item = &'a str>) {
        match words.next() {
            None => self.value = None,
            Some("") => {
                if let Some(any) = &mut self.any {
                    any.remove(words);
                    if any.is_empty() {
                        self.any = None;
                    }
                }
            }
            Some(word) => {
                if let Some(node) = self.words.get_mut(word) {
                    node.remove(words);
                    if node.is_empty() {
                        self.words.remove(word);
                    }
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.value.is_none() && self.words.is_empty() && self.any.is_none()
    }

    fn best<'a>(&self, mut words: impl Iterator<Item = &'a str> + Clone) -> Option<V> {
        let Some(word) = words.next() else { return self.value };
        let exact = self.words.get(word).and_then(|node| node.best(words.clone()));
        exact.or_else(|| self.any.as_ref()?.best(words))
    }

    fn all<'a>(&self, mut words: impl Iterator<Item = &'a str> + Clone, found: &mut Vec<V>) {
        let Some(word) = words.next() else { return found.extend(self.value) };
        if let Some(node) = self.words.get(word) {
            node.all(words.clone(), found);
        }
        if let Some(any) = &self.any {
            any.all(words, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICIES: [MatchPolicy; 3] =
        [MatchPolicy::Exact, MatchPolicy::Prefix, MatchPolicy::Wildcard];

    fn patterns(list: &[(&str, MatchPolicy)]) -> Patterns<usize> {
        let mut patterns = Patterns::default();
        for (index, (pattern, policy)) in list.iter().enumerate() {
            patterns.insert(pattern, *policy, index);
        }
        patterns
    }

    /// The specification's words, written down without any index.
    fn matches(pattern: &str, policy: MatchPolicy, uri: &str) -> bool {
        match policy {
            MatchPolicy::Exact => pattern == uri,
            MatchPolicy::Prefix => uri.starts_with(pattern),
            MatchPolicy::Wildcard => {
                pattern.split('.').count() == uri.split('.').count()
                    && pattern.split('.').zip(uri.split('.')).all(|(p, u)| p.is_empty() || p == u)
            }
        }
    }

    #[test]
    fn exact_beats_longest_prefix_beats_most_exact_wildcard() {
        use MatchPolicy::{Exact, Prefix, Wildcard};
        let patterns = patterns(&[
            ("a.b.c", Exact),
            ("a.", Prefix),
            ("a.b", Prefix),
            ("x..z", Wildcard),
            ("x.y.", Wildcard),
            ("", Prefix),
        ]);
        for (uri, expected) in [("a.b.c", 0), ("a.b.d", 2), ("a.bc", 2), ("a.c", 1), ("x.y.z", 5)] {
            assert_eq!(patterns.best(uri), Some(expected), "{uri}");
        }
        let mut patterns = patterns;
        patterns.remove("", Prefix);
        assert_eq!(patterns.best("x.y.z"), Some(4), "the leading words decide");
        assert_eq!(patterns.best("x.q.z"), Some(3));
        assert_eq!(patterns.best("x.q.q"), None);
    }

    fn small_uri() -> impl Strategy<Value = String> {
        "[abä]{0,2}(\\.[abä]{0,2}){0,3}"
    }

    proptest! {
        #[test]
        fn the_index_agrees_with_a_scan(
            list in prop::collection::btree_set((small_uri(), 0..3_usize), 0..20),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
            uri in small_uri(),
        ) {
            let list: Vec<_> = list.into_iter().map(|(text, p)| (text, POLICIES[p])).collect();
            let mut patterns = Patterns::default();
            for (index, (pattern, policy)) in list.iter().enumerate() {
                patterns.insert(pattern, *policy, index);
            }
            let mut kept: Vec<bool> = vec![true; list.len()];
            for index in removed {
                if !list.is_empty() {
                    let index = index.index(list.len());
                    patterns.remove(&list[index].0, list[index].1);
                    kept[index] = false;
                }
            }
            let mut found = patterns.all(&uri);
            found.sort_unstable();
            let expected: Vec<usize> = (0..list.len())
                .filter(|i| kept[*i] && matches(&list[*i].0, list[*i].1, &uri))
                .collect();
            prop_assert_eq!(&found, &expected);

            let longest = expected.iter().copied().filter(|i| list[*i].1 == MatchPolicy::Prefix)
                .max_by_key(|i| list[*i].0.len());
            let exact = expected.iter().copied().find(|i| list[*i].1 == MatchPolicy::Exact);
            let best = patterns.best(&uri);
            match exact.or(longest) {
                Some(best_by_scan) => prop_assert_eq!(best, Some(best_by_scan)),
                None => prop_assert_eq!(best.is_some(), !expected.is_empty()),
            }
            for (index, (pattern, policy)) in list.iter().enumerate() {
                prop_assert_eq!(patterns.get(pattern, *policy), kept[index].then_some(index));
                patterns.remove(pattern, *policy);
            }
            prop_assert!(patterns.is_empty());
        }
    }
}
