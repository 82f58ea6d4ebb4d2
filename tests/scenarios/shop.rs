//! A site whose controller has a catalog that is filled with a key.

use std::fs;
use std::io::Cursor;

use drover_api::{CatalogDetail, CatalogPlugin, CatalogStatement, procedures};
use drover_grants::{Manifest, embed, read_manifest};
use drover_signing::Statement;
use drover_tests::{Agent, Ran, Site, component, http, wait_for};
use drover_wamp::{Client, ClientConfig};
use serde_json::{Value, json};

use crate::{DROVER, keys};

/// A site whose controller trusts the key in `release.key`.
pub(crate) struct Shop {
    pub(crate) site: Site,
    _keys: tempfile::TempDir,
    pub(crate) key: String,
    /// What a configuration says to trust it.
    pub(crate) trust: String,
}

impl Shop {
    pub(crate) fn open() -> Self {
        let keys = tempfile::tempdir().unwrap();
        let (key, public) = keys::new_key(keys.path(), "release");
        let trust = format!("[trusted_keys.release]\npublic_key = \"{public}\"\n");
        let site = Site::start_with(DROVER, &trust);
        Self { site, _keys: keys, key, trust }
    }

    /// Starts an agent that takes the guest `pushed` from the catalog.
    pub(crate) fn start_node(&self, nid: u32, name: &str, label: &str) -> Agent {
        let dir = self.site.path(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("grants.toml"), "[pushed]\nstate = \"1 MiB\"\n").unwrap();
        let config = format!("labels = [\"{label}\"]\n{}", self.trust);
        self.site.start_agent(nid, name, &config)
    }

    /// The plugin `hello` at a version, in a file of its own.
    pub(crate) fn hello(&self, version: &str, more: &str) -> String {
        self.pack("hello", version, more)
    }

    /// A component under its own name at a version, in a file of its own.
    fn pack(&self, name: &str, version: &str, more: &str) -> String {
        let bytes = fs::read(component(name)).unwrap();
        let own = read_manifest(Cursor::new(&bytes)).unwrap().unwrap_or_default();
        let text = format!("name = \"{name}\"\nversion = \"{version}\"\n{more}");
        let manifest = Manifest { format: own.format, ..Manifest::from_toml(&text).unwrap() };
        let path = self.site.path(&format!("{name}-{version}.wasm"));
        fs::write(&path, embed(&bytes, &manifest).unwrap()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn drover(&self, arguments: &[&str]) -> Ran {
        let cache = drover_tests::compiled();
        let mut line = [&["catalog"], arguments].concat();
        if arguments[0] == "push" {
            line.extend(["--cache", cache.to_str().unwrap()]);
        }
        self.site.drover(&line)
    }

    pub(crate) fn push(&self, version: &str, arguments: &[&str]) -> CatalogDetail {
        self.push_file(&self.hello(version, ""), arguments)
    }

    /// The guest `pushed` at a version; `tests/guests/examples/pushed.rs` says which
    /// are bad.
    pub(crate) fn push_guest(&self, version: &str) -> CatalogDetail {
        let asks = "[asks]\nstate = { size = \"1 MiB\", reason = \"counts\" }\n";
        self.push_file(&self.pack("pushed", version, asks), &[])
    }

    fn push_file(&self, file: &str, arguments: &[&str]) -> CatalogDetail {
        let line = [&["push", file, "--key", &self.key, "--json"], arguments].concat();
        serde_json::from_str(&self.drover(&line).ok()).unwrap()
    }

    pub(crate) fn list(&self) -> Vec<CatalogPlugin> {
        serde_json::from_str(&self.drover(&["list", "--json"]).ok()).unwrap()
    }

    pub(crate) fn address(&self) -> String {
        self.site.url.trim_start_matches("ws://").trim_end_matches("/ws").to_owned()
    }

    pub(crate) fn statement(&self) -> Option<Statement> {
        let request = json!({ "procedure": procedures::CATALOG_STATEMENT }).to_string();
        // A controller that has just started may not have its catalog open yet.
        let answer = wait_for("the statement", || {
            let answer = http(&self.address(), "POST /call", "", &request).json();
            if answer.get("error").is_none() { Ok(answer) } else { Err(answer) }
        });
        let stated: Option<CatalogStatement> =
            serde_json::from_value(answer["args"].get(0).cloned().unwrap_or(Value::Null)).unwrap();
        stated.map(|stated| Statement::from_bytes(stated.statement.as_bytes()).unwrap())
    }

    pub(crate) async fn session(&self) -> Client {
        Client::connect(&ClientConfig::new(&self.site.url, procedures::REALM)).await.unwrap()
    }
}
