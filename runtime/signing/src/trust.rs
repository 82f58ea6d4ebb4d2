//! Whose signatures count: the keys of the configuration.

use std::collections::BTreeMap;
use std::io::Read;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::key::{KeyError, KeyId, PublicKey};
use crate::signature::{Signature, SignatureError};

/// A key of the configuration, as it is written: `[trusted_keys.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedKeySettings {
    /// The public key: the second line of its `.pub` file.
    pub public_key: String,
    /// Its signatures do not count before this: a day (`2026-01-31`, from its
    /// beginning in UTC) or an instant (`2026-01-31T12:00:00Z`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<String>,
    /// Its signatures do not count after this: a day (to its end in UTC) or an
    /// instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
    /// Its signatures count no longer, whenever they were made.
    #[serde(default, skip_serializing_if = "is_false")]
    pub revoked: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Trusted keys that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// A key is none.
    #[error("`trusted_keys.{name}.public_key`: {source}")]
    Key {
        /// The key's name.
        name: String,
        /// What is wrong with it.
        source: KeyError,
    },
    /// A time is none.
    #[error(
        "`trusted_keys.{name}.{field} = \"{value}\"`: write a day such as 2026-01-31, or an \
         instant such as 2026-01-31T12:00:00Z"
    )]
    Time {
        /// The key's name.
        name: String,
        /// Which of the two.
        field: &'static str,
        /// What it was set to.
        value: String,
    },
    /// Two have the same number, so that a signature would not say whose it is.
    #[error("`trusted_keys.{first}` and `trusted_keys.{second}` are the same key, {id}: keep one")]
    Twice {
        /// One.
        first: String,
        /// The other.
        second: String,
        /// Their number.
        id: KeyId,
    },
}

/// Why a signature is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// No key is trusted.
    #[error(
        "no key is trusted here: add `[trusted_keys.NAME]` with `public_key = \"RW…\"` to the \
         configuration"
    )]
    NoTrustedKeys,
    /// It was made with a key that is not trusted.
    #[error("it was made with the key {id}, which is not trusted here; {trusted} are")]
    UnknownKey {
        /// The key that it names.
        id: KeyId,
        /// Those that are, as text.
        trusted: String,
    },
    /// Its key is revoked.
    #[error("it was made with the key `{name}` ({id}), which is revoked: sign with another one")]
    Revoked {
        /// The key's name.
        name: String,
        /// Its number.
        id: KeyId,
    },
    /// Its key does not count yet.
    #[error("it was made with the key `{name}` ({id}), which counts from {from} on")]
    TooEarly {
        /// The key's name.
        name: String,
        /// Its number.
        id: KeyId,
        /// When that is.
        from: Timestamp,
    },
    /// Its key does not count any more.
    #[error(
        "it was made with the key `{name}` ({id}), which counted until {until}: sign with another \
         one"
    )]
    TooLate {
        /// The key's name.
        name: String,
        /// Its number.
        id: KeyId,
        /// When that was.
        until: Timestamp,
    },
    /// It is malformed, or wrong.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

/// What a signature that counts says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The name of the key in the configuration.
    pub key: String,
    /// Its number.
    pub key_id: KeyId,
    /// The comment that was signed with the content.
    pub trusted_comment: String,
}

/// The keys whose signatures count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedKeys(BTreeMap<KeyId, TrustedKey>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct TrustedKey {
    name: String,
    public_key: PublicKey,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    is_revoked: bool,
}

impl TrustedKeys {
    /// The keys of a configuration, by their names.
    ///
    /// # Errors
    ///
    /// If a key or a time is none, or a key is there twice.
    pub fn new(settings: &BTreeMap<String, TrustedKeySettings>) -> Result<Self, TrustError> {
        let mut keys = BTreeMap::<KeyId, TrustedKey>::new();
        for (name, setting) in settings {
            let key = TrustedKey::new(name, setting)?;
            let id = key.public_key.id();
            if let Some(first) = keys.insert(id, key) {
                return Err(TrustError::Twice { first: first.name, second: name.clone(), id });
            }
        }
        Ok(Self(keys))
    }

    /// Whether there are none, so that no signature counts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the key is one of them and not revoked, whatever the time.
    #[must_use]
    pub fn includes(&self, id: KeyId) -> bool {
        self.0.get(&id).is_some_and(|key| !key.is_revoked)
    }

    /// Checks that one of the keys signed `content`, and that it counts `now`.
    /// When the signature was made does not matter: nobody could prove it.
    ///
    /// # Errors
    ///
    /// If there is no such key, or the signature is not right.
    pub fn verify(
        &self,
        content: impl Read,
        signature: &str,
        now: Timestamp,
    ) -> Result<Signed, SigningError> {
        let signature: Signature = signature.parse()?;
        let key = self.find(signature.key_id())?;
        key.check(now)?;
        key.public_key.verify(content, &signature)?;
        Ok(Signed {
            key: key.name.clone(),
            key_id: signature.key_id(),
            trusted_comment: signature.trusted_comment().to_owned(),
        })
    }

    fn find(&self, id: KeyId) -> Result<&TrustedKey, SigningError> {
        if self.is_empty() {
            return Err(SigningError::NoTrustedKeys);
        }
        self.0.get(&id).ok_or_else(|| {
            let named = self.0.iter().map(|(id, key)| format!("`{}` ({id})", key.name));
            SigningError::UnknownKey { id, trusted: named.collect::<Vec<_>>().join(", ") }
        })
    }
}

