//! The catalog's door: what may enter, and what is refused.

use std::io::{Read, Seek, SeekFrom};

use drover_api::{CatalogAdd, OWN_PROGRAM};
use drover_grants::{Manifest, PluginName, read_manifest};
use drover_signing::{Claim, ContentCheck, ContentHash, TrustedKeys};
use jiff::Timestamp;
use semver::Version;

use super::error::CatalogError;

/// What components begin with.
const COMPONENT: &[u8; 8] = b"\0asm\x0d\0\x01\0";

/// What programs begin with; the agent's own is one.
const PROGRAM: &[u8; 4] = b"\x7fELF";

/// The longest description that is taken on trust, in bytes of JSON.
const MOST_DESCRIPTION: usize = 1 << 20;

/// What is known of content that may enter.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) hash: ContentHash,
    pub(super) manifest: Manifest,
    /// The name of the key that signed it.
    pub(super) signed_by: String,
}

/// Decides whether `content` may enter as what `add` says that it is. Its
/// operations are taken on trust: only whoever runs it can ask it for them, and
/// nodes do.
pub(super) fn admit(
    add: &CatalogAdd,
    mut content: impl Read + Seek,
    keys: &TrustedKeys,
    now: Timestamp,
) -> Result<Admitted, CatalogError> {
    let hash: ContentHash = add.hash.parse()?;
    check_name(&add.name)?;
    check_version(&add.version)?;
    let described = serde_json::to_vec(&(&add.operations, &add.formats))?;
    if described.len() > MOST_DESCRIPTION {
        return Err(CatalogError::Description { most: MOST_DESCRIPTION });
    }
    check_content(&mut content, hash, add)?;
    let signed = keys.verify(rewound(&mut content)?, &add.signature, now).map_err(|source| {
        CatalogError::Signature { name: add.name.clone(), version: add.version.clone(), source }
    })?;
    let claim = Claim::parse(&signed.trusted_comment)?;
    if let Some(claim) = &claim {
        claim.check(&add.name, &add.version, (hash, add.length))?;
    }
    let manifest = match is_program(add) {
        true => Manifest::default(),
        false => read_manifest(rewound(&mut content)?)?.unwrap_or_default(),
    };
    check_manifest(&manifest, add, claim.is_some())?;
    Ok(Admitted { hash, manifest, signed_by: signed.key })
}

/// Refuses what is no name of a plugin.
pub(super) fn check_name(name: &str) -> Result<(), CatalogError> {
    let refused = |_| CatalogError::Name {
        of: "plugin",
        text: name.chars().take(80).collect(),
        rule: "use letters a to z, digits and `-`",
    };
    name.parse::<PluginName>().map(drop).map_err(refused)
}

/// Refuses what is no version.
pub(super) fn check_version(version: &str) -> Result<Version, CatalogError> {
    let text = || version.chars().take(80).collect();
    Version::parse(version).map_err(|_| CatalogError::Version { text: text() })
}

/// Refuses what is no name of a channel; a version is none.
pub(super) fn check_channel(channel: &str) -> Result<(), CatalogError> {
    let is_right = channel.starts_with(|c: char| c.is_ascii_lowercase())
        && channel.len() <= 64
        && channel.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let rule = "use letters a to z, digits and `-`, a letter first";
    match is_right {
        true => Ok(()),
        false => {
            let text = channel.chars().take(80).collect();
            Err(CatalogError::Name { of: "channel", text, rule })
        }
    }
}

/// Whether it is the agent's own program, and no plugin.
fn is_program(add: &CatalogAdd) -> bool {
    add.name == OWN_PROGRAM
}

fn check_content(
    content: &mut (impl Read + Seek),
    hash: ContentHash,
    add: &CatalogAdd,
) -> Result<(), CatalogError> {
    let mut check = ContentCheck::new(hash, add.length);
    let content = rewound(content)?;
    let mut piece = vec![0; 64 << 10];
    let mut is_first = true;
    let wrong = |source| CatalogError::NotThere { hash, source };
    loop {
        let read = content.read(&mut piece).map_err(unreadable)?;
        match is_program(add) {
            true if is_first && !piece[..read].starts_with(PROGRAM) => {
                return Err(CatalogError::NotAProgram);
            }
            false if is_first && !piece[..read].starts_with(COMPONENT) => {
                return Err(CatalogError::NotAComponent);
            }
            _ => {}
        }
        is_first = false;
        if read == 0 {
            return check.finish().map_err(wrong);
        }
        check.take(&piece[..read]).map_err(wrong)?;
    }
}

/// The manifest is signed with the content, so it speaks for it as a claim
/// does; the two may not contradict each other.
fn check_manifest(
    manifest: &Manifest,
    add: &CatalogAdd,
    has_claim: bool,
) -> Result<(), CatalogError> {
    let wanted = format!("{}@{}", add.name, add.version);
    let name = manifest.name.as_ref().map(PluginName::as_str);
    let version = manifest.version.as_ref().map(ToString::to_string);
    if name.is_some_and(|name| name != add.name)
        || version.as_ref().is_some_and(|version| *version != add.version)
    {
        let (name, version) = (name.unwrap_or(&add.name), version.as_ref());
        let found = format!("{name}@{}", version.unwrap_or(&add.version));
        return Err(CatalogError::OtherManifest { found, wanted });
    }
    if has_claim || (name.is_some() && version.is_some()) {
        Ok(())
    } else {
        Err(CatalogError::Unbound { wanted })
    }
}

fn rewound<R: Read + Seek>(content: &mut R) -> Result<&mut R, CatalogError> {
    content.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    Ok(content)
}

