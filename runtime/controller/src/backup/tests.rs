//! That all comes back, and nothing that is not whole.

use drover_api::AuditQuery;

use super::*;
use crate::Controller;
use crate::audit::Audit;

/// What a controller leaves that had one catalogued content and something in its audit
/// log, and its configuration.
async fn site(dir: &Path) -> Config {
    let text = format!("listen = \"127.0.0.1:0\"\ndata_dir = {:?}", dir.join("data"));
    let config = Config::parse(&text).unwrap();
    let controller = Controller::bind(config.clone()).await.unwrap();
    let ending = crate::Ending::default();
    ending.stop.cancel();
    controller.run(ending).await.unwrap();
    let catalog = &config.catalog.dir;
    let index = Connection::open(catalog.join("index.db")).unwrap();
    let hash = "ab".repeat(32);
    let sql = "INSERT INTO versions VALUES ('a','1.0.0',?,3,'','','',0,'{}','[]','[]',NULL)";
    index.execute(sql, [&hash]).unwrap();
    fs::write(catalog.join("content").join(&hash), "abc").unwrap();
    // On its way, and nothing to keep.
    fs::write(catalog.join("incoming/x"), "x").unwrap();
    let (audit, task) = Audit::open(&config.data_dir.join("audit"), 1 << 20).unwrap();
    audit.done(
        crate::audit::Act {
            who: "ada".into(),
            role: "admin".into(),
            from: "here".into(),
            what: "user.add".into(),
            on: "bob".into(),
        },
        "ok",
    );
    task.close();
    config
}

fn names(manifest: &Manifest) -> Vec<&str> {
    manifest.parts.iter().map(|part| part.name.as_str()).collect()
}

#[tokio::test]
async fn a_backup_has_everything_and_becomes_a_directory_again() {
    let dir = tempfile::tempdir().unwrap();
    let config = site(dir.path()).await;
    let file = dir.path().join("backup.tar");
    let made = back_up(&config, TlsKeys::LeftOut, &file).unwrap();
    let content = format!("catalog/content/{}", "ab".repeat(32));
    assert_eq!(
        names(&made),
        [JOBS, ROLLOUTS, INDEX, &content, ACCESS, AUDIT_HEAD, AUDIT],
        "what refers to something comes before it, and the audit log last"
    );
    assert_eq!(verify(&file).unwrap(), made);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|one| one.unwrap().path()).collect();
    assert_eq!(left.len(), 2, "nothing else is left: {left:?}");
    let error = back_up(&config, TlsKeys::LeftOut, &file).unwrap_err();
    assert!(error.to_string().contains("is there already"), "{error:#}");

    let again = dir.path().join("again");
    restore(&file, &again, Existing::Refuse).unwrap();
    let text = format!("listen = \"127.0.0.1:0\"\ndata_dir = {again:?}");
    let config = Config::parse(&text).unwrap();
    let stored = config.catalog.dir.join("content").join("ab".repeat(32));
    assert_eq!(fs::read_to_string(stored).unwrap(), "abc");
    let (audit, task) = Audit::open(&again.join("audit"), 1 << 20).unwrap();
    assert_eq!(audit.verify().unwrap().fault, None);
    let said = audit.list(&AuditQuery::default()).unwrap();
    let said: Vec<_> = said.iter().map(|entry| entry.what.as_str()).collect();
    assert_eq!(said, ["user.add", "controller.restore"]);
    task.close();
    Controller::bind(config).await.unwrap();
}

#[tokio::test]
async fn the_keys_for_tls_are_inside_only_if_that_is_wished() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = site(dir.path()).await;
    let error = back_up(&config, TlsKeys::Included, &dir.path().join("a")).unwrap_err();
    assert!(error.to_string().contains("no [tls]"), "{error:#}");
    let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    fs::write(&certificate, "certificate").unwrap();
    fs::write(&key, "key").unwrap();
    config.tls = Some(crate::TlsSettings { certificate, key, client_ca: None });
    let without = back_up(&config, TlsKeys::LeftOut, &dir.path().join("a")).unwrap();
    assert!(!without.has_tls_keys && !names(&without).contains(&"tls/controller.key"));
    let with = back_up(&config, TlsKeys::Included, &dir.path().join("b")).unwrap();
    assert!(with.has_tls_keys);
    restore(&dir.path().join("b"), &dir.path().join("again"), Existing::Refuse).unwrap();
    let key = dir.path().join("again/tls/controller.key");
    assert_eq!(fs::read_to_string(key).unwrap(), "key");
}

#[tokio::test]
async fn a_directory_that_is_used_stays_and_one_that_is_not_is_moved_aside_if_that_is_wished() {
    let dir = tempfile::tempdir().unwrap();
    let config = site(dir.path()).await;
    let file = dir.path().join("backup.tar");
    let (data, running) = (config.data_dir.clone(), Controller::bind(config.clone()).await);
    back_up(&config, TlsKeys::LeftOut, &file).unwrap();
    for existing in [Existing::Refuse, Existing::MoveAside] {
        let error = restore(&file, &data, existing).unwrap_err();
        assert!(error.to_string().contains("a controller uses"), "{error:#}");
    }
    drop(running);
    let error = restore(&file, &data, Existing::Refuse).unwrap_err();
    assert!(error.to_string().contains("--force"), "{error:#}");
    let (_, aside) = restore(&file, &data, Existing::MoveAside).unwrap();
    assert!(aside.unwrap().join(JOBS).exists());
    Controller::bind(config).await.unwrap();
}

#[tokio::test]
async fn a_backup_that_is_not_whole_is_refused_and_nothing_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let config = site(dir.path()).await;
    let file = dir.path().join("backup.tar");
    let manifest = back_up(&config, TlsKeys::LeftOut, &file).unwrap();
    let whole = fs::read(&file).unwrap();
    let damaged = dir.path().join("damaged.tar");
    let again = dir.path().join("again");
    let refused = |bytes: &[u8], what: &str| {
        fs::write(&damaged, bytes).unwrap();
        verify(&damaged).expect_err(what);
        restore(&damaged, &again, Existing::MoveAside).expect_err(what);
        assert!(!again.exists(), "{what}");
    };
    for length in (0..whole.len() - 1024).step_by(whole.len() / 50) {
        refused(&whole[..length], "it was cut off");
    }
    for part in &manifest.parts {
        // In the first bytes of each part, which stand after its header.
        let header = part.name.as_bytes();
        let at = whole.windows(header.len()).rposition(|bytes| bytes == header).unwrap();
        let mut bytes = whole.clone();
        bytes[at + 512] ^= 1;
        refused(&bytes, &part.name);
    }
    let evil = |name: &str| {
        let mut manifest = manifest.clone();
        manifest.parts[0].name = name.to_owned();
        let text = serde_json::to_vec(&manifest).unwrap();
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        archive.append_data(&mut header, manifest::NAME, text.as_slice()).unwrap();
        archive.into_inner().unwrap()
    };
    for name in ["../evil", "/tmp/evil", "", "jobs/../../evil"] {
        refused(&evil(name), name);
    }
    let later = Manifest { version: 2, ..manifest.clone() };
    let _ = write(&later, &[], &File::create(&damaged).unwrap());
    let error = verify(&damaged).unwrap_err();
    assert!(format!("{error:#}").contains("a later version"), "{error:#}");
}