impl TrustedKey {
    fn new(name: &str, setting: &TrustedKeySettings) -> Result<Self, TrustError> {
        let public_key = setting
            .public_key
            .parse()
            .map_err(|source| TrustError::Key { name: name.to_owned(), source })?;
        let time = |field, value: &Option<String>, is_end| {
            let Some(value) = value else { return Ok(None) };
            let error = || TrustError::Time { name: name.to_owned(), field, value: value.clone() };
            instant(value, is_end).map(Some).ok_or_else(error)
        };
        Ok(Self {
            name: name.to_owned(),
            public_key,
            from: time("not_before", &setting.not_before, false)?,
            until: time("not_after", &setting.not_after, true)?,
            is_revoked: setting.revoked,
        })
    }

    fn check(&self, now: Timestamp) -> Result<(), SigningError> {
        let (name, id) = (self.name.clone(), self.public_key.id());
        if self.is_revoked {
            return Err(SigningError::Revoked { name, id });
        }
        if let Some(from) = self.from.filter(|from| now < *from) {
            return Err(SigningError::TooEarly { name, id, from });
        }
        match self.until.filter(|until| now >= *until) {
            Some(until) => Err(SigningError::TooLate { name, id, until }),
            None => Ok(()),
        }
    }
}

/// The instant that a text says; of a day its beginning, or its end.
fn instant(text: &str, is_end: bool) -> Option<Timestamp> {
    if let Ok(instant) = text.parse() {
        return Some(instant);
    }
    let day: Date = text.parse().ok()?;
    let day = if is_end { day.tomorrow().ok()? } else { day };
    Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{SecretKey, StoredKey, generate};

    const CONTENT: &[u8] = b"content";

    fn key() -> (TrustedKeySettings, SecretKey) {
        let (public, secret) = generate(None).unwrap();
        let StoredKey::Open(secret) = secret.parse().unwrap() else { panic!("it is locked") };
        let settings =
            TrustedKeySettings { public_key: public.to_string(), ..TrustedKeySettings::default() };
        (settings, secret)
    }

    fn trusted<const N: usize>(keys: [(&str, &TrustedKeySettings); N]) -> TrustedKeys {
        let named = keys.map(|(name, settings)| (name.to_owned(), settings.clone()));
        TrustedKeys::new(&named.into()).unwrap()
    }

    fn at(keys: &TrustedKeys, signature: &str, now: &str) -> Result<Signed, SigningError> {
        keys.verify(CONTENT, signature, now.parse().unwrap())
    }

    const NOW: &str = "2026-06-01T12:00:00Z";

    #[test]
    fn a_trusted_key_is_named_with_what_it_signed() {
        let (settings, secret) = key();
        let signature = secret.sign(CONTENT, "all is well").unwrap().to_string();
        let signed = at(&trusted([("ci", &settings)]), &signature, NOW).unwrap();
        assert_eq!((signed.key.as_str(), signed.trusted_comment.as_str()), ("ci", "all is well"));
        assert_eq!(signed.key_id, secret.public_key().id());
    }

    #[test]
    fn another_key_is_refused_with_those_that_are_trusted() {
        let ((settings, _), (_, stranger)) = (key(), key());
        let signature = stranger.sign(CONTENT, "x").unwrap().to_string();
        let error = at(&trusted([("ci", &settings)]), &signature, NOW).unwrap_err().to_string();
        assert!(error.contains("not trusted here; `ci` ("), "{error}");
        let error = at(&TrustedKeys::default(), &signature, NOW).unwrap_err();
        assert_eq!(error, SigningError::NoTrustedKeys);
    }

    #[test]
    fn two_keys_overlap_while_one_replaces_the_other() {
        let ((mut old, old_secret), (mut new, new_secret)) = (key(), key());
        old.not_after = Some("2026-06-30".to_owned());
        new.not_before = Some("2026-06-01".to_owned());
        let keys = trusted([("old", &old), ("new", &new)]);
        let by_old = old_secret.sign(CONTENT, "x").unwrap().to_string();
        let by_new = new_secret.sign(CONTENT, "x").unwrap().to_string();
        for (now, old_counts, new_counts) in [
            ("2026-05-31T23:59:59Z", true, false),
            ("2026-06-01T00:00:00Z", true, true),
            ("2026-06-30T23:59:59Z", true, true),
            ("2026-07-01T00:00:00Z", false, true),
        ] {
            assert_eq!(at(&keys, &by_old, now).is_ok(), old_counts, "old, {now}");
            assert_eq!(at(&keys, &by_new, now).is_ok(), new_counts, "new, {now}");
        }
    }

    #[test]
    fn a_revoked_key_counts_at_no_time() {
        let (mut settings, secret) = key();
        settings.revoked = true;
        let keys = trusted([("ci", &settings)]);
        let error = at(&keys, &secret.sign(CONTENT, "x").unwrap().to_string(), NOW).unwrap_err();
        assert!(matches!(error, SigningError::Revoked { .. }), "{error}");
        assert!(!keys.includes(secret.public_key().id()));
    }

    #[test]
    fn settings_that_are_wrong_are_refused_by_name() {
        let (good, _) = key();
        let wrong = |settings: TrustedKeySettings| {
            TrustedKeys::new(&[("ci".to_owned(), settings)].into()).unwrap_err().to_string()
        };
        let key = wrong(TrustedKeySettings { public_key: "RWx".to_owned(), ..good.clone() });
        assert!(key.starts_with("`trusted_keys.ci.public_key`: it is no minisign"), "{key}");
        let time = wrong(TrustedKeySettings { not_after: Some("June".to_owned()), ..good.clone() });
        assert!(time.starts_with("`trusted_keys.ci.not_after = \"June\"`"), "{time}");
        let twice = [("a".to_owned(), good.clone()), ("b".to_owned(), good)].into();
        assert!(matches!(TrustedKeys::new(&twice), Err(TrustError::Twice { .. })));
    }
}