fn unreadable(source: std::io::Error) -> CatalogError {
    CatalogError::Files { path: "the content that was pushed".to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::super::trial::{Signer, component};
    use super::*;

    fn admit(signer: &Signer, add: &CatalogAdd, content: &[u8]) -> Result<Admitted, String> {
        let now = Timestamp::now();
        super::admit(add, Cursor::new(content), &signer.keys, now).map_err(|error| {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                text += &format!(": {cause}");
                source = cause.source();
            }
            text
        })
    }

    #[test]
    fn what_a_trusted_key_has_signed_may_enter() {
        let signer = Signer::new();
        let content = component("name = \"hello\"\nversion = \"1.2.0\"");
        let admitted = admit(&signer, &signer.add("hello", "1.2.0", &content), &content).unwrap();
        assert_eq!(admitted.signed_by, "release");
        assert_eq!(admitted.hash, ContentHash::of(&content));
        assert_eq!(admitted.manifest.version.unwrap().to_string(), "1.2.0");
    }

    #[test]
    fn a_signature_in_ones_own_words_is_enough_where_the_manifest_says_what_it_is() {
        let signer = Signer::new();
        let content = component("name = \"hello\"\nversion = \"1.2.0\"");
        let mut add = signer.add("hello", "1.2.0", &content);
        add.signature = signer.sign(&content, "timestamp:1\tfile:hello.wasm\thashed");
        admit(&signer, &add, &content).unwrap();

        let bare = component("");
        let mut add = signer.add("hello", "1.2.0", &bare);
        admit(&signer, &add, &bare).unwrap();
        add.signature = signer.sign(&bare, "timestamp:1\tfile:hello.wasm\thashed");
        let error = admit(&signer, &add, &bare).unwrap_err();
        assert!(error.contains("says that it is hello@1.2.0: give the manifest"), "{error}");
    }

    #[test]
    fn what_is_unsigned_broken_or_something_else_is_refused_with_what_to_do() {
        let signer = Signer::new();
        let content = component("name = \"hello\"\nversion = \"1.2.0\"");
        let add = signer.add("hello", "1.2.0", &content);
        let with = |change: fn(&mut CatalogAdd)| {
            let mut add = add.clone();
            change(&mut add);
            admit(&signer, &add, &content).unwrap_err()
        };
        for (error, words) in [
            (with(|add| add.signature = String::new()), "it is no minisign signature"),
            (with(|add| add.length += 1), "has not arrived as a whole"),
            (with(|add| add.hash = "0".repeat(64)), "has not arrived as a whole"),
            (with(|add| add.hash = "x".to_owned()), "`x` is no SHA-256"),
            (with(|add| add.name = "../x".to_owned()), "is no name for a plugin"),
            (with(|add| add.version = "1".to_owned()), "`1` is no version"),
            (with(|add| add.name = "other".to_owned()), "for hello@1.2.0, not for other@1.2.0"),
        ] {
            assert!(error.contains(words), "{error}");
        }
        let mut changed = content.clone();
        *changed.last_mut().unwrap() ^= 1;
        let mut add = signer.add("hello", "1.2.0", &changed);
        add.signature = signer.add("hello", "1.2.0", &content).signature;
        let error = admit(&signer, &add, &changed).unwrap_err();
        assert!(error.contains("not what was signed"), "{error}");
        let mut stranger = Signer::new();
        let error = admit(&stranger, &add, &changed).unwrap_err();
        assert!(error.contains("which is not trusted here"), "{error}");
        stranger.keys = TrustedKeys::default();
        let error = admit(&stranger, &add, &changed).unwrap_err();
        assert!(error.contains("add `[trusted_keys.NAME]`"), "{error}");
    }

    #[test]
    fn what_is_no_component_is_refused_and_so_is_one_that_calls_itself_otherwise() {
        let signer = Signer::new();
        for content in [b"" as &[u8], b"\0asm\x01\0\0\0", b"#!/bin/sh"] {
            let error = admit(&signer, &signer.add("hello", "1.2.0", content), content);
            assert!(error.unwrap_err().starts_with("it is no component"));
        }
        let content = component("name = \"hello\"\nversion = \"1.2.0\"");
        let error = admit(&signer, &signer.add("hello", "1.3.0", &content), &content);
        assert!(error.unwrap_err().contains("it is hello@1.2.0, not hello@1.3.0"));
    }

    #[test]
    fn the_agents_own_program_is_a_program_and_nothing_else_is() {
        let signer = Signer::new();
        let program = b"\x7fELF and so on";
        let mut add = signer.add("agent", "1.2.0", program);
        admit(&signer, &add, program).unwrap();
        add.signature = signer.sign(program, "timestamp:1\tfile:drover\thashed");
        assert!(admit(&signer, &add, program).unwrap_err().contains("sign with `drover sign`"));
        let error = admit(&signer, &signer.add("hello", "1.2.0", program), program);
        assert!(error.unwrap_err().starts_with("it is no component"));
        let plugin = component("");
        let error = admit(&signer, &signer.add("agent", "1.2.0", &plugin), &plugin);
        assert!(error.unwrap_err().contains("no program"));
    }

    #[test]
    fn a_channel_is_never_mistaken_for_a_version() {
        for right in ["stable", "edge", "team-7"] {
            check_channel(right).unwrap();
        }
        for wrong in ["", "1.2.0", "7", "Stable", "a b", &"a".repeat(65)] {
            assert!(check_channel(wrong).is_err(), "{wrong}");
        }
    }
}
