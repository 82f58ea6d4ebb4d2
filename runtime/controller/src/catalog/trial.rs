//! What tests of the catalog are made of: a key, and small components.

use drover_api::{CatalogAdd, CatalogPlugin, CatalogStatement};
use drover_grants::{Manifest, embed};
use drover_signing::{
    Claim, ContentHash, FORMAT, PluginStatement, SecretKey, Statement, StoredKey,
    TrustedKeySettings, TrustedKeys, VersionStatement, generate,
};
use jiff::Timestamp;

/// A key, and the keys that trust it.
pub(super) struct Signer {
    pub(super) keys: TrustedKeys,
    secret: SecretKey,
}

impl Signer {
    pub(super) fn new() -> Self {
        let (public, secret) = generate(None).unwrap();
        let StoredKey::Open(secret) = secret.parse().unwrap() else { panic!("it is locked") };
        let settings =
            TrustedKeySettings { public_key: public.to_string(), ..TrustedKeySettings::default() };
        let keys = TrustedKeys::new(&[("release".to_owned(), settings)].into()).unwrap();
        Self { keys, secret }
    }

    pub(super) fn sign(&self, content: &[u8], comment: &str) -> String {
        self.secret.sign(content, comment).unwrap().to_string()
    }

    /// Adds content under a name that the signature claims.
    pub(super) fn add(&self, name: &str, version: &str, content: &[u8]) -> CatalogAdd {
        let (hash, length) = (ContentHash::of(content), content.len() as u64);
        let claim = Claim { name: name.to_owned(), version: version.to_owned(), hash, length };
        CatalogAdd {
            name: name.to_owned(),
            version: version.to_owned(),
            hash: hash.to_string(),
            length,
            signature: self.sign(content, &claim.to_string()),
            operations: Vec::new(),
            formats: Vec::new(),
            channel: None,
        }
    }

    /// States what is in a list.
    pub(super) fn state(
        &self,
        serial: u64,
        expires: Timestamp,
        list: &[CatalogPlugin],
    ) -> CatalogStatement {
        let plugins = list.iter().map(|plugin| {
            let versions = plugin.versions.iter().map(|version| {
                let stated = VersionStatement {
                    hash: version.hash.parse().unwrap(),
                    length: version.length,
                    is_yanked: version.yanked.is_some(),
                };
                (version.version.clone(), stated)
            });
            let channels = plugin.channels.iter();
            let channels = channels.map(|one| (one.name.clone(), one.version.clone())).collect();
            let stated = PluginStatement { channels, versions: versions.collect() };
            (plugin.name.clone(), stated)
        });
        let statement = Statement {
            format: FORMAT.to_owned(),
            serial,
            issued: Timestamp::now(),
            expires,
            plugins: plugins.collect(),
        };
        let bytes = statement.to_bytes();
        let signature = self.sign(&bytes, "statement");
        CatalogStatement { statement: String::from_utf8(bytes).unwrap(), signature }
    }
}

/// A component with nothing in it but this manifest; without a text, not even that.
pub(super) fn component(manifest: &str) -> Vec<u8> {
    let bare = b"\0asm\x0d\0\x01\0";
    if manifest.is_empty() {
        return bare.to_vec();
    }
    embed(bare, &Manifest::from_toml(manifest).unwrap()).unwrap()
}
