//! Who gets in: clients that prove who they are, over connections that prove where they lead.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as well")]

mod kit;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use drover_wamp::{
    Authentication, CallError, CallOptions, Client, ClientCertificate, ClientConfig, ConnectError,
    CraSecret, Fingerprint, Limits, Link, LinkConfig, Payload, PrincipalConfig, RealmConfig, Roots,
    Router, RouterConfig, Secret, SigningKey, TlsFiles, TlsIdentity, TlsOptions,
};
use kit::{REALM, Site, within};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const SECRET: &str = "correct horse";

fn key() -> Arc<SigningKey> {
    Arc::new(SigningKey::from_seed(&[7; 32]).unwrap())
}

/// A router that knows `ada` by every method, with or without TLS.
async fn site(identity: Option<TlsIdentity>) -> Site {
    let secret = Secret::new(SECRET);
    let role = "operator".to_owned();
    let principal = |authid: &str| PrincipalConfig {
        authid: authid.to_owned(),
        role: role.clone(),
        ticket: None,
        cra: None,
        public_keys: vec![],
    };
    let mut realm = RealmConfig::open(REALM);
    realm.anonymous = None;
    realm.roles[0].name = role.clone();
    realm.principals = vec![
        PrincipalConfig {
            ticket: Some(secret.clone()),
            cra: Some(CraSecret::Plain(secret.clone())),
            public_keys: vec![key().public_key()],
            ..principal("ada")
        },
        PrincipalConfig {
            cra: Some(CraSecret::salted(&secret, "salt", 100, 32).unwrap()),
            ..principal("salted")
        },
    ];
    let limits = Limits { max_message_bytes: kit::MAX_MESSAGE, ..Limits::default() };
    let config = RouterConfig { realms: vec![realm], limits, ..RouterConfig::default() };
    Site::of(Router::new(config).unwrap(), identity).await
}

fn ticket(secret: &str) -> Authentication {
    Authentication::Ticket { authid: "ada".into(), ticket: Secret::new(secret) }
}

fn cra(authid: &str, secret: &str) -> Authentication {
    Authentication::WampCra { authid: authid.into(), secret: Secret::new(secret) }
}

fn cryptosign(key: Arc<SigningKey>) -> Authentication {
    Authentication::Cryptosign { authid: None, key }
}

/// The session is good if it gets an answer, whatever it is.
async fn assert_works(client: &Client) {
    let error = within(client.call("no.such", Payload::empty(), CallOptions::default())).await;
    assert!(matches!(error, Err(CallError::Application(_))), "{error:?}");
}

#[tokio::test]
async fn whoever_proves_who_they_are_gets_in() {
    let site = site(None).await;
    for authentication in
        [ticket(SECRET), cra("ada", SECRET), cra("salted", SECRET), cryptosign(key())]
    {
        let config = ClientConfig { authentication, ..site.config() };
        assert_works(&within(Client::connect(&config)).await.unwrap()).await;
    }
}

#[tokio::test]
async fn whoever_cannot_is_told_so_and_no_secret_shows() {
    let site = site(None).await;
    let stranger = Arc::new(SigningKey::from_seed(&[8; 32]).unwrap());
    for authentication in [
        Authentication::Anonymous,
        ticket("guess"),
        cra("ada", "guess"),
        cra("nobody", SECRET),
        cryptosign(stranger),
    ] {
        let config = ClientConfig { authentication, ..site.config() };
        let error = within(Client::connect(&config)).await.unwrap_err();
        assert!(matches!(error, ConnectError::Aborted { .. }), "{error}");
        let said = format!("{config:?} {error:?} {error}");
        assert!(!said.contains(SECRET) && !said.contains("guess"), "{said}");
    }
}

