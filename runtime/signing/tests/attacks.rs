//! The attacks that The Update Framework lists, each against a node that does
//! what nodes do: read a statement, accept it, fetch what it names.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::collections::BTreeMap;
use std::error::Error;

use drover_signing::{
    Claim, ContentError, ContentHash, FORMAT, MOST_STATEMENT_BYTES, PluginStatement, SecretKey,
    Seen, Statement, StoredKey, TrustedKeySettings, TrustedKeys, VersionStatement, accept,
    generate, read_statement,
};
use jiff::{Timestamp, ToSpan};

fn new_key() -> (TrustedKeySettings, SecretKey) {
    let (public, secret) = generate(None).unwrap();
    let StoredKey::Open(secret) = secret.parse().unwrap() else { panic!("it is locked") };
    (TrustedKeySettings { public_key: public.to_string(), ..Default::default() }, secret)
}

fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

/// A signer, and a node that trusts it.
struct Site {
    settings: BTreeMap<String, TrustedKeySettings>,
    keys: TrustedKeys,
    secret: SecretKey,
    seen: Option<Seen>,
    now: Timestamp,
}

impl Site {
    fn new() -> Self {
        let (setting, secret) = new_key();
        let settings = BTreeMap::from([("release".to_owned(), setting)]);
        let keys = TrustedKeys::new(&settings).unwrap();
        Self { settings, keys, secret, seen: None, now: now() }
    }

    /// A statement that lasts a week, by the site's key.
    fn state(&self, serial: u64, plugins: &[(&str, &str, &[u8])]) -> (Vec<u8>, String) {
        let bytes = statement(serial, plugins).to_bytes();
        let signature = self.secret.sign(&bytes[..], "statement").unwrap().to_string();
        (bytes, signature)
    }

    /// What the node does with a statement that somebody shows it.
    fn show(&mut self, (bytes, signature): &(Vec<u8>, String)) -> Result<Statement, String> {
        let signed = read_statement(bytes, signature, &self.keys, self.now).map_err(|error| {
            format!("{error}: {}", error.source().map_or(String::new(), |e| e.to_string()))
        })?;
        let seen = accept(self.seen.as_ref(), &signed, &self.keys, self.now);
        self.seen = Some(seen.map_err(|error| error.to_string())?);
        Ok(signed.statement().clone())
    }
}

fn statement(serial: u64, plugins: &[(&str, &str, &[u8])]) -> Statement {
    let mut stated = BTreeMap::<String, PluginStatement>::new();
    for (name, version, content) in plugins {
        let (hash, length) = (ContentHash::of(content), content.len() as u64);
        let plugin = stated.entry((*name).to_owned()).or_default();
        let entry = VersionStatement { hash, length, is_yanked: false };
        plugin.versions.insert((*version).to_owned(), entry);
        plugin.channels.insert("stable".to_owned(), (*version).to_owned());
    }
    let issued = now();
    let expires = issued + (7 * 24).hours();
    Statement { format: FORMAT.to_owned(), serial, issued, expires, plugins: stated }
}

/// What the node does with content that somebody gives it for a version.
fn fetch(statement: &Statement, of: (&str, &str), pieces: &[&[u8]]) -> Result<(), ContentError> {
    let mut check = statement.version(of.0, of.1).unwrap().check();
    pieces.iter().try_for_each(|piece| check.take(piece))?;
    check.finish()
}

#[test]
fn arbitrary_software() {
    let mut site = Site::new();
    let (_, stranger) = new_key();
    let bytes = statement(9, &[("hello", "1.0.0", b"evil")]).to_bytes();
    let signature = stranger.sign(&bytes[..], "statement").unwrap().to_string();
    let error = site.show(&(bytes, signature)).unwrap_err();
    assert!(error.contains("not trusted here"), "{error}");
    assert_eq!(site.seen, None);

    let (bytes, signature) = site.state(1, &[("hello", "1.0.0", b"good")]);
    let changed = String::from_utf8(bytes).unwrap().replace("1.0.0", "1.0.1").into_bytes();
    let error = site.show(&(changed, signature.clone())).unwrap_err();
    assert!(error.contains("not what was signed"), "{error}");

    let good = site.show(&site.state(1, &[("hello", "1.0.0", b"good")])).unwrap();
    let error = fetch(&good, ("hello", "1.0.0"), &[b"evil"]).unwrap_err();
    assert!(matches!(error, ContentError::WrongHash { .. }), "{error}");
}

