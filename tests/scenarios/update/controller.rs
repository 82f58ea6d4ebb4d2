//! A controller that is a router in the test and a catalog that it can stop.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use drover_api::{CatalogChanged, CatalogPiece, CatalogRead, CatalogStatement, Octets, procedures};
use drover_grants::{Manifest, embed};
use drover_signing::{
    Claim, ContentHash, FORMAT, PluginStatement, SecretKey, Statement, StoredKey, VersionStatement,
    generate,
};
use drover_tests::component;
use drover_wamp::{
    Client, ClientConfig, HttpConfig, HttpFiles, Pace, Payload, PublishOptions, RealmConfig,
    RegisterOptions, Router, RouterConfig,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The most that one piece has: every plugin comes in several.
const PIECE: u64 = 16 << 10;

/// A router with a catalog.
pub(super) struct Controller {
    pub(super) url: String,
    pub(super) client: Client,
    pub(super) public_key: String,
    secret: SecretKey,
    pub(super) catalog: Arc<Mutex<Catalog>>,
    /// How many more pieces the catalog gives over the link before it waits.
    pub(super) answers: watch::Sender<u64>,
    /// What it gives by HTTP.
    files: TempDir,
    _tasks: JoinSet<()>,
}

/// What the catalog has.
#[derive(Default)]
pub(super) struct Catalog {
    contents: BTreeMap<String, Vec<u8>>,
    statement: Statements,
    /// Where the pieces began that were asked for.
    pub(super) read: Vec<u64>,
    /// How often the statement was asked for.
    pub(super) stated: u64,
}

#[derive(Default)]
struct Statements {
    serial: u64,
    plugins: BTreeMap<String, PluginStatement>,
    signed: Option<CatalogStatement>,
}

/// A version that was put into the catalog.
#[derive(Debug, Clone)]
pub(super) struct Pushed {
    pub(super) version: String,
    pub(super) hash: String,
    pub(super) length: u64,
    pub(super) signature: String,
}

/// More answers than any test asks for.
pub(super) const ALL: u64 = 1 << 40;

impl Controller {
    pub(super) async fn start() -> Self {
        let realms = vec![RealmConfig::open(procedures::REALM)];
        let files = TempDir::new().unwrap();
        let (path, dir) = ("/catalog/".to_owned(), files.path().to_owned());
        let handed_out = HttpFiles { path, dir, pace: Pace::new(1 << 30), procedure: None };
        let http = HttpConfig { files: Some(handed_out), ..HttpConfig::default() };
        let router = Router::new(RouterConfig { realms, http, ..RouterConfig::default() }).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/ws", listener.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _ = router.serve(listener, CancellationToken::new()).await;
        });
        let client = Client::connect(&ClientConfig::new(&url, procedures::REALM)).await.unwrap();
        let (public, text) = generate(None).unwrap();
        let StoredKey::Open(secret) = text.parse().unwrap() else { panic!("it has no password") };
        let public_key = public.to_text().lines().nth(1).unwrap().to_owned();
        let catalog = Arc::<Mutex<Catalog>>::default();
        let answers = watch::Sender::new(ALL);
        for procedure in [procedures::CATALOG_READ, procedures::CATALOG_STATEMENT] {
            let calls = client.register(procedure, RegisterOptions::default()).await.unwrap();
            tasks.spawn(serve(calls, catalog.clone(), answers.clone()));
        }
        Self { url, client, public_key, secret, catalog, answers, files, _tasks: tasks }
    }

    /// What an agent's configuration needs to trust this controller's catalog.
    pub(super) fn trusted(&self) -> String {
        format!("[trusted_keys.test]\npublic_key = \"{}\"\n", self.public_key)
    }

    /// Puts the guest `pushed` into the catalog as a version of the plugin `pushed`
    /// that asks for `asks`, and signs and states it.
    pub(super) fn push(&self, version: &str, asks: &str) -> Pushed {
        let manifest = format!("name = \"pushed\"\nversion = \"{version}\"\n[asks]\n{asks}");
        let manifest = Manifest::from_toml(&manifest).unwrap();
        let guest = std::fs::read(component("pushed")).unwrap();
        let content = embed(&guest, &manifest).unwrap();
        let (hash, length) = (ContentHash::of(&content), content.len() as u64);
        let (name, number) = ("pushed".to_owned(), version.to_owned());
        let claim = Claim { name: name.clone(), version: number.clone(), hash, length };
        let signature = self.secret.sign(&content[..], &claim.to_string()).unwrap().to_string();
        std::fs::write(self.files.path().join(hash.to_string()), &content).unwrap();
        let mut catalog = self.lock();
        catalog.contents.insert(hash.to_string(), content);
        let plugin = catalog.statement.plugins.entry(name).or_default();
        plugin.versions.insert(number, VersionStatement { hash, length, is_yanked: false });
        drop(catalog);
        self.state("2999-01-01T00:00:00Z");
        Pushed { version: version.to_owned(), hash: hash.to_string(), length, signature }
    }

    /// Withdraws a version, and tells the nodes.
    pub(super) async fn yank(&self, pushed: &Pushed) {
        {
            let mut catalog = self.lock();
            let plugin = catalog.statement.plugins.get_mut("pushed").unwrap();
            plugin.versions.get_mut(&pushed.version).unwrap().is_yanked = true;
        }
        self.state("2999-01-01T00:00:00Z");
        let changed = Payload::one(&CatalogChanged { serial: 1 }).unwrap();
        let options = PublishOptions::default();
        self.client.publish(procedures::CATALOG_CHANGED, changed, options).await.unwrap();
    }

    /// Signs a new statement that ends then.
    pub(super) fn state(&self, expires: &str) {
        let mut catalog = self.lock();
        catalog.statement.serial += 1;
        let statement = Statement {
            format: FORMAT.to_owned(),
            serial: catalog.statement.serial,
            issued: "2026-01-01T00:00:00Z".parse().unwrap(),
            expires: expires.parse().unwrap(),
            plugins: catalog.statement.plugins.clone(),
        };
        let bytes = statement.to_bytes();
        let signature = self.secret.sign(&bytes[..], "statement").unwrap().to_string();
        let statement = String::from_utf8(bytes).unwrap();
        catalog.statement.signed = Some(CatalogStatement { statement, signature });
    }

    /// The statement that is handed out.
    pub(super) fn statement(&self) -> Option<CatalogStatement> {
        self.lock().statement.signed.clone()
    }

    /// Hands out this statement from now on.
    pub(super) fn set_statement(&self, statement: Option<CatalogStatement>) {
        self.lock().statement.signed = statement;
    }

    /// Hands out other bytes for a content.
    pub(super) fn tamper(&self, pushed: &Pushed) {
        let mut catalog = self.lock();
        let content = catalog.contents.get_mut(&pushed.hash).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 1;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Catalog> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pushed {
    /// The arguments of `plugin.update`.
    pub(super) fn arguments(&self, watch: &str) -> Value {
        let Self { version, hash, length, signature } = self;
        json!({
            "name": "pushed", "version": version, "hash": hash, "length": length,
            "signature": signature, "watch": watch,
        })
    }
}

/// Answers one call after the other; pieces while it may.
async fn serve(
    mut calls: drover_wamp::Registration,
    catalog: Arc<Mutex<Catalog>>,
    answers: watch::Sender<u64>,
) {
    while let Some(call) = calls.next().await {
        if call.procedure == procedures::CATALOG_READ {
            let mut may = answers.subscribe();
            if may.wait_for(|left| *left > 0).await.is_err() {
                return;
            }
            answers.send_modify(|left| *left = left.saturating_sub(1));
        }
        let answer = answer(&call, &catalog);
        call.finish(answer).await;
    }
}

fn answer(
    call: &drover_wamp::Invocation,
    catalog: &Mutex<Catalog>,
) -> Result<Payload, drover_wamp::ApplicationError> {
    let mut catalog = catalog.lock().unwrap_or_else(PoisonError::into_inner);
    if call.procedure == procedures::CATALOG_STATEMENT {
        catalog.stated += 1;
        return match &catalog.statement.signed {
            Some(signed) => Ok(Payload::one(signed).unwrap()),
            None => Err(refuse("there is no statement")),
        };
    }
    let read: CatalogRead = call.payload.first().unwrap();
    catalog.read.push(read.offset);
    let Some(content) = catalog.contents.get(&read.hash) else {
        return Err(refuse("there is no such content"));
    };
    let rest = content.iter().skip(usize::try_from(read.offset).unwrap());
    let bytes: Vec<_> =
        rest.take(usize::try_from(read.length.min(PIECE)).unwrap()).copied().collect();
    let piece = CatalogPiece { length: content.len() as u64, bytes: Octets(bytes) };
    Ok(Payload::one(&piece).unwrap())
}

fn refuse(text: &str) -> drover_wamp::ApplicationError {
    drover_wamp::ApplicationError {
        uri: "drover.error.unknown_content".to_owned(),
        payload: Payload::one(text).unwrap(),
    }
}