#[tokio::test]
async fn a_link_proves_who_it_is_at_every_connect() {
    let before = site(None).await;
    let config = ClientConfig { authentication: cra("ada", SECRET), ..before.config() };
    let waits = Duration::from_millis(20);
    let link = Link::open(LinkConfig {
        first_wait: waits,
        longest_wait: waits,
        ..LinkConfig::new(config.clone())
    })
    .unwrap();
    let first = within(link.connected()).await.unwrap();
    let router = before.router.clone();
    let address = before.address;
    within(before.stop()).await;
    within(first.closed()).await;
    let _after = Site::of_at(router, None, address).await;
    let second = within(async {
        loop {
            let client = link.connected().await.unwrap();
            if client.session() != first.session() {
                return client;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_works(&second).await;
}

/// An authority that signs certificates, its own in a file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, dir }
    }

    fn roots(&self) -> TlsOptions {
        TlsOptions { roots: Roots::File(self.dir.path().join("ca.pem")), ..TlsOptions::default() }
    }

    /// A router's identity with these names, good in these years.
    fn identity(&self, names: &[&str], years: (i32, i32)) -> TlsIdentity {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        TlsIdentity::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }
}

const ALWAYS: (i32, i32) = (2000, 4000);

fn secure(site: &Site, host: &str, tls: TlsOptions) -> ClientConfig {
    let url = format!("wss://{host}:{}/ws", site.address.port());
    ClientConfig { url, tls, authentication: ticket(SECRET), ..site.config() }
}

async fn fault(config: &ClientConfig) -> String {
    let error = within(Client::connect(config)).await.unwrap_err();
    let ConnectError::Tls { reason, .. } = error else { panic!("{error:?}") };
    reason
}

#[tokio::test]
async fn a_router_whose_certificate_is_good_for_its_name_or_address_is_dialled() {
    let authority = Authority::new();
    let site = site(Some(authority.identity(&["localhost", "127.0.0.1"], ALWAYS))).await;
    for host in ["localhost", "127.0.0.1"] {
        let client =
            within(Client::connect(&secure(&site, host, authority.roots()))).await.unwrap();
        assert_works(&client).await;
        within(client.close()).await;
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_with_its_name() {
    let authority = Authority::new();
    let site = site(Some(authority.identity(&["router.example.org"], ALWAYS))).await;
    let fault = fault(&secure(&site, "localhost", authority.roots())).await;
    assert!(fault.contains("another name") && fault.contains("router.example.org"), "{fault}");
}

#[tokio::test]
async fn a_certificate_out_of_its_time_is_refused_with_a_word_on_the_clock() {
    let authority = Authority::new();
    for (years, words) in [((2000, 2001), "expired"), ((3999, 4000), "not valid yet")] {
        let site = site(Some(authority.identity(&["localhost"], years))).await;
        let fault = fault(&secure(&site, "localhost", authority.roots())).await;
        assert!(fault.contains(words) && fault.contains("clock"), "{fault}");
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_trusted_has_signed_is_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let site = site(Some(authority.identity(&["localhost"], ALWAYS))).await;
    for tls in [other.roots(), TlsOptions::default()] {
        let fault = fault(&secure(&site, "localhost", tls)).await;
        assert!(fault.contains("trusted"), "{fault}");
    }
}

#[tokio::test]
async fn trusted_certificates_that_cannot_be_read_are_named() {
    let authority = Authority::new();
    let site = site(Some(authority.identity(&["localhost"], ALWAYS))).await;
    let empty = authority.dir.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for path in [Path::new("/no/such/ca.pem"), &empty] {
        let tls = TlsOptions { roots: Roots::File(path.to_owned()), ..TlsOptions::default() };
        let fault = fault(&secure(&site, "localhost", tls)).await;
        assert!(fault.contains(path.to_str().unwrap()), "{fault}");
    }
}

#[tokio::test]
async fn what_speaks_no_tls_is_told_apart_from_what_is_not_there() {
    let authority = Authority::new();
    let site = site(None).await;
    let refused = fault(&secure(&site, "localhost", authority.roots())).await;
    assert!(refused.contains("begins with ws://"), "{refused}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://{}/ws", listener.local_addr().unwrap());
    let config = ClientConfig { url, ..secure(&site, "localhost", authority.roots()) };
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"220 mail.example.org ESMTP\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    };
    let (refused, ()) = within(async { tokio::join!(fault(&config), serve) }).await;
    assert!(refused.contains("does not speak TLS"), "{refused}");
}

#[tokio::test]
async fn a_router_is_known_by_its_fingerprint_whoever_signed_it_and_whatever_its_name() {
    let made = rcgen::generate_simple_self_signed(["elsewhere.example".to_owned()]).unwrap();
    let (pem, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let identity = TlsIdentity::from_pem(pem.as_bytes(), key.as_bytes()).unwrap();
    let site = site(Some(identity.clone())).await;
    let fingerprint = Fingerprint::of_pem(pem.as_bytes()).unwrap();
    let pinned = |fingerprint| TlsOptions {
        roots: Roots::Fingerprint(fingerprint),
        ..TlsOptions::default()
    };
    let config = secure(&site, "127.0.0.1", pinned(fingerprint));
    let first = within(Client::connect(&config)).await.unwrap();
    assert_works(&first).await;

    // Another certificate is another router, and who is there stays.
    let other = rcgen::generate_simple_self_signed(["elsewhere.example".to_owned()]).unwrap();
    let (pem, key) = (other.cert.pem(), other.signing_key.serialize_pem());
    identity.replace(&TlsIdentity::from_pem(pem.as_bytes(), key.as_bytes()).unwrap());
    let fault = fault(&config).await;
    let new = Fingerprint::of_pem(pem.as_bytes()).unwrap();
    assert!(fault.contains(&new.to_string()), "{fault}");
    assert!(fault.contains(&fingerprint.to_string()), "{fault}");
    let config = secure(&site, "127.0.0.1", pinned(new));
    assert_works(&within(Client::connect(&config)).await.unwrap()).await;
    assert_works(&first).await;
}

#[tokio::test]
async fn a_router_that_wants_certificates_takes_those_that_it_trusts() {
    let authority = Authority::new();
    let dir = authority.dir.path();
    let own = |name: &str| {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority.issuer).unwrap();
        let files = [dir.join(format!("{name}.pem")), dir.join(format!("{name}.key"))];
        std::fs::write(&files[0], certificate.pem()).unwrap();
        std::fs::write(&files[1], key.serialize_pem()).unwrap();
        files
    };
    let [certificates, key] = own("localhost");
    let client_ca = Some(dir.join("ca.pem"));
    let identity = TlsIdentity::read(&TlsFiles { certificates, key, client_ca }).unwrap();
    let site = site(Some(identity)).await;

    let [certificates, key] = own("client");
    let tls = TlsOptions {
        certificate: Some(ClientCertificate { certificates, key }),
        ..authority.roots()
    };
    let client = within(Client::connect(&secure(&site, "localhost", tls.clone()))).await.unwrap();
    assert_works(&client).await;

    let without = fault(&secure(&site, "localhost", authority.roots())).await;
    assert!(without.contains("wants a certificate"), "{without}");
    let missing = dir.join("missing.pem");
    let certificate = Some(ClientCertificate { certificates: missing.clone(), key: missing });
    let unreadable = fault(&secure(&site, "localhost", TlsOptions { certificate, ..tls })).await;
    assert!(unreadable.contains("missing.pem"), "{unreadable}");
}