#[test]
fn wrong_software() {
    let site = Site::new();
    let content = b"hello 1.0.0";
    let claim = Claim {
        name: "hello".to_owned(),
        version: "1.0.0".to_owned(),
        hash: ContentHash::of(content),
        length: content.len() as u64,
    };
    let signature = site.secret.sign(&content[..], &claim.to_string()).unwrap().to_string();
    let signed = site.keys.verify(&content[..], &signature, site.now).unwrap();
    let claim = Claim::parse(&signed.trusted_comment).unwrap().unwrap();
    let content = (ContentHash::of(content), content.len() as u64);
    assert_eq!(claim.check("hello", "1.0.0", content), Ok(()));
    assert!(claim.check("backup", "1.0.0", content).is_err());
    assert!(claim.check("hello", "2.0.0", content).is_err());
}

#[test]
fn rollback() {
    let mut site = Site::new();
    let old = site.state(1, &[("hello", "1.0.0", b"one")]);
    let new = site.state(2, &[("hello", "1.1.0", b"two")]);
    site.show(&old).unwrap();
    site.show(&new).unwrap();
    let error = site.show(&old).unwrap_err();
    assert_eq!(error, "the statement 1 is older than 2, which was seen before");
    site.show(&new).unwrap();
}

#[test]
fn indefinite_freeze() {
    let mut site = Site::new();
    let frozen = site.state(1, &[("hello", "1.0.0", b"one")]);
    site.show(&frozen).unwrap();
    site.now = now() + (7 * 24).hours();
    let error = site.show(&frozen).unwrap_err();
    assert!(error.contains("expired at 2026-06-08T12:00:00Z"), "{error}");
}

#[test]
fn a_clock_that_is_set_back_thaws_nothing_that_was_over_by_then() {
    let mut site = Site::new();
    let mut late = statement(2, &[]);
    late.issued = now() + (30 * 24).hours();
    late.expires = late.issued + (7 * 24).hours();
    let sign = |site: &Site, statement: &Statement| {
        let bytes = statement.to_bytes();
        let signature = site.secret.sign(&bytes[..], "statement").unwrap().to_string();
        (bytes, signature)
    };
    site.now = late.issued;
    let late = sign(&site, &late);
    site.show(&late).unwrap();
    site.now = now();
    let over = site.state(3, &[("hello", "1.0.0", b"one")]);
    assert!(site.show(&over).unwrap_err().contains("expired"));
}

#[test]
fn mix_and_match() {
    let mut site = Site::new();
    let both = site.state(5, &[("hello", "1.0.0", b"h1"), ("backup", "1.0.0", b"b1")]);
    let other = site.state(5, &[("hello", "1.1.0", b"h2"), ("backup", "1.0.0", b"b1")]);
    let stated = site.show(&both).unwrap();
    let error = site.show(&other).unwrap_err();
    assert!(error.contains("two different statements 5"), "{error}");
    // What another statement names is nothing to this one.
    let error = stated.version("hello", "1.1.0").unwrap_err().to_string();
    assert_eq!(error, "the statement 5 has no hello@1.1.0");
    assert!(fetch(&stated, ("backup", "1.0.0"), &[b"h1"]).is_err());
}

#[test]
fn endless_data() {
    let mut site = Site::new();
    let stated = site.show(&site.state(1, &[("hello", "1.0.0", b"one")])).unwrap();
    let mut check = stated.version("hello", "1.0.0").unwrap().check();
    let error = check.take(&[0; 4096]).unwrap_err();
    assert_eq!(error, ContentError::TooLong { length: 3 });
    assert_eq!(check.missing(), 3);

    let endless = vec![b' '; MOST_STATEMENT_BYTES + 1];
    let signature = site.secret.sign(&endless[..], "statement").unwrap().to_string();
    assert!(site.show(&(endless, signature)).unwrap_err().contains("longer than"));
    let (bytes, signature) = site.state(2, &[]);
    let error = site.show(&(bytes, signature + &" ".repeat(8 << 10))).unwrap_err();
    assert!(error.contains("longer than 8 KiB"), "{error}");
}

#[test]
fn fast_forward() {
    let mut site = Site::new();
    site.show(&site.state(u64::MAX, &[])).unwrap();
    let (setting, secret) = new_key();
    site.settings.insert("next".to_owned(), setting);
    site.keys = TrustedKeys::new(&site.settings).unwrap();
    site.secret = secret;
    let next = site.state(1, &[("hello", "1.0.0", b"one")]);
    assert!(site.show(&next).unwrap_err().contains("older than"));

    site.settings.get_mut("release").unwrap().revoked = true;
    site.keys = TrustedKeys::new(&site.settings).unwrap();
    site.show(&next).unwrap();
}

#[test]
fn key_compromise() {
    let mut site = Site::new();
    let by_stolen_key = site.state(2, &[("hello", "1.0.0", b"evil")]);
    site.settings.get_mut("release").unwrap().revoked = true;
    site.keys = TrustedKeys::new(&site.settings).unwrap();
    let error = site.show(&by_stolen_key).unwrap_err();
    assert!(error.contains("which is revoked"), "{error}");
}
