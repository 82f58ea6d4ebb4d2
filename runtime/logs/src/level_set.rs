//! Which levels a command wants: `*`, `1`, `1,2,3`, `1-5` and mixtures.

use std::fmt;
use std::str::FromStr;

use drover_api::Level;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A set of levels, as commands write them in `loglevels` and its siblings.
///
/// Reads and prints `*` (all), `-` (none), and lists of levels and ranges such
/// as `1,2,7-9`. In JSON it is that text; a single number is taken as well.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LevelSet {
    bits: [u64; 4],
}

impl LevelSet {
    /// Every level, those without a meaning included.
    pub const ALL: Self = Self { bits: [u64::MAX; 4] };
    /// No level.
    pub const NONE: Self = Self { bits: [0; 4] };

    /// The set of one level.
    #[must_use]
    pub fn only(level: Level) -> Self {
        Self::range(level, level)
    }

    /// The levels from `first` to `last`, both included; none if `last` is
    /// the smaller one.
    #[must_use]
    pub fn range(first: Level, last: Level) -> Self {
        let mut set = Self::NONE;
        (first.0..=last.0).for_each(|level| set.insert(Level(level)));
        set
    }

    /// Whether `level` is in the set.
    #[must_use]
    pub fn contains(self, level: Level) -> bool {
        self.bits[usize::from(level.0 >> 6)] & (1 << (level.0 & 63)) != 0
    }

    /// Whether no level is in the set.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// Whether some level is in both sets.
    #[must_use]
    pub fn intersects(self, other: Self) -> bool {
        self.bits.iter().zip(other.bits).any(|(a, b)| a & b != 0)
    }

    /// The levels that are in one of the sets or in both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self { bits: std::array::from_fn(|i| self.bits[i] | other.bits[i]) }
    }

    /// Adds one level.
    pub fn insert(&mut self, level: Level) {
        self.bits[usize::from(level.0 >> 6)] |= 1 << (level.0 & 63);
    }

    /// The longest stretches of levels in the set, lowest first, both ends
    /// included.
    pub fn ranges(self) -> impl Iterator<Item = (Level, Level)> {
        let mut next = 0_u16;
        std::iter::from_fn(move || {
            let has = |level: u16| u8::try_from(level).is_ok_and(|l| self.contains(Level(l)));
            let first = (next..256).find(|&level| has(level))?;
            let last = (first..256).take_while(|&level| has(level)).last()?;
            next = last + 1;
            Some((Level(u8::try_from(first).ok()?), Level(u8::try_from(last).ok()?)))
        })
    }

    /// The set as bits, lowest level first: 32 bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(self.bits) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The set that [`LevelSet::to_bytes`] wrote; all levels if it is no such
    /// thing, so that a damaged set never hides a record.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut set = Self::NONE;
        for (word, chunk) in set.bits.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = chunk.try_into().map_or(u64::MAX, u64::from_le_bytes);
        }
        if bytes.len() == 32 { set } else { Self::ALL }
    }
}

impl fmt::Display for LevelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ALL => return f.write_str("*"),
            Self::NONE => return f.write_str("-"),
            _ => {}
        }
        for (i, (first, last)) in self.ranges().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            match last.0 - first.0 {
                0 => write!(f, "{comma}{}", first.0)?,
                1 => write!(f, "{comma}{},{}", first.0, last.0)?,
                _ => write!(f, "{comma}{}-{}", first.0, last.0)?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for LevelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LevelSet({self})")
    }
}

/// A text is no set of levels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no set of levels: write `*`, or levels from 0 to 255 and ranges with commas \
     between them, such as 1,2,7-9"
)]
pub struct LevelSetError(String);

impl FromStr for LevelSet {
    type Err = LevelSetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || LevelSetError(text.chars().take(80).collect());
        if text.trim() == "-" {
            return Ok(Self::NONE);
        }
        text.split(',').try_fold(Self::NONE, |set, item| {
            Ok(set.union(parse_item(item.trim()).ok_or_else(refuse)?))
        })
    }
}

fn parse_item(item: &str) -> Option<LevelSet> {
    if item == "*" {
        return Some(LevelSet::ALL);
    }
    let (first, last) = item.split_once('-').unwrap_or((item, item));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first <= last).then(|| LevelSet::range(Level(first), Level(last)))
}

impl Serialize for LevelSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LevelSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LevelSetVisitor)
    }
}

struct LevelSetVisitor;

impl Visitor<'_> for LevelSetVisitor {
    type Value = LevelSet;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a set of levels such as \"1,2,7-9\" or \"*\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<LevelSet, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, level: u64) -> Result<LevelSet, E> {
        let level = u8::try_from(level).map_err(|_| E::custom(LevelSetError(level.to_string())))?;
        Ok(LevelSet::only(Level(level)))
    }

    fn visit_i64<E: de::Error>(self, level: i64) -> Result<LevelSet, E> {
        let level =
            u64::try_from(level).map_err(|_| E::custom(LevelSetError(level.to_string())))?;
        self.visit_u64(level)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn levels(text: &str) -> Vec<u8> {
        let set: LevelSet = text.parse().unwrap();
        (0..=255).filter(|&level| set.contains(Level(level))).collect()
    }

    #[test]
    fn every_way_to_write_a_set_is_read() {
        assert_eq!(levels("1"), [1]);
        assert_eq!(levels("1,2,3"), [1, 2, 3]);
        assert_eq!(levels("1-5"), [1, 2, 3, 4, 5]);
        assert_eq!(levels(" 1 , 7 - 9,255"), [1, 7, 8, 9, 255]);
        assert_eq!(levels("*").len(), 256);
        assert_eq!(levels("3,*").len(), 256);
        assert!(levels("-").is_empty());
    }

    #[test]
    fn what_is_no_set_is_refused_by_name() {
        for text in ["", "a", "1,", "5-1", "256", "1--2", "-1", "1-", "**"] {
            let error = text.parse::<LevelSet>().unwrap_err();
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn a_set_prints_its_shortest_form() {
        for (text, printed) in [("1,2,3,7", "1-3,7"), ("2,1", "1,2"), ("0-255", "*"), ("9", "9")] {
            assert_eq!(text.parse::<LevelSet>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn json_holds_the_text_or_one_number() {
        assert_eq!(serde_json::from_str::<LevelSet>("7").unwrap(), LevelSet::only(Level(7)));
        assert_eq!(serde_json::to_string(&LevelSet::ALL).unwrap(), r#""*""#);
        assert!(serde_json::from_str::<LevelSet>("-7").is_err());
        assert!(serde_json::from_str::<LevelSet>("700").is_err());
    }

    proptest! {
        #[test]
        fn a_set_reads_back_as_it_was_printed(bits in any::<[u64; 4]>()) {
            let set = LevelSet { bits };
            prop_assert_eq!(set.to_string().parse::<LevelSet>().unwrap(), set);
            prop_assert_eq!(LevelSet::from_bytes(&set.to_bytes()), set);
        }
    }
}
